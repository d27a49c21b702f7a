# LLVM for Windows, second part: the intermediate representation and what works on it, object files, machine code.
. /build/src/llvm-build.sh

configure_llvm
take_libraries llvm-support
make_libraries \
    AggressiveInstCombine Analysis AsmParser BitReader BitWriter BitstreamReader CFGuard Core Coroutines DebugInfoBTF \
    DebugInfoCodeView DebugInfoDWARF DebugInfoMSF DebugInfoPDB FrontendOffloading FrontendOpenMP HipStdPar IRPrinter IRReader \
    InstCombine Instrumentation Linker MC MCDisassembler MCParser ObjCARCOpts Object ProfileData Remarks ScalarOpts Symbolize \
    TextAPI TransformUtils Vectorize ipo
no_build_paths
