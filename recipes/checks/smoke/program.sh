# Builds the smoke test twice: the headers and the version of `tvm-ffi` and of `tvm-runtime` differ.
source=/build/src/smoke
. /build/src/build.sh

for artifact in tvm-ffi tvm-runtime; do
    mkdir "$artifact"
    (
        cd "$artifact"
        configure -DTVM_FFI="$source_root/dependencies/$artifact"
        ninja -j "${JOBS:-$(nproc)}" smoke
    )
    case $TARGET in
    *-windows-msvc) install -D -m 755 "$artifact/smoke.exe" "$out/bin/$artifact/smoke.exe" ;;
    *) install -D -m 755 "$artifact/smoke" "$out/bin/$artifact/smoke" ;;
    esac
done
