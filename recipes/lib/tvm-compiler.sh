# Shared by `tvm-compiler` and the check of its configuration. Sourced after `source` is set and build.sh is sourced.

readonly runtime=$source_root/dependencies/tvm-runtime
case $TARGET in
*-windows-msvc) readonly llvm_config=$source_root/dependencies/llvm/bin/llvm-config ;;
*-linux-gnu) readonly llvm_config=$PWD/llvm-config ;;
esac

# configure_compiler: no SPIR-V code generator, which needs SPIRV-Tools; Vulkan's device API is the runtime's.
configure_compiler() {
    local options=()
    case $TARGET in
    *-linux-gnu)
        install -m 755 "$source_root/llvm-config" "$llvm_config"
        clang -O2 -fPIC -fvisibility=hidden -c -o no_terminfo.o "$source_root/no_terminfo.c"
        llvm-ar rcsD libno_terminfo.a no_terminfo.o
        # Classes that LLVM's headers mark as visible would be exported by the compiler's own objects.
        echo '{ local: LLVM*; *4llvm*; };' >hidden.map
        options=(-DCMAKE_SHARED_LINKER_FLAGS="$link_flags -Wl,--version-script=$PWD/hidden.map")
        ;;
    esac
    configure "${options[@]}" \
        -DUSE_LLVM="$llvm_config" -DUSE_OPENCL=ON -DUSE_VULKAN=OFF \
        -DUSE_CCACHE=OFF -DUSE_GTEST=OFF -DUSE_ALTERNATIVE_LINKER=OFF -DHIDE_PRIVATE_SYMBOLS=ON
    if ! grep -q '^build CMakeFiles/tvm_objs\.dir/src/target/llvm/codegen_llvm\.cc\.o' build.ninja; then
        echo "LLVM's code generator is no part of the compiler" >&2
        exit 1
    fi
}
