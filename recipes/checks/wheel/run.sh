# Takes wheels as users get them.
. /build/src/run.sh

case $TARGET in
*-windows-msvc)
    # Python loads tvm_ffi.dll by its path, which is why it may stand in a directory of the package; then the binding, which
    # there is no Python to load here: its imports were looked up when it was built.
    cp -r --no-preserve=mode "$source_root/dependencies/wheel-contents/tvm-ffi-libcxx-wheel" tvm-ffi
    cp "$source_root/dependencies/smoke-program/bin/tvm-ffi/smoke.exe" tvm-ffi/tvm_ffi/lib/
    report tvm-ffi run tvm-ffi/tvm_ffi/lib smoke tvm_ffi_testing.dll \
        --functions ffi.Array ffi.FunctionListGlobalNamesFunctor testing.apply --throws testing.test_raise_error
    ;;
*-linux-gnu)
    python3 -m venv --without-pip environment
    pip=(python3 -m pip --python environment/bin/python --disable-pip-version-check)
    # tvm-ffi's one dependency stands where pip would put it; nothing is asked of the network.
    cp -r "$source_root"/typing-extensions/* environment/lib/python3.13/site-packages/
    "${pip[@]}" install --no-index --no-cache-dir "$source_root"/dependencies/tvm-ffi-wheel/*.whl
    report pip-check "${pip[@]}" check
    report tvm-ffi environment/bin/python -I "$source_root/test/tvm_ffi_test.py"
    report together environment/bin/python -I "$source_root/test/together_test.py" \
        "$source_root/dependencies/tvm-runtime/lib/libtvm_runtime.so"
    # The commands that the package installs.
    commands() {
        environment/bin/tvm-ffi-config --includedir
        environment/bin/tvm-ffi-config --libdir
        environment/bin/tvm-ffi-stubgen --help | head -n 1
    }
    report commands commands
    ;;
esac
