"""Small checkpoints as people have them: merged LoRAs, binary64, padded vocabularies, indices that name more than there is.
usage: python make_cases.py OUTDIR"""
import json, os, struct, sys
import numpy as np
import make_models as golden

NUMPY = {"F64": np.float64, "F32": np.float32, "F16": np.float16}

def save(directory, config, tensors, file="model.safetensors"):
    """tensors: name -> (dtype, array of float64)"""
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "config.json"), "w") as out:
        json.dump(config, out, indent=2)
    header, blobs, offset = {}, [], 0
    for name, (dtype, array) in tensors.items():
        cast = golden.f32_to_bf16_bits(array.astype(np.float32)) if dtype == "BF16" else array.astype(NUMPY[dtype])
        blob = cast.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(directory, file), "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))

def model(arch, seed, dtype, names=None, **more):
    """A configuration and its tensors."""
    config = dict(golden.BASE, model_type=arch, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                  num_attention_heads=4, num_key_value_heads=2, vocab_size=270, tie_word_embeddings=False)
    config.update(more)
    rng = np.random.Generator(np.random.PCG64(seed))
    names = names or golden.dense_names(config, {"gemma3_text": "gemma3"}.get(arch, arch))
    return config, {name: (dtype, 0.05 * rng.standard_normal(shape)) for name, shape in names.items()}

def main(out):
    here = lambda name: os.path.join(out, name)
    lora = lambda tensors, dtype: {name: (dtype, array) if "q_proj" in name or "v_proj" in name else (own, array)
                                   for name, (own, array) in tensors.items()}
    for name, arch, dtype, merged in (("lora-bf16", "llama", "BF16", "F32"), ("lora-f16", "qwen2", "F16", "F32"),
                                      ("lora-f64", "mistral", "BF16", "F64"), ("lora-mixed", "llama", "F16", "BF16")):
        config, tensors = model(arch, 101, dtype)
        save(here(name), config, lora(tensors, merged))
    save(here("f64"), *model("llama", 102, "F64"))
    gemma = dict(head_dim=24, attention_bias=False, hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=24, sliding_window=256)
    save(here("gemma2-f64"), *model("gemma2", 103, "F64", **gemma))
    for name, arch in (("llama-vocabulary", "llama"), ("mistral-vocabulary", "mistral"), ("qwen2-vocabulary", "qwen2"), ("phi3-vocabulary", "phi3")):
        config, tensors = model(arch, 104, "BF16")
        for tensor, rows in (("model.embed_tokens.weight", 296), ("lm_head.weight", 288)):
            tensors[tensor] = ("BF16", np.resize(tensors[tensor][1], (rows, 64)))
        save(here(name), config, tensors)
    config, tensors = model("phi3", 105, "BF16")
    tensors["lm_head.weight"] = ("BF16", np.resize(tensors["lm_head.weight"][1], (288, 64)))
    save(here("phi3-head"), config, tensors)

    # Heads and their size are left out, as in the released 4B and 12B.
    sizes = dict(num_attention_heads=8, num_key_value_heads=4, head_dim=256, sliding_window=1024)
    config, tensors = model("gemma3_text", 106, "BF16", **sizes)
    text = {key: config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "sliding_window")}
    save(here("gemma3-text"), dict(text, model_type="gemma3_text", vocab_size=270), tensors)
    nested = {"language_model." + name: value for name, value in tensors.items()}
    nested["vision_tower.patch.weight"] = ("BF16", np.ones((3, 5)))
    save(here("gemma3"), {"model_type": "gemma3", "text_config": dict(text, model_type="gemma3_text")}, nested)

    # Without RMSNorm, the last normalisation has a bias.
    names = {"transformer.embedding.word_embeddings.weight": (270, 64)}
    for layer in range(2):
        p = f"transformer.encoder.layers.{layer}."
        names.update({p + "input_layernorm.weight": (64,), p + "self_attention.query_key_value.weight": (128, 64),
                      p + "self_attention.query_key_value.bias": (128,), p + "self_attention.dense.weight": (64, 64),
                      p + "post_attention_layernorm.weight": (64,), p + "mlp.dense_h_to_4h.weight": (192, 64),
                      p + "mlp.dense_4h_to_h.weight": (64, 96)})
    names.update({"transformer.encoder.final_layernorm.weight": (64,), "transformer.encoder.final_layernorm.bias": (64,),
                  "transformer.output_layer.weight": (270, 64)})
    save(here("chatglm-layernorm"), *model("chatglm", 107, "F16", names, num_layers=2, kv_channels=16, ffn_hidden_size=96,
         layernorm_epsilon=1e-5, post_layer_norm=True, rmsnorm=False, add_bias_linear=False, add_qkv_bias=True,
         apply_query_key_layer_scaling=True, multi_query_attention=True, multi_query_group_num=2, padded_vocab_size=270))

    # Buffers that are not parameters; those that a loader declares do not count.
    for name, arch in (("llama-buffers", "llama"), ("qwen2-buffers", "qwen2")):
        config, tensors = model(arch, 108, "BF16")
        for layer in range(2):
            tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = ("F32", np.ones(8))
        save(here(name), config, tensors)

    # An index names a buffer that no file holds, a file that is not there, and files by `./`.
    for name, there in (("index-more", True), ("index-less", False)):
        config, tensors = model("llama", 109, "BF16")
        last = [tensor for tensor in tensors if "layers.1" in tensor or "lm_head" in tensor]
        files = {"a.safetensors": [tensor for tensor in tensors if tensor not in last], "b.safetensors": last}
        index = {}
        for file, names in files.items():
            if there or file != "b.safetensors":
                save(here(name), config, {tensor: tensors[tensor] for tensor in names}, file)
            index.update({tensor: ("./" if file == "a.safetensors" and number % 2 else "") + file for number, tensor in enumerate(names)})
        index["model.layers.0.self_attn.rotary_emb.inv_freq"] = "a.safetensors"
        index["vision.patch.weight"] = "vision.safetensors"
        with open(os.path.join(here(name), "model.safetensors.index.json"), "w") as out_file:
            json.dump({"metadata": {}, "weight_map": index}, out_file, indent=2)

if __name__ == "__main__":
    main(sys.argv[1])
