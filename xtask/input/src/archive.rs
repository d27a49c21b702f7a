//! Debian's dated archives: what a mirror drops when a newer version comes, they keep.
//!
//! A lock says of each suite when the Release file that it was resolved from was written, and which snapshot has all of its
//! packages. Where snapshots are is this machine's business: no address stands in a lock.

use crate::{apt::Release, client::Client, command, configuration::variable};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Stands in an address where the snapshot's name goes, as in apt's configuration.
const SNAPSHOT: &str = "@SNAPSHOTID@";
/// Stands in an address where the path of the archive goes.
const PATH: &str = "@PATH@";
const DAY: u64 = 86_400;

/// The state of a suite that a lock was resolved from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// The suite, such as `trixie`.
    pub suite: String,
    /// Which of Debian's archives it is in, as its Release file says (`Debian`, `Debian-Security`).
    pub label: String,
    /// When the Release file was written (RFC 3339, UTC).
    pub date: String,
    /// The snapshot that has every package of it: the first midnight after `date`, as `YYYYMMDDTHHMMSSZ`. One that is older than
    /// the Release file may lack some, and until the next Release file none is dropped.
    pub snapshot: String,
}

impl Archive {
    /// What the verified Release file of a suite says.
    ///
    /// # Errors
    /// If it says no date or label.
    pub fn of(suite: &str, release: &Release) -> Result<Self> {
        let date = release.date.as_deref().context("the Release file has no `Date`")?;
        // The same form as in HTTP, but for the zone's name.
        let text = date.strip_suffix("UTC").map_or_else(|| date.to_owned(), |date| format!("{date}GMT"));
        let time = httpdate::parse_http_date(&text)
            .with_context(|| format!("the Release file has a bad date: {date}"))?;
        let seconds = time
            .duration_since(std::time::UNIX_EPOCH)
            .context("the Release file has a date before 1970")?
            .as_secs();
        let (on, midnight) = (calendar(seconds)?, calendar((seconds / DAY + 1) * DAY)?);
        let (hour, minute, second) = (on.hour(), on.minute(), on.second());
        let day = |time: OffsetDateTime| (time.year(), u8::from(time.month()), time.day());
        let ((year, month, of_month), (next_year, next_month, next_of_month)) = (day(on), day(midnight));
        let archive = Self {
            suite: suite.to_owned(),
            label: release.label.clone().unwrap_or_else(|| "Debian".to_owned()),
            date: format!("{year:04}-{month:02}-{of_month:02}T{hour:02}:{minute:02}:{second:02}Z"),
            snapshot: format!("{next_year:04}{next_month:02}{next_of_month:02}T000000Z"),
        };
        archive.check()?;
        Ok(archive)
    }

    /// # Errors
    /// If a field can't be what it has to be.
    pub fn check(&self) -> Result<()> {
        let is_name = |text: &str| {
            !text.is_empty()
                && text.len() < 100
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+./".contains(&byte))
        };
        ensure!(
            is_name(&self.suite) && !self.suite.contains("..") && is_name(&self.label.replace(' ', "-")),
            "an archive needs a suite and a label"
        );
        // Digits are written as 0.
        let shape = |text: &str| {
            text.bytes()
                .map(|byte| if byte.is_ascii_digit() { '0' } else { char::from(byte) })
                .collect::<String>()
        };
        ensure!(
            shape(&self.date) == "0000-00-00T00:00:00Z",
            "`{}` is not a date such as 2026-11-21T09:15:44Z",
            self.date.escape_debug()
        );
        ensure!(
            shape(&self.snapshot) == "00000000T000000Z",
            "`{}` is not a snapshot such as 20261122T000000Z",
            self.snapshot.escape_debug()
        );
        Ok(())
    }

    /// The day of the Release file.
    pub fn day(&self) -> &str {
        self.date.split('T').next().unwrap_or(&self.date)
    }

