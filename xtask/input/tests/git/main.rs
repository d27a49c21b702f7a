//! Git inputs from a real Git server on this machine, as upstreams are and as they become.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

#[path = "../place/mod.rs"]
mod place;
mod server;

use input::{FetchOptions, Input, Intent, Lock, Part, Source, check, fetch, unpack, update, vendor};
use place::Place;
use server::{Repository, Server};
use std::{os::unix::fs::PermissionsExt, path::PathBuf};
use store::{Digest, Entry, Silent};

impl Place {
    /// `lock update` of an intent with one Git input; the lock, if it is whole.
    fn lock(&self, url: &str, revision: &str, submodules: &[&str]) -> Result<Lock, String> {
        let path = self.directory.path().join("inputs.toml");
        let text = format!(
            "[[input]]\nname = \"thing\"\nkind = \"git\"\nurl = \"{url}\"\nrevision = \"{revision}\"\nsubmodules = {submodules:?}\n"
        );
        std::fs::write(&path, text).unwrap();
        let intent = Intent { path };
        update(&self.store, &intent, &FetchOptions::default(), &Silent)
            .map_err(|error| input::full_text(&error))?;
        check(&intent).map_err(|error| input::full_text(&error))?;
        Ok(Lock::load(&intent.lock_path()).unwrap())
    }

    fn fetch(&self, input: &Input, options: &FetchOptions) -> Result<(), String> {
        fetch(&self.store, &[input], options, &Silent).map_err(|error| input::full_text(&error))
    }

    fn read(&self, input: &Input, path: &str) -> Option<(String, bool)> {
        let tree = unpack(&self.store, &input.digest, input.format(), &Part::default()).unwrap();
        match tree.get(path)? {
            Entry::File { digest, executable } => {
                Some((String::from_utf8(self.store.read(digest).unwrap()).unwrap(), *executable))
            }
            Entry::Symlink { target } => Some((format!("-> {target}"), false)),
            Entry::Directory => Some(("(empty)".to_owned(), false)),
        }
    }
}

fn online() -> FetchOptions {
    FetchOptions::default()
}

