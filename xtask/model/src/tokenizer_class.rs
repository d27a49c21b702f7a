//! The tokenizer classes of Python's `transformers` 4.57.6, as data: `tokenizer_classes.toml`.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

const TABLE: &str = include_str!("tokenizer_classes.toml");

/// Every class by its name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Classes {
    /// Keys of `tokenizer_config.json` with which no class loads: they are the names of its methods.
    pub methods: Vec<String>,
    /// Classes over the `tokenizers` library, which read `tokenizer.json`.
    pub fast: BTreeMap<String, FastClass>,
    /// Classes in Python alone, with the files that they read in place of `tokenizer.json`.
    pub slow: BTreeMap<String, Vec<String>>,
    /// The class where none is named, by `model_type` of `config.json`; empty for models that have none.
    pub models: BTreeMap<String, String>,
}

/// What a class does when it loads.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FastClass {
    /// The special tokens that it has where the configuration does not name them: attribute and token.
    #[serde(default)]
    pub tokens: BTreeMap<String, String>,
    /// Whether it has a token to pad with, or none, of its own, and does not take that of `tokenizer.json`.
    #[serde(default)]
    pub pads: bool,
    /// The class in Python of which it can be made.
    pub slow: Option<String>,
    /// The files of that class.
    #[serde(default)]
    pub files: Vec<String>,
    /// Whether it takes arguments without a name beside its files.
    #[serde(default)]
    pub variadic: bool,
    /// As [`Classes::methods`], for this class.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Whether it puts a token before a text where the configuration does not say.
    #[serde(default)]
    pub add_bos_token: bool,
    /// What it checks and does besides.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Further special tokens.
    #[serde(default)]
    pub additional: Vec<String>,
    /// Further special tokens that a key of the configuration changes: key and token.
    #[serde(default)]
    pub additional_keys: BTreeMap<String, String>,
    /// What becomes of the further tokens when the configuration has a list of them, and when it says null.
    #[serde(default)]
    pub additional_with: Vec<Given>,
    /// Keys without which it does not load.
    #[serde(default)]
    pub needs: Vec<String>,
    /// False for what needs packages that are not there by default.
    #[serde(default = "yes")]
    pub loads: bool,
}

fn yes() -> bool {
    true
}

/// What a class checks, or does, when it loads.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Check {
    /// It makes a post-processor of the tokens that begin and end a text.
    PostProcessor,
    /// It asks the normalizer, which must be there.
    Normalizer,
    /// It needs a sequence of pre-tokenizers, and a model of byte pairs.
    Clip,
    /// It refuses `add_bos_token`.
    NoBos,
    /// It is made of the class in Python when `add_prefix_space` is set.
    PrefixFromSlow,
    /// It has `extra_ids` tokens `<extra_id_0>`, ….
    ExtraIds,
    /// It has tokens `<unk_2>`, … up to `offset`, and is made of the class in Python when others have other names.
    Offset,
    /// `src_lang` is one of its tokens.
    Language,
}

/// What becomes of a class's further special tokens.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Given {
    /// They stay, beside those of the configuration.
    Kept,
    /// Those of the configuration replace them.
    Replaced,
    /// It does not load.
    Refused,
}

/// Reads the table.
pub(crate) fn classes() -> Result<Classes> {
    toml::from_str(TABLE).context("tokenizer_classes.toml is damaged")
}

/// A class that a name stands for.
pub(crate) enum Found<'a> {
    Fast(&'a FastClass),
    Slow(&'a [String]),
}

impl Classes {
    /// The class that is taken for a name in a configuration: the fast one of this name with or without `Fast`.
    pub fn named(&self, name: &str) -> Option<Found<'_>> {
        let fast = if name.ends_with("Fast") { name.to_owned() } else { format!("{name}Fast") };
        self.fast.get(&fast).map(Found::Fast).or_else(|| self.exactly(name))
    }

    /// The class of exactly this name.
    pub fn exactly(&self, name: &str) -> Option<Found<'_>> {
        if let Some(class) = self.fast.get(name) {
            return Some(Found::Fast(class));
        }
        let twin = self.fast.values().find(|class| class.slow.as_deref() == Some(name));
        self.slow.get(name).or(twin.map(|class| &class.files)).map(|files| Found::Slow(files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resolved_as_by_auto_tokenizer() {
        let classes = classes().unwrap();
        assert_eq!((classes.fast.len(), classes.slow.len()), (65, 44));
        for name in ["LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizer", "GPTNeoXTokenizer"] {
            assert!(matches!(classes.named(name), Some(Found::Fast(_))), "{name}");
        }
        assert!(
            matches!(classes.named("GPTSw3Tokenizer"), Some(Found::Slow([file])) if file == "spiece.model")
        );
        for name in ["TokenizersBackend", "QWenTokenizer", "Fast", ""] {
            assert!(classes.named(name).is_none(), "{name}");
        }
        let Some(Found::Fast(gpt2)) = classes.named("GPT2Tokenizer") else { panic!("it is fast") };
        assert_eq!(gpt2.tokens["unk_token"], "<|endoftext|>");
        // RAG's is two tokenizers in one, and no class over a file.
        for name in classes.models.values().filter(|name| !matches!(name.as_str(), "" | "RagTokenizer")) {
            assert!(classes.exactly(name).is_some(), "{name}");
        }
        for class in classes.fast.values() {
            assert!(matches!(class.additional_with.len(), 0 | 2));
        }
    }
}
