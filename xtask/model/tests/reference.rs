//! Configurations and checkpoints that are not as usual, compared with what the reference made of the same ones.
//!
//! Needs `python3` with NumPy, as `golden` does. `golden/cases.json` has digests of the reference's conversions of
//! `golden/make_cases.py`; `reference/sample.json` a part of what `reference/configurations.py` compares, which is named
//! by `MODEL_CONFIGURATIONS`.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use model::{ChatOptions, Options, TENSOR_CACHE, chat_config, convert};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use store::{Digest, Silent};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn generate(generator: &str, directory: &Path, models: &[&str]) {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = tests().join("golden").join(generator);
    let output = Command::new(&python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .arg(directory)
        .args(models)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{generator} failed (is NumPy installed for {python}?): {errors}");
}

/// The digest of the index of a conversion, which has the MD5 of every shard; or why there is none.
fn converted(source: &Path, scheme: &str) -> Result<String, String> {
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("out");
    let result = convert(&Options::new(source, &output, scheme), &Silent);
    match result {
        Ok(_) => Ok(Digest::of_file(&output.join(TENSOR_CACHE)).unwrap().hex()),
        Err(error) => {
            assert!(!output.exists(), "{error:#}: an output was left");
            Err(format!("{error:#}"))
        }
    }
}

fn configured(source: &Path, overrides: &Map<String, Value>) -> Result<String, String> {
    let scratch = tempfile::tempdir().unwrap();
    let output = scratch.path().join("out");
    let options = ChatOptions {
        source: source.to_owned(),
        output: output.clone(),
        quantization: "q0f16".to_owned(),
        architecture: "auto".to_owned(),
        conversation_template: "LM".to_owned(),
        overrides: overrides.clone(),
    };
    match chat_config(&options) {
        Ok(_) => Ok(Digest::of_file(&output.join("mlc-chat-config.json")).unwrap().hex()),
        Err(error) => {
            assert!(!output.exists(), "{error:#}: an output was left");
            Err(format!("{error:#}"))
        }
    }
}

#[test]
fn checkpoints_as_people_have_them_are_converted_as_the_reference_does() {
    let directory = tempfile::tempdir().unwrap();
    generate("make_cases.py", directory.path(), &[]);
    let text = fs::read_to_string(tests().join("golden/cases.json")).unwrap();
    let cases: BTreeMap<String, BTreeMap<String, Option<String>>> = serde_json::from_str(&text).unwrap();
    let mut differing = Vec::new();
    for (case, schemes) in cases {
        for (scheme, expected) in schemes {
            let found = converted(&directory.path().join(&case), &scheme);
            if found.as_ref().ok() != expected.as_ref() {
                differing.push(format!("{case} {scheme}: {found:?}"));
            }
        }
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}

#[test]
fn what_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    generate("make_cases.py", directory.path(), &[]);
    for (case, reason) in [
        ("index-less", "says that it is in b.safetensors, which is not there"),
        ("lora-mixed", "is bfloat16"),
        ("phi3-vocabulary", "its sources give [296, 64], but config.json asks for [270, 64]"),
    ] {
        let error = converted(&directory.path().join(case), "q4f16_1").unwrap_err();
        assert!(error.contains(reason), "{case}: {error}");
    }
}

/// A change of a checkpoint's configuration, and what the reference made of it.
#[derive(serde::Deserialize)]
struct Changed {
    base: String,
    /// The whole configuration, where it is no change of a checkpoint's.
    #[serde(default)]
    config: Option<Value>,
    /// Where the value stands, if one was changed.
    #[serde(default)]
    path: Vec<String>,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    options: Map<String, Value>,
    #[serde(rename = "chat-config")]
    chat_config: Option<Value>,
    convert: Option<Value>,
}

