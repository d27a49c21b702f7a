//! SentencePiece models: `tokenizer.model`, a protocol buffer (`sentencepiece_model.proto`, of which these are the
//! fields that a conversion needs).

use anyhow::{Context, Result, bail, ensure};
use prost::Message;
use std::collections::HashMap;

/// No piece of a sound model is longer, and every way to cut a piece in two is looked up.
const LONGEST_PIECE: usize = 1024;

/// A vocabulary, and how it was trained.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(message, repeated, tag = "1")]
    pub pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
}

/// A piece of text; its place among the others is its number.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Piece {
    #[prost(string, optional, tag = "1")]
    pub text: Option<String>,
    /// The logarithm of a probability, or the rank of a merge, negated.
    #[prost(float, optional, tag = "2")]
    pub score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    #[prost(int32, optional, tag = "3", default = "1")]
    algorithm: Option<i32>,
    #[prost(string, optional, tag = "45", default = "<unk>")]
    unknown_piece: Option<String>,
}

/// How a text is cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Unigram,
    BytePairs,
}

impl Piece {
    /// A token that steers a model and stands for no text.
    pub fn is_control(&self) -> bool {
        self.kind() == 3
    }

    /// A token that is never cut.
    pub fn is_user_defined(&self) -> bool {
        self.kind() == 4
    }
}

impl Model {
    /// Reads a model.
    ///
    /// # Errors
    /// When the bytes are none, or contradict themselves.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let model = Self::decode(bytes).context("it is not a SentencePiece model")?;
        ensure!(!model.pieces.is_empty(), "it has no pieces");
        let mut seen = HashMap::new();
        for (number, piece) in model.pieces.iter().enumerate() {
            let text = piece.text();
            ensure!(!text.is_empty(), "piece {number} is empty");
            ensure!(text.len() <= LONGEST_PIECE, "piece {number} has {} bytes", text.len());
            ensure!(piece.score().is_finite(), "piece {number} has the score {}", piece.score());
            if let Some(first) = seen.insert(text, number) {
                bail!("its pieces {first} and {number} are both `{}`", text.escape_debug());
            }
        }
        Ok(model)
    }

    pub fn algorithm(&self) -> Result<Algorithm> {
        match self.trainer.clone().unwrap_or_default().algorithm() {
            1 => Ok(Algorithm::Unigram),
            2 => Ok(Algorithm::BytePairs),
            other => bail!("it cuts text by algorithm {other}, neither unigrams nor byte pairs"),
        }
    }

    /// The piece that stands for what the model does not know.
    pub fn unknown(&self) -> String {
        self.trainer.clone().unwrap_or_default().unknown_piece().to_owned()
    }
}

/// The pairs of pieces that make up a scored piece, in the order in which they are merged: highest score first, then
/// the longest halves, then as `transformers` finds them.
pub(crate) fn merges<'a>(
    numbers: &HashMap<&str, usize>,
    scored: impl Iterator<Item = (&'a str, f64)>,
) -> Vec<(&'a str, &'a str)> {
    let mut found = Vec::new();
    for (text, score) in scored {
        let cuts = text.char_indices().skip(1).filter_map(|(cut, _)| {
            let (left, right) = text.split_at(cut);
            Some(((numbers.get(left)?, numbers.get(right)?), (left, right)))
        });
        let mut cuts: Vec<_> = cuts.collect();
        cuts.sort_by_key(|(numbers, _)| *numbers);
        let length = |text: &str| text.chars().count();
        found.extend(cuts.into_iter().map(|(_, (a, b))| (score, length(a), length(b), (a, b))));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then((b.1, b.2).cmp(&(a.1, a.2))));
    found.into_iter().map(|(.., pair)| pair).collect()
}
