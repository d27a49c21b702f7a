//! Puts the tables of `architectures/` into the program, so that a new architecture is a new file.

use std::{env, fs, path::Path};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let directory = Path::new(&root).join("architectures");
    println!("cargo::rerun-if-changed={}", directory.display());
    let mut names: Vec<_> = fs::read_dir(&directory)
        .expect("the tables are in the repository")
        .map(|entry| {
            entry.expect("the directory can be read").file_name().into_string().expect("names are ASCII")
        })
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    let entries: String = names
        .iter()
        .map(|name| format!("    ({name:?}, include_str!({:?})),\n", directory.join(name)))
        .collect();
    let text = format!("const TABLES: &[(&str, &str)] = &[\n{entries}];\n");
    fs::write(Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("architectures.rs"), text)
        .expect("cargo's output directory can be written");
}
