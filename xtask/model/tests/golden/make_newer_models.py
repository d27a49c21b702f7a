"""Deterministic tiny random HF checkpoints of the architectures that came last.
usage: python make_newer_models.py OUTDIR [name ...]"""
import json, os, sys
import numpy as np
import make_more_models as MM
from make_more_models import lin, ln, mlp3, qkvo

def gated_attention(o, p, c):
    H, nh, nkv, hd = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    a = p + "self_attn."
    lin(o, a + "q_proj", 2 * nh * hd, H); lin(o, a + "k_proj", nkv * hd, H); lin(o, a + "v_proj", nkv * hd, H)
    lin(o, a + "o_proj", H, nh * hd); ln(o, a + "q_norm", hd, False); ln(o, a + "k_norm", hd, False)
def delta_net(o, p, c):
    a, H, nk, nv = p + "linear_attn.", c["hidden_size"], c["linear_num_key_heads"], c["linear_num_value_heads"]
    kd, vd = c["linear_key_head_dim"], c["linear_value_head_dim"]; qkv = 2 * nk * kd + nv * vd
    o[a + "dt_bias"] = (nv,); o[a + "A_log"] = (nv,); o[a + "conv1d.weight"] = (qkv, 1, c["linear_conv_kernel_dim"])
    lin(o, a + "in_proj_qkv", qkv, H); lin(o, a + "in_proj_z", nv * vd, H); lin(o, a + "in_proj_b", nv, H); lin(o, a + "in_proj_a", nv, H)
    ln(o, a + "norm", vd, False); lin(o, a + "out_proj", H, nv * vd)
def qwen3_5(c):
    t = c.get("text_config", c); H, m = t["hidden_size"], "model.language_model."
    o = {m + "embed_tokens.weight": (t["vocab_size"], H)}
    for i in range(t["num_hidden_layers"]):
        p = f"{m}layers.{i}."
        (delta_net if (i + 1) % t["full_attention_interval"] else gated_attention)(o, p, t)
        mlp3(o, p + "mlp.", H, t["intermediate_size"]); ln(o, p + "input_layernorm", H, False); ln(o, p + "post_attention_layernorm", H, False)
    ln(o, m + "norm", H, False)
    if "text_config" in c: lin(o, "model.visual.patch_embed.proj", 8, 12, True); lin(o, "mtp.fc", H, 2 * H)      # not converted
    if not t.get("tie_word_embeddings", False): o["lm_head.weight"] = (t["vocab_size"], H)
    return o

def qwen3_embedding(c):
    H, hd = c["hidden_size"], c["head_dim"]; o = {"embed_tokens.weight": (c["vocab_size"], H)}
    for i in range(c["num_hidden_layers"]):
        p = f"layers.{i}."; qkvo(o, p + "self_attn.", H, c["num_attention_heads"], c["num_key_value_heads"], hd)
        ln(o, p + "self_attn.q_norm", hd, False); ln(o, p + "self_attn.k_norm", hd, False)
        mlp3(o, p + "mlp.", H, c["intermediate_size"]); ln(o, p + "input_layernorm", H, False); ln(o, p + "post_attention_layernorm", H, False)
    ln(o, "norm", H, False)
    return o

def deepseek_v2(c):
    H, nh, no, ro, v = c["hidden_size"], c["num_attention_heads"], c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    o = {"model.embed_tokens.weight": (c["vocab_size"], H)}; b, q, k = c["attention_bias"], c["q_lora_rank"], c["kv_lora_rank"]
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."; a = p + "self_attn."
        if q is None: lin(o, a + "q_proj", nh * (no + ro), H)
        else: lin(o, a + "q_a_proj", q, H, b); ln(o, a + "q_a_layernorm", q, False); lin(o, a + "q_b_proj", nh * (no + ro), q)
        lin(o, a + "kv_a_proj_with_mqa", k + ro, H, b); ln(o, a + "kv_a_layernorm", k, False); lin(o, a + "kv_b_proj", nh * (no + v), k)
        lin(o, a + "o_proj", H, nh * v, b)
        if i >= c["first_k_dense_replace"] and i % c["moe_layer_freq"] == 0:
            for x in range(c["n_routed_experts"]): mlp3(o, p + f"mlp.experts.{x}.", H, c["moe_intermediate_size"])
            lin(o, p + "mlp.gate", c["n_routed_experts"], H)
            if c["topk_method"] == "noaux_tc": o[p + "mlp.gate.e_score_correction_bias"] = (c["n_routed_experts"],)
            mlp3(o, p + "mlp.shared_experts.", H, c["moe_intermediate_size"] * c["n_shared_experts"])
        else: mlp3(o, p + "mlp.", H, c["intermediate_size"])
        ln(o, p + "input_layernorm", H, False); ln(o, p + "post_attention_layernorm", H, False)
    ln(o, "model.norm", H, False); o["lm_head.weight"] = (c["vocab_size"], H)
    return o

def ministral3(c):
    sees = "vision_config" in c; t = c.get("text_config", c); m = "language_model." if sees else ""
    o = {m + n: sh for n, sh in MM.llama_like(t, head=not c.get("tie_word_embeddings", t.get("tie_word_embeddings", False))).items()}
    if sees: lin(o, "multi_modal_projector.linear_1", 8, 12)                                                   # not converted
    return o
def eagle(c):
    o = {n.removeprefix("model."): sh for n, sh in MM.llama_like(c, head=False).items() if n not in ("model.norm.weight", "model.layers.0.input_layernorm.weight")}
    lin(o, "fc", c["hidden_size"], 2 * c["hidden_size"], c.get("bias", True))
    return o
