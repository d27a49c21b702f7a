//! The signatures beside a release, against the statements that its manifest gives.

use super::{Found, Problems};
use crate::{
    Manifest,
    provenance::{About, CHECKSUMS_SIGNATURE, Companion, DIRECTORY, LARGEST, comment, read},
    trust::Evidence,
};
use signature::{Envelope, Minisignature, ModelBundle, PAYLOAD_TYPE};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What was read beside a release.
pub(crate) struct Beside<'a> {
    companions: &'a BTreeMap<String, Companion>,
    /// What our own signatures of the checksums say beside them.
    comment: String,
    /// What a policy decides by.
    pub evidence: Evidence,
}

impl<'a> Beside<'a> {
    /// Reads what stands in a release directory. Whatever is malformed, or about something else, is a problem.
    pub fn read(
        directory: &Path,
        found: &BTreeMap<String, Found>,
        manifest: &Manifest,
        json: &str,
        companions: &'a BTreeMap<String, Companion>,
        problems: &mut Problems,
    ) -> Self {
        let evidence = Evidence { content: manifest.checksums(json), ..Evidence::default() };
        let mut beside = Self { companions, comment: comment(manifest, json), evidence };
        for (path, companion) in companions {
            match found.get(path) {
                None => {}
                Some(Found::File(size)) if *size <= LARGEST => {
                    beside.take(path, &directory.join(path), companion, true, problems);
                }
                Some(Found::File(size)) => problems.add(path, format!("is too large ({size} bytes)")),
                Some(Found::Directory | Found::Other) => problems.add(path, "is not a regular file"),
            }
        }
        beside
    }

    /// Adds the signatures of builders' directories, where they were collected.
    pub fn collect(&mut self, builders: &[PathBuf], problems: &mut Problems) {
        for builder in builders {
            let whose =
                builder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let found = match super::list(builder) {
                Ok(found) => found,
                Err(error) => {
                    problems.add(&whose, format!("{error:#}"));
                    continue;
                }
            };
            for (name, kind) in found {
                let path = match name.as_str() {
                    CHECKSUMS_SIGNATURE => name.clone(),
                    _ => format!("{DIRECTORY}/{name}"),
                };
                let shown = format!("{whose}/{name}");
                match (self.companions.get(&path), kind) {
                    (
                        Some(companion @ (Companion::Envelope { .. } | Companion::Checksums)),
                        Found::File(size),
                    ) if size <= LARGEST => {
                        self.take(&shown, &builder.join(&name), companion, false, problems);
                    }
                    _ => problems.add(&shown, "is not a signature of this release"),
                }
            }
        }
    }

    fn take(
        &mut self,
        shown: &str,
        place: &Path,
        companion: &Companion,
        is_ours: bool,
        problems: &mut Problems,
    ) {
        let text = match read(place) {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => return problems.add(shown, format!("cannot be read: {error:#}")),
        };
        let result = match companion {
            Companion::Envelope { about, statement } => self.envelope(about, statement, &text, is_ours),
            Companion::Checksums => Minisignature::parse(&text).and_then(|it| {
                // Others' programs say there what they like, such as a time. What is of our form is of this release.
                let is_ours = it.comment().contains("release.json: sha256:");
                anyhow::ensure!(
                    !is_ours || it.comment() == self.comment,
                    "its comment is of another release"
                );
                self.evidence.checksums.push(it);
                Ok(())
            }),
            Companion::Model(statement) => ModelBundle::parse(&text).and_then(|bundle| {
                anyhow::ensure!(bundle.is_of(statement), "it is of other files than the model has");
                Ok(())
            }),
        };
        if let Err(error) = result {
            problems.add(shown, format!("is not a signature of this release: {error:#}"));
        }
    }

    fn envelope(&mut self, about: &About, statement: &[u8], text: &str, is_ours: bool) -> anyhow::Result<()> {
        let envelope = Envelope::parse(text)?;
        anyhow::ensure!(
            envelope.payload_type() == PAYLOAD_TYPE,
            "its payload has the type `{}`, not {PAYLOAD_TYPE}",
            envelope.payload_type().escape_debug()
        );
        anyhow::ensure!(
            envelope.payload() == statement,
            "its statement is not the one that release.json gives{}",
            difference(envelope.payload(), statement)
        );
        // Others' tools may write the file of a builder; in a release there is one form.
        anyhow::ensure!(!is_ours || envelope.to_text() == text, "it is not written canonically");
        anyhow::ensure!(envelope.names_differ(), "two signatures in it are said to be of one key");
        match self.evidence.envelopes.get_mut(about) {
            Some(there) => there.merge(&envelope)?,
            None => _ = self.evidence.envelopes.insert(about.clone(), envelope),
        }
        Ok(())
    }

    /// The names of the keys that are said to have signed, and by how many envelopes: nobody has checked that.
    pub fn claims(&self) -> Vec<String> {
        let mut claims: BTreeMap<&str, usize> = BTreeMap::new();
        let signatures = self.evidence.envelopes.values().flat_map(Envelope::signatures);
        signatures.for_each(|signature| *claims.entry(&signature.keyid).or_default() += 1);
        let envelopes = claims.into_iter().map(|(keyid, count)| {
            let keyid = if keyid.is_empty() { "without a name" } else { keyid };
            format!("{count} envelopes by the key {keyid}")
        });
        let checksums = self.evidence.checksums.iter();
        let checksums =
            checksums.map(|signature| format!("SHA256SUMS by the minisign key {}", signature.key_id()));
        envelopes.chain(checksums).collect()
    }
}

/// Where two statements part: the first lines of JSON that differ would be one line, so some text around the byte.
fn difference(found: &[u8], expected: &[u8]) -> String {
    let at = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let around = |text: &[u8]| {
        let (from, to) = (at.saturating_sub(20).min(text.len()), (at + 20).min(text.len()));
        text[from..to].escape_ascii().to_string()
    };
    format!(", at byte {at}: `{}` where `{}` should be", around(found), around(expected))
}
