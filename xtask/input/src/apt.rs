//! Which archives of Debian this machine's apt is configured with, and where snapshots of them are.
//!
//! apt knows repositories of many distributions and vendors. Only what says itself that it is Debian's (`Origin` in its
//! Release file) is asked for Debian packages: on Ubuntu, or beside a vendor's repository, every other answer would be a 404.

use crate::{client::Client, command, url::without_credentials};
use anyhow::{Context, Result, bail};
use std::{collections::BTreeSet, time::Duration};
use store::{WithHint, hinted};

/// What Debian's archives call themselves.
const ORIGIN: &str = "Debian";

/// What can be done where no archive is known.
const HINT: &str =
    "set MLC_REPRO_DEBIAN_MIRROR to the address of a Debian archive, such as your company's mirror";

/// How long a repository may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// The fields of a Release file stand before its lists of files, within this many bytes.
const FIELDS: u64 = 64 * 1024;

/// The Debian archives that apt is configured with, in its order, without a `/` at the end.
///
/// # Errors
/// If there is no apt, or it knows no archive of Debian. Nobody else's archive is asked for packages then.
pub fn debian_archives() -> Result<Vec<String>> {
    // What apt has downloaded the Release file of.
    let listed = command::output(
        "apt-get",
        &["indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL) $(CODENAME)"],
    );
    let mut repositories = match &listed {
        Ok(text) => parse_targets(text),
        Err(error) if command::is_missing(error) => {
            bail!(hinted("cannot find a Debian archive: this machine has no `apt-get`", HINT))
        }
        // An apt before 1.1 has no such command.
        Err(_) => Vec::new(),
    };
    if !repositories.iter().any(Repository::is_debian) {
        // Before the first `apt-get update` nothing is listed: then the repositories themselves say what they are.
        let configured = command::output("apt-get", &["--print-uris", "update"])
            .with_hint(|| hinted("cannot find a Debian archive", HINT))?;
        let known: BTreeSet<String> = repositories.iter().map(|one| one.uri.clone()).collect();
        let client = Client::new(PATIENCE);
        for (uri, release) in parse_uris(&configured) {
            if !known.contains(&uri) {
                let origin =
                    addresses(&release).first().and_then(|url| Release::fetch(&client, url).ok()?.origin);
                repositories.push(Repository { uri, origin });
            }
        }
    }
    let mut archives = Vec::new();
    for repository in repositories.iter().filter(|one| one.is_debian()) {
        for archive in addresses(&repository.uri) {
            if !archives.contains(&archive) {
                archives.push(archive);
            }
        }
    }
    if archives.is_empty() {
        bail!(hinted(format!("cannot find a Debian archive: {}", no_archive(&repositories)), HINT));
    }
    Ok(archives)
}

/// Why none of the repositories is asked, in half a sentence.
fn no_archive(repositories: &[Repository]) -> String {
    if repositories.is_empty() {
        return "this machine's apt has no repository".to_owned();
    }
    if repositories.iter().any(Repository::is_debian) {
        return "this machine's apt has Debian on a medium that is not read over HTTP".to_owned();
    }
    let origins: BTreeSet<&str> = repositories.iter().filter_map(|one| one.origin.as_deref()).collect();
    let origins: Vec<&str> = origins.into_iter().collect();
    match origins[..] {
        [] => "no repository of this machine's apt says that it is Debian's".to_owned(),
        _ => format!(
            "the repositories of this machine's apt are those of {}, not Debian's",
            origins.join(", ")
        ),
    }
}

/// A repository of apt's.
#[derive(Debug, PartialEq, Eq)]
struct Repository {
    /// Without a `/` at the end.
    uri: String,
    /// Whose it says it is, where that is known.
    origin: Option<String>,
}

impl Repository {
    fn is_debian(&self) -> bool {
        self.origin.as_deref() == Some(ORIGIN)
    }
}

/// `URI ORIGIN LABEL CODENAME` lines, each repository once.
fn parse_targets(text: &str) -> Vec<Repository> {
    let mut repositories = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [uri, ref rest @ ..] = words[..] else { continue };
        if !uri.contains(":/") {
            continue;
        }
        // An origin or a label may have several words: `Debian Debian trixie` is Debian's, `Debian Fork x` is not.
        let origin = match rest {
            [] => None,
            [first, ..] if first.starts_with("$(") => None,
            [ORIGIN, label, ..] if label.starts_with(ORIGIN) => Some(ORIGIN.to_owned()),
            [ORIGIN, second, ..] => Some(format!("{ORIGIN} {second}")),
            [first, ..] => Some((*first).to_owned()),
        };
        let repository = Repository { uri: uri.trim_end_matches('/').to_owned(), origin };
        if !repositories.contains(&repository) {
            repositories.push(repository);
        }
    }
    repositories
}

/// `'BASE/dists/SUITE/InRelease' …` lines to `BASE` and the file's address, each repository once.
fn parse_uris(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let Some(uri) = line.strip_prefix('\'').and_then(|rest| Some(rest.split_once('\'')?.0)) else {
            continue;
        };
        let Some((base, _)) = uri.split_once("/dists/") else { continue };
        if uri.ends_with("/InRelease") && !found.iter().any(|(known, _)| known == base) {
            found.push((base.to_owned(), uri.to_owned()));
        }
    }
    found
}

