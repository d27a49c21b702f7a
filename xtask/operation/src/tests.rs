//! Releases, keys and garbage, with a backend that runs nothing.

use crate::{
    Effort, RebuildWatch, ReleaseOutcome, ReleaseRequest, Session, Verdict, collect_garbage,
    example::{Example, TARGET, far},
    explain, goals, inputs, make_release, rebuild,
};
use anyhow::Result;
use builder::{Node, Outcome, Project};
use release::{Manifest, Missing, Wanted};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    time::Duration,
};
use store::{Digest, Silent};

fn node(recipe: &str) -> Node {
    Node::parse(recipe, TARGET).unwrap()
}

fn waiting(recipe: &str) -> Missing {
    Missing { wanted: Wanted::Step(node(recipe)), waits_for: vec!["far".into()] }
}

fn make(session: &Session<'_>, name: &str, effort: Effort) -> ReleaseOutcome {
    let destination = session.project.root.join("dist").join(name);
    let request = ReleaseRequest { name, effort, left_out: &[], destination: &destination };
    let outcome = make_release(session, &request).unwrap();
    said(&outcome);
    outcome
}

/// `built`, `failed` or `skipped` for each recipe of a plan.
fn said(outcome: &ReleaseOutcome) -> Vec<String> {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Built(_) => "built",
        Outcome::Failed(error) => {
            // Shown with a test that fails.
            println!("{error:#}");
            "failed"
        }
        Outcome::Skipped(_) => "skipped",
    };
    let nodes = outcome.plan.nodes.iter().zip(&outcome.outcomes);
    nodes.map(|(node, outcome)| format!("{} {}", node.recipe, word(outcome))).collect()
}

/// The address of a server that answers every request with these bytes, or never.
fn server(answer: Option<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/far", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            if let Some(answer) = &answer {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let _ = stream.write_all(answer);
            } else {
                open.push(stream);
            }
        }
    });
    url
}

fn status(status: u16) -> String {
    let head =
        format!("HTTP/1.1 {status} Test\r\nConnection: close\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n");
    server(Some(head.into_bytes()))
}

fn content(content: Vec<u8>) -> String {
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", content.len());
    server(Some([head.into_bytes(), content].concat()))
}

/// An address at which nobody listens (tcpmux, which no machine has any more).
fn nobody() -> String {
    "http://127.0.0.1:1/far".to_owned()
}

#[test]
fn an_input_that_can_not_be_had_is_waited_for_whatever_keeps_it_away() {
    let (mut longer, mut other) = (far(), far());
    longer.push(0);
    other[0] ^= 1;
    let ways = [
        ("not found", status(404)),
        ("forbidden", status(403)),
        ("a server at fault", status(500)),
        ("a busy server", status(503)),
        ("refused", nobody()),
        ("no such host", "http://mlc-repro.invalid/far".to_owned()),
        ("no answer", server(None)),
        ("another size", content(longer)),
        ("another content", content(other)),
    ];
    // Some are tried again, or waited for: all at once.
    std::thread::scope(|scope| {
        for (why, url) in &ways {
            scope.spawn(|| waited_for(why, url));
        }
    });
}

fn waited_for(why: &str, url: &str) {
    let example = Example::new();
    let project = example.project(url);
    example.with(&project, |mut session| {
        session.fetch.patience = Duration::from_millis(300);
        let stopped = make(&session, "small", Effort::Stop);
        assert!(stopped.release.is_none(), "{why}");
        let outcome = make(&session, "small", Effort::KeepGoing);
        assert!(outcome.release.is_none(), "{why}");
        assert_eq!(outcome.unavailable, [waiting("waits"), waiting("after")], "{why}");
        assert_eq!(said(&outcome), ["whole built", "waits failed", "after skipped"], "{why}");
        let outcome = make(&session, "small", Effort::Partial);
        let (manifest, _) = outcome.release.unwrap_or_else(|| panic!("no release: {why}"));
        assert_eq!(manifest.missing, [waiting("after"), waiting("waits")], "{why}");
        assert_eq!(manifest.artifacts.len(), 1, "{why}");
    });
}

#[test]
fn an_input_that_is_had_is_waited_for_no_more() {
    let example = Example::new();
    let project = example.project(&content(far()));
    example.with(&project, |session| {
        let (manifest, _) = make(&session, "small", Effort::Stop).release.unwrap();
        assert_eq!((manifest.artifacts.len(), manifest.missing.len()), (3, 0));
    });
}

