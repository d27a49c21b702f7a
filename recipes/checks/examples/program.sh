# Builds the program against the archive as it is unpacked.
source=/build/src/devices
. /build/src/build.sh

configure -DCMAKE_PREFIX_PATH="$source_root/dependencies/tvm-runtime"
ninja -j "${JOBS:-$(nproc)}"
case $TARGET in
*-windows-msvc) install -D -m 755 -t "$out/bin" devices.exe ;;
*) install -D -m 755 -t "$out/bin" devices ;;
esac