/// A repository with a program, a link, an attribute that would change a checkout, and two submodules.
fn upstream(server: &Server) -> (Repository, Repository, String) {
    let part = server.repository("part");
    part.write("part.txt", "part\n");
    let part_revision = part.commit("part");
    let main = server.repository("main");
    main.write("run.sh", "true\n");
    std::fs::set_permissions(main.path("run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    main.write(".gitattributes", "*.txt text eol=crlf export-subst\nhidden export-ignore\n");
    main.write("text.txt", "$Format:%H$\n");
    main.write("hidden", "is there\n");
    std::os::unix::fs::symlink("text.txt", main.path("link")).unwrap();
    main.add_submodule("deps/part", "../part", &part_revision);
    main.add_submodule("deps/unwanted", "https://nowhere.invalid/x", &part_revision);
    let revision = main.commit("first");
    (main, part, revision)
}

#[test]
fn a_revision_is_locked_fetched_and_unpacked_with_the_submodules_that_are_wanted() {
    let (server, place) = (Server::start(), Place::new());
    let (_, _, revision) = upstream(&server);
    let lock = place.lock(&server.url("main"), &revision, &["deps/part"]).unwrap();
    let input = lock.get("thing").unwrap();
    let Source::Git { submodules, .. } = &input.source else { panic!("{input:?}") };
    assert_eq!((submodules.len(), submodules[0].url.clone()), (1, server.url("part")));

    let other = Place::new();
    other.fetch(input, &online()).unwrap();
    for (path, expected) in [
        ("run.sh", ("true\n", true)),
        ("text.txt", ("$Format:%H$\n", false)),
        ("hidden", ("is there\n", false)),
        ("link", ("-> text.txt", false)),
        ("deps/part/part.txt", ("part\n", false)),
        ("deps/unwanted", ("(empty)", false)),
    ] {
        let (text, executable) = other.read(input, path).unwrap();
        assert_eq!((text.as_str(), executable), expected, "{path}");
    }
}

#[test]
fn a_branch_that_moved_changes_nothing_and_one_that_was_rewritten_is_told() {
    let (server, place) = (Server::start(), Place::new());
    let (main, _, revision) = upstream(&server);
    let input = place.lock(&server.url("main"), &revision, &[]).unwrap().inputs.remove(0);
    let vendored = place.directory.path().join("vendored");
    vendor(&place.store, &[&input], &vendored, &Silent).unwrap();

    main.write("text.txt", "newer\n");
    main.commit("second");
    Place::new().fetch(&input, &online()).unwrap();

    // The branch is rewritten, and what nobody names is collected.
    main.git(&["checkout", "--quiet", "--orphan", "other"]);
    main.commit("another history");
    main.git(&["branch", "--force", "main", "HEAD"]);
    main.git(&["reflog", "expire", "--expire=now", "--all"]);
    main.git(&["gc", "--quiet", "--prune=now"]);
    let error = Place::new().fetch(&input, &online()).unwrap_err();
    for expected in ["cannot fetch `thing`", &revision, "if the branch was rewritten", "--vendored DIR"] {
        assert!(error.contains(expected), "{expected}: {error}");
    }

    let offline = FetchOptions { offline: true, vendored: Some(vendored), ..online() };
    let other = Place::new();
    other.fetch(&input, &offline).unwrap();
    assert_eq!(other.read(&input, "text.txt").unwrap().0, "$Format:%H$\n");
}

#[test]
fn a_submodule_that_vanished_is_named() {
    let (server, place) = (Server::start(), Place::new());
    let (_, _, revision) = upstream(&server);
    let input = place.lock(&server.url("main"), &revision, &["deps/part"]).unwrap().inputs.remove(0);
    std::fs::remove_dir_all(server.path("part")).unwrap();
    let error = Place::new().fetch(&input, &online()).unwrap_err();
    for expected in ["cannot fetch the submodule `deps/part`", "the repository is gone", "--input NAME=DIR"] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn a_tree_that_is_not_the_locked_one_is_refused() {
    let (server, place) = (Server::start(), Place::new());
    let (_, _, revision) = upstream(&server);
    let input = place.lock(&server.url("main"), &revision, &["deps/part"]).unwrap().inputs.remove(0);
    let Source::Git { url, revision, submodules, tree } = &input.source else { panic!("{input:?}") };
    let with = |submodules: &Vec<input::Submodule>, tree: &Digest| {
        let (url, revision, submodules) = (url.clone(), revision.clone(), submodules.clone());
        let source = Source::Git { url, revision, submodules, tree: *tree };
        Place::new().fetch(&Input { source, ..input.clone() }, &online()).unwrap_err()
    };
    let error = with(submodules, &Digest::of(b"another tree"));
    assert!(error.contains("somebody has made another tree for the same commit"), "{error}");
    let mut other = submodules.clone();
    other[0].revision = "0".repeat(40);
    let error = with(&other, tree);
    assert!(error.contains("the submodule `deps/part` is at"), "{error}");
    other[0].path = "deps/none".to_owned();
    let error = with(&other, tree);
    assert!(error.contains("those there are: deps/part, deps/unwanted"), "{error}");
}

#[test]
fn what_leads_out_of_a_tree_is_refused() {
    let (server, place) = (Server::start(), Place::new());
    let main = server.repository("main");
    std::os::unix::fs::symlink("../../etc/passwd", main.path("link")).unwrap();
    let revision = main.commit("link");
    let input = place.lock(&server.url("main"), &revision, &[]).unwrap().inputs.remove(0);
    let error = unpack(&place.store, &input.digest, input.format(), &Part::default()).unwrap_err();
    assert!(format!("{error:#}").contains("leaves the archive"), "{error:#}");
}

#[test]
fn what_is_out_of_reach_stays_pending_and_what_is_wrong_is_told() {
    let (server, place) = (Server::start(), Place::new());
    let (_, _, revision) = upstream(&server);
    let lock = place.lock(&server.url("nothing"), &revision, &[]).unwrap();
    assert_eq!((lock.inputs.len(), lock.pending.as_slice()), (0, &["thing".to_owned()][..]));
    let text = std::fs::read_to_string(place.directory.path().join("inputs.lock")).unwrap();
    assert!(text.contains("pending = [\"thing\"]"), "{text}");
    let error = place.lock(&server.url("main"), &revision, &["deps/none"]).unwrap_err();
    assert!(
        error.contains("`deps/none` is not a submodule of `thing`; those there are: deps/part"),
        "{error}"
    );
    let error = place.lock(&server.url("main"), "main", &[]).unwrap_err();
    assert!(error.contains("give all 40 digits of the commit"), "{error}");
    // It is locked as soon as it answers.
    let lock = place.lock(&server.url("main"), &revision, &[]).unwrap();
    assert_eq!((lock.inputs.len(), lock.pending.len()), (1, 0));
    let nowhere: PathBuf = place.directory.path().join("nowhere");
    let offline = FetchOptions { offline: true, vendored: Some(nowhere), ..online() };
    let error = Place::new().fetch(&lock.inputs[0], &offline).unwrap_err();
    assert!(error.contains("is not a vendored directory"), "{error}");
}
