//! Lock files: every input by kind, name, version, size and SHA-256.

use crate::{
    Archive, Crate, Format, MicrosoftSdk, Model, cargo, git, hub::is_file_name, line_ends, microsoft, pack,
    url::is_private,
};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use store::{Digest, hinted};

/// Where an input comes from, named as its own ecosystem names it. Addresses of registries are no part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A file of a Python package index.
    Pypi {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// The file's name.
        file: String,
    },
    /// A binary package of a Debian archive.
    Debian {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// Its architecture (`amd64`, `all`).
        architecture: String,
        /// Its path in the archive (`pool/…`).
        pool: String,
    },
    /// A file of a Debian source package.
    DebianSource {
        /// The source package.
        package: String,
        /// Its version.
        version: String,
        /// The file's path in the archive (`pool/…`).
        pool: String,
    },
    /// A crate of cargo's default registry.
    Crate {
        /// The crate.
        package: String,
        /// Its version.
        version: String,
    },
    /// The crates of a `Cargo.lock`, from cargo's default registry, kept as a packed tree.
    Cargo {
        /// The crates, sorted.
        crates: Vec<Crate>,
    },
    /// A package of an npm registry.
    Npm {
        /// The package, with its scope (`@rollup/rollup-android-arm64`).
        package: String,
        /// Its version.
        version: String,
    },
    /// A commit of a Git repository, kept as a packed tree.
    Git {
        /// The repository.
        url: String,
        /// The commit, 40 hexadecimal digits.
        revision: String,
        /// The submodules that belong to it, sorted by path; others are empty directories.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        submodules: Vec<Submodule>,
        /// Root of the tree, submodules included.
        tree: Digest,
    },
    /// A file of a model, on whatever Hugging Face hub this machine is configured with.
    HuggingFace {
        /// `OWNER/NAME`.
        repository: String,
        /// The commit.
        revision: String,
        /// The file's name, at the top of the repository.
        file: String,
    },
    /// A file at any of these addresses.
    Https {
        /// Tried in order.
        urls: Vec<String>,
        /// Root of what the archive holds, below the directory at its top: an unpacked copy is known by it. Nothing where
        /// the archive was locked without having been fetched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tree: Option<Digest>,
    },
    /// Microsoft's C runtime and Windows SDK, kept as a packed tree. Its license does not let anybody pass it on.
    MicrosoftSdk {
        /// Root of the tree that its files unpack to.
        tree: Digest,
        /// What was asked for.
        release: MicrosoftSdk,
        /// Its files, sorted by name.
        payloads: Vec<Payload>,
    },
    /// A file or directory of this machine: not pinned by anybody, and recorded so. Never in a lock.
    Path {
        /// Where it is; in a manifest, its name alone.
        path: PathBuf,
        /// Whether it is a directory, which stands in the store as a tar archive.
        directory: bool,
    },
}

/// A file that Visual Studio's installer would download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// What it is called here; a cabinet stands below the name of its installer.
    pub file: String,
    /// Where it is.
    pub url: String,
    /// Bytes.
    pub size: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

/// A submodule of a Git input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submodule {
    /// Where it stands, from the top of the input.
    pub path: String,
    /// Its repository.
    pub url: String,
    /// Its commit, which is the one that the commit above it names.
    pub revision: String,
}

impl Source {
    /// The name of the file, which tells its format.
    pub fn file_name(&self) -> &str {
        let last = |path: &'_ str| path.rsplit('/').next().map_or(0, |name| path.len() - name.len());
        match self {
            Self::Pypi { file, .. } | Self::HuggingFace { file, .. } => file,
            Self::Debian { pool, .. } | Self::DebianSource { pool, .. } => &pool[last(pool)..],
            Self::Crate { .. } => "package.crate",
            Self::Npm { .. } => "package.tgz",
            Self::Https { urls, .. } => urls.first().map_or("", |url| &url[last(url)..]),
            Self::Cargo { .. }
            | Self::Git { .. }
            | Self::MicrosoftSdk { .. }
            | Self::Path { directory: true, .. } => pack::FILE_NAME,
            Self::Path { path, .. } => path.file_name().and_then(|name| name.to_str()).unwrap_or(""),
        }
    }

