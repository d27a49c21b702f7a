# Builds TVM's runtime library with the tvm-ffi of the same source tree.
source=/build/src/tilelang/3rdparty/tvm
. /build/src/build.sh

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
ninja -j "${JOBS:-$(nproc)}" tvm_runtime

install_library lib tvm_ffi tvm_runtime
install_headers "$source/include/tvm/runtime" tvm/runtime
install_headers "$source/3rdparty/tvm-ffi/include/tvm/ffi" tvm/ffi
install_headers "$source/3rdparty/tvm-ffi/3rdparty/dlpack/include/dlpack" dlpack

install_licence "$source/LICENSE" tvm/LICENSE
install_licence "$source/NOTICE" tvm/NOTICE
install_licence "$source/licenses/LICENSE.builtin_fp16.txt" builtin_fp16/LICENSE
install_licence "$source/3rdparty/tvm-ffi/LICENSE" tvm-ffi/LICENSE
install_licence "$source/3rdparty/tvm-ffi/NOTICE" tvm-ffi/NOTICE
install_licence "$source/3rdparty/tvm-ffi/licenses/LICENSE.pytorch.txt" pytorch/LICENSE
install_licence "$source/3rdparty/tvm-ffi/licenses/NOTICE.pytorch.txt" pytorch/NOTICE
install_licence "$source/3rdparty/tvm-ffi/3rdparty/dlpack/LICENSE" dlpack/LICENSE
install_licence "$source/3rdparty/OpenCL-Headers/LICENSE" opencl-headers/LICENSE
install_licence /usr/share/doc/libvulkan-dev/copyright vulkan-headers/copyright
case $TARGET in
*-linux-gnu) install_licence "$source/3rdparty/tvm-ffi/3rdparty/libbacktrace/LICENSE" libbacktrace/LICENSE ;;
esac
install_runtime_licences
no_build_paths
