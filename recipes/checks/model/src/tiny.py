"""Writes small converted models that compute something definite: tiny.py OUTPUT

They are those of the tests of `cargo xtask model` (xtask/model/tests/tiny), by another program; digests say that both
write the same bytes. Weights come from a fixed generator.
"""

import hashlib
import json
import os
import sys

import numpy as np

HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, VOCABULARY = 128, 352, 2, 4, 2, 320
HEAD_DIM = HIDDEN // HEADS
# Name, seed, and SHA-256 of the weights as `cargo xtask model convert` writes them.
MODELS = [
    ("qwen2", 7, "ed52d38803f6b1d96b468f2060dd7953da4c0578b6a266a9b0314a97ddb8b8fb"),
    ("llama", 11, "b77a8669674ae0f57a5ab9a1c55a1896b81cf09d0be0c3140e5189e654f40859"),
]


def numbers(seed, shape):
    """The numbers of splitmix64's finalizer, -128 to 127."""
    with np.errstate(over="ignore"):
        x = np.arange(1, np.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x += np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return ((x >> np.uint64(56)).astype(np.float32) - 128).reshape(shape)


class Model:
    """A model in q4f32_1 that is being written: one shard, and its index."""

    def __init__(self, architecture, seed):
        self.architecture, self.seed = architecture, seed * 1000
        self.data, self.records = b"", []

    def draw(self, shape):
        self.seed += 1
        return numbers(self.seed, shape)

    def linear(self, rows, columns, size):
        return self.draw((rows, columns)) * np.float32(2.0 ** np.round(np.log2(size)) / 128)

    def norm(self, name):
        return name + ".weight", np.round(self.draw((HIDDEN,)) * np.float32(0.25) + 128) / np.float32(128)

    def put(self, name, array, dtype="float32"):
        if dtype == "uint32":
            stored = array.astype("<u4").tobytes()
        else:
            # float32 is stored as the nearest bfloat16; of two, the even one.
            bits = array.astype("<f4").view("<u4")
            stored = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
        self.records.append(
            {
                "name": name,
                "shape": list(array.shape),
                "dtype": dtype,
                "format": "f32-to-bf16",
                "nbytes": len(stored),
                "byteOffset": len(self.data),
            }
        )
        self.data += stored

    def quantize(self, name, weight):
        """Groups of 32 along a row share a scale; a code is 7 more than the multiple of it."""
        rows, columns = weight.shape
        groups = weight.reshape(rows, columns // 32, 32)
        scales = np.abs(groups).max(axis=2) / np.float32(7)
        codes = np.clip(np.round(groups / scales[:, :, None] + np.float32(7)), 0, 14).astype(np.uint32)
        codes = codes.reshape(rows, columns // 8, 8) << (4 * np.arange(8, dtype=np.uint32))
        self.put(name + ".q_weight", codes.sum(axis=2, dtype=np.uint32), "uint32")
        self.put(name + ".q_scale", scales)

    def layer(self, name):
        """Draws in the order of the checkpoint, writes in that of a conversion."""
        rows = [HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM]
        scale = 1.7 / np.sqrt(HIDDEN)
        attention_norm = self.norm(name + "input_layernorm")
        qkv = np.concatenate([self.linear(count, HIDDEN, scale) for count in rows])
        output = self.linear(HIDDEN, HEADS * HEAD_DIM, scale)
        is_qwen2 = self.architecture == "qwen2"
        bias = [self.draw((count,)) * np.float32(0.25 / 128) for count in rows] if is_qwen2 else []
        network_norm = self.norm(name + "post_attention_layernorm")
        gate_up = np.concatenate([self.linear(INTERMEDIATE, HIDDEN, scale) for _ in range(2)])
        down = self.linear(HIDDEN, INTERMEDIATE, 1.7 / np.sqrt(INTERMEDIATE))
        attention = name + ("self_attn.c_attn" if is_qwen2 else "self_attn.qkv_proj")
        self.put(*attention_norm)
        self.quantize(attention, qkv)
        self.quantize(name + "self_attn.o_proj", output)
        if is_qwen2:
            self.put(attention + ".bias", np.concatenate(bias))
        self.put(*network_norm)
        self.quantize(name + "mlp.gate_up_proj", gate_up)
        self.quantize(name + "mlp.down_proj", down)

    def write(self, directory):
        self.quantize("model.embed_tokens", self.linear(VOCABULARY, HIDDEN, 1.0))
        for index in range(LAYERS):
            self.layer(f"model.layers.{index}.")
        self.put(*self.norm("model.norm"))
        self.quantize("lm_head", self.linear(VOCABULARY, HIDDEN, 2 / np.sqrt(HIDDEN)))
        os.makedirs(directory)
        with open(directory + "/params_shard_0.bin", "wb") as file:
            file.write(self.data)
        shard = {
            "dataPath": "params_shard_0.bin",
            "format": "raw-shard",
            "nbytes": len(self.data),
            "records": self.records,
            "md5sum": hashlib.md5(self.data).hexdigest(),
        }
        metadata = {"ParamSize": len(self.records), "ParamBytes": 0.0, "BitsPerParam": 0.0}
        self.json(directory + "/tensor-cache.json", {"metadata": metadata, "records": [shard]})
        config = {
            "model_type": self.architecture,
            "quantization": "q4f32_1",
            "model_config": {
                "hidden_size": HIDDEN,
                "intermediate_size": INTERMEDIATE,
                "num_hidden_layers": LAYERS,
                "num_attention_heads": HEADS,
                "num_key_value_heads": KV_HEADS,
                "vocab_size": VOCABULARY,
                "rms_norm_eps": 1e-6,
                "rope_theta": 10000.0,
                "tie_word_embeddings": False,
            },
        }
        self.json(directory + "/mlc-chat-config.json", config)

    @staticmethod
    def json(path, value):
        with open(path, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2)


def main():
    for architecture, seed, expected in MODELS:
        model = Model(architecture, seed)
        model.write(f"{sys.argv[1]}/{architecture}")
        digest = hashlib.sha256(model.data).hexdigest()
        if digest != expected:
            raise SystemExit(f"the weights of {architecture} have the SHA-256 {digest}, not {expected}")


if __name__ == "__main__":
    main()
