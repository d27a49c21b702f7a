#!/usr/bin/env python3
"""Writes a checkpoint with the shapes of Qwen2.5-3B (6.2 GB of pseudo-random bfloat16), to take figures with.

usage: synthetic.py DIRECTORY

Two files of the sizes of the real ones and an index sorted by name, as Hugging Face writes them. Values are bytes of a
seeded generator, made to bfloat16 numbers between 2^-9 and 2^-1 of both signs: dense, and not compressible.
"""
import json, os, sys
import numpy as np

HIDDEN, INTERMEDIATE, LAYERS, HEADS, KEY_VALUE_HEADS, VOCABULARY = 2048, 11008, 36, 16, 2, 151936
FIRST_FILE = 3_968_658_944

def tensors():
    width = HIDDEN // HEADS * KEY_VALUE_HEADS
    yield "model.embed_tokens.weight", [VOCABULARY, HIDDEN]
    for layer in range(LAYERS):
        shapes = {
            "input_layernorm.weight": [HIDDEN], "mlp.down_proj.weight": [HIDDEN, INTERMEDIATE],
            "mlp.gate_proj.weight": [INTERMEDIATE, HIDDEN], "mlp.up_proj.weight": [INTERMEDIATE, HIDDEN],
            "post_attention_layernorm.weight": [HIDDEN],
            "self_attn.k_proj.bias": [width], "self_attn.k_proj.weight": [width, HIDDEN],
            "self_attn.o_proj.weight": [HIDDEN, HIDDEN],
            "self_attn.q_proj.bias": [HIDDEN], "self_attn.q_proj.weight": [HIDDEN, HIDDEN],
            "self_attn.v_proj.bias": [width], "self_attn.v_proj.weight": [width, HIDDEN],
        }
        for name, shape in shapes.items():
            yield f"model.layers.{layer}.{name}", shape
    yield "model.norm.weight", [HIDDEN]

def main(directory):
    os.makedirs(directory, exist_ok=True)
    config = {
        "architectures": ["Qwen2ForCausalLM"], "bos_token_id": 151643, "eos_token_id": 151645, "hidden_act": "silu",
        "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "max_position_embeddings": 32768, "model_type": "qwen2",
        "num_attention_heads": HEADS, "num_hidden_layers": LAYERS, "num_key_value_heads": KEY_VALUE_HEADS,
        "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
        "vocab_size": VOCABULARY,
    }
    json.dump(config, open(os.path.join(directory, "config.json"), "w"), indent=2)
    files, size = [[], []], 0
    for name, shape in tensors():
        size += 2 * int(np.prod(shape))
        files[size > FIRST_FILE].append((name, shape))
    generator, index, total = np.random.Generator(np.random.SFC64(1)), {}, 0
    for number, content in enumerate(files, 1):
        file, offset, header = f"model-{number:05}-of-00002.safetensors", 0, {"__metadata__": {"format": "pt"}}
        for name, shape in content:
            end = offset + 2 * int(np.prod(shape))
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
            index[name], offset = file, end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(os.path.join(directory, file), "wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            for _, shape in content:
                bits = np.frombuffer(generator.bytes(2 * int(np.prod(shape))), dtype=np.uint16)
                # Sign and seven bits of fraction as they come, three of the exponent, from 2^-9 on.
                out.write(((bits & 0x80FF) + 0x3B00 + ((bits & 0x0300) >> 1)).astype("<u2").tobytes())
        total += offset
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))}
    json.dump(index, open(os.path.join(directory, "model.safetensors.index.json"), "w"), indent=2)

main(sys.argv[1])
