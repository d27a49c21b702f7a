//! `models/NAME.toml`: a model of a Hugging Face hub, by repository and commit. `models/NAME.lock` holds its files.

use crate::{FetchOptions, Hub, Input, Lock, Source, hub::is_file_name, intent::write};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use store::{Digest, Progress, Store, Unit, Unknown, WithHint, check_name, hinted};

/// A model that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// `OWNER/NAME`.
    pub repository: String,
    /// The commit, 40 hexadecimal digits: branches move.
    pub revision: String,
    /// The license as the model's card names it (`license`, or `license_name` where that is `other`).
    pub license: String,
    /// Files that are locked beside those that a conversion uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
}

impl Model {
    /// Errors: one of them can't be what it should be.
    pub fn new(repository: &str, revision: &str, license: &str) -> Result<Self> {
        let model = Self {
            repository: repository.to_owned(),
            revision: revision.to_owned(),
            license: license.to_owned(),
            include: Vec::new(),
        };
        model.check()?;
        Ok(model)
    }

    fn check(&self) -> Result<()> {
        check_repository(&self.repository)?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        ensure!(
            self.revision.len() == 40 && self.revision.bytes().all(is_hex),
            "`{}` is not a commit: it needs 40 hexadecimal digits",
            self.revision.escape_debug()
        );
        ensure!(
            !self.license.contains(char::is_control) && self.license.len() <= 200,
            "`{}` is not a license",
            self.license.escape_debug()
        );
        Ok(())
    }

    /// What the model is called here: the name in its repository.
    pub fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or(&self.repository)
    }

    /// `models/NAME.toml` in a repository. Errors: `name` is none.
    pub fn path(root: &Path, name: &str) -> Result<PathBuf> {
        check_name("model", name)?;
        Ok(root.join("models").join(format!("{name}.toml")))
    }

    /// The model of this name, if there is one. Errors: as of [`Model::load`].
    pub fn find(root: &Path, name: &str) -> Result<Option<Self>> {
        let is_there = Self::path(root, name).is_ok_and(|path| path.exists());
        is_there.then(|| Self::load(root, name)).transpose()
    }

    /// The names of the models of a repository.
    fn names(root: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(root.join("models")).into_iter().flatten().flatten();
        let name = |name: std::ffi::OsString| Some(name.to_str()?.strip_suffix(".toml")?.to_owned());
        entries.filter_map(|entry| name(entry.file_name())).collect()
    }

    /// Reads `models/NAME.toml`. Errors: there is none; it is malformed, or of a model that is called something else.
    pub fn load(root: &Path, name: &str) -> Result<Self> {
        let path = Self::path(root, name)?;
        if !path.exists() {
            let known = Self::names(root);
            let unknown = Unknown::new("model", name, known.iter().map(String::as_str));
            bail!(hinted(
                format!("{unknown}"),
                format!("`cargo xtask model fetch OWNER/{name}@REVISION` locks one")
            ));
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&path, &text)
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        let malformed = || format!("{} is malformed", path.display());
        let model: Self = toml::from_str(text).with_context(malformed)?;
        model.check().with_context(malformed)?;
        ensure!(
            path.file_stem().is_some_and(|stem| stem == model.name()),
            "{} is of {}, which is called `{}` here",
            path.display(),
            model.repository,
            model.name()
        );
        Ok(model)
    }

    /// The locked files of `models/NAME.toml`. Errors: they are not locked, or not those of this model.
    pub fn lock(&self, root: &Path) -> Result<Lock> {
        let path = Self::path(root, self.name())?.with_extension("lock");
        let lock = Lock::load(&path)?;
        for input in &lock.inputs {
            self.check_input(input).with_hint(|| {
                hinted(
                    format!("{} is malformed", path.display()),
                    format!("run `cargo xtask lock update {}`", self.name()),
                )
            })?;
        }
        Ok(lock)
    }

    /// Takes the locked files that a directory holds into the store: a checkpoint, or the snapshot that a client of the
    /// hub keeps. What it lacks is left to be fetched. Errors: a file of it is not the locked one; it holds none.
    pub fn take(&self, store: &Store, root: &Path, directory: &Path, progress: &dyn Progress) -> Result<()> {
        let inputs = self.lock(root)?.inputs;
        let of = |input: &Input| directory.join(input.source.file_name());
        let found: Vec<_> = inputs.iter().filter(|input| of(input).exists()).collect();
        ensure!(
            !found.is_empty(),
            "{} holds no file of {} at {}",
            directory.display(),
            self.repository,
            self.revision
        );
        let total = found.iter().map(|input| input.digest.size).sum();
        let meter = progress.begin(&format!("taking {}", self.name()), total, Unit::Bytes);
        for input in found {
            if !store.contains(&input.digest) {
                let path = of(input);
                let digest = store.put_file(&path)?;
                ensure!(
                    digest == input.digest,
                    "{} is not the file of {} at {}: it has the digest {digest}, and {} in models/{}.lock",
                    path.display(),
                    self.repository,
                    self.revision,
                    input.digest,
                    self.name()
                );
            }
            meter.add(input.digest.size);
        }
        Ok(())
    }

    /// Whether a locked input is a file of this model.
    pub(crate) fn check_input(&self, input: &Input) -> Result<()> {
        let ours = matches!(&input.source, Source::HuggingFace { repository, revision, file }
            if (repository, revision) == (&self.repository, &self.revision) && input.name == self.input_name(file));
        ensure!(ours, "`{}` is not a file of {} at {}", input.name, self.repository, self.revision);
        Ok(())
    }

    /// A file of this model as an input.
    pub fn input(&self, file: &str, digest: Digest) -> Input {
        let source = Source::HuggingFace {
            repository: self.repository.clone(),
            revision: self.revision.clone(),
            file: file.to_owned(),
        };
        Input { name: self.input_name(file), digest, source }
    }

    fn input_name(&self, file: &str) -> String {
        format!("{}/{file}", self.name())
    }

    /// The text of `models/NAME.toml`.
    pub(crate) fn to_toml(&self) -> Result<String> {
        let body = toml::to_string(self).context("cannot write the model as TOML")?;
        Ok(format!(
            "# Asked for by `cargo xtask model fetch`. Another revision: change it here, then `cargo xtask lock update {}`.\n\n{body}",
            self.name()
        ))
    }
}