#[test]
fn what_has_no_place_on_the_disk_is_not_begun() {
    let example = Example::new();
    let mut project = example.project(&nobody());
    let far = project.inputs.inputs.iter_mut().find(|input| input.name == "far").unwrap();
    far.digest.size = u64::MAX / 2;
    example.with(&project, |session| {
        let destination = example.path().join("dist/small");
        let effort = Effort::KeepGoing;
        let request = ReleaseRequest { name: "small", effort, left_out: &[], destination: &destination };
        let error = make_release(&session, &request).err().unwrap();
        assert!(error.to_string().contains(" MB are needed: 1 file to fetch"), "{error}");
        assert!(store::hints(&error).any(|hint| hint.contains("--store")));
    });
}

#[test]
fn a_server_that_does_not_answer_is_told_before_anything_is_built() {
    for url in [nobody(), "http://mlc-repro.invalid/far".to_owned()] {
        let example = Example::new();
        let project = example.project(&url);
        example.with(&project, |session| {
            let outcome = make(&session, "small", Effort::Stop);
            assert_eq!(said(&outcome), ["whole skipped", "waits failed", "after skipped"]);
            assert_eq!(outcome.unavailable, [waiting("waits"), waiting("after")]);
        });
    }
}

#[test]
fn what_fails_is_not_left_out() {
    let example = Example::new();
    let project = example.project(&nobody());
    example.release("sound", &["broken", "whole"]);
    example.with(&project, |session| {
        let outcome = make(&session, "sound", Effort::Stop);
        assert_eq!(said(&outcome), ["broken failed", "whole skipped"]);
        for effort in [Effort::KeepGoing, Effort::Partial] {
            let outcome = make(&session, "sound", effort);
            assert_eq!(said(&outcome), ["broken failed", "whole built"]);
            assert!(outcome.release.is_none() && outcome.unavailable.is_empty());
        }
        assert!(!example.path().join("dist/sound").exists());
    });
}

#[test]
fn what_was_left_out_is_left_out_again_and_named() {
    let example = Example::new();
    let project = example.project(&nobody());
    example.with(&project, |mut session| {
        session.fetch.offline = true;
        let (manifest, _) = make(&session, "small", Effort::Partial).release.unwrap();
        // A rebuild tries nothing of it.
        let request = ReleaseRequest {
            name: "small",
            effort: Effort::Stop,
            left_out: &manifest.missing,
            destination: &example.path().join("again"),
        };
        let outcome = make_release(&session, &request).unwrap();
        assert_eq!(said(&outcome), ["whole built"]);
        assert_eq!(outcome.release.unwrap().0, manifest);
    });
}

#[test]
fn garbage_is_what_no_release_and_no_lock_reaches() {
    let example = Example::new();
    let project = example.project(&content(far()));
    example.with(&project, |session| {
        let store = session.store;
        let (manifest, _) = make(&session, "small", Effort::Stop).release.unwrap();
        let stray = store.put_bytes(b"nobody asks for it").unwrap();
        let archives: Vec<Digest> =
            manifest.artifacts.iter().map(|it| it.archive.digest().unwrap()).collect();
        let package = project.environment("linux").unwrap().1.inputs[0].digest;
        let collect = |dry_run| {
            collect_garbage(&project, store, &store::Retention::default(), dry_run, &Silent).unwrap()
        };

        let would = collect(true);
        assert!(store.contains(&stray) && would.blobs > 0, "looking removes nothing");
        assert_eq!(collect(false).blobs, would.blobs);
        assert!(!store.contains(&stray));
        for digest in archives.iter().chain([&package, &Digest::of(&far())]) {
            assert!(store.contains(digest), "{digest}");
        }
        let again = make(&session, "small", Effort::Stop);
        let is_cached = |outcome: &Outcome| matches!(outcome, Outcome::Built(built) if built.cached);
        assert!(again.outcomes.iter().all(is_cached), "what a release holds is not built again");

        // Without the release, its artifacts go; what the locks name stays.
        store.remove_root("small").unwrap();
        collect(false);
        assert!(archives.iter().all(|digest| !store.contains(digest)));
        assert!(store.contains(&package) && store.contains(&Digest::of(&far())));
    });
}

