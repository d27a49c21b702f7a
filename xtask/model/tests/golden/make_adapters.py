"""LoRA adapters for checkpoints of make_models.py, in the form in which PEFT saves them; NumPy alone.
usage: python make_adapters.py OUTDIR (where make_models.py wrote the checkpoints)"""
import json, os, sys
import numpy as np
from make_models import write_st

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
LINEAR = ATTENTION + ["gate_proj", "up_proj", "down_proj"]
PACKED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
# name: base, type, rank, targets, and what adapter_config.json says besides
ADAPTERS = {
    "plain": ("qwen2-tied-bf16", "F32", 8, LINEAR, {}),
    "half": ("llama-gqa-bf16", "BF16", 4, ["q_proj", "v_proj"], {"use_rslora": True, "lora_alpha": 7}),
    "patterns": ("llama-gqa-bf16", "F32", 6, LINEAR, {"rank_pattern": {"k_proj": 3, "layers.1.mlp.up_proj": 17}, "alpha_pattern": {"o_proj": 5, "layers.1.mlp.up_proj": 2.5}}),
    "head": ("llama-gqa-bf16", "F32", 2, ATTENTION, {"modules_to_save": ["lm_head"]}),
    "embedding": ("llama-f32", "F32", 5, ["embed_tokens", "down_proj"], {}),
    "sharded": ("qwen2-sharded-bf16", "F16", 16, LINEAR, {}),
    "f16": ("qwen2-untied-f16", "F32", 3, LINEAR, {"lora_alpha": 1}),
    "mistral": ("mistral-bf16", "F32", 8, "all-linear", {}),
    "qwen3": ("qwen3-tied-bf16", "F32", 64, LINEAR, {}),
    "gemma2": ("gemma2-bf16", "F32", 8, LINEAR, {}),
    "phi3": ("phi3-bf16", "F32", 8, PACKED, {}),
}


def read(directory):
    for name in sorted(os.listdir(directory)):
        if name.endswith(".safetensors"):
            raw = open(os.path.join(directory, name), "rb").read()
            size = int.from_bytes(raw[:8], "little")
            header = json.loads(raw[8:8 + size]); header.pop("__metadata__", None)
            yield from ((tensor, info["shape"]) for tensor, info in header.items())


def build(out, name):
    base, dtype, rank, targets, more = ADAPTERS[name]
    rng = np.random.default_rng(list(name.encode()))
    config = {"alpha_pattern": {}, "auto_mapping": None, "base_model_name_or_path": base, "bias": "none", "fan_in_fan_out": False,
              "inference_mode": True, "init_lora_weights": True, "lora_alpha": 16, "lora_dropout": 0.05, "modules_to_save": None,
              "peft_type": "LORA", "r": rank, "rank_pattern": {}, "target_modules": targets, "task_type": "CAUSAL_LM", "use_dora": False,
              "use_rslora": False, **more}
    tensors = {}
    for tensor, shape in sorted(read(os.path.join(out, base))):
        module = tensor.removesuffix(".weight")
        if module == tensor: continue
        ends = lambda names: next((end for end in names if module == end or module.endswith("." + end)), None)
        draw = lambda *shape: rng.standard_normal(shape, np.float32) * np.float32(0.05)
        if ends(config["modules_to_save"] or []):
            tensors[f"base_model.model.{tensor}"] = draw(*shape)
        elif ends(LINEAR if targets == "all-linear" else targets):
            own = config["rank_pattern"].get(ends(config["rank_pattern"]), rank)
            if module.endswith("embed_tokens"):
                tensors[f"base_model.model.{module}.lora_embedding_A"] = draw(own, shape[0])
                tensors[f"base_model.model.{module}.lora_embedding_B"] = draw(shape[1], own)
            else:
                tensors[f"base_model.model.{module}.lora_A.weight"] = draw(own, shape[1])
                tensors[f"base_model.model.{module}.lora_B.weight"] = draw(shape[0], own)
    directory = os.path.join(out, "adapters", name)
    os.makedirs(directory, exist_ok=True)
    write_st(os.path.join(directory, "adapter_model.safetensors"), tensors, dtype)
    json.dump(config, open(os.path.join(directory, "adapter_config.json"), "w"), indent=2)


if __name__ == "__main__":
    for name in ADAPTERS: build(sys.argv[1], name); print(name)
