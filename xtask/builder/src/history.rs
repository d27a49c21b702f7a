//! The last action that succeeded for each node, so that `explain` can say what changed since, and how long it took.

use crate::{look::Seen, node::Node};
use anyhow::Result;
use std::{path::PathBuf, time::Duration};
use store::{Action, Digest, Entry, Store, Tree};

fn path(store: &Store, node: &Node) -> PathBuf {
    store.root().join("history").join(node.to_string())
}

/// Where the log of the last run is named, if that failed.
fn failure_path(store: &Store, node: &Node) -> PathBuf {
    store.root().join("history").join(format!("{node}.failed"))
}

/// Remembers the action of a node, and how long it took.
pub fn record(store: &Store, node: &Node, action: &Digest, time: Duration) -> Result<()> {
    let text = format!("{action} {}", time.as_secs());
    store.write_note(&path(store, node), text.as_bytes())?;
    forget_failure(store, node)
}

/// Remembers the action of a node whose result was there, made for another node or by somebody else. How long its last build took
/// is the best that is known of this one.
pub(crate) fn found(store: &Store, node: &Node, action: &Digest) -> Result<()> {
    if last(store, node).as_ref() != Some(action) {
        let time = seconds(store, node).map_or(String::new(), |seconds| format!(" {seconds}"));
        store.write_note(&path(store, node), format!("{action}{time}").as_bytes())?;
    }
    forget_failure(store, node)
}

/// Forgets that the last run of a node failed, once there is a result.
fn forget_failure(store: &Store, node: &Node) -> Result<()> {
    match failed_log(store, node) {
        Some(_) => store.write_note(&failure_path(store, node), b""),
        None => Ok(()),
    }
}

/// Remembers the log of a run that failed, until there is a result.
pub(crate) fn record_failure(store: &Store, node: &Node, log: &Digest) -> Result<()> {
    store.write_note(&failure_path(store, node), log.to_string().as_bytes())
}

/// The log of the last run of a node, if that failed.
pub fn failed_log(store: &Store, node: &Node) -> Option<Digest> {
    String::from_utf8(store.read_note(&failure_path(store, node))?).ok()?.parse().ok()
}

/// The last action of a node, if one is remembered.
pub fn last(store: &Store, node: &Node) -> Option<Digest> {
    read(store, node)?.split(' ').next()?.parse().ok()
}

/// How long the last action of a node took on this machine, in seconds, if that is remembered.
pub fn seconds(store: &Store, node: &Node) -> Option<u64> {
    read(store, node)?.split(' ').nth(1)?.parse().ok()
}

fn read(store: &Store, node: &Node) -> Option<String> {
    String::from_utf8(store.read_note(&path(store, node))?).ok()
}

/// How many differences of one part are listed; the others are counted.
const LISTED: usize = 12;

/// Where a build's own directories, sources and dependencies stand: the last as they stand in a line of differences.
const BUILD: &str = "build";
const SOURCES: &str = "build/src";
const DEPENDENCIES: &str = " dependencies/";

/// What differs between an action and what would run now, a line each; empty when they are equal.
pub fn differences(store: &Store, old: &Action, new: &Seen) -> Result<Vec<String>> {
    let Some(root) = old.input_root.filter(|_| old.output_paths == new.action.output_paths) else {
        return Ok(vec![
            "its last build was by another version of mlc-repro, whose keys are others".to_owned(),
        ]);
    };
    let mut lines = Vec::new();
    if old.arguments != new.action.arguments {
        lines.push(format!("command: {} -> {}", old.arguments.join(" "), new.action.arguments.join(" ")));
    }
    let (before, after) = (&old.variables, &new.action.variables);
    for name in before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))) {
        if before.get(name) != after.get(name) {
            let show = |value: Option<&String>| value.map_or("(none)".to_owned(), Clone::clone);
            lines.push(format!("variable {name}: {} -> {}", show(before.get(name)), show(after.get(name))));
        }
    }
    let Ok(mut before) = Tree::read(store, &root) else {
        lines.push("its last inputs are gone from the store, so that they can't be compared".to_owned());
        return Ok(lines);
    };
    let sources = before.subtree(SOURCES);
    let mut environment = Tree::read(store, &new.environment.root)?;
    // What builds have there is compared by itself.
    before.remove(BUILD);
    environment.remove(BUILD);
    lines.extend(listed("environment: ", tree_differences(&before, &environment)));
    let (dependencies, own): (Vec<_>, Vec<_>) =
        tree_differences(&sources, &new.sources).into_iter().partition(|line| line.contains(DEPENDENCIES));
    lines.extend(listed("", own));
    let named = |line: String| match line.split_once(DEPENDENCIES) {
        Some((what, rest)) => {
            let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("dependency {name}: {what} {path}")
        }
        None => line,
    };
    lines.extend(listed("", dependencies.into_iter().map(named).collect()));
    Ok(lines)
}

/// The first lines, and how many more there are.
fn listed(prefix: &str, mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LISTED);
    lines.truncate(LISTED);
    for line in &mut lines {
        line.insert_str(0, prefix);
    }
    if more > 0 {
        lines.push(format!("{prefix}and {more} more"));
    }
    lines
}

