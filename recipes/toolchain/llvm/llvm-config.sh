#!/bin/bash
# Stands in for LLVM's llvm-config, which runs on Windows alone: answers for the libraries beside it, on the host that builds.
prefix=$(cd "$(dirname "$0")/.." && pwd)
for question; do
    case $question in
    --version) echo 18.1.8 ;;
    --prefix) echo "$prefix" ;;
    --includedir) echo "$prefix/include" ;;
    --libdir) echo "$prefix/lib" ;;
    --cmakedir) echo "$prefix/lib/cmake/llvm" ;;
    --cxxflags) echo "-I$prefix/include -D_CRT_SECURE_NO_WARNINGS" ;;
    --targets-built) echo X86 AArch64 ;;
    --libfiles) echo "$prefix"/lib/LLVM*.lib ;;
    --system-libs) echo psapi.lib shell32.lib ole32.lib uuid.lib advapi32.lib ws2_32.lib ntdll.lib ;;
    *)
        echo "llvm-config: no answer to \`$question\`" >&2
        exit 1
        ;;
    esac
done
