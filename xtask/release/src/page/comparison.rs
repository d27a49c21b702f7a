//! The page on a comparison: of a release with its rebuild, or of any two files or directories.

use super::{code, page, pairs, prose, size, table, text};
use crate::{File, Manifest};
use anyhow::Result;
use artifact::{Change, Comparison, Side};
use serde::Serialize;
use std::path::Path;
use store::Digest;

/// How a release and its rebuild compare: what `verify --rebuild --report` writes as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Rebuild {
    /// The version of this format.
    pub schema: &'static str,
    /// The release's name.
    pub release: String,
    /// SHA-256 of the release's `release.json`.
    pub manifest_sha256: Option<String>,
    /// What built it again.
    pub rebuilt_by: String,
    /// Whether all is the same.
    pub same: bool,
    /// For each archive and model directory whether it is the same.
    pub artifacts: Vec<(String, bool)>,
    /// What differs, the release first.
    pub comparison: Comparison,
}

impl Rebuild {
    /// The version of the format.
    pub const SCHEMA: &'static str = "mlc-repro/rebuild/1";

    /// Compares a release directory with its rebuild; `who` built it again.
    ///
    /// # Errors
    /// If one of them can't be read.
    pub fn new(
        (directory, rebuilt): (&Path, &Path),
        manifest: &Manifest,
        manifest_sha256: Option<String>,
        who: &str,
    ) -> Result<Self> {
        // By digest, since a comparison with many differences does not list all of them.
        let is_same = |file: &File| {
            let of = |directory: &Path| Digest::of_file(&directory.join(&file.path)).ok();
            of(directory).is_some_and(|digest| of(rebuilt) == Some(digest))
        };
        let archives = manifest.artifacts.iter().map(|it| (it.archive.path.clone(), is_same(&it.archive)));
        let models = manifest.models.iter().map(|it| (it.conversion.title(), it.files.iter().all(is_same)));
        let artifacts = archives.chain(models).collect();
        let comparison = artifact::compare_paths(directory, rebuilt)?;
        Ok(Self {
            schema: Self::SCHEMA,
            release: manifest.name.clone(),
            manifest_sha256,
            rebuilt_by: who.to_owned(),
            same: comparison.same,
            artifacts,
            comparison,
        })
    }
}

/// Levels of headings below the first.
const LEVELS: usize = 5;

/// The page on a rebuild.
pub fn rebuild_page(rebuild: &Rebuild) -> String {
    let mut html = match rebuild.same {
        true => "<p class=\"good\">Built again to the same bytes.</p>\n".to_owned(),
        false => "<p class=\"bad\">The rebuild differs.</p>\n".to_owned(),
    };
    html += &pairs(&[
        ("release.json", code(rebuild.manifest_sha256.as_deref().unwrap_or("?"))),
        ("rebuilt by", prose(&rebuild.rebuilt_by)),
    ]);
    let row = |(name, same): &(String, bool)| {
        let verdict =
            if *same { "<span class=\"good\">same</span>" } else { "<span class=\"bad\">differs</span>" };
        vec![text(name), verdict.to_owned()]
    };
    html += "<h2>Artifacts</h2>\n";
    html +=
        &table("Artifacts", &["artifact", "rebuilt"], &rebuild.artifacts.iter().map(row).collect::<Vec<_>>());
    html += &differences(&rebuild.comparison);
    page(&format!("Rebuild of {}", rebuild.release), &html)
}

/// The page on two files or directories.
pub fn comparison_page(comparison: &Comparison) -> String {
    let verdict = match comparison.same {
        true => "<p class=\"good\">Both are the same, byte for byte.</p>\n",
        false => "<p class=\"bad\">They differ.</p>\n",
    };
    page(&format!("Comparison of {}", comparison.name), &format!("{verdict}{}", differences(comparison)))
}

fn differences(comparison: &Comparison) -> String {
    if comparison.same {
        return String::new();
    }
    let mut html = String::new();
    let causes = comparison.causes();
    if !causes.is_empty() {
        html += "<h2>Likely causes</h2>\n<p>Guessed from what the values look like.</p>\n";
        let rows: Vec<_> = causes
            .iter()
            .map(|(cause, count)| vec![text(cause.title()), count.to_string(), text(cause.advice())])
            .collect();
        html += &table("Likely causes", &["cause", "times", "what helps"], &rows);
    }
    html += "<h2>Differences</h2>\n<p>On the first side is what was expected, on the second what was found.</p>\n";
    // Without recursion: how deep a comparison is, is bounded, but that is another's promise.
    let mut open = vec![(3, comparison.name.clone(), comparison)];
    while let Some((level, path, comparison)) = open.pop() {
        html += &one(level, &path, comparison);
        for member in comparison.members.iter().rev() {
            open.push(((level + 1).min(LEVELS + 1), format!("{path} › {}", member.name), member));
        }
    }
    html
}

fn one(level: usize, path: &str, comparison: &Comparison) -> String {
    let mut html =
        format!("<h{level}>{}</h{level}>\n<p class=\"weak\">{}</p>\n", text(path), text(&comparison.kind));
    let side = |side: &Option<Side>| {
        side.as_ref().map(|side| format!("{}, {}", size(side.size), code(&side.sha256)))
    };
    let sides: Vec<_> = [("expected", side(&comparison.expected)), ("found", side(&comparison.found))]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    if !sides.is_empty() {
        html += &pairs(&sides);
    }
    for note in &comparison.notes {
        html += &format!("<p>{}</p>\n", prose(note));
    }
    if !comparison.changes.is_empty() {
        let rows: Vec<_> = comparison.changes.iter().map(change).collect();
        let heads = ["place", "what", "expected", "found", "at", "likely cause"];
        html += &table(&format!("Differences of {path}"), &heads, &rows);
    }
    if comparison.left_out > 0 {
        html += &format!("<p>And {} more.</p>\n", comparison.left_out);
    }
    html
}

fn change(change: &Change) -> Vec<String> {
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| "(not there)".to_owned(), code);
    let mut at = change.offset.map_or_else(String::new, |offset| code(&format!("{offset:#x}")));
    if let Some(symbol) = &change.symbol {
        at += &format!(" in {}", code(symbol));
    }
    vec![
        text(&change.place),
        text(&change.what),
        value(&change.expected),
        value(&change.found),
        at,
        change.cause.map_or_else(String::new, |cause| text(cause.title())),
    ]
}
