//! What lies beside a release and says who vouches for it. It is shown and not checked: checking needs keys and a policy.

use super::{code, table, text};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::{fs::File, io::Read, path::Path};

/// Files that are read.
const MOST: usize = 500;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// The section on attestations of a release directory.
pub fn section(directory: &Path) -> String {
    let mut names: Vec<String> = std::fs::read_dir(directory.join("provenance"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".intoto.jsonl") || name.ends_with(".intoto.json"))
        .collect();
    names.sort();
    let mut html = String::from("<h2>Attestations</h2>\n");
    let minisign = directory.join("SHA256SUMS.minisig").is_file();
    if names.is_empty() && !minisign {
        return html + "<p>None lies beside this release: nobody is known to vouch for it.</p>\n";
    }
    html += "<p><strong>Signatures were not checked for this page</strong>: that needs the keys and the policy of whoever reads it.</p>\n";
    if minisign {
        html += &format!("<p>{} is a minisign signature of the checksums.</p>\n", code("SHA256SUMS.minisig"));
    }
    let left_out = names.len().saturating_sub(MOST);
    let rows: Vec<_> = names.iter().take(MOST).map(|name| row(directory, name)).collect();
    if !rows.is_empty() {
        html += &table("Attestations", &["file", "says", "about", "signed by keys"], &rows);
    }
    if left_out > 0 {
        html += &format!("<p>And {left_out} more files.</p>\n");
    }
    html
}

fn row(directory: &Path, name: &str) -> Vec<String> {
    let Some(envelope) = read(&directory.join("provenance").join(name)) else {
        return vec![code(name), "can't be read as an envelope".to_owned(), String::new(), String::new()];
    };
    let statement = envelope
        .get("payload")
        .and_then(Value::as_str)
        .and_then(|payload| STANDARD.decode(payload).ok())
        .and_then(|payload| serde_json::from_slice::<Value>(&payload).ok())
        .unwrap_or_default();
    let kind = statement.get("predicateType").and_then(Value::as_str).unwrap_or("something unknown");
    let subjects: Vec<&str> = statement
        .get("subject")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|subject| subject.get("name")?.as_str())
        .collect();
    let about = match subjects.as_slice() {
        [] => "nothing".to_owned(),
        [one] => code(one),
        [first, rest @ ..] => format!("{} and {} more", code(first), rest.len()),
    };
    let signatures = envelope.get("signatures").and_then(Value::as_array).into_iter().flatten();
    let keys: Vec<_> = signatures
        .take(MOST)
        .map(|it| {
            it.get("keyid")
                .and_then(Value::as_str)
                .filter(|id| !id.is_empty())
                .map_or_else(|| "unnamed".to_owned(), code)
        })
        .collect();
    vec![
        code(name),
        text(kind),
        about,
        if keys.is_empty() { "nobody".to_owned() } else { keys.join("<br/>") },
    ]
}

fn read(path: &Path) -> Option<Value> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let mut text = String::new();
    (metadata.is_file() && metadata.len() <= LONGEST).then_some(())?;
    File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    serde_json::from_str(text.lines().next()?).ok()
}
