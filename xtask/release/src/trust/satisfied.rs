//! Whether the signatures that are there satisfy a policy.

use super::{Need, Trust};
use crate::{
    Manifest, Step,
    provenance::About,
    verify::{Problems, Signed},
};
use input::Source;
use signature::{Envelope, Minisignature, PublicKey};
use std::collections::{BTreeMap, BTreeSet};

/// The signatures that were found, each held against the statement that the release itself gives.
#[derive(Default)]
pub(crate) struct Evidence {
    /// The envelopes, by what they are about.
    pub envelopes: BTreeMap<About, Envelope>,
    /// The signatures of the checksums.
    pub checksums: Vec<Minisignature>,
    /// The checksums.
    pub content: String,
}

/// Names everything in which a release does not satisfy a policy, and gives who signed what.
pub(crate) fn check(
    manifest: &Manifest,
    trust: &Trust,
    evidence: &Evidence,
    problems: &mut Problems,
) -> Vec<Signed> {
    let all = trust.all_keys();
    let signers: BTreeMap<&About, BTreeSet<PublicKey>> =
        evidence.envelopes.iter().map(|(about, envelope)| (about, envelope.signers(&all))).collect();
    let mut case = Case { trust, signers, problems, signed: Vec::new() };
    case.need(&About::Release, "the release", &trust.release);
    let artifacts = manifest.artifacts.iter().map(|artifact| About::Artifact(artifact.title()));
    let models = manifest.models.iter().map(|model| About::Model(model.conversion.title()));
    for about in artifacts.chain(models) {
        match trust.need_of(about.name()) {
            Some(need) => case.need(&about, &format!("`{}`", about.name()), need),
            None => case.add(format!("`{}` is matched by no [[artifact]] of the policy", about.name())),
        }
    }
    case.imported(manifest);
    case.accepted(manifest);
    case.checksums(evidence);
    case.signed
}

struct Case<'a> {
    trust: &'a Trust,
    signers: BTreeMap<&'a About, BTreeSet<PublicKey>>,
    problems: &'a mut Problems,
    signed: Vec<Signed>,
}

impl Case<'_> {
    fn add(&mut self, problem: String) {
        self.problems.add("policy", problem);
    }

    /// The keys of a role that signed what this is about.
    fn of_role(&self, about: &About, role: &str) -> BTreeSet<PublicKey> {
        let signers = self.signers.get(about).cloned().unwrap_or_default();
        self.trust.role(role).intersection(&signers).copied().collect()
    }

    fn names(&self, keys: &BTreeSet<PublicKey>) -> Vec<String> {
        keys.iter().map(|key| self.trust.name_of(key).to_owned()).collect()
    }

    fn need(&mut self, about: &About, shown: &str, need: &Need) {
        let (keys, wanted) = match need {
            Need::Unsigned => (self.signers.get(about).cloned().unwrap_or_default(), None),
            Need::Signed { role, threshold } => {
                let keys = self.of_role(about, role);
                if keys.len() < *threshold {
                    let who = match keys.is_empty() {
                        true => "nobody".to_owned(),
                        false => self.names(&keys).join(", "),
                    };
                    let name = role.escape_debug();
                    self.add(format!("{shown} needs {threshold} keys of `{name}`, and is signed by {who}"));
                }
                (keys, Some(format!("{threshold} of {}", self.trust.role(role).len())))
            }
        };
        let mut by = self.names(&keys);
        by.sort();
        self.signed.push(Signed { what: about.name().to_owned(), by, wanted });
    }

    /// Results that were not built by who made the release need somebody who vouches for them.
    fn imported(&mut self, manifest: &Manifest) {
        let title = |step: &Step| {
            let artifact = manifest.artifacts.iter().find(|artifact| artifact.step == *step)?;
            Some(About::Artifact(artifact.title()))
        };
        for step in manifest.steps() {
            let Some(from) = &step.imported else { continue };
            let shown = format!("{}@{}, imported from `{}`,", step.recipe, step.target, from.escape_debug());
            // Who signed the artifact vouches for it; for what is not shipped, who signed the release.
            let about = title(step).unwrap_or(About::Release);
            let rule = self.trust.imported.iter().find(|(pattern, _)| super::matches(pattern, from));
            match rule {
                None => self.add(format!("{shown} is matched by no [[imported]] of the policy")),
                Some((_, Need::Signed { role, threshold })) => {
                    if self.of_role(&about, role).len() < *threshold {
                        let name = role.escape_debug();
                        self.add(format!("{shown} needs {threshold} keys of `{name}` that vouch for it"));
                    }
                }
                Some((_, Need::Unsigned)) => {}
            }
        }
    }

    /// Sysroots are among the acceptable ones. That an input is unpinned is told where the manifest is checked.
    fn accepted(&mut self, manifest: &Manifest) {
        if let Some(sysroots) = &self.trust.sysroots {
            for artifact in &manifest.artifacts {
                if let Some(sysroot) =
                    artifact.sysroot.as_ref().filter(|sysroot| !sysroots.contains(*sysroot))
                {
                    self.add(format!(
                        "`{}` was made with the sysroot `{}`, which the policy does not accept",
                        artifact.title(),
                        sysroot.escape_debug()
                    ));
                }
            }
        }
        let is_path = |name: &String| {
            manifest.inputs.get(name).is_some_and(|facts| matches!(facts.source, Source::Path { .. }))
        };
        let used: Vec<_> = self.trust.unpinned.iter().filter(|name| is_path(name)).cloned().collect();
        if !used.is_empty() {
            let what = format!("unpinned, which the policy accepts: {}", used.join(", "));
            self.signed.push(Signed { what, by: Vec::new(), wanted: None });
        }
    }

    fn checksums(&mut self, evidence: &Evidence) {
        let Some(role) = &self.trust.checksums else { return };
        let content = evidence.content.as_bytes();
        let keys: BTreeSet<PublicKey> = self.trust.role(role);
        let signed: BTreeSet<PublicKey> = keys
            .into_iter()
            .filter(|key| evidence.checksums.iter().any(|signature| signature.verifies(key, content)))
            .collect();
        if signed.is_empty() {
            let name = role.escape_debug();
            self.add(format!("`SHA256SUMS` needs a key of `{name}`, and SHA256SUMS.minisig is of none"));
        }
        let by = self.names(&signed);
        self.signed.push(Signed { what: "SHA256SUMS".into(), by, wanted: Some("1".into()) });
    }
}
