//! Releases that were tampered with: one row for each way, with what `verify` says of it. docs/tamperings.md is the
//! table; the tests below write and compare it, and go on with random changes.

mod bom;
mod checkout;
mod directory;
mod facts;
mod leaves;
mod manifest;
mod packed;
mod raw;
mod script;
pub(crate) mod signatures;
mod tar;
mod zip;

use super::{Check, Problem, verify_with};
use crate::{Manifest, Trust, example, write};
use builder::Project;
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    sync::OnceLock,
};
use store::Digest;
use tempfile::TempDir;

/// One way to tamper with a release.
pub struct Case {
    /// What is done.
    name: &'static str,
    /// What `verify` must say.
    finding: &'static str,
    tamper: fn(&mut Release),
}

/// A row of the table.
pub fn case(name: &'static str, finding: &'static str, tamper: fn(&mut Release)) -> Case {
    Case { name, finding, tamper }
}

/// Rows of one kind.
struct Section {
    title: &'static str,
    /// The release of the example that is tampered with.
    release: &'static str,
    /// Whether `verify` gets the checkout; without, it must find the tampering in the release alone.
    with_checkout: bool,
    cases: Vec<Case>,
}

fn sections() -> Vec<Section> {
    let section = |title, release, with_checkout, cases| Section { title, release, with_checkout, cases };
    vec![
        section("Files of the directory", "test", false, directory::cases()),
        section("`release.json` against itself", "test", false, manifest::cases()),
        section("`release.json`, what can't be so", "test", false, facts::cases()),
        section("Names", "test", false, manifest::names()),
        section(
            "The bill of materials, the manifest and the checksums made to fit",
            "test",
            false,
            bom::cases(),
        ),
        section("The bill of materials against the checkout", "test", true, bom::against_locks()),
        section("tar archives, the manifest and the checksums made to fit", "test", false, tar::cases()),
        section("gzip streams, likewise", "test", false, tar::gzip()),
        section("zip archives, likewise", "test", false, zip::cases()),
        section("Wheels and AARs, likewise", "packed", false, packed::cases()),
        section("Wheels and AARs against their recipes", "packed", true, packed::against_recipes()),
        section("`release.json` against the checkout", "test", true, checkout::claims()),
        section("The checkout against `release.json`", "test", true, checkout::cases()),
        section("Signatures, without a policy", "attested", false, signatures::cases()),
        section(
            "Signatures, with a policy of two of two builders",
            "signed",
            false,
            signatures::with_policy(),
        ),
    ]
}

/// A copy of the example's release, to be tampered with.
pub struct Release {
    _directory: TempDir,
    /// The release directory.
    pub path: PathBuf,
    /// The checkout.
    pub project: PathBuf,
    /// What its manifest says.
    pub manifest: Manifest,
    /// Whose signatures count.
    pub policy: Option<Trust>,
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => _ = std::fs::copy(entry.path(), to).unwrap(),
        }
    }
}

impl Release {
    /// A fresh copy of the release of this name: `test` or `packed`; `attested` is `test` with the signatures of two builders,
    /// and `signed` has a policy too.
    pub fn new(name: &str) -> Self {
        if let "attested" | "signed" = name {
            let mut release = Self::new("test");
            signatures::BUILDERS.iter().for_each(|builder| release.attest(*builder));
            release.policy = (name == "signed").then(|| signatures::policy(signatures::TWO_OF_TWO));
            return release;
        }
        static TEST: OnceLock<(TempDir, Manifest)> = OnceLock::new();
        static PACKED: OnceLock<(TempDir, Manifest)> = OnceLock::new();
        let template = if name == "packed" { &PACKED } else { &TEST };
        let (directory, manifest) = template.get_or_init(|| {
            let (directory, store, manifest) = example::release_of(name);
            write(&store, &manifest, &directory.path().join("dist")).unwrap();
            (directory, manifest)
        });
        let own = tempfile::tempdir().unwrap();
        let (path, project) = (own.path().join("dist"), own.path().join("project"));
        copy(&directory.path().join("dist"), &path);
        copy(&directory.path().join("project"), &project);
        Self { _directory: own, path, project, manifest: manifest.clone(), policy: None }
    }

    pub fn problems(&self, with_checkout: bool) -> Vec<Problem> {
        // A checkout that can't be read is an error, not a release that passes.
        let project = with_checkout.then(|| Project::load(&self.project).unwrap());
        let check = Check { project: project.as_ref(), trust: self.policy.as_ref(), attestations: None };
        let verdict = verify_with(&self.path, &check).unwrap();
        assert_eq!(verdict.exit_status(), u8::from(!verdict.problems.is_empty()));
        verdict.problems
    }

