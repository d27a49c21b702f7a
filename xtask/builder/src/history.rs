//! The last action that succeeded for each node, so that `explain` can say what changed since.

use crate::plan::Node;
use anyhow::Result;
use std::path::PathBuf;
use store::{Action, Digest, Entry, Store, Tree};

fn path(store: &Store, node: &Node) -> PathBuf {
    store.root().join("history").join(node.to_string())
}

/// Remembers the action of a node.
pub fn record(store: &Store, node: &Node, action: &Digest) -> Result<()> {
    store.write_note(&path(store, node), action.to_string().as_bytes())
}

/// The last action of a node, if one is remembered.
pub fn last(store: &Store, node: &Node) -> Option<Digest> {
    std::fs::read_to_string(path(store, node)).ok()?.parse().ok()
}

/// What differs between two actions, a line each; empty when they are equal.
pub fn differences(store: &Store, old: &Action, new: &Action) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    if old.arguments != new.arguments {
        lines.push(format!("command: {:?} -> {:?}", old.arguments, new.arguments));
    }
    for (what, old, new) in
        [("variable", &old.variables, &new.variables), ("property", &old.properties, &new.properties)]
    {
        for name in old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))) {
            if old.get(name) != new.get(name) {
                let show = |value: Option<&String>| value.map_or("(none)".to_owned(), Clone::clone);
                lines.push(format!("{what} {name}: {} -> {}", show(old.get(name)), show(new.get(name))));
            }
        }
    }
    if let (true, Some(old), Some(new)) = (old.input_root != new.input_root, old.input_root, new.input_root) {
        let (old, new) = (Tree::read(store, &old)?, Tree::read(store, &new)?);
        lines.extend(tree_differences(&old, &new));
    }
    Ok(lines)
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

    #[test]
    fn what_changed_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let action = |text: &str, variable: &str| {
            let mut tree = Tree::new();
            let digest = store.put_bytes(text.as_bytes()).unwrap();
            tree.insert("build.sh", Entry::File { digest, executable: false }).unwrap();
            Action {
                variables: [("TARGET".to_owned(), variable.to_owned())].into(),
                input_root: Some(tree.write(&store).unwrap()),
                ..Action::default()
            }
        };
        let lines = differences(&store, &action("a", "x"), &action("b", "y")).unwrap();
        assert_eq!(lines[0], "variable TARGET: x -> y");
        assert!(lines[1].starts_with("changed build.sh: ca978112ca1b -> 3e23e8160039"), "{lines:?}");
        assert!(differences(&store, &action("a", "x"), &action("a", "x")).unwrap().is_empty());
    }

    #[test]
    fn the_last_action_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let node = Node::new("hello", "x86_64-unknown-linux-gnu");
        assert_eq!(last(&store, &node), None);
        record(&store, &node, &Digest::of(b"1")).unwrap();
        record(&store, &node, &Digest::of(b"2")).unwrap();
        assert_eq!(last(&store, &node), Some(Digest::of(b"2")));
    }
}
