# Uses examples/vcpkg as vcpkg does: the triplet names the toolchain file that is loaded.
readonly source_root=/build/src
export MSVC_SYSROOT=$source_root/dependencies/msvc-sysroot

# c_runtime TRIPLET: prints the C runtime that a library made for TRIPLET asks the linker for.
c_runtime() {
    cmake -S "$source_root/test" -B "$1" -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DTRIPLET="$source_root/vcpkg/triplets/$1.cmake" >&2
    ninja -C "$1" >&2
    llvm-readobj --coff-directives "$1/example.lib" | grep -oiE 'defaultlib:"?(libcmt|msvcrt)' | tr -d '"' | sort -u
}

failed() {
    echo "$*" >&2
    exit 1
}

expected=$'x64-windows defaultlib:msvcrt\nx64-windows-static defaultlib:libcmt'
for triplet in x64-windows x64-windows-static; do
    echo "$triplet $(c_runtime "$triplet" | tr '[:upper:]' '[:lower:]')"
done >runtimes.txt
[ "$(cat runtimes.txt)" = "$expected" ] || failed "the triplets make libraries for other C runtimes: $(cat runtimes.txt)"

# mend: runs llvm-sdk.cmake over a copy of the development files in `sdk`.
mend() {
    cmake -DLLVM=sdk -DVCPKG_INSTALLED=installed -P "$source_root/vcpkg/llvm-sdk.cmake"
}
mkdir -p sdk/lib/cmake/llvm installed/lib
cp x64-windows-static/example.lib installed/lib/libxml2.lib
cp "$source_root/test/LLVMExports.cmake" sdk/lib/cmake/llvm/LLVMExports.cmake
chmod u+w sdk/lib/cmake/llvm/LLVMExports.cmake
mend
mend
cmp "$source_root/test/LLVMExports.mended.cmake" sdk/lib/cmake/llvm/LLVMExports.cmake
cmp installed/lib/libxml2.lib sdk/lib/libxml2s.lib
echo 'set(other "diaguids.lib")' >>sdk/lib/cmake/llvm/LLVMExports.cmake
if mend 2>refused.txt; then
    failed "llvm-sdk.cmake took exports that it does not know"
fi
# CMake wraps its messages.
grep -q 'asks for diaguids.lib in another way' <<<"$(tr -s '[:space:]' ' ' <refused.txt)"
cp runtimes.txt /build/out/
