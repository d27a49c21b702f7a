"""The checkpoints of the other generators as `torch.save` writes them, by NumPy and Python's own pickle alone.
usage: python make_torch_models.py OUTDIR (where make_models.py and make_more_models.py wrote theirs)"""
import collections, io, json, os, pickle, shutil, struct, sys, types, zipfile

torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
def function(module, name):
    def called(*_): raise AssertionError
    called.__module__, called.__qualname__, called.__name__ = module.__name__, name, name
    setattr(module, name, called); return called
TENSOR, PARAMETER = function(utils, "_rebuild_tensor_v2"), function(utils, "_rebuild_parameter")
STORAGES = {}
for dtype, name, size in [("F32", "FloatStorage", 4), ("F16", "HalfStorage", 2), ("BF16", "BFloat16Storage", 2), ("I64", "LongStorage", 8), ("BOOL", "BoolStorage", 1)]:
    STORAGES[dtype] = (type(name, (), {"__module__": "torch", "__qualname__": name}), size); setattr(torch, name, STORAGES[dtype][0])
sys.modules.update({"torch": torch, "torch._utils": utils})

class Storage:
    def __init__(self, dtype, data): self.dtype, self.data = dtype, data
class Tensor:
    def __init__(self, storage, start, shape, parameter=False): self.storage, self.start, self.shape, self.parameter = storage, start, shape, parameter
    def __reduce__(self):
        strides, count = [], 1
        for size in reversed(self.shape): strides.insert(0, count); count *= size
        tensor = (TENSOR, (self.storage, self.start, tuple(self.shape), tuple(strides), False, collections.OrderedDict()))
        return (PARAMETER, (Call(tensor), True, collections.OrderedDict())) if self.parameter else tensor
class Call:
    def __init__(self, reduced): self.reduced = reduced
    def __reduce__(self): return self.reduced
class Pickler(pickle.Pickler):
    def __init__(self, file): super().__init__(file, protocol=2); self.storages = []
    def persistent_id(self, value):
        if not isinstance(value, Storage): return None
        if value not in self.storages: self.storages.append(value)
        kind, size = STORAGES[value.dtype]
        return ("storage", kind, str(self.storages.index(value)), "cpu", len(value.data) // size)

class State(collections.OrderedDict):
    """With `_metadata`, as `state_dict` gives it."""
    def __reduce__(self): return (collections.OrderedDict, (), {"_metadata": collections.OrderedDict([("", {"version": 1})])}, None, iter(self.items()))

def save(path, state):
    file = io.BytesIO(); pickler = Pickler(file); pickler.dump(state)
    stem = os.path.basename(path).removesuffix(".bin")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as out:
        def write(name, data): out.writestr(zipfile.ZipInfo(f"{stem}/{name}"), data)
        write("data.pkl", file.getvalue()); write("byteorder", b"little")
        for number, storage in enumerate(pickler.storages): write(f"data/{number}", storage.data)
        write("version", b"3\n")

def read(path):
    raw = open(path, "rb").read(); n = struct.unpack("<Q", raw[:8])[0]; header = json.loads(raw[8:8 + n]); header.pop("__metadata__", None)
    for name, info in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        a, b = info["data_offsets"]; yield name, info["dtype"], info["shape"], raw[8 + n + a:8 + n + b]

def build(out, source, target, one_storage=False, parameter=False, keep=False, shards=None):
    """one_storage: all tensors are views of one; keep: safetensors stay beside, with other weights."""
    a, b = os.path.join(out, source), os.path.join(out, target)
    shutil.copytree(a, b, dirs_exist_ok=True)
    for name in os.listdir(b):
        if name.endswith(".safetensors") and keep:
            path = os.path.join(b, name); raw = bytearray(open(path, "rb").read()); raw[-1] ^= 1; open(path, "wb").write(raw)
        elif "safetensors" in name: os.remove(os.path.join(b, name))
    names = [n for n in sorted(os.listdir(a)) if n.endswith(".safetensors")]; weight_map = {}
    for number, name in enumerate(names):
        tensors = list(read(os.path.join(a, name))); state = State()
        whole = Storage(tensors[0][1], b"\0" * 8 + b"".join(data for *_, data in tensors)); place = 8
        for tensor, dtype, shape, data in tensors:
            size = STORAGES[dtype][1]
            state[tensor] = Tensor(whole, place // size, shape, parameter) if one_storage else Tensor(Storage(dtype, data), 0, shape, parameter)
            place += len(data)
        file = "pytorch_model.bin" if len(names) == 1 else f"pytorch_model-{number + 1:05d}-of-{len(names):05d}.bin"
        state["gone"] = None
        save(os.path.join(b, file), state)
        weight_map.update((tensor, file) for tensor, *_ in tensors)
    if len(names) > 1:
        json.dump({"metadata": {}, "weight_map": dict(sorted(weight_map.items()))}, open(os.path.join(b, "pytorch_model.bin.index.json"), "w"), indent=2)

MODELS = [("gemma-bf16", "gemma-bf16-bin", {}), ("gemma-f16", "gemma-f16-bin", {"one_storage": True, "keep": True}), ("qwen2moe-bf16", "qwen2moe-bf16-bin", {}), ("gpt2-f32", "gpt2-f32-bin", {"parameter": True}),
          ("gpt-neox-f16", "gpt-neox-f16-bin", {}), ("bert-bge-f32", "bert-bge-f32-bin", {})]
if __name__ == "__main__":
    for source, target, options in MODELS: build(sys.argv[1], source, target, **options); print(target)
