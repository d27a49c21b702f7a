//! LoRA adapters in PEFT's form, merged into a checkpoint before it is converted, as the reference does it: PEFT's
//! `merge_and_unload` on a CPU, and what `save_pretrained` of transformers makes of that.

mod adapter;
mod merge;

use crate::{
    architecture::{Architecture, Parameter, Role},
    checkpoint::{Checkpoint, PICKLED, PICKLED_INDEX, SINGLE, Tensor},
    dtype::Dtype,
    kernel::Instructions,
    quantization::{Kind, Scheme},
};
pub(crate) use adapter::{Adapter, CONFIG, WEIGHTS};
use anyhow::{Context, Result, ensure};
use merge::{Change, Sources, Write};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
};
use store::{Progress, hinted, printable};

/// Bytes of a file that `save_pretrained` begins no further tensor in.
const SHARD: u64 = 5_000_000_000;

/// A checkpoint and what adapters change of it, known from headers alone.
pub(crate) struct Merge<'a> {
    checkpoint: &'a Checkpoint,
    adapters: Vec<Adapter>,
    writes: Vec<Write>,
    /// The files that the merged checkpoint would have.
    shards: Vec<Vec<String>>,
    tensors: HashMap<String, Tensor>,
    size: u64,
}

impl<'a> Merge<'a> {
    /// Checks that adapters fit a checkpoint, and plans the merged one.
    ///
    /// # Errors
    /// When an adapter can't be read, is of a kind whose merging is not known to give the reference's bytes, or is of another
    /// model.
    pub fn new(
        checkpoint: &'a Checkpoint,
        architecture: &Architecture,
        scheme: &Scheme,
        directories: &[PathBuf],
    ) -> Result<Self> {
        ensure!(
            architecture.lora,
            hinted(
                format!("adapters of `{}` are not merged", architecture.registry),
                "merge it with `merge_and_unload()` of Python's `peft` and `save_pretrained(DIR)`, and convert that"
            )
        );
        ensure!(
            !matches!(scheme.kind, Kind::Awq | Kind::BlockScale { .. }),
            "an adapter can't be merged into weights that are quantized already"
        );
        // Then transformers reads other files than the reference's converter.
        let is_there = |name: &str| checkpoint.directory.join(name).exists();
        ensure!(
            checkpoint.index != Some(PICKLED_INDEX) && !(is_there(PICKLED) && is_there(SINGLE)),
            hinted(
                "the checkpoint has weights in PyTorch's own format, or in both",
                "adapters are merged into safetensors; leave these alone in the directory"
            )
        );
        let dtype = dtype_of(checkpoint)?;
        let model = architecture.model(&checkpoint.config, scheme, checkpoint.order().count())?;
        let names = state(&model.parameters);
        let mut adapters = Vec::new();
        for directory in directories {
            let adapter = Adapter::open(directory)?;
            adapter
                .check(checkpoint, &names)
                .with_context(|| format!("the adapter in {} is refused", directory.display()))?;
            adapters.push(adapter);
        }
        let (mut tensors, mut writes, mut size) = (HashMap::new(), Vec::new(), 0);
        for name in &names {
            let Some(tensor) = checkpoint.tensor(name) else { continue };
            ensure!(
                matches!(tensor.dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::Bf16),
                "`{}` is made of {}, which adapters are not merged into",
                printable(name),
                tensor.dtype.name()
            );
            let change = Change::of(name, &adapters);
            let mut placed = tensor.clone();
            if tensor.dtype != dtype || !change.is_empty() {
                let bytes = tensor.shape.iter().product::<u64>() * dtype.size();
                let start = usize::try_from(size).context("the checkpoint is too large")?;
                placed = Tensor {
                    dtype,
                    widened: false,
                    map: checkpoint.map_count(),
                    range: start..start + bytes as usize,
                    ..placed
                };
                writes.push(Write {
                    name: name.clone(),
                    tensor: tensor.clone(),
                    to: dtype,
                    place: size,
                    change,
                });
                size += bytes;
            }
            tensors.insert(name.clone(), placed);
        }
        let bytes = |name: &str| {
            tensors.get(name).map_or(0, |tensor| tensor.shape.iter().product::<u64>() * dtype.size())
        };
        let shards = shards(&names, bytes, SHARD);
        Ok(Self { checkpoint, adapters, writes, shards, tensors, size })
    }