impl Changed {
    /// Lays the changed checkpoint out in `directory`.
    fn write(&self, models: &Path, directory: &Path) {
        if let Some(config) = &self.config {
            return fs::write(directory.join("config.json"), config.to_string()).unwrap();
        }
        let (nested, base) = match self.base.strip_prefix("nested ") {
            Some(base) => (true, base),
            None => (false, self.base.as_str()),
        };
        let text = fs::read_to_string(models.join(base).join("config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        if nested {
            config =
                json!({"model_type": "gemma3", "vocab_size": config["vocab_size"], "text_config": config});
        }
        if let Some((key, outer)) = self.path.split_last() {
            let mut inside = &mut config;
            for name in outer {
                inside = &mut inside[name];
            }
            match self.value == "<absent>" {
                true => _ = inside.as_object_mut().unwrap().shift_remove(key),
                false => inside[key] = self.value.clone(),
            }
        }
        fs::write(directory.join("config.json"), config.to_string()).unwrap();
        for entry in fs::read_dir(models.join(base)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.contains(".safetensors") {
                fs::hard_link(&path, directory.join(name)).unwrap();
            }
        }
    }
}

/// The checkpoints that are changed, by their generator.
const GENERATED: [(&str, &[&str]); 2] = [
    (
        "make_models.py",
        &[
            "llama-gqa-bf16",
            "mistral-bf16",
            "mistral-swa-f16",
            "mixtral-bf16",
            "qwen2-tied-bf16",
            "qwen3-tied-bf16",
            "qwen3moe-bf16",
            "gemma2-bf16",
            "gemma3-text-bf16",
            "phi3-bf16",
        ],
    ),
    (
        "make_more_models.py",
        &[
            "qwen1-bf16",
            "qwen2moe-bf16",
            "gemma-bf16",
            "phi-f16",
            "phi-msft-f16",
            "mixformer-f16",
            "gpt2-f32",
            "gpt-neox-f16",
            "gpt-bigcode-f32",
            "starcoder2-f32",
            "stablelm-f16",
            "internlm-f16",
            "internlm2-bf16",
            "baichuan-bf16",
            "chatglm-f16",
            "cohere-f16",
            "olmo-f32",
            "olmo2-bf16",
            "minicpm-bf16",
            "minicpm-moe-bf16",
            "nemotron-bf16",
            "orion-bf16",
            "deepseek-bf16",
            "bert-f32",
            "bert-bge-f32",
        ],
    ),
];

/// What the reference refuses says so in the sample, and has a reason in the whole.
fn digest(value: &Value) -> Option<&str> {
    value.as_str().filter(|digest| *digest != "refused")
}

#[test]
fn changed_configurations_are_completed_or_refused_as_the_references() {
    let whole = std::env::var_os("MODEL_CONFIGURATIONS").map(PathBuf::from);
    let file = whole.clone().unwrap_or_else(|| tests().join("reference/sample.json"));
    let rows: Vec<Changed> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let models = tempfile::tempdir().unwrap();
    for (generator, names) in GENERATED {
        generate(generator, models.path(), names);
    }
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut differing = Vec::new();
    for row in &rows {
        let source = tempfile::tempdir_in(models.path()).unwrap();
        row.write(models.path(), source.path());
        let mut compare = |command, expected: &Value, found: Result<String, String>| {
            let outcome = match (digest(expected), &found) {
                (Some(expected), Ok(found)) if expected == found => "same bytes",
                (None, Err(_)) => "refused by both",
                (Some(_), Ok(_)) => "other bytes",
                (Some(_), Err(_)) => "refused by us alone",
                (None, Ok(_)) => "refused by the reference alone",
            };
            *counts.entry((command, outcome)).or_default() += 1;
            if !matches!(outcome, "same bytes" | "refused by both") {
                let (change, options) = (row.path.join("."), Value::Object(row.options.clone()));
                let reason = found.err().unwrap_or_default();
                differing.push(format!(
                    "{command} {}: {change} {} {options}: {outcome}: {expected} {reason}",
                    row.base, row.value
                ));
            }
        };
        if let Some(expected) = &row.chat_config {
            compare("chat-config", expected, configured(source.path(), &row.options));
        }
        if let Some(expected) = &row.convert {
            compare("convert", expected, converted(source.path(), "q0f16"));
        }
    }
    println!("{counts:#?}");
    if let Some(report) = std::env::var_os("MODEL_DIFFERENCES") {
        fs::write(report, differing.join("\n")).unwrap();
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}
