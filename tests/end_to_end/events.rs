//! What programs and CI services read: the stream of events, documents, and logs that fold.

use crate::project::{Project, TARGET, repository, text};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Output,
};

/// A recipe that works, one that fails, and one that needs the latter. `work` is built anew by every test.
fn project() -> Project {
    let project = Project::new();
    let script = format!("# {}\necho said; echo > /build/out/x\n", project.directory.path().display());
    project.recipe("work", "", &script);
    project.recipe("bad", "", "echo '::error::not from us'; exit 3\n");
    project.recipe("after", "\"bad\"", "true\n");
    project
}

fn stream(output: &Output) -> Vec<Value> {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    let lines: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{said}"))).collect();
    assert_eq!((&lines[0]["event"], &lines[0]["schema"]), (&"start".into(), &1.into()), "{said}");
    assert_eq!(lines.last().unwrap()["event"], "result", "{said}");
    lines
}

fn find<'a>(lines: &'a [Value], event: &str, name: &str) -> &'a Value {
    let is_it = |line: &&Value| line["event"] == event && line["name"] == format!("{name}@{TARGET}");
    lines.iter().find(is_it).unwrap_or_else(|| panic!("no {event} of {name} in {lines:?}"))
}

/// What docs/json.md says of events: their names, and the fields of each.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(repository().join("docs/json.md")).unwrap();
    let table = text.split("| event | fields |").nth(1).unwrap().lines().skip(2);
    let quoted =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    table
        .take_while(|line| line.starts_with('|'))
        .flat_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            let fields: BTreeSet<String> = quoted(cells[1]).into_iter().collect();
            quoted(cells[0]).into_iter().map(move |event| (event, fields.clone()))
        })
        .collect()
}

#[test]
fn a_stream_tells_everything_as_it_happens() {
    let project = project();
    let first = stream(&project.run(&["build", "work", "--json=events"]));
    let built = find(&first, "built", "work");
    assert!(built["seconds"].is_number() && built["outputs"].is_string(), "{built}");
    assert_eq!(std::fs::read_to_string(built["log"].as_str().unwrap()).unwrap(), "said\n");
    find(&first, "started", "work");
    let last = first.last().unwrap();
    assert_eq!((&last["ok"], &last["error"]), (&true.into(), &Value::Null), "{last}");
    assert_eq!(last["result"][0]["outputs"], built["outputs"]);

    let second = project.run(&["build", "work", "bad", "after", "--keep-going", "--json=events"]);
    assert_eq!(second.status.code(), Some(1));
    let second = stream(&second);
    find(&second, "cached", "work");
    assert_eq!(find(&second, "skipped", "after")["because"], format!("bad@{TARGET}"));
    let failed = find(&second, "failed", "bad");
    assert!(failed["error"]["message"].as_str().unwrap().contains("failed: exit status 3"), "{failed}");
    assert!(failed["error"]["hints"][0].as_str().unwrap().contains("environment shell"), "{failed}");
    assert_eq!(failed["script"], "recipes/packages/bad/build.sh");
    assert!(std::path::Path::new(failed["error"]["log"].as_str().unwrap()).is_file(), "{failed}");
    assert_eq!(second.last().unwrap()["ok"], false);

    let wrong = stream(&project.run(&["build", "nothing", "--json=events"]));
    assert!(wrong.last().unwrap()["error"]["message"].as_str().unwrap().contains("nothing"), "{wrong:?}");

    let documented = documented();
    for line in first.iter().chain(&second).chain(&wrong) {
        let event = line["event"].as_str().unwrap();
        let known = documented.get(event).unwrap_or_else(|| panic!("docs/json.md has no `{event}`"));
        for field in line.as_object().unwrap().keys().filter(|field| *field != "event" && *field != "at") {
            assert!(known.contains(field), "docs/json.md has no `{field}` of `{event}`");
        }
    }
}