/// What differs between two trees, a line an entry.
pub fn tree_differences(old: &Tree, new: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, entry) in old.iter() {
        match new.get(path) {
            None => lines.push(format!("removed {path}")),
            Some(other) if other != entry => lines.push(match (entry, other) {
                (Entry::File { digest: old, .. }, Entry::File { digest: new, .. }) if old != new => {
                    format!("changed {path}: {} -> {}", &old.hex()[..12], &new.hex()[..12])
                }
                _ => format!("changed {path}"),
            }),
            Some(_) => {}
        }
    }
    lines.extend(
        new.iter().filter(|(path, _)| old.get(path).is_none()).map(|(path, _)| format!("added {path}")),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parts;
    use environment::Environment;

    /// What would run in an environment with one file, on these sources; its action is kept.
    fn seen(store: &Store, compiler: &str, sources: &[(&str, &str)], target: &str) -> Seen {
        let put = |tree: &mut Tree, path: &str, text: &str| {
            let digest = store.put_bytes(text.as_bytes()).unwrap();
            tree.insert(path, Entry::File { digest, executable: false }).unwrap();
        };
        let (mut root, mut tree) = (Tree::new(), Tree::new());
        put(&mut root, "usr/bin/cc", compiler);
        for path in ["build/out", "build/src", "build/work"] {
            root.insert(path, Entry::Directory).unwrap();
        }
        for (path, text) in sources {
            put(&mut tree, path, text);
        }
        let root = root.write(store).unwrap();
        let parts = Parts { environment: root, sources: tree.write(store).unwrap() };
        let action = parts.action(store, [("TARGET".to_owned(), target.to_owned())].into()).unwrap();
        let environment = Environment {
            name: "linux".into(),
            root,
            packages: Vec::new(),
            variables: action.variables.clone(),
        };
        Seen { action, environment, sources: tree, inputs: Vec::new(), result: None }
    }

    #[test]
    fn what_changed_is_named_by_its_part() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let sources = [("build.sh", "a"), ("dependencies/ffi/lib/x", "1"), ("gone", "")];
        let old = seen(&store, "cc 1", &sources, "x");
        let sources = [("build.sh", "b"), ("dependencies/ffi/lib/x", "2"), ("come", "")];
        let new = seen(&store, "cc 2", &sources, "y");
        let lines = differences(&store, &old.action, &new).unwrap();
        let starts = [
            "variable TARGET: x -> y",
            "environment: changed usr/bin/cc: ",
            "changed build.sh: ca978112ca1b -> 3e23e8160039",
            "removed gone",
            "added come",
            "dependency ffi: changed lib/x: ",
        ];
        assert_eq!(lines.len(), starts.len(), "{lines:?}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}");
        }
        assert!(differences(&store, &old.action, &old).unwrap().is_empty());
        // Of an older version nothing but that is known.
        let older = Action::named(["/bin/bash"]);
        assert!(differences(&store, &older, &new).unwrap()[0].contains("another version"));
    }

    #[test]
    fn many_changes_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let names: Vec<String> = (10..40).map(|number| number.to_string()).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let old = seen(&store, "cc", &[], "x");
        let lines = differences(&store, &old.action, &seen(&store, "cc", &many, "x")).unwrap();
        assert_eq!(lines.len(), LISTED + 1);
        assert_eq!(lines[LISTED], "and 18 more");
    }

    #[test]
    fn the_log_of_a_failure_is_remembered_until_the_next_success() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let node = Node::parse("hello", "x86_64-unknown-linux-gnu").unwrap();
        assert_eq!(failed_log(&store, &node), None);
        record_failure(&store, &node, &Digest::of(b"log")).unwrap();
        assert_eq!((failed_log(&store, &node), last(&store, &node)), (Some(Digest::of(b"log")), None));
        record(&store, &node, &Digest::of(b"1"), Duration::from_secs(7)).unwrap();
        assert_eq!(failed_log(&store, &node), None);
    }

    #[test]
    fn the_last_action_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let node = Node::parse("hello", "x86_64-unknown-linux-gnu").unwrap();
        assert_eq!(last(&store, &node), None);
        record(&store, &node, &Digest::of(b"1"), Duration::from_secs(7)).unwrap();
        record(&store, &node, &Digest::of(b"2"), Duration::from_millis(8900)).unwrap();
        assert_eq!(last(&store, &node), Some(Digest::of(b"2")));
        assert_eq!(seconds(&store, &node), Some(8));
        // Another's result, which was there.
        found(&store, &node, &Digest::of(b"1")).unwrap();
        assert_eq!((last(&store, &node), seconds(&store, &node)), (Some(Digest::of(b"1")), Some(8)));
        // As it was written before times were.
        store.write_note(&path(&store, &node), Digest::of(b"3").to_string().as_bytes()).unwrap();
        assert_eq!((last(&store, &node), seconds(&store, &node)), (Some(Digest::of(b"3")), None));
    }
}
