//! Two builders, each with a build of their own, and whoever checks what they signed.

use super::*;
use crate::{Check, Trust, Written, example, verify, verify_with, write};
use signature::{Envelope, ModelBundle, ModelKey, SecretKey};
use std::path::{Path, PathBuf};
use store::{Digest, Store};
use tempfile::TempDir;

struct Builder {
    _directory: TempDir,
    store: Store,
    manifest: Manifest,
    path: PathBuf,
    key: SecretKey,
}

/// A build in a store and directory of its own.
fn builder(seed: u8) -> Builder {
    let (directory, store, manifest) = example::release();
    let path = directory.path().join("dist/test");
    write(&store, &manifest, &path).unwrap();
    Builder { _directory: directory, store, manifest, path, key: SecretKey::from_seed([seed; 32]) }
}

fn two_of_two() -> Trust {
    let rules = crate::verify::tampering::signatures::TWO_OF_TWO;
    crate::verify::tampering::signatures::policy(rules)
}

fn passes(path: &Path, attestations: Option<&Path>) -> String {
    let trust = two_of_two();
    let check = Check { trust: Some(&trust), attestations, ..Check::default() };
    verify_with(path, &check).unwrap().problems.iter().map(|it| format!("{it}\n")).collect()
}

fn files(path: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(path.join(DIRECTORY)).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn two_builds_satisfy_two_of_two_when_their_signatures_are_brought_together() {
    let [alice, bob] = [1, 2].map(builder);
    for it in [&alice, &bob] {
        let attested = attest(&it.path, &it.key, None).unwrap();
        assert_eq!((attested.envelopes, attested.other_checksums), (3, None));
        assert!(passes(&it.path, None).contains("needs 2 keys of `builders`"));
    }
    // What they say is the same, byte by byte; who says it is not.
    for ((name, one), (_, other)) in files(&alice.path).iter().zip(&files(&bob.path)) {
        let [one, other] =
            [one, other].map(|bytes| Envelope::parse(&String::from_utf8(bytes.clone()).unwrap()).unwrap());
        assert_eq!(one.payload(), other.payload(), "{name}");
        assert_ne!(one.signatures(), other.signatures(), "{name}");
    }
    assert_eq!(merge(&alice.path, std::slice::from_ref(&bob.path)).unwrap(), 6);
    assert_eq!(passes(&alice.path, None), "");
    // In any order, and however often.
    assert_eq!(merge(&bob.path, &[alice.path.clone(), alice.path.clone()]).unwrap(), 6);
    assert_eq!(files(&alice.path), files(&bob.path));
    let before = files(&alice.path);
    attest(&alice.path, &alice.key, None).unwrap();
    assert_eq!(files(&alice.path), before);
}

#[test]
fn signatures_are_collected_in_directories_of_builders() {
    let [alice, bob] = [1, 2].map(builder);
    let place = tempfile::tempdir().unwrap();
    let json = std::fs::read(alice.path.join("release.json")).unwrap();
    let release = place.path().join(release_name("test", &Digest::of(&json).hex()));
    for (name, it) in [("alice", &alice), ("bob", &bob)] {
        attest(&it.path, &it.key, Some(&release.join(name))).unwrap();
        assert!(!it.path.join(DIRECTORY).exists(), "the release itself is left as it was");
    }
    assert_eq!(passes(&alice.path, Some(place.path())), "");
    std::fs::write(release.join("bob/note.txt"), "hello").unwrap();
    assert!(
        passes(&alice.path, Some(place.path())).contains("bob/note.txt: is not a signature of this release")
    );
    std::fs::remove_file(release.join("bob/note.txt")).unwrap();
    merge(&alice.path, &[release.join("alice"), release.join("bob")]).unwrap();
    assert_eq!(passes(&alice.path, None), "");
}

#[test]
fn signatures_of_another_release_are_not_merged() {
    let [alice, mut bob] = [1, 2].map(builder);
    bob.manifest.program = Some("mlc-repro 0.0.1".into());
    write(&bob.store, &bob.manifest, &bob.path).unwrap();
    attest(&alice.path, &alice.key, None).unwrap();
    attest(&bob.path, &bob.key, None).unwrap();
    let before = files(&alice.path);
    let error = format!("{:#}", merge(&alice.path, std::slice::from_ref(&bob.path)).unwrap_err());
    assert!(error.contains("is another release"), "{error}");
    std::fs::rename(bob.path.join(DIRECTORY), bob.path.with_file_name("loose")).unwrap();
    let error = format!("{:#}", merge(&alice.path, &[bob.path.with_file_name("loose")]).unwrap_err());
    assert!(error.contains("is around another statement"), "{error}");
    assert_eq!(files(&alice.path), before);
}

/// A rebuild has no signature of anybody.
#[test]
fn a_rebuild_is_compared_without_signatures() {
    let [alice, rebuilt] = [1, 2].map(builder);
    attest(&alice.path, &alice.key, None).unwrap();
    assert_eq!(crate::compare(&alice.path, &rebuilt.path).unwrap(), []);
    assert_eq!(
        crate::compare(&rebuilt.path, &alice.path).unwrap().len(),
        5,
        "and the other way round it has more"
    );
}

/// A damaged archive is mended; who vouched for the release still does. Another release has no signatures yet.
#[test]
fn writing_a_release_again_keeps_the_signatures_of_the_same_release() {
    let mut alice = builder(1);
    attest(&alice.path, &alice.key, None).unwrap();
    let before = files(&alice.path);
    assert_eq!(write(&alice.store, &alice.manifest, &alice.path).unwrap(), Written::UpToDate);
    std::fs::write(alice.path.join(example::ARCHIVE), "damage").unwrap();
    assert_eq!(write(&alice.store, &alice.manifest, &alice.path).unwrap(), Written::New);
    assert_eq!(files(&alice.path), before);
    assert!(alice.path.join(CHECKSUMS_SIGNATURE).exists());
    assert_eq!(verify(&alice.path, None).unwrap().problems, []);
    alice.manifest.program = Some("mlc-repro 0.0.1".into());
    write(&alice.store, &alice.manifest, &alice.path).unwrap();
    assert!(!alice.path.join(DIRECTORY).exists());
}

/// A tree of the Remote Execution API is not called a SHA-256, and no statement says where or when or by whom.
#[test]
fn statements_say_what_and_never_who_or_when() {
    let alice = builder(1);
    let json = std::fs::read_to_string(alice.path.join("release.json")).unwrap();
    let mut count = 0;
    for companion in companions(&alice.manifest, &json).unwrap().values() {
        let Companion::Envelope { statement, .. } = companion else { continue };
        count += 1;
        let value: serde_json::Value = serde_json::from_slice(statement).unwrap();
        assert_eq!(value["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(value["predicateType"], "https://slsa.dev/provenance/v1");
        let build = &value["predicate"]["buildDefinition"];
        let dependencies = build["resolvedDependencies"].as_array().unwrap();
        assert!(!dependencies.is_empty());
        for dependency in dependencies {
            let name = dependency["name"].as_str().unwrap();
            let is_tree = name.starts_with("environment/") || name.starts_with("recipe/");
            assert_eq!(dependency["digest"].get("reapiTree").is_some(), is_tree, "{name}");
            assert_eq!(dependency["digest"].get("sha256").is_some(), !is_tree, "{name}");
            let uri = dependency["uri"].as_str().unwrap();
            assert!(uri.starts_with("pkg:") || uri.starts_with("urn:mlc-repro:"), "{uri}");
            assert!(!uri.contains(' ') && !uri.contains("://"), "{uri}");
        }
        assert_eq!(
            value["predicate"]["runDetails"].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["builder"]
        );
        assert_eq!(crate::manifest::canonical(value).to_string().as_bytes(), statement.as_slice());
    }
    assert_eq!(count, 3);
}

#[test]
fn a_directory_that_is_a_model_is_signed_and_a_changed_one_is_not_what_was_signed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("params_shard_0.bin"), "weights").unwrap();
    let key = ModelKey::generate().unwrap();
    let place = sign_model(&path, &key).unwrap();
    let text = std::fs::read_to_string(&place).unwrap();
    let bundle = ModelBundle::parse(&text).unwrap();
    assert!(bundle.verifies(&key.public_pem()).unwrap());
    assert!(bundle.is_of(&attest::model_statement(&path).unwrap()));
    // ECDSA makes another signature each time, and one that is right stays.
    sign_model(&path, &key).unwrap();
    assert_eq!(std::fs::read_to_string(&place).unwrap(), text);
    std::fs::write(path.join("more"), "").unwrap();
    assert!(!bundle.is_of(&attest::model_statement(&path).unwrap()));
    std::os::unix::fs::symlink("more", path.join("link")).unwrap();
    assert!(sign_model(&path, &key).is_err());
}

/// A process that was killed while it signed leaves what `verify` would refuse: a file that was being written, or a directory
/// without anything in it.
#[test]
fn what_a_kill_left_while_signing_does_not_keep_anybody_from_signing() {
    let (directory, store, manifest) = crate::example::release();
    let path = directory.path().join("dist/test");
    crate::write(&store, &manifest, &path).unwrap();
    let passes = || crate::verify(&path, None).unwrap().passes();
    std::fs::create_dir(path.join("provenance")).unwrap();
    assert!(!passes());
    super::clear(&path).unwrap();
    assert!(passes());
    std::fs::create_dir(path.join("provenance")).unwrap();
    for name in [".mlc-repro-output-a", "provenance/.mlc-repro-output-b"] {
        std::fs::write(path.join(name), "half").unwrap();
    }
    super::clear(&path).unwrap();
    assert!(passes());
    crate::attest(&path, &signature::SecretKey::from_seed([1; 32]), None).unwrap();
    super::clear(&path).unwrap();
    assert!(passes() && path.join("provenance/release.intoto.jsonl").exists());
}
