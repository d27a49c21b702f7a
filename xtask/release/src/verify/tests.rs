//! A small release is written, tampered with in every way, and each time the tampering is named.

use super::*;
use crate::{
    example::{self, ARCHIVE, LINUX},
    write,
};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};
use store::{Digest, Store};
use tempfile::TempDir;

struct Release {
    directory: TempDir,
    store: Store,
    manifest: Manifest,
    path: PathBuf,
}

fn release() -> Release {
    let (directory, store, manifest) = example::release();
    let path = directory.path().join("dist/test");
    write(&store, &manifest, &path).unwrap();
    Release { directory, store, manifest, path }
}

impl Release {
    fn problems(&self) -> String {
        text(&verify(&self.path, None).unwrap().problems)
    }

    fn against_locks(&self) -> String {
        let project = Project::load(&self.directory.path().join("project")).unwrap();
        text(&verify(&self.path, Some(&project)).unwrap().problems)
    }

    fn edit(&self, file: &str, change: impl Fn(&str) -> String) {
        let path = self.path.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = change(&text);
        assert_ne!(changed, text, "the edit does nothing");
        std::fs::write(&path, changed).unwrap();
    }

    /// Writes a changed manifest as a forger would: canonical, and with checksums that fit.
    fn forge(&mut self, change: impl Fn(&mut Manifest)) {
        change(&mut self.manifest);
        crate::bom::refresh(&self.path, &mut self.manifest);
        let json = self.manifest.to_json().unwrap();
        std::fs::write(self.path.join("SHA256SUMS"), self.manifest.checksums(&json)).unwrap();
        std::fs::write(self.path.join("release.json"), json).unwrap();
    }

