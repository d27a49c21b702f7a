//! What people and programs read, held as it is: help, errors, and the shape of JSON. `INSTA_UPDATE=always` writes it anew.

use crate::project::{Project, TARGET, outputs, shared_store, text};
use serde_json::Value;
use std::process::Command;

/// The help of a command and of all below it.
fn help(path: &[&str], all: &mut String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    for name in [
        "MLC_REPRO_STORE",
        "MLC_REPRO_BACKEND",
        "MLC_REPRO_LIMITS",
        "MLC_REPRO_PROGRESS",
        "MLC_REPRO_SYSROOT",
        "MLC_REPRO_VERIFY_AGE",
        "COLUMNS",
    ] {
        command.env_remove(name);
    }
    let output = command.args(path).arg("--help").output().unwrap();
    assert!(output.status.success(), "{path:?}: {}", text(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    *all +=
        &format!("=== {}\n{}\n\n", [&["cargo xtask"], path].concat().join(" "), lines.join("\n").trim_end());
    let below =
        lines.iter().skip_while(|line| **line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for line in below.filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let name = line.trim_start().split(' ').next().unwrap();
        help(&[path, &[name]].concat(), all);
    }
}

#[test]
fn help_is_as_it_was() {
    let mut all = String::new();
    help(&[], &mut all);
    assert!(all.matches("\n=== ").count() > 30, "{all}");
    insta::assert_snapshot!(all);
}

/// A project with a recipe, one that has a pending input, and a release of the first.
fn project() -> Project {
    let project = Project::new();
    let script = "mkdir /build/out/licenses; echo MIT > /build/out/licenses/LICENSE\n";
    project.recipe("hello", "", script);
    project.recipe("waits", "", script);
    project.release("small", "hello");
    let path = "recipes/packages/waits/recipe.toml";
    let plain = std::fs::read_to_string(project.directory.path().join(path)).unwrap();
    project
        .write(path, &plain.replace("[[target]]", "[[source]]\ninput = \"far\"\npath = \"far\"\n[[target]]"));
    let lock = std::fs::read_to_string(project.directory.path().join("recipes/inputs.lock")).unwrap();
    project.write("recipes/inputs.lock", &lock.replace("input = []\n", "pending = [\"far\"]\ninput = []\n"));
    project
}

#[test]
fn frequent_errors_are_as_they_were() {
    let project = project();
    let mut all = String::new();
    let mut run = |project: &Project, words: &[&str]| {
        let output = project.run(words);
        let said = text(&output).replace(project.directory.path().to_str().unwrap(), "PROJECT");
        let said = said.replace(shared_store().to_str().unwrap(), "STORE");
        all += &format!("=== {} ({})\n{said}\n", words.join(" "), output.status.code().unwrap());
    };
    run(&project, &["build", "helo"]);
    run(&project, &["build", "hello@windows"]);
    run(&project, &["build", "waits"]);
    run(&project, &["release", "smal"]);
    run(&project, &["environment", "build", "sandbx"]);
    run(&project, &["release", "small", "--input", "fr=."]);
    run(&project, &["lock", "update", "input"]);
    run(&project, &["graph", "--offline"]);
    run(&project, &["verify", "dist/small"]);
    run(&project, &["fetch", "bubblewrp"]);
    project.write("recipes/hello.toml", "");
    run(&project, &["graph"]);
    std::fs::remove_file(project.directory.path().join("recipes/hello.toml")).unwrap();
    let path = "recipes/packages/hello/recipe.toml";
    let plain = std::fs::read_to_string(project.directory.path().join(path)).unwrap();
    for (from, to) in [("\"hello\"", "\"bad@x\""), (TARGET, "x/../../y"), ("\"MIT\"", "\"Apche two, or so\"")]
    {
        project.write(path, &plain.replace(from, to));
        run(&project, &["graph"]);
    }
    project.write(path, &plain.replace('\n', "\r\n"));
    run(&project, &["graph"]);
    insta::assert_snapshot!(all);
}

/// A value with the kind of each leaf in its place; of a list its first element.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => "a boolean".into(),
        Value::Number(_) => "a number".into(),
        Value::String(_) => "a string".into(),
        Value::Array(values) => values.iter().take(1).map(shape).collect(),
        Value::Object(entries) => entries.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
    }
}

#[test]
fn json_has_the_shape_that_it_had() {
    let project = project();
    outputs(&project.run(&["build", "hello", "--json"]));
    assert!(project.run(&["release", "small"]).status.success());
    let goal = format!("hello@{TARGET}");
    let mut all = String::new();
    for words in [
        &["build", "hello"][..],
        &["explain", &goal],
        &["graph", "hello"],
        &["matrix", "small"],
        &["environment", "list"],
        &["environment", "build", "sandbox"],
        &["store", "gc", "--dry-run"],
        &["verify", "dist/small"],
    ] {
        let output = project.run(&[words, &["--json"]].concat());
        let value: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{words:?}: {error}: {}", text(&output)));
        let shape = serde_json::to_string_pretty(&shape(&value)).unwrap();
        all += &format!("=== {}\n{shape}\n\n", words.join(" ").replace(&goal, "hello@TARGET"));
    }
    insta::assert_snapshot!(all);
}