/// What HTTP can ask in the place of an address of apt's: itself; the lines of a list of mirrors
/// (`mirror+file:/etc/apt/mirrors/debian.list`, as images for clouds have it); nothing for a medium.
fn addresses(uri: &str) -> Vec<String> {
    if uri.starts_with("http://") || uri.starts_with("https://") {
        return vec![uri.to_owned()];
    }
    let Some(path) = uri.strip_prefix("mirror+file:") else { return Vec::new() };
    // Behind the list's own name stands what is asked of each of its mirrors.
    let path = format!("/{}", path.trim_start_matches('/'));
    let (list, rest) = path
        .split_once("/dists/")
        .map_or((path.as_str(), String::new()), |(list, rest)| (list, format!("/dists/{rest}")));
    let text = std::fs::read_to_string(list).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
        .map(|mirror| format!("{}{rest}", mirror.trim_end_matches('/')))
        .collect()
}

/// The fields of a Release file that matter here. They are unverified where they come from [`Release::fetch`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// Whose archive it is, such as `Debian`.
    pub origin: Option<String>,
    /// Which of its archives, such as `Debian-Security`.
    pub label: Option<String>,
    /// When it was written, as RFC 2822 has it but for the zone `UTC`.
    pub date: Option<String>,
    /// Where snapshots of it are, with `@SNAPSHOTID@` in the place of the date (apt's `Snapshots` field).
    pub snapshots: Option<String>,
}

impl Release {
    /// Reads the fields, which stand before the lists of files.
    pub fn parse(text: &str) -> Self {
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key == name && !value.trim().is_empty()).then(|| value.trim().to_owned())
            })
        };
        Self {
            origin: field("Origin"),
            label: field("Label"),
            date: field("Date"),
            // `no` says that there are none.
            snapshots: field("Snapshots").filter(|value| value.contains("://")),
        }
    }

    /// Asks a repository for its Release file.
    ///
    /// # Errors
    /// If it can't be had.
    pub fn fetch(client: &Client, url: &str) -> Result<Self> {
        let bytes = client
            .read_start(&url.to_owned().into(), FIELDS)
            .with_context(|| format!("cannot read {}", without_credentials(url)))?;
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// Whether it is one of Debian's.
    pub fn is_debian(&self) -> bool {
        self.origin.as_deref() == Some(ORIGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian(text: &str) -> Vec<String> {
        parse_targets(text).into_iter().filter(Repository::is_debian).map(|one| one.uri).collect()
    }

    #[test]
    fn only_what_says_that_it_is_debian_counts() {
        let mixed = "https://a.invalid/debian/ Debian Debian trixie\n\
                     https://a.invalid/debian/ Debian Debian trixie-updates\n\
                     https://a.invalid/security Debian Debian-Security trixie-security\n\
                     https://v.invalid/apt Vendor Vendor stable\n\
                     https://u.invalid/ubuntu Ubuntu Ubuntu noble\n\
                     https://n.invalid/none   \n\
                     https://f.invalid/fork Debian Fork trixie\n\
                     https://l.invalid/literal $(ORIGIN) $(LABEL) $(CODENAME)\n";
        assert_eq!(debian(mixed), ["https://a.invalid/debian", "https://a.invalid/security"]);
        assert!(debian("https://u.invalid/ubuntu Ubuntu Ubuntu noble\n").is_empty());
        assert!(debian("'https://u.invalid/ubuntu/dists/noble/InRelease' x_InRelease 0 \n").is_empty());
    }

    #[test]
    fn whose_the_repositories_are_is_said() {
        let why = no_archive(&parse_targets("https://u.invalid/ubuntu Ubuntu Ubuntu noble\n"));
        assert_eq!(why, "the repositories of this machine's apt are those of Ubuntu, not Debian's");
        assert_eq!(no_archive(&[]), "this machine's apt has no repository");
        let cdrom = parse_targets("cdrom://[Debian]/ Debian Debian trixie\n");
        assert!(no_archive(&cdrom).contains("a medium"), "{cdrom:?}");
    }

    #[test]
    fn apt_names_its_repositories() {
        let text = "'https://a.invalid/debian/dists/stable/InRelease' a_InRelease 0 \n\
                    'https://a.invalid/debian/dists/stable-updates/InRelease' b 0 \n\
                    'https://b.invalid/x/dists/y/InRelease' c 0 \nother\n";
        let bases: Vec<_> = parse_uris(text).into_iter().map(|(base, _)| base).collect();
        assert_eq!(bases, ["https://a.invalid/debian", "https://b.invalid/x"]);
    }

    #[test]
    fn a_list_of_mirrors_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("debian.list");
        std::fs::write(&list, "# ours\nhttps://a.invalid/debian/\tpriority:1\nhttps://b.invalid/debian\n")
            .unwrap();
        let uri = format!("mirror+file:{}", list.display());
        assert_eq!(addresses(&uri), ["https://a.invalid/debian", "https://b.invalid/debian"]);
        assert_eq!(
            addresses(&format!("{uri}/dists/trixie/InRelease"))[0],
            "https://a.invalid/debian/dists/trixie/InRelease"
        );
        assert!(addresses("cdrom:[Debian]/").is_empty());
    }

    #[test]
    fn a_release_file_says_whose_it_is() {
        let text = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\nLabel: Debian-Security\n\
                    Date: Sat, 21 Nov 2026 09:15:44 UTC\nSnapshots: https://s.invalid/@SNAPSHOTID@/\nSHA256:\n 00 1 a\n";
        let release = Release::parse(text);
        assert!(release.is_debian());
        assert_eq!(release.label.as_deref(), Some("Debian-Security"));
        assert_eq!(release.date.as_deref(), Some("Sat, 21 Nov 2026 09:15:44 UTC"));
        assert_eq!(release.snapshots.as_deref(), Some("https://s.invalid/@SNAPSHOTID@/"));
        assert_eq!(Release::parse("Origin: Ubuntu\nSnapshots: no\n").snapshots, None);
        assert!(!Release::parse("no release at all").is_debian());
    }
}
