//! `active_vocab_size` is what Python's `transformers` 4.57.6 counts, for directories that `tokenizers/count.py`
//! generated: `tokenizers/counts.json`, or the file that the variable `COUNTS` names.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use model::{ChatOptions, chat_config};
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the configuration says, and what stays where the library does not load the tokenizer.
const VOCABULARY: u64 = 99_999;

#[derive(serde::Deserialize)]
struct Cases {
    plain: Value,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    files: Map<String, Value>,
    tokens: Option<u64>,
    reason: Option<String>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tokenizers").join(name)
}

fn write(directory: &Path, files: &Map<String, Value>, plain: &Value) {
    for (name, content) in files {
        let path = directory.join(name);
        match (name.as_str(), content) {
            ("tokenizer.model", Value::String(model)) => {
                fs::copy(fixture(model), path).map(|_| ()).unwrap();
            }
            ("config.json", Value::Object(config)) => {
                let mut config = config.clone();
                let sizes = json!({
                    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4,
                    "vocab_size": VOCABULARY, "rms_norm_eps": 1e-6, "max_position_embeddings": 128
                });
                config.extend(sizes.as_object().unwrap().clone());
                fs::write(path, Value::Object(config).to_string()).unwrap();
            }
            (_, Value::String(text)) if text == "plain" => fs::write(path, plain.to_string()).unwrap(),
            (_, Value::String(text)) => fs::write(path, text).unwrap(),
            (_, value) => fs::write(path, value.to_string()).unwrap(),
        }
    }
}

#[test]
fn tokens_are_counted_as_transformers_counts_them() {
    let path = std::env::var_os("COUNTS").map_or(fixture("counts.json"), PathBuf::from);
    let Cases { plain, cases } = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() >= 200);
    let (mut same, mut unknown, mut differing) = (0, 0, Vec::new());
    for case in &cases {
        let (source, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(source.path(), &case.files, &plain);
        let options = ChatOptions {
            source: source.path().to_owned(),
            output: output.path().join("out"),
            quantization: "q4f16_1".to_owned(),
            architecture: "llama".to_owned(),
            conversation_template: "llama-2".to_owned(),
            overrides: Map::new(),
        };
        let notes = chat_config(&options);
        // A token that stands twice is refused by the reference, too, before it counts.
        if notes.as_ref().is_err_and(|error| format!("{error:#}").contains("` twice")) {
            same += 1;
            continue;
        }
        let notes = notes.unwrap();
        let config = fs::read_to_string(options.output.join("mlc-chat-config.json")).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        let found = config["active_vocab_size"].as_u64().unwrap();
        let said = notes.iter().find(|note| note.contains("active_vocab_size"));
        assert_eq!(said.is_some(), found == VOCABULARY, "{notes:?}");
        if said.is_some_and(|note| note.contains("the reference may count other tokens")) {
            unknown += 1;
        } else if found == case.tokens.unwrap_or(VOCABULARY) {
            same += 1;
        } else {
            let files = Value::Object(case.files.clone());
            differing.push(format!("{found}, not {:?} ({:?}), {said:?}: {files}", case.tokens, case.reason));
        }
    }
    println!("{same} of {} are counted as by transformers; {unknown} are not followed", cases.len());
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
    assert!(unknown * 20 <= cases.len(), "{unknown} are not followed");
}
