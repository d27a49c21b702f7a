//! Inputs that the user gives in the place of locked ones.

use crate::project::{Project, TARGET, shared_store, text};
use std::process::Command;

#[test]
fn an_input_that_is_given_is_pinned_only_when_it_is_the_locked_one() {
    let project = Project::new();
    let script = "mkdir /build/out/{lib,licenses}; cp /build/src/thing/a /build/out/lib/; echo MIT > /build/out/licenses/LICENSE\n";
    project.recipe("thing", "", script);
    let recipe = project.directory.path().join("recipes/packages/thing/recipe.toml");
    let plain = std::fs::read_to_string(&recipe).unwrap();
    let source = "[[source]]\ninput = \"archive\"\nstrip = 1\npath = \"thing\"\n[[target]]";
    std::fs::write(&recipe, plain.replace("[[target]]", source)).unwrap();
    project.write(
        "releases/small.toml",
        &format!("name = \"small\"\n[[artifact]]\nrecipe = \"thing\"\ntargets = [\"{TARGET}\"]\n"),
    );
    // An archive at an address that nobody answers, and its content unpacked; the time makes it new in every run.
    project.write("mine/thing-1/a", &format!("content {:?}\n", std::time::SystemTime::now()));
    let place = project.directory.path().join("mine");
    let pack = ["--create", "--file=thing.tar", "thing-1"];
    assert!(Command::new("tar").args(pack).current_dir(&place).status().unwrap().success());
    let sha256 = Command::new("sha256sum").arg(place.join("thing.tar")).output().unwrap();
    let sha256 = String::from_utf8_lossy(&sha256.stdout).split(' ').next().unwrap().to_owned();
    let size = std::fs::metadata(place.join("thing.tar")).unwrap().len();
    let lock = std::fs::read_to_string(project.directory.path().join("recipes/inputs.lock")).unwrap();
    let input = format!(
        "[[input]]\nname = \"archive\"\nkind = \"https\"\nurls = [\"https://127.0.0.1:1/thing.tar\"]\nsize = {size}\nsha256 = \"{sha256}\"\n"
    );
    project.write("recipes/inputs.lock", &lock.replace("input = []\n", &format!("\n{input}")));

    let wrong = project.run(&["release", "small", "--input", "archve=mine"]);
    assert!(text(&wrong).contains("there is no input `archve`; did you mean `archive`?"));
    assert_eq!(project.run(&["release", "small", "--input", "archive"]).status.code(), Some(2));

    project.write("mine/other/a", "something else\n");
    let output = project.run(&["release", "small", "--input", "archive=mine/other"]);
    assert!(output.status.success() && text(&output).contains("can't be verified"), "{}", text(&output));
    let manifest = std::fs::read_to_string(project.directory.path().join("dist/small/release.json")).unwrap();
    assert!(manifest.contains("\"kind\": \"path\"") && !manifest.contains("mine"), "{manifest}");
    let verdict = project.run(&["verify", "dist/small"]);
    assert_eq!(verdict.status.code(), Some(1));
    assert!(text(&verdict).contains("input `archive` is unpinned"), "{}", text(&verdict));

    let waits = text(&project.run(&["release", "small", "--offline"]));
    assert!(waits.contains("`archive` is not in the store"), "{waits}");
    for given in ["archive=mine/thing.tar", "archive=mine/thing-1"] {
        let output = project.run(&["release", "small", "--offline", "--input", given]);
        assert!(output.status.success() && !text(&output).contains("can't be verified"), "{}", text(&output));
        let verdict = project.run(&["verify", "dist/small"]);
        assert!(verdict.status.success(), "{given}: {}", text(&verdict));
    }
}

#[test]
fn an_optional_input_is_there_when_it_is_given() {
    let project = Project::new();
    let script = "mkdir /build/out/licenses; echo MIT > /build/out/licenses/LICENSE; ls /build/src > /build/out/seen\n";
    project.recipe("thing", "", script);
    let recipe = project.directory.path().join("recipes/packages/thing/recipe.toml");
    let plain = std::fs::read_to_string(&recipe).unwrap();
    let source = "[[source]]\ninput = \"extra\"\noptional = true\npath = \"extra\"\n[[target]]";
    std::fs::write(&recipe, plain.replace("[[target]]", source)).unwrap();
    project.write("mine/file", "1\n");
    let selection = format!("name = \"small\"\n[[artifact]]\nrecipe = \"thing\"\ntargets = [\"{TARGET}\"]\n");
    project.write("releases/small.toml", &selection);

    for (given, verifies) in [(None, true), (Some("extra=mine"), false)] {
        let input = given.map(|given| ["--input", given]);
        let arguments: Vec<&str> =
            ["release", "small"].into_iter().chain(input.into_iter().flatten()).collect();
        let output = project.run(&arguments);
        assert!(output.status.success(), "{}", text(&output));
        let manifest = project.directory.path().join("dist/small/release.json");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        assert_eq!(manifest.contains("\"extra\""), given.is_some(), "{manifest}");
        let verdict = project.run(&["verify", "dist/small"]);
        assert_eq!(verdict.status.success(), verifies, "{}", text(&verdict));
    }
}

