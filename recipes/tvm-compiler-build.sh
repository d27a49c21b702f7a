# Shared by `tvm-compiler` and the check of its configuration. Sourced after `source` is set and build.sh is sourced.

readonly runtime=$source_root/dependencies/tvm-runtime
case $TARGET in
*-windows-msvc) readonly library_directory=bin llvm_config=$source_root/dependencies/llvm/bin/llvm-config ;;
*-linux-gnu) readonly library_directory=lib llvm_config=$PWD/llvm-config ;;
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

# take_runtime: puts the libraries of `tvm-runtime` where this build would make them, and tells ninja not to.
take_runtime() {
    local name rule
    mkdir -p lib
    for name in tvm_ffi tvm_runtime; do
        case $TARGET in
        *-windows-msvc)
            cp "$runtime/bin/$name.dll" "$runtime/lib/$name.lib" lib/
            rule="lib/$name.dll lib/$name.lib"
            ;;
        *-linux-gnu)
            cp "$runtime/lib/lib$name.so" lib/
            rule="lib/lib$name.so"
            ;;
        esac
        local pattern="^build [^:]*$name\.(dll|so)[^:]*: CXX_SHARED_LIBRARY_LINKER.*"
        if [ "$(grep -cE "$pattern" build.ninja)" != 1 ]; then
            echo "build.ninja has no rule, or several, that make $name" >&2
            exit 1
        fi
        sed -Ei "s#$pattern#build $rule: phony#" build.ninja
    done
}
