//! The formats of files, from the types that read and write them: what stands above a field in the source stands here too.

use anyhow::{Context, Result};
use std::{fmt::Write, path::Path};

/// A file, and the types that it is read as.
struct Format {
    title: &'static str,
    /// What it is.
    about: &'static str,
    /// The source files of the types, and these.
    types: &'static [(&'static str, &'static [&'static str])],
}

const FORMATS: &[Format] = &[
    Format {
        title: "Recipes: `recipes/*/NAME/*.toml`",
        about: "How an artifact is made. `recipes/README.md` says how to add one.",
        types: &[("xtask/builder/src/recipe.rs", &["Recipe", "Source", "Target", "Sysroot"])],
    },
    Format {
        title: "Releases: `releases/NAME.toml`",
        about: "What is shipped, for which targets, and what must pass first.",
        types: &[
            ("xtask/release/src/definition.rs", &["Definition", "Selection"]),
            ("xtask/release/src/model.rs", &["Conversion"]),
        ],
    },
    Format {
        title: "Environments: `containers/NAME.toml`",
        about: "What builds run in.",
        types: &[("xtask/environment/src/definition.rs", &["Definition", "TextFile", "Link"])],
    },
    Format {
        title: "Policies: `recipes/policies/NAME.toml`",
        about: "What outputs must keep to.",
        types: &[("xtask/artifact/src/policy.rs", &["Policy", "Amendment", "PePolicy", "ElfPolicy"])],
    },
    Format {
        title: "Locks: `recipes/inputs.lock`, `containers/NAME.lock`, `models/NAME.lock`",
        about: "Every input by kind, name, version, size and SHA-256. `cargo xtask lock update` writes them.",
        types: &[("xtask/input/src/lock.rs", &["Source", "Submodule", "Payload"])],
    },
    Format {
        title: "Manifests of releases: `release.json`",
        about: "What a release holds, what it was made from, and how. Keys are sorted, and there is one way to write it.",
        types: &[(
            "xtask/release/src/manifest.rs",
            &[
                "Manifest",
                "Artifact",
                "Part",
                "Step",
                "PolicyFacts",
                "File",
                "EnvironmentFacts",
                "InputFacts",
                "Missing",
            ],
        )],
    },
];

/// The page.
///
/// # Errors
/// A source file of the checkout can't be read, or has no such type.
pub fn page(root: &Path) -> Result<String> {
    let mut text =
        "# Formats\n\nA field of another type than text, number or boolean has that type's table below.\n\n"
            .to_owned();
    for Format { title, about, types } in FORMATS {
        // Writing to a string can't fail.
        _ = write!(text, "## {title}\n\n{about}\n\n");
        for (file, names) in *types {
            let path = root.join(file);
            let source =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            for name in *names {
                table(&mut text, &source, name).with_context(|| format!("{file} has no type `{name}`"))?;
            }
        }
    }
    Ok(text.trim_end().to_owned() + "\n")
}

/// A field as it stands in the source, gathered line by line.
#[derive(Default)]
struct Field {
    doc: Vec<String>,
    rename: Option<String>,
    is_skipped: bool,
}

/// The table of a type. Nothing where the source has none of this name.
fn table(text: &mut String, source: &str, name: &str) -> Option<()> {
    let is_start = |line: &&str| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line == format!("struct {name} {{") || line == format!("enum {name} {{")
    };
    let lines: Vec<&str> = source.lines().collect();
    let start = lines.iter().position(is_start)?;
    let above =
        lines[..start].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
    let mut about: Vec<&str> = above.filter_map(|line| line.strip_prefix("///")).map(str::trim).collect();
    about.reverse();
    // What follows an empty line is for those who call it.
    let about: Vec<&str> = about.into_iter().take_while(|line| !line.is_empty()).collect();
    _ = write!(
        text,
        "### {name}\n\n{}\n\n| field | type | meaning |\n|---|---|---|\n",
        plain(&about.join(" "))
    );
    let mut field = Field::default();
    for line in lines[start + 1..].iter().take_while(|line| **line != "}") {
        let line = line.trim();
        if let Some(doc) = line.strip_prefix("///") {
            field.doc.push(doc.trim().to_owned());
        } else if line.starts_with("#[") {
            field.is_skipped |= line.contains("(skip)");
            let rename = line.split_once("rename = \"").and_then(|(_, rest)| rest.split('"').next());
            field.rename = rename.map(str::to_owned).or(field.rename);
        } else if let Some(variant) = line.strip_suffix(" {") {
            _ = writeln!(text, "| **`kind = \"{}\"`** | | {} |", kebab(variant), plain(&field.doc.join(" ")));
            field = Field::default();
        } else if let Some((field_name, kind)) = line.strip_prefix("pub ").unwrap_or(line).split_once(": ") {
            let Field { doc, rename, is_skipped } = std::mem::take(&mut field);
            let shown = rename.unwrap_or_else(|| field_name.trim_start_matches("r#").to_owned());
            if !is_skipped {
                let doc = plain(&doc.join(" "));
                _ = writeln!(text, "| `{shown}` | {} | {doc} |", type_name(kind.trim_end_matches(',')));
            }
        }
    }
    text.push('\n');
    Some(())
}

/// Without the links of Rust's documentation, and fit for a cell.
fn plain(text: &str) -> String {
    text.replace("[`", "`").replace("`]", "`").replace('|', "\\|")
}

/// `DebianSource` as `debian-source`.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(c.to_lowercase());
    }
    kebab
}

/// A type in words.
fn type_name(kind: &str) -> String {
    let inside = |outer: &str| kind.strip_prefix(outer)?.strip_suffix('>');
    if let Some(inner) = inside("Option<") {
        return format!("{}, optional", type_name(inner));
    }
    if let Some(inner) = inside("Vec<") {
        return format!("list of {}", type_name(inner));
    }
    if let Some(inner) = inside("BTreeMap<String, ") {
        return format!("table of {}", type_name(inner));
    }
    match kind {
        "String" | "RecipeName" | "Triple" | "License" => "text".to_owned(),
        "u64" | "usize" | "u32" => "number".to_owned(),
        "bool" => "boolean".to_owned(),
        "PathBuf" => "path".to_owned(),
        "Digest" => "`SHA256/BYTES`".to_owned(),
        "Files" => "table of `SHA256/BYTES`".to_owned(),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_a_table() {
        let source = "/// A thing of [`Other`].\n///\n/// For callers.\n#[derive(Debug)]\npub struct Thing {\n    /// Its name, or\n    /// none.\n    \
                      #[serde(default, rename = \"called\")]\n    pub name: Option<String>,\n    #[serde(skip)]\n    pub file: String,\n    \
                      more: Vec<BTreeMap<String, u64>>,\n}\nenum Source {\n    /// A file.\n    DebianSource {\n        /// Where.\n        \
                      pool: PathBuf,\n    },\n}\n";
        let mut text = String::new();
        table(&mut text, source, "Thing").unwrap();
        table(&mut text, source, "Source").unwrap();
        let head = "| field | type | meaning |\n|---|---|---|\n";
        let expected = format!(
            "### Thing\n\nA thing of `Other`.\n\n{head}| `called` | text, optional | Its name, or none. |\n| `more` | list of table of number |  |\n\n\
             ### Source\n\n\n\n{head}| **`kind = \"debian-source\"`** | | A file. |\n| `pool` | path | Where. |\n\n"
        );
        assert_eq!(text, expected);
        assert!(table(&mut text, source, "Nothing").is_none());
    }
}
