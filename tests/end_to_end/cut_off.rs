//! Publishing and signing that are cut off by SIGKILL: at every request that a server sees, and at many moments where there is no
//! server. Nothing is there half, nothing is lost, and the next run leaves what an undisturbed one leaves.
//!
//! MLC_REPRO_KILLS=1000, as for the other commands, tries each request; else each third is tried.

use crate::{
    oci::{files, released},
    project::{Project, TARGET, shared_store, text},
    publishing::{Hub, TOKEN, converted},
    registry::{Access, Registry},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Of how many moments one is tried.
fn stride() -> usize {
    if std::env::var_os("MLC_REPRO_KILLS").is_some() { 1 } else { 3 }
}

fn finish(command: &mut Command) -> Duration {
    let start = Instant::now();
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    start.elapsed()
}

/// Ends a command as soon as `is_due`; whether it was still there.
fn cut(command: &mut Command, is_due: &dyn Fn() -> bool) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !is_due() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
    let was_there = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    was_there
}

#[test]
fn a_release_that_was_cut_off_on_its_way_to_a_registry_goes_on() {
    let project = released();
    for arguments in
        [&["attest", "keygen", "a", "--no-passphrase"][..], &["attest", "dist/small", "--key", "a.pem"]]
    {
        finish(&mut project.command(&shared_store(), arguments));
    }
    let publish = |registry: &Registry| {
        let place = format!("oci://{}/a/b:v1", registry.address());
        project.command(&shared_store(), &["publish", &place, "dist/small"])
    };
    let undisturbed = Registry::start(Access::Open);
    finish(&mut publish(&undisturbed));
    let (expected, requests) = (undisturbed.held(), undisturbed.server.requests().len());
    assert!(expected.contains_key("manifests/v1") && requests > 20);
    let mut cuts = 0;
    for last in (1..=requests).step_by(stride()) {
        let registry = Registry::start(Access::Open);
        // Twice: the second is cut off in what the first left.
        for _ in 0..2 {
            let before = registry.server.requests().len();
            let is_due = || registry.server.requests().len() - before >= last;
            cuts += usize::from(cut(&mut publish(&registry), &is_due));
            let held = registry.held();
            // By its tag, the release is there with everything that is said about it, or not at all.
            assert!(!held.contains_key("manifests/v1") || held == expected, "after {last} requests");
        }
        finish(&mut publish(&registry));
        assert!(registry.held() == expected, "after {last} requests");
    }
    assert!(cuts > 0, "no run was cut off");
}

#[test]
fn a_model_that_was_cut_off_on_its_way_to_a_hub_goes_on() {
    let project = Project::new();
    let publish = |hub: &Hub| hub.command(&project, TOKEN, converted(), &["--license", "apache-2.0"]);
    let parts = std::fs::metadata(converted().join("params_shard_0.bin")).unwrap().len() / 3 + 1;
    let undisturbed = Hub::start_with(parts);
    finish(&mut publish(&undisturbed));
    let (expected, requests) = (undisturbed.files("me/tiny"), undisturbed.number());
    assert!(expected.as_object().unwrap().len() >= 2 && requests > 8, "{requests} requests: {expected}");
    let mut cuts = 0;
    for last in (1..=requests).step_by(stride()) {
        let hub = Hub::start_with(parts);
        cuts += usize::from(cut(&mut publish(&hub), &|| hub.number() >= last));
        // One commit has everything.
        let found = hub.files("me/tiny");
        assert!(
            found == expected || found.as_object().is_none_or(serde_json::Map::is_empty),
            "after {last} requests: {found}"
        );
        let sent = |requests: &[Value]| {
            let is_object = |it: &&Value| it["path"].as_str().unwrap().starts_with("/complete/");
            requests.iter().filter(is_object).count()
        };
        let before = sent(&hub.requests());
        finish(&mut publish(&hub));
        assert_eq!(hub.files("me/tiny"), expected, "after {last} requests");
        // What had arrived is not sent again. What the hub was told just before the kill may have arrived or not.
        let after = sent(&hub.requests());
        assert!(before + after <= 2 && (last < requests || before + after == 1), "{last}: {before}, {after}");
    }
    assert!(cuts > 0, "no run was cut off");
}

