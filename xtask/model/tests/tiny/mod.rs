//! Checkpoints of two layers that compute something definite: weights of a fixed generator, exact in bfloat16, whose
//! answers were computed once by another program (NumPy in float64, and TVM).

use serde_json::json;
use std::{fs, path::Path};

/// A checkpoint to write.
#[derive(Clone, Copy)]
pub struct Tiny {
    /// `llama`, `qwen2` or `qwen3`, or what has the same tensors as one of them.
    pub model_type: &'static str,
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub vocabulary: usize,
    pub is_tied: bool,
    pub seed: u64,
}

pub const QWEN2: Tiny = Tiny {
    model_type: "qwen2",
    hidden: 128,
    intermediate: 352,
    layers: 2,
    heads: 4,
    kv_heads: 2,
    vocabulary: 320,
    is_tied: false,
    seed: 7,
};
pub const LLAMA: Tiny = Tiny { model_type: "llama", seed: 11, ..QWEN2 };
pub const QWEN3: Tiny = Tiny { model_type: "qwen3", seed: 17, ..QWEN2 };
pub const TIED: Tiny = Tiny { is_tied: true, seed: 13, ..QWEN2 };

/// The numbers of splitmix64's finalizer, -128 to 127.
fn numbers(seed: u64, count: usize) -> impl Iterator<Item = f32> {
    (1..=count as u64).map(move |index| {
        let mut x =
            index.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(seed.wrapping_mul(0xD134_2543_DE82_EF95));
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^= x >> 31;
        (x >> 56) as f32 - 128.0
    })
}

/// A file of safetensors that is being made.
struct Weights {
    header: serde_json::Map<String, serde_json::Value>,
    data: Vec<u8>,
    seed: u64,
}

impl Weights {
    fn put(&mut self, name: &str, shape: &[usize], value: impl Fn(f32) -> f32) {
        self.seed += 1;
        let start = self.data.len();
        for number in numbers(self.seed, shape.iter().product()) {
            let bits = value(number).to_bits();
            assert_eq!(bits & 0xFFFF, 0, "{name} is not exact in bfloat16");
            self.data.extend_from_slice(&((bits >> 16) as u16).to_le_bytes());
        }
        let offsets = [start, self.data.len()];
        let entry = json!({ "dtype": "BF16", "shape": shape, "data_offsets": offsets });
        self.header.insert(name.to_owned(), entry);
    }

    fn linear(&mut self, name: &str, shape: [usize; 2], size: f64) {
        // The nearest power of two keeps products exact.
        let scale = size.log2().round_ties_even().exp2() as f32 / 128.0;
        self.put(&format!("{name}.weight"), &shape, |number| number * scale);
    }

    fn norm(&mut self, name: &str, length: usize) {
        let value = |number: f32| (number * 0.25 + 128.0).round_ties_even() / 128.0;
        self.put(&format!("{name}.weight"), &[length], value);
    }
}