def medusa(c):
    o = {}
    for h in range(c["medusa_num_heads"]):
        for i in range(c["medusa_num_layers"]): lin(o, f"medusa_head.{h}.{i}.linear", c["hidden_size"], c["hidden_size"], True)
        lin(o, f"medusa_head.{h}.{c['medusa_num_layers']}", c["vocab_size"], c["hidden_size"])
    return o

M = {}
def add(name, names, dt, seed, tok="bl", wide=(), **cfg):
    M[name] = dict(names=names, dt=dt, seed=seed, tok=tok, wide=wide, cfg=cfg)

Q35 = dict(hidden_size=64, intermediate_size=104, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, vocab_size=266, head_dim=24, rms_norm_eps=1e-6,
    hidden_act="silu", attention_bias=False, linear_key_head_dim=16, linear_value_head_dim=24, linear_num_key_heads=2, linear_num_value_heads=4, linear_conv_kernel_dim=4,
    full_attention_interval=2, max_position_embeddings=4096)
add("qwen3-5-bf16", qwen3_5, "BF16", 301, wide=("A_log",), model_type="qwen3_5", tie_word_embeddings=True, image_token_id=9,
    text_config={**Q35, "model_type": "qwen3_5_text", "tie_word_embeddings": True, "rope_parameters": {"rope_theta": 10000000, "partial_rotary_factor": 0.25, "rope_type": "default"}})
add("qwen3-5-text-f16", qwen3_5, "F16", 302, model_type="qwen3_5_text", **{**Q35, "num_hidden_layers": 3, "full_attention_interval": 3}, tie_word_embeddings=False,
    rope_parameters={"rope_theta": 5000000, "partial_rotary_factor": 0.5, "rope_type": "default"})
add("qwen3-embedding-bf16", qwen3_embedding, "BF16", 303, model_type="qwen3", hidden_size=64, intermediate_size=104, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=266, head_dim=24, rms_norm_eps=1e-6, hidden_act="silu", attention_bias=False, rope_theta=1000000, max_position_embeddings=2048, tie_word_embeddings=True)
DS = dict(hidden_size=64, intermediate_size=104, moe_intermediate_size=56, num_attention_heads=4, num_key_value_heads=4, n_shared_experts=2, n_routed_experts=4, num_experts_per_tok=2,
    norm_topk_prob=False, first_k_dense_replace=1, moe_layer_freq=1, routed_scaling_factor=1.0, n_group=1, topk_group=1, attention_bias=False, kv_lora_rank=40,
    qk_rope_head_dim=8, v_head_dim=24, qk_nope_head_dim=16, rms_norm_eps=1e-6, rope_theta=10000, max_position_embeddings=4096, vocab_size=266, hidden_act="silu", tie_word_embeddings=False,
    rope_scaling={"type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707, "original_max_position_embeddings": 1024})
add("deepseek-v2-bf16", deepseek_v2, "BF16", 304, model_type="deepseek_v2", num_hidden_layers=2, q_lora_rank=None, scoring_func="softmax", topk_method="greedy", **DS)
add("deepseek-v3-bf16", deepseek_v2, "BF16", 305, wide=("e_score_correction_bias",), model_type="deepseek_v3", num_hidden_layers=3, q_lora_rank=48, scoring_func="sigmoid", topk_method="noaux_tc", **{**DS, "moe_layer_freq": 2})
add("deepseek-v2-bias-f32", deepseek_v2, "F32", 306, model_type="deepseek_v2", num_hidden_layers=1, q_lora_rank=48, scoring_func="softmax", topk_method="group_limited_greedy", **{**DS, "attention_bias": True, "n_group": 2})
LL = dict(hidden_size=64, intermediate_size=104, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=266, rms_norm_eps=1e-5, hidden_act="silu", max_position_embeddings=2048)
YARN = {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 16.0, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 512}
add("ministral3-bf16", ministral3, "BF16", 307, tok="sp", model_type="ministral3", tie_word_embeddings=False, dtype="bfloat16", vision_config={"hidden_size": 8},
    text_config={**LL, "head_dim": 24, "sliding_window": None, "model_type": "ministral3", "tie_word_embeddings": True, "rope_parameters": YARN})
add("ministral3-text-f16", ministral3, "F16", 308, tok="sp", model_type="ministral3", tie_word_embeddings=True, sliding_window=1024, rope_parameters=YARN, **LL)
add("eagle-f16", eagle, "F16", 309, tok="sp", model_type="llama", rope_theta=10000.0, **LL)
add("eagle-nobias-bf16", eagle, "BF16", 310, tok="sp", model_type="eagle", bias=False, **{**LL, "num_hidden_layers": 1})
add("medusa-f16", medusa, "F16", 311, tok="sp", model_type="medusa", medusa_num_heads=2, medusa_num_layers=1, hidden_size=64, vocab_size=266)

def build(outdir, name):
    m = M[name]; dt, c = m["dt"], m["cfg"]
    d = os.path.join(outdir, name); os.makedirs(d, exist_ok=True)
    json.dump({"architectures": [name], **c, "torch_dtype": {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[dt]}, open(os.path.join(d, "config.json"), "w"), indent=2)
    rng = np.random.Generator(np.random.PCG64(m["seed"])); T = {}
    for n, sh in m["names"](c).items():
        x = rng.standard_normal(sh, dtype=np.float32)
        x = 1.0 + 0.1 * x if len(sh) == 1 and n.endswith("norm.weight") else 0.05 * x
        own = "F32" if n.rsplit(".", 1)[-1] in m["wide"] else dt
        T[n] = (own, MM.stored(x, own))
    MM.write_st(os.path.join(d, "model.safetensors"), T)
    MM.write_tokenizer(d, m["tok"], c.get("text_config", c)["vocab_size"])

if __name__ == "__main__":
    out = sys.argv[1]
    for n in (sys.argv[2:] or list(M)):
        build(out, n); print(n)
