//! A module of an architecture, and the parameters that it has.

use crate::expression::{self, Scope, evaluate, interpolate, size, truth};
use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use store::{WithHint, hinted};

/// A module with its parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Entry {
    name: String,
    kind: Role,
    /// Rows and columns; `any` stands for a number that is not checked.
    shape: Vec<String>,
    /// The tensors that are put one after another; the name itself if absent.
    #[serde(default)]
    from: Vec<String>,
    /// Whether the names are those of tensors, not of modules with a `weight`.
    #[serde(default)]
    bare: bool,
    /// Whether there is a bias.
    bias: Option<String>,
    /// Whether it exists.
    when: Option<String>,
    /// How many experts are stacked; `expert` is their number in names.
    experts: Option<String>,
    #[serde(default)]
    transform: Transform,
    /// The rows of the source, see [`Arrangement::Split`](crate::rows::Arrangement).
    split: Option<Split>,
    /// The part of each block of the source's rows that is taken.
    slice: Option<Slice>,
    /// The bias is stored as float32 if this holds.
    wide_bias: Option<String>,
    /// Whether it is stored as float32, whatever the type of the model.
    #[serde(default)]
    wide: bool,
}

/// What is taken of a source whose rows are blocks of `parts`, such as heads of two matrices.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Slice {
    /// How many blocks there are.
    blocks: String,
    parts: Vec<String>,
    /// Which of the parts is taken.
    take: usize,
    /// Whether its rows become columns.
    #[serde(default)]
    transposed: bool,
}

/// A [`Slice`] in numbers.
#[derive(Clone, Debug)]
pub(crate) struct Sliced {
    pub blocks: u64,
    /// Rows of a block.
    pub block: u64,
    pub start: u64,
    pub part: u64,
    pub transposed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    outer: String,
    parts: Vec<String>,
    inner: String,
    /// Whether the bias is arranged like the weight.
    bias: bool,
}

/// What a module is, which decides whether a scheme quantizes it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A table of vectors.
    Embedding,
    /// A linear layer.
    Linear,
    /// The last linear layer, under a name by which the reference knows it.
    Head,
    /// Linear layers of experts, stacked.
    Experts,
    /// A linear layer that chooses experts.
    Router,
    /// A normalisation, or anything else that stays in the model's type.
    Norm,
}

/// What is done to elements before they are cast.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Transform {
    #[default]
    None,
    PlusOne,
    /// One is added after a cast to float32.
    WidePlusOne,
    Transpose,
}

/// A parameter of a model, before quantization.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub name: String,
    pub role: Role,
    /// Weight or bias.
    pub weight: bool,
    /// `None` is a number that is taken from the checkpoint.
    pub shape: Vec<Option<u64>>,
    pub sources: Vec<String>,
    /// Whether it is a stack of matrices, one for each expert.
    pub stacked: bool,
    pub plus_one: bool,
    /// Whether everything is done in float32.
    pub widened: bool,
    pub transposed: bool,
    pub split: Option<(u64, Vec<u64>, u64)>,
    pub slice: Option<Sliced>,
    /// Whether it is stored as float32.
    pub wide: bool,
}

/// Parameters while they are collected.
pub(super) struct Parameters {
    pub list: Vec<Parameter>,
    pub budget: Budget,
}

/// How many tensors a configuration may still ask for. A few numbers in it ask for any number of them, and their names
/// take memory, so what is there bounds what is described. That some are missing is said later, by name.
pub(super) struct Budget {
    tensors: usize,
    left: u64,
}

impl Budget {
    pub fn new(tensors: usize) -> Self {
        Self { tensors, left: 1000 + 4 * tensors as u64 }
    }

    fn take(&mut self, count: u64) -> Result<()> {
        self.left = self.left.checked_sub(count).with_hint(|| {
            hinted(
                format!("config.json describes far more tensors than the {} of the checkpoint", self.tensors),
                "is config.json that of this checkpoint?",
            )
        })?;
        Ok(())
    }
}

/// The names of a module, and the number of an expert.
struct WithExpert<'a> {
    names: expression::Names<'a>,
    expert: u64,
}

impl Scope for WithExpert<'_> {
    fn value(&self, name: &str) -> Result<Value> {
        if name == "expert" { Ok(self.expert.into()) } else { self.names.value(name) }
    }

    fn key(&self, path: &str) -> Result<Option<Value>> {
        self.names.key(path)
    }
}