    /// Root of the tree that it holds, where the lock says it.
    pub fn tree(&self) -> Option<&Digest> {
        match self {
            Self::Https { tree, .. } => tree.as_ref(),
            Self::Git { tree, .. } | Self::MicrosoftSdk { tree, .. } => Some(tree),
            _ => None,
        }
    }

    /// Whether its license lets us pass it on. What may not leave this machine is neither vendored nor released.
    pub fn may_be_passed_on(&self) -> bool {
        !matches!(self, Self::MicrosoftSdk { .. })
    }
}

/// One pinned input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What recipes and messages call it.
    pub name: String,
    /// Size and SHA-256 of the file.
    pub digest: Digest,
    /// Where it comes from.
    pub source: Source,
}

impl Input {
    /// How it is unpacked, from its file's name.
    pub fn format(&self) -> Format {
        Format::of(self.source.file_name())
    }
}

/// A lock file: inputs sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The inputs.
    pub inputs: Vec<Input>,
    /// Names of inputs that are asked for, but could not be reached when the lock was written: nobody knows their digests
    /// yet. What needs one can't be built before `lock update` has reached it.
    pub pending: Vec<String>,
    /// The states of Debian's archive that Debian packages were resolved from, sorted; older locks have none.
    pub archives: Vec<Archive>,
}

/// The text of a lock file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pending: Vec<String>,
    #[serde(default, rename = "archive", skip_serializing_if = "Vec::is_empty")]
    archives: Vec<Archive>,
    #[serde(default, rename = "input")]
    inputs: Vec<TextInput>,
}

#[derive(Serialize, Deserialize)]
struct TextInput {
    name: String,
    #[serde(flatten)]
    source: Source,
    size: u64,
    sha256: String,
}

pub(crate) const HEADER: &str = "# Written by `cargo xtask lock update`. Every input by its own ecosystem's name, size in bytes and SHA-256.\n\n";

/// The largest lock that is read, in bytes; ours have 200 kB at most. Its parsed form takes 15 times as much memory.
const LARGEST: u64 = 16 << 20;

