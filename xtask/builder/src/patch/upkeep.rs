//! `cargo xtask patch check` and `refresh`: all patches against the locked sources, without building anything.

use super::{apply, check_header, edit, header, hunk, list, text};
use crate::{
    project::Project,
    recipe::{Recipe, Source},
    resolve::unpack,
};
use anyhow::{Context, Result, ensure};
use diffy::Patch;
use input::{Unavailable, write_repository_file};
use serde::Serialize;
use std::{collections::BTreeSet, path::Path};
use store::{Hinted, Store, Tree, hinted};

/// What became of a patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Patched {
    /// `patches/SOURCE/NAME.patch`.
    pub patch: String,
    /// The input that it is for.
    pub input: String,
    /// What is wrong with it; nothing when it applies.
    pub problem: Option<String>,
    /// What to do about the problem.
    pub hints: Vec<String>,
    /// What was changed in it, a line each.
    pub changes: Vec<String>,
    /// Why it could not be tried: its source is not locked yet.
    pub untried: Option<String>,
}

/// Applies every patch strictly to what each recipe takes of its source, and gives what became of each. `names` are
/// directories below `patches/`; all when empty. Nothing is downloaded.
///
/// Errors: there is no such directory; no recipe uses one.
pub fn check(project: &Project, store: &Store, names: &[String]) -> Result<Vec<Patched>> {
    let mut all = Vec::new();
    for name in directories(project, names)? {
        for source in users(project, &name)? {
            all.extend(run(project, store, &name, source, &mut |tree, shown, _, patch| {
                apply(store, tree, shown, patch)?;
                Ok(Vec::new())
            })?);
        }
    }
    // Recipes that take different parts of a source use the same patches.
    let mut seen = BTreeSet::new();
    all.retain(|patched: &Patched| seen.insert((patched.patch.clone(), patched.problem.clone())));
    Ok(all)
}

/// Writes patches anew whose hunks are elsewhere in the locked sources, or have other lines around them, as far as there is one
/// place only where they fit. Headers stay as they are. One that does not fit stays untouched, and so do those after it.
pub fn refresh(project: &Project, store: &Store, names: &[String]) -> Result<Vec<Patched>> {
    let mut all = Vec::new();
    for name in directories(project, names)? {
        // Recipes take different parts of the same source; `check` tells when one lacks a file.
        if let Some(source) = users(project, &name)?.into_iter().next() {
            all.extend(run(project, store, &name, source, &mut |tree, shown, path, patch| {
                let old = text(shown, patch)?;
                check_header(shown, old)?;
                let before = tree.clone();
                let (new, changes) = renew(store, tree, shown, old)?;
                if new != old {
                    // What is written is what a build takes, to the same end.
                    let mut strict = before;
                    apply(store, &mut strict, shown, new.as_bytes())?;
                    ensure!(strict == *tree, "patch {shown}, written anew, does something else");
                    write_repository_file(path, &new)?;
                }
                Ok(changes)
            })?);
        }
    }
    Ok(all)
}

/// The directories of `patches/` that were asked for.
fn directories(project: &Project, names: &[String]) -> Result<Vec<String>> {
    let root = project.root.join("patches");
    let mut known = Vec::new();
    for entry in std::fs::read_dir(&root).with_context(|| format!("cannot list {}", root.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            known.extend(entry.file_name().to_str().map(str::to_owned));
        }
    }
    known.sort();
    for name in names {
        let names = known.iter().map(String::as_str);
        ensure!(known.contains(name), store::Unknown::new("directory of patches/ named", name, names));
    }
    known.retain(|name| names.is_empty() || names.contains(name));
    Ok(known)
}

/// The sources that use a directory of patches, each kind once.
fn users<'a>(project: &'a Project, directory: &str) -> Result<Vec<&'a Source>> {
    let of = |recipe: &'a Recipe| {
        recipe.sources.iter().chain(recipe.targets.iter().flat_map(|target| &target.sources))
    };
    let mut users: Vec<&Source> = Vec::new();
    for source in project.recipes.values().flat_map(of) {
        let is_new = |other: &&Source| {
            (&other.input, other.strip, &other.subtrees) != (&source.input, source.strip, &source.subtrees)
        };
        if source.patches.as_deref() == Some(directory) && users.iter().all(is_new) {
            users.push(source);
        }
    }
    ensure!(
        !users.is_empty(),
        hinted(format!("no recipe uses patches/{directory}"), "name it in a `[[source]]`, or remove it")
    );
    Ok(users)
}

/// What is done with a patch: given are the source so far, the patch's name and path, and its text; it gives what it changed.
type Each<'a> = dyn FnMut(&mut Tree, &str, &Path, &[u8]) -> Result<Vec<String>> + 'a;

