//! What is said of a name that nothing has: the nearest of those that there are.

use std::fmt;

/// How many names are listed at most.
const SHOWN: usize = 6;

/// From this likeness on (Jaro-Winkler), a name is taken for a slip of another.
const LIKE: f64 = 0.8;

/// A name that nothing has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What it would name, such as `recipe`.
    pub what: String,
    /// The name.
    pub name: String,
    /// The names that there are, the nearest first.
    pub known: Vec<String>,
    /// How many of them may have been meant.
    pub near: usize,
    /// What lacks it, where that is not everything: ``recipe `tvm-ffi` ``.
    pub whose: Option<String>,
}

impl Unknown {
    /// Of `known`, the names that there are.
    pub fn new<'a>(what: impl Into<String>, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let lower = name.to_lowercase();
        let mut ranked: Vec<(f64, &str)> =
            known.into_iter().map(|known| (likeness(&lower, &known.to_lowercase()), known)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        ranked.dedup();
        let best = ranked.first().map_or(0.0, |(likeness, _)| *likeness);
        let near = ranked.iter().take_while(|(it, _)| *it >= LIKE && *it > best - 0.03).take(3).count();
        let known = ranked.into_iter().map(|(_, known)| known.to_owned()).collect();
        Self { what: what.into(), name: name.to_owned(), known, near, whose: None }
    }

    /// The same of one thing, ``recipe `tvm-ffi` ``, that has no such part.
    pub fn of(self, whose: impl Into<String>) -> Self {
        Self { whose: Some(whose.into()), ..self }
    }
}

/// Between 0 and 1; whoever types a part of a name means it too, and so does who swaps two letters.
fn likeness(name: &str, known: &str) -> f64 {
    let part = name.len() >= 3 && known.split(['-', '_']).any(|part| part == name);
    let slip = name.len() >= 3 && strsim::osa_distance(name, known) <= 1;
    let likeness = strsim::jaro_winkler(name, known);
    if part || slip { likeness.max(0.9) } else { likeness }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) = (&self.what, self.name.escape_debug());
        match &self.whose {
            Some(whose) => write!(f, "{whose} has no {what} `{name}`")?,
            None => write!(f, "there is no {what} `{name}`")?,
        }
        let quoted = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        if self.near > 0 {
            return write!(f, "; did you mean {}?", quoted(&self.known[..self.near]).join(" or "));
        }
        if self.known.is_empty() {
            return Ok(());
        }
        let mut names = self.known.clone();
        names.sort();
        let more = names.len().saturating_sub(SHOWN);
        names.truncate(SHOWN);
        let has = match (&self.whose, names.len()) {
            (Some(_), _) => "it has",
            (None, 1) => "there is",
            (None, _) => "there are",
        };
        write!(f, "; {has} {}", quoted(&names).join(", "))?;
        if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
    }
}

impl std::error::Error for Unknown {}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, known: &[&str]) -> String {
        Unknown::new("recipe", name, known.iter().copied()).to_string()
    }

    #[test]
    fn a_slip_gets_the_name_that_was_meant() {
        let known = ["tvm-ffi", "tvm-runtime", "llvm", "smoke-test"];
        assert_eq!(said("tvm-fii", &known), "there is no recipe `tvm-fii`; did you mean `tvm-ffi`?");
        assert_eq!(said("TVM-FFI", &known), "there is no recipe `TVM-FFI`; did you mean `tvm-ffi`?");
        assert_eq!(said("smoke", &known), "there is no recipe `smoke`; did you mean `smoke-test`?");
        assert_eq!(said("tmv", &["tvm", "mlc"]), "there is no recipe `tmv`; did you mean `tvm`?");
    }

    #[test]
    fn never_are_many_names_on_a_line() {
        let many: Vec<String> = (10..40).map(|number| format!("name-{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let text = said("xyz", &many);
        assert!(text.ends_with("`name-14`, `name-15` and 24 more"), "{text}");
        assert_eq!(said("xyz", &["one"]), "there is no recipe `xyz`; there is `one`");
        assert_eq!(said("xyz", &[]), "there is no recipe `xyz`");
        assert!(said("name-1", &many).matches('`').count() <= 8);
    }

    #[test]
    fn a_hostile_name_is_shown_escaped() {
        assert_eq!(said("\u{1b}[2J", &[]), "there is no recipe `\\u{1b}[2J`");
    }
}
