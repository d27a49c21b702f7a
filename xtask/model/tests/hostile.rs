//! Checkpoints that lie, and outputs that must not be trusted: refused with a reason, and nothing left behind.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use model::{
    Chat, Checkpoint, Converted, Instructions, Options, convert, convert_in_store, diff, inspect, picture,
    place, report, verify,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{fs, path::Path};
use store::{Silent, Store};
use tempfile::TempDir;

const HIDDEN: usize = 64;
const ROWS: usize = 40;

/// A Llama of one layer with tied embeddings.
fn config() -> Value {
    json!({
        "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": 96, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": ROWS, "tie_word_embeddings": true,
        "rms_norm_eps": 1e-6, "max_position_embeddings": 128
    })
}

fn tensors() -> Vec<(String, Vec<usize>)> {
    let layer = "model.layers.0.";
    let named = |name: &str, shape: &[usize]| (format!("{layer}{name}.weight"), shape.to_vec());
    vec![
        ("model.embed_tokens.weight".to_owned(), vec![ROWS, HIDDEN]),
        named("self_attn.q_proj", &[64, HIDDEN]),
        named("self_attn.k_proj", &[32, HIDDEN]),
        named("self_attn.v_proj", &[32, HIDDEN]),
        named("self_attn.o_proj", &[HIDDEN, 64]),
        named("mlp.gate_proj", &[96, HIDDEN]),
        named("mlp.up_proj", &[96, HIDDEN]),
        named("mlp.down_proj", &[HIDDEN, 96]),
        named("input_layernorm", &[HIDDEN]),
        named("post_attention_layernorm", &[HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ]
}

/// A safetensors file of bfloat16 tensors.
fn safetensors(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape) in tensors {
        let start = data.len();
        for index in 0..shape.iter().product::<usize>() {
            let value = ((index * 2_654_435_761) % 1000) as f32 / 1000.0 - 0.5;
            data.extend_from_slice(&((value.to_bits() >> 16) as u16).to_le_bytes());
        }
        header.insert(
            name.clone(),
            json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

fn checkpoint(config: &Value, file: &[u8]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    fs::write(directory.path().join("model.safetensors"), file).unwrap();
    directory
}

fn refused(directory: &Path, reason: &str) {
    let output = tempfile::tempdir().unwrap();
    let error = convert(&Options::new(directory, output.path(), "q4f16_1"), &Silent).unwrap_err();
    let error = store::full_text(&error);
    assert!(error.contains(reason), "expected `{reason}` in: {error}");
    assert_eq!(fs::read_dir(output.path()).unwrap().count(), 0, "something was left behind");
}

fn with_header(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn a_sound_model_is_converted_verified_and_reported() {
    let source = checkpoint(&config(), &safetensors(&tensors()));
    let output = tempfile::tempdir().unwrap();
    let summary = convert(&Options::new(source.path(), output.path(), "q4f16_1"), &Silent).unwrap();
    assert_eq!(verify(output.path()).unwrap(), Vec::<String>::new());
    assert_eq!(
        inspect(output.path()).unwrap().tensors.len() as u64,
        summary.cache.metadata.param_size.unwrap()
    );
    assert_eq!(inspect(source.path()).unwrap().tensors.len(), tensors().len());
    let report = report(source.path(), output.path(), "q4f16_1", "auto").unwrap();
    let errors = &report.errors;
    let embedding = &errors[0];
    assert_eq!(embedding.name, "model.embed_tokens.weight");
    // Half a step of a scale of 0.5 / 7, and what comes from its rounding.
    assert!(embedding.largest < 0.037 && embedding.largest > 0.03, "{embedding:?}");
    assert!(embedding.cosine > 0.99 && embedding.relative < 0.1, "{embedding:?}");
    assert!(errors.iter().filter(|error| error.name.contains("norm")).all(|error| error.largest < 1e-3));
    assert!(picture(&report, "tiny").contains("mlp.down_proj"));
    assert_eq!(report.bytes as f64, summary.cache.metadata.param_bytes.unwrap());
    let worst = report.worst().unwrap().relative;
    assert!(report.relative > 0.0 && report.relative < worst && worst < 0.2, "{report:?}");
}

#[test]
fn transposed_layouts_report_the_same_errors() {
    let source = checkpoint(&config(), &safetensors(&tensors()));
    let mut found = Vec::new();
    for scheme in ["q4f16_1", "q4f16_0"] {
        let output = tempfile::tempdir().unwrap();
        convert(&Options::new(source.path(), output.path(), scheme), &Silent).unwrap();
        let errors = report(source.path(), output.path(), scheme, "auto").unwrap().errors;
        found.push(
            errors
                .into_iter()
                .map(|error| (error.name, error.largest, error.cosine > 0.99))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(found[0], found[1]);
}

#[test]
fn every_processor_and_every_number_of_threads_gives_the_same_bytes() {
    let source = checkpoint(&config(), &safetensors(&tensors()));
    for scheme in ["q4f16_1", "q4f16_0", "q3f16_1", "q4bf16_0", "q4f32_1", "e4m3_e4m3_f16"] {
        let reference = tempfile::tempdir().unwrap();
        convert(&Options::new(source.path(), reference.path(), scheme), &Silent).unwrap();
        for (jobs, instructions) in [(1, Instructions::Baseline), (3, Instructions::Detected)] {
            let output = tempfile::tempdir().unwrap();
            let options =
                Options { jobs, instructions, ..Options::new(source.path(), output.path(), scheme) };
            convert(&options, &Silent).unwrap();
            for entry in fs::read_dir(reference.path()).unwrap() {
                let name = entry.unwrap().file_name();
                let (a, b) = (reference.path().join(&name), output.path().join(&name));
                assert_eq!(fs::read(a).unwrap(), fs::read(b).unwrap(), "{scheme} {name:?}");
            }
        }
    }
}

#[test]
fn a_conversion_is_done_once_and_found_in_the_store() {
    let source = checkpoint(&config(), &safetensors(&tensors()));
    let place_of_store = tempfile::tempdir().unwrap();
    let store = Store::open(&place_of_store.path().join("store")).unwrap();
    let run = |options: &Options, chat: Option<&Chat>| -> Converted {
        convert_in_store(&store, options, chat, None, &Silent).unwrap()
    };
    let direct = tempfile::tempdir().unwrap();
    let options = Options::new(source.path(), direct.path(), "q4f16_1");
    convert(&options, &Silent).unwrap();

    let first = run(&options, None);
    let second = run(&Options { jobs: 1, instructions: Instructions::Baseline, ..options.clone() }, None);
    assert_eq!((first.cached, second.cached), (false, true));
    assert_eq!((first.action, first.root), (second.action, second.root));
    let files: Vec<_> = first.outputs.iter().map(|(name, _)| name).collect();
    assert_eq!(files, ["params_shard_0.bin", "tensor-cache.json"]);

    // What is laid out is what a conversion past the store writes, and is left alone the second time.
    let output = place_of_store.path().join("out");
    let lay_out = |converted: &Converted, scheme: &str, replace: bool| {
        let options = Options { replace, ..Options::new(source.path(), &output, scheme) };
        place(&store, converted, &options, &Silent)
    };
    assert!(lay_out(&first, "q4f16_1", false).unwrap());
    assert!(!lay_out(&first, "q4f16_1", false).unwrap());
    for name in files {
        assert_eq!(fs::read(direct.path().join(name)).unwrap(), fs::read(output.join(name)).unwrap());
    }
    fs::write(output.join("params_shard_1.bin"), "left").unwrap();
    assert!(lay_out(&first, "q4f16_1", false).unwrap());
    assert!(!output.join("params_shard_1.bin").exists() && !output.join(".converting").exists());

    // Another scheme, template, size or input is another action; another model is not replaced unasked.
    let chat = Chat { conversation_template: "llama-3".to_owned(), ..Chat::default() };
    let mut longer = chat.clone();
    longer.overrides.insert("context_window_size".to_owned(), 64.into());
    let other = run(&Options { quantization: "q4f32_1".to_owned(), ..options.clone() }, None);
    let mut actions = vec![first.action, other.action];
    actions.extend([&chat, &longer].map(|chat| run(&options, Some(chat)).action));
    let mut changed = config();
    changed["rms_norm_eps"] = 1e-5.into();
    fs::write(source.path().join("config.json"), changed.to_string()).unwrap();
    actions.push(run(&options, None).action);
    actions.sort();
    actions.dedup();
    assert_eq!(actions.len(), 5);
    let unquantized = run(&Options { quantization: "q0f16".to_owned(), ..options }, None);
    let error = lay_out(&unquantized, "q0f16", false).unwrap_err();
    assert!(error.to_string().contains("holds another model"), "{error:#}");
    assert_eq!(verify(&output).unwrap(), Vec::<String>::new());
    assert!(lay_out(&unquantized, "q0f16", true).unwrap());
    assert_eq!(verify(&output).unwrap(), Vec::<String>::new());
}

#[test]
fn damage_is_found() {
    let source = checkpoint(&config(), &safetensors(&tensors()));
    let (good, bad) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for output in [&good, &bad] {
        convert(&Options::new(source.path(), output.path(), "q4f16_1"), &Silent).unwrap();
    }
    assert_eq!(diff(good.path(), bad.path()).unwrap(), []);
    let shard = bad.path().join("params_shard_0.bin");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[5] ^= 1;
    fs::write(&shard, &bytes).unwrap();
    fs::write(bad.path().join("params_shard_7.bin"), "left").unwrap();
    let findings = verify(bad.path()).unwrap();
    assert!(findings[0].contains("params_shard_0.bin has the MD5"), "{findings:?}");
    assert!(findings[1].contains("params_shard_7.bin belongs to no model"), "{findings:?}");
    let differences = diff(good.path(), bad.path()).unwrap();
    assert_eq!(
        (differences[0].name.as_str(), differences[0].first_byte),
        ("model.embed_tokens.q_weight", Some(5))
    );
    fs::write(&shard, &bytes[..9]).unwrap();
    assert!(verify(bad.path()).unwrap()[0].contains("has 9 bytes"));
    assert!(format!("{:#}", diff(good.path(), bad.path()).unwrap_err()).contains("is not inside"));
}

#[test]
fn another_model_is_not_replaced_unasked_and_leaves_no_shards() {
    let source = checkpoint(&config(), &safetensors(&tensors()));
    let output = tempfile::tempdir().unwrap();
    convert(&Options::new(source.path(), output.path(), "q4f32_1"), &Silent).unwrap();
    fs::write(output.path().join("params_shard_9.bin"), "left").unwrap();
    let options = Options::new(source.path(), output.path(), "q0f16");
    let error = convert(&options, &Silent).unwrap_err();
    assert!(error.to_string().contains("holds another model"), "{error:#}");
    convert(&Options { replace: true, ..options }, &Silent).unwrap();
    let mut names: Vec<_> = fs::read_dir(output.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["params_shard_0.bin", "tensor-cache.json"]);
}

#[test]
fn the_checkpoint_is_not_written_to() {
    let source = checkpoint(&config(), &safetensors(&tensors()));
    let error = convert(&Options::new(source.path(), source.path(), "q0f16"), &Silent).unwrap_err();
    assert!(error.to_string().contains("holds the checkpoint"));
}

#[test]
fn missing_tensors_are_named_with_what_may_be_meant() {
    let mut incomplete = tensors();
    incomplete[4].0 = "model.layers.0.self_attn.out_proj.weight".to_owned();
    let source = checkpoint(&config(), &safetensors(&incomplete));
    refused(source.path(), "first `model.layers.0.self_attn.o_proj.weight`");
    refused(source.path(), "it has `model.layers.0.self_attn.out_proj.weight`");
}

#[test]
fn shapes_that_do_not_fit_the_configuration_are_refused() {
    let mut wrong = config();
    wrong["intermediate_size"] = 128.into();
    refused(checkpoint(&wrong, &safetensors(&tensors())).path(), "config.json asks for [256, 64]");
    wrong["intermediate_size"] = "many".into();
    refused(checkpoint(&wrong, &safetensors(&tensors())).path(), "not a number");
    wrong["num_hidden_layers"] = 1_000_000_000.into();
    refused(checkpoint(&wrong, &safetensors(&tensors())).path(), "1000000000 layers");
    wrong["model_type"] = "unheard-of".into();
    refused(checkpoint(&wrong, &safetensors(&tensors())).path(), "there is no architecture `unheard-of`");
}

#[test]
fn lying_headers_are_refused() {
    let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let tensor = |shape: &str, from: u64, to: u64| {
        format!(r#"{{"dtype":"BF16","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    for (file, reason) in [
        (vec![], "not a sound safetensors file"),
        (huge, "not a sound safetensors file"),
        (with_header("{", 0), "not a sound safetensors file"),
        (with_header(&format!("{{\"a\":{}}}", tensor("[2]", 0, 4)), 2), "not a sound safetensors file"),
        (with_header(&format!("{{\"a\":{}}}", tensor("[2]", 4, 0)), 4), "not a sound safetensors file"),
        (with_header(&format!("{{\"a\":{}}}", tensor("[18446744073709551615,2]", 0, 4)), 4), "not a sound"),
        (with_header(&format!("{{\"a\":{0},\"b\":{0}}}", tensor("[2]", 0, 4)), 4), "not a sound"),
        (with_header(&format!("{{\"a\":{0},\"a\":{0}}}", tensor("[2]", 0, 4)), 4), "`a` stands there twice"),
        (with_header(r#"{"a":{"dtype":"Q9","shape":[2],"data_offsets":[0,4]}}"#, 4), "not a sound"),
    ] {
        refused(checkpoint(&config(), &file).path(), reason);
    }
}

#[test]
fn an_index_stays_in_its_directory_and_tells_the_truth() {
    let source = checkpoint(&config(), &safetensors(&tensors()));
    let index = source.path().join("model.safetensors.index.json");
    for (text, reason) in [
        (r#"{"weight_map": {"a": "../other.safetensors"}}"#, "names a file outside the checkpoint"),
        (r#"{"weight_map": {"a": "/etc/passwd"}}"#, "names a file outside the checkpoint"),
        (r#"{"weight_map": {"a": "./.."}}"#, "names a file outside the checkpoint"),
        (r#"{"weight_map": {"a": "./"}}"#, "does not name a file"),
        (
            r#"{"weight_map": {"model.norm.weight": "other.safetensors"}}"#,
            "the checkpoint lacks 11 of the tensors",
        ),
        (r#"{"weight_map": {"a": "x", "a": "y"}}"#, "`a` stands there twice"),
        (r#"{"weight_map": {}}"#, "names no tensors"),
        ("[]", "is not a safetensors index"),
    ] {
        fs::write(&index, text).unwrap();
        refused(source.path(), reason);
    }
}

#[test]
fn what_is_called_as_pytorchs_files_and_is_none_is_refused() {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("config.json"), config().to_string()).unwrap();
    for (content, reason) in [
        (&b"\x80\x02cos\nsystem\n."[..], "it is not a sound ZIP file"),
        (include_bytes!("torch/module.bin"), "wants to run `"),
        (include_bytes!("torch/old.bin"), "before version 1.6"),
        (include_bytes!("torch/saved.bin"), "the checkpoint lacks 11 of the tensors"),
    ] {
        fs::write(source.path().join("pytorch_model.bin"), content).unwrap();
        refused(source.path(), reason);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Bytes of the header are changed at random: the file opens or is refused, and never panics.
    #[test]
    fn damaged_headers_do_not_panic(changes in prop::collection::vec((0usize..1400, any::<u8>()), 1..8), cut in 0usize..2000) {
        let mut file = safetensors(&tensors());
        for (position, byte) in changes {
            file[position] = byte;
        }
        let length = file.len() - cut.min(file.len());
        let source = checkpoint(&config(), &file[..if cut % 3 == 0 { length } else { file.len() }]);
        if let Ok(checkpoint) = Checkpoint::open(source.path()) {
            for name in checkpoint.order() {
                checkpoint.bytes(checkpoint.tensor(name).unwrap());
            }
        }
    }

    #[test]
    fn damaged_configurations_do_not_panic(key in 0usize..9, value in prop_oneof![
        Just(json!(null)), Just(json!(-1)), Just(json!(0)), Just(json!(1e300)), Just(json!("x")), Just(json!([])),
        Just(json!(u64::MAX)), Just(json!(i64::MAX))
    ]) {
        let mut config = config();
        let name = config.as_object().unwrap().keys().nth(key).unwrap().clone();
        config[&name] = value;
        let source = checkpoint(&config, &safetensors(&tensors()));
        let output = tempfile::tempdir().unwrap();
        convert(&Options::new(source.path(), output.path(), "q4f16_1"), &Silent).ok();
    }
}

#[test]
fn what_a_checkpoint_describes_is_bounded_by_what_is_there() {
    let mut config = config();
    config["model_type"] = "mixtral".into();
    config["tie_word_embeddings"] = false.into();
    config["num_experts_per_tok"] = 2.into();
    for (layers, experts) in [(10_000, 10_000), (1, 10_000), (10_000, 1)] {
        config["num_hidden_layers"] = layers.into();
        config["num_local_experts"] = experts.into();
        let source = checkpoint(&config, &safetensors(&tensors()));
        refused(source.path(), "config.json describes far more tensors than the 11 of the checkpoint");
    }
}

#[test]
fn many_empty_tensors_are_read_in_time() {
    let mut header = String::from("{");
    for number in 0..100_000 {
        let comma = if number == 0 { "" } else { "," };
        header +=
            &format!("{comma}\"tensor.{number}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    }
    header.push('}');
    let source = checkpoint(&config(), &with_header(&header, 0));
    refused(source.path(), "the checkpoint lacks");
}

#[test]
fn pipes_devices_and_pointers_are_refused_wherever_they_stand() {
    let pipe =
        |path: &Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    let zero = |path: &Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    let pointer = |path: &Path| {
        fs::write(path, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n").unwrap();
    };
    type Make<'a> = &'a dyn Fn(&Path);
    let kinds: [(Make, &str); 3] = [
        (&pipe, "is not a regular file"),
        (&zero, "is not a regular file"),
        (&pointer, "is a Git LFS pointer"),
    ];
    for (make, reason) in kinds {
        for name in ["config.json", "model.safetensors"] {
            let source = checkpoint(&config(), &safetensors(&tensors()));
            fs::remove_file(source.path().join(name)).unwrap();
            make(&source.path().join(name));
            refused(source.path(), reason);
        }
        for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "tokenizer.model"] {
            let source = checkpoint(&config(), &safetensors(&tensors()));
            make(&source.path().join(name));
            let place_of_store = tempfile::tempdir().unwrap();
            let store = Store::open(&place_of_store.path().join("store")).unwrap();
            let options = Options::new(source.path(), Path::new(""), "q0f16");
            let chat = Chat { conversation_template: "LM".to_owned(), ..Chat::default() };
            let error = convert_in_store(&store, &options, Some(&chat), None, &Silent).unwrap_err();
            assert!(format!("{error:#}").contains(reason), "{name}: {error:#}");
        }
        let output = tempfile::tempdir().unwrap();
        let source = checkpoint(&config(), &safetensors(&tensors()));
        convert(&Options::new(source.path(), output.path(), "q0f16"), &Silent).unwrap();
        let shard = output.path().join("params_shard_0.bin");
        fs::remove_file(&shard).unwrap();
        make(&shard);
        let findings = verify(output.path()).unwrap();
        assert!(findings[0].contains(reason), "{findings:?}");
    }
}

#[test]
fn other_formats_under_the_name_of_safetensors_are_named() {
    for (start, reason) in [
        (&b"GGUF\x03\0\0\0 and more"[..], "GGUF"),
        (b"PK\x03\x04 and more", "ZIP"),
        (b"<!doctype html><title>Log in</title>", "HTML page"),
    ] {
        refused(checkpoint(&config(), start).path(), reason);
    }
}
