"""Llama and Qwen 2 as MLC stores them, written on TVM's relax.frontend.nn.

The names of parameters are those of a converted model. Weights are 4-bit codes in groups of 32 along a row, which share a
scale (q4f16_1, q4f32_1); products are summed in float32. A model is compiled in one of two kinds:

plain   `step(ids[1], pos[1], keys, values, params)`: one token at a time, keys and values in tensors of fixed shape.
paged   `embed`, `prefill`, `decode` and `create_tir_paged_kv_cache`, on TVM's attention cache, as MLC's engine calls them.
"""

import dataclasses
import json

from tvm import relax, te, tirx
from tvm.relax.frontend import nn
from tvm.relax.frontend.nn import op
from tvm.relax.frontend.nn.llm.kv_cache import PagedKVCache, RopeMode, TIRPagedKVCache

GROUP = 32
PER_WORD = 8
# The code of zero.
ZERO = 7


@dataclasses.dataclass
class Sizes:
    """What mlc-chat-config.json says of a model."""

    architecture: str
    dtype: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    epsilon: float
    theta: float
    tied: bool
    context: int

    @staticmethod
    def read(path, context):
        """Reads them, and refuses what is not written here."""
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        architecture, quantization = config["model_type"], config["quantization"]
        if architecture not in ("llama", "qwen2"):
            raise SystemExit(f"{path}: no definition of the architecture `{architecture}` (llama, qwen2)")
        if quantization not in ("q4f16_1", "q4f32_1"):
            raise SystemExit(f"{path}: no kernels for the quantization `{quantization}` (q4f16_1, q4f32_1)")
        model = config["model_config"]
        if model.get("rope_scaling"):
            raise SystemExit(f"{path}: `rope_scaling` is not supported")
        heads = model["num_attention_heads"]
        return Sizes(
            architecture=architecture,
            dtype="float16" if quantization == "q4f16_1" else "float32",
            hidden=model["hidden_size"],
            intermediate=model["intermediate_size"],
            layers=model["num_hidden_layers"],
            heads=heads,
            kv_heads=model["num_key_value_heads"],
            head_dim=model.get("head_dim") or model["hidden_size"] // heads,
            vocabulary=model["vocab_size"],
            epsilon=model["rms_norm_eps"],
            theta=float(model.get("rope_theta") or model["position_embedding_base"]),
            tied=bool(model.get("tie_word_embeddings")),
            context=context,
        )


