//! An adapter as PEFT saves it: `adapter_config.json` and `adapter_model.safetensors`.

use crate::{
    cast::recast,
    checkpoint::{Checkpoint, Tensor, open_file},
    dtype::Dtype,
    file::read_text,
    python,
};
use anyhow::{Context, Result, bail, ensure};
use memmap2::Mmap;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use store::{WithHint, hinted, printable};

/// What an adapter is, beside its weights.
pub(crate) const CONFIG: &str = "adapter_config.json";
/// Its weights.
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG_LIMIT: u64 = 16 << 20;
/// Up to here, PyTorch's matrix product on a CPU adds one product after the other; above, it sums in blocks.
const LARGEST_RANK: u64 = 384;
/// What stands before the names of a model's modules.
const PREFIX: &str = "base_model.model.";

/// Keys of the configuration that change nothing of what is merged, or are read below.
const KNOWN: [&str; 24] = [
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "ensure_weight_tying",
    "eva_config",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// The two matrices of a module; their product is added to its weight.
#[derive(Debug, Default)]
struct Pair {
    a: Option<Tensor>,
    b: Option<Tensor>,
    is_embedding: bool,
}

/// An adapter, open for reading.
pub(crate) struct Adapter {
    pub directory: PathBuf,
    /// The model that it says it is for.
    pub base: Option<String>,
    /// What multiplies each product.
    scales: Scales,
    targets: Option<Vec<String>>,
    /// By the name of the checkpoint's tensor.
    pairs: BTreeMap<String, Pair>,
    /// Tensors that take the place of the checkpoint's.
    saved: BTreeMap<String, Tensor>,
    map: Mmap,
}

/// `lora_alpha` and its exceptions.
struct Scales {
    alpha: f64,
    patterns: Vec<(String, f64)>,
    is_root: bool,
}

impl Scales {
    /// As PEFT computes it, and PyTorch rounds it: a binary64, then to binary32.
    fn of(&self, module: &str, rank: u64) -> f32 {
        let exception = self.patterns.iter().find(|(pattern, _)| is_module(module, pattern));
        let alpha = exception.map_or(self.alpha, |(_, alpha)| *alpha);
        (if self.is_root { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 }) as f32
    }
}

/// Whether a module has this name, or ends with it.
fn is_module(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The module whose weight a tensor is.
fn module_of(name: &str) -> &str {
    name.strip_suffix(".weight").unwrap_or(name)
}

/// A product that is added: `scale × (left × right)`, of `rank` columns and rows.
pub(crate) struct Product {
    pub left: Vec<f32>,
    pub right: Vec<f32>,
    pub rank: usize,
    pub scale: f32,
}

impl Adapter {
    /// Opens the adapter in `directory`.
    ///
    /// # Errors
    /// When it is not there, not sound, or of a kind that is not merged here.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(CONFIG);
        ensure!(
            path.exists(),
            hinted(
                format!("{} holds no {CONFIG}", directory.display()),
                "give the directory that PEFT's `save_pretrained` has written"
            )
        );
        let text = read_text(&path, CONFIG_LIMIT)?;
        let config = match python::parse(&text).with_context(|| format!("{} is not JSON", path.display()))? {
            Value::Object(config) => config,
            _ => bail!("{} is not a JSON object", path.display()),
        };
        let (scales, targets) = settings(&config)
            .with_context(|| format!("{} is of a kind of adapter that is not merged here", path.display()))?;
        let (_, tensors, map) = open_file(directory, WEIGHTS, 0)?;
        let base =
            config.get("base_model_name_or_path").and_then(Value::as_str).filter(|name| !name.is_empty());
        let mut adapter = Self {
            directory: directory.to_owned(),
            base: base.map(str::to_owned),
            scales,
            targets,
            pairs: BTreeMap::new(),
            saved: BTreeMap::new(),
            map,
        };
        let saved = strings(&config, "modules_to_save").unwrap_or_default();
        let path = directory.join(WEIGHTS);
        for (name, tensor) in tensors {
            adapter.take(&name, tensor, &saved).with_context(|| format!("{} is refused", path.display()))?;
        }
        ensure!(
            !adapter.pairs.is_empty() || !adapter.saved.is_empty(),
            "{} holds no tensor of an adapter",
            path.display()
        );
        Ok(adapter)
    }

    fn take(&mut self, name: &str, tensor: Tensor, saved: &[String]) -> Result<()> {
        let shown = printable(name).to_string();
        let is_float = matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16);
        ensure!(is_float, "`{shown}` is made of {}", tensor.dtype.name());
        let module =
            name.strip_prefix(PREFIX).with_context(|| format!("`{shown}` does not begin with {PREFIX}"))?;
        let ends = [
            (".lora_A.weight", false, false),
            (".lora_B.weight", true, false),
            (".lora_embedding_A", false, true),
            (".lora_embedding_B", true, true),
        ];
        for (end, is_b, is_embedding) in ends {
            let Some(module) = module.strip_suffix(end) else { continue };
            let pair = self.pairs.entry(format!("{module}.weight")).or_default();
            ensure!(
                pair.a.is_none() && pair.b.is_none() || pair.is_embedding == is_embedding,
                "`{shown}` has both forms"
            );
            pair.is_embedding = is_embedding;
            *(if is_b { &mut pair.b } else { &mut pair.a }) = Some(tensor);
            return Ok(());
        }
        let of_module = module.rsplit_once('.').map_or(module, |(module, _)| module);
        ensure!(
            saved.iter().any(|name| is_module(of_module, name)),
            "`{shown}` is neither a matrix of LoRA nor of one of `modules_to_save`"
        );
        self.saved.insert(module.to_owned(), tensor);
        Ok(())
    }

    /// Checks that it fits a checkpoint with the tensors `names`.
    ///
    /// # Errors
    /// When it changes what the checkpoint doesn't have, has other shapes, or lacks a matrix.
    pub fn check(&self, checkpoint: &Checkpoint, names: &[String]) -> Result<()> {
        let other = "it was made for another model";
        let base = |name: &String| {
            let there = names.contains(name).then(|| checkpoint.tensor(name)).flatten();
            there.with_hint(|| {
                hinted(format!("it changes `{}`, which the checkpoint does not have", printable(name)), other)
            })
        };
        for (name, pair) in &self.pairs {
            let shape = &base(name)?.shape;
            let module = module_of(name);
            let (Some(a), Some(b)) = (&pair.a, &pair.b) else {
                bail!("it has one of the two matrices of `{}`", printable(module));
            };
            let [rows, columns] = shape[..] else { bail!("`{}` is not a matrix", printable(name)) };
            let (outer, inner) = if pair.is_embedding { (columns, rows) } else { (rows, columns) };
            let ([rank, a_inner], [b_outer, b_rank]) = (&a.shape[..], &b.shape[..]) else {
                bail!("the matrices of `{}` do not have two dimensions", printable(module));
            };
            ensure!(
                *b_outer == outer && *a_inner == inner && rank == b_rank,
                hinted(
                    format!(
                        "its matrices for `{}` have the shapes {:?} and {:?}, which do not make {shape:?}",
                        printable(module),
                        b.shape,
                        a.shape
                    ),
                    other
                )
            );
            ensure!(
                (1..=LARGEST_RANK).contains(rank),
                "`{}` has rank {rank}; only 1 to {LARGEST_RANK} are merged here",
                printable(module)
            );
            if let Some(targets) = &self.targets {
                ensure!(
                    targets.iter().any(|target| is_module(module, target)),
                    "it has matrices of `{}`, which are not among its `target_modules`",
                    printable(module)
                );
            }
        }
        for (name, tensor) in &self.saved {
            let shape = &base(name)?.shape;
            ensure!(
                tensor.shape == *shape,
                hinted(
                    format!("its `{}` has the shape {:?}, not {shape:?}", printable(name), tensor.shape),
                    other
                )
            );
        }
        for name in names {
            let Some(module) = name.strip_suffix(".weight") else { continue };
            let is_target = self.targets.iter().flatten().any(|target| is_module(module, target));
            ensure!(
                !is_target || self.pairs.contains_key(name),
                "it has no matrices of `{module}`, which is among its `target_modules`"
            );
        }
        Ok(())
    }

    /// Whether it changes a tensor.
    pub fn adds_to(&self, name: &str) -> bool {
        self.pairs.contains_key(name)
    }

    /// What takes the place of a tensor.
    pub fn saved(&self, name: &str) -> Option<&Tensor> {
        self.saved.get(name)
    }

    /// The little-endian elements of one of its tensors.
    pub fn bytes(&self, tensor: &Tensor) -> &[u8] {
        &self.map[tensor.range.clone()]
    }

    /// What it adds to a tensor. Matrices of embeddings stand the other way.
    pub fn product(&self, name: &str) -> Option<Product> {
        let pair = self.pairs.get(name)?;
        let (a, b) = (pair.a.as_ref()?, pair.b.as_ref()?);
        let rank = a.shape[0];
        let (left, right) = match pair.is_embedding {
            false => (self.floats(b), self.floats(a)),
            true => (self.transposed(a), self.transposed(b)),
        };
        let scale = self.scales.of(module_of(name), rank);
        Some(Product { left, right, rank: rank as usize, scale })
    }

    fn floats(&self, tensor: &Tensor) -> Vec<f32> {
        let mut bytes = Vec::new();
        recast(tensor.dtype, Dtype::F32, false, self.bytes(tensor), &mut bytes);
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn transposed(&self, tensor: &Tensor) -> Vec<f32> {
        let floats = self.floats(tensor);
        let columns = tensor.shape[1] as usize;
        (0..columns).flat_map(|column| floats[column..].iter().step_by(columns).copied()).collect()
    }
}

fn strings(config: &Map<String, Value>, key: &str) -> Option<Vec<String>> {
    let values = config.get(key)?.as_array()?;
    values.iter().map(|value| value.as_str().map(str::to_owned)).collect()
}

/// The scale, and the modules that are changed where the configuration lists them.
fn settings(config: &Map<String, Value>) -> Result<(Scales, Option<Vec<String>>)> {
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    ensure!(text("peft_type") == Some("LORA"), "its `peft_type` is not LORA");
    let is_off = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    };
    // What is not known could change what is merged; what is off does not.
    let strange = |(key, value): &(&String, &Value)| {
        let has_default = *key == "qalora_group_size" && **value == 16;
        !KNOWN.contains(&key.as_str()) && !is_off(value) && !has_default
    };
    if let Some((key, value)) = config.iter().find(strange) {
        bail!("its `{}` is {value}", printable(key));
    }
    ensure!(config.get("bias").is_none_or(|bias| *bias == "none"), "it changes biases");
    let start = config.get("init_lora_weights").unwrap_or(&Value::Bool(true));
    ensure!(
        start.is_boolean() || [Some("gaussian"), Some("eva")].contains(&start.as_str()),
        "its `init_lora_weights` is {start}, which changes the base model too"
    );
    let alpha = |value: &Value| value.as_f64().filter(|alpha| alpha.is_finite());
    let mut patterns = Vec::new();
    if let Some(given) = config.get("alpha_pattern").and_then(Value::as_object) {
        for (pattern, value) in given {
            let is_plain =
                pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
            ensure!(is_plain, "a name in its `alpha_pattern` is a regular expression");
            patterns
                .push((pattern.clone(), alpha(value).context("a number in its `alpha_pattern` is none")?));
        }
    }
    let scales = Scales {
        alpha: config.get("lora_alpha").and_then(alpha).context("it has no `lora_alpha`")?,
        patterns,
        is_root: config.get("use_rslora") == Some(&Value::Bool(true)),
    };
    // A regular expression, or some of the layers alone: what is there is merged.
    let is_partial = config.get("layers_to_transform").is_some_and(|layers| !is_off(layers));
    let targets = strings(config, "target_modules").filter(|_| !is_partial);
    Ok((scales, targets))
}
