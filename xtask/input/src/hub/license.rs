//! What may be done with a model, as far as the name of its license tells.

use anyhow::{Context, Result};
use serde::Deserialize;

const TABLE: &str = include_str!("licenses.toml");

/// What a license allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// Any use, with the license's text.
    Open,
    /// Research and other use that earns nothing; not a product.
    ResearchOnly,
    /// Something else: it has to be read.
    Conditions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    open: Vec<String>,
    research_only: Vec<String>,
}

impl Terms {
    /// The terms of a license by its name on model cards.
    pub fn of(license: &str) -> Result<Self> {
        let table: Table = toml::from_str(TABLE).context("hub/licenses.toml is malformed")?;
        let is_in = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case(license));
        Ok(match (is_in(&table.open), is_in(&table.research_only)) {
            (_, true) => Self::ResearchOnly,
            (true, false) => Self::Open,
            (false, false) => Self::Conditions,
        })
    }

    /// What whoever wants to publish has to know; nothing where the license asks for nothing but its text.
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::ResearchOnly => {
                Some("it is for research only: do not publish the converted weights as a product, or in one")
            }
            Self::Conditions => Some("it has conditions: read it before you publish the converted weights"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn research_licenses_warn() {
        for (license, expected) in [
            ("apache-2.0", Terms::Open),
            ("MIT", Terms::Open),
            ("qwen-research", Terms::ResearchOnly),
            ("cc-by-nc-4.0", Terms::ResearchOnly),
            ("llama3.2", Terms::Conditions),
            ("other", Terms::Conditions),
        ] {
            assert_eq!(Terms::of(license).unwrap(), expected, "{license}");
        }
        assert!(Terms::ResearchOnly.warning().unwrap().contains("research only"));
        assert_eq!(Terms::Open.warning(), None);
    }
}
