//! Pages: one HTML file each, which needs no script, no font and nothing else of anybody.
//!
//! A page shows what a stranger's files say, so every text that goes into it goes through [`text`], and a policy in the
//! page forbids whatever could be fetched or run.

mod attestation;
mod comparison;
mod release;
#[cfg(test)]
mod tests;

use crate::names::printable;
use builder::drawing::escaped;

pub use comparison::{Rebuild, comparison_page, rebuild_page};
pub use release::release_page;

const STYLE: &str = include_str!("style.css");

/// Nothing is loaded and nothing runs; styles stand in the page itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A stranger's text for a page: what is not shown, or turns the text around, is escaped as well.
fn text(stranger: &str) -> String {
    escaped(&printable(stranger))
}

/// A page. `body` is HTML. It is XML at the same time, so that whatever reads XML can check it.
fn page(title: &str, body: &str) -> String {
    let title = text(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"{POLICY}\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<meta name=\"referrer\" \
         content=\"no-referrer\"/>\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n\
         </body>\n</html>\n"
    )
}

/// The most columns of a table: style.css has a name for each, which stands before the cell where a window is narrow.
const COLUMNS: usize = 6;

/// A table: what it shows, for those who hear it; the heads; and the cells, which are HTML. Columns without content are left out. Where it
/// is too wide, it is moved by itself; on a phone, the cells of a row stand below each other.
fn table(name: &str, heads: &[&'static str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return "<p>None.</p>\n".to_owned();
    }
    let shown: Vec<usize> = (0..heads.len().min(COLUMNS))
        .filter(|&column| rows.iter().any(|row| row.get(column).is_some_and(|cell| !cell.is_empty())))
        .collect();
    let names: String = shown
        .iter()
        .zip(1..)
        .map(|(&column, number)| format!("--h{number}:'{}: ';", heads[column]))
        .collect();
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table style=\"{names}\"><thead><tr>",
        text(name)
    );
    for &column in &shown {
        html += &format!("<th scope=\"col\">{}</th>", text(heads[column]));
    }
    html += "</tr></thead><tbody>\n";
    for row in rows {
        html += "<tr>";
        for &column in &shown {
            html += &format!("<td>{}</td>", row.get(column).map_or("", String::as_str));
        }
        html += "</tr>\n";
    }
    html + "</tbody></table></div>\n"
}

/// Names and values; the values are HTML.
fn pairs(pairs: &[(&str, String)]) -> String {
    let pair = |(name, value): &(&str, String)| format!("<dt>{}</dt><dd>{value}</dd>\n", text(name));
    format!("<dl>\n{}</dl>\n", pairs.iter().map(pair).collect::<String>())
}

fn code(stranger: &str) -> String {
    format!("<code>{}</code>", text(stranger))
}

/// A sentence, in which backticks are around what a program reads or writes.
fn prose(stranger: &str) -> String {
    let parts: Vec<_> = stranger.split('`').collect();
    if parts.len() % 2 == 0 {
        return text(stranger);
    }
    let part = |(index, part): (usize, &&str)| if index % 2 == 0 { text(part) } else { code(part) };
    parts.iter().enumerate().map(part).collect()
}

/// Below, bytes are few enough to be read.
const FEW: u64 = 10 << 10;

/// A size that people read, with the exact one where that is another.
fn exact_size(bytes: u64) -> String {
    if bytes < FEW { size(bytes) } else { format!("{} ({bytes} bytes)", size(bytes)) }
}

/// A size that people read.
fn size(bytes: u64) -> String {
    match bytes {
        0..FEW => format!("{bytes} bytes"),
        _ if bytes < 1 << 20 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ if bytes < 1 << 30 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}
