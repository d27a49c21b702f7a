//! A small release is written, tampered with in every way, and each time the tampering is named.

use super::*;
use crate::{
    Artifact, File, Written,
    manifest::{EnvironmentFacts, InputFacts, Step},
    write,
};
use input::Source;
use std::path::PathBuf;
use store::{Entry, Store, Tree};

struct Release {
    _directory: tempfile::TempDir,
    store: Store,
    manifest: Manifest,
    path: PathBuf,
}

const ARCHIVE: &str = "hello-1.0-x86_64-unknown-linux-gnu.tar.gz";

fn release() -> Release {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let mut tree = Tree::new();
    let library = store.put_bytes(b"library").unwrap();
    let license = store.put_bytes(b"license").unwrap();
    tree.insert("lib/libhello.so", Entry::File { digest: library, executable: false }).unwrap();
    tree.insert("licenses/LICENSE", Entry::File { digest: license, executable: false }).unwrap();
    let top = ARCHIVE.strip_suffix(".tar.gz").unwrap();
    let archive = artifact::write_archive(&store, &tree, top, Kind::TarGz).unwrap();
    let step = Step {
        recipe: "hello".into(),
        target: "x86_64-unknown-linux-gnu".into(),
        action: Digest::of(b"action"),
        outputs: tree.write(&store).unwrap(),
        environment: "linux".into(),
        inputs: vec!["source".into()],
        dependencies: Vec::new(),
    };
    let manifest = Manifest {
        schema: SCHEMA.into(),
        name: "test".into(),
        artifacts: vec![Artifact {
            archive: File::new(ARCHIVE, &archive),
            license: "MIT".into(),
            version: "1.0".into(),
            policy: None,
            sysroot: None,
            files: vec![File::new("lib/libhello.so", &library), File::new("licenses/LICENSE", &license)],
            step,
        }],
        checks: Vec::new(),
        intermediates: Vec::new(),
        environments: [(
            "linux".into(),
            EnvironmentFacts { tree: Digest::of(b"tree"), nar: "sha256-x".into(), lock: Digest::of(b"lock") },
        )]
        .into(),
        inputs: [(
            "source".into(),
            InputFacts {
                source: Source::Crate { package: "hello".into(), version: "1.0".into() },
                sha256: library.hex(),
                size: 7,
            },
        )]
        .into(),
        licenses: vec![File::new(&format!("licenses/{top}/LICENSE"), &license)],
    };
    let path = directory.path().join("dist/test");
    assert_eq!(write(&store, &manifest, &path).unwrap(), Written::New);
    Release { _directory: directory, store, manifest, path }
}

