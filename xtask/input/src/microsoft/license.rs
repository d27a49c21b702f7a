//! Microsoft's license: asked for once, and remembered in the user's store, outside of any repository.
//!
//! `licenses/NAME.toml` in the store says which text was accepted and when. Whoever removes it is asked again.

use crate::Unavailable;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use store::{Store, WithHint, hinted};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Where the text is.
    license: String,
    /// When, as RFC 3339 writes it, in UTC.
    accepted: String,
}

/// Errors ([`Unavailable`]): the license of an input was not accepted on this machine, and is not now.
pub fn require(store: &Store, name: &str, license: &str, accept: bool) -> Result<()> {
    let path = path(store.root(), name);
    // What is not a regular file says nothing, and is replaced when the license is accepted.
    let record = match store.read_note(&path) {
        Some(text) => Some(
            toml::from_slice::<Record>(&text)
                .with_hint(|| hinted(format!("{} is malformed", path.display()), "remove it"))?,
        ),
        None => None,
    };
    if record.is_some_and(|record| record.license == license) {
        return Ok(());
    }
    if !accept {
        let problems = format!(
            "`{name}` has a license that you have to accept, and it was not accepted on this machine"
        );
        let hint =
            format!("read {license}; `--accept-license` accepts it, and is remembered in {}", path.display());
        return Err(Unavailable { names: vec![name.to_owned()], problems, hints: vec![hint] }.into());
    }
    let accepted = OffsetDateTime::now_utc().replace_nanosecond(0)?.format(&Rfc3339)?;
    let record = toml::to_string(&Record { license: license.to_owned(), accepted })?;
    let text = format!("# Accepted with `--accept-license`. Remove this file to be asked again.\n{record}");
    store.write_note(&path, text.as_bytes())
}

fn path(store: &Path, name: &str) -> PathBuf {
    store.join("licenses").join(format!("{name}.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_license_is_asked_for_once_and_again_when_it_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let ask = |license, accept| require(&store, "sdk", license, accept);
        let refused = ask("https://x.invalid/1", false).unwrap_err();
        assert!(refused.is::<Unavailable>());
        let text = crate::full_text(&refused);
        assert!(text.contains("read https://x.invalid/1; `--accept-license` accepts it"), "{text}");
        assert!(!path(directory.path(), "sdk").exists(), "nobody accepted anything");

        ask("https://x.invalid/1", true).unwrap();
        let record = std::fs::read_to_string(path(directory.path(), "sdk")).unwrap();
        assert!(record.contains("license = \"https://x.invalid/1\"\naccepted = \"20"), "{record}");
        ask("https://x.invalid/1", false).unwrap();
        ask("https://x.invalid/2", false).unwrap_err();

        // A link or a pipe says nothing, keeps nobody waiting, and makes room for what is accepted.
        let elsewhere = directory.path().join("elsewhere");
        std::fs::rename(path(directory.path(), "sdk"), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, path(directory.path(), "sdk")).unwrap();
        ask("https://x.invalid/1", false).unwrap_err();
        std::fs::remove_file(path(directory.path(), "sdk")).unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(path(directory.path(), "sdk"))
                .status()
                .unwrap()
                .success()
        );
        ask("https://x.invalid/1", false).unwrap_err();
        ask("https://x.invalid/1", true).unwrap();
        ask("https://x.invalid/1", false).unwrap();

        std::fs::write(path(directory.path(), "sdk"), "yes").unwrap();
        let error = format!("{:#}", ask("https://x.invalid/1", true).unwrap_err());
        assert!(error.contains("is malformed"), "{error}");
    }
}