impl Tiny {
    /// Writes the checkpoint: weights, `config.json` and a tokenizer of bytes and some pairs.
    pub fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).unwrap();
        let mut weights =
            Weights { header: serde_json::Map::new(), data: Vec::new(), seed: self.seed * 1000 };
        self.put(&mut weights);
        let mut header = serde_json::to_vec(&weights.header).unwrap();
        header.resize(header.len().next_multiple_of(8), b' ');
        let file = [&(header.len() as u64).to_le_bytes()[..], &header, &weights.data].concat();
        fs::write(directory.join("model.safetensors"), file).unwrap();
        let last = write_tokenizer(directory);
        let mut config = json!({
            "model_type": self.model_type, "hidden_size": self.hidden, "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads, "vocab_size": self.vocabulary, "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0, "max_position_embeddings": 512, "hidden_act": "silu",
            "tie_word_embeddings": self.is_tied, "torch_dtype": "bfloat16", "bos_token_id": last - 2,
            "eos_token_id": last
        });
        if self.model_type != "qwen2" {
            config["head_dim"] = (self.hidden / self.heads).into();
            config["attention_bias"] = false.into();
        }
        fs::write(directory.join("config.json"), config.to_string()).unwrap();
    }

    fn put(&self, weights: &mut Weights) {
        let Self { hidden, intermediate, heads, kv_heads, vocabulary, .. } = *self;
        let head_dim = hidden / heads;
        let scale = |columns: usize| 1.7 / (columns as f64).sqrt();
        weights.linear("model.embed_tokens", [vocabulary, hidden], 1.0);
        for layer in 0..self.layers {
            let name = |name: &str| format!("model.layers.{layer}.{name}");
            let rows = [("q", heads * head_dim), ("k", kv_heads * head_dim), ("v", kv_heads * head_dim)];
            weights.norm(&name("input_layernorm"), hidden);
            for (part, rows) in rows {
                weights.linear(&name(&format!("self_attn.{part}_proj")), [rows, hidden], scale(hidden));
            }
            weights.linear(&name("self_attn.o_proj"), [hidden, heads * head_dim], scale(hidden));
            if self.model_type == "qwen3" {
                weights.norm(&name("self_attn.q_norm"), head_dim);
                weights.norm(&name("self_attn.k_norm"), head_dim);
            }
            if self.model_type == "qwen2" {
                for (part, rows) in rows {
                    let name = name(&format!("self_attn.{part}_proj.bias"));
                    weights.put(&name, &[rows], |number| number * 0.25 / 128.0);
                }
            }
            weights.norm(&name("post_attention_layernorm"), hidden);
            weights.linear(&name("mlp.gate_proj"), [intermediate, hidden], scale(hidden));
            weights.linear(&name("mlp.up_proj"), [intermediate, hidden], scale(hidden));
            weights.linear(&name("mlp.down_proj"), [hidden, intermediate], scale(intermediate));
        }
        weights.norm("model.norm", hidden);
        if !self.is_tied {
            weights.linear("lm_head", [vocabulary, hidden], 2.0 / (hidden as f64).sqrt());
        }
    }
}

/// A byte-level tokenizer of 301 tokens; the last one ends an answer.
fn write_tokenizer(directory: &Path) -> usize {
    // Bytes as `tokenizers` shows them: those that print as they are, the others from 256 on.
    let prints = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut shown: Vec<(u32, u32)> = (0..256).filter(|byte| prints(*byte)).map(|byte| (byte, byte)).collect();
    shown.extend((0..256).filter(|byte| !prints(*byte)).zip(256..));
    shown.sort_unstable();
    let mut vocabulary = serde_json::Map::new();
    for (byte, shown) in shown {
        vocabulary.insert(char::from_u32(shown).unwrap().to_string(), byte.into());
    }
    let pairs = "th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de \
                 hi ri ro ic ne ea ra ce";
    let mut merges = Vec::new();
    for pair in pairs.split_whitespace() {
        vocabulary.insert(pair.to_owned(), vocabulary.len().into());
        merges.push(format!("{} {}", &pair[..1], &pair[1..]));
    }
    let special = |(id, content): (usize, &&str)| {
        json!({
            "id": vocabulary.len() + id, "content": content, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true
        })
    };
    let added: Vec<_> =
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].iter().enumerate().map(special).collect();
    let last = vocabulary.len() + added.len() - 1;
    let bytes = |prefix: bool| json!({ "type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true });
    let tokenizer = json!({
        "version": "1.0", "added_tokens": added, "pre_tokenizer": bytes(false), "decoder": bytes(true),
        "model": { "type": "BPE", "vocab": vocabulary, "merges": merges }
    });
    fs::write(directory.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let settings = json!({ "tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>" });
    fs::write(directory.join("tokenizer_config.json"), settings.to_string()).unwrap();
    last
}
