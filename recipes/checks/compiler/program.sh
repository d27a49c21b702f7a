# Builds the programs of the compiler's test against `tvm-compiler`.
source=/build/src/compiler
. /build/src/build.sh

configure -DTVM="$source_root/dependencies/tvm-compiler"
ninja -j "${JOBS:-$(nproc)}"
case $TARGET in
*-windows-msvc) install -D -m 755 -t "$out/bin" compile.exe load_in_order.exe ;;
*) install -D -m 755 -t "$out/bin" compile load ;;
esac
