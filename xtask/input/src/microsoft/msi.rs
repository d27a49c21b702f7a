//! What stands in a Windows Installer database: which cabinets it names, and which headers and libraries are in them.
//!
//! xwin unpacks these; what it would write outside of its directory, or never come to an end with, is refused here first.

use anyhow::{Context, Result, bail, ensure};
use msi::{Package, Row, Select};
use std::{
    collections::BTreeMap,
    io::{Read, Seek},
};

/// More directories in one another than any installer has.
const DEEPEST: usize = 64;

/// The part of a database that matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Cabinets in files of their own, by name.
    pub cabinets: Vec<String>,
    /// Headers and libraries: where xwin puts each (`include/um/windows.h`), and its size in bytes.
    pub files: BTreeMap<String, u64>,
}

/// Reads a database. Errors: it is none; its directories go round in circles; a name would leave its directory.
pub fn read(file: impl Read + Seek) -> Result<Contents> {
    let mut package = Package::open(file).context("this is not a Windows Installer database")?;
    let mut cabinets = Vec::new();
    for row in rows(&mut package, "Media", &["Cabinet"])? {
        // A disk without one, and those inside the database (`#`), need no file.
        if let Some(name) = row["Cabinet"].as_str().map(|name| name.trim_matches('"'))
            && !name.is_empty()
            && !name.starts_with('#')
        {
            ensure!(is_file_name(name), "the cabinet `{}` has no proper name", name.escape_debug());
            cabinets.push(name.to_owned());
        }
    }
    let mut directories = BTreeMap::new();
    for row in rows(&mut package, "Directory", &["Directory", "Directory_Parent", "DefaultDir"])? {
        let name = long_name(text(&row, "DefaultDir")?);
        ensure!(is_file_name(name) || name == ".", "a directory is called `{}`", name.escape_debug());
        let parent = row["Directory_Parent"].as_str().map(str::to_owned);
        directories.insert(text(&row, "Directory")?.to_owned(), (parent, name.to_owned()));
    }
    let mut places = BTreeMap::new();
    for row in rows(&mut package, "Component", &["Component", "Directory_"])? {
        let place = place(&directories, text(&row, "Directory_")?)?;
        places.insert(text(&row, "Component")?.to_owned(), place);
    }
    let mut files = BTreeMap::new();
    for row in rows(&mut package, "File", &["File", "Component_", "FileName", "FileSize", "Sequence"])? {
        let name = long_name(text(&row, "FileName")?);
        ensure!(is_file_name(name), "a file is called `{}`", name.escape_debug());
        let component = text(&row, "Component_")?;
        let place = places.get(component).with_context(|| format!("`{name}` is of an unknown component"))?;
        let size = row["FileSize"].as_int().and_then(|size| u64::try_from(size).ok());
        let size = size.with_context(|| format!("`{name}` has no size"))?;
        if let Some(place) = place {
            files.insert(format!("{place}/{name}"), size);
        }
    }
    Ok(Contents { cabinets, files })
}

/// Whether a name stays in its directory, on any system.
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

/// Where xwin puts what is in a directory: below `Lib` or `Include`, without the version. Nothing for what is elsewhere.
fn place(directories: &BTreeMap<String, (Option<String>, String)>, id: &str) -> Result<Option<String>> {
    let (mut id, mut names) = (id, Vec::new());
    for _ in 0..DEEPEST {
        let Some((parent, name)) = directories.get(id) else { return Ok(None) };
        match name.as_str() {
            "Lib" | "Include" => {
                names.push(name.to_ascii_lowercase());
                names.reverse();
                return Ok(Some(names.join("/")));
            }
            name if name.starts_with(|first: char| first.is_ascii_digit()) || name == "." => {}
            name => names.push(name.to_owned()),
        }
        let Some(parent) = parent else { return Ok(None) };
        id = parent;
    }
    bail!("its directories are more than {DEEPEST} deep, or go round in circles")
}

/// `SHORT~1|long name`, as names are written.
fn long_name(text: &str) -> &str {
    text.split_once('|').map_or(text, |(_, long)| long)
}

fn text<'a>(row: &'a Row, column: &str) -> Result<&'a str> {
    row[column].as_str().with_context(|| format!("a `{column}` is not text"))
}

fn rows<F: Read + Seek>(package: &mut Package<F>, table: &str, columns: &[&str]) -> Result<Vec<Row>> {
    let rows: Vec<Row> = package
        .select_rows(Select::table(table))
        .with_context(|| format!("the table `{table}` can't be read"))?
        .collect();
    if let Some(first) = rows.first() {
        for column in columns {
            ensure!(first.has_column(column), "the table `{table}` has no `{column}`");
        }
    }
    Ok(rows)
}
