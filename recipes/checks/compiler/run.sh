# Runs the compiler as it is shipped. On Linux what it compiled is linked as well, and loaded where there is no compiler.
. /build/src/run.sh

mkdir compiler
cp "$source_root/dependencies/tvm-compiler/$library_directory"/*"$library_suffix" compiler/
cp "$source_root/dependencies/compiler-program/bin/compile$program_suffix" compiler/
case $TARGET in
*-windows-msvc)
    report compile run compiler compile x86_64-pc-windows-msvc
    # What a user meets who has the runtime alone: it loads, and does not know the function.
    mkdir runtime
    cp compiler/{tvm_ffi,tvm_runtime}.dll "$source_root/dependencies/compiler-program/bin/load_in_order.exe" runtime/
    run runtime load_in_order tvm.codegen.llvm.GetDefaultTargetTriple tvm_ffi.dll tvm_runtime.dll >"$out/runtime-alone.txt" || true
    printf '%s\n' 'ok load tvm_ffi.dll' 'ok load tvm_runtime.dll' 'FAILED tvm.codegen.llvm.GetDefaultTargetTriple' \
        '2 passed, 1 failed' | diff - "$out/runtime-alone.txt"
    ;;
*-linux-gnu)
    # The name that Debian's LLVM has for it.
    report compile run compiler compile x86_64-pc-linux-gnu
    mkdir runtime
    for name in tvm_ffi tvm_runtime; do
        cp "compiler/$(library $name)" runtime/
    done
    cp "$source_root/dependencies/compiler-program/bin/load" runtime/
    clang -shared -fuse-ld=lld -o runtime/examples.so compiler/x86_64-unknown-linux-gnu.o
    report load run runtime load ./examples.so
    ;;
esac
