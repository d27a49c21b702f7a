//! Readers of what strangers send: archives, libraries, manifests, locks, models, headers. Each takes any bytes and must not panic,
//! overflow, hang or take memory that the bytes do not account for; what it says of them does not matter here.
//!
//! Shared by the fuzzer (`fuzz/src/main.rs`) and the test that runs the seeds and mutations of them (`tests/strangers`).

use artifact::{Kind, Limits};
use input::{Format, Lock, Part};
use signature::{Envelope, Minisignature, ModelBundle, ModelKey, PublicKey, SecretKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Cursor, Write},
    path::{Path, PathBuf},
};
use store::Store;
use tempfile::TempDir;

/// What targets work in. Made anew now and then, since stores keep what they are given.
pub struct Place {
    directory: TempDir,
    store: Store,
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&directory.path().join("store")).expect("a store");
        Self { directory, store }
    }

    /// A directory with these files and nothing else.
    fn directory(&self, files: &[(&str, &[u8])]) -> PathBuf {
        let directory = self.directory.path().join("given");
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).expect("a directory");
        for (name, content) in files {
            std::fs::write(directory.join(name), content).expect("a file");
        }
        directory
    }
}

/// A reader, by the name of the directory with its seeds.
pub type Target = (&'static str, fn(&Place, &[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("tar", |place, bytes| unpack(place, bytes, Format::Tar)),
    ("deb", |place, bytes| unpack(place, bytes, Format::Deb)),
    ("zip", |place, bytes| unpack(place, bytes, Format::Zip)),
    ("outputs", |place, bytes| drop(input::unpack_outputs(&place.store, bytes, 64 << 20))),
    ("release-zip", |_, bytes| list(bytes, Kind::Zip)),
    ("release-tar", |_, bytes| list(bytes, Kind::TarGz)),
    ("aar", |_, bytes| drop(artifact::inspect_aar(bytes).map(|aar| aar.problems()))),
    ("manifest-xml", |_, bytes| drop(artifact::inspect_aar(&aar(bytes, CLASS)))),
    ("class", |_, bytes| drop(artifact::inspect_aar(&aar(MANIFEST, bytes)))),
    ("pe", |_, bytes| drop(artifact::inspect_pe(bytes))),
    ("elf", |_, bytes| drop(artifact::inspect_elf(bytes))),
    ("difference", |_, bytes| {
        let (left, right) = bytes.split_at(bytes.len() / 2);
        let _ = artifact::first_difference("a.zip", left, right);
    }),
    ("release-json", |place, bytes| verify(place, bytes, b"")),
    ("sums", |place, bytes| verify(place, include_bytes!("../seeds/release-json/golden.json"), bytes)),
    ("lock", |_, bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = Lock::parse(text, "inputs.lock");
        }
    }),
    ("recipe", |place, bytes| {
        let root = place.directory(&[]);
        let file = "recipes/packages/smoke-test/recipe.toml";
        std::fs::create_dir_all(root.join("recipes/packages/smoke-test")).expect("a directory");
        std::fs::write(root.join(file), bytes).expect("a file");
        let _ = builder::Recipe::load(&root, file);
    }),
    ("safetensors", |place, bytes| {
        let directory =
            place.directory(&[("config.json", b"{\"model_type\":\"llama\"}"), ("model.safetensors", bytes)]);
        let _ = model::Checkpoint::open(&directory);
        let _ = model::inspect(&directory);
    }),
    ("tokenizer-json", |place, bytes| chat(place, &[("config.json", CONFIG), ("tokenizer.json", bytes)])),
    ("config-json", |place, bytes| chat(place, &[("config.json", bytes)])),
    ("sentencepiece", |place, bytes| chat(place, &[("config.json", CONFIG), ("tokenizer.model", bytes)])),
    ("tensor-cache", |place, bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = model::TensorCache::parse(text);
        }
        let directory = place.directory(&[("tensor-cache.json", bytes)]);
        let _ = model::verify(&directory);
    }),
    ("pickle", |place, bytes| checkpoint(place, &stored(&[("a/data.pkl", bytes), ("a/data/0", &[0; 64])]))),
    ("torch", checkpoint),
    ("headers", |_, bytes| input::read_headers(bytes)),
    ("envelope", |_, bytes| {
        if let Ok(envelope) = Envelope::parse(&String::from_utf8_lossy(bytes)) {
            // What was read is written in one form, which is read as the same.
            let text = envelope.to_text();
            assert_eq!(Envelope::parse(&text).expect("its own text").to_text(), text);
            let _ = (envelope.names_differ(), envelope.signers(&BTreeSet::new()));
        }
        release::read_oci(bytes);
    }),
    ("statement", |_, bytes| {
        // Without a signature it would be no envelope, and its payload would not be looked at.
        let mut envelope = Envelope::new(bytes);
        envelope.sign(&SecretKey::from_seed([1; 32]));
        release::read_oci(envelope.to_text().as_bytes());
    }),
    ("policy", |place, bytes| {
        let directory = place.directory(&[("policy.toml", bytes), ("key.pub", KEY)]);
        let _ = release::Trust::load(&directory.join("policy.toml"));
    }),
    ("minisig", |_, bytes| {
        if let Ok(signature) = Minisignature::parse(&String::from_utf8_lossy(bytes)) {
            let again = Minisignature::parse(&signature.to_text("x")).expect("its own text");
            assert!(again == signature);
            let key = PublicKey::parse(&String::from_utf8_lossy(KEY)).expect("a key");
            let _ = signature.verifies(&key, b"content");
        }
    }),
    ("key", |_, bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = PublicKey::parse(&text).map(|key| key.to_pem());
        // What it costs to try a passphrase is bounded elsewhere, and would take the fuzzer's time.
        let none = || Err(std::io::Error::other("none").into());
        let _ = SecretKey::parse(&text, &mut none.clone());
        let _ = ModelKey::parse(&text, &mut none.clone());
    }),
    ("model-signature", |_, bytes| {
        if let Ok(bundle) = ModelBundle::parse(&String::from_utf8_lossy(bytes)) {
            let again = ModelBundle::parse(&bundle.to_text()).expect("its own text");
            assert!(again == bundle);
        }
    }),
    ("oci", |_, bytes| {
        input::read_answers(bytes);
        release::read_oci(bytes);
    }),
];

