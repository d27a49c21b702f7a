//! The reference of the book: commands as the parser knows them, environment variables, formats.

mod formats;

use crate::options::command_line;
use anyhow::Result;
use clap::Command;
use std::{fmt::Write, path::Path};

/// Columns of the documents.
const COLUMNS: usize = 100;

/// Variables that are read without standing in an option. A test compares them with the sources.
pub const VARIABLES: &[(&str, &str)] = &[
    ("MLC_REPRO_CACHE_TOKEN", "The token for a cache or cluster (docs/remote.md)"),
    ("MLC_REPRO_COMMIT", "The commit that `--version` names, where the program is compiled without git"),
    (
        "MLC_REPRO_DEBIAN_KEYRING",
        "The key ring that signs Debian's archive [default: that of debian-archive-keyring]",
    ),
    ("MLC_REPRO_DEBIAN_MIRROR", "Archives of Debian, separated by spaces [default: those that apt uses]"),
    ("MLC_REPRO_DEBIAN_SNAPSHOT", "Dated archives of Debian, with @SNAPSHOTID@ where the date goes"),
    ("MLC_REPRO_FROM", "As `--from`; several, separated by spaces"),
    ("MLC_REPRO_KEY", "The text of a secret key, instead of `attest --key`"),
    (
        "MLC_REPRO_LOG",
        "What is traced on standard error, in the form of Rust's tracing: `debug`, `input=trace`",
    ),
    ("MLC_REPRO_MIRROR", "As `--mirror`; several, separated by spaces"),
    ("MLC_REPRO_MIRROR_TOKEN", "The token for `vendor --push URL`"),
    ("MLC_REPRO_NIX_STORE", "Where `--backend nix` keeps its store [default: in ours]"),
    ("MLC_REPRO_NPM_REGISTRY", "The npm registry [default: that of npm's configuration]"),
    ("MLC_REPRO_PASSPHRASE", "The passphrase of an encrypted secret key"),
    (
        "MLC_REPRO_PYPI_INDEX",
        "The Python package index, its simple root [default: that of pip's configuration]",
    ),
];

/// Variables of other programs that are read as these read them.
const OTHERS: &[(&str, &str)] = &[
    ("XDG_CACHE_HOME", "Where the store is, below `mlc-repro`; a relative path counts as none"),
    ("HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME", "The hub of models, and who asks it"),
    (
        "DOCKER_HOST, DOCKER_CONTEXT, DOCKER_CONFIG",
        "The engine of `--backend docker`, and who we are to registries",
    ),
    ("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY", "How servers are reached"),
    ("CARGO_HOME", "Where cargo keeps the crates that it fetched"),
    ("GITHUB_ACTIONS, GITLAB_CI", "Where progress is read (`--progress`)"),
    ("GITHUB_STEP_SUMMARY", "The file that `ci` writes its summary to"),
    ("NO_COLOR, TERM", "Whether errors have colours, and bars are drawn"),
];

/// What stands at the top of what is generated.
const ORIGIN: &str = "<!-- Written by `cargo xtask man docs/reference --format markdown`. -->\n\n";

/// The pages: their names, and their texts.
///
/// # Errors
/// A source file of the checkout can't be read.
pub fn pages(root: &Path) -> Result<Vec<(&'static str, String)>> {
    let formats = ORIGIN.to_owned() + &formats::page(root)?;
    Ok(vec![("commands.md", commands()), ("environment.md", environment()), ("formats.md", formats)])
}

fn commands() -> String {
    let mut command = hide_values(command_line().term_width(COLUMNS).max_term_width(COLUMNS));
    command.build();
    let mut text = format!("{ORIGIN}# Commands\n\n");
    let options: Vec<String> = command
        .get_arguments()
        .filter(|option| option.is_global_set())
        .map(|option| option.get_id().to_string())
        .collect();
    text += "What `--help` of each command says. The options that several commands have are described once, \
             at\nthe top; each command names those that it takes.\n\n";
    fenced(&mut text, "cargo xtask", &mut command.clone());
    below(&mut text, "cargo xtask", &command, &options);
    text
}

/// What a variable holds now is nothing of the reference.
fn hide_values(command: Command) -> Command {
    command.mut_args(|option| option.hide_env_values(true)).mut_subcommands(hide_values)
}

