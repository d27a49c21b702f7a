//! Every command that writes, ended by SIGKILL at any moment: it says the same and leaves the same the next time.
//!
//! MLC_REPRO_KILLS is how often, where 20 times are too few: `MLC_REPRO_KILLS=1000 cargo test --test end_to_end kills`.

use crate::{
    aar::library,
    model::checkpoint,
    project::{Project, text},
};
use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use store::{Digest, Tree};

/// How often one command of a round is ended before it may go to its end.
const MOST_OF_ONE: u32 = 4;

/// What is left in the end: the release, the model and the repository, by their digests.
fn left(project: &Project) -> Vec<Digest> {
    let digest = |path: &str| {
        // Maven's index says when it was written.
        let tree = Tree::of_directory(&project.directory.path().join(path)).unwrap();
        let lines: String = tree
            .iter()
            .filter(|(path, _)| !path.contains("maven-metadata"))
            .map(|(path, entry)| format!("{path} {entry:?}\n"))
            .collect();
        Digest::of(lines.as_bytes())
    };
    ["dist/small", "converted", "repository"].map(digest).to_vec()
}

/// One command after the other in an empty store, each ended when `patience` says so, until it comes to its end. How long each took
/// the last time, and how often one was ended.
fn round(
    project: &Project,
    store: &Path,
    patience: &mut dyn FnMut(usize) -> Option<Duration>,
) -> (Vec<Duration>, u32) {
    for output in ["dist", "converted", "repository"] {
        let _ = std::fs::remove_dir_all(project.directory.path().join(output));
    }
    let commands: [&[&str]; 7] = [
        &["fetch"],
        &["environment", "build", "sandbox"],
        &["build", "garbage"],
        &["release", "small"],
        &["model", "convert", "checkpoint", "--quantization", "q4f16_1", "-o", "converted"],
        &["publish", "maven-local", "repository", "lib"],
        &["store", "gc"],
    ];
    let (mut durations, mut kills) = (Vec::new(), 0);
    for (index, arguments) in commands.iter().enumerate() {
        // What fetches nothing takes no options of fetching.
        let fetching: &[&str] =
            if arguments[0] == "store" { &[] } else { &["--offline", "--vendored", "vendored"] };
        let arguments = [fetching, *arguments].concat();
        let mut of_this = 0;
        let output = loop {
            let mut command = project.command(store, &arguments);
            let start = Instant::now();
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let Some(time) = patience(index).filter(|_| of_this < MOST_OF_ONE) else {
                let output = child.wait_with_output().unwrap();
                durations.push(start.elapsed());
                break output;
            };
            // When exactly does not matter: every moment must do.
            std::thread::sleep(time);
            child.kill().unwrap();
            child.wait().unwrap();
            (kills, of_this) = (kills + 1, of_this + 1);
        };
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    }
    let checked = project.command(store, &["store", "fsck"]).output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked));
    (durations, kills)
}

#[test]
fn what_is_killed_at_any_moment_is_done_right_the_next_time() {
    let wanted: u32 = std::env::var("MLC_REPRO_KILLS").map_or(20, |text| text.parse().unwrap());
    let project = Project::new();
    library(&project, "x86_64", 52);
    project.recipe("garbage", "", "head -c 5000000 /dev/urandom > /build/out/garbage\n");
    project.release("small", "lib");
    for (name, content) in checkpoint() {
        project.write(&format!("checkpoint/{name}"), "");
        std::fs::write(project.directory.path().join("checkpoint").join(name), content).unwrap();
    }
    assert!(project.run(&["vendor", "vendored"]).status.success());
    let store = || tempfile::tempdir().unwrap();
    let (durations, _) = round(&project, store().path(), &mut |_| None);
    let expected = left(&project);
    // Moments that are spread over each command: multiples of the golden ratio.
    let (mut kills, mut fraction) = (0, 0.0_f64);
    while kills < wanted {
        let store = store();
        let mut moment = |index: usize| {
            fraction = (fraction + 0.618_034) % 1.0;
            Some(durations[index].mul_f64(fraction))
        };
        kills += round(&project, store.path(), &mut moment).1;
        assert_eq!(left(&project), expected);
    }
}