/// A public key.
const KEY: &[u8] = include_bytes!("../seeds/key/minisign.pub");

/// A small config.json, so that the tokenizer beside it is read.
const CONFIG: &[u8] = include_bytes!("../seeds/config-json/llama.json");

/// A manifest, so that the classes beside it are read.
const MANIFEST: &[u8] = include_bytes!("../seeds/manifest-xml/small.xml");

/// A class, so that the manifest beside it is read.
const CLASS: &[u8] = include_bytes!("../seeds/class/Empty.class");

fn unpack(place: &Place, bytes: &[u8], format: Format) {
    let digest = place.store.put_bytes(bytes).expect("a blob");
    let _ = input::unpack(&place.store, &digest, format, &Part::default());
}

fn checkpoint(place: &Place, bytes: &[u8]) {
    let files: &[(&str, &[u8])] =
        &[("config.json", b"{\"model_type\":\"llama\"}"), ("pytorch_model.bin", bytes)];
    let _ = model::Checkpoint::open(&place.directory(files));
}

fn list(bytes: &[u8], kind: Kind) {
    let limits = Limits { bytes: 64 << 20, members: 10_000 };
    let _ = artifact::list_archive(Cursor::new(bytes), kind, limits);
    let _ = artifact::list_in_form(&bytes, kind, limits, &BTreeMap::new());
}

fn verify(place: &Place, manifest: &[u8], sums: &[u8]) {
    let directory = place.directory(&[("release.json", manifest), ("SHA256SUMS", sums)]);
    let _ = release::verify(&directory, None);
}

fn chat(place: &Place, files: &[(&str, &[u8])]) {
    let source = place.directory(files);
    let _ = model::chat_config_checked(&model::ChatOptions {
        output: output(&source),
        source,
        quantization: "q4f16_1".to_owned(),
        architecture: "auto".to_owned(),
        conversation_template: "LM".to_owned(),
        overrides: serde_json::Map::new(),
    });
}

fn output(source: &Path) -> PathBuf {
    let output = source.with_file_name("output");
    let _ = std::fs::remove_dir_all(&output);
    output
}

/// An AAR with this manifest and one class.
fn aar(manifest: &[u8], class: &[u8]) -> Vec<u8> {
    let classes = stored(&[("org/Empty.class", class)]);
    stored(&[("AndroidManifest.xml", manifest), ("R.txt", b""), ("classes.jar", &classes)])
}

/// A zip of stored members.
fn stored(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in members {
        writer.start_file(*name, options).expect("a member");
        writer.write_all(content).expect("a member");
    }
    writer.finish().expect("a zip").into_inner()
}
