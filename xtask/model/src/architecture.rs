//! Architectures as tables: which parameters a model has, and what of a checkpoint they are made of.

use crate::expression::{self, evaluate, interpolate, size, truth};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

include!(concat!(env!("OUT_DIR"), "/architectures.rs"));

/// One file of `architectures/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Architecture {
    /// What `config.json` may call it in `model_type`.
    pub model_types: Vec<String>,
    /// The name that the reference's registry and `mlc-chat-config.json` use; that in `model_type` if absent.
    #[serde(default)]
    pub registry: String,
    /// Whether there are 8-bit float conversions of it.
    #[serde(default)]
    float8: bool,
    /// Whether AutoAWQ checkpoints of it are understood.
    #[serde(default)]
    awq: bool,
    /// Whether checkpoints of it with 8-bit float blocks are understood.
    #[serde(default)]
    block_scale: bool,
    /// The key of an object in `config.json` that holds the text model's configuration, where there is one.
    section: Option<String>,
    /// Names for expressions, which may use keys of the configuration and one another.
    #[serde(default)]
    values: BTreeMap<String, String>,
    /// What must hold, with the sentence for when it does not.
    #[serde(default)]
    require: Vec<(String, String)>,
    /// How many layers there are.
    layers: String,
    /// What stands before the names of `layer`.
    prefix: String,
    /// The same in checkpoints, where it differs.
    source_prefix: Option<String>,
    /// Tensors that belong to checkpoints but to no parameter; they do not count.
    #[serde(default)]
    unused: Vec<String>,
    /// The same for every layer, without prefix.
    #[serde(default)]
    layer_unused: Vec<String>,
    /// Parameters outside layers, before in the order of the reference's loader.
    parameters: Vec<Entry>,
    /// Parameters of every layer.
    #[serde(default)]
    layer: Vec<Entry>,
    /// The configuration that `mlc-chat-config.json` repeats.
    pub(crate) config: ConfigTable,
}

/// A configuration: its fields in order, each `name` or `name = default`, and what is done to them then, each
/// `field = expression`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigTable {
    pub fields: Vec<String>,
    pub rules: Vec<String>,
    /// What must hold when the rules were applied.
    #[serde(default)]
    pub requires: Vec<String>,
    /// The configuration of the text model inside, which keeps the keys that it does not know.
    pub text: Option<Box<ConfigTable>>,
}

/// A module with its parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    name: String,
    kind: Role,
    /// Rows and columns; `any` stands for a number that is not checked.
    shape: Vec<String>,
    /// The tensors that are put one after another; the name itself if absent.
    #[serde(default)]
    from: Vec<String>,
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
    /// The bias is stored as float32 if this holds.
    wide_bias: Option<String>,
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
    pub plus_one: bool,
    pub transposed: bool,
    pub split: Option<(u64, Vec<u64>, u64)>,
    pub wide: bool,
}

/// What a model has.
pub(crate) struct Model {
    pub parameters: Vec<Parameter>,
    pub unused: BTreeSet<String>,
}

/// The architecture called `name`, or, for `auto`, the one whose `model_type` stands in `config.json`.
///
/// # Errors
/// When there is none; the message lists them.
pub fn architecture(name: &str, config: &Map<String, Value>) -> Result<Architecture> {
    let wanted = match name {
        "auto" => config
            .get("model_type")
            .and_then(Value::as_str)
            .context("config.json has no `model_type`\nhint: name the architecture with `--architecture`")?,
        name => name,
    };
    let mut known = Vec::new();
    for (file, text) in TABLES {
        let mut architecture: Architecture =
            toml::from_str(text).with_context(|| format!("architectures/{file} is not an architecture"))?;
        if architecture.model_types.iter().any(|model_type| model_type == wanted) {
            if architecture.registry.is_empty() {
                wanted.clone_into(&mut architecture.registry);
            }
            return Ok(architecture);
        }
        known.extend(architecture.model_types);
    }
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    bail!(
        "there is no architecture `{}`\nhint: {}",
        store::printable(wanted),
        crate::quantization::choices(wanted, &known)
    )
}

/// The most layers or experts that a configuration may ask for.
const LIMIT: u64 = 10_000;

impl Architecture {
    /// Whether the reference converts it with a scheme of this kind.
    pub(crate) fn check_scheme(&self, scheme: &crate::quantization::Scheme) -> Result<()> {
        use crate::quantization::Kind;
        let offered = match scheme.kind {
            Kind::Cast | Kind::Group(_) => true,
            Kind::Float8 { .. } => self.float8,
            Kind::Awq => self.awq,
            Kind::BlockScale { .. } => self.block_scale,
        };
        ensure!(
            offered,
            "`{}` cannot be converted with `{}`: MLC does not run this combination",
            self.registry,
            scheme.name
        );
        Ok(())
    }

