"""Uses an installed tvm-ffi: the binding, the library below it, errors and callbacks in both directions."""

import os
import sys

import tvm_ffi

assert tvm_ffi.__file__.startswith(sys.prefix), tvm_ffi.__file__
print("version", tvm_ffi.__version__)

array = tvm_ffi.convert([1, "two", 3.5])
assert list(array) == [1, "two", 3.5] and type(array).__name__ == "Array", array
try:
    array[3]
except IndexError as error:
    print("IndexError:", error)
else:
    raise AssertionError("an index out of range raises nothing")

calls = []
add = tvm_ffi.convert(lambda left, right: calls.append((left, right)) or left + right)
assert isinstance(add, tvm_ffi.Function) and add(40, 2) == 42 and calls == [(40, 2)]


@tvm_ffi.register_global_func("wheel_test.apply")
def apply(function, *arguments):
    return function(*arguments)


assert tvm_ffi.get_global_func("wheel_test.apply")(add, 1, 2) == 3
# Compiled code that calls back, and an exception that passes through it.
assert tvm_ffi.get_global_func("testing.apply")(add, 20, 3) == 23


def fail(*arguments):
    raise KeyError("from Python")


try:
    tvm_ffi.get_global_func("testing.apply")(fail, 1)
except KeyError as error:
    print("KeyError:", error)
else:
    raise AssertionError("an exception got lost in compiled code")

shape = tvm_ffi.Shape((10, 10))
assert shape == (10, 10) and tvm_ffi.dtype("float32").itemsize == 4

for find in (tvm_ffi.libinfo.find_include_path, tvm_ffi.libinfo.find_dlpack_include_path, tvm_ffi.libinfo.find_cmake_path,
             tvm_ffi.libinfo.find_source_path, tvm_ffi.libinfo.find_libtvm_ffi, tvm_ffi.libinfo.find_cython_lib):
    place = find()
    assert os.path.exists(place) and place.startswith(sys.prefix), (find.__name__, place)
print("ok")
