//! `policy.toml` of whoever checks releases: which keys count, in which role, and how many of them each artifact needs. A function
//! of files alone: no network, and no clock.

mod satisfied;

pub(crate) use satisfied::{Evidence, check};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use signature::{Minisignature, PublicKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::Path,
};
use store::{Digest, hinted, open_regular};

/// The version of the format.
const VERSION: u32 = 1;

/// The most that a policy may have, in bytes.
const LARGEST: u64 = 1 << 20;

/// The most keys that a policy may name.
const MOST_KEYS: usize = 256;

/// A policy: keys, roles, and what has to be signed by how many of whom.
#[derive(Clone, Debug)]
pub struct Trust {
    /// SHA-256 of its text, in hexadecimal.
    pub sha256: String,
    keys: BTreeMap<String, PublicKey>,
    roles: BTreeMap<String, BTreeSet<PublicKey>>,
    release: Need,
    artifacts: Vec<(Vec<String>, Need)>,
    imported: Vec<(String, Need)>,
    checksums: Option<String>,
    sysroots: Option<BTreeSet<String>>,
    unpinned: BTreeSet<String>,
}

/// What one thing needs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing.
    Unsigned,
    /// Signatures by this many different keys of a role.
    Signed { role: String, threshold: usize },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    #[serde(default)]
    keys: BTreeMap<String, KeyText>,
    #[serde(default)]
    roles: BTreeMap<String, Vec<String>>,
    release: NeedText,
    #[serde(default)]
    artifact: Vec<ArtifactText>,
    #[serde(default)]
    imported: Vec<ImportedText>,
    checksums: Option<ChecksumsText>,
    #[serde(default)]
    accept: AcceptText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyText {
    file: Option<String>,
    public: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NeedText {
    role: Option<String>,
    threshold: Option<usize>,
    #[serde(default)]
    unsigned: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArtifactText {
    #[serde(rename = "match")]
    patterns: Vec<String>,
    role: Option<String>,
    threshold: Option<usize>,
    #[serde(default)]
    unsigned: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportedText {
    from: String,
    role: String,
    threshold: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChecksumsText {
    role: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptText {
    sysroots: Option<BTreeSet<String>>,
    #[serde(default, rename = "unpinned-inputs")]
    unpinned: BTreeSet<String>,
}

impl Trust {
    /// Reads a policy. Files of keys are named from its directory.
    ///
    /// # Errors
    /// If it is not one, names what it does not have, asks for more keys than there are, or counts a key twice.
    pub fn load(path: &Path) -> Result<Self> {
        let context = || format!("cannot use the policy {}", path.display());
        let text = read(path).with_context(context)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, &|file| read(&directory.join(file))).with_context(context)
    }

    pub(crate) fn parse(text: &str, file: &dyn Fn(&str) -> Result<String>) -> Result<Self> {
        // Of the version first: another one has other fields.
        #[derive(Deserialize)]
        struct Version {
            version: Option<u32>,
        }
        let version = toml::from_str::<Version>(text)?.version;
        ensure!(
            version == Some(VERSION),
            hinted(
                format!("it is not of version {VERSION}, the only one that this program knows"),
                format!("its first line is `version = {VERSION}`")
            )
        );
        let text_of: Text = toml::from_str(text)?;
        ensure!(text_of.version == VERSION, "it is not of version {VERSION}");
        let keys = keys(text_of.keys, file)?;
        let mut roles = BTreeMap::new();
        for (role, names) in text_of.roles {
            let mut members = BTreeSet::new();
            for name in names {
                let key = keys
                    .get(&name)
                    .with_context(|| format!("role `{role}` names the key `{name}`, which [keys] lacks"))?;
                ensure!(members.insert(*key), "role `{role}` names the key `{name}` twice");
            }
            roles.insert(role, members);
        }
        let need = |whose: &str, text: NeedText| need(whose, text, &roles);
        let artifacts = text_of.artifact.into_iter().map(|it| {
            let whose = format!("artifact {}", it.patterns.join(", "));
            ensure!(!it.patterns.is_empty(), "an [[artifact]] has an empty `match`");
            let text = NeedText { role: it.role, threshold: it.threshold, unsigned: it.unsigned };
            Ok((it.patterns, need(&whose, text)?))
        });
        let imported = text_of.imported.into_iter().map(|it| {
            let whose = format!("imported from {}", it.from);
            let text = NeedText { role: Some(it.role), threshold: it.threshold, unsigned: false };
            Ok((it.from, need(&whose, text)?))
        });
        if let Some(ChecksumsText { role }) = &text_of.checksums {
            need("checksums", NeedText { role: Some(role.clone()), threshold: Some(1), unsigned: false })?;
        }
        Ok(Self {
            sha256: Digest::of(text.as_bytes()).hex(),
            release: need("release", text_of.release)?,
            artifacts: artifacts.collect::<Result<_>>()?,
            imported: imported.collect::<Result<_>>()?,
            checksums: text_of.checksums.map(|it| it.role),
            sysroots: text_of.accept.sysroots,
            unpinned: text_of.accept.unpinned,
            keys,
            roles,
        })
    }

    /// Whether an input that was given on the builder's machine is acceptable.
    pub(crate) fn accepts_unpinned(&self, name: &str) -> bool {
        self.unpinned.contains(name)
    }

    /// Whether a signature of the checksums is by a key that may make it.
    pub(crate) fn signed_checksums(&self, signature: &Minisignature, content: &str) -> bool {
        let keys = self.checksums.as_ref().map_or_else(|| self.all_keys(), |role| self.role(role));
        keys.iter().any(|key| signature.verifies(key, content.as_bytes()))
    }

    /// What an artifact or model needs: the first rule that matches its title says so.
    fn need_of(&self, title: &str) -> Option<&Need> {
        let matching = |(patterns, _): &&(Vec<String>, Need)| patterns.iter().any(|it| matches(it, title));
        self.artifacts.iter().find(matching).map(|(_, need)| need)
    }

    /// The name of a key.
    fn name_of(&self, key: &PublicKey) -> &str {
        self.keys.iter().find(|(_, it)| *it == key).map_or("?", |(name, _)| name)
    }

    fn role(&self, name: &str) -> BTreeSet<PublicKey> {
        self.roles.get(name).cloned().unwrap_or_default()
    }

    fn all_keys(&self) -> BTreeSet<PublicKey> {
        self.keys.values().copied().collect()
    }
}

fn read(path: &Path) -> Result<String> {
    let file = open_regular(path)?;
    let size = file.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
    ensure!(size <= LARGEST, "{} is too large ({size} bytes)", path.display());
    let mut text = String::new();
    file.take(LARGEST)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

/// The keys by name; no two of them are one key, which would count twice.
fn keys(
    text: BTreeMap<String, KeyText>,
    file: &dyn Fn(&str) -> Result<String>,
) -> Result<BTreeMap<String, PublicKey>> {
    ensure!(text.len() <= MOST_KEYS, "it names more than {MOST_KEYS} keys");
    let mut keys: BTreeMap<String, PublicKey> = BTreeMap::new();
    for (name, source) in text {
        let public = match (source.file, source.public) {
            (Some(path), None) => file(&path).with_context(|| format!("key `{name}`"))?,
            (None, Some(public)) => public,
            _ => bail!("key `{name}` needs either `file` or `public`"),
        };
        let key = PublicKey::parse(&public).with_context(|| format!("key `{name}` cannot be used"))?;
        if let Some((other, _)) = keys.iter().find(|(_, it)| **it == key) {
            bail!("the keys `{other}` and `{name}` are one key, which would count twice");
        }
        keys.insert(name, key);
    }
    Ok(keys)
}

fn need(whose: &str, text: NeedText, roles: &BTreeMap<String, BTreeSet<PublicKey>>) -> Result<Need> {
    let NeedText { role, threshold, unsigned } = text;
    let role = match (role, unsigned) {
        (None, true) => {
            ensure!(threshold.is_none(), "{whose}: what may be unsigned has no `threshold`");
            return Ok(Need::Unsigned);
        }
        (Some(role), false) => role,
        (Some(_), true) => bail!("{whose}: has a `role` and may be unsigned: say one of them"),
        (None, false) => bail!("{whose}: needs a `role`, or `unsigned = true`"),
    };
    let members = roles.get(&role).with_context(|| format!("{whose}: there is no role `{role}`"))?.len();
    let threshold = threshold.unwrap_or(1);
    ensure!(
        threshold > 0,
        "{whose}: `threshold = 0` would accept anything: say `unsigned = true` if it may be unsigned"
    );
    ensure!(threshold <= members, "{whose}: wants {threshold} of the {members} keys of `{role}`");
    Ok(Need::Signed { role, threshold })
}

/// Whether a name is one of a pattern in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = pattern.contains('*').then(|| pattern.rsplit('*').next().unwrap_or_default()) else {
        return rest.is_empty();
    };
    let middle: Vec<&str> = parts.collect();
    for part in &middle[..middle.len().saturating_sub(1)] {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests;
