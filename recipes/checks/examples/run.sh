# Runs the examples.
. /build/src/run.sh

mkdir devices
cp "$source_root/dependencies/tvm-runtime/$library_directory"/*"$library_suffix" devices/
cp "$source_root/dependencies/examples-program/bin/devices$program_suffix" devices/
report devices run devices devices
grep -qx 'cpu: yes' "$out/devices.txt"

case $TARGET in
*-linux-gnu)
    python3 -m venv --without-pip environment
    # The wheel's one dependency stands where pip would put it; nothing is asked of the network.
    cp -r "$source_root"/typing-extensions/* environment/lib/python3.13/site-packages/
    python3 -m pip --python environment/bin/python --disable-pip-version-check install --no-index --no-cache-dir \
        "$source_root"/dependencies/tvm-ffi-wheel/*.whl
    report python environment/bin/python -I "$source_root/python/compose.py"
    grep -qx 'scaled: \[3, 6, 12\]' "$out/python.txt"
    grep -qx 'refused: TypeError' "$out/python.txt"
    ;;
esac