/// Whether a text is `OWNER/NAME`.
pub(crate) fn check_repository(text: &str) -> Result<()> {
    let fine = text.split_once('/').is_some_and(|(owner, name)| is_file_name(owner) && is_file_name(name));
    ensure!(fine, "`{}` is not a repository of a hub: it should be OWNER/NAME", text.escape_debug());
    Ok(())
}

/// Whether these are `OWNER/NAME`, and a commit, branch or tag.
pub(crate) fn check_revision(repository: &str, revision: &str) -> Result<()> {
    check_repository(repository)?;
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    ensure!(
        !revision.is_empty() && revision.bytes().all(fine) && !revision.starts_with(['.', '-']),
        hinted(
            format!("`{}` is not a revision", revision.escape_debug()),
            "give a commit, a branch or a tag"
        )
    );
    Ok(())
}

/// Locks `OWNER/NAME` at a commit, branch or tag that is not locked yet: `models/NAME.toml` and `.lock` are written. One
/// that is locked already is given as it is.
///
/// Errors: the hub does not have it; another revision or repository of this name is locked.
pub fn lock_model(
    store: &Store,
    root: &Path,
    repository: &str,
    revision: &str,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Model> {
    check_revision(repository, revision)?;
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let path = Model::path(root, name)?;
    let known = Model::find(root, name)?;
    if let Some(known) =
        known.clone().filter(|known| (&*known.repository, &*known.revision) == (repository, revision))
        && options.include.iter().all(|file| known.include.contains(file))
    {
        return Ok(known);
    }
    let hub = Hub::open(options.network.client(options.patience), options.endpoint.as_deref())?;
    let (mut model, inputs) =
        hub.including(&options.include).resolve(store, repository, revision, progress)?;
    model.include.clone_from(&options.include);
    if let Some(known) = known {
        ensure!(
            options.include.iter().all(|file| known.include.contains(file)),
            hinted(
                format!("{} is locked without {}", known.name(), options.include.join(", ")),
                format!(
                    "add it to `include` in {}, remove the lock beside it and run `cargo xtask lock update {name}`",
                    path.display()
                )
            )
        );
        ensure!(
            (&known.repository, &known.revision) == (&model.repository, &model.revision),
            hinted(
                format!(
                    "{} asks for {} at {}, not for {repository} at {}",
                    path.display(),
                    known.repository,
                    known.revision,
                    model.revision
                ),
                format!("change it there and run `cargo xtask lock update {name}`, or remove it")
            )
        );
        return Ok(known);
    }
    let directory = path.parent().context("a model has a directory")?;
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    write(&path.with_extension("lock"), &Lock { inputs, ..Lock::default() }.to_toml()?)?;
    write(&path, &model.to_toml()?)?;
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let model = Model::new("owner/name-1.5B", commit, "mit").unwrap();
        assert_eq!(model.name(), "name-1.5B");
        let path = Path::new("models/name-1.5B.toml");
        assert_eq!(Model::parse(path, &model.to_toml().unwrap()).unwrap(), model);
        for (repository, revision, expected) in [
            ("name", commit, "should be OWNER/NAME"),
            ("a/b/c", commit, "should be OWNER/NAME"),
            ("../x", commit, "should be OWNER/NAME"),
            ("a/b?c", commit, "should be OWNER/NAME"),
            ("a/b", "main", "40 hexadecimal digits"),
        ] {
            let error = Model::new(repository, revision, "mit").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Model::path(Path::new("/"), "../x").is_err());

        // Under another name, the lock of the first would be read.
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("models")).unwrap();
        std::fs::write(root.path().join("models/mine.toml"), model.to_toml().unwrap()).unwrap();
        let error = Model::load(root.path(), "mine").unwrap_err().to_string();
        assert!(error.contains("is of owner/name-1.5B, which is called `name-1.5B` here"), "{error}");
    }
}
