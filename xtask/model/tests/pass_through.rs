//! Checkpoints that are quantized already: copied, fused, and nothing else. What comes out is compared with a plain
//! model of matrices as lists of rows.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use model::{Options, TENSOR_CACHE, TensorCache, convert, verify};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path};
use store::Silent;
use tempfile::TempDir;

const HIDDEN: usize = 256;
const INTERMEDIATE: usize = 384;
const KEY_VALUE: usize = 128;
const VOCABULARY: usize = 24;
const EXPERTS: usize = 3;
const EXPERT: usize = 128;

/// Rows of elements of some bytes each.
#[derive(Clone, Debug, PartialEq)]
struct Matrix {
    dtype: &'static str,
    columns: usize,
    rows: Vec<Vec<u8>>,
}

impl Matrix {
    /// Of bytes that differ everywhere, but make finite numbers.
    fn new(dtype: &'static str, rows: usize, columns: usize, seed: usize) -> Self {
        let size = match dtype {
            "F8_E4M3" | "U8" => 1,
            "I32" | "F32" => 4,
            _ => 2,
        };
        let byte = |row: usize, at: usize| {
            let value = (row * 7919 + at * 104_729 + seed * 1_299_709).wrapping_mul(2_654_435_761) >> 13;
            // The byte with the exponent: no infinities, no NaN.
            if at % size == size - 1 { (value % 0x3C) as u8 } else { value as u8 }
        };
        let rows = (0..rows).map(|row| (0..columns * size).map(|at| byte(row, at)).collect()).collect();
        Self { dtype, columns, rows }
    }

    fn above(parts: &[&Self]) -> Self {
        Self { rows: parts.iter().flat_map(|part| part.rows.clone()).collect(), ..parts[0].clone() }
    }

    fn beside(parts: &[&Self]) -> Self {
        let row = |index: usize| parts.iter().flat_map(|part| part.rows[index].clone()).collect();
        let columns = parts.iter().map(|part| part.columns).sum();
        Self { columns, rows: (0..parts[0].rows.len()).map(row).collect(), ..parts[0].clone() }
    }

    fn bytes(&self) -> Vec<u8> {
        self.rows.concat()
    }
}

type Tensors = BTreeMap<String, Matrix>;

