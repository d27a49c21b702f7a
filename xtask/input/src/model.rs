//! `models/NAME.toml`: a model of a Hugging Face hub, by repository and commit. `models/NAME.lock` holds its files.

use crate::{Input, Lock, Source, hub::is_file_name};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use store::Digest;

/// A model that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// `OWNER/NAME`.
    pub repository: String,
    /// The commit, 40 hexadecimal digits: branches move.
    pub revision: String,
    /// The licence as the model's card names it (`license`, or `license_name` where that is `other`).
    pub license: String,
}

impl Model {
    /// Errors: one of them can't be what it should be.
    pub fn new(repository: &str, revision: &str, license: &str) -> Result<Self> {
        let model = Self {
            repository: repository.to_owned(),
            revision: revision.to_owned(),
            license: license.to_owned(),
        };
        model.check()?;
        Ok(model)
    }

    fn check(&self) -> Result<()> {
        check_repository(&self.repository)?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        ensure!(
            self.revision.len() == 40 && self.revision.bytes().all(is_hex),
            "`{}` is no commit: it needs 40 hexadecimal digits",
            self.revision.escape_debug()
        );
        ensure!(
            !self.license.contains(char::is_control) && self.license.len() <= 200,
            "`{}` is no licence",
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
        ensure!(is_file_name(name), "`{}` is no name for a model", name.escape_debug());
        Ok(root.join("models").join(format!("{name}.toml")))
    }

    /// Reads `models/NAME.toml`. Errors: there is none; it is malformed.
    pub fn load(root: &Path, name: &str) -> Result<Self> {
        let path = Self::path(root, name)?;
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "there is no model `{name}` ({} can't be read)\n  hint: `cargo xtask model fetch OWNER/{name}@REVISION` locks one",
                path.display()
            )
        })?;
        Self::parse(&text).with_context(|| format!("{} is malformed", path.display()))
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let model: Self = toml::from_str(text)?;
        model.check()?;
        Ok(model)
    }

    /// The locked files of `models/NAME.toml`. Errors: they are not locked, or not those of this model.
    pub fn lock(&self, root: &Path) -> Result<Lock> {
        let path = Self::path(root, self.name())?.with_extension("lock");
        let lock = Lock::load(&path)?;
        for input in &lock.inputs {
            self.check_input(input).with_context(|| {
                format!(
                    "{} is malformed\n  hint: run `cargo xtask lock update {}`",
                    path.display(),
                    self.name()
                )
            })?;
        }
        Ok(lock)
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
    ensure!(fine, "`{}` is no repository of a hub: it should be OWNER/NAME", text.escape_debug());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let model = Model::new("owner/name-1.5B", commit, "mit").unwrap();
        assert_eq!(model.name(), "name-1.5B");
        assert_eq!(Model::parse(&model.to_toml().unwrap()).unwrap(), model);
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
    }
}
