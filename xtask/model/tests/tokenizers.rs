//! SentencePiece models become the `tokenizer.json` that `transformers` makes of them, to the byte.
//!
//! `tokenizers/make.py` trains the models and records the digests in `cases.json`, with the versions that gave them.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use model::{ChatOptions, chat_config};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use store::Digest;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tokenizers").join(name)
}

/// A checkpoint's directory without weights.
fn checkpoint(model: &[u8], files: &Map<String, Value>) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tokenizer.model"), model).unwrap();
    for (name, content) in files {
        let mut content = content.clone();
        if name == "config" {
            let sizes = json!({
                "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4,
                "vocab_size": 512, "rms_norm_eps": 1e-6, "max_position_embeddings": 128
            });
            content.as_object_mut().unwrap().extend(sizes.as_object().unwrap().clone());
        }
        fs::write(directory.path().join(format!("{name}.json")), content.to_string()).unwrap();
    }
    directory
}

/// Gives notes.
fn convert(source: &Path, output: &Path) -> Vec<String> {
    let options = ChatOptions {
        source: source.to_owned(),
        output: output.to_owned(),
        quantization: "q4f16_1".to_owned(),
        architecture: "llama".to_owned(),
        conversation_template: "llama-2".to_owned(),
        overrides: Map::new(),
    };
    chat_config(&options).unwrap()
}

#[test]
fn tokenizers_are_the_references_to_the_byte() {
    let cases: Value = serde_json::from_str(&fs::read_to_string(fixture("cases.json")).unwrap()).unwrap();
    for (name, case) in cases["cases"].as_object().unwrap() {
        let model = fs::read(fixture(&format!("{}.model", case["model"].as_str().unwrap()))).unwrap();
        let source = checkpoint(&model, case["files"].as_object().unwrap());
        let output = tempfile::tempdir().unwrap();
        let notes = convert(source.path(), output.path());
        let made = output.path().join("tokenizer.json");
        match case["sha256"].as_str() {
            Some(expected) => {
                assert_eq!(notes, Vec::<String>::new(), "{name}");
                assert_eq!(Digest::of_file(&made).unwrap().hex(), expected, "{name}");
            }
            None => {
                assert!(!made.exists(), "{name}");
                assert!(
                    notes[0].contains("none could be made: tokenizer.model cannot be converted"),
                    "{notes:?}"
                );
            }
        }
        assert!(!source.path().join("tokenizer.json").exists(), "the checkpoint was written to");
    }
}

#[test]
fn a_converted_tokenizer_is_described_as_the_reference_does() {
    let files =
        json!({"config": {"model_type": "llama"}, "tokenizer_config": {"tokenizer_class": "LlamaTokenizer"}});
    let source = checkpoint(&fs::read(fixture("llama.model")).unwrap(), files.as_object().unwrap());
    let output = tempfile::tempdir().unwrap();
    assert_eq!(convert(source.path(), output.path()), Vec::<String>::new());
    let config = fs::read_to_string(output.path().join("mlc-chat-config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let listed = ["tokenizer.model", "tokenizer_config.json", "tokenizer.json"];
    assert_eq!(config["tokenizer_files"], json!(listed));
    let info = json!({
        "token_postproc_method": "byte_fallback", "prepend_space_in_encode": true, "strip_space_in_decode": true
    });
    assert_eq!(config["tokenizer_info"], info);
    // It counts tokens where the checkpoint has a tokenizer.json alone.
    assert_eq!(config["active_vocab_size"], 512);
}

#[test]
fn what_is_no_sentencepiece_model_is_left_with_the_reason() {
    let piece = |text: &str| [&[10, text.len() as u8 + 2, 10, text.len() as u8], text.as_bytes()].concat();
    for (model, reason) in [
        (b"\n\x7fcut off".to_vec(), "it is not a SentencePiece model"),
        (vec![], "it has no pieces"),
        (piece(""), "piece 0 is empty"),
        ([piece("a"), piece("a")].concat(), "its pieces 0 and 1 are both `a`"),
        (vec![10, 8, 10, 1, 97, 21, 0, 0, 192, 127], "has the score NaN"),
        ([piece("a"), piece("b")].concat(), "fewer than four pieces"),
    ] {
        let source = checkpoint(&model, json!({"config": {"model_type": "llama"}}).as_object().unwrap());
        let output = tempfile::tempdir().unwrap();
        let notes = convert(source.path(), output.path());
        assert!(notes[0].contains(reason), "expected `{reason}` in: {notes:?}");
        assert!(!output.path().join("tokenizer.json").exists());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes are changed at random: the model is converted or refused, and nothing panics.
    #[test]
    fn damaged_models_do_not_panic(changes in prop::collection::vec((0usize..5000, any::<u8>()), 1..6), cut in 0usize..5000) {
        let mut model = fs::read(fixture("gemma.model")).unwrap();
        for (position, byte) in changes {
            model[position] = byte;
        }
        if cut % 3 == 0 {
            model.truncate(cut);
        }
        let source = checkpoint(&model, json!({"config": {"model_type": "gemma"}}).as_object().unwrap());
        let output = tempfile::tempdir().unwrap();
        convert(source.path(), output.path());
    }
}
