//! What holds for the files of this repository as such.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below a directory whose names end so, without what is built.
fn files(directory: &str, end: &str) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![repository().join(directory)], Vec::new());
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    open.push(entry.path());
                }
            } else if name.ends_with(end) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{directory} has no {end}");
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).display().to_string()
}

fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_file_is_read_in_one_sitting() {
    let too_long = |path: PathBuf| {
        let lines = read(&path).lines().count();
        (lines > 500).then(|| format!("{} has {lines} lines, and may have 500", shown(&path)))
    };
    none(files("xtask", ".rs").into_iter().chain(files("tests", ".rs")).filter_map(too_long).collect());
}

/// The entries of one table of a Cargo.toml, by name: what stands behind `=`.
fn table(text: &str, name: &str) -> Vec<(String, String)> {
    let lines = text.lines().skip_while(|line| *line != format!("[{name}]")).skip(1);
    let entries = lines.take_while(|line| !line.starts_with('['));
    entries.filter_map(|line| line.split_once(" = ")).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

#[test]
fn crates_depend_on_those_below_them_alone() {
    // The crates stand in the workspace's table with the lowest first.
    let workspace = table(&read(&repository().join("Cargo.toml")), "workspace.dependencies");
    let crates = workspace.iter().filter(|(_, value)| value.contains("path = \"xtask/"));
    let rank: BTreeMap<&str, usize> =
        crates.enumerate().map(|(rank, (name, _))| (name.as_str(), rank)).collect();
    assert!(rank.len() >= 7, "{rank:?}");
    let mut problems = Vec::new();
    for path in files("xtask", "Cargo.toml") {
        let text = read(&path);
        let name = table(&text, "package").into_iter().find(|(key, _)| key == "name").unwrap().1;
        let name = name.trim_matches('"');
        // The program, and what stands beside the workspace, may use all of them.
        let Some(own) = rank.get(name) else { continue };
        for (dependency, _) in table(&text, "dependencies") {
            if rank.get(dependency.as_str()).is_some_and(|other| other >= own) {
                problems.push(format!(
                    "{}: `{name}` depends on `{dependency}`, which is not below it",
                    shown(&path)
                ));
            }
        }
    }
    none(problems);
}

#[test]
fn a_command_imports_no_other_command() {
    let root = repository().join("xtask/cli/src/command");
    let mut problems = Vec::new();
    for path in files("xtask/cli/src/command", ".rs") {
        // A directory belongs to the command of its name, whose parts may know one another.
        let is_part = path.parent() != Some(&root) || path.file_name().is_some_and(|name| name == "mod.rs");
        // Tests of a file import what stands above them.
        let text = read(&path);
        for (number, line) in text.lines().take_while(|line| *line != "#[cfg(test)]").enumerate() {
            if line.contains("crate::command::") || (!is_part && line.contains("super::")) {
                problems.push(format!("{}:{}: {}", shown(&path), number + 1, line.trim()));
            }
        }
    }
    none(problems);
}

#[test]
fn a_recipe_stands_in_the_directory_of_its_package() {
    for shelf in ["packages", "toolchain", "checks"] {
        for entry in std::fs::read_dir(repository().join("recipes").join(shelf)).unwrap() {
            let package = entry.unwrap().path();
            assert!(package.join("recipe.toml").is_file(), "{} has no recipe.toml", shown(&package));
        }
    }
}

/// What to do is data beside an error (`store::hinted`), so that it is printed once and last, and so that nobody else's words
/// pass for it.
#[test]
fn a_hint_is_not_a_part_of_a_text() {
    // Where hints are printed.
    const PRINTS: [&str; 5] = ["error.rs", "output.rs", "show.rs", "command/doctor.rs", "command/patch.rs"];
    let mut problems = Vec::new();
    for path in files("xtask", ".rs") {
        let prints = PRINTS.iter().any(|end| path == repository().join("xtask/cli/src").join(end));
        if prints || path.components().any(|part| part.as_os_str() == "tests") {
            continue;
        }
        for (number, line) in read(&path).lines().enumerate() {
            if line.contains("hint: ") && line.contains('"') && !line.trim_start().starts_with("//") {
                problems.push(format!("{}:{}: {}", shown(&path), number + 1, line.trim()));
            }
        }
    }
    none(problems);
}

/// Tables and code stand as they are, and what the program writes is its own.
#[test]
fn prose_is_at_most_100_columns_wide() {
    let written = [Path::new("docs/reference"), Path::new("docs/tamperings.md")];
    let mut paths = files("docs", ".md");
    for name in ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"] {
        paths.push(repository().join(name));
    }
    let mut problems = Vec::new();
    for path in paths {
        if written.iter().any(|written| path.starts_with(repository().join(written))) {
            continue;
        }
        let mut is_code = false;
        for (number, line) in read(&path).lines().enumerate() {
            is_code ^= line.trim_start().starts_with("```");
            let can_wrap = !is_code && !line.starts_with('|') && line.trim().contains(' ');
            if can_wrap && line.chars().count() > 100 {
                problems.push(format!("{}:{}: {}", shown(&path), number + 1, line.trim()));
            }
        }
    }
    none(problems);
}
