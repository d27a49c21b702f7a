"""The package and the runtime's own library in one process, as whoever runs compiled models from Python has them.

    together_test.py LIBRARY
"""

import ctypes
import sys

import tvm_ffi

library = ctypes.CDLL(sys.argv[1])
functions = tvm_ffi.registry.list_global_func_names()
assert "device_api.cpu" in functions and "vm.builtin.paged_attention_kv_cache_create" in functions, len(functions)
# One registry: what Python registers, the runtime's own functions see, and their errors arrive as Python's.
print(len(functions), "global functions")

attribute = tvm_ffi.get_global_func("runtime.GetDeviceAttr")
exist = 0
for name, kind in (("cpu", 1), ("opencl", 4), ("vulkan", 7), ("a type that nobody knows", 99)):
    print(name, "exists" if attribute(kind, 0, exist) else "does not exist")
assert attribute(1, 0, exist) == 1

allocate = tvm_ffi.get_global_func("runtime.TVMTensorAllocWithScope")
tensor = allocate(tvm_ffi.Shape((2, 3)), tvm_ffi.dtype("float32"), tvm_ffi.device("cpu", 0), None)
assert isinstance(tensor, tvm_ffi.Tensor) and tuple(tensor.shape) == (2, 3), tensor
try:
    tvm_ffi.get_global_func("vm.builtin.shape_of")("not a tensor")
except TypeError as error:
    print("TypeError:", str(error).splitlines()[0])
else:
    raise AssertionError("the runtime takes a string for a tensor")
print("ok")
