//! What a converted model computes: a forward pass in float32 over its shards, written to be read and not to be fast.
//!
//! It shares no code with TVM or MLC. Where a model library gives other tokens than this, the library or the device is
//! at fault; where this gives nonsense, the conversion or the checkpoint is.

mod pass;
mod settings;
#[cfg(test)]
mod tests;
mod weights;

use self::{pass::Pass, settings::Settings};
use crate::{chat_config::CHAT_CONFIG, inspect::Tensors, verify, verify::read_chat_config};
use anyhow::{Result, bail, ensure};
use serde::Serialize;
use std::path::Path;
use store::hinted;

pub use settings::REFERENCED;

/// The prompt where none is given: any ids will do, and every vocabulary has these.
pub const DEFAULT_PROMPT: [u32; 7] = [1, 2, 3, 4, 5, 6, 7];

/// A converted model, ready to compute.
pub struct Reference {
    tensors: Tensors,
    settings: Settings,
}

/// What a model answered to a prompt.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The architecture's name.
    pub architecture: String,
    /// The quantization's name.
    pub quantization: String,
    /// The prompt.
    pub prompt: Vec<u32>,
    /// What was generated: at each step the likeliest token.
    pub steps: Vec<Step>,
    /// The logits after the prompt, for the whole vocabulary.
    pub logits: Vec<f32>,
}

/// A generated token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The token.
    pub token: u32,
    /// Its logit.
    pub logit: f32,
    /// The token that came second.
    pub second: u32,
    /// How much less the second's logit is. A device that rounds otherwise can change places of two that are near.
    pub margin: f32,
}

impl Step {
    /// The likeliest token; of equal ones the first, as MLC's sampler has it.
    fn likeliest(logits: &[f32]) -> Result<Self> {
        if let Some(token) = logits.iter().position(|logit| !logit.is_finite()) {
            bail!(hinted(
                format!("the logit of token {token} is {}", logits[token]),
                "a weight is not a number or too large: `model report` compares the weights with the checkpoint's"
            ));
        }
        let larger = |best: Option<usize>, other: usize| match best {
            Some(best) if logits[other] <= logits[best] => Some(best),
            _ => Some(other),
        };
        let best = (0..logits.len()).fold(None, larger).unwrap_or(0);
        let second = (0..logits.len()).filter(|index| *index != best).fold(None, larger).unwrap_or(best);
        Ok(Self {
            token: best as u32,
            logit: logits[best],
            second: second as u32,
            margin: logits[best] - logits[second],
        })
    }
}

impl Reference {
    /// Opens a converted model, after checking it as [`verify()`](crate::verify()) does.
    ///
    /// # Errors
    /// If the model is not whole, has no chat configuration, or is of an architecture or quantization that has no
    /// reference.
    pub fn open(directory: &Path) -> Result<Self> {
        // What has no reference need not be hashed first.
        let config = read_chat_config(directory)?;
        let settings = config.as_ref().map(Settings::read).transpose()?;
        let findings = verify(directory)?;
        if let Some(first) = findings.first() {
            let more = match findings.len() {
                1 => String::new(),
                count => format!(" (and {} more findings)", count - 1),
            };
            bail!(hinted(
                format!("the model is not whole: {first}{more}"),
                format!("run `cargo xtask model verify {}`", directory.display())
            ));
        }
        let Some(settings) = settings else {
            bail!(hinted(
                format!("{} has no {CHAT_CONFIG}, which says what the weights are of", directory.display()),
                "write it with `cargo xtask model chat-config`"
            ));
        };
        let reference = Self { tensors: Tensors::open(directory)?, settings };
        reference.pass()?;
        Ok(reference)
    }

    fn pass(&self) -> Result<Pass<'_>> {
        Pass::new(&self.tensors, &self.settings)
    }

    /// Feeds a prompt, then generates `count` tokens, at least one, each the likeliest.
    ///
    /// # Errors
    /// If the prompt is empty, has a token outside of the vocabulary or no room in the context, or if a logit is not a
    /// number.
    pub fn answer(&self, prompt: &[u32], count: usize) -> Result<Answer> {
        let settings = &self.settings;
        ensure!(!prompt.is_empty(), "the prompt has no token");
        ensure!(count > 0, "there is nothing to generate");
        if let Some(token) = prompt.iter().find(|token| **token as usize >= settings.vocabulary) {
            bail!("there is no token {token}: the vocabulary ends at {}", settings.vocabulary - 1);
        }
        let length = prompt.len().saturating_add(count - 1);
        if let Some(context) = settings.context.filter(|context| length > *context) {
            bail!(hinted(
                format!(
                    "a prompt of {} tokens and {count} generated ones do not fit into a context of {context}",
                    prompt.len()
                ),
                "give fewer `--tokens`, or a smaller `--generate`"
            ));
        }
        let mut pass = self.pass()?;
        let logits = pass.feed(prompt);
        let mut steps = vec![Step::likeliest(&logits)?];
        while steps.len() < count {
            let token = steps[steps.len() - 1].token;
            steps.push(Step::likeliest(&pass.feed(&[token]))?);
        }
        Ok(Answer {
            architecture: settings.architecture.to_owned(),
            quantization: settings.scheme.name.to_owned(),
            prompt: prompt.to_owned(),
            steps,
            logits,
        })
    }
}