def weight(codes, scales, row, column, dtype):
    """An element of a quantized weight."""
    word = codes[row, column // PER_WORD]
    code = (word >> ((column % PER_WORD) * 4).astype("uint32")) & tirx.const(15, "uint32")
    return (code.astype(dtype) - tirx.const(ZERO, dtype)) * scales[row, column // GROUP].astype(dtype)


def product(x, codes, scales, columns, rows):
    """x times the transposed weight, summed in float32."""

    def kernel(x, codes, scales):
        k = te.reduce_axis((0, columns), "k")

        def element(*index):
            left = x[(*index[:-1], k)].astype("float32")
            return te.sum(left * weight(codes, scales, index[-1], k, "float32"), axis=k)

        return te.compute((*x.shape[:-1], rows), element, name="product")

    return op.tensor_expr_op(kernel, "product", [x, codes, scales])


class Weight(nn.Module):
    """The codes and scales of a weight."""

    def __init__(self, rows, columns, dtype):
        groups = -(-columns // GROUP)
        self.rows, self.columns, self.dtype = rows, columns, dtype
        self.q_weight = nn.Parameter((rows, groups * GROUP // PER_WORD), "uint32")
        self.q_scale = nn.Parameter((rows, groups), dtype)

    def multiply(self, x):
        return product(x, self.q_weight, self.q_scale, self.columns, self.rows).astype(self.dtype)


class Linear(Weight):
    def __init__(self, columns, rows, dtype, bias=False):
        super().__init__(rows, columns, dtype)
        self.bias = nn.Parameter((rows,), dtype) if bias else None

    def forward(self, x):
        y = self.multiply(x)
        return y if self.bias is None else y + self.bias


class Embedding(Weight):
    def forward(self, ids):
        def kernel(ids, codes, scales):
            element = lambda token, column: weight(codes, scales, ids[token], column, self.dtype)
            return te.compute((ids.shape[0], self.columns), element, name="embed")

        return op.tensor_expr_op(kernel, "embed", [ids, self.q_weight, self.q_scale])


class Network(nn.Module):
    def __init__(self, sizes):
        self.gate_up_proj = Linear(sizes.hidden, 2 * sizes.intermediate, sizes.dtype)
        self.down_proj = Linear(sizes.intermediate, sizes.hidden, sizes.dtype)

    def forward(self, x):
        gate, up = op.split(self.gate_up_proj(x), 2, axis=-1)
        return self.down_proj(op.silu(gate) * up)


class Attention(nn.Module):
    def __init__(self, sizes):
        self.sizes = sizes
        self.all_heads = sizes.heads + 2 * sizes.kv_heads
        qwen2 = sizes.architecture == "qwen2"
        qkv = Linear(sizes.hidden, self.all_heads * sizes.head_dim, sizes.dtype, bias=qwen2)
        if qwen2:
            self.c_attn = qkv
        else:
            self.qkv_proj = qkv
        self.o_proj = Linear(sizes.heads * sizes.head_dim, sizes.hidden, sizes.dtype)

    def qkv(self, x):
        return self.c_attn(x) if self.sizes.architecture == "qwen2" else self.qkv_proj(x)

    def paged(self, x, cache, layer):
        """With TVM's cache, which turns queries and keys by their positions itself."""
        s, (batch, length, _) = self.sizes, x.shape
        qkv = op.reshape(self.qkv(x), (batch, length, self.all_heads, s.head_dim))
        y = cache.attention_with_fused_qkv(layer, qkv, s.heads, sm_scale=s.head_dim**-0.5)
        return self.o_proj(op.reshape(y, (batch, length, s.heads * s.head_dim)))

    def plain(self, x, position, keys, values, layer):
        """Of one token, with keys and values as tensors [layers, context, kv_heads, head_dim]."""
        s = self.sizes
        qkv = op.reshape(self.qkv(x), (self.all_heads, s.head_dim))
        qkv = op.tensor_expr_op(self.turn, "turn", [qkv, position])
        keys = op.tensor_expr_op(self.put(layer, s.heads), "put", [keys, qkv, position])
        values = op.tensor_expr_op(self.put(layer, s.heads + s.kv_heads), "put", [values, qkv, position])
        scores = op.tensor_expr_op(self.score(layer), "score", [qkv, keys, position])
        y = op.tensor_expr_op(self.mix(layer), "mix", [op.softmax(scores, axis=-1), values])
        return self.o_proj(y.astype(s.dtype)), keys, values

    def turn(self, heads, position):
        """Turns the heads of queries and keys: the first half of each with the second."""
        s, half = self.sizes, self.sizes.head_dim // 2

        def element(head, i):
            exponent = (i % half).astype("float32") * tirx.const(-2.0 / s.head_dim, "float32")
            angle = position[0].astype("float32") * te.power(tirx.const(s.theta, "float32"), exponent)
            own = heads[head, i].astype("float32")
            other = heads[head, (i + half) % s.head_dim].astype("float32")
            turned = own * te.cos(angle) + tirx.if_then_else(i < half, -other, other) * te.sin(angle)
            return tirx.if_then_else(head < s.heads + s.kv_heads, turned, own).astype(s.dtype)

        return te.compute((self.all_heads, s.head_dim), element, name="turn")

    def put(self, layer, first):
        """The cache with this token's heads, from the `first` on, at its position."""

        def kernel(cache, heads, position):
            def element(l, token, head, i):
                here = tirx.all(l == layer, token == position[0])
                return tirx.if_then_else(here, heads[first + head, i], cache[l, token, head, i])

            return te.compute(cache.shape, element, name="put")

        return kernel

    def score(self, layer):
        s, shared = self.sizes, self.sizes.heads // self.sizes.kv_heads

        def kernel(heads, keys, position):
            i = te.reduce_axis((0, s.head_dim), "i")

            def dot(head, token):
                key = keys[layer, token, head // shared, i].astype("float32")
                return te.sum(heads[head, i].astype("float32") * key, axis=i)

            dots = te.compute((s.heads, s.context), dot, name="dot")
            scale, never = tirx.const(s.head_dim**-0.5, "float32"), tirx.const(-1e30, "float32")
            seen = lambda head, token: tirx.if_then_else(token <= position[0], dots[head, token] * scale, never)
            return te.compute((s.heads, s.context), seen, name="score")

        return kernel

    def mix(self, layer):
        s, shared = self.sizes, self.sizes.heads // self.sizes.kv_heads

        def kernel(weights, values):
            token = te.reduce_axis((0, s.context), "token")

            def element(_, __, i):
                head = i // s.head_dim
                value = values[layer, token, head // shared, i % s.head_dim].astype("float32")
                return te.sum(weights[head, token] * value, axis=token)

            return te.compute((1, 1, s.heads * s.head_dim), element, name="mix")

        return kernel


def norm(sizes):
    return nn.RMSNorm(sizes.hidden, -1, sizes.epsilon, bias=False, dtype=sizes.dtype)


class Layer(nn.Module):
    def __init__(self, sizes):
        self.self_attn, self.mlp = Attention(sizes), Network(sizes)
        self.input_layernorm, self.post_attention_layernorm = norm(sizes), norm(sizes)


class Body(nn.Module):
    def __init__(self, sizes):
        self.embed_tokens = Embedding(sizes.vocabulary, sizes.hidden, sizes.dtype)
        self.layers = nn.ModuleList([Layer(sizes) for _ in range(sizes.layers)])
        self.norm = norm(sizes)


class LanguageModel(nn.Module):
    def __init__(self, sizes, target):
        self.sizes, self.target = sizes, target
        self.model = Body(sizes)
        if not sizes.tied:
            self.lm_head = Linear(sizes.hidden, sizes.vocabulary, sizes.dtype)

    def head(self, x):
        """The logits after the last token."""
        last = lambda x: te.compute((1, 1, self.sizes.hidden), lambda _, __, i: x[0, x.shape[1] - 1, i], name="last")
        x = self.model.norm(op.tensor_expr_op(last, "last", [x]))
        return (self.model.embed_tokens if self.sizes.tied else self.lm_head).multiply(x).astype("float32")

    def step(self, ids, position, keys, values):
        x = op.reshape(self.model.embed_tokens(ids), (1, 1, self.sizes.hidden))
        for index, layer in enumerate(self.model.layers):
            y, keys, values = layer.self_attn.plain(layer.input_layernorm(x), position, keys, values, index)
            x = x + y
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return self.head(x), keys, values

    def embed(self, ids):
        return self.model.embed_tokens(ids)

    def forward(self, x, cache):
        for index, layer in enumerate(self.model.layers):
            x = x + layer.self_attn.paged(layer.input_layernorm(x), cache, index)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return self.head(x), cache

    prefill = forward
    decode = forward

    def create_tir_paged_kv_cache(
        self, max_batch_size, max_total_seq_len, prefill_chunk_size, page_size, support_sliding_window
    ):
        s = self.sizes
        return TIRPagedKVCache(
            "mha",
            max_batch_size,
            max_total_seq_len,
            prefill_chunk_size,
            page_size,
            support_sliding_window,
            layer_partition=relax.ShapeExpr([0, s.layers]),
            num_hidden_layers=s.layers,
            num_attention_heads=s.heads,
            num_key_value_heads=s.kv_heads,
            qk_head_dim=s.head_dim,
            v_head_dim=s.head_dim,
            mla_original_qk_head_dim=0,
            mla_original_v_head_dim=0,
            rope_mode=RopeMode.NORMAL,
            rope_scale=1,
            rope_theta=s.theta,
            rope_scaling={},
            rope_ext_factors=relax.PrimValue(0),
            rotary_dim=s.head_dim,
            enable_disaggregation=False,
            dtype=s.dtype,
            target=self.target,
        )

    def functions(self, kind):
        """What the library has, with the shapes of arguments."""
        s, tensor = self.sizes, nn.spec.Tensor
        packed = {"param_mode": "packed", "effect_mode": "none"}
        if kind == "plain":
            cache = tensor([s.layers, s.context, s.kv_heads, s.head_dim], s.dtype)
            one = tensor([1], "int32")
            return {"step": {"ids": one, "position": one, "keys": cache, "values": cache, "$": packed}}
        cache = nn.spec.Object(object_type=PagedKVCache)
        bounds = "max_batch_size max_total_seq_len prefill_chunk_size page_size support_sliding_window"
        return {
            "embed": {"ids": tensor(["length"], "int32"), "$": packed},
            "prefill": {"x": tensor([1, "length", s.hidden], s.dtype), "cache": cache, "$": packed},
            "decode": {"x": tensor([1, 1, s.hidden], s.dtype), "cache": cache, "$": packed},
            "create_tir_paged_kv_cache": {
                **{name: int for name in bounds.split()},
                "$": {"param_mode": "none", "effect_mode": "none"},
            },
        }
