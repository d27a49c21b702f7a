//! Whether the artifacts of a release can be loaded into one process: of each library there is one version for a
//! target, and C++ objects are of one standard library.

use crate::Artifact;
use std::collections::BTreeMap;

/// What keeps artifacts from sharing a process, a line each. An artifact counts as a library of its recipe's name and
/// version, beside those that it contains and needs.
pub fn conflicts<'a>(artifacts: impl IntoIterator<Item = &'a Artifact>) -> Vec<String> {
    // Target, what there should be one of, which one, and whose.
    let mut found: BTreeMap<(&str, String), BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for artifact in artifacts {
        let (title, target) = (artifact.title(), artifact.step.target.as_str());
        let mut add = |what: String, which: &str, how: &str| {
            let holders = found.entry((target, what)).or_default().entry(which.to_owned()).or_default();
            holders.push(format!("{how} `{title}`"));
        };
        let library = |name: &str| format!("versions of `{name}`");
        add(library(&artifact.step.recipe), &artifact.version, "is");
        for (name, version) in &artifact.contains {
            add(library(name), version, "is in");
        }
        for (name, version) in &artifact.needs {
            add(library(name), version, "is needed by");
        }
        if let Some(cxx) = artifact.cxx {
            add("C++ standard libraries".to_owned(), &cxx.to_string(), "is used by");
        }
    }
    let several = found.into_iter().filter(|(_, versions)| versions.len() > 1);
    several
        .map(|((target, what), versions)| {
            let list: Vec<_> = versions
                .into_iter()
                .map(|(version, holders)| format!("{version} ({})", holders.join(", ")))
                .collect();
            format!("for {target} there are {} {what}: {}", list.len(), list.join("; "))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;
    use builder::Cxx;

    /// The example's artifact for Windows, and a second one of another recipe.
    fn two() -> [Artifact; 2] {
        let (_directory, _store, manifest) = example::release();
        let first = manifest.artifacts[0].clone();
        let mut second = first.clone();
        second.step.recipe = "runtime".into();
        second.version = "2.0".into();
        [first, second]
    }

    #[test]
    fn one_version_of_each_library_and_one_cxx_for_a_target() {
        let conflicts_after = |change: fn(&mut [Artifact; 2])| {
            let mut artifacts = two();
            change(&mut artifacts);
            conflicts(&artifacts)
        };
        assert_eq!(conflicts_after(|_| {}), [""; 0]);
        assert_eq!(
            conflicts_after(|[_, second]| second.contains = [("hello".into(), "0.9".into())].into()),
            [
                "for x86_64-pc-windows-msvc there are 2 versions of `hello`: 0.9 (is in `runtime-2.0-x86_64-pc-windows-msvc`); \
                 1.0 (is `hello-1.0-x86_64-pc-windows-msvc`)"
            ]
        );
        assert_eq!(
            conflicts_after(|[_, second]| second.needs = [("hello".into(), "1.0".into())].into()),
            [""; 0]
        );
        let mixed = conflicts_after(|[first, second]| {
            (first.cxx, second.cxx) = (Some(Cxx::Libcxx), Some(Cxx::MsvcStl));
        });
        assert!(mixed[0].contains("2 C++ standard libraries: libc++ (is used by"), "{mixed:?}");
        let elsewhere = conflicts_after(|[first, second]| {
            (first.cxx, second.cxx) = (Some(Cxx::Libcxx), Some(Cxx::Libstdcxx));
            second.step.target = "x86_64-unknown-linux-gnu".into();
        });
        assert_eq!(elsewhere, [""; 0]);
    }
}
