//! A small checkpoint, whole but for meaning: what the tests of files need.

#![allow(dead_code, reason = "each test program uses a part")]

use model::{Chat, ChatOptions, Options};
use std::{collections::BTreeMap, fs, path::Path};
use store::Digest;

/// A Llama whose embedding is an eighth of a shard or more: `rows` of 64 bfloat16. Another `seed` is another fine-tune.
pub fn write_checkpoint(directory: &Path, rows: usize, seed: usize) {
    let layer = |name: &str, shape: &[usize]| (format!("model.layers.0.{name}.weight"), shape.to_vec());
    let tensors = [
        ("model.embed_tokens.weight".to_owned(), vec![rows, 64]),
        layer("self_attn.q_proj", &[64, 64]),
        layer("self_attn.k_proj", &[32, 64]),
        layer("self_attn.v_proj", &[32, 64]),
        layer("self_attn.o_proj", &[64, 64]),
        layer("mlp.gate_proj", &[96, 64]),
        layer("mlp.up_proj", &[96, 64]),
        layer("mlp.down_proj", &[64, 96]),
        layer("input_layernorm", &[64]),
        layer("post_attention_layernorm", &[64]),
        ("model.norm.weight".to_owned(), vec![64]),
    ];
    fs::create_dir_all(directory).unwrap();
    write_tensors(&directory.join("model.safetensors"), "BF16", &tensors, |index| {
        let value = ((index + seed).wrapping_mul(2_654_435_761) % 1000) as f32 / 1000.0 - 0.5;
        let [_, _, low, high] = value.to_le_bytes();
        [low, high]
    });
    let config = serde_json::json!({
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": rows, "tie_word_embeddings": true,
        "rms_norm_eps": 1e-6, "max_position_embeddings": 128
    });
    fs::write(directory.join("config.json"), config.to_string()).unwrap();
    let tokenizer = r#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}}, "added_tokens": []}"#;
    fs::write(directory.join("tokenizer.json"), tokenizer).unwrap();
    fs::write(directory.join("tokenizer_config.json"), "{}").unwrap();
}

/// Writes a file of safetensors; `element` gives the bytes of each tensor's elements by their positions.
pub fn write_tensors<const N: usize>(
    path: &Path,
    dtype: &str,
    tensors: &[(String, Vec<usize>)],
    element: impl Fn(usize) -> [u8; N],
) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::<u8>::new());
    for (name, shape) in tensors {
        let start = data.len();
        data.extend((0..shape.iter().product()).flat_map(&element));
        let offsets = [start, data.len()];
        header.insert(
            name.clone(),
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}),
        );
    }
    let header = serde_json::to_vec(&header).unwrap();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    fs::write(path, file).unwrap();
}

/// With the template `LM`, and a context of so many tokens where that is not the checkpoint's.
pub fn chat(context: Option<u64>) -> Chat {
    let overrides = context.map(|size| ("context_window_size".to_owned(), size.into())).into_iter().collect();
    Chat { conversation_template: "LM".to_owned(), overrides }
}

/// What `model chat-config` is asked for.
pub fn chat_options(source: &Path, output: &Path, quantization: &str) -> ChatOptions {
    chat(None).options(&Options::new(source, output, quantization))
}

/// The digest of every file in a directory.
pub fn digests(directory: &Path) -> BTreeMap<String, Digest> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), Digest::of_file(&path).unwrap()))
        .collect()
}
