"""Small checkpoints that are quantized already: 8-bit floats with a scale for each block, and AutoAWQ.
usage: python make_packed_models.py OUTDIR"""
import json, os, struct, sys
import numpy as np

H, I, KV, V, EXPERTS, M, BLOCK, GROUP = 256, 384, 128, 40, 3, 128, 128, 128

def save(out, name, config, tensors):
    os.makedirs(os.path.join(out, name), exist_ok=True)
    with open(os.path.join(out, name, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
    header, blobs, offset = {}, [], 0
    for tensor, (dtype, array) in tensors.items():
        blob = array.tobytes()
        header[tensor] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(out, name, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))

def bf16(rng, *shape):
    return "BF16", ((rng.standard_normal(shape) * 0.05).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)

def f16(rng, *shape):
    return "F16", (rng.standard_normal(shape) * 0.05).astype(np.float16)

def blocks(rng, tensors, name, outputs, inputs):
    codes = rng.integers(0, 256, (outputs, inputs), dtype=np.uint8)
    codes[(codes & 0x7F) == 0x7F] = 3  # no NaN
    tensors[name + ".weight"] = "F8_E4M3", codes
    shape = (-(-outputs // BLOCK), -(-inputs // BLOCK))
    tensors[name + ".weight_scale_inv"] = "F32", (rng.random(shape) * 0.01).astype(np.float32)

def awq(rng, tensors, name, outputs, inputs):
    word = lambda *shape: ("I32", rng.integers(-2**31, 2**31, shape, dtype=np.int64).astype(np.int32))
    tensors[name + ".qweight"] = word(inputs, outputs // 8)
    tensors[name + ".qzeros"] = word(inputs // GROUP, outputs // 8)
    tensors[name + ".scales"] = f16(rng, inputs // GROUP, outputs)

def model(rng, other, linear, norms, experts):
    tensors = {"model.embed_tokens.weight": other(rng, V, H)}
    for layer in range(2):
        p = f"model.layers.{layer}."
        for name, outputs in (("q", H), ("k", KV), ("v", KV), ("o", H)):
            linear(rng, tensors, p + f"self_attn.{name}_proj", outputs, H)
        for name in norms:
            tensors[p + f"self_attn.{name}.weight"] = other(rng, 64)
        if experts:
            tensors[p + "mlp.gate.weight"] = other(rng, EXPERTS, H)
        width = M if experts else I
        for stem in [f"mlp.experts.{e}." for e in range(EXPERTS)] if experts else ["mlp."]:
            for name, outputs, inputs in (("gate", width, H), ("up", width, H), ("down", H, width)):
                linear(rng, tensors, p + f"{stem}{name}_proj", outputs, inputs)
        tensors[p + "input_layernorm.weight"] = other(rng, H)
        tensors[p + "post_attention_layernorm.weight"] = other(rng, H)
    tensors["model.norm.weight"] = other(rng, H)
    tensors["lm_head.weight"] = other(rng, V, H)
    return tensors

def config(kind, **more):
    return dict(model_type=kind, hidden_act="silu", hidden_size=H, intermediate_size=I, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, head_dim=64, vocab_size=V, tie_word_embeddings=False,
                rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=512, attention_bias=False, **more)

if __name__ == "__main__":
    out = sys.argv[1]
    rng = np.random.Generator(np.random.PCG64(5))
    fp8 = {"quantization_config": dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[BLOCK, BLOCK])}
    moe = dict(num_experts=EXPERTS, num_experts_per_tok=2, moe_intermediate_size=M, norm_topk_prob=True, decoder_sparse_step=1)
    norms = ("q_norm", "k_norm")
    save(out, "qwen3-fp8", config("qwen3", **fp8), model(rng, bf16, blocks, norms, False))
    save(out, "qwen3moe-fp8", config("qwen3_moe", **fp8, **moe), model(rng, bf16, blocks, norms, True))
    save(out, "llama-awq", config("llama"), model(rng, f16, awq, (), False))
