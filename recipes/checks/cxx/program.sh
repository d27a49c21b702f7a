# Builds the programs of the C++ test the way a user's CMake does: against archives as they are unpacked, in a directory of the user's choice.
source=/build/src/cxx
. /build/src/build.sh

mkdir 'un packed'
for archive in tvm-ffi tvm-runtime; do
    cp -r --no-preserve=mode "$source_root/dependencies/$archive" "un packed/$archive"
done
# build ARCHIVE CMAKE-ARGUMENT...: nothing but the archive's own directory is said.
build() {
    mkdir "$1"
    (
        cd "$1"
        configure -DCMAKE_PREFIX_PATH="/build/work/un packed/$1" -DPC_DIRECTORY="$source_root/dependencies/$1/lib/pkgconfig" "${@:2}"
        ninja -j "${JOBS:-$(nproc)}"
    )
}
build tvm-ffi
build tvm-runtime -DRUNTIME=ON

case $TARGET in
*-windows-msvc) install -D -m 755 -t "$out/bin" tvm-ffi/ffi.exe tvm-ffi/module.dll tvm-runtime/runtime.exe ;;
*) install -D -m 755 -t "$out/bin" tvm-ffi/ffi tvm-ffi/module.so tvm-runtime/runtime ;;
esac