#[test]
fn a_node_is_explained_by_what_is_known_of_it() {
    let example = Example::new();
    let project = example.project(&nobody());
    let verdict = |project: &Project, recipe: &str| {
        let explanation = explain(project, &example.store, &node(recipe)).unwrap();
        (explanation.verdict, explanation.changes, explanation.needs)
    };
    let (unknown, _, needs) = verdict(&project, "whole");
    assert_eq!(unknown, Verdict::Unknown);
    assert_eq!(needs, ["the environment `linux`, which is not assembled"]);
    example.release("one", &["whole"]);
    example.with(&project, |session| assert!(make(&session, "one", Effort::Stop).release.is_some()));
    assert_eq!(verdict(&project, "whole").0, Verdict::Cached);
    example.recipe("whole", "", "", "make otherwise");
    let (changed, changes, _) = verdict(&example.project(&nobody()), "whole");
    assert_eq!(changed, Verdict::Changed);
    assert!(changes.len() == 1 && changes[0].starts_with("changed recipe.sh: "), "{changes:?}");
    let (unknown, _, needs) = verdict(&project, "after");
    assert_eq!((unknown, needs.len()), (Verdict::Unknown, 1));
}

#[test]
fn goals_have_short_names_and_near_ones() {
    let project = Example::new().project(&nobody());
    let goals = |text: &str| goals(&project, &[text.to_owned()]);
    for text in ["whole", "whole@linux", "whole@x86_64-unknown-linux-gnu"] {
        assert_eq!(goals(text).unwrap(), [node("whole")]);
    }
    for (text, expected) in [
        ("whol", "there is no recipe `whol`; did you mean `whole`?"),
        ("whole@windows", "recipe `whole` has no target `windows`; it has `x86_64-unknown-linux-gnu`"),
        (
            "whole@x86_64-linux-gnu",
            "recipe `whole` has no target `x86_64-linux-gnu`; did you mean `x86_64-unknown-linux-gnu`?",
        ),
    ] {
        assert_eq!(goals(text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_release_is_made_from_what_its_recipes_name() {
    let example = Example::new();
    let project = example.project(&nobody());
    // Every environment is built in with the tools of `sandbox`.
    for end in ["toml", "lock"] {
        let text =
            std::fs::read_to_string(example.path().join("containers/linux").with_extension(end)).unwrap();
        example.write(&format!("containers/sandbox.{end}"), &text);
    }
    let names = |release| -> Vec<String> {
        inputs(&project, release).unwrap().inputs.into_iter().map(|input| input.name).collect()
    };
    assert_eq!(names(Some("small")), ["far", "tiny"]);
    example.release("one", &["whole"]);
    assert_eq!(names(Some("one")), ["tiny"]);
    let error = inputs(&project, Some("smal")).err().unwrap().to_string();
    assert_eq!(error, "there is no release `smal`; did you mean `small`?");
}

/// What was told about a rebuild.
#[derive(Default)]
struct Watch {
    made: Vec<String>,
    looked: usize,
}

impl RebuildWatch for Watch {
    fn made(&mut self, name: &str, outcome: &ReleaseOutcome) {
        assert_eq!(name, "small");
        self.made = said(outcome);
    }

    fn look(&mut self, rebuilt: &Path, manifest: &Manifest) -> Result<()> {
        assert!(rebuilt.join(&manifest.artifacts[0].archive.path).is_file());
        self.looked += 1;
        Ok(())
    }
}

#[test]
fn a_rebuild_gives_the_same_bytes_or_says_what_differs() {
    let example = Example::new();
    for end in ["toml", "lock"] {
        let text =
            std::fs::read_to_string(example.path().join("containers/linux").with_extension(end)).unwrap();
        example.write(&format!("containers/sandbox.{end}"), &text);
    }
    let project = example.project(&content(far()));
    example.with(&project, |session| {
        make(&session, "small", Effort::Stop).release.unwrap();
        let directory = example.path().join("dist/small");
        let mut watch = Watch::default();
        let problems = rebuild(&session, &directory, &mut watch).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(watch.looked, 1);
        assert_eq!(watch.made, ["whole built", "waits built", "after built"]);
        let text = std::fs::read_to_string(directory.join("release.json")).unwrap();
        let manifest: Manifest = serde_json::from_str(&text).unwrap();
        let archive = directory.join(&manifest.artifacts[0].archive.path);
        std::fs::remove_file(&archive).unwrap();
        std::fs::write(&archive, "something else").unwrap();
        let problems = rebuild(&session, &directory, &mut Watch::default()).unwrap();
        assert!(
            problems.iter().any(|problem| problem.file == manifest.artifacts[0].archive.path),
            "{problems:?}"
        );
    });
}
