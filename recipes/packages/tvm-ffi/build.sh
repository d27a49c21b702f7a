# Builds tvm-ffi's shared libraries with its own CMake.
source=/build/src/tvm-ffi
. /build/src/build.sh

configure
ninja -j "${JOBS:-$(nproc)}" tvm_ffi_shared tvm_ffi_testing

install_library lib tvm_ffi tvm_ffi_testing
install_headers "$source/include/tvm/ffi" tvm/ffi
install_headers "$source/3rdparty/dlpack/include/dlpack" dlpack
install_package tvm_ffi https://tvm.apache.org/ffi "TVM's foreign function interface"
readme tvm-ffi.md

install_licence "$source/LICENSE" tvm-ffi/LICENSE
install_licence "$source/NOTICE" tvm-ffi/NOTICE
install_licence "$source/licenses/LICENSE.pytorch.txt" pytorch/LICENSE
install_licence "$source/licenses/NOTICE.pytorch.txt" pytorch/NOTICE
install_licence "$source/3rdparty/dlpack/LICENSE" dlpack/LICENSE
case $TARGET in
*-linux-gnu) install_licence "$source/3rdparty/libbacktrace/LICENSE" libbacktrace/LICENSE ;;
esac
install_runtime_licences
no_build_paths
