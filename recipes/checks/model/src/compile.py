"""Compiles a converted model to the objects of a model library: compile.py CONFIG OUTPUT --kind KIND --target TARGET

CONFIG is the model's mlc-chat-config.json; weights are not needed. OUTPUT becomes a directory of objects, which register
themselves with tvm_ffi as the system library, and are linked to a shared library or a program.
"""

import argparse
import json
import os
import shutil

import tvm
from tvm import relax
from tvm.s_tir import dlight

from language_model import LanguageModel, Sizes

LINUX = {"kind": "llvm", "mtriple": "x86_64-unknown-linux-gnu", "mcpu": "x86-64"}
WINDOWS = {"kind": "llvm", "mtriple": "x86_64-pc-windows-msvc", "mcpu": "x86-64"}
ANDROID = {"kind": "llvm", "mtriple": "aarch64-linux-android"}
TARGETS = {
    "linux": LINUX,
    "linux-opencl": {"kind": "opencl", "host": LINUX},
    "windows": WINDOWS,
    "windows-opencl": {"kind": "opencl", "host": WINDOWS},
    "aarch64-linux": {"kind": "llvm", "mtriple": "aarch64-linux-gnu"},
    "android-opencl": {"kind": "opencl", "host": ANDROID},
}


def metadata(model, parameters, kind):
    """What a runner has to know, as the function `_metadata` of the library returns it."""
    s = model.sizes
    return json.dumps(
        {
            "kind": kind,
            "dtype": s.dtype,
            "context": s.context,
            "cache": [s.layers, s.context, s.kv_heads, s.head_dim],
            "params": [
                {"name": name, "shape": [int(size) for size in parameter.shape], "dtype": str(parameter.dtype)}
                for name, parameter in parameters
            ],
        }
    )


def build(sizes, kind, target):
    """The executable of a model."""
    with target:
        model = LanguageModel(sizes, target)
        module, parameters = model.export_tvm(spec=model.functions(kind))[:2]
    builder = relax.BlockBuilder()
    with builder.function("_metadata", params=[]):
        builder.emit_func_output(relax.StringImm(metadata(model, parameters, kind)))
    module["_metadata"] = builder.get()["_metadata"]
    if target.kind.name != "llvm":
        # One rule that binds threads, for every kernel: the default ones refuse those of `plain`, and functions that
        # have a schedule are left alone by the default pipeline.
        passes = relax.transform
        steps = [passes.LegalizeOps(), passes.AnnotateTIROpPattern(), passes.FoldConstant(), passes.FuseOps()]
        steps += [passes.FuseTIR(), dlight.ApplyDefaultSchedule(dlight.gpu.Fallback())]
        with target:
            module = tvm.transform.Sequential(steps)(module)
    # With this pass, OpenCL kernels of the attention cache compute wrong values for prompts of two tokens and more.
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_cse_tir": True}):
        return relax.build(module, target, system_lib=True)


def write_objects(executable, output):
    """Writes the objects that a library is linked from, and links nothing."""
    os.makedirs(output)

    def keep(_, files, **__):
        for file in files:
            shutil.copy(file, output)

    executable.export_library(os.path.join(output, "library"), fcompile=keep)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("output")
    parser.add_argument("--kind", choices=["plain", "paged"], required=True)
    parser.add_argument("--target", choices=sorted(TARGETS), required=True)
    parser.add_argument("--context", type=int, default=64, help="tokens that `plain` has room for")
    arguments = parser.parse_args()
    sizes = Sizes.read(arguments.config, arguments.context)
    executable = build(sizes, arguments.kind, tvm.target.Target(TARGETS[arguments.target]))
    write_objects(executable, arguments.output)


if __name__ == "__main__":
    main()
