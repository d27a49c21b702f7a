# Takes the wheel of tvm as users get it.
. /build/src/run.sh

case $TARGET in
*-windows-msvc)
    # As `import tvm_ffi` and `import tvm` load them; the runtime finds tvm_ffi.dll in the process.
    cp -r --no-preserve=mode "$source_root/dependencies/tvm-wheel-contents/tvm-wheel" packages
    cp -r --no-preserve=mode "$source_root/dependencies/wheel-contents/tvm-ffi-libcxx-wheel/tvm_ffi" packages/
    cp "$source_root/dependencies/compiler-program/bin/load_in_order.exe" packages/
    report load run packages load_in_order tvm.codegen.llvm.GetDefaultTargetTriple \
        tvm_ffi/lib/tvm_ffi.dll tvm/lib/tvm_runtime.dll tvm/lib/tvm_compiler.dll
    ;;
*-linux-gnu)
    python3 -m venv --without-pip environment
    pip=(python3 -m pip --python environment/bin/python --disable-pip-version-check)
    # The dependencies stand where pip would put them; nothing is asked of the network.
    for package in "$source_root"/packages/*; do
        cp -r --no-preserve=mode "$package"/. environment/lib/python3.13/site-packages/
    done
    "${pip[@]}" install --no-index --no-cache-dir "$source_root"/dependencies/tvm{-ffi,}-wheel/*.whl
    report pip-check "${pip[@]}" check
    # What links an exported library.
    export CXX=/usr/lib/llvm-18/bin/clang++
    report compile environment/bin/python -I "$source_root/test/tvm_test.py" compile examples.so
    TVM_USE_RUNTIME_LIB=1 report load environment/bin/python -I "$source_root/test/tvm_test.py" load examples.so
    ;;
esac
