//! Architectures as tables: which parameters a model has, and what of a checkpoint they are made of.

use crate::configuration::{ConfigTable, Fields, require, with_rope_keys};
use crate::expression::{Scope, evaluate, interpolate, size};
use crate::quantization::{Kind, Scheme};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use store::{WithHint, hinted};

pub(crate) use entry::Parameter;
pub use entry::Role;
use entry::{Budget, Entry, Parameters};

mod entry;

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
    /// Whether the reference does not quantize it.
    #[serde(default)]
    plain: bool,
    /// Whether there are 8-bit float conversions of it.
    #[serde(default)]
    float8: bool,
    /// Whether AutoAWQ checkpoints of it are understood.
    #[serde(default)]
    pub(crate) awq: bool,
    /// Whether LoRA adapters are merged into it: transformers and the reference call its tensors alike, and PEFT's results are
    /// known.
    #[serde(default)]
    pub(crate) lora: bool,
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
        "auto" => config.get("model_type").and_then(Value::as_str).with_hint(|| {
            hinted("config.json has no `model_type`", "name the architecture with `--architecture`")
        })?,
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
    bail!(hinted(
        format!("there is no architecture `{}`", store::printable(wanted)),
        crate::quantization::choices(wanted, &known)
    ))
}

impl Architecture {
    /// Whether the reference converts it with a scheme of this kind.
    pub(crate) fn check_scheme(&self, scheme: &Scheme) -> Result<()> {
        let offered = match scheme.kind {
            Kind::Cast => true,
            Kind::Group(_) => !self.plain,
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
        match self.config.reads_rope_parameters {
            true => self.config.make(config),
            false => self.config.make(&with_rope_keys(config)?),
        }
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
        let names = Described { architecture: self, config, fields: &fields, scheme, layer: None, depth: 0 };
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
            let names = Described { layer: Some(layer), ..names };
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

/// The most layers or experts that a configuration may ask for.
const LIMIT: u64 = 10_000;

/// What a model's expressions are about.
#[derive(Clone, Copy)]
struct Described<'a> {
    architecture: &'a Architecture,
    config: &'a Map<String, Value>,
    fields: &'a Fields,
    scheme: &'a Scheme,
    layer: Option<u64>,
    /// How many of the architecture's own names led here.
    depth: usize,
}

impl Scope for Described<'_> {
    fn value(&self, name: &str) -> Result<Value> {
        ensure!(self.depth < 16, "`{name}` is defined by itself");
        if let Some(expression) = self.architecture.values.get(name) {
            return evaluate(expression, &Self { depth: self.depth + 1, ..*self });
        }
        match (name, self.layer) {
            ("layer", Some(layer)) => return Ok(layer.into()),
            ("model_dtype", _) => return Ok(self.scheme.dtype.name().into()),
            ("registry", _) => return Ok(self.architecture.registry.clone().into()),
            ("block_scale", _) => return Ok(matches!(self.scheme.kind, Kind::BlockScale { .. }).into()),
            _ => {}
        }
        let (first, inner) = name.split_once('.').map_or((name, None), |(first, inner)| (first, Some(inner)));
        let section = self.architecture.section.as_ref();
        let section = section.and_then(|section| self.fields.get(section)?.get(first));
        let field = section.or_else(|| self.fields.get(first));
        let field = field.with_context(|| format!("there is no field `{first}`"))?;
        let found = inner.map_or(Some(field), |inner| field.get(inner));
        Ok(found.cloned().unwrap_or(Value::Null))
    }

    /// A key of `config.json`.
    fn key(&self, path: &str) -> Result<Option<Value>> {
        let mut parts = path.split('.');
        let first = parts.next().and_then(|first| self.config.get(first));
        Ok(parts.try_fold(first, |found, part| Some(found?.get(part))).flatten().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::names_in;
    use entry::braced;

    #[test]
    fn tables_use_the_fields_of_their_configuration() {
        for (file, text) in TABLES {
            let table: Architecture = toml::from_str(text).unwrap();
            let configs = [Some(&table.config), table.config.text.as_deref()].into_iter().flatten();
            let mut known: BTreeSet<&str> =
                ["vision_config", "layer", "expert", "model_dtype", "block_scale", "registry"].into();
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
                    assert!(
                        known.contains(first),
                        "{file}: `{expression}` uses `{name}`, which is not a field"
                    );
                }
            }
        }
    }
}