/// A project with a release of a wheel.
fn wheel() -> Project {
    let project = Project::new();
    project.write(
        "recipes/packages/pack/recipe.toml",
        &format!(
            "name = \"pack\"\nversion = \"1.0\"\nlicense = \"MIT\"\n[wheel]\nname = \"pack\"\nsummary = \"packs\"\n\
             requires-python = \">=3.8\"\n[[target]]\ntriple = \"{TARGET}\"\nenvironment = \"sandbox\"\ntag = \"py3-none-any\"\n"
        ),
    );
    project.write(
        "recipes/packages/pack/build.sh",
        "mkdir /build/out/pack /build/out/licenses; echo MIT > /build/out/licenses/LICENSE\n\
         seq 300000 > /build/out/pack/numbers; echo > /build/out/pack/__init__.py\n",
    );
    project.release("small", "pack");
    finish(&mut project.command(&shared_store(), &["release", "small"]));
    project
}

/// What an index says of itself, against what is there: every wheel that a page or the requirements name is there, whole.
fn check_index(index: &Path, wheel: &[u8]) {
    let sha256 = store::Digest::of(wheel).hex();
    for (path, content) in files(index) {
        if path.contains(".mlc-repro-output-") {
            continue;
        }
        if path.ends_with(".whl") {
            assert!(content == wheel, "{path} is not whole");
        }
        let names_wheel = String::from_utf8_lossy(&content).contains("pack-1.0-py3-none-any.whl");
        if path.starts_with("simple/pack/index.") && names_wheel || path == "requirements-small.txt" {
            assert!(String::from_utf8_lossy(&content).contains(&sha256), "{path}");
            assert!(index.join("simple/pack/pack-1.0-py3-none-any.whl").exists(), "{path}");
        }
    }
}

#[test]
fn an_index_of_packages_and_signatures_that_were_cut_off_are_finished_by_the_next_run() {
    let project = wheel();
    let path = |name: &str| project.directory.path().join(name);
    finish(&mut project.command(&shared_store(), &["attest", "keygen", "a", "--no-passphrase"]));
    let wheel = std::fs::read(path("dist/small/pack-1.0-py3-none-any.whl")).unwrap();
    let copied = |to: &str| {
        let mut copy = Command::new("cp");
        assert!(copy.arg("-r").args([path("dist/small"), path(to)]).status().unwrap().success());
    };
    let publish =
        |index: &str| project.command(&shared_store(), &["publish", "pypi-index", index, "dist/small"]);
    let sign = |release: &str| project.command(&shared_store(), &["attest", release, "--key", "a.pem"]);
    copied("signed");
    let times = [finish(&mut publish("index")), finish(&mut sign("signed"))];
    let expected: [BTreeMap<_, _>; 2] = [files(&path("index")), files(&path("signed"))];
    assert_eq!(expected[0].len(), 7, "a lock, two indexes of two files, a wheel, requirements");
    let (mut cuts, mut fraction) = (0, 0.0_f64);
    for round in 0..24 / stride() {
        let (index, release) = (format!("index-{round}"), format!("signed-{round}"));
        copied(&release);
        for _ in 0..3 {
            // Multiples of the golden ratio, of the later part: verification comes before.
            fraction = (fraction + 0.618_034) % 1.0;
            for (mut command, time) in [(publish(&index), times[0]), (sign(&release), times[1])] {
                let start = Instant::now();
                let moment = time.mul_f64(0.5 + 0.5 * fraction);
                cuts += usize::from(cut(&mut command, &|| start.elapsed() >= moment));
            }
            if path(&index).exists() {
                check_index(&path(&index), &wheel);
            }
        }
        // What a kill in the middle of each file leaves, whether or not one happened there.
        for place in [&*release, &format!("{release}/provenance"), &format!("{index}/simple/pack"), &index] {
            std::fs::create_dir_all(path(place)).unwrap();
            std::fs::write(path(place).join(".mlc-repro-output-abcdef"), "half").unwrap();
        }
        // The wheel goes, so that every directory has something to write in.
        let _ = std::fs::remove_file(path(&index).join("simple/pack/pack-1.0-py3-none-any.whl"));
        let _ = std::fs::remove_file(path(&index).join("requirements-small.txt"));
        finish(&mut sign(&release));
        finish(&mut publish(&index));
        assert!(files(&path(&release)) == expected[1], "round {round}");
        assert!(files(&path(&index)) == expected[0], "round {round}");
    }
    assert!(cuts > 0, "no run was cut off");
}
