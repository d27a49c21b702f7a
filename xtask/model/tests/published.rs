//! Models as others published them: older indices, indices that lack something, and indices that lie.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod small;

use model::{
    NDARRAY_CACHE, NDARRAY_CACHE_B16, Options, TENSOR_CACHE, TENSOR_CACHE_B16, chat_config_checked, convert,
    diff, inspect, report, verify,
};
use serde_json::{Value, json};
use small::{chat_options, write_checkpoint};
use std::{fs, path::Path, time::Instant};
use store::Silent;
use tempfile::TempDir;

/// A checkpoint, and what it was converted to, with its chat configuration, in `new` and `old`.
fn models(scheme: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("checkpoint");
    write_checkpoint(&source, 40, 0);
    for name in ["new", "old"] {
        let output = directory.path().join(name);
        convert(&Options::new(&source, &output, scheme), &Silent).unwrap();
        chat_config_checked(&chat_options(&source, &output, scheme)).unwrap();
    }
    directory
}

fn edit(path: &Path, change: impl Fn(&mut Value)) {
    let mut value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Makes of a model what MLC wrote before September 2025.
fn age(model: &Path) {
    fs::rename(model.join(TENSOR_CACHE), model.join(NDARRAY_CACHE)).unwrap();
    if model.join(TENSOR_CACHE_B16).exists() {
        fs::rename(model.join(TENSOR_CACHE_B16), model.join(NDARRAY_CACHE_B16)).unwrap();
    }
}

#[test]
fn an_older_index_does_for_every_command() {
    for scheme in ["q4f16_1", "q4f32_1"] {
        let directory = models(scheme);
        let [source, new, old] = ["checkpoint", "new", "old"].map(|name| directory.path().join(name));
        age(&old);
        for metadata in [None, Some(json!({})), Some(json!({"ParamSize": 20, "BitsPerParam": 4.5}))] {
            for name in [NDARRAY_CACHE, NDARRAY_CACHE_B16].into_iter().filter(|name| old.join(name).exists())
            {
                edit(&old.join(name), |index| {
                    if let Some(metadata) = &metadata {
                        index["metadata"] = metadata.clone();
                    }
                });
            }
            let expected = match &metadata {
                Some(metadata) if metadata.get("ParamSize").is_some() => {
                    vec!["there are 13 tensors, not 20".to_owned()]
                }
                _ => vec![],
            };
            assert_eq!(verify(&old).unwrap(), expected);
            assert_eq!(diff(&new, &old).unwrap(), []);
            assert_eq!(inspect(&new).unwrap().tensors, inspect(&old).unwrap().tensors);
            assert_eq!(
                report(&source, &old, "auto", "auto").unwrap(),
                report(&source, &new, scheme, "auto").unwrap()
            );
        }
        // An index of its own name that is of another model would be read by other versions.
        fs::copy(new.join(TENSOR_CACHE), new.join(NDARRAY_CACHE)).unwrap();
        assert_eq!(verify(&new).unwrap(), Vec::<String>::new());
        edit(&new.join(NDARRAY_CACHE), |index| index["records"][0]["nbytes"] = 1.into());
        assert!(verify(&new).unwrap()[0].contains("does not agree with tensor-cache.json"));
    }
}

/// Float32 as it is, which `"format": "raw"` means.
#[test]
fn raw_float32_is_read_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let [half, raw] = ["half", "raw"].map(|name| directory.path().join(name));
    for (model, format) in [(&half, "f32-to-bf16"), (&raw, "raw")] {
        fs::create_dir(model).unwrap();
        let values = [0.5f32, -2.0, 1.5];
        let kept = if format == "raw" { 0 } else { 2 };
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()[kept..].to_vec()).collect();
        fs::write(model.join("params_shard_0.bin"), &bytes).unwrap();
        let index = json!({ "records": [{
            "dataPath": "params_shard_0.bin", "format": "raw-shard", "nbytes": bytes.len(),
            "records": [{
                "name": "w", "shape": [3], "dtype": "float32", "format": format, "nbytes": bytes.len(), "byteOffset": 0
            }]
        }]});
        fs::write(model.join(NDARRAY_CACHE), index.to_string()).unwrap();
    }
    assert_eq!(verify(&raw).unwrap(), Vec::<String>::new());
    assert_eq!(verify(&half).unwrap(), ["ndarray-cache-b16.json is missing"]);
    assert!(diff(&half, &raw).unwrap()[0].what.contains("(raw)"));
    let other = directory.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::copy(raw.join(NDARRAY_CACHE), other.join(NDARRAY_CACHE)).unwrap();
    fs::write(other.join("params_shard_0.bin"), [0.5f32, -2.0, 1.25].map(f32::to_le_bytes).concat()).unwrap();
    assert_eq!(diff(&raw, &other).unwrap()[0].largest, Some(0.25));
}