    /// What is to be said of it: the models that the adapters name as their base.
    pub fn bases(&self) -> Vec<String> {
        let named = |adapter: &Adapter| {
            let base = adapter.base.as_ref()?;
            Some(format!("the adapter in {} is for {}", adapter.directory.display(), printable(base)))
        };
        self.adapters.iter().filter_map(named).collect()
    }

    /// The merged checkpoint as far as plans need it: nothing is computed, and its bytes must not be asked for.
    pub fn outline(&self) -> Checkpoint {
        self.checkpoint.with_tensors(&self.shards, self.tensors.clone(), None)
    }

    /// Merges. What changes is kept in a file without a name in `directory`, which goes with the checkpoint.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn run(
        self,
        directory: &Path,
        instructions: Instructions,
        progress: &dyn Progress,
    ) -> Result<Checkpoint> {
        let sources = Sources { checkpoint: self.checkpoint, adapters: &self.adapters, instructions };
        let map = merge::write(&sources, &self.writes, self.size, directory, progress)?;
        Ok(self.checkpoint.with_tensors(&self.shards, self.tensors, Some(map)))
    }
}

/// The type in which transformers reads the checkpoint (`torch_dtype="auto"`).
fn dtype_of(checkpoint: &Checkpoint) -> Result<Dtype> {
    let said = ["torch_dtype", "dtype"].iter().find_map(|key| checkpoint.config.get(*key)?.as_str());
    if let Some(said) = said {
        let known = Dtype::from_name(said.trim_start_matches("torch."));
        return known.filter(|dtype| matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16)).with_context(
            || {
                format!(
                    "config.json says that weights are `{}`, which adapters are not merged into",
                    printable(said)
                )
            },
        );
    }
    let floats: BTreeSet<&str> = checkpoint
        .order()
        .filter_map(|name| checkpoint.tensor(name))
        .map(|tensor| tensor.dtype.name())
        .filter(|name| name.contains("float"))
        .collect();
    let [only] = floats.into_iter().collect::<Vec<_>>()[..] else {
        anyhow::bail!(hinted(
            "the checkpoint has tensors of several types, and config.json has no `torch_dtype`",
            "say there which of them the model has"
        ));
    };
    Dtype::from_name(only).context("the checkpoint has a type that adapters are not merged into")
}

/// The tensors that the merged checkpoint has, in the order of transformers' modules: embeddings, layers, the rest.
fn state(parameters: &[Parameter]) -> Vec<String> {
    let rank = |role: Role, name: &str| match role {
        Role::Embedding => 0,
        _ if name.contains(".layers.") => 1,
        _ => 2,
    };
    let mut modules: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    let mut places: HashMap<String, (usize, usize)> = HashMap::new();
    for (position, parameter) in parameters.iter().enumerate() {
        for (number, source) in parameter.sources.iter().enumerate() {
            let module = source.rsplit_once('.').map_or(source.as_str(), |(module, _)| module);
            let first = (rank(parameter.role, source) << 32 | position, number);
            let place = *places.entry(module.to_owned()).or_insert(first);
            let names = modules.entry(place).or_default();
            if !names.contains(source) {
                names.push(source.clone());
            }
        }
    }
    modules.into_values().flatten().collect()
}

/// The files into which `split_torch_state_dict_into_shards` of huggingface_hub puts these tensors, in the order in which
/// an index with sorted names names them first; in each, the names are sorted.
fn shards(names: &[String], bytes: impl Fn(&str) -> u64, limit: u64) -> Vec<Vec<String>> {
    let (mut shards, mut current, mut size) = (Vec::new(), Vec::new(), 0);
    for name in names {
        let bytes = bytes(name);
        if bytes > limit {
            shards.push(vec![name.clone()]);
            continue;
        }
        if size + bytes > limit {
            shards.push(std::mem::take(&mut current));
            size = 0;
        }
        current.push(name.clone());
        size += bytes;
    }
    if !current.is_empty() {
        shards.push(current);
    }
    shards.iter_mut().for_each(|names| names.sort());
    shards.sort();
    shards
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]
mod tests;
