# Runs the smoke test on the libraries of `tvm-ffi` and of `tvm-runtime`, as they are shipped.
. /build/src/run.sh

for artifact in tvm-ffi tvm-runtime; do
    mkdir "$artifact"
    cp "$source_root/dependencies/$artifact/$library_directory"/*"$library_suffix" "$artifact/"
    cp "$source_root/dependencies/smoke-program/bin/$artifact/smoke$program_suffix" "$artifact/"
done

report tvm-ffi run tvm-ffi smoke "$(library tvm_ffi_testing)" \
    --functions ffi.Array ffi.FunctionListGlobalNamesFunctor testing.apply \
    --throws testing.test_raise_error

# The sandbox has no GPU, and under Linux no Vulkan or OpenCL loader need be there at all.
report tvm-runtime run tvm-runtime smoke "$(library tvm_runtime)" \
    --functions device_api.cpu device_api.opencl device_api.vulkan \
    vm.builtin.paged_attention_kv_cache_create ffi.Module.load_from_bytes.opencl \
    ffi.Module.load_from_bytes.vulkan runtime.GetDeviceAttr \
    --absent opencl vulkan --no-device device_api.vulkan