#[test]
fn a_release_that_waits_for_an_input_is_never_written_with_a_hole_that_it_does_not_name() {
    let project = Project::new();
    let script = "mkdir /build/out/licenses; echo MIT > /build/out/licenses/LICENSE; echo x > /build/out/x\n";
    for name in ["whole", "waits"] {
        project.recipe(name, "", script);
    }
    project.recipe("after", "\"waits\"", script);
    let recipe = project.directory.path().join("recipes/packages/waits/recipe.toml");
    let plain = std::fs::read_to_string(&recipe).unwrap();
    let source = "[[source]]\ninput = \"far\"\npath = \"far\"\n[[target]]";
    std::fs::write(&recipe, plain.replace("[[target]]", source)).unwrap();
    let lock = std::fs::read_to_string(project.directory.path().join("recipes/inputs.lock")).unwrap();
    let pending = "pending = [\"far\"]\n";
    project.write("recipes/inputs.lock", &lock.replace("input = []\n", &format!("{pending}input = []\n")));
    let selection = |name: &str| format!("[[artifact]]\nrecipe = \"{name}\"\ntargets = [\"{TARGET}\"]\n");
    let artifacts: String = ["whole", "waits", "after"].map(selection).concat();
    // A model whose hub is out of reach.
    let revision = format!("revision = \"{}\"\n", "0".repeat(40));
    project.write("models/lost.toml", &format!("repository = \"owner/lost\"\n{revision}license = \"mit\"\n"));
    let header = lock.lines().next().unwrap();
    let file = |name: &str, digit: &str| {
        format!(
            "[[input]]\nname = \"lost/{name}\"\nkind = \"hugging-face\"\nrepository = \"owner/lost\"\n{revision}\
             file = \"{name}\"\nsize = 9\nsha256 = \"{}\"\n",
            digit.repeat(64)
        )
    };
    let files = [file("config.json", "1"), file("model.safetensors", "2")].concat();
    project.write("models/lost.lock", &format!("{header}\n\nversion = 1\n\n{files}"));
    let artifacts = artifacts + "[[model]]\nname = \"lost\"\nquantization = \"q4f16_1\"\n";
    project.write("releases/small.toml", &format!("name = \"small\"\n{artifacts}"));
    let run = |arguments: &[&str]| {
        project.command(&shared_store(), arguments).env("HF_ENDPOINT", "http://127.0.0.1:1").output().unwrap()
    };

    let output = run(&["release", "small", "--keep-going"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for expected in [
        format!("waits@{TARGET} waits for far"),
        format!("after@{TARGET} waits for far"),
        "lost-q4f16_1 waits for lost/config.json, lost/model.safetensors".to_owned(),
        "nobody knows its digest".to_owned(),
        "--input NAME=PATH".to_owned(),
    ] {
        assert!(said.contains(&expected), "{expected}: {said}");
    }
    assert!(!project.directory.path().join("dist/small").exists());

    let output = run(&["release", "small", "--partial"]);
    assert!(output.status.success(), "{}", text(&output));
    let manifest = std::fs::read(project.directory.path().join("dist/small/release.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let missing = serde_json::json!([
        { "recipe": "after", "target": TARGET, "waits_for": ["far"] },
        { "recipe": "waits", "target": TARGET, "waits_for": ["far"] },
        { "model": "lost-q4f16_1", "waits_for": ["lost/config.json", "lost/model.safetensors"] },
    ]);
    assert_eq!(manifest["missing"], missing);
    for arguments in [&["verify", "dist/small"][..], &["verify", "--rebuild", "dist/small"]] {
        let verdict = run(arguments);
        assert!(verdict.status.success(), "{}", text(&verdict));
        for expected in [&format!("after@{TARGET}"), "lost-q4f16_1"] {
            assert!(text(&verdict).contains(&format!("it is partial: {expected} is missing")));
        }
    }
    // A hole that nobody recorded is found.
    std::fs::remove_file(project.directory.path().join("releases/small.toml")).unwrap();
    let more = artifacts + &selection("late");
    project.recipe("late", "", script);
    project.write("releases/small.toml", &format!("name = \"small\"\n{more}"));
    assert!(
        text(&project.run(&["verify", "dist/small"])).contains(&format!("lacks the artifact late@{TARGET}"))
    );

    // A build that fails is not an input that can't be had.
    project.recipe("late", "", "exit 3\n");
    assert_eq!(run(&["release", "small", "--partial"]).status.code(), Some(1));
}
