//! Absolute links as relative ones.

use anyhow::Result;
use std::borrow::Cow;
use store::{Entry, Tree};

/// Makes every absolute link of a root file system relative. Its meaning under that root stays.
pub(crate) fn make_relative(root: &mut Tree) -> Result<()> {
    let absolute: Vec<_> = root
        .iter()
        .filter_map(|(path, entry)| match relative(path, entry) {
            Cow::Owned(entry) => Some((path.to_owned(), entry)),
            Cow::Borrowed(_) => None,
        })
        .collect();
    for (path, entry) in absolute {
        root.remove(&path);
        root.insert(&path, entry)?;
    }
    Ok(())
}

/// An entry as it stands at `path` of an environment.
///
/// The directories above `path` are directories of the tree, none of them a link, so that as many `..` as there are of them
/// are the root.
pub(crate) fn relative<'a>(path: &str, entry: &'a Entry) -> Cow<'a, Entry> {
    let Entry::Symlink { target } = entry else { return Cow::Borrowed(entry) };
    let Some(absolute) = target.strip_prefix('/') else { return Cow::Borrowed(entry) };
    // Above the root there is the root. A `..` behind a name stays: the name may be a link.
    let components: Vec<&str> =
        absolute.split('/').filter(|component| !matches!(*component, "" | ".")).collect();
    let climbing = components.iter().take_while(|component| **component == "..").count();
    let mut parts = vec![".."; path.matches('/').count()];
    // Of a directory's own part nothing has to be climbed out of.
    let rest = &components[climbing..];
    let shared = path
        .split('/')
        .take(parts.len())
        .zip(rest)
        .take_while(|(own, other)| own == *other)
        .count()
        // The last component is the link's own, and must be named.
        .min(rest.len().saturating_sub(1));
    parts.truncate(parts.len() - shared);
    parts.extend(&rest[shared..]);
    let target = if parts.is_empty() { ".".to_owned() } else { parts.join("/") };
    Cow::Owned(Entry::Symlink { target })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_link_means_what_the_absolute_one_did() {
        for (path, target, expected) in [
            ("etc/mtab", "/proc/mounts", "../proc/mounts"),
            ("a", "/usr/bin/b", "usr/bin/b"),
            ("a", "/", "."),
            ("usr/a", "/", ".."),
            ("usr/lib/x", "/usr/share//y/", "../share/y"),
            ("usr/lib/x", "/usr/lib/y", "y"),
            ("usr/lib/x", "/usr/lib", "../lib"),
            ("usr/lib/x", "/usr/lib/../y", "../y"),
            ("usr/lib/x", "/../../etc/./y", "../../etc/y"),
            ("usr/lib/x", "/a/../b", "../../a/../b"),
            ("usr/lib/x", "../y", "../y"),
            ("usr/lib/x", "y", "y"),
        ] {
            let entry = Entry::Symlink { target: target.to_owned() };
            let found = relative(path, &entry).into_owned();
            assert_eq!(found, Entry::Symlink { target: expected.to_owned() }, "{path} -> {target}");
        }
    }
}
