//! Every conversion that the reference was seen to make, made again and compared by the SHA-256 of every file.
//!
//! Needs `python3` with NumPy, which the generators of the checkpoints under `golden/` use (`PYTHON` names another
//! interpreter). `weights.json` holds the digests of the reference's outputs, `inputs.json` those of the checkpoints.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use model::{Chat, ChatOptions, Instructions, Options, chat_config, convert, verify};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use store::{Digest, Silent};

/// Made by hand when figures are taken; it has 988 MB.
const LARGE: &str = "qwen2-500m-bf16";

fn golden(name: &str) -> Map<String, Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn generate(generator: &str, directory: &Path) {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(generator);
    let output = Command::new(&python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .arg(directory)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {python}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{generator} failed (is NumPy installed for {python}?): {errors}");
}

/// The SHA-256 of every file in a directory.
fn digests(directory: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path: PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, Digest::of_file(&path).unwrap().hex())
        })
        .collect()
}

#[test]
fn conversions_are_the_references_to_the_byte() {
    let directory = tempfile::tempdir().unwrap();
    generate("make_models.py", directory.path());
    generate("make_more_models.py", directory.path());
    for (model, files) in golden("inputs.json") {
        for (name, digest) in files.as_object().unwrap() {
            let path = directory.path().join(&model).join(name);
            if path.exists() {
                assert_eq!(
                    Digest::of_file(&path).unwrap().hex(),
                    digest.as_str().unwrap(),
                    "{}",
                    path.display()
                );
            }
        }
    }
    let (mut same, mut differing, mut disagreeing) = (0, Vec::new(), Vec::new());
    for (model, schemes) in golden("weights.json") {
        if model == LARGE {
            continue;
        }
        for (scheme, expected) in schemes.as_object().unwrap() {
            let output = directory.path().join("converted");
            let options = Options::new(&directory.path().join(&model), &output, scheme);
            let result = convert(&options, &Silent);
            let expected = expected.as_object().unwrap();
            let same_files = match (expected.get("ERROR"), &result) {
                (Some(_), result) => result.is_err(),
                (None, Err(error)) => {
                    differing.push(format!("{model} {scheme}: {error:#}"));
                    continue;
                }
                (None, Ok(_)) => {
                    disagreeing.extend(disagreement(&options));
                    let actual = digests(&output);
                    actual.len() == expected.len()
                        && expected
                            .iter()
                            .all(|(name, digest)| actual.get(name).map(String::as_str) == digest.as_str())
                }
            };
            if same_files {
                same += 1;
            } else {
                differing.push(format!("{model} {scheme}"));
            }
            fs::remove_dir_all(&output).ok();
        }
    }
    println!("{same} conversions are the reference's");
    assert!(
        differing.is_empty(),
        "{same} are the reference's, {} differ:\n{}",
        differing.len(),
        differing.join("\n")
    );
    assert_eq!(same, 348);
    assert_eq!(disagreeing, Vec::<String>::new());
}

/// A model of `newer.json`.
#[derive(serde::Deserialize)]
struct Newer {
    architecture: String,
    inputs: BTreeMap<String, String>,
    /// The files of each scheme, or `ERROR` with what the reference says.
    weights: BTreeMap<String, BTreeMap<String, String>>,
    chat: BTreeMap<String, String>,
}

/// The reference was run on Qwen 3.5, too, without the checks of TVM 0.26 that its forward graph does not pass.
#[test]
fn newer_architectures_are_converted_as_by_the_reference() {
    let directory = tempfile::tempdir().unwrap();
    generate("make_newer_models.py", directory.path());
    let (mut same, mut wrong) = (0, Vec::new());
    for (model, expected) in golden("newer.json") {
        let expected: Newer = serde_json::from_value(expected).unwrap();
        let source = directory.path().join(&model);
        assert_eq!(digests(&source), expected.inputs, "{model}");
        let with = |scheme: &str, output: &str| Options {
            architecture: expected.architecture.clone(),
            ..Options::new(&source, &directory.path().join(output), scheme)
        };
        for (scheme, files) in &expected.weights {
            let options = with(scheme, "converted");
            match (convert(&options, &Silent), files.contains_key("ERROR")) {
                (Err(_), true) => same += 1,
                (Ok(_), false) if digests(&options.output) == *files => {
                    same += 1;
                    wrong.extend(disagreement(&options));
                }
                (result, _) => wrong.push(format!("{model} {scheme}: {:?}", result.err())),
            }
            fs::remove_dir_all(&options.output).ok();
        }
        let scheme = if model == "medusa-f16" { "q0f16" } else { "q4f16_1" };
        let options = with(scheme, "chat");
        let chat = Chat { conversation_template: "LM".to_owned(), overrides: Map::new() };
        chat_config(&chat.options(&options)).unwrap();
        assert_eq!(digests(&options.output), expected.chat, "{model}");
        fs::remove_dir_all(&options.output).unwrap();
    }
    assert_eq!((wrong, same), (Vec::<String>::new(), 84));
}

