//! Checkpoints that public reports brought, with the SHA-256 of what the reference (mlc-llm 79d603f, `transformers`
//! 4.57.6) makes of them: factors that are doubles of 17 digits, and tokenizers whose tokens are counted from every file.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use model::{ChatOptions, chat_config};
use serde_json::Map;
use std::{collections::BTreeMap, fs, path::Path};
use store::Digest;

type Files = BTreeMap<String, String>;

#[test]
fn chat_configurations_of_reported_cases_are_the_references() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let text = fs::read_to_string(cases.join("expected.json")).unwrap();
    let expected: BTreeMap<String, Files> = serde_json::from_str(&text).unwrap();
    assert_eq!(expected.len(), 7);
    for (name, expected) in expected {
        let output = tempfile::tempdir().unwrap();
        let options = ChatOptions {
            source: cases.join(&name),
            output: output.path().join("out"),
            quantization: "q4f16_1".to_owned(),
            architecture: "auto".to_owned(),
            conversation_template: "LM".to_owned(),
            overrides: Map::new(),
        };
        chat_config(&options).unwrap();
        let made: Files = fs::read_dir(&options.output)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let digest = Digest::of_file(&path).unwrap().hex();
                (path.file_name().unwrap().to_str().unwrap().to_owned(), digest)
            })
            .collect();
        assert_eq!(made, expected, "{name}");
    }
}