#[test]
fn every_command_prints_json_that_parses() {
    let project = project();
    project.release("small", "work");
    let goal = format!("work@{TARGET}");
    let vendored = project.directory.path().join("vendored");
    let digest = format!("{}/1", "0".repeat(64));
    let lines: Vec<Vec<&str>> = vec![
        vec!["build", "work"],
        vec!["build", "bad"],
        vec!["release", "small"],
        vec!["release", "none"],
        vec!["verify", "dist/small"],
        vec!["attest", "dist/none"],
        vec!["attest", "keygen", "key"],
        vec!["attest", "check-change"],
        vec!["fetch"],
        vec!["fetch-release", "oci://127.0.0.1:9/x"],
        vec!["vendor", vendored.to_str().unwrap()],
        vec!["lock", "check"],
        vec!["lock", "update", "none"],
        vec!["log", "work"],
        vec!["environment", "list"],
        vec!["environment", "build", "sandbox"],
        vec!["environment", "export", "sandbox", "-o", "image.tar"],
        vec!["store", "gc", "--dry-run"],
        vec!["store", "path", &digest],
        vec!["store", "du"],
        vec!["store", "export", "small", "-o", "results.tar"],
        vec!["store", "import", "none.tar"],
        vec!["report", "dist/none"],
        vec!["diff", "containers", "recipes"],
        vec!["graph", "work"],
        vec!["matrix", "small"],
        vec!["patch", "check"],
        vec!["model", "verify", "none"],
        vec!["model", "inspect", "none"],
        vec!["model", "diff", "none", "none"],
        vec!["publish", "maven-local", "none", "work"],
        vec!["publish", "pypi-index", "none", "dist/none"],
        vec!["publish", "hugging-face", "owner/name", "none"],
        vec!["explain", &goal],
        vec!["artifact", "none"],
        vec!["doctor"],
        vec!["ci", "none"],
        vec!["ci", "--list"],
        vec!["build"],
        vec!["no-such-command"],
    ];
    for words in lines {
        let output = project.run(&[&words[..], &["--json"]].concat());
        let value: Result<Value, _> = serde_json::from_slice(&output.stdout);
        let value = value.unwrap_or_else(|error| panic!("{words:?}: {error}: {}", text(&output)));
        if !output.status.success() && value.is_object() && value.get("error").is_some() {
            assert!(value["error"]["message"].is_string() && value["error"]["hints"].is_array(), "{value}");
        }
        let lines = stream(&project.run(&[&words[..], &["--json=events"]].concat()));
        assert_eq!(lines.iter().filter(|line| line["event"] == "result").count(), 1, "{words:?}");
    }
}

#[test]
fn progress_suits_the_place_where_it_is_read() {
    let project = project();
    let run = |variables: &[(&str, &str)]| {
        let mut command = project.command(&crate::project::shared_store(), &["build", "work", "bad"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let plain = run(&[]);
    assert!(!plain.contains(|character: char| character.is_control() && character != '\n'), "{plain:?}");
    assert!(plain.contains("s] ") && plain.contains(&format!("building bad@{TARGET}")), "{plain}");
    assert!(!plain.contains("::group::") && !plain.contains("\n::error"), "{plain}");

    let node = format!("bad@{TARGET}");
    let github = run(&[("GITHUB_ACTIONS", "true")]);
    let file = format!(
        "\n::error file=recipes/packages/bad/build.sh,title={node}::`{node}` failed: exit status 3\n"
    );
    assert!(github.contains(&file), "{github}");
    let group = github.find(&format!("::group::log of {node}\n::stop-commands::")).unwrap();
    assert!(github[group..].contains("\n::error::not from us\n"), "{github}");
    // What the build said is not a command wherever it stands.
    let mut stopped = false;
    for line in github.lines() {
        match line {
            "::error::not from us" => assert!(stopped, "{github}"),
            _ if line.starts_with("::stop-commands::") => stopped = true,
            _ if stopped && line.len() > 60 && line.starts_with("::") => stopped = false,
            _ => {}
        }
    }

    let gitlab = run(&[("MLC_REPRO_PROGRESS", "gitlab"), ("GITHUB_ACTIONS", "true")]);
    let section = format!(":log_of_bad_{TARGET}[collapsed=true]\r");
    assert!(gitlab.contains("\u{1b}[0Ksection_start:") && gitlab.contains(&section), "{gitlab:?}");
    assert!(
        !gitlab.contains("::group::") && gitlab.contains(&format!(":log_of_bad_{TARGET}\r\u{1b}[0K")),
        "{gitlab:?}"
    );
}