fn problems(release: &Release) -> String {
    verify(&release.path, None).unwrap().iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn an_untouched_release_verifies_and_is_written_once() {
    let release = release();
    assert_eq!(problems(&release), "");
    assert_eq!(write(&release.store, &release.manifest, &release.path).unwrap(), Written::UpToDate);
    let status = std::process::Command::new("sha256sum")
        .args(["-c", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(&release.path)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn every_tampering_is_named() {
    type Tamper = fn(&Path);
    let cases: [(&str, Tamper); 9] = [
        ("changed: its sha256 is", |path| {
            let mut bytes = std::fs::read(path.join(ARCHIVE)).unwrap();
            bytes[30] ^= 1;
            std::fs::write(path.join(ARCHIVE), bytes).unwrap();
        }),
        ("bytes, not", |path| std::fs::write(path.join(ARCHIVE), "short").unwrap()),
        ("is missing", |path| std::fs::remove_file(path.join(ARCHIVE)).unwrap()),
        ("extra: is not in the manifest", |path| std::fs::write(path.join("extra"), "").unwrap()),
        ("is no regular file", |path| {
            std::fs::rename(path.join(ARCHIVE), path.with_file_name("moved")).unwrap();
            std::os::unix::fs::symlink("../moved", path.join(ARCHIVE)).unwrap();
        }),
        ("SHA256SUMS: does not agree", |path| {
            let text = std::fs::read_to_string(path.join("SHA256SUMS")).unwrap();
            std::fs::write(path.join("SHA256SUMS"), text.replace('a', "b")).unwrap();
        }),
        ("SHA256SUMS: cannot be read", |path| std::fs::remove_file(path.join("SHA256SUMS")).unwrap()),
        ("not written canonically", |path| {
            let text = std::fs::read_to_string(path.join("release.json")).unwrap();
            std::fs::write(path.join("release.json"), text.replace("  ", " ")).unwrap();
        }),
        ("is no manifest", |path| std::fs::write(path.join("release.json"), "{}").unwrap()),
    ];
    for (expected, tamper) in cases {
        let release = release();
        tamper(&release.path);
        let found = problems(&release);
        assert!(found.contains(expected), "{expected} is not in:\n{found}");
    }
}

/// Writes a changed manifest as a forger would: canonical, and with checksums that fit.
fn forged(change: impl Fn(&mut Manifest)) -> String {
    let mut release = release();
    change(&mut release.manifest);
    let json = release.manifest.to_json().unwrap();
    std::fs::write(release.path.join("SHA256SUMS"), release.manifest.checksums(&json)).unwrap();
    std::fs::write(release.path.join("release.json"), json).unwrap();
    problems(&release)
}

#[test]
fn a_forged_manifest_is_caught_by_what_it_contradicts() {
    type Change = fn(&mut Manifest);
    let cases: [(&str, Change); 6] = [
        ("is no safe path", |manifest| manifest.licenses[0].path = "../LICENSE".into()),
        ("twice", |manifest| manifest.licenses.push(manifest.licenses[0].clone())),
        ("has the schema", |manifest| manifest.schema = "other".into()),
        ("holds another", |manifest| manifest.artifacts[0].files[0].sha256 = "0".repeat(64)),
        ("lacks", |manifest| {
            let mut file = manifest.artifacts[0].files[0].clone();
            file.path = "lib/other.so".into();
            manifest.artifacts[0].files.push(file);
        }),
        ("which is not in the manifest", |manifest| {
            manifest.artifacts[0].files.remove(0);
        }),
    ];
    for (expected, change) in cases {
        let found = forged(change);
        assert!(found.contains(expected), "{expected} is not in:\n{found}");
    }
}

#[test]
fn duplicate_keys_and_a_missing_release_are_refused() {
    let release = release();
    let path = release.path.join("release.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("{\n", "{\n  \"name\": \"test\",\n", 1)).unwrap();
    let found = problems(&release);
    assert!(found.contains("duplicate field") || found.contains("canonically"), "{found}");
    assert!(verify(&release.path.join("nowhere"), None).is_err());
}

#[test]
fn a_rebuild_that_differs_is_shown_to_the_byte() {
    let (one, mut two) = (release(), release());
    assert_eq!(crate::compare(&one.path, &two.path).unwrap(), []);
    let mut tree = Tree::new();
    for (path, text) in [("lib/libhello.so", "liXrary"), ("licenses/LICENSE", "license")] {
        let digest = two.store.put_bytes(text.as_bytes()).unwrap();
        tree.insert(path, Entry::File { digest, executable: false }).unwrap();
    }
    let top = ARCHIVE.strip_suffix(".tar.gz").unwrap();
    let archive = artifact::write_archive(&two.store, &tree, top, Kind::TarGz).unwrap();
    two.manifest.artifacts[0].archive = File::new(ARCHIVE, &archive);
    write(&two.store, &two.manifest, &two.path).unwrap();
    let found: String =
        crate::compare(&one.path, &two.path).unwrap().iter().map(ToString::to_string).collect();
    assert!(found.contains(&format!("{ARCHIVE} > {top}/lib/libhello.so differs at offset 0x2")), "{found}");
}