    /// `sha256sum -c --strict`, the check that needs nothing of ours.
    fn sha256sum(&self) -> bool {
        let status = Command::new("sha256sum")
            .args(["-c", "--strict", "SHA256SUMS"])
            .current_dir(&self.path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.unwrap().success()
    }
}

fn text(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[track_caller]
fn holds(found: &str, expected: &str) {
    assert!(found.contains(expected), "`{expected}` is not in:\n{found}");
}

#[test]
fn an_untouched_release_verifies_here_and_with_sha256sum() {
    let release = release();
    assert_eq!(release.problems(), "");
    assert_eq!(release.against_locks(), "");
    assert!(release.sha256sum());
}

#[test]
fn a_flipped_byte_of_any_file_is_found() {
    let files: Vec<String> = list(&release().path)
        .unwrap()
        .into_iter()
        .filter(|(_, found)| matches!(found, Found::File(_)))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(files.len(), 8);
    for name in files {
        let release = release();
        let path = release.path.join(&name);
        let whole = std::fs::read(&path).unwrap();
        for offset in [0, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[offset] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            holds(&release.problems(), &name);
        }
    }
}

#[test]
fn every_change_of_the_directory_is_named() {
    type Tamper = fn(&Path);
    let cases: [(&str, Tamper); 15] = [
        ("hello-1.0-x86_64-pc-windows-msvc.zip: changed: it has 5 bytes", |path| {
            std::fs::write(path.join(ARCHIVE), "short").unwrap();
        }),
        ("hello-1.0-x86_64-pc-windows-msvc.zip: is missing", |path| {
            std::fs::remove_file(path.join(ARCHIVE)).unwrap();
        }),
        ("extra: is not in the manifest", |path| std::fs::write(path.join("extra"), "").unwrap()),
        ("licenses/.hidden: is not in the manifest", |path| {
            std::fs::write(path.join("licenses/.hidden"), "").unwrap();
        }),
        ("empty: is a directory that the manifest does not name", |path| {
            std::fs::create_dir(path.join("empty")).unwrap();
        }),
        (
            "renamed.zip: is not in the manifest; it is `hello-1.0-x86_64-pc-windows-msvc.zip`, renamed",
            |path| {
                std::fs::rename(path.join(ARCHIVE), path.join("renamed.zip")).unwrap();
            },
        ),
        ("hello-1.0-x86_64-pc-windows-msvc.zip: is not a regular file", |path| {
            std::fs::rename(path.join(ARCHIVE), path.with_file_name("moved")).unwrap();
            std::os::unix::fs::symlink("../moved", path.join(ARCHIVE)).unwrap();
        }),
        ("licenses: is neither in the manifest nor a regular file", |path| {
            std::fs::rename(path.join("licenses"), path.with_file_name("licenses")).unwrap();
            std::os::unix::fs::symlink("../licenses", path.join("licenses")).unwrap();
        }),
        ("link: is neither in the manifest nor a regular file", |path| {
            std::os::unix::fs::symlink("/etc/passwd", path.join("link")).unwrap();
        }),
        ("\\u001b[31m: is not in the manifest", |path| {
            std::fs::write(path.join("\u{1b}[31m"), "").unwrap();
        }),
        ("\\xff", |path| {
            use std::os::unix::ffi::OsStrExt;
            std::fs::write(path.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        }),
        ("release.json: is missing", |path| std::fs::remove_file(path.join("release.json")).unwrap()),
        ("release.json: is not a regular file", |path| {
            std::fs::rename(path.join("release.json"), path.with_file_name("moved")).unwrap();
            std::os::unix::fs::symlink("../moved", path.join("release.json")).unwrap();
        }),
        ("SHA256SUMS: is missing", |path| std::fs::remove_file(path.join("SHA256SUMS")).unwrap()),
        ("which is absurd", |path| {
            std::fs::File::options()
                .write(true)
                .open(path.join("release.json"))
                .and_then(|file| file.set_len(1 << 40))
                .unwrap();
        }),
    ];
    for (expected, tamper) in cases {
        let release = release();
        tamper(&release.path);
        holds(&release.problems(), expected);
    }
}

#[test]
fn two_files_that_changed_places_are_named_with_each_other() {
    let release = release();
    let swap = release.path.join("swap");
    std::fs::rename(release.path.join(ARCHIVE), &swap).unwrap();
    std::fs::rename(release.path.join(LINUX), release.path.join(ARCHIVE)).unwrap();
    std::fs::rename(&swap, release.path.join(LINUX)).unwrap();
    let found = release.problems();
    holds(&found, &format!("{ARCHIVE}: changed"));
    holds(&found, &format!("{LINUX}: changed"));
    assert!(!release.sha256sum());
}

#[test]
fn every_problem_is_told_not_only_the_first() {
    let release = release();
    std::fs::write(release.path.join(ARCHIVE), "").unwrap();
    std::fs::remove_file(release.path.join(LINUX)).unwrap();
    std::fs::write(release.path.join("extra"), "").unwrap();
    release.edit("SHA256SUMS", |text| text.replace("release.json", "another.json"));
    let found = release.problems();
    for expected in [ARCHIVE, LINUX, "extra", "names `another.json`", "does not name `release.json`"] {
        holds(&found, expected);
    }
}

#[test]
fn checksums_are_compared_line_by_line() {
    type Change = fn(&str) -> String;
    let cases: [(&str, Change); 6] = [
        ("line 1 is not a checksum", |text| format!("# comment\n{text}")),
        ("names `verify.py` twice", |text| format!("{text}{}\n", text.lines().last().unwrap())),
        ("names `../x`, which is not in the manifest", |text| format!("{text}{}  ../x\n", "0".repeat(64))),
        ("where it should be", |text| format!("{}{}", "0".repeat(64), &text[64..])),
        ("does not name `bom.cdx.json`", |text| {
            text.lines().skip(1).map(|line| format!("{line}\n")).collect()
        }),
        ("SHA256SUMS: is not written canonically", |text| {
            let mut lines: Vec<_> = text.lines().collect();
            lines.reverse();
            lines.join("\n") + "\n"
        }),
    ];
    for (expected, change) in cases {
        let release = release();
        release.edit("SHA256SUMS", change);
        holds(&release.problems(), expected);
    }
}

#[test]
fn a_manifest_has_one_way_to_be_written() {
    type Change = fn(&str) -> String;
    let cases: [(&str, Change); 8] = [
        ("is not written canonically", |text| text.replace("  ", " ")),
        ("is not written canonically", |text| format!("{text}\n")),
        ("is not written canonically", |text| text.trim_end().to_owned()),
        ("is not written canonically", |text| {
            text.replacen("\"name\": \"test\"", "\"name\": \"\\u0074est\"", 1)
        }),
        // A key that is written twice: serde takes the last of a map, and refuses it in a structure.
        ("is not written canonically", |text| {
            let start = text.find("    \"hello-source\": {").unwrap();
            let end = start + text[start..].find("\n    }\n").unwrap() + "\n    }".len();
            format!("{},\n{}", &text[..end], &text[start..])
        }),
        ("duplicate field `name`", |text| text.replacen("{\n", "{\n  \"name\": \"test\",\n", 1)),
        ("has the schema `mlc-repro/release/9`", |text| text.replace(SCHEMA, "mlc-repro/release/9")),
        ("is not a manifest", |_| "[".repeat(100_000)),
    ];
    for (expected, change) in cases {
        let release = release();
        release.edit("release.json", change);
        holds(&release.problems(), expected);
    }
}

#[test]
fn a_forged_manifest_is_caught_by_what_it_contradicts() {
    type Change = fn(&mut Manifest);
    let cases: [(&str, Change); 22] = [
        ("names `../LICENSE`, which is not a safe path", |manifest| {
            manifest.licenses[0].path = "../LICENSE".into();
        }),
        ("names `/etc/passwd`, which is not a safe path", |manifest| {
            manifest.artifacts[0].archive.path = "/etc/passwd".into();
        }),
        ("names `c:\\x`, which is not a safe path", |manifest| {
            manifest.artifacts[0].files[0].path = "c:\\x".into();
        }),
        ("not a safe path", |manifest| manifest.licenses[0].path = "licenses/a\nb".into()),
        ("twice", |manifest| manifest.licenses.push(manifest.licenses[0].clone())),
        ("one file where letters have no case", |manifest| {
            let mut file = manifest.artifacts[0].files[0].clone();
            file.path = file.path.to_uppercase();
            manifest.artifacts[0].files.push(file);
        }),
        ("below the file `bin/hello.dll`", |manifest| {
            let mut file = manifest.artifacts[0].files[0].clone();
            file.path += "/x";
            manifest.artifacts[0].files.push(file);
        }),
        ("`release.json` twice", |manifest| {
            let mut file = manifest.licenses[0].clone();
            file.path = "release.json".into();
            manifest.licenses.extend([file.clone(), file]);
        }),
        ("has no sha256, but `x`", |manifest| manifest.licenses[0].sha256 = "x".into()),
        ("`../x` is not a name for a release", |manifest| manifest.name = "../x".into()),
        ("names no artifact", |manifest| manifest.artifacts.clear()),
        ("holds another `hello-1.0-x86_64-pc-windows-msvc/bin/hello.dll`", |manifest| {
            manifest.artifacts[0].files[0].sha256 = "0".repeat(64);
        }),
        ("lacks `hello-1.0-x86_64-pc-windows-msvc/bin/other.dll`", |manifest| {
            let mut file = manifest.artifacts[0].files[0].clone();
            file.path = "bin/other.dll".into();
            manifest.artifacts[0].files.insert(1, file);
        }),
        (
            "holds `hello-1.0-x86_64-pc-windows-msvc/bin/hello.dll`, which is not in the manifest",
            |manifest| {
                manifest.artifacts[0].files.remove(0);
            },
        ),
        ("it is executable", |manifest| manifest.artifacts[1].files[0].executable = false),
        ("it is a link to `libhello.so.1`, not to `other`", |manifest| {
            manifest.artifacts[1].links.insert("lib/libhello.so".into(), "other".into());
        }),
        ("which leads out of it to `../../x`", |manifest| {
            manifest.artifacts[1].links.insert("lib/libhello.so".into(), "../../x".into());
        }),
        ("has no license texts", |manifest| {
            manifest.artifacts[0].files.pop();
            manifest.licenses.remove(0);
        }),
        ("does not say what the environment `other` is", |manifest| {
            manifest.artifacts[0].step.environment = "other".into();
        }),
        ("does not say what the input `hello-source` is", |manifest| manifest.inputs.clear()),
        ("is said to be checked by [\"smoke-test\"], and the checks that ran it are []", |manifest| {
            manifest.checks.clear()
        }),
        ("input `hello-source` is unpinned", |manifest| {
            let facts = manifest.inputs.get_mut("hello-source").unwrap();
            facts.source = input::Source::Path { path: "/home/me/x.tar".into(), directory: false };
        }),
    ];
    for (expected, change) in cases {
        let mut release = release();
        release.forge(change);
        holds(&release.problems(), expected);
    }
}

#[test]
fn what_is_missing_is_sorted_and_was_asked_for() {
    let missing = |model: &str| crate::Missing {
        wanted: crate::Wanted::Model { model: model.into() },
        waits_for: vec!["file".into()],
    };
    let mut release = release();
    release.forge(|manifest| manifest.missing = vec![missing("a"), missing("b")]);
    assert_eq!(release.problems(), "");
    holds(&release.against_locks(), "says that b is missing, which nobody asks for");
    release.edit("release.json", |text| text.replacen("\"model\"", "\"because\": 1,\n      \"model\"", 1));
    holds(&release.problems(), "is not written canonically");
    for names in [["b", "a"], ["a", "a"]] {
        release.forge(|manifest| manifest.missing = names.map(missing).into());
        holds(&release.problems(), "has a list of what is missing that is not sorted");
    }
}

#[test]
fn a_forged_archive_is_caught_by_the_manifest_even_when_its_digest_fits() {
    let mut release = release();
    let bomb = vec![0; 8 << 20];
    let mut tree = store::Tree::new();
    let digest = release.store.put_bytes(&bomb).unwrap();
    tree.insert("bin/hello.dll", store::Entry::File { digest, executable: false }).unwrap();
    let top = ARCHIVE.strip_suffix(".zip").unwrap();
    let forged = artifact::write_archive(&release.store, &tree, top, artifact::Kind::Zip).unwrap();
    std::fs::write(release.path.join(ARCHIVE), release.store.read(&forged).unwrap()).unwrap();
    release.forge(|manifest| manifest.artifacts[0].archive = crate::File::new(ARCHIVE, &forged));
    assert!(release.sha256sum());
    holds(&release.problems(), "bytes in all");
}

#[test]
fn the_repository_must_say_the_same() {
    const HELLO: &str = "recipes/packages/hello/recipe.toml";
    let cases: [(&str, &str, &str, &str); 8] = [
        ("containers/wine.lock", "# wine", "# other", "environment `wine` was made with another lock"),
        ("recipes/policies/hello.toml", "hello.dll", "other.dll", "was examined by another policy"),
        (HELLO, "version = \"1.0\"", "version = \"1.1\"", "has the version `1.0`, and `1.1`"),
        (HELLO, "open-msvc", "other", "has the sysroot `open-msvc`, and `other`"),
        (HELLO, "[\"start-up\"]", "[]", "has the intermediate start-up@x86_64-pc-windows-msvc"),
        (
            HELLO,
            "input = \"hello-source\"\npath = \"hello\"\npatches = \"hello\"",
            "project = \"sysroot\"\npath = \"hello\"",
            "was made from other inputs",
        ),
        ("recipes/checks/smoke/recipe.toml", "\"wine\"", "\"linux\"", "ran in the environment `wine`"),
        ("releases/test.toml", ", \"x86_64-unknown-linux-gnu\"", "", "has the artifact hello@x86_64-unknown"),
    ];
    for (file, from, to, expected) in cases {
        let release = release();
        let path = release.directory.path().join("project").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        holds(&release.against_locks(), expected);
    }
}

#[test]
fn another_input_in_the_lock_is_named() {
    let release = release();
    let mut project = Project::load(&release.directory.path().join("project")).unwrap();
    project.inputs.inputs[0].digest = Digest::of(b"other");
    holds(&text(&verify(&release.path, Some(&project)).unwrap().problems), "input `hello-source` is ");
    project.inputs.inputs.clear();
    holds(&text(&verify(&release.path, Some(&project)).unwrap().problems), "is not in recipes/inputs.lock");
}

#[test]
fn an_artifact_that_was_left_out_is_missed() {
    let mut release = release();
    release.forge(|manifest| {
        manifest.artifacts.pop();
        manifest.licenses.pop();
        manifest.environments.remove("linux");
        manifest.repository.remove("containers/linux.toml");
    });
    std::fs::remove_file(release.path.join(LINUX)).unwrap();
    std::fs::remove_dir_all(release.path.join("licenses/hello-1.0-x86_64-unknown-linux-gnu")).unwrap();
    assert_eq!(release.problems(), "");
    holds(&release.against_locks(), "lacks the artifact hello@x86_64-unknown-linux-gnu");
}

/// Makes a manifest one of the first schema.
fn downgrade(manifest: &mut Manifest) {
    manifest.schema = FIRST_SCHEMA.into();
    (manifest.program, manifest.verifier) = (None, None);
    manifest.bom = None;
    manifest.repository.clear();
    for artifact in &mut manifest.artifacts {
        artifact.packed_from.clear();
        artifact.parts.clear();
        artifact.cxx = None;
        artifact.contains.clear();
        artifact.needs.clear();
    }
    let artifacts = manifest.artifacts.iter_mut().map(|artifact| &mut artifact.step);
    for step in artifacts.chain(&mut manifest.checks).chain(&mut manifest.intermediates) {
        step.made_from.clear();
    }
}

#[test]
fn the_second_schema_is_still_verified() {
    let text = include_str!("../manifest/golden-2.json");
    assert_eq!(serde_json::from_str::<Manifest>(text).unwrap().to_json().unwrap(), text);
    let (directory, store, mut manifest) = example::release();
    (manifest.schema, manifest.bom) = (crate::SECOND_SCHEMA.into(), None);
    let path = directory.path().join("dist/test");
    write(&store, &manifest, &path).unwrap();
    let project = Project::load(&directory.path().join("project")).unwrap();
    let verdict = verify(&path, Some(&project)).unwrap();
    assert_eq!(self::text(&verdict.problems), "");
    assert_eq!(verdict.schema.as_deref(), Some(crate::SECOND_SCHEMA));
}

#[test]
fn the_first_schema_is_still_verified_as_far_as_it_goes() {
    let text = include_str!("../manifest/golden-1.json");
    assert_eq!(serde_json::from_str::<Manifest>(text).unwrap().to_json().unwrap(), text);

    for name in ["test", "packed"] {
        let (directory, store, mut manifest) = example::release_of(name);
        downgrade(&mut manifest);
        let path = directory.path().join("dist/test");
        write(&store, &manifest, &path).unwrap();
        let project = Project::load(&directory.path().join("project")).unwrap();
        let verdict = verify(&path, Some(&project)).unwrap();
        assert_eq!(self::text(&verdict.problems), "");
        assert_eq!(verdict.schema.as_deref(), Some(FIRST_SCHEMA));
        let unchecked = verdict.unchecked.join("\n");
        holds(&unchecked, "which scripts, patches and sources of the repository the release was made from");
        manifest.artifacts[0].files[0].sha256 = "1".repeat(64);
        std::fs::write(path.join("release.json"), manifest.to_json().unwrap()).unwrap();
        assert!(!verify(&path, None).unwrap().passes());
    }
}

#[test]
fn the_verdict_names_the_manifest_and_what_was_not_checked() {
    let mut release = release();
    release.forge(|manifest| manifest.artifacts[0].step.imported = Some("friend".into()));
    let project = Project::load(&release.directory.path().join("project")).unwrap();
    let verdict = verify(&release.path, Some(&project)).unwrap();
    let json = std::fs::read(release.path.join("release.json")).unwrap();
    assert_eq!(verdict.manifest, Some(Digest::of(&json).hex()));
    let expected =
        Counts { files: 8, artifacts: 2, members: 6, models: 0, steps: 4, inputs: 1, repository: 15 };
    assert_eq!(verdict.counts, expected);
    let text = [verdict.unchecked.join("\n"), verdict.notes.join("\n")].concat();
    for expected in [
        "`verify --rebuild` builds them again",
        "there is no signature",
        "which commit fits the recipe side is not known: this checkout has no Git history",
        "hello@x86_64-pc-windows-msvc was not built with the release: it was imported from friend",
    ] {
        holds(&text, expected);
    }
    let verdict = verify(&release.path, None).unwrap();
    holds(&verdict.unchecked.join("\n"), "no checkout was compared with");
}

#[test]
fn what_is_no_directory_is_an_error() {
    let release = release();
    for name in ["nowhere", "release.json"] {
        let error = verify(&release.path.join(name), None).unwrap_err().to_string();
        assert!(error.contains(&format!("{name} is not a release directory")), "{error}");
    }
}
