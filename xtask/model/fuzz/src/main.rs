//! Fuzzes what reads strangers' files: `READER=header|index|cache|tokenizer` says which.
//!
//! The readers are taken as sources, as most are private to `model`, and so that nothing else has to be built.

#![no_main]
#![allow(dead_code, unreachable_pub, reason = "the sources have more than the readers")]

#[path = "../../src/added_tokens.rs"]
mod added_tokens;
#[path = "../../src/checkpoint.rs"]
mod checkpoint;
#[path = "../../src/container.rs"]
mod container;
#[path = "../../src/dtype.rs"]
mod dtype;
#[path = "../../src/python.rs"]
mod python;
#[path = "../../src/sentencepiece.rs"]
mod sentencepiece;
#[path = "../../src/tokenizer_json.rs"]
mod tokenizer_json;

use libfuzzer_sys::fuzz_target;
use std::{fs, sync::LazyLock};
use tempfile::TempDir;

/// A safetensors file of one tensor `a`.
const SOUND: &[u8] = b"\x32\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}\0";

static READER: LazyLock<String> = LazyLock::new(|| std::env::var("READER").unwrap_or_default());
static PLACE: LazyLock<TempDir> = LazyLock::new(|| {
    let place = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    fs::write(place.path().join("config.json"), "{}").expect("config.json");
    fs::write(place.path().join("model.safetensors"), SOUND).expect("model.safetensors");
    place
});

/// Opens a checkpoint of which one file is fuzzed, and touches all that it says it has.
fn open(name: &str, bytes: &[u8]) {
    fs::write(PLACE.path().join(name), bytes).expect("a file in memory");
    let Ok(checkpoint) = checkpoint::Checkpoint::open(PLACE.path()) else { return };
    for name in checkpoint.order() {
        let tensor = checkpoint.tensor(name).expect("a tensor that is named");
        let elements: u64 = tensor.shape.iter().product();
        assert_eq!(checkpoint.bytes(tensor).len() as u64, elements * tensor.dtype.size());
    }
}

fuzz_target!(|bytes: &[u8]| {
    match READER.as_str() {
        "header" => open("model.safetensors", bytes),
        "index" => open("model.safetensors.index.json", bytes),
        "cache" => {
            if let Ok(cache) = std::str::from_utf8(bytes).map(container::TensorCache::parse) {
                drop(cache);
            }
        }
        "tokenizer" => {
            // One byte chooses the family, what follows up to a line's end is tokenizer_config.json.
            let Some((family, bytes)) = bytes.split_first() else { return };
            let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
            let (text, model) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let object = |text: &[u8]| serde_json::from_slice(text).unwrap_or_default();
            let family = if family % 2 == 0 { "llama" } else { "gemma" };
            let config = object(format!("{{\"model_type\":\"{family}\"}}").as_bytes());
            let special = object(if text.len() % 2 == 0 { text } else { b"{}" });
            let settings =
                tokenizer_json::Settings { config, tokenizer: object(text), special, ..Default::default() };
            if let Ok(made) = tokenizer_json::convert(model, &settings) {
                let _: serde_json::Value = serde_json::from_str(&made).expect("what is written is JSON");
            }
        }
        other => panic!("READER is `{other}`, not header, index, cache or tokenizer"),
    }
});
