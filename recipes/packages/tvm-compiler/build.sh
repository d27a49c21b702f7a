# Builds TVM's compiler with LLVM linked in, on the very tvm_runtime and tvm_ffi of the artifact `tvm-runtime`.
source=/build/src/tilelang/3rdparty/tvm
. /build/src/build.sh
. /build/src/take.sh
. /build/src/tvm-compiler-build.sh

configure_compiler
take_library tvm-runtime tvm_ffi
take_library tvm-runtime tvm_runtime
ninja -j "${JOBS:-$(nproc)}" tvm_compiler

ship tvm-runtime tvm_ffi tvm_runtime
install_library lib tvm_compiler
install_headers "$source/include/tvm" tvm
FFI_VERSION=$(sed -n 's/^Version: //p' "$runtime/lib/pkgconfig/tvm_ffi.pc")
readme tvm-compiler.md "FFI_VERSION=$FFI_VERSION"

# LLVM's symbols are hidden: another LLVM in the process, as a driver may bring, must not meet this one.
case $TARGET in
*-linux-gnu)
    if llvm-nm --dynamic --defined-only lib/libtvm_compiler.so | grep -E ' (_Z.*4llvm|LLVM)'; then
        echo "libtvm_compiler.so exports symbols of LLVM" >&2
        exit 1
    fi
    ;;
esac

# What was built holds what the runtime holds, and LLVM; on Linux also the compression libraries that Debian's LLVM uses.
case $TARGET in
*-linux-gnu)
    for package in libzstd-dev llvm-18-dev zlib1g-dev; do
        install_licence "/usr/share/doc/$package/copyright" "$package/copyright"
    done
    ;;
*-windows-msvc) install_licence "$source_root/dependencies/llvm/licenses/llvm/LICENSE" llvm/LICENSE ;;
esac
no_build_paths
