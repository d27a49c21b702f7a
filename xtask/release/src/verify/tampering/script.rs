//! `verify.py` against this program: what it passes and what it finds, on the same releases.

use super::{Case, Release, directory, signatures, text};
use crate::{example, verifier};
use std::process::Command;

/// Runs the program's own copy of the script: one that was tampered with would say anything.
fn script(release: &Release) -> (bool, String) {
    let path = release.path.with_file_name("own-verify.py");
    std::fs::write(&path, verifier::SCRIPT).unwrap();
    // Isolated, and without files of its own in the directory that it checks.
    let output = Command::new("python3").args(["-I", "-B"]).arg(&path).arg(&release.path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{text}{}", String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[test]
fn the_script_passes_what_this_program_passes_and_names_it() {
    for name in ["test", "packed", "attested"] {
        let release = Release::new(name);
        let (passes, text) = script(&release);
        let sha256 = store::Digest::of(&release.read("release.json")).hex();
        assert!(passes && text.starts_with(&format!("PASS  release.json {sha256}, ")), "{text}");
        assert!(text.is_ascii());
        // As it lies in the release, it checks the directory that it lies in.
        let output = Command::new("python3").arg("-B").arg(release.path.join("verify.py")).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        assert_eq!(super::text(&release.problems(false)), "", "it leaves nothing behind");
    }
}

#[test]
fn the_script_finds_every_change_of_the_directory() {
    for Case { name, tamper, .. } in directory::cases() {
        let mut release = Release::new("test");
        tamper(&mut release);
        assert_ne!(text(&release.problems(false)), "", "{name}");
        let (passes, text) = script(&release);
        assert!(!passes && text.contains("FAIL  "), "{name}: {text}");
    }
}

/// It checks no key, and finds what is about other files.
#[test]
fn the_script_finds_what_is_not_a_signature_of_the_release() {
    type Tamper = fn(&mut Release);
    let cases: [(&str, Tamper); 4] = [
        ("provenance/more.intoto.jsonl: is not in release.json", |release| {
            release.copy_file(signatures::RELEASE, "provenance/more.intoto.jsonl");
        }),
        ("is about other files than the release has", |release| {
            release.copy_file(signatures::RELEASE, signatures::WINDOWS);
        }),
        ("cannot be checked", |release| release.write(signatures::RELEASE, "{}")),
        ("provenance: is an empty directory", |release| {
            std::fs::remove_dir_all(release.path.join("provenance")).unwrap();
            std::fs::create_dir(release.path.join("provenance")).unwrap();
        }),
    ];
    for (expected, tamper) in cases {
        let mut release = Release::new("attested");
        tamper(&mut release);
        let (passes, text) = script(&release);
        assert!(!passes && text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn the_script_finds_other_members() {
    type Tamper = fn(&mut Release);
    let cases: [(&str, Tamper); 4] = [
        ("holds another hello-1.0-x86_64-unknown-linux-gnu/bin/hello than", |release| {
            release.forge(|it| it.artifacts[1].files[0].sha256 = "0".repeat(64));
        }),
        ("lacks hello-1.0-x86_64-pc-windows-msvc/more", |release| {
            release.forge(|it| {
                let file = crate::File { path: "more".into(), ..it.artifacts[0].files[0].clone() };
                it.artifacts[0].files.push(file);
            });
        }),
        ("holds another hello-1.0-x86_64-unknown-linux-gnu/lib/libhello.so than", |release| {
            release.forge(|it| it.artifacts[1].links.clear());
        }),
        (example::ARCHIVE, |release| release.forge_archive(example::ARCHIVE, b"none")),
    ];
    for (expected, tamper) in cases {
        let mut release = Release::new("test");
        tamper(&mut release);
        let (passes, text) = script(&release);
        assert!(!passes && text.contains(expected), "{expected}: {text}");
    }
}
