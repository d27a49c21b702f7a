//! Debian closures, resolved by apt itself in isolation from this machine's own packages.
//!
//! apt sees the suites that are asked for, an empty list of installed packages and nothing of /etc/apt, so that everybody resolves the
//! same closure from the same archive state. Maintainer scripts, recommendations and suggestions play no part.

use crate::{Archive, Input, Source, apt::Release};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};
use store::{Digest, Progress, Unit, hinted};
use tempfile::TempDir;

/// The key ring that signs Debian's archive; `MLC_REPRO_DEBIAN_KEYRING` names another.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An apt that knows some suites only.
pub struct IsolatedApt {
    directory: TempDir,
    architecture: String,
    /// Each with the mirror that has it.
    suites: Vec<(String, String)>,
}

impl IsolatedApt {
    /// Reads the package lists of suites, each from the first of `mirrors` that has it: security updates stand in another archive
    /// than what they update.
    ///
    /// # Errors
    /// If none has one of them, or its signature is not by a key of the key ring.
    pub fn new(
        suites: &[&str],
        architecture: &str,
        mirrors: &[String],
        progress: &dyn Progress,
    ) -> Result<Self> {
        let _meter =
            progress.begin(&format!("reading the package lists of {}", suites.join(", ")), 0, Unit::Items);
        let keyring = std::env::var_os("MLC_REPRO_DEBIAN_KEYRING")
            .map_or_else(|| PathBuf::from(KEYRING), PathBuf::from);
        ensure!(
            keyring.is_file(),
            hinted(
                format!("{} is missing", keyring.display()),
                "install the package debian-archive-keyring, or set MLC_REPRO_DEBIAN_KEYRING"
            )
        );
        let mut found = Vec::new();
        let mut last = None;
        for suite in suites {
            let mut problems = Vec::new();
            for mirror in mirrors {
                match Self::of(vec![((*suite).to_owned(), mirror.clone())], architecture, &keyring) {
                    Ok(apt) => {
                        found.extend(apt.suites.clone());
                        last = Some(apt);
                        break;
                    }
                    Err(error) => problems.push(format!("{error:#}")),
                }
            }
            ensure!(
                problems.len() < mirrors.len(),
                "no configured archive has the suite `{suite}`:\n{}",
                problems.join("\n")
            );
        }
        match last {
            Some(apt) if found.len() == 1 => Ok(apt),
            _ => Self::of(found, architecture, &keyring),
        }
    }

