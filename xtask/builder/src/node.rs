//! What is built: a recipe for a target.

use crate::name::{RecipeName, Triple};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A recipe for a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Node {
    /// The recipe's name.
    pub recipe: RecipeName,
    /// The LLVM triple.
    pub target: Triple,
}

impl Node {
    /// `recipe` for `target`.
    pub fn new(recipe: &RecipeName, target: &Triple) -> Self {
        Self { recipe: recipe.clone(), target: target.clone() }
    }

    /// The same from texts. Errors: one of them is not a name.
    pub fn parse(recipe: &str, target: &str) -> Result<Self> {
        Ok(Self { recipe: recipe.parse()?, target: target.parse()? })
    }
}

/// `RECIPE@TARGET`, with the whole triple.
impl FromStr for Node {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self> {
        let (recipe, target) = text
            .split_once('@')
            .with_context(|| format!("`{}` is not RECIPE@TARGET", text.escape_debug()))?;
        Self::parse(recipe, target)
    }
}

/// `RECIPE@TARGET`, as the command line writes it.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.recipe, self.target)
    }
}
