//! LoRA adapters that are not what they should be, and what the store remembers of those that are. That merging gives the
//! reference's bytes is in golden.rs.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod small;

use model::{Options, convert, convert_through_store};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use store::{Silent, Store};

const A: &str = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight";
const B: &str = "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight";

/// An adapter of rank 2 for `up_proj`, with what `change` makes of its configuration and of the shapes of its tensors.
fn write(directory: &Path, change: impl Fn(&mut Value, &mut Vec<(String, Vec<usize>)>)) -> PathBuf {
    let mut config = json!({
        "peft_type": "LORA", "base_model_name_or_path": "somebody/base", "bias": "none", "lora_alpha": 4, "r": 2,
        "lora_dropout": 0.1, "target_modules": ["up_proj"], "modules_to_save": null, "use_dora": false
    });
    let mut tensors = vec![(A.to_owned(), vec![2, 64]), (B.to_owned(), vec![96, 2])];
    change(&mut config, &mut tensors);
    let path = directory.join("adapter");
    fs::create_dir_all(&path).unwrap();
    let weights = path.join("adapter_model.safetensors");
    small::write_tensors(&weights, "F32", &tensors, |index| (index as f32 / 1000.0).to_le_bytes());
    fs::write(path.join("adapter_config.json"), config.to_string()).unwrap();
    path
}

fn options(directory: &Path) -> Options {
    let source = directory.join("checkpoint");
    if !source.exists() {
        small::write_checkpoint(&source, 300, 0);
    }
    Options {
        adapters: vec![directory.join("adapter")],
        ..Options::new(&source, &directory.join("out"), "q4f16_1")
    }
}

#[test]
fn an_adapter_of_another_model_or_kind_is_refused() {
    type Change = fn(&mut Value, &mut Vec<(String, Vec<usize>)>);
    let cases: [(&str, Change); 16] = [
        ("its `peft_type` is not LORA", |config, _| config["peft_type"] = "IA3".into()),
        ("its `use_dora` is true", |config, _| config["use_dora"] = true.into()),
        ("its `new_trick` is \"on\"", |config, _| config["new_trick"] = "on".into()),
        ("it changes biases", |config, _| config["bias"] = "all".into()),
        ("changes the base model too", |config, _| config["init_lora_weights"] = "pissa".into()),
        ("is a regular expression", |config, _| config["alpha_pattern"] = json!({"^up_proj": 3})),
        ("it has no `lora_alpha`", |config, _| config["lora_alpha"] = Value::Null),
        ("not among its `target_modules`", |config, _| config["target_modules"] = json!(["p_proj"])),
        ("has no matrices of `model.layers.0.mlp.gate_proj`", |config, _| {
            config["target_modules"] = json!(["up_proj", "gate_proj"]);
        }),
        ("which do not make [96, 64]", |_, tensors| tensors[1].1 = vec![95, 2]),
        ("which do not make [96, 64]", |_, tensors| tensors[0].1 = vec![3, 64]),
        ("it has one of the two matrices", |_, tensors| drop(tensors.pop())),
        ("which the checkpoint does not have", |_, tensors| {
            tensors.iter_mut().for_each(|(name, _)| *name = name.replace("layers.0", "layers.7"));
        }),
        ("has rank 385", |_, tensors| {
            tensors[0].1[0] = 385;
            tensors[1].1[1] = 385;
        }),
        ("does not begin with base_model.model.", |_, tensors| tensors[0].0 = "up_proj.lora_A.weight".into()),
        ("neither a matrix of LoRA nor of one of `modules_to_save`", |_, tensors| {
            tensors.push(("base_model.model.model.norm.weight".into(), vec![64]));
        }),
    ];
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    for (expected, change) in cases {
        write(directory.path(), change);
        let error = convert(&options, &Silent).unwrap_err();
        let is_of_another = expected.contains("do not make") || expected.contains("does not have");
        let hint = is_of_another.then_some("it was made for another model");
        assert_eq!(store::hints(&error).next(), hint, "{error:#}");
        assert!(format!("{error:#}").contains(expected), "{expected}: {error:#}");
        assert!(!options.output.exists(), "{expected}");
    }
    fs::remove_dir_all(directory.path().join("adapter")).unwrap();
    let error = format!("{:#}", convert(&options, &Silent).unwrap_err());
    assert!(error.contains("holds no adapter_config.json"), "{error}");
    write(directory.path(), |_, _| ());
    let awq = Options { quantization: "q4f16_autoawq".to_owned(), ..options.clone() };
    assert!(convert(&awq, &Silent).is_err());
    convert(&options, &Silent).unwrap();
}

#[test]
fn an_adapter_is_part_of_what_a_result_is_made_of() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let merged = options(directory.path());
    write(directory.path(), |_, _| ());
    let convert = |options: &Options| {
        let options = Options { replace: true, ..options.clone() };
        convert_through_store(&store, &options, None, None, &Silent).unwrap().0
    };
    let plain = convert(&Options { adapters: Vec::new(), ..merged.clone() });
    let first = convert(&merged);
    assert!(!first.cached && first.action != plain.action && first.root != plain.root);
    assert_eq!((convert(&merged).cached, convert(&merged).root), (true, first.root));
    write(directory.path(), |config, _| config["lora_alpha"] = 5.into());
    let other = convert(&merged);
    assert!(!other.cached && other.root != first.root);
    // Nothing stays beside the model.
    let twice = Options { adapters: vec![directory.path().join("adapter"); 2], ..merged.clone() };
    assert!(![first.root, other.root].contains(&convert(&twice).root));
    assert!(
        small::digests(&merged.output)
            .keys()
            .all(|name| name.starts_with("params_shard") || name.ends_with(".json"))
    );
}
