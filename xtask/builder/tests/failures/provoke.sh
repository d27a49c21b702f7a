# Provokes the failures that failures.toml knows, with the real tools; what they say is kept in provoked.log beside this file, a section each.
#
#     cargo xtask environment shell windows -- bash /build/src/xtask/builder/tests/failures/provoke.sh
#
# The last two need what that environment does not have: CMake 4 (cmake_4) and a tvm-ffi installed from its wheel (function).
cd /build/work
export PATH=/usr/lib/llvm-18/bin:$PATH LC_ALL=C.UTF-8
msvc() { clang-cl --target=x86_64-pc-windows-msvc /nologo /Zl /c "$@"; }
link() { lld-link /dll /noentry /nodefaultlib /out:x.dll "$@"; }

cat >thrower.cpp <<'SOURCE'
namespace llvm {
int use(int x) {
    volatile char large[100000];
    if (x) throw 1;
    large[x] = 1;
    return large[0];
}
}
SOURCE
echo 'namespace llvm { int use(int); } extern "C" int answer(void) { return llvm::use(1); }' >user.cpp
echo 'int xmlReadMemory(void); int answer(void) { return xmlReadMemory(); }' >reader.c
echo '__declspec(dllimport) int xmlReadMemory(void); int answer(void) { return xmlReadMemory(); }' >reader_dll.c
echo 'int xmlReadMemory(void) { return 1; }' >parser.c
msvc user.cpp reader.c reader_dll.c

echo '== mingw_object'
clang++ --target=x86_64-w64-windows-gnu -c thrower.cpp -o thrower.o
link thrower.o
echo '== mingw_library'
llvm-ar rc libthrower.a thrower.o
link user.obj libthrower.a /export:answer
echo '== elf_object'
clang --target=x86_64-linux-gnu -c parser.c -o parser.o
link parser.o
echo '== elf_library'
llvm-ar rc libxml2.a parser.o
link reader.obj libxml2.a /export:answer
echo '== libxml2_missing'
link reader.obj libxml2s.lib
echo '== libxml2_left_out'
link reader.obj /export:answer
echo '== libxml2_as_dll'
msvc parser.c
llvm-lib /out:libxml2s.lib parser.obj
link reader_dll.obj /export:answer
echo '== c_runtime'
for runtime in MT_StaticRelease MD_DynamicRelease; do
    printf '#pragma detect_mismatch("RuntimeLibrary", "%s")\nint %s;\n' $runtime $runtime >$runtime.c
    msvc $runtime.c
done
link MT_StaticRelease.obj MD_DynamicRelease.obj
echo '== llvm_without_development_files'
mkdir -p finder
printf 'cmake_minimum_required(VERSION 3.20)\nproject(finder NONE)\nfind_package(LLVM 18.1 CONFIG REQUIRED)\n' >finder/CMakeLists.txt
cmake -G Ninja -S finder -B finder/build
if command -v cmake-4 >/dev/null; then
    echo '== cmake_4'
    mkdir -p old
    printf 'cmake_minimum_required(VERSION 3.1)\nproject(old NONE)\n' >old/CMakeLists.txt
    cmake-4 -G Ninja -S old -B old/build
fi
if command -v python-with-tvm-ffi >/dev/null; then
    echo '== function'
    python-with-tvm-ffi -c 'import tvm_ffi; tvm_ffi.get_global_func("tvm.codegen.llvm.GetDefaultTargetTriple")'
fi
