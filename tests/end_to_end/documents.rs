//! What README and docs say to type: each command is one, and is run where that takes seconds and no network.

use crate::project::{Project, repository, shared_store, text};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// README and what is beside it.
fn documents() -> Vec<PathBuf> {
    let root = repository();
    let mut documents = vec![root.join("README.md"), root.join("recipes/README.md")];
    documents.extend(std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.sort();
    documents
}

/// The command lines of a document: what stands in its blocks of code and begins with `cargo xtask` or `cargo ci`.
fn command_lines(document: &str) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            let line = line.trim_start().trim_start_matches("$ ");
            let words = line.split_whitespace().skip_while(|word| {
                word.split_once('=').is_some_and(|(name, _)| {
                    name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
                })
            });
            let ends = |word: &&str| !matches!(*word, "#" | "|" | "&&" | ";" | ">" | "<" | "\\" | "2>&1");
            let words: Vec<String> = words.take_while(ends).map(str::to_owned).collect();
            match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["cargo", "xtask", _, ..] => lines.push(words[2..].to_vec()),
                // Short for the command (.cargo/config.toml).
                ["cargo", "ci", ..] => lines.push(words[1..].to_vec()),
                _ => {}
            }
        }
    }
    lines
}

#[test]
fn every_command_of_the_documents_is_one() {
    let (mut count, mut wrong) = (0, Vec::new());
    for document in documents() {
        for words in command_lines(&std::fs::read_to_string(&document).unwrap()) {
            count += 1;
            // Help ends the reading of the line, and what stands before it is checked.
            let output =
                Command::new(env!("CARGO_BIN_EXE_xtask")).args(&words).arg("--help").output().unwrap();
            if !output.status.success() {
                wrong.push(format!("{}: {}: {}", document.display(), words.join(" "), text(&output)));
            }
        }
    }
    assert!(count > 60, "only {count} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Commands that are not run here, by how they begin, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("ci", "runs these tests"),
    ("environment export development", "downloads 330 MB; ci/images.sh does it for a release"),
    ("verify --rebuild --backend docker", "needs an engine: xtask/environment's tests start one"),
    ("build tvm-ffi --backend nix", "needs Nix: one_hash.rs runs it"),
    ("release --from", "the argument is a placeholder: sharing.rs"),
    ("release --cache", "needs a server: remote.rs"),
    ("release --backend remote", "needs a cluster: remote.rs"),
    ("release --mirror", "needs a server: ways.rs"),
    ("release mlc", "needs the NDK and a model"),
    ("verify --policy FILE", "FILE is something else each time: auditing.md has the same with a name"),
    ("attest dist/tvm --key FILE", "FILE is something else each time: auditing.md has the same with a name"),
    ("attest --merge", "needs a second builder: tests/signatures/two_builders.sh"),
    ("attest check-change", "needs a repository of attestations: xtask/release's tests make one"),
    ("verify dist/tvm --policy", "needs the keys of two builders: tests/signatures/two_builders.sh"),
    ("publish maven-local", "needs an AAR: aar.rs"),
    ("publish pypi-index", "needs a wheel: publishing.rs"),
    ("publish hugging-face", "needs a hub: publishing.rs"),
    ("publish oci:", "needs a registry: oci.rs"),
    ("fetch-release", "needs a registry: oci.rs"),
    ("build tvm4j", "needs the NDK: given.rs runs --input"),
    ("fetch android-ndk", "is 664 MB from a server of Google's"),
    ("build tvm-ffi --sysroot", "needs Microsoft's SDK: sysroot.rs"),
    ("build tvm-ffi@x86_64-pc-windows-msvc --sysroot", "needs Microsoft's SDK: sysroot.rs"),
    ("build model-", "takes minutes: the step `model` of ci/steps.toml"),
    ("lock update", "asks Debian's archive: registries.rs"),
    ("model ", "needs a checkpoint: model.rs and trying.rs have one"),
    ("attest DIR --model-signature", "needs a converted model: publishing.rs"),
    ("store gc", "waits for the tests that run beside it: adversity.rs"),
    ("vendor --push", "needs a server: ways.rs and oci.rs"),
    ("store import results/*.tar", "the shell expands it"),
];

/// A checkout with the names that documents use, and quick builds behind them.
fn stand_in() -> Project {
    let project = Project::new();
    let script =
        "mkdir /build/out/licenses; echo MIT > /build/out/licenses/LICENSE; echo $TARGET > /build/out/x\n";
    project.recipe("tvm-ffi", "", script);
    let recipe = project.directory.path().join("recipes/packages/tvm-ffi/recipe.toml");
    let target = "[[target]]\ntriple = \"x86_64-pc-windows-msvc\"\nenvironment = \"windows\"\n";
    let both = std::fs::read_to_string(recipe).unwrap() + target;
    project.write("recipes/packages/tvm-ffi/recipe.toml", &both);
    for ending in ["toml", "lock"] {
        let from = project.directory.path().join("containers/sandbox").with_extension(ending);
        project.write(&format!("containers/windows.{ending}"), &std::fs::read_to_string(from).unwrap());
    }
    project.release("tvm", "tvm-ffi");
    for directory in ["patches", "results"] {
        std::fs::create_dir(project.directory.path().join(directory)).unwrap();
    }
    project.write("A", "same\n");
    project.write("B", "same\n");
    project
}

#[test]
fn commands_of_the_documents_run_as_they_are_written() {
    let (mut ran, mut wrong) = (0, Vec::new());
    let mut reasons: Vec<&str> = NOT_RUN.iter().map(|(start, _)| *start).collect();
    for document in documents() {
        let lines = command_lines(&std::fs::read_to_string(&document).unwrap());
        let project = stand_in();
        let passphrase = project.directory.path().join("passphrase");
        std::fs::write(&passphrase, "secret\n").unwrap();
        let run = |words: &[&str]| {
            let mut command = project.command(&shared_store(), words);
            command.env("MLC_REPRO_PASSPHRASE", "secret").stdin(Stdio::null()).output().unwrap()
        };
        // What the others are about.
        let first = run(&["release"]);
        assert!(first.status.success(), "{}", text(&first));
        for words in lines {
            let line = words.join(" ");
            if let Some((start, _)) = NOT_RUN.iter().find(|(start, _)| is_start(start, &line)) {
                reasons.retain(|reason| reason != start);
                continue;
            }
            let words: Vec<&str> = words
                .iter()
                .map(|word| match word.as_str() {
                    "FILE" if line.contains("--passphrase-file") => passphrase.to_str().unwrap(),
                    word => word,
                })
                .collect();
            let output = run(&words);
            ran += 1;
            if !output.status.success() {
                wrong.push(format!("{}: {line}: {}", document.display(), text(&output)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 20, "only {ran} commands were run");
    assert!(reasons.is_empty(), "no document has {reasons:?} any more");
}

/// Whether a command line begins with these words, the last of which may be cut short.
fn is_start(start: &str, line: &str) -> bool {
    line.strip_prefix(start)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' ') || start.ends_with(['-', ':', ' ']))
}

/// Targets of the links in a document, without their anchors.
fn links(document: &str) -> Vec<&str> {
    let targets = document.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(|target| target.split('#').next().unwrap()).filter(|target| !target.is_empty()).collect()
}

#[test]
fn links_lead_somewhere_and_the_book_has_every_page() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains(':')) {
            // The book has nothing but docs/.
            let leaves =
                link.starts_with("..") && document.parent().is_some_and(|parent| parent.ends_with("docs"));
            if leaves || !document.parent().unwrap().join(link).exists() {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let docs = repository().join("docs");
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed = links(&summary);
    let reference = std::fs::read_dir(docs.join("reference")).unwrap().map(|entry| entry.unwrap().path());
    for document in documents().into_iter().chain(reference).filter(|document| document.starts_with(&docs)) {
        let name = document.strip_prefix(&docs).unwrap().to_str().unwrap();
        assert!(name == "SUMMARY.md" || listed.contains(&name), "docs/SUMMARY.md lacks {name}");
    }
    for link in listed {
        assert!(docs.join(link).is_file(), "docs/SUMMARY.md names {link}");
    }
}