/// All commands below one, depth first.
fn below(text: &mut String, name: &str, command: &Command, options: &[String]) {
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("{name} {}", command.get_name());
        let is_shared = |id: &str| options.iter().any(|option| option == id);
        let taken: Vec<String> = command
            .get_arguments()
            .filter(|option| is_shared(option.get_id().as_str()) && !option.is_hide_set())
            .filter_map(|option| Some(format!("`--{}`", option.get_long()?)))
            .collect();
        let mut own = command.clone().mut_args(|option| match is_shared(option.get_id().as_str()) {
            true => option.hide(true),
            false => option,
        });
        fenced(text, &name, &mut own);
        if command.get_subcommands().next().is_none() && !taken.is_empty() {
            *text += &wrapped(&format!("Also: {}.", taken.join(", ")));
            *text += "\n";
        }
        below(text, &name, command, options);
    }
}

fn fenced(text: &mut String, name: &str, command: &mut Command) {
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    // Writing to a string can't fail.
    _ = write!(text, "## {name}\n\n```text\n{}\n```\n\n", help.join("\n"));
}

fn environment() -> String {
    let mut text = format!(
        "{ORIGIN}# Environment variables\n\nA variable that is empty counts as one that is not set.\n\n| variable | what it says |\n|---|---|\n"
    );
    let mut rows: Vec<(String, String)> =
        VARIABLES.iter().map(|(name, what)| ((*name).to_owned(), (*what).to_owned())).collect();
    for option in command_line().get_arguments() {
        if let (Some(name), Some(long)) = (option.get_env(), option.get_long()) {
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            rows.push((name.to_string_lossy().into_owned(), format!("As `--{long}`: {help}")));
        }
    }
    for (path, name, long) in own_variables(&command_line(), "") {
        if !rows.iter().any(|(known, _)| *known == name) {
            rows.push((name, format!("As `--{long}` of `{path}`")));
        }
    }
    rows.sort();
    for (name, what) in rows {
        _ = writeln!(text, "| `{name}` | {} |", what.replace('|', "\\|"));
    }
    text += "\nOf other programs, as these read them:\n\n| variable | what it says |\n|---|---|\n";
    for (names, what) in OTHERS {
        let names: Vec<String> = names.split(", ").map(|name| format!("`{name}`")).collect();
        _ = writeln!(text, "| {} | {what} |", names.join(", "));
    }
    text
}

/// Variables of options of single commands: the command, the variable, the option.
fn own_variables(command: &Command, path: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for below in command.get_subcommands() {
        let path = format!("{path} {}", below.get_name()).trim().to_owned();
        for option in below.get_arguments() {
            if let (Some(name), Some(long)) = (option.get_env(), option.get_long()) {
                found.push((path.clone(), name.to_string_lossy().into_owned(), long.to_owned()));
            }
        }
        found.extend(own_variables(below, &path));
    }
    found
}

/// A paragraph in lines of the documents' width.
fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && line.len() + 1 + word.len() > COLUMNS {
            lines += &format!("{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

    #[test]
    fn the_reference_is_what_the_program_says() {
        for (name, text) in pages(Path::new(ROOT)).unwrap() {
            let path = Path::new(ROOT).join("docs/reference").join(name);
            let there = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                there == text,
                "{} is out of date: run `cargo xtask man docs/reference --format markdown`",
                path.display()
            );
        }
    }

    /// Rust files below a directory that are no tests.
    fn sources(directory: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") && !path.ends_with("target") {
                sources(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_variable_that_is_read_is_in_the_reference() {
        let mut texts = Vec::new();
        sources(&Path::new(ROOT).join("xtask"), &mut texts);
        let quoted = |text: &String| -> Vec<String> {
            let names = text.split('"').skip(1).step_by(2).filter(|name| name.starts_with("MLC_REPRO_"));
            names.map(str::to_owned).collect()
        };
        let is_name = |name: &String| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let read: BTreeSet<String> = texts.iter().flat_map(quoted).filter(is_name).collect();
        // Of the tests alone.
        let lacking: Vec<&String> = read
            .iter()
            .filter(|name| *name != "MLC_REPRO_SEEDS" && !environment().contains(&format!("`{name}`")))
            .collect();
        assert!(lacking.is_empty() && read.len() > 15, "{lacking:?} of {read:?}");
    }
}
