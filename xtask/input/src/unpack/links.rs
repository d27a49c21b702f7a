//! Where the links of a tree lead, each followed through all others as a kernel would.

use anyhow::{Result, ensure};
use store::{Entry, Tree};

/// How many links one path may go through (Linux: 40). One that goes through more leads nowhere.
const MOST_STEPS: usize = 40;

/// # Errors
/// If a link leads out of the tree, directly or by way of another one.
pub fn check(tree: &Tree) -> Result<()> {
    for (path, entry) in tree.iter() {
        if let Entry::Symlink { target } = entry {
            ensure!(
                stays(tree, path, target),
                "the link `{}` leaves the archive by way of another link: {}",
                path.escape_debug(),
                target.escape_debug()
            );
        }
    }
    Ok(())
}

/// Whether the link at `path` leads to a place of the tree, or to none.
fn stays(tree: &Tree, path: &str, target: &str) -> bool {
    let parts = |text: &str| -> Vec<String> {
        text.split('/').filter(|part| !matches!(*part, "" | ".")).rev().map(str::to_owned).collect()
    };
    let mut place: Vec<String> = parts(path).into_iter().rev().collect();
    place.pop();
    // What is still to be walked, the next part last.
    let mut rest = parts(target);
    let mut steps = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            if place.pop().is_none() {
                return false;
            }
            continue;
        }
        place.push(part);
        if let Some(Entry::Symlink { target }) = tree.get(&place.join("/")) {
            steps += 1;
            if steps > MOST_STEPS {
                return true;
            }
            if target.starts_with('/') {
                return false;
            }
            place.pop();
            rest.extend(parts(target));
        }
    }
    true
}
