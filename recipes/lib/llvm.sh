# Shared by the recipes that LLVM's build is cut into: each builds some libraries and takes the ones of the recipe before it.
# Sourced from /build/src/llvm-build.sh. It does without build.sh, as a change there would build all of LLVM again.

readonly source_root=/build/src
readonly source=$source_root/llvm/llvm
readonly out=/build/out

# configure_llvm: the same configuration in each of them, so that a library does not depend on where it was built.
#
# No library of the host is looked for; TableGen is the environment's, of the same version, since one for Windows can't run here.
# The assembler sources of BLAKE3 are for Microsoft's assembler. Absolute paths are kept out of `__FILE__` (as in build.sh).
configure_llvm() {
    local prefix_map=/clang:-ffile-prefix-map
    local compile_flags="$prefix_map=$source_root=. $prefix_map=$PWD=. $prefix_map=$source/="
    CFLAGS=$compile_flags CXXFLAGS=$compile_flags cmake -S "$source" -B . -G Ninja \
        -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_TOOLCHAIN_FILE="$source_root/dependencies/msvc-sysroot/cmake/toolchain.cmake" \
        -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF -DCMAKE_FIND_USE_SYSTEM_PACKAGE_REGISTRY=OFF \
        -DCMAKE_DISABLE_FIND_PACKAGE_Git=ON \
        -DLLVM_TARGETS_TO_BUILD='X86;AArch64' \
        -DLLVM_HOST_TRIPLE="$TARGET" -DLLVM_DEFAULT_TARGET_TRIPLE="$TARGET" \
        -DLLVM_TABLEGEN=/usr/lib/llvm-18/bin/llvm-tblgen -DLLVM_NATIVE_TOOL_DIR=/usr/lib/llvm-18/bin \
        -DLLVM_INCLUDE_{TOOLS,UTILS,TESTS,EXAMPLES,BENCHMARKS,DOCS,RUNTIMES}=OFF \
        -DLLVM_ENABLE_{ZLIB,ZSTD,LIBXML2,DIA_SDK,TERMINFO,LIBEDIT,LIBPFM,BINDINGS,Z3_SOLVER}=OFF \
        -DLLVM_APPEND_VC_REV=OFF -DLLVM_DISABLE_ASSEMBLY_FILES=ON
}

# take_libraries RECIPE: puts the libraries of a dependency where this build would make them, and tells ninja not to.
take_libraries() {
    local library name rules=''
    mkdir -p lib "$out/lib"
    for library in "$source_root/dependencies/$1/lib"/*.lib; do
        name=$(basename "$library")
        cp "$library" lib/
        cp "$library" "$out/lib/"
        grep -q "^build lib/$name: CXX_STATIC_LIBRARY_LINKER" build.ninja
        rules+="s|^build lib/$name: CXX_STATIC_LIBRARY_LINKER.*|build lib/$name: phony|;"
    done
    sed -i "$rules" build.ninja
}

# make_libraries NAME...: builds libraries, without `LLVM` before their names, and hands them on.
make_libraries() {
    local name files=()
    for name; do
        files+=("lib/LLVM$name.lib")
    done
    ninja -j "${JOBS:-$(nproc)}" "${files[@]}"
    install -D -m 644 -t "$out/lib" "${files[@]}"
}

# no_build_paths: fails when a byte of the output names the place it was built in.
no_build_paths() {
    local found
    found=$(grep -rlaE '/build/(src|work|out)' "$out" || true)
    if [ -n "$found" ]; then
        printf 'these files name the build directory:\n%s\n' "$found" >&2
        exit 1
    fi
}