/// As people have them: tensors that are parameters, or views of one storage, sharded, and with safetensors beside them, which
/// the reference does not take.
#[test]
fn pickled_checkpoints_are_converted_as_by_the_reference() {
    let directory = tempfile::tempdir().unwrap();
    generate("make_more_models.py", directory.path());
    generate("make_torch_models.py", directory.path());
    let mut wrong = Vec::new();
    for (model, schemes) in golden("torch.json") {
        let source = directory.path().join(&model);
        let schemes: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_value(schemes).unwrap();
        for (scheme, expected) in schemes {
            let options = Options::new(&source, &directory.path().join("converted"), &scheme);
            let result = convert(&options, &Silent);
            if result.is_err() || digests(&options.output) != expected {
                wrong.push(format!("{model} {scheme}: {:?}", result.err()));
            }
            fs::remove_dir_all(&options.output).ok();
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// The checkpoint and the adapters of each name in `adapters.json`: what stands in `make_adapters.py`, and two that were merged
/// one after the other.
const ADAPTED: [(&str, &str, &[&str]); 12] = [
    ("embedding", "llama-f32", &["embedding"]),
    ("f16", "qwen2-untied-f16", &["f16"]),
    ("gemma2", "gemma2-bf16", &["gemma2"]),
    ("half", "llama-gqa-bf16", &["half"]),
    ("head", "llama-gqa-bf16", &["head"]),
    ("mistral", "mistral-bf16", &["mistral"]),
    ("patterns", "llama-gqa-bf16", &["patterns"]),
    ("phi3", "phi3-bf16", &["phi3"]),
    ("plain", "qwen2-tied-bf16", &["plain"]),
    ("qwen3", "qwen3-tied-bf16", &["qwen3"]),
    ("sharded", "qwen2-sharded-bf16", &["sharded"]),
    ("two", "llama-gqa-bf16", &["patterns", "half"]),
];

/// `adapters.json` has the SHA-256 of tensor-cache.json, which has the MD5 of every shard, as `tests/reference/merge.py` and
/// `run.py` gave it.
#[test]
fn adapters_are_merged_as_by_the_reference() {
    let directory = tempfile::tempdir().unwrap();
    generate("make_models.py", directory.path());
    generate("make_adapters.py", directory.path());
    let expected = golden("adapters.json");
    assert_eq!(expected.len(), ADAPTED.len());
    let mut wrong = Vec::new();
    for (name, base, adapters) in ADAPTED {
        for (scheme, digest) in expected[name].as_object().unwrap() {
            for instructions in [Instructions::Detected, Instructions::Baseline] {
                let options = Options {
                    adapters: adapters
                        .iter()
                        .map(|name| directory.path().join("adapters").join(name))
                        .collect(),
                    instructions,
                    ..Options::new(&directory.path().join(base), &directory.path().join("converted"), scheme)
                };
                let result = convert(&options, &Silent);
                let made = digests(&options.output);
                if result.is_err() || made.get("tensor-cache.json").map(String::as_str) != digest.as_str() {
                    wrong.push(format!("{name} {scheme} {instructions:?}: {:?}", result.err()));
                }
                wrong.extend(disagreement(&options));
                fs::remove_dir_all(&options.output).ok();
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// What `verify` has to say of a converted model beside the chat configuration for it: nothing, for every architecture and
/// scheme.
fn disagreement(options: &Options) -> Option<String> {
    let with_chat = options.output.with_extension("chat");
    let chat = Chat { conversation_template: "LM".to_owned(), overrides: Map::new() };
    let made = chat_config(&ChatOptions { output: with_chat.clone(), ..chat.options(options) });
    // Without a chat configuration, as these checkpoints of encoders have none, there is nothing to compare.
    made.ok()?;
    for entry in fs::read_dir(&options.output).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, with_chat.join(path.file_name().unwrap())).unwrap();
    }
    let findings = verify(&with_chat).unwrap();
    fs::remove_dir_all(&with_chat).unwrap();
    let model = options.source.file_name().unwrap().display();
    (!findings.is_empty()).then(|| format!("{model} {}: {findings:?}", options.quantization))
}

/// The reference was run on these with the well-formedness check of the forward graph left out, as for all mixtures of
/// experts: weights do not depend on it.
#[test]
fn what_is_quantized_already_is_copied_as_the_reference_does() {
    let directory = tempfile::tempdir().unwrap();
    generate("make_packed_models.py", directory.path());
    let text = |value: &Value| -> BTreeMap<String, String> { serde_json::from_value(value.clone()).unwrap() };
    for (model, expected) in golden("packed.json") {
        let (source, output) =
            (directory.path().join(&model), directory.path().join("converted").join(&model));
        assert_eq!(digests(&source), text(&expected["inputs"]), "{model}");
        convert(&Options::new(&source, &output, expected["scheme"].as_str().unwrap()), &Silent).unwrap();
        assert_eq!(digests(&output), text(&expected["outputs"]), "{model}");
    }
}

/// The conversation template with which the reference made each `mlc-chat-config.json`.
const TEMPLATES: [(&str, &str); 8] = [
    ("gemma2-bf16", "gemma_instruction"),
    ("gemma3-text-bf16", "gemma3_instruction"),
    ("llama-gqa-bf16", "llama-3_1"),
    ("mistral-bf16", "mistral_default"),
    ("mistral-swa-f16", "mistral_default"),
    ("phi3-bf16", "phi-3"),
    ("qwen2-tied-bf16", "qwen2"),
    ("qwen3-tied-bf16", "qwen3"),
];

#[test]
fn chat_configurations_are_the_references_to_the_byte() {
    let directory = tempfile::tempdir().unwrap();
    generate("make_models.py", directory.path());
    let expected = golden("chat_config.json");
    for (model, template) in TEMPLATES {
        let output = directory.path().join("chat").join(model);
        let options = ChatOptions {
            source: directory.path().join(model),
            output: output.clone(),
            quantization: "q4f16_1".to_owned(),
            architecture: "auto".to_owned(),
            conversation_template: template.to_owned(),
            overrides: Map::new(),
        };
        chat_config(&options).unwrap();
        let expected: BTreeMap<String, String> = serde_json::from_value(expected[model].clone()).unwrap();
        assert_eq!(digests(&output), expected, "{model}");
    }
}

/// A row of `chat_config_options.json`: what the reference's `gen_config` made with other templates, schemes and sizes.
#[derive(serde::Deserialize)]
struct Configured {
    model: String,
    quantization: String,
    conversation_template: String,
    overrides: Map<String, Value>,
    /// Of `mlc-chat-config.json`; none where the reference refuses.
    sha256: Option<String>,
}

#[test]
fn options_change_chat_configurations_as_the_references() {
    let directory = tempfile::tempdir().unwrap();
    generate("make_models.py", directory.path());
    generate("make_more_models.py", directory.path());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/chat_config_options.json");
    let rows: Vec<Configured> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(rows.len(), 204);
    let mut differing = Vec::new();
    for row in rows {
        let output = directory.path().join("chat");
        let options = ChatOptions {
            source: directory.path().join(&row.model),
            output: output.clone(),
            quantization: row.quantization.clone(),
            architecture: "auto".to_owned(),
            conversation_template: row.conversation_template.clone(),
            overrides: row.overrides.clone(),
        };
        let made = chat_config(&options).ok().and_then(|_| digests(&output).remove("mlc-chat-config.json"));
        if made != row.sha256 {
            differing.push(format!(
                "{} {} {} {:?}",
                row.model, row.quantization, row.conversation_template, row.overrides
            ));
        }
        fs::remove_dir_all(&output).ok();
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}
