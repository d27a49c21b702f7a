# LLVM for Windows, first part: what everything else stands on.
. /build/src/llvm-build.sh

configure_llvm
make_libraries BinaryFormat Demangle Option Support TargetParser
no_build_paths
