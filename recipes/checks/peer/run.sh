# Loads TVM's official Windows libraries, which Microsoft's compiler made, on top of our tvm_ffi.dll: a peer nobody here built.
. /build/src/run.sh

wheel=$source_root/wheel
our_libraries=$source_root/dependencies/tvm-ffi/bin
mkdir peer
cp "$our_libraries"/*.dll "$source_root/dependencies/smoke-program/bin/tvm-ffi/smoke.exe" peer/
for name in tvm_runtime tvm_runtime_extra tvm_compiler; do
    cp "$wheel/tvm/lib/$name.dll" peer/
done

# Whether each function that one of them imports is there, by the tables: Wine would load them all the same.
report imports python3 "$source_root/smoke/imports.py" peer /usr/lib/x86_64-linux-gnu/wine/x86_64-windows

# Every official binary of tvm-ffi that there is, of the same version as ours, with our tvm_ffi.dll in place of the official one: but for four
# C++ names, which tests/smoke/official.txt explains, all that they import is there.
mkdir official
cp "$source_root"/tvm-ffi-wheel/tvm_ffi/lib/tvm_ffi_testing.dll "$source_root"/tvm-ffi-wheel/tvm_ffi/core.*.pyd \
    "$source_root"/tvm-ffi-wheel/apache_tvm_ffi.libs/*.dll "$our_libraries/tvm_ffi.dll" official/
report official-imports python3 "$source_root/smoke/imports.py" official /usr/lib/x86_64-linux-gnu/wine/x86_64-windows \
    "$source_root/smoke/official.txt"

# The C API of our library sees the functions that theirs register, and an error thrown in theirs arrives in ours, through the C
# API and as a C++ exception that our tvm_ffi_testing.dll lets pass.
peer() {
    run peer smoke tvm_ffi_testing.dll tvm_runtime.dll tvm_runtime_extra.dll tvm_compiler.dll \
        --functions device_api.cpu vm.builtin.paged_attention_kv_cache_create tvm.contrib.sort.argsort target.Build \
        --throws testing.test_raise_error runtime.TVMTensorCopyFromTo runtime.disco.SessionGetNumWorkers ir.Module_Clone "$@"
}
report wine peer

# The same on Microsoft's own C++ runtime, which the wheel carries, in place of Wine's; then our own runtime on it as well.
export WINEDLLOVERRIDES="$WINEDLLOVERRIDES;msvcp140,vcruntime140,vcruntime140_1=n"
cp "$wheel"/apache_tvm.libs/*.dll peer/
microsoft=(msvcp140 vcruntime140 vcruntime140_1)
report microsoft peer --beside "${microsoft[@]/%/.dll}"

mkdir own
cp "$source_root"/dependencies/tvm-runtime/bin/*.dll "$source_root/dependencies/smoke-program/bin/tvm-runtime/smoke.exe" own/
cp "$wheel"/apache_tvm.libs/vcruntime140*.dll own/
own() {
    run own smoke tvm_runtime.dll --functions device_api.cpu vm.builtin.paged_attention_kv_cache_create \
        --absent opencl vulkan --no-device device_api.vulkan --beside vcruntime140.dll
}
report tvm-runtime-microsoft own
