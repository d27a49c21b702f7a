//! Package URLs (ECMA-427): how an input is named wherever bills of materials are compared with lists of advisories.

use input::Source;
use std::fmt::Write;

/// The package URL of a source, or nothing where its ecosystem has none.
pub fn purl(source: &Source) -> Option<String> {
    match source {
        Source::Pypi { package, version, file } => {
            let name = package.to_lowercase().replace('_', "-");
            Some(format!("pkg:pypi/{}@{}?file_name={}", encoded(&name), encoded(version), encoded(file)))
        }
        Source::Debian { package, version, architecture, .. } => Some(format!(
            "pkg:deb/debian/{}@{}?arch={}",
            encoded(package),
            encoded(version),
            encoded(architecture)
        )),
        Source::DebianSource { package, version, .. } => {
            Some(format!("pkg:deb/debian/{}@{}?arch=source", encoded(package), encoded(version)))
        }
        Source::Crate { package, version } => Some(cargo(package, version)),
        Source::Npm { package, version } => {
            let name = package.split('/').map(encoded).collect::<Vec<_>>().join("/");
            Some(format!("pkg:npm/{name}@{}", encoded(version)))
        }
        Source::Git { url, revision, .. } => {
            let name = url.trim_end_matches('/').trim_end_matches(".git").rsplit('/').next()?;
            let url = encoded(&format!("git+{url}@{revision}"));
            Some(format!("pkg:generic/{}@{}?vcs_url={url}", encoded(name), encoded(revision)))
        }
        Source::HuggingFace { repository, revision, .. } => {
            let name = repository.split('/').map(encoded).collect::<Vec<_>>().join("/");
            Some(format!("pkg:huggingface/{name}@{}", encoded(revision)))
        }
        Source::Https { urls, .. } => {
            let url = urls.first()?;
            let name = url.rsplit('/').next()?;
            Some(format!("pkg:generic/{}?download_url={}", encoded(name), encoded(url)))
        }
        Source::Cargo { .. } | Source::MicrosoftSdk { .. } | Source::Path { .. } => None,
    }
}

/// The package URL of a crate.
pub fn cargo(name: &str, version: &str) -> String {
    format!("pkg:cargo/{}@{}", encoded(name), encoded(version))
}

/// Text with everything percent-encoded but letters, digits, `.`, `-`, `_`, `~` and the colon, as ECMA-427 asks.
fn encoded(text: &str) -> String {
    escaped(text, ":")
}

/// A relative path as an IRI reference: what stands in its parts is encoded, the slashes stay.
pub fn reference(path: &str) -> String {
    escaped(path, "/")
}

fn escaped(text: &str, more: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        match c.is_ascii_alphanumeric() || ".-_~".contains(c) || more.contains(c) {
            true => encoded.push(c),
            // Writing to a string can't fail.
            false => _ = write!(encoded, "%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_have_the_names_of_their_ecosystems() {
        for (source, expected) in [
            (
                Source::Pypi {
                    package: "apache_TVM".into(),
                    version: "1.0+cu1".into(),
                    file: "apache_tvm-1.0.tar.gz".into(),
                },
                "pkg:pypi/apache-tvm@1.0%2Bcu1?file_name=apache_tvm-1.0.tar.gz",
            ),
            (
                Source::Debian {
                    package: "g++".into(),
                    version: "4:14.2~1".into(),
                    architecture: "amd64".into(),
                    pool: "pool/g".into(),
                },
                "pkg:deb/debian/g%2B%2B@4:14.2~1?arch=amd64",
            ),
            (
                Source::Npm { package: "@rollup/x".into(), version: "1.2.3".into() },
                "pkg:npm/%40rollup/x@1.2.3",
            ),
            (
                Source::HuggingFace {
                    repository: "Owner/Name".into(),
                    revision: "ab".into(),
                    file: "x".into(),
                },
                "pkg:huggingface/Owner/Name@ab",
            ),
            (
                Source::Https { urls: vec!["https://example.org/a b.zip".into()], tree: None },
                "pkg:generic/a%20b.zip?download_url=https:%2F%2Fexample.org%2Fa%20b.zip",
            ),
        ] {
            assert_eq!(purl(&source).as_deref(), Some(expected));
        }
        assert_eq!(purl(&Source::Path { path: "x".into(), directory: false }), None);
    }
}