    /// The value of a name in this architecture's expressions.
    pub(crate) fn lookup(&self, config: &Map<String, Value>, name: &str, depth: usize) -> Result<Value> {
        ensure!(depth < 16, "`{name}` is defined by itself");
        if let Some(expression) = self.values.get(name) {
            let names = |inner: &str| {
                if inner == name { Ok(self.key(config, name)) } else { self.lookup(config, inner, depth + 1) }
            };
            return evaluate(expression, &names);
        }
        Ok(self.key(config, name))
    }

    fn key(&self, config: &Map<String, Value>, name: &str) -> Value {
        let section = self.section.as_ref().and_then(|section| config.get(section)?.get(name));
        section.or_else(|| config.get(name)).cloned().unwrap_or(Value::Null)
    }

    /// The parameters of the model that `config` describes, in the order in which the reference registers them.
    ///
    /// # Errors
    /// When the configuration lacks a key, has one of the wrong type, or describes a model that MLC has not.
    pub(crate) fn model(&self, config: &Map<String, Value>) -> Result<Model> {
        let names = |name: &str| self.lookup(config, name, 0);
        for (condition, sentence) in &self.require {
            ensure!(truth(&evaluate(condition, &names)?), "{sentence}");
        }
        let layers = size(&self.layers, &names)?;
        ensure!(layers <= LIMIT, "config.json asks for {layers} layers");
        let mut parameters = Vec::new();
        let mut unused = BTreeSet::new();
        for entry in &self.parameters {
            entry.expand("", "", &names, &mut parameters)?;
        }
        for template in &self.unused {
            unused.insert(interpolate(template, &names)?);
        }
        let source_prefix = self.source_prefix.as_ref().unwrap_or(&self.prefix);
        for layer in 0..layers {
            let names =
                |name: &str| if name == "layer" { Ok(layer.into()) } else { self.lookup(config, name, 0) };
            let (prefix, source) = (interpolate(&self.prefix, &names)?, interpolate(source_prefix, &names)?);
            for entry in &self.layer {
                entry.expand(&prefix, &source, &names, &mut parameters)?;
            }
            for template in &self.layer_unused {
                unused.insert(source.clone() + &interpolate(template, &names)?);
            }
        }
        Ok(Model { parameters, unused })
    }
}

impl Entry {
    fn expand(
        &self,
        prefix: &str,
        source_prefix: &str,
        names: expression::Names,
        parameters: &mut Vec<Parameter>,
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
        ensure!(experts.is_none_or(|experts| experts <= LIMIT), "config.json asks for {experts:?} experts");
        let mut stems = Vec::new();
        for expert in 0..experts.unwrap_or(1) {
            let names = |name: &str| if name == "expert" { Ok(expert.into()) } else { names(name) };
            for template in from {
                stems.push(source_prefix.to_owned() + &interpolate(template, &names)?);
            }
        }
        let dimension = |text: &String| if text == "any" { Ok(None) } else { size(text, names).map(Some) };
        let shape = self.shape.iter().map(dimension).collect::<Result<Vec<_>>>()?;
        let split = |split: &Split| -> Result<_> {
            let parts = split.parts.iter().map(|part| size(part, names)).collect::<Result<Vec<_>>>()?;
            Ok((size(&split.outer, names)?, parts, size(&split.inner, names)?))
        };
        let split = self.split.as_ref().map(split).transpose()?;
        let sources = |suffix: &str| stems.iter().map(|stem| stem.clone() + suffix).collect();
        let weight = Parameter {
            name: name.clone() + ".weight",
            role: self.kind,
            weight: true,
            shape: experts.map(Some).into_iter().chain(shape.iter().copied()).collect(),
            sources: sources(".weight"),
            plus_one: self.transform == Transform::PlusOne,
            transposed: self.transform == Transform::Transpose,
            split: split.clone(),
            wide: false,
        };
        parameters.push(weight);
        if holds(&self.bias)? {
            parameters.push(Parameter {
                name: name + ".bias",
                role: self.kind,
                weight: false,
                shape: shape[..1].to_vec(),
                sources: sources(".bias"),
                plus_one: false,
                transposed: false,
                split: split.filter(|_| self.split.as_ref().is_some_and(|split| split.bias)),
                wide: holds(&self.wide_bias)?,
            });
        }
        Ok(())
    }
}