    fn of(suites: Vec<(String, String)>, architecture: &str, keyring: &Path) -> Result<Self> {
        let sources: String = suites
            .iter()
            .flat_map(|(suite, mirror)| {
                let signed = keyring.display();
                ["deb", "deb-src"].map(|kind| format!("{kind} [signed-by={signed}] {mirror} {suite} main\n"))
            })
            .collect();
        let apt = Self { directory: tempfile::tempdir()?, architecture: architecture.to_owned(), suites };
        for part in ["lists/partial", "cache/archives/partial", "state", "etc/preferences.d"] {
            std::fs::create_dir_all(apt.directory.path().join(part))?;
        }
        std::fs::write(apt.directory.path().join("state/status"), "")?;
        std::fs::write(apt.directory.path().join("etc/sources.list"), sources)?;
        std::fs::write(apt.directory.path().join("etc/preferences"), "")?;
        apt.run("apt-get", &["update", "-qq", "-o", "APT::Update::Error-Mode=any"])?;
        Ok(apt)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let path = |part: &str| self.directory.path().join(part).display().to_string();
        let options = [
            ("Dir::Etc::main", "/dev/null".to_owned()),
            ("Dir::Etc::parts", "/dev/null".to_owned()),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::Etc::preferences", path("etc/preferences")),
            ("Dir::Etc::preferencesparts", path("etc/preferences.d")),
            ("Dir::Etc::sourcelist", path("etc/sources.list")),
            ("Dir::State", path("state")),
            ("Dir::State::status", path("state/status")),
            ("Dir::State::lists", path("lists")),
            ("Dir::Cache", path("cache")),
            ("APT::Architecture", self.architecture.clone()),
            ("APT::Architectures", self.architecture.clone()),
            ("APT::Install-Recommends", "false".to_owned()),
            ("APT::Install-Suggests", "false".to_owned()),
            ("APT::Sandbox::User", "root".to_owned()),
            ("Acquire::ForceHash", "SHA256".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            ("Debug::NoLocking", "true".to_owned()),
        ];
        let mut command = Command::new(program);
        command.env("APT_CONFIG", "/dev/null").env("LC_ALL", "C.UTF-8");
        for (name, value) in options {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        let output = command.args(arguments).output().with_context(|| format!("cannot run `{program}`"))?;
        ensure!(
            output.status.success(),
            "`{program} {}` failed:\n{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        String::from_utf8(output.stdout)
            .with_context(|| format!("`{program}` printed something that is not UTF-8"))
    }

    /// The states of the suites, sorted, as their Release files say them. apt has verified the signatures.
    ///
    /// # Errors
    /// If apt has kept no Release file of one.
    pub fn archives(&self) -> Result<Vec<Archive>> {
        let mut archives =
            self.suites.iter().map(|(suite, _)| self.archive(suite)).collect::<Result<Vec<_>>>()?;
        archives.sort();
        Ok(archives)
    }

    fn archive(&self, suite: &str) -> Result<Archive> {
        let lists = self.directory.path().join("lists");
        // apt writes the `/` of an address as `_`.
        let ends = ["InRelease", "Release"].map(|name| format!("_dists_{}_{name}", suite.replace('/', "_")));
        for entry in std::fs::read_dir(&lists).with_context(|| format!("cannot list {}", lists.display()))? {
            let path = entry?.path();
            if path.to_str().is_some_and(|path| ends.iter().any(|end| path.ends_with(end))) {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                return Archive::of(suite, &Release::parse(&text));
            }
        }
        bail!("apt has kept no Release file of `{suite}`")
    }

    /// From now on, the packages of these source packages come from these suites, whatever the others have.
    pub fn pin(&self, suite_of: &BTreeMap<String, String>) -> Result<()> {
        // A suite is known by its code name (`trixie-backports`) or by its part in the archive (`stable-backports`).
        let text: String = suite_of
            .iter()
            .flat_map(|(source, suite)| {
                ["n", "a"].map(|key| {
                    format!("Package: src:{source}\nPin: release {key}={suite}\nPin-Priority: 990\n\n")
                })
            })
            .collect();
        let path = self.directory.path().join("etc/preferences");
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// apt takes what it finds where a suite has nothing that fits.
    ///
    /// # Errors
    /// If no package is of one of these source packages, or it comes from another suite.
    pub fn check_pins(&self, suite_of: &BTreeMap<String, String>, inputs: &[Input]) -> Result<()> {
        for (source, suite) in suite_of {
            let mut is_asked_for = false;
            for input in inputs {
                let Source::Debian { package, version, pool, .. } = &input.source else { continue };
                if pool.rsplit('/').nth(1) != Some(source) {
                    continue;
                }
                is_asked_for = true;
                // NAME | VERSION | ADDRESS SUITE/COMPONENT ARCHITECTURE Packages
                let listed = self.run("apt-cache", &["madison", "--", package])?;
                let is_there = listed.lines().any(|line| {
                    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
                    fields.get(1) == Some(&version.as_str())
                        && fields.get(2).is_some_and(|place| place.contains(&format!(" {suite}/")))
                });
                ensure!(is_there, "`{suite}` has no `{package}` that fits: {version} is of another suite");
            }
            ensure!(
                is_asked_for,
                "`suite_of` names `{source}`, and no package that is needed is made from a source package of this name"
            );
        }
        Ok(())
    }

    /// The closure of some packages, sorted by name.
    pub fn closure(&self, packages: &[String]) -> Result<Vec<Input>> {
        let mut arguments = vec!["install", "--print-uris", "-qq", "--"];
        arguments.extend(packages.iter().map(String::as_str));
        let mut inputs = Vec::new();
        for file in self.run("apt-get", &arguments)?.lines().filter_map(parse_uri) {
            let (package, version, architecture) = split_name(&file.name)?;
            let source = Source::Debian { package: package.clone(), version, architecture, pool: file.pool };
            inputs.push(Input { name: package, digest: file.digest, source });
        }
        ensure!(!inputs.is_empty(), "apt resolved nothing for: {}", packages.join(" "));
        inputs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(inputs)
    }

    /// A file of a source package.
    pub fn source_file(&self, name: &str, package: &str, suffix: &str) -> Result<Input> {
        let listing = self.run(
            "apt-get",
            &["source", "--print-uris", "-qq", "--download-only", "--only-source", package],
        )?;
        let file =
            listing.lines().filter_map(parse_uri).find(|file| file.name.ends_with(suffix)).with_context(
                || format!("source package `{package}` has no file that ends with `{suffix}`:\n{listing}"),
            )?;
        let version = file
            .name
            .strip_prefix(&format!("{package}_"))
            .and_then(|rest| rest.split_once(".orig").or_else(|| rest.rsplit_once(".debian")))
            .map(|(version, _)| version.to_owned())
            .with_context(|| format!("cannot tell the version of `{}`", file.name))?;
        let source = Source::DebianSource { package: package.to_owned(), version, pool: file.pool };
        Ok(Input { name: name.to_owned(), digest: file.digest, source })
    }
}

struct File {
    /// As apt would store it, with `:` of an epoch written `%3a`.
    name: String,
    pool: String,
    digest: Digest,
}

/// `'ADDRESS' NAME SIZE SHA256:HEX`.
fn parse_uri(line: &str) -> Option<File> {
    let (address, rest) = line.strip_prefix('\'')?.split_once("' ")?;
    let [name, size, hash] = rest.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>()[..] else {
        return None;
    };
    let pool = &address[address.find("/pool/")? + 1..];
    let digest = Digest::from_hex(hash.strip_prefix("SHA256:")?, size.parse().ok()?).ok()?;
    Some(File { name: name.to_owned(), pool: percent_decoded(pool), digest })
}

/// `NAME_VERSION_ARCHITECTURE.deb`.
fn split_name(file: &str) -> Result<(String, String, String)> {
    let stem = file.strip_suffix(".deb").with_context(|| format!("`{file}` is not a package"))?;
    let [name, version, architecture] = stem.split('_').collect::<Vec<_>>()[..] else {
        bail!("`{file}` is not NAME_VERSION_ARCHITECTURE.deb");
    };
    Ok((name.to_owned(), percent_decoded(version), architecture.to_owned()))
}

/// The few escapes that apt writes.
fn percent_decoded(text: &str) -> String {
    let escapes: BTreeMap<&str, &str> =
        [("%3a", ":"), ("%3A", ":"), ("%2b", "+"), ("%2B", "+"), ("%7e", "~"), ("%7E", "~")].into();
    escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_prints_is_understood() {
        let hex = "0".repeat(64);
        let line = format!(
            "'https://x.invalid/debian/pool/main/g/gcc/libstdc%2b%2b6_14.2.0-19_amd64.deb' libstdc++6_1%3a14_amd64.deb 123 SHA256:{hex}"
        );
        let file = parse_uri(&line).unwrap();
        assert_eq!(file.pool, "pool/main/g/gcc/libstdc++6_14.2.0-19_amd64.deb");
        assert_eq!(file.digest.size, 123);
        assert_eq!(split_name(&file.name).unwrap(), ("libstdc++6".into(), "1:14".into(), "amd64".into()));
        assert!(parse_uri(&line.replace("SHA256:", "MD5Sum:")).is_none());
    }
}
