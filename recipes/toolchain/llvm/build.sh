# LLVM for Windows, last part: code generators and just-in-time compilers; headers and llvm-config for all of it.
. /build/src/llvm-build.sh

configure_llvm
take_libraries llvm-optimizer
make_libraries \
    AArch64AsmParser AArch64CodeGen AArch64Desc AArch64Disassembler AArch64Info AArch64Utils AsmPrinter CodeGen CodeGenTypes \
    ExecutionEngine GlobalISel JITLink MCJIT OrcJIT OrcShared OrcTargetProcess Passes RuntimeDyld SelectionDAG Target \
    WindowsDriver X86AsmParser X86CodeGen X86Desc X86Disassembler X86Info

for directory in "$source/include" "$PWD/include"; do
    (cd "$directory" && find . \( -name '*.h' -o -name '*.def' -o -name '*.inc' -o -name '*.gen' \) -type f -print0) |
        while IFS= read -r -d '' header; do
            install -D -m 644 "$directory/$header" "$out/include/$header"
        done
done
install -D -m 755 /build/src/llvm-config "$out/bin/llvm-config"
install -D -m 644 "$source/LICENSE.TXT" "$out/licenses/llvm/LICENSE"
no_build_paths
