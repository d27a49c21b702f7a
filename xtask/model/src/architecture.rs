//! Architectures as tables: which parameters a model has, and what of a checkpoint they are made of.

use crate::configuration::{ConfigTable, Fields, require, with_rope_keys};
use crate::expression::{self, evaluate, interpolate, size, truth};
use crate::quantization::{Kind, Scheme};
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
    pub(crate) awq: bool,
    /// Whether checkpoints of it with 8-bit float blocks are understood.
    #[serde(default)]
    block_scale: bool,
    /// The field that holds the text model's configuration, where there is one.
    section: Option<String>,
    /// Names for expressions, which may use fields of the configuration and one another.
    #[serde(default)]
    values: BTreeMap<String, String>,
    /// What must hold of a configuration whose weights are converted, each a condition or `condition: sentence`.
    #[serde(default)]
    require: Vec<String>,
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

/// What a model's expressions are about.
struct Scope<'a> {
    fields: &'a Fields,
    scheme: &'a Scheme,
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
    pub(crate) fn check_scheme(&self, scheme: &Scheme) -> Result<()> {
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

    /// The configuration that the reference makes of `config.json`.
    ///
    /// # Errors
    /// When a key is missing or has a value that MLC does not run.
    pub(crate) fn configuration(&self, config: &Map<String, Value>) -> Result<Fields> {
        self.config.make(&with_rope_keys(config)?)
    }

    /// The value of a name in this architecture's expressions.
    fn lookup(&self, scope: &Scope, name: &str, depth: usize) -> Result<Value> {
        ensure!(depth < 16, "`{name}` is defined by itself");
        if let Some(expression) = self.values.get(name) {
            return evaluate(expression, &|inner: &str| self.lookup(scope, inner, depth + 1));
        }
        match name {
            "model_dtype" => return Ok(scope.scheme.dtype.name().into()),
            "block_scale" => return Ok(matches!(scope.scheme.kind, Kind::BlockScale { .. }).into()),
            _ => {}
        }
        let (first, inner) = name.split_once('.').map_or((name, None), |(first, inner)| (first, Some(inner)));
        let section = self.section.as_ref().and_then(|section| scope.fields.get(section)?.get(first));
        let field = section.or_else(|| scope.fields.get(first));
        let field = field.with_context(|| format!("there is no field `{first}`"))?;
        let found = inner.map_or(Some(field), |inner| field.get(inner));
        Ok(found.cloned().unwrap_or(Value::Null))
    }

    /// The parameters of the model that `config` describes, in the order in which the reference registers them, for a
    /// checkpoint of so many tensors.
    ///
    /// # Errors
    /// When the configuration lacks a key, has one of the wrong type, or describes a model that MLC has not; when it
    /// asks for far more tensors than there are.
    pub(crate) fn model(
        &self,
        config: &Map<String, Value>,
        scheme: &Scheme,
        tensors: usize,
    ) -> Result<Model> {
        let fields = self.configuration(config).context("config.json cannot be used")?;
        let scope = Scope { fields: &fields, scheme };
        let names = |name: &str| self.lookup(&scope, name, 0);
        // The reference would divide the shapes by it, and find none of them in the checkpoint.
        let shards = "tensor_parallel_shards == 1: weights are converted whole: `tensor_parallel_shards` must be 1 in config.json (give `--tensor-parallel-shards` to `model chat-config` instead)";
        require(shards, &names).context("config.json cannot be used")?;
        for requirement in &self.require {
            require(requirement, &names).context("config.json cannot be used")?;
        }
        let layers = size(&self.layers, &names)?;
        ensure!(layers <= LIMIT, "config.json asks for {layers} layers");
        let mut parameters = Parameters { list: Vec::new(), budget: Budget::new(tensors) };
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
                |name: &str| if name == "layer" { Ok(layer.into()) } else { self.lookup(&scope, name, 0) };
            let (prefix, source) = (interpolate(&self.prefix, &names)?, interpolate(source_prefix, &names)?);
            for entry in &self.layer {
                entry.expand(&prefix, &source, &names, &mut parameters)?;
            }
            for template in &self.layer_unused {
                unused.insert(source.clone() + &interpolate(template, &names)?);
            }
        }
        Ok(Model { parameters: parameters.list, unused })
    }
}

/// Parameters while they are collected.
struct Parameters {
    list: Vec<Parameter>,
    budget: Budget,
}

/// How many tensors a configuration may still ask for. A few numbers in it ask for any number of them, and their names
/// take memory, so what is there bounds what is described. That some are missing is said later, by name.
struct Budget {
    tensors: usize,
    left: u64,
}

impl Budget {
    fn new(tensors: usize) -> Self {
        Self { tensors, left: 1000 + 4 * tensors as u64 }
    }

    fn take(&mut self, count: u64) -> Result<()> {
        self.left = self.left.checked_sub(count).with_context(|| {
            format!(
                "config.json describes far more tensors than the {} of the checkpoint\nhint: is config.json that of this checkpoint?",
                self.tensors
            )
        })?;
        Ok(())
    }
}

impl Entry {
    fn expand(
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
        ensure!(experts.is_none_or(|experts| experts <= LIMIT), "config.json asks for {experts:?} experts");
        parameters.budget.take(experts.unwrap_or(1).saturating_mul(from.len() as u64))?;
        let mut stems = Vec::new();
        for expert in 0..experts.unwrap_or(1) {
            let names = |name: &str| if name == "expert" { Ok(expert.into()) } else { names.value(name) };
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
        parameters.list.push(weight);
        if holds(&self.bias)? {
            parameters.list.push(Parameter {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::names_in;

    /// The expressions between braces.
    fn braced(template: &str) -> Vec<&str> {
        template.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect()
    }

    impl Entry {
        fn expressions(&self) -> Vec<&str> {
            let conditions = [&self.bias, &self.when, &self.experts, &self.wide_bias].into_iter().flatten();
            let split =
                self.split.iter().flat_map(|split| split.parts.iter().chain([&split.outer, &split.inner]));
            let plain = self.shape.iter().filter(|size| *size != "any").chain(conditions).chain(split);
            let names = self.from.iter().chain([&self.name]).flat_map(|template| braced(template));
            plain.map(String::as_str).chain(names).collect()
        }
    }

    #[test]
    fn tables_use_the_fields_of_their_configuration() {
        for (file, text) in TABLES {
            let table: Architecture = toml::from_str(text).unwrap();
            let configs = [Some(&table.config), table.config.text.as_deref()].into_iter().flatten();
            let mut known: BTreeSet<&str> = ["layer", "expert", "model_dtype", "block_scale"].into();
            known.extend(table.values.keys().map(String::as_str));
            for config in configs {
                let fields = config.fields.iter().map(|field| field.split(" = ").next().unwrap_or(field));
                known.extend(fields);
            }
            let entries = table.parameters.iter().chain(&table.layer).flat_map(Entry::expressions);
            let conditions = table.require.iter().map(|text| text.split(": ").next().unwrap_or(text));
            let values = table.values.values().map(String::as_str).chain([table.layers.as_str()]);
            for expression in entries.chain(conditions).chain(values).chain(braced(&table.prefix)) {
                for name in names_in(expression) {
                    let first = name.split('.').next().unwrap_or(&name);
                    assert!(known.contains(first), "{file}: `{expression}` uses `{name}`, which is no field");
                }
            }
        }
    }
}
