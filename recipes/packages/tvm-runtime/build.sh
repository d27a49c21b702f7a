# Builds TVM's runtime library on the tvm_ffi of the artifact `tvm-ffi`.
source=/build/src/tilelang/3rdparty/tvm
. /build/src/build.sh
. /build/src/take.sh

# The Vulkan headers of the environment stand in /usr/include beside glibc's, which must not be seen when building for Windows.
mkdir -p vulkan-headers
cp -r /usr/include/vulkan /usr/include/vk_video vulkan-headers/

configure \
    -DUSE_OPENCL=ON \
    -DUSE_VULKAN=ON -DUSE_VULKAN_WRAPPER=ON -DVulkan_INCLUDE_DIR="$PWD/vulkan-headers" \
    -DUSE_LLVM=OFF -DUSE_CCACHE=OFF -DUSE_GTEST=OFF -DUSE_ALTERNATIVE_LINKER=OFF -DHIDE_PRIVATE_SYMBOLS=ON

# TVM's CMake leaves a device API out without an error when it does not find what that needs.
for directory in vulkan vulkan/vulkan_wrapper opencl opencl/opencl_wrapper; do
    if ! grep -qE "^build CMakeFiles/tvm_runtime_objs\.dir/src/runtime/$directory/[^/]*\.(o|obj):" build.ninja; then
        echo "no file of src/runtime/$directory is part of the runtime" >&2
        exit 1
    fi
done
take_library tvm-ffi tvm_ffi
ninja -j "${JOBS:-$(nproc)}" tvm_runtime

ship tvm-ffi tvm_ffi
install_library lib tvm_runtime
install_headers "$source/include/tvm/runtime" tvm/runtime
install_headers "$source/include/tvm/support" tvm/support
FFI_VERSION=$(sed -n 's/^Version: //p' "$source_root/dependencies/tvm-ffi/lib/pkgconfig/tvm_ffi.pc")
install_package tvm_runtime https://tvm.apache.org "TVM's runtime with CPU, OpenCL and Vulkan" \
    "tvm_ffi = $FFI_VERSION" "FFI_NUMBER=${FFI_VERSION%%.[a-z]*}"
readme tvm-runtime.md "FFI_VERSION=$FFI_VERSION"

install_licence "$source/LICENSE" tvm/LICENSE
install_licence "$source/NOTICE" tvm/NOTICE
install_licence "$source/licenses/LICENSE.builtin_fp16.txt" builtin_fp16/LICENSE
install_licence "$source/3rdparty/OpenCL-Headers/LICENSE" opencl-headers/LICENSE
install_licence /usr/share/doc/libvulkan-dev/copyright vulkan-headers/copyright
install_runtime_licences
no_build_paths