    /// Changes the manifest as a forger would: canonical, and with a bill of materials and checksums that fit.
    pub fn forge(&mut self, change: impl FnOnce(&mut Manifest)) {
        change(&mut self.manifest);
        crate::bom::refresh(&self.path, &mut self.manifest);
        let json = self.manifest.to_json().unwrap();
        self.write_json(&json);
    }

    /// Writes a text as the manifest, with checksums that fit.
    pub fn write_json(&self, json: &str) {
        std::fs::write(self.path.join("SHA256SUMS"), self.manifest.checksums(json)).unwrap();
        std::fs::write(self.path.join("release.json"), json).unwrap();
    }

    /// A file's content.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path.join(name)).unwrap()
    }

    /// Puts another archive in the place of one, and makes manifest and checksums fit.
    pub fn forge_archive(&mut self, name: &str, bytes: &[u8]) {
        assert_ne!(self.read(name), bytes, "the tampering does nothing");
        std::fs::write(self.path.join(name), bytes).unwrap();
        let digest = Digest::of(bytes);
        self.forge(|manifest| {
            let archives = manifest.artifacts.iter_mut().map(|artifact| &mut artifact.archive);
            for archive in archives.filter(|archive| archive.path == name) {
                *archive = crate::File::new(name, &digest);
            }
        });
    }

    /// Changes a text of the checkout.
    pub fn edit_checkout(&self, path: &str, from: &str, to: &str) {
        let path = self.project.join(path);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{} has no `{from}`", path.display());
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }
}

pub fn text(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn what_is_not_tampered_with_passes() {
    for name in ["test", "packed", "attested", "signed"] {
        for with_checkout in [false, true] {
            assert_eq!(text(&Release::new(name).problems(with_checkout)), "", "{name}");
        }
    }
}

/// Every row is found, and the table of the documentation is this one. `UPDATE_TABLE=1` writes it.
#[test]
fn every_tampering_is_named() {
    let mut table = String::from(
        "# Tamperings\n\nWhat was done to a release, and what `verify` says of it; the exit status is 1 each time. Written by the tests of \
         `xtask/release/src/verify/tampering` (`UPDATE_TABLE=1`).\n",
    );
    let (mut count, mut wrong) = (0, String::new());
    for section in sections() {
        let how = if section.with_checkout { "with" } else { "without" };
        write!(
            table,
            "\n## {}\n\nChecked {how} a checkout.\n\n| tampering | finding |\n|---|---|\n",
            section.title
        )
        .unwrap();
        for Case { name, finding, tamper } in &section.cases {
            count += 1;
            let mut release = Release::new(section.release);
            tamper(&mut release);
            let found = text(&release.problems(section.with_checkout));
            if !found.contains(finding) {
                writeln!(wrong, "{name}: expected `{finding}`, found: {found}").unwrap();
            }
            writeln!(table, "| {name} | {} |", finding.replace('|', "\\|")).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 120, "{count} rows");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tamperings.md");
    if std::env::var_os("UPDATE_TABLE").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(there, table, "docs/tamperings.md is not this table: run this test with UPDATE_TABLE=1");
}

/// A stream of numbers that is the same each time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most.max(1)
    }

    /// Flips, removes, doubles, inserts or cuts something.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let (at, length) = (self.below(bytes.len()), 1 + self.below(8));
        let end = (at + length).min(bytes.len());
        match self.below(6) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = self.below(256) as u8,
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let new: Vec<u8> = (0..length).map(|_| self.below(256) as u8).collect();
                bytes.splice(at..at, new);
            }
            _ => bytes.truncate(at),
        }
    }
}

/// Whatever is changed in an archive, on the outside or below the compression, is found although all digests fit.
#[test]
fn random_changes_of_archives_are_found() {
    let mut random = Random(17);
    for (release, name) in [
        ("test", example::ARCHIVE),
        ("test", example::LINUX),
        ("packed", example::WHEEL),
        ("packed", example::AAR),
    ] {
        let mut release = Release::new(release);
        let whole = release.read(name);
        let plain = name.ends_with(".tar.gz").then(|| tar::unpacked(&whole));
        for round in 0..150 {
            let mut bytes = whole.clone();
            match &plain {
                Some(plain) if round % 2 == 0 => {
                    let mut plain = plain.clone();
                    random.mutate(&mut plain);
                    bytes = tar::packed(&plain);
                }
                _ => random.mutate(&mut bytes),
            }
            if bytes == whole {
                continue;
            }
            std::fs::write(release.path.join(name), &whole).unwrap();
            release.forge_archive(name, &bytes);
            let found = text(&release.problems(false));
            assert!(found.contains(name), "{name}, round {round}: {found}");
        }
    }
}