#[test]
fn a_checkpoint_without_its_configuration_can_be_looked_at() {
    let directory = models("q4f16_1");
    let source = directory.path().join("checkpoint");
    let before = inspect(&source).unwrap().tensors;
    fs::remove_file(source.join("config.json")).unwrap();
    assert_eq!(inspect(&source).unwrap().tensors, before);
}

/// Each is one edit of a sound model's index.
#[test]
fn an_index_that_lies_does_not_pass() {
    let directory = models("q4f16_1");
    let model = directory.path().join("new");
    let whole = fs::read(model.join(TENSOR_CACHE)).unwrap();
    type Edit<'a> = &'a dyn Fn(&mut Value);
    let cases: [(Edit, &str); 6] = [
        (
            &|index| index["records"][0]["records"][0]["name"] = "".into(),
            "a tensor of params_shard_0.bin has no name",
        ),
        (&|index| index["records"][0]["dataPath"] = "".into(), "is a file outside the model"),
        (
            &|index| index["records"][0]["dataPath"] = "./params_shard_0.bin".into(),
            "is a file outside the model",
        ),
        (&|index| index["records"][0]["dataPath"] = ".".into(), "is a file outside the model"),
        (&|index| index["metadata"]["ParamSize"] = 3.into(), "there are 13 tensors, not 3"),
        (&|index| index["records"][0]["records"][0]["dtype"] = "float7".into(), "the unknown type `float7`"),
    ];
    for (change, expected) in cases {
        edit(&model.join(TENSOR_CACHE), change);
        let findings = verify(&model).unwrap();
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{expected}: {findings:?}");
        fs::write(model.join(TENSOR_CACHE), &whole).unwrap();
    }
}

/// 20,000 shards of 1 MB are a second and more of hashing for a file that is hashed in a millisecond.
#[test]
fn a_file_that_many_shards_name_is_hashed_once() {
    let directory = tempfile::tempdir().unwrap();
    let size = 1 << 20;
    fs::write(directory.path().join("params_shard_0.bin"), vec![0; size]).unwrap();
    std::os::unix::fs::symlink("params_shard_0.bin", directory.path().join("params_shard_1.bin")).unwrap();
    let shard = |name: &str| json!({ "dataPath": name, "format": "raw-shard", "nbytes": size, "records": [], "md5sum": "0" });
    let records: Vec<_> =
        (0..20_000).map(|index| shard(&format!("params_shard_{}.bin", index % 2))).collect();
    fs::write(directory.path().join(TENSOR_CACHE), json!({ "records": records }).to_string()).unwrap();
    let start = Instant::now();
    let findings = verify(directory.path()).unwrap();
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    assert!(
        findings.contains(&"params_shard_0.bin is the file of 10000 shards".to_owned()),
        "{:?}",
        &findings[20_000..]
    );
}

/// Names reach a terminal as text, wherever they are told.
#[test]
fn names_out_of_a_file_command_no_terminal() {
    let directory = models("q4f16_1");
    let [new, old] = ["new", "old"].map(|name| directory.path().join(name));
    let evil = "a\u{1b}]0;title\u{7}\n\u{202e}b\u{9b}2J";
    for key in ["name", "dtype"] {
        let whole = fs::read(old.join(TENSOR_CACHE)).unwrap();
        edit(&old.join(TENSOR_CACHE), |index| index["records"][0]["records"][0][key] = evil.into());
        let told = [
            verify(&old).unwrap().join(" "),
            diff(&new, &old).map_or_else(|error| format!("{error:#}"), |found| found[0].what.clone()),
        ];
        for text in told {
            assert!(!text.contains(store::is_hidden), "{text:?}");
        }
        fs::write(old.join(TENSOR_CACHE), whole).unwrap();
    }
}