impl Entry {
    pub fn expand(
        &self,
        prefix: &str,
        source_prefix: &str,
        names: expression::Names,
        parameters: &mut Parameters,
    ) -> Result<()> {
        let holds = |condition: &Option<String>| match condition {
            Some(text) => evaluate(text, names).map(|value| truth(&value)),
            None => Ok(false),
        };
        if self.when.is_some() && !holds(&self.when)? {
            return Ok(());
        }
        let name = prefix.to_owned() + &interpolate(&self.name, names)?;
        let own = [self.name.clone()];
        let from = if self.from.is_empty() { &own[..] } else { &self.from };
        let experts = self.experts.as_ref().map(|text| size(text, names)).transpose()?;
        ensure!(
            experts.is_none_or(|experts| experts <= super::LIMIT),
            "config.json asks for {experts:?} experts"
        );
        parameters.budget.take(experts.unwrap_or(1).saturating_mul(from.len() as u64))?;
        let mut stems = Vec::new();
        for expert in 0..experts.unwrap_or(1) {
            let names = WithExpert { names, expert };
            for template in from {
                stems.push(source_prefix.to_owned() + &interpolate(template, &names)?);
            }
        }
        // The reference takes a text for the name of a number that is not known before it runs.
        let dimension = |text: &String| match text.as_str() {
            "any" => Ok(None),
            "vocab_size" if names.value("vocab_size")?.is_string() => Ok(None),
            text => size(text, names).map(Some),
        };
        let shape = self.shape.iter().map(dimension).collect::<Result<Vec<_>>>()?;
        let split = |split: &Split| -> Result<_> {
            let parts = split.parts.iter().map(|part| size(part, names)).collect::<Result<Vec<_>>>()?;
            Ok((size(&split.outer, names)?, parts, size(&split.inner, names)?))
        };
        let split = self.split.as_ref().map(split).transpose()?;
        let slice = |slice: &Slice| -> Result<_> {
            let parts = slice.parts.iter().map(|part| size(part, names)).collect::<Result<Vec<_>>>()?;
            let (block, start) = (parts.iter().sum(), parts[..slice.take].iter().sum());
            let (blocks, part) = (size(&slice.blocks, names)?, parts[slice.take]);
            Ok(Sliced { blocks, block, start, part, transposed: slice.transposed })
        };
        let suffix = if self.bare { "" } else { ".weight" };
        let sources = |suffix: &str| stems.iter().map(|stem| stem.clone() + suffix).collect();
        let weight = Parameter {
            name: name.clone() + suffix,
            role: self.kind,
            weight: true,
            shape: experts.map(Some).into_iter().chain(shape.iter().copied()).collect(),
            sources: sources(suffix),
            stacked: experts.is_some(),
            plus_one: matches!(self.transform, Transform::PlusOne | Transform::WidePlusOne),
            widened: self.transform == Transform::WidePlusOne,
            transposed: self.transform == Transform::Transpose,
            split: split.clone(),
            slice: self.slice.as_ref().map(slice).transpose()?,
            wide: self.wide,
        };
        parameters.list.push(weight);
        if holds(&self.bias)? {
            parameters.list.push(Parameter {
                name: name + ".bias",
                role: self.kind,
                weight: false,
                shape: shape[..1].to_vec(),
                sources: sources(".bias"),
                stacked: false,
                plus_one: false,
                widened: false,
                transposed: false,
                slice: None,
                split: split.filter(|_| self.split.as_ref().is_some_and(|split| split.bias)),
                wide: holds(&self.wide_bias)?,
            });
        }
        Ok(())
    }
}

/// The expressions between braces.
#[cfg(test)]
pub(super) fn braced(template: &str) -> Vec<&str> {
    template.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect()
}

#[cfg(test)]
impl Entry {
    pub(super) fn expressions(&self) -> Vec<&str> {
        let conditions = [&self.bias, &self.when, &self.experts, &self.wide_bias].into_iter().flatten();
        let split =
            self.split.iter().flat_map(|split| split.parts.iter().chain([&split.outer, &split.inner]));
        let slice = self.slice.iter().flat_map(|slice| slice.parts.iter().chain([&slice.blocks]));
        let plain = self.shape.iter().filter(|size| *size != "any");
        let plain = plain.chain(conditions).chain(split).chain(slice);
        let names = self.from.iter().chain([&self.name]).flat_map(|template| braced(template));
        plain.map(String::as_str).chain(names).collect()
    }
}