impl Lock {
    /// Parses a lock file's text; `origin` is for messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        ensure!(
            text.len() as u64 <= LARGEST,
            "{origin} is too large for a lock ({} bytes, at most {LARGEST})",
            text.len()
        );
        let text: Text = toml::from_str(text).with_context(|| format!("{origin} is not a lock file"))?;
        ensure!(text.version == 1, "{origin} has version {}, this program reads version 1", text.version);
        let mut inputs = Vec::with_capacity(text.inputs.len());
        for input in text.inputs {
            let digest = Digest::from_hex(&input.sha256, input.size)
                .with_context(|| format!("{origin}: input `{}` has a bad `sha256`", input.name))?;
            let pool = match &input.source {
                Source::Debian { pool, .. } | Source::DebianSource { pool, .. } => pool,
                _ => "pool/",
            };
            let safe = pool.starts_with("pool/") && !pool.split('/').any(|part| part == "..");
            ensure!(safe, "{origin}: input `{}` has a `pool` outside pool/", input.name);
            ensure!(
                !matches!(input.source, Source::Path { .. }),
                "{origin}: input `{}` is a path of a machine, which no lock can pin",
                input.name
            );
            if let Source::HuggingFace { repository, revision, file } = &input.source {
                let model = Model::new(repository, revision, "");
                let fine = model.is_ok() && is_file_name(file);
                ensure!(fine, "{origin}: input `{}` is not a file of a model", input.name);
            }
            if let Source::Cargo { crates } = &input.source {
                cargo::check(crates).with_context(|| format!("{origin}: in input `{}`", input.name))?;
            }
            if let Source::Https { urls, .. } = &input.source {
                let fine = !urls.is_empty() && urls.iter().all(|url| is_private(url));
                ensure!(fine, "{origin}: input `{}` needs `urls` that start with https://", input.name);
            }
            if let Source::MicrosoftSdk { release, payloads, .. } = &input.source {
                release
                    .check()
                    .and_then(|()| microsoft::check_all(payloads))
                    .with_context(|| format!("{origin}: input `{}` is not a Microsoft SDK", input.name))?;
            }
            if let Source::Git { url, revision, submodules, .. } = &input.source {
                let parts = submodules.iter().map(|part| (&part.url, &part.revision));
                let fine = std::iter::once((url, revision))
                    .chain(parts)
                    .all(|(url, revision)| git::is_address(url) && git::is_revision(revision));
                ensure!(
                    fine,
                    "{origin}: input `{}` needs addresses that start with https://, and revisions of 40 digits",
                    input.name
                );
            }
            inputs.push(Input { name: input.name, digest, source: input.source });
        }
        let sorted = inputs.windows(2).all(|pair| pair[0].name < pair[1].name);
        ensure!(
            sorted,
            hinted(
                format!("{origin}: inputs must be sorted by name, each once"),
                "run `cargo xtask lock update`"
            )
        );
        let is_pending = |name: &String| text.pending.contains(name);
        ensure!(
            text.pending.is_sorted() && !inputs.iter().any(|input| is_pending(&input.name)),
            hinted(
                format!("{origin}: `pending` must be sorted, and name nothing that is locked"),
                "run `cargo xtask lock update`"
            )
        );
        for archive in &text.archives {
            archive.check().with_context(|| format!("{origin}: in `archive`"))?;
        }
        ensure!(
            text.archives.windows(2).all(|pair| pair[0] < pair[1]),
            hinted(format!("{origin}: archives must be sorted, each once"), "run `cargo xtask lock update`")
        );
        Ok(Self { inputs, pending: text.pending, archives: text.archives })
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// If it can't be read, is larger than any lock (16 MiB), or no lock.
    pub fn load(path: &Path) -> Result<Self> {
        ensure!(
            path.exists(),
            hinted(
                format!("cannot read {}: it does not exist", path.display()),
                "`cargo xtask lock update` writes it"
            )
        );
        let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        ensure!(
            size <= LARGEST,
            "{} is too large for a lock ({size} bytes, at most {LARGEST})",
            path.display()
        );
        let text = line_ends::read_text(path)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The one text of this lock.
    pub fn to_toml(&self) -> Result<String> {
        let mut inputs: Vec<_> = self
            .inputs
            .iter()
            .map(|input| TextInput {
                name: input.name.clone(),
                source: input.source.clone(),
                size: input.digest.size,
                sha256: input.digest.hex(),
            })
            .collect();
        inputs.sort_by(|a, b| a.name.cmp(&b.name));
        let (pending, archives) = (self.pending.clone(), self.archives.clone());
        let body = toml::to_string(&Text { version: 1, pending, archives, inputs })
            .context("cannot write the lock as TOML")?;
        Ok(format!("{HEADER}{body}"))
    }

    /// An input by name.
    pub fn get(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let digest = Digest::of(b"content");
        let input = |name: &str, source| Input { name: name.to_owned(), digest, source };
        Lock {
            inputs: vec![
                input(
                    "bash",
                    Source::Debian {
                        package: "bash".into(),
                        version: "5.2".into(),
                        architecture: "amd64".into(),
                        pool: "pool/main/b/bash/bash_5.2_amd64.deb".into(),
                    },
                ),
                input(
                    "ndk",
                    Source::Https { urls: vec!["https://example.invalid/ndk.zip".into()], tree: None },
                ),
                input(
                    "six",
                    Source::Pypi {
                        package: "six".into(),
                        version: "1.16.0".into(),
                        file: "six-1.16.0.tar.gz".into(),
                    },
                ),
            ],
            ..Lock::default()
        }
    }

    #[test]
    fn the_text_is_this_one() {
        let text = lock().to_toml().unwrap();
        let expected = r#"# Written by `cargo xtask lock update`. Every input by its own ecosystem's name, size in bytes and SHA-256.

version = 1

[[input]]
name = "bash"
kind = "debian"
package = "bash"
version = "5.2"
architecture = "amd64"
pool = "pool/main/b/bash/bash_5.2_amd64.deb"
size = 7
sha256 = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"

[[input]]
name = "ndk"
kind = "https"
urls = ["https://example.invalid/ndk.zip"]
size = 7
sha256 = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"

[[input]]
name = "six"
kind = "pypi"
package = "six"
version = "1.16.0"
file = "six-1.16.0.tar.gz"
size = 7
sha256 = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
"#;
        assert_eq!(text, expected);
        assert_eq!(Lock::parse(&text, "test.lock").unwrap(), lock());
    }

    #[test]
    fn mistakes_are_named() {
        let text = lock().to_toml().unwrap();
        for (from, to, expected) in [
            ("version = 1\n", "version = 2\n", "has version 2"),
            ("ed7002b4", "ED7002B4", "bad `sha256`"),
            ("pool/main", "../../main", "outside pool/"),
            ("name = \"bash\"", "name = \"zsh\"", "sorted by name"),
            ("https://example", "ftp://example", "start with https://"),
            ("kind = \"pypi\"", "kind = \"cpan\"", "not a lock file"),
            ("version = 1\n", "version = 1\npending = [\"six\"]\n", "name nothing that is locked"),
        ] {
            let error = format!("{:#}", Lock::parse(&text.replace(from, to), "test.lock").unwrap_err());
            assert!(error.contains(expected) && error.contains("test.lock"), "{expected}: {error}");
        }
    }

    #[test]
    fn the_state_of_the_archive_stands_above_the_inputs() {
        let archive = Archive {
            suite: "trixie".into(),
            label: "Debian".into(),
            date: "2026-11-21T09:15:44Z".into(),
            snapshot: "20261122T000000Z".into(),
        };
        let lock = Lock { archives: vec![archive], ..lock() };
        let text = lock.to_toml().unwrap();
        let expected = "version = 1\n\n[[archive]]\nsuite = \"trixie\"\nlabel = \"Debian\"\ndate = \"2026-11-21T09:15:44Z\"\nsnapshot = \"20261122T000000Z\"\n\n[[input]]\n";
        assert!(text.contains(expected), "{text}");
        assert_eq!(Lock::parse(&text, "test.lock").unwrap(), lock);
        for (from, to) in
            [("20261122T000000Z", "../../x"), ("2026-11-21T09:15:44Z", "today"), ("trixie", "a b")]
        {
            let error = format!("{:#}", Lock::parse(&text.replace(from, to), "test.lock").unwrap_err());
            assert!(error.contains("test.lock: in `archive`"), "{error}");
        }
    }

    #[test]
    fn a_lock_without_end_is_refused_before_it_is_parsed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("huge.lock");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(LARGEST + 1).unwrap();
        let error = format!("{:#}", Lock::load(&path).unwrap_err());
        assert!(error.contains("too large for a lock"), "{error}");
        let text = format!("version = 1\n{}", "#".repeat(16 << 20));
        assert!(Lock::parse(&text, "test.lock").unwrap_err().to_string().contains("too large"));
    }

    #[test]
    fn formats_follow_file_names() {
        let formats: Vec<_> = lock().inputs.iter().map(Input::format).collect();
        assert_eq!(formats, [Format::Deb, Format::Zip, Format::Tar]);
    }
}