/// Does something with each patch of a directory in turn, up to the first that has a problem: those after it may build on it.
fn run(
    project: &Project,
    store: &Store,
    directory: &str,
    source: &Source,
    each: &mut Each<'_>,
) -> Result<Vec<Patched>> {
    let name = source.input.as_deref().context("patches are for inputs")?;
    let mut tree = source_tree(project, store, name, source);
    let mut all = Vec::new();
    for path in list(&project.root.join("patches").join(directory))? {
        let shown = format!("patches/{directory}/{}", path.file_name().unwrap_or_default().display());
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let result = match &mut tree {
            Ok(Some(tree)) => each(tree, &shown, &path, &bytes),
            Ok(None) => check_header(&shown, text(&shown, &bytes)?).map(|()| Vec::new()),
            Err(error) => Err(Hinted::copy_of(error).into()),
        };
        let untried = matches!(tree, Ok(None)).then(|| format!("`{name}` is not locked yet"));
        let (changes, problem, hints) = match result {
            Ok(changes) => (changes, None, Vec::new()),
            Err(error) => {
                (Vec::new(), Some(format!("{error:#}")), store::hints(&error).map(str::to_owned).collect())
            }
        };
        let stop = problem.is_some();
        all.push(Patched { patch: shown, input: name.to_owned(), problem, hints, changes, untried });
        if stop {
            break;
        }
    }
    Ok(all)
}

/// What a recipe takes of an input. Nothing when it is not locked yet. Errors: the store does not have it.
fn source_tree(project: &Project, store: &Store, name: &str, source: &Source) -> Result<Option<Tree>> {
    let input = match project.input(name) {
        Ok(input) => input,
        Err(error) if error.is::<Unavailable>() => return Ok(None),
        Err(error) => return Err(error),
    };
    ensure!(
        store.contains(&input.digest),
        hinted(format!("`{name}` is not in the store"), format!("run `cargo xtask fetch {name}`"))
    );
    unpack(project, store, source, name).map(Some)
}

/// A patch with its hunks at the places where they are found, and what changed. The tree is changed as it says.
fn renew(store: &Store, tree: &mut Tree, name: &str, old: &str) -> Result<(String, Vec<String>)> {
    let (mut hunks, mut changes) = (Vec::new(), Vec::new());
    edit(store, tree, name, old, &mut |path: &str, text: &str, patch: &Patch<'_, str>| {
        let (new, renewed) =
            hunk::renew(text, patch).with_context(|| format!("patch {name} does not fit `{path}`"))?;
        for (hunk, renewed) in patch.hunks().iter().zip(renewed) {
            changes.extend(renewed.change.map(|change| format!("{path}: {change}")));
            hunks.push((hunk.old_range().len(), hunk.new_range().len(), renewed.text));
        }
        Ok(new)
    })?;
    Ok((with_hunks(old, hunks), changes))
}

