"""Uses an installed tvm: compiles a sum and a matrix product, runs them, and exports them as a library, which the runtime runs.

    tvm_test.py compile|load LIBRARY
"""

import sys

import numpy as np
import tvm

SIZE = 16


def compiled():
    from tvm import te

    a = te.placeholder((SIZE, SIZE), "float32", "A")
    b = te.placeholder((SIZE, SIZE), "float32", "B")
    k = te.reduce_axis((0, SIZE), "k")
    add = te.create_prim_func([a, b, te.compute((SIZE, SIZE), lambda i, j: a[i, j] + b[i, j])])
    product = te.compute((SIZE, SIZE), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k))
    matmul = te.create_prim_func([a, b, product])
    module = tvm.IRModule(
        {name: function.with_attr("global_symbol", name) for name, function in [("add", add), ("matmul", matmul)]}
    )
    return tvm.compile(module, target=tvm.target.Target("llvm"))


def run(module, where):
    # Small integers, whose results are exact.
    a = np.arange(SIZE * SIZE, dtype="float32").reshape(SIZE, SIZE) % 7
    b = np.arange(SIZE * SIZE, dtype="float32").reshape(SIZE, SIZE) % 5
    for name, expected in [("add", a + b), ("matmul", a @ b)]:
        result = tvm.runtime.tensor(np.full((SIZE, SIZE), np.nan, "float32"))
        module[name](tvm.runtime.tensor(a), tvm.runtime.tensor(b), result)
        np.testing.assert_array_equal(result.numpy(), expected)
        print(f"ok {where}: {name}")


command, library = sys.argv[1:]
assert tvm.__file__.startswith(sys.prefix), tvm.__file__
if command == "compile":
    triple = tvm.get_global_func("tvm.codegen.llvm.GetDefaultTargetTriple")()
    assert triple == "x86_64-pc-linux-gnu", triple
    print("version", tvm.__version__, "for", triple)
    executable = compiled()
    run(executable, "compiled just in time")
    executable.export_library(library, options=["-fuse-ld=lld"])
else:
    assert tvm.get_global_func("target.build.llvm", allow_missing=True) is None, "there is a compiler"
    run(tvm.runtime.load_module(library), "loaded")