fn write_checkpoint(config: &Value, tensors: &Tensors) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, matrix) in tensors {
        let start = data.len();
        data.extend(matrix.bytes());
        // Norms have one dimension.
        let shape = match name.contains("norm") {
            true => json!([matrix.columns]),
            false => json!([matrix.rows.len(), matrix.columns]),
        };
        let entry = json!({"dtype": matrix.dtype, "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    fs::write(directory.path().join("model.safetensors"), file).unwrap();
    directory
}

/// Name, shape, type and bytes of every tensor of a converted model.
fn converted(directory: &Path) -> BTreeMap<String, (Vec<u64>, String, Vec<u8>)> {
    let cache = TensorCache::parse(&fs::read_to_string(directory.join(TENSOR_CACHE)).unwrap()).unwrap();
    let mut tensors = BTreeMap::new();
    for shard in &cache.records {
        let bytes = fs::read(directory.join(&shard.data_path)).unwrap();
        for record in &shard.records {
            let start = record.byte_offset as usize;
            let content = bytes[start..start + record.nbytes as usize].to_vec();
            tensors.insert(record.name.clone(), (record.shape.clone(), record.dtype.clone(), content));
        }
    }
    tensors
}

type Module = (&'static str, usize, &'static [(&'static str, usize)]);

/// A layer's linear modules: what they are called here and there, their outputs and inputs, and what they are made of.
const MODULES: [Module; 4] = [
    (
        "self_attn.QKV",
        HIDDEN,
        &[("self_attn.q_proj", HIDDEN), ("self_attn.k_proj", KEY_VALUE), ("self_attn.v_proj", KEY_VALUE)],
    ),
    ("self_attn.o_proj", HIDDEN, &[("self_attn.o_proj", HIDDEN)]),
    ("mlp.gate_up_proj", HIDDEN, &[("mlp.gate_proj", INTERMEDIATE), ("mlp.up_proj", INTERMEDIATE)]),
    ("mlp.down_proj", INTERMEDIATE, &[("mlp.down_proj", HIDDEN)]),
];

/// What is not linear, in `dtype`.
fn others(dtype: &'static str, head: bool, more_norms: &[(&str, usize)]) -> Tensors {
    let norm = |name: &str, size, seed| (name.to_owned(), Matrix::new(dtype, 1, size, seed));
    let mut tensors = Tensors::from([
        ("model.embed_tokens.weight".to_owned(), Matrix::new(dtype, VOCABULARY, HIDDEN, 91)),
        norm("model.norm.weight", HIDDEN, 92),
        norm("model.layers.0.input_layernorm.weight", HIDDEN, 93),
        norm("model.layers.0.post_attention_layernorm.weight", HIDDEN, 94),
    ]);
    if head {
        tensors.insert("lm_head.weight".to_owned(), Matrix::new(dtype, VOCABULARY, HIDDEN, 95));
    }
    tensors.extend(more_norms.iter().map(|(name, size)| norm(name, *size, 96)));
    tensors
}

fn config(model_type: &str) -> Value {
    json!({
        "model_type": model_type, "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": VOCABULARY,
        "tie_word_embeddings": false, "rms_norm_eps": 1e-6, "max_position_embeddings": 128, "attention_bias": false,
        "hidden_act": "silu", "rope_theta": 10000.0
    })
}

fn check(config: &Value, scheme: &str, source: &Tensors, expected: &Tensors, types: &[(&str, &str)]) {
    let (checkpoint, output) = (write_checkpoint(config, source), tempfile::tempdir().unwrap());
    convert(&Options::new(checkpoint.path(), output.path(), scheme), &Silent).unwrap();
    assert_eq!(verify(output.path()).unwrap(), Vec::<String>::new());
    let found = converted(output.path());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, matrix) in expected {
        let (shape, dtype, bytes) = &found[name];
        let sizes = if name.contains("norm") {
            vec![matrix.columns]
        } else if name.contains(".moe_") {
            vec![EXPERTS, matrix.rows.len() / EXPERTS, matrix.columns]
        } else {
            vec![matrix.rows.len(), matrix.columns]
        };
        assert_eq!(*shape, sizes.iter().map(|size| *size as u64).collect::<Vec<_>>(), "{name}");
        let (_, stored) = types.iter().find(|(ending, _)| name.ends_with(ending)).unwrap();
        assert_eq!(dtype, stored, "{name}");
        assert!(*bytes == matrix.bytes(), "{name}");
    }
}

fn refused(config: &Value, source: &Tensors, scheme: &str, reason: &str) {
    let (checkpoint, output) = (write_checkpoint(config, source), tempfile::tempdir().unwrap());
    let error = convert(&Options::new(checkpoint.path(), output.path(), scheme), &Silent).unwrap_err();
    assert!(format!("{error:#}").contains(reason), "{error:#}");
}

#[test]
fn autoawq_is_copied_and_fused_side_by_side() {
    let (source, expected) = autoawq(128);
    let types = [("qweight", "uint32"), ("qzeros", "uint32"), ("scales", "float16"), ("weight", "float16")];
    let mut config = config("llama");
    check(&config, "q4f16_autoawq", &source, &expected, &types);
    config["quantization_config"] =
        json!({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"});
    check(&config, "q4f16_autoawq", &source, &expected, &types);
    refused(&config, &source, "q4f16_1", "quantized already, with AWQ (4 bits, groups of 128)");
}

#[test]
fn what_only_looks_like_autoawq_is_refused() {
    // Another group size, said or not.
    let (source, _) = autoawq(64);
    let mut config = config("llama");
    refused(&config, &source, "q4f16_autoawq", "its sources give [6, 32], but config.json asks for [3, 32]");
    config["quantization_config"] = json!({"quant_method": "awq", "bits": 4, "group_size": 64});
    refused(&config, &source, "q4f16_autoawq", "a `group_size` of 128");
    // GPTQ has tensors of these names, packed along the inputs.
    let (mut source, _) = autoawq(128);
    for (name, matrix) in &mut source {
        if name.ends_with(".qweight") {
            *matrix = Matrix::new("I32", matrix.rows.len() / 8, matrix.columns * 8, 1);
        }
    }
    config["quantization_config"] = json!({"quant_method": "gptq", "bits": 4, "group_size": 128});
    refused(&config, &source, "q4f16_autoawq", "`quant_method` \"awq\"");
    refused(&config, &source, "q4f16_1", "quantized already, with GPTQ (4 bits, groups of 128)");
    config.as_object_mut().unwrap().remove("quantization_config");
    refused(
        &config,
        &source,
        "q4f16_autoawq",
        "its sources give [48, 256], but config.json asks for [384, 32]",
    );
}

#[test]
fn what_is_quantized_already_is_named() {
    let mut config = config("llama");
    let mut source = others("F16", true, &[]);
    for (_, inputs, parts) in MODULES {
        for (part, outputs) in parts {
            // bitsandbytes keeps the names.
            source.insert(
                format!("model.layers.0.{part}.weight"),
                Matrix::new("U8", outputs * inputs / 2, 1, 1),
            );
        }
    }
    config["quantization_config"] = json!({"quant_method": "bitsandbytes", "load_in_4bit": true});
    refused(&config, &source, "q4f16_1", "quantized already, with bitsandbytes (4 bits)");
    config.as_object_mut().unwrap().remove("quantization_config");
    config["quantization"] = json!({"group_size": 64, "bits": 4});
    refused(&config, &source, "q4f16_1", "quantized already, with MLX (4 bits, groups of 64)");
}

/// A Llama of one layer as AutoAWQ writes it, and what it is converted to.
fn autoawq(group: usize) -> (Tensors, Tensors) {
    let mut source = others("F16", true, &[]);
    let mut expected = source.clone();
    for (module, (name, inputs, parts)) in MODULES.into_iter().enumerate() {
        let kinds = [
            ("qweight", "I32", inputs, 8),
            ("qzeros", "I32", inputs / group, 8),
            ("scales", "F16", inputs / group, 1),
        ];
        for (suffix, dtype, rows, packed) in kinds {
            let matrices: Vec<_> = parts
                .iter()
                .enumerate()
                .map(|(part, (_, outputs))| Matrix::new(dtype, rows, outputs / packed, 10 * module + part))
                .collect();
            for ((part, _), matrix) in parts.iter().zip(&matrices) {
                source.insert(format!("model.layers.0.{part}.{suffix}"), matrix.clone());
            }
            let name = name.replace("QKV", "qkv_proj");
            let fused = Matrix::beside(&matrices.iter().collect::<Vec<_>>());
            expected.insert(format!("model.layers.0.{name}.{suffix}"), fused);
        }
    }
    (source, expected)
}

#[test]
fn blocks_of_8_bit_floats_are_copied_with_their_scales() {
    let (source, expected) = blocks_of_8_bit_floats(&MODULES.map(|(name, inputs, parts)| {
        let parts = parts.iter().map(|(part, outputs)| ((*part).to_owned(), *outputs)).collect();
        (name.replace("QKV", "c_attn"), inputs, parts)
    }));
    let mut config = config("qwen3");
    config["quantization_config"] = quantization_config();
    check(&config, BLOCK_SCALE, &source, &expected, &BLOCK_TYPES);
}

#[test]
fn blocks_of_experts_are_stacked_with_their_scales() {
    let attention = MODULES[..2].iter().map(|(name, inputs, parts)| {
        let parts = parts.iter().map(|(part, outputs)| ((*part).to_owned(), *outputs)).collect();
        (name.replace("QKV", "c_attn"), *inputs, parts)
    });
    let stacked = |names: &[&str], outputs| {
        let named =
            |expert: usize| names.iter().map(move |name| (format!("mlp.experts.{expert}.{name}"), outputs));
        (0..EXPERTS).flat_map(named).collect::<Vec<_>>()
    };
    let experts = [
        ("mlp.moe_gate_up_proj".to_owned(), HIDDEN, stacked(&["gate_proj", "up_proj"], EXPERT)),
        ("mlp.moe_down_proj".to_owned(), EXPERT, stacked(&["down_proj"], HIDDEN)),
    ];
    let (mut source, mut expected) = blocks_of_8_bit_floats(&attention.chain(experts).collect::<Vec<_>>());
    for tensors in [&mut source, &mut expected] {
        let router = Matrix::new("BF16", EXPERTS, HIDDEN, 97);
        tensors.insert("model.layers.0.mlp.gate.weight".to_owned(), router);
    }
    let mut config = config("qwen3_moe");
    for (key, value) in [
        ("num_experts", EXPERTS),
        ("moe_intermediate_size", EXPERT),
        ("num_experts_per_tok", 2),
        ("decoder_sparse_step", 1),
    ] {
        config[key] = value.into();
    }
    config["quantization_config"] = quantization_config();
    check(&config, BLOCK_SCALE, &source, &expected, &BLOCK_TYPES);

    // Half a block of each of two fused matrices is not a block of both: MLC has no place for the scales.
    config["moe_intermediate_size"] = (EXPERT / 2).into();
    for (name, matrix) in &mut source {
        if name.contains("gate_proj.weight") || name.contains("up_proj.weight") {
            matrix.rows.truncate(EXPERT / 2);
        } else if name.contains("down_proj.weight") && matrix.dtype == "F8_E4M3" {
            *matrix = Matrix::new("F8_E4M3", HIDDEN, EXPERT / 2, 1);
        }
    }
    refused(&config, &source, BLOCK_SCALE, "but config.json asks for [3, 1, 2]");
    refused(&config, &source, "q4f16_1", "quantized to 8-bit floats in blocks");
    config["quantization_config"] = json!({"quant_method": "gptq"});
    refused(&config, &source, BLOCK_SCALE, "`quantization_config.quant_method` is \"gptq\"");
    config.as_object_mut().unwrap().remove("quantization_config");
    refused(&config, &source, BLOCK_SCALE, "with a `weight_block_size`");
}

const BLOCK_SCALE: &str = "fp8_e4m3fn_bf16_block_scale";
const BLOCK: usize = 128;
const BLOCK_TYPES: [(&str, &str); 6] = [
    ("weight_scale_inv", "float32"),
    ("norm.weight", "bfloat16"),
    ("lm_head.weight", "bfloat16"),
    ("embed_tokens.weight", "bfloat16"),
    ("mlp.gate.weight", "bfloat16"),
    ("weight", "float8_e4m3fn"),
];

fn quantization_config() -> Value {
    json!({
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [BLOCK, BLOCK]
    })
}

/// A linear module: its name, its inputs, and names and outputs of what it is made of.
type Linear = (String, usize, Vec<(String, usize)>);

/// A Qwen 3 of one layer with these modules, and what it is converted to.
fn blocks_of_8_bit_floats(modules: &[Linear]) -> (Tensors, Tensors) {
    let norms =
        [("model.layers.0.self_attn.q_norm.weight", 64), ("model.layers.0.self_attn.k_norm.weight", 64)];
    let mut source = others("BF16", true, &norms);
    let mut expected = source.clone();
    for (module, (name, inputs, parts)) in modules.iter().enumerate() {
        for (suffix, dtype, block) in [("weight", "F8_E4M3", 1), ("weight_scale_inv", "BF16", BLOCK)] {
            let matrices: Vec<_> = parts
                .iter()
                .enumerate()
                .map(|(part, (_, outputs))| {
                    Matrix::new(dtype, outputs / block, inputs / block, 10 * module + part)
                })
                .collect();
            for ((part, _), matrix) in parts.iter().zip(&matrices) {
                // Scales are binary32; those of the model are numbers that bfloat16 holds, as shards store them.
                let stored = match dtype {
                    "BF16" => Matrix { dtype: "F32", rows: widened(&matrix.rows), ..matrix.clone() },
                    _ => matrix.clone(),
                };
                source.insert(format!("model.layers.0.{part}.{suffix}"), stored);
            }
            let fused = Matrix::above(&matrices.iter().collect::<Vec<_>>());
            expected.insert(format!("model.layers.0.{name}.{suffix}"), fused);
        }
    }
    (source, expected)
}

/// bfloat16 as binary32.
fn widened(rows: &[Vec<u8>]) -> Vec<Vec<u8>> {
    rows.iter().map(|row| row.chunks(2).flat_map(|pair| [0, 0, pair[0], pair[1]]).collect()).collect()
}

#[test]
fn activations_with_scales_of_their_own_are_refused() {
    let mut config = config("qwen3");
    config["quantization_config"] = quantization_config();
    let scheme = "fp8_e4m3fn_bf16_block_scale_static_activation";
    refused(&config, &others("BF16", true, &[]), scheme, "activations of fused layers have no common scale");
}