    /// The path of the archive below a mirror. Backports and updates stand in the archive of what they are for; only security has
    /// one of its own.
    fn path(&self) -> &'static str {
        if self.label == "Debian-Security" { "debian-security" } else { "debian" }
    }

    fn fill(&self, template: &str, path: &str) -> Option<String> {
        let is_template =
            template.starts_with("http") && template.contains("://") && template.contains(SNAPSHOT);
        is_template.then(|| {
            template.replace(SNAPSHOT, &self.snapshot).replace(PATH, path).trim_end_matches('/').to_owned()
        })
    }

    /// Addresses of this snapshot, from the first that knows any: `MLC_REPRO_DEBIAN_SNAPSHOT` (several, separated by spaces), the
    /// Release files of the mirrors, apt's configuration (2.7 and newer). Empty where nobody does.
    ///
    /// # Errors
    /// If the variable is set to something else.
    pub fn addresses(&self, client: &Client, mirrors: &[String]) -> Result<Vec<String>> {
        if let Some(templates) = variable("MLC_REPRO_DEBIAN_SNAPSHOT") {
            return templates
                .split_whitespace()
                .map(|template| {
                    self.fill(template, self.path()).with_context(|| {
                        format!("MLC_REPRO_DEBIAN_SNAPSHOT has to be an address with {SNAPSHOT} where the date goes")
                    })
                })
                .collect();
        }
        let told = mirrors.iter().find_map(|mirror| {
            let release = Release::fetch(client, &self.release_url(mirror)).ok()?;
            self.fill(&release.snapshots?, self.path())
        });
        if let Some(told) = told {
            return Ok(vec![told]);
        }
        let dump = command::output("apt-config", &["dump"]).unwrap_or_default();
        Ok(self.of_apt(&dump, mirrors).into_iter().collect())
    }

    /// Where the Release file of this suite is on a mirror.
    pub fn release_url(&self, mirror: &str) -> String {
        format!("{mirror}/dists/{}/InRelease", self.suite)
    }

    /// What `apt-config dump` says of snapshots, in the order of apt.
    fn of_apt(&self, dump: &str, mirrors: &[String]) -> Option<String> {
        let get = |key: &str| {
            let key = format!("Acquire::Snapshots::URI::{key} \"");
            let value = dump.lines().find_map(|line| line.strip_prefix(&key))?;
            value.strip_suffix("\";").map(str::to_owned)
        };
        let names = [
            format!("Override::Label::{}", self.label),
            format!("Override::Origin::{}", "Debian"),
            format!("Label::{}", self.label),
            format!("Origin::{}", "Debian"),
        ];
        if let Some(found) = names.iter().find_map(|name| self.fill(&get(name)?, self.path())) {
            return Some(found);
        }
        mirrors.iter().find_map(|mirror| {
            let (_, rest) = mirror.split_once("://")?;
            let (host, path) = rest.split_once('/')?;
            self.fill(&get(&format!("Host::{host}"))?, path)
        })
    }
}

fn calendar(seconds: u64) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds)?)
        .context("the Release file has a date out of bounds")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(date: &str, label: &str) -> Result<Archive> {
        Archive::of("trixie", &Release::parse(&format!("Origin: Debian\nLabel: {label}\nDate: {date}\n")))
    }

    #[test]
    fn the_snapshot_is_the_first_midnight_after_the_release_file() {
        for (date, on, snapshot) in [
            ("Sat, 21 Nov 2026 09:15:44 UTC", "2026-11-21T09:15:44Z", "20261122T000000Z"),
            ("Thu, 31 Dec 2026 23:59:59 UTC", "2026-12-31T23:59:59Z", "20270101T000000Z"),
            ("Fri, 01 Jan 2027 00:00:00 UTC", "2027-01-01T00:00:00Z", "20270102T000000Z"),
        ] {
            let archive = archive(date, "Debian").unwrap();
            assert_eq!((archive.date.as_str(), archive.snapshot.as_str()), (on, snapshot));
        }
        assert!(archive("yesterday", "Debian").is_err());
        assert!(archive("Sat, 21 Nov 2026 09:15:44 UTC", "../evil?").is_err());
    }

    #[test]
    fn apt_knows_where_snapshots_are() {
        let dump = "Acquire::Snapshots::URI::Origin::Debian \"https://s.invalid/archive/debian/@SNAPSHOTID@/\";\n\
                    Acquire::Snapshots::URI::Override::Label::Debian-Security \"https://s.invalid/archive/security/@SNAPSHOTID@/\";\n\
                    Acquire::Snapshots::URI::Host::m.invalid \"https://m.invalid/old/@PATH@/@SNAPSHOTID@/\";\n";
        let date = "Sat, 21 Nov 2026 09:15:44 UTC";
        let debian = archive(date, "Debian").unwrap();
        let security = archive(date, "Debian-Security").unwrap();
        assert_eq!(debian.of_apt(dump, &[]).unwrap(), "https://s.invalid/archive/debian/20261122T000000Z");
        assert_eq!(
            security.of_apt(dump, &[]).unwrap(),
            "https://s.invalid/archive/security/20261122T000000Z"
        );
        let host = dump.lines().last().unwrap();
        let mirrors = ["https://m.invalid/debian".to_owned()];
        assert_eq!(debian.of_apt(host, &mirrors).unwrap(), "https://m.invalid/old/debian/20261122T000000Z");
        assert_eq!(debian.of_apt("APT \"\";\n", &mirrors), None);
        let backports = archive(date, "Debian Backports").unwrap();
        assert_eq!((backports.path(), security.path()), ("debian", "debian-security"));
    }

    #[test]
    fn an_address_needs_a_place_for_the_date() {
        let archive = archive("Sat, 21 Nov 2026 09:15:44 UTC", "Debian").unwrap();
        assert_eq!(archive.fill("https://s.invalid/debian", "debian"), None);
        assert_eq!(archive.fill("/srv/@SNAPSHOTID@", "debian"), None);
    }
}