/// A patch with other hunks in the place of its own; each stands with the numbers of old and new lines that the patch has
/// for it. What Git says of the contents of a file (`index`) is left out where a hunk changes: it is about another one.
fn with_hunks(old: &str, hunks: Vec<(usize, usize, String)>) -> String {
    let start = header(old).len();
    let mut kept = vec![old[..start].to_owned()];
    let mut lines = old[start..].split_inclusive('\n').peekable();
    let mut hunks = hunks.into_iter();
    let mut index = None;
    while let Some(line) = lines.next() {
        if line.starts_with("diff --git ") {
            index = None;
        } else if line.starts_with("index ") {
            index = Some(kept.len());
        }
        if !line.starts_with("@@ -") {
            kept.push(line.to_owned());
            continue;
        }
        let Some((mut before, mut after, text)) = hunks.next() else { break };
        let mut body = line.to_owned();
        while let Some(line) = lines.next_if(|line| before > 0 || after > 0 || line.starts_with('\\')) {
            let sign = line.chars().next().unwrap_or(' ');
            before -= usize::from(!matches!(sign, '+' | '\\')).min(before);
            after -= usize::from(!matches!(sign, '-' | '\\')).min(after);
            body.push_str(line);
        }
        if body != text
            && let Some(index) = index.take()
        {
            kept.remove(index);
        }
        kept.push(text);
    }
    kept.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "Speak up\n\nWhy: nobody heard.\nUpstream: not sent.\n\n\
        diff --git a/hello.c b/hello.c\nindex 111..222 100644\n--- a/hello.c\n+++ b/hello.c\n\
        @@ -1,3 +1,3 @@ int main\n one\n-two\n+TWO\n three\n";

    /// A repository with one recipe, whose source is a directory of this machine, and one patch for it.
    struct Place {
        directory: tempfile::TempDir,
        store: Store,
    }

    impl Place {
        fn new(source: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path();
            for name in ["recipes/packages/hello", "patches/hello", "source"] {
                std::fs::create_dir_all(root.join(name)).unwrap();
            }
            let recipe = "name = \"hello\"\nversion = \"1\"\n[[source]]\ninput = \"hello\"\nstrip = 1\npath = \"hello\"\npatches = \"hello\"\n\
                [[target]]\ntriple = \"x86_64-unknown-linux-gnu\"\nenvironment = \"linux\"\n";
            std::fs::write(root.join("recipes/packages/hello/recipe.toml"), recipe).unwrap();
            std::fs::write(root.join("recipes/inputs.lock"), "version = 1\n").unwrap();
            std::fs::write(root.join("patches/hello/0001-speak-up.patch"), PATCH).unwrap();
            std::fs::write(root.join("source/hello.c"), source).unwrap();
            let store = Store::open(&root.join("store")).unwrap();
            Self { directory, store }
        }

        fn project(&self) -> Project {
            let mut project = Project::load(self.directory.path()).unwrap();
            let source = self.directory.path().join("source");
            assert!(!project.give(&self.store, "hello", &source).unwrap(), "nobody pins it");
            project
        }

        fn check(&self) -> Option<String> {
            check(&self.project(), &self.store, &[]).unwrap().remove(0).problem
        }

        fn patch(&self) -> String {
            std::fs::read_to_string(self.directory.path().join("patches/hello/0001-speak-up.patch")).unwrap()
        }
    }

    #[test]
    fn a_patch_that_applies_is_left_alone() {
        let place = Place::new("one\ntwo\nthree\n");
        assert_eq!(place.check(), None);
        let refreshed = refresh(&place.project(), &place.store, &[]).unwrap();
        assert!(refreshed[0].changes.is_empty() && refreshed[0].problem.is_none(), "{refreshed:?}");
        assert_eq!(place.patch(), PATCH);
    }

    #[test]
    fn a_patch_for_other_lines_is_refused_and_refreshed() {
        let place = Place::new("zero\none\ntwo\nthree\nfour\n");
        let problem = place.check().unwrap();
        assert!(problem.contains("0001-speak-up.patch does not apply to `hello.c`"), "{problem}");
        assert!(problem.contains("hunk 1: it says line 1, and fits at line 2"), "{problem}");
        let refreshed = refresh(&place.project(), &place.store, &["hello".into()]).unwrap();
        assert_eq!(refreshed[0].changes, ["hello.c: line 1 is line 2 now"]);
        let expected = PATCH.replace("-1,3 +1,3", "-2,3 +2,3").replace("index 111..222 100644\n", "");
        assert_eq!(place.patch(), expected, "header and function stay, Git's digests go");
        assert_eq!(place.check(), None);
    }

    #[test]
    fn what_fits_nowhere_stays_as_it_is() {
        let place = Place::new("quite\nsomething\nelse\n");
        let refreshed = refresh(&place.project(), &place.store, &[]).unwrap();
        let problem = refreshed[0].problem.as_deref().unwrap();
        assert!(problem.contains("hunk 1: line 1 is `quite`, and the patch expects `one`"), "{problem}");
        assert_eq!(place.patch(), PATCH);
    }

    #[test]
    fn what_nobody_uses_and_what_is_not_there_is_named() {
        let place = Place::new("one\ntwo\nthree\n");
        let error = check(&place.project(), &place.store, &["bye".into()]).unwrap_err().to_string();
        assert_eq!(error, "there is no directory of patches/ named `bye`; there is `hello`");
        std::fs::create_dir(place.directory.path().join("patches/unused")).unwrap();
        let error = check(&place.project(), &place.store, &[]).unwrap_err().to_string();
        assert!(error.starts_with("no recipe uses patches/unused"), "{error}");
    }

    #[test]
    fn a_source_that_is_not_locked_yet_leaves_the_header_to_check() {
        let place = Place::new("one\ntwo\nthree\n");
        let lock = place.directory.path().join("recipes/inputs.lock");
        std::fs::write(&lock, "version = 1\npending = [\"hello\"]\n").unwrap();
        let project = Project::load(place.directory.path()).unwrap();
        let patched = check(&project, &place.store, &[]).unwrap().remove(0);
        assert_eq!((patched.problem, patched.untried.as_deref()), (None, Some("`hello` is not locked yet")));
        let path = place.directory.path().join("patches/hello/0001-speak-up.patch");
        std::fs::write(path, PATCH.replace("Upstream", "Elsewhere")).unwrap();
        let problem = check(&project, &place.store, &[]).unwrap().remove(0).problem.unwrap();
        assert!(problem.contains("has no `Upstream:`"), "{problem}");
    }
}
