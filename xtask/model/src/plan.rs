//! What a conversion writes, known from shapes before any data is read.

use crate::{
    agreement::{Expected, ExpectedTensor},
    architecture::{Architecture, Model, Parameter, Role},
    checkpoint::{Checkpoint, SourceFile, Tensor},
    container::lay_out,
    dtype::Dtype,
    kernel::{Lines, Work},
    quantization::{Kind, Scheme},
    rows::{Arrangement, Piece, Rows},
    source_format::{self, awq, block_size, refusal},
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use store::{WithHint, hinted};
use treatment::{quantizes, treatment};

mod treatment;

/// A planned conversion.
pub(crate) struct Plan {
    /// In the order in which the reference emits them.
    pub jobs: Vec<Job>,
    /// The sizes of the shards.
    pub shards: Vec<u64>,
    /// Elements in the checkpoint, as the reference counts them.
    pub total_parameters: u64,
    /// Tensors of the checkpoint that become no parameter.
    pub ignored: Vec<String>,
}

/// A parameter and the tensors that are written for it.
pub(crate) struct Job {
    /// The parameter's name.
    pub name: String,
    sources: Vec<Tensor>,
    /// The type of its elements: that of its sources, or the one that holds them all; for binary64 that of the model.
    source: Dtype,
    /// Whether one is added on the way from binary64.
    plus_one: bool,
    arrangement: Arrangement,
    rows: usize,
    columns: usize,
    /// What is done; the scale of 8-bit floats is filled in when the tensor has been seen whole.
    pub work: Work,
    /// Whether a scale of the whole tensor is needed first.
    pub scaled: bool,
    /// Values or codes, then scales.
    pub outputs: Vec<Output>,
}

/// A tensor that is written.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub name: String,
    pub shape: Vec<u64>,
    pub dtype: Dtype,
    pub shard: usize,
    pub offset: u64,
}

impl Output {
    fn new(name: String, shape: Vec<u64>, dtype: Dtype) -> Self {
        Self { name, shape, dtype, shard: 0, offset: 0 }
    }

    fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Bytes in the shard.
    pub fn stored(&self) -> u64 {
        self.elements() * self.dtype.stored_size()
    }

    /// Bytes in the logical type.
    pub fn bytes(&self) -> u64 {
        self.elements() * self.dtype.size()
    }
}

impl Job {
    /// The parameter's lines, over the checkpoint's bytes.
    pub fn lines<'a>(&self, checkpoint: &'a Checkpoint) -> Lines<'a> {
        let pieces = self.sources.iter().map(|tensor| {
            let columns = tensor.shape.get(1..).map_or(1, |rest| rest.iter().product::<u64>()).max(1);
            let rows = tensor.shape.iter().product::<u64>() / columns;
            Piece {
                bytes: checkpoint.bytes(tensor),
                rows: rows as usize,
                dtype: tensor.dtype,
                plus_one: self.plus_one,
            }
        });
        let arrangement = self.arrangement.clone();
        let rows = Rows::new(pieces.collect(), arrangement, self.rows, self.columns, self.source);
        Lines { rows, source: self.source, work: self.work }
    }

    /// Bytes that are read for it.
    pub fn read(&self) -> u64 {
        self.rows as u64 * self.columns as u64 * self.source.size()
    }
}

impl Plan {
    /// Plans the conversion of `checkpoint`.
    ///
    /// # Errors
    /// When the checkpoint is not what its configuration says, or the scheme does not fit the architecture.
    pub fn new(checkpoint: &Checkpoint, architecture: &Architecture, scheme: &Scheme) -> Result<Self> {
        architecture.check_scheme(scheme)?;
        let model = architecture.model(&checkpoint.config, scheme, checkpoint.order().count())?;
        if scheme.kind == Kind::Awq {
            awq::check(&checkpoint.config)?;
        }
        let plan = Self::of(checkpoint, model, scheme);
        match source_format::name(&checkpoint.config) {
            Some(format) => plan.with_hint(|| refusal(&format, architecture, scheme)),
            None => plan,
        }
    }

    fn of(checkpoint: &Checkpoint, model: Model, scheme: &Scheme) -> Result<Self> {
        let mut parameters = Vec::new();
        let block = match scheme.kind {
            Kind::BlockScale { .. } => Some(block_size(&checkpoint.config)?),
            _ => None,
        };
        for parameter in model.parameters {
            expand(parameter, scheme, block, &mut parameters)?;
        }
        check_presence(checkpoint, &parameters)?;
        let mut users: HashMap<&str, Vec<usize>> = HashMap::new();
        for (position, parameter) in parameters.iter().enumerate() {
            for source in &parameter.sources {
                let users = users.entry(source).or_default();
                if users.last() != Some(&position) {
                    users.push(position);
                }
            }
        }
        let mut jobs = Vec::new();
        let mut ignored = Vec::new();
        let mut emitted = vec![false; parameters.len()];
        let mut loads = Loads::new(checkpoint, &model.unused);
        for name in checkpoint.order() {
            match users.get(name) {
                None if !model.unused.contains(name) => ignored.push(name.to_owned()),
                None => {}
                Some(positions) => {
                    for &position in positions {
                        if !std::mem::replace(&mut emitted[position], true) {
                            let job = job(checkpoint, &parameters[position], scheme)
                                .with_context(|| format!("cannot make `{}`", parameters[position].name))?;
                            loads.need(job.sources.iter().map(|tensor| tensor.file));
                            jobs.push(job);
                        }
                    }
                }
            }
        }
        let sizes: Vec<u64> = jobs.iter().flat_map(|job| &job.outputs).map(Output::stored).collect();
        let (places, shards) = lay_out(&sizes);
        for (output, (shard, offset)) in jobs.iter_mut().flat_map(|job| &mut job.outputs).zip(places) {
            (output.shard, output.offset) = (shard, offset);
        }
        Ok(Self { jobs, shards, total_parameters: loads.total, ignored })
    }
}

/// The reference counts a file's elements every time it loads it, and drops files that a parameter does not need
/// when it loads others.
struct Loads {
    /// The elements of each file.
    counts: Vec<u64>,
    open: BTreeSet<usize>,
    total: u64,
}

impl Loads {
    fn new(checkpoint: &Checkpoint, unused: &BTreeSet<String>) -> Self {
        let count = |file: &SourceFile| {
            let counted = file.contents.iter().filter(|(name, _)| !unused.contains(name));
            counted.map(|(_, count)| count).sum()
        };
        Self { counts: checkpoint.files.iter().map(count).collect(), open: BTreeSet::new(), total: 0 }
    }

    fn need(&mut self, files: impl Iterator<Item = usize>) {
        let needed: BTreeSet<usize> = files.collect();
        if needed.is_subset(&self.open) {
            return;
        }
        self.total += needed.difference(&self.open).map(|file| self.counts[*file]).sum::<u64>();
        self.open = needed;
    }
}

/// Formats that are already quantized have more tensors to a linear layer.
fn expand(
    parameter: Parameter,
    scheme: &Scheme,
    block: Option<[u64; 2]>,
    parameters: &mut Vec<Parameter>,
) -> Result<()> {
    let linear = parameter.weight && matches!(parameter.role, Role::Linear | Role::Experts);
    let suffixes: &[&str] = match scheme.kind {
        Kind::Awq if linear => &["qweight", "qzeros", "scales"],
        Kind::BlockScale { activation: false } if linear => &["weight", "weight_scale_inv"],
        Kind::BlockScale { activation: true } if linear => {
            bail!("`{}` is not converted: activations of fused layers have no common scale", scheme.name)
        }
        _ => &["weight"],
    };
    for suffix in suffixes {
        let rename = |name: &String| match name.strip_suffix(".weight") {
            Some(stem) => format!("{stem}.{suffix}"),
            None => name.clone(),
        };
        let name = rename(&parameter.name);
        let sources = parameter.sources.iter().map(rename).collect();
        let mut shape = parameter.shape.clone();
        if let (Kind::Awq, true, [rows, columns]) = (scheme.kind, linear, &mut shape[..]) {
            // The inputs come first; codes are packed along the outputs, and groups share a zero and a scale.
            let packed = if *suffix == "scales" { 1 } else { awq::PACKED };
            let grouped = if *suffix == "qweight" { 1 } else { awq::GROUP };
            (*rows, *columns) = (columns.map(|size| size / grouped), rows.map(|size| size / packed));
        }
        if let Some(block) = block.filter(|_| *suffix == "weight_scale_inv") {
            let dimensions = shape.iter_mut().rev().zip(block.iter().rev());
            dimensions.for_each(|(size, block)| *size = size.map(|size| size.div_ceil(*block)));
        }
        parameters.push(Parameter { name, sources, shape, ..parameter.clone() });
    }
    Ok(())
}

/// Stands for a number that is taken from the checkpoint: larger than any in use, a multiple of every size of a group.
const ANY: u64 = 1 << 40;

/// The tensors that a conversion writes for these parameters, as far as the configuration says it. Those of formats whose
/// shapes the checkpoint has are left out.
///
/// # Errors
/// When the scheme does not fit the parameters.
pub(crate) fn expected_outputs(
    parameters: &[Parameter],
    scheme: &Scheme,
    config: &Map<String, Value>,
) -> Result<Expected> {
    let block = match scheme.kind {
        Kind::BlockScale { .. } => Some(block_size(config)?),
        _ => None,
    };
    let mut expanded = Vec::new();
    for parameter in parameters {
        expand(parameter.clone(), scheme, block, &mut expanded)?;
    }
    let mut expected = Expected { tensors: Vec::new(), is_complete: true };
    for parameter in &expanded {
        let is_codes = parameter.name.ends_with(".qweight") || parameter.name.ends_with(".qzeros");
        let is_beside = parameter.weight && scheme.kind == Kind::Awq && parameter.role == Role::Linear;
        let columns =
            if parameter.shape.len() == 1 { Some(1) } else { parameter.shape.last().copied().flatten() };
        let (Some(columns), false) = (columns, is_beside || is_codes) else {
            expected.is_complete = false;
            continue;
        };
        let mut shape: Vec<u64> = parameter.shape.iter().map(|size| size.unwrap_or(ANY)).collect();
        let is_block = matches!(scheme.kind, Kind::BlockScale { .. });
        let is_copied =
            is_block && parameter.name.ends_with(".weight") && quantizes(parameter, scheme, &shape);
        let source = if is_copied { Dtype::F8E4M3 } else { Dtype::F32 };
        let job = treatment(parameter, scheme, &mut shape, columns, source)?;
        expected.tensors.extend(job.outputs.into_iter().map(|output| ExpectedTensor {
            name: output.name,
            shape: output.shape.into_iter().map(|size| (size != ANY).then_some(size)).collect(),
            dtype: output.dtype.name(),
        }));
    }
    Ok(expected)
}

fn check_presence(checkpoint: &Checkpoint, parameters: &[Parameter]) -> Result<()> {
    let missing: Vec<_> = parameters
        .iter()
        .flat_map(|parameter| parameter.sources.iter().map(move |source| (source, &parameter.name)))
        .filter(|(source, _)| checkpoint.tensor(source).is_none())
        .collect();
    let Some((first, user)) = missing.first() else { return Ok(()) };
    let absent = missing.iter().find_map(|(name, _)| Some((name, checkpoint.absence(name)?)));
    if let Some((name, absence)) = absent {
        bail!(
            "the checkpoint lacks {} of the tensors that it should have, `{name}`: {absence}",
            missing.len()
        );
    }
    let expected: BTreeSet<_> = parameters.iter().flat_map(|parameter| &parameter.sources).collect();
    let spare = checkpoint.order().filter(|name| !expected.contains(&(*name).to_owned()));
    let nearest =
        spare.map(|name| (strsim::jaro_winkler(name, first), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match nearest {
        Some((likeness, name)) if likeness > 0.8 => {
            format!("it has `{}`, which nothing needs", name.escape_debug())
        }
        _ => "is this the right `--architecture`, and is the checkpoint complete?".to_owned(),
    };
    let missing = missing.len();
    bail!(hinted(
        format!(
            "the checkpoint lacks {missing} of the tensors that it should have, first `{first}` (for `{user}`)"
        ),
        hint
    ))
}

/// Checks a parameter's sources against its shape and decides what is done with them.
fn job(checkpoint: &Checkpoint, parameter: &Parameter, scheme: &Scheme) -> Result<Job> {
    let sources: Vec<Tensor> =
        parameter.sources.iter().filter_map(|name| checkpoint.tensor(name).cloned()).collect();
    let first = sources.first().context("it is made of nothing")?;
    let mut dtype = first.read_as();
    for (name, tensor) in parameter.sources.iter().zip(&sources) {
        dtype = dtype.common(tensor.read_as()).with_context(|| {
            let (own, first) = (tensor.dtype.name(), first.dtype.name());
            format!("`{name}` is {own}, `{}` is {first}, and no type holds both", parameter.sources[0])
        })?;
    }
    if parameter.widened && matches!(dtype, Dtype::F16 | Dtype::Bf16) {
        dtype = Dtype::F32;
    }
    let beside = parameter.weight && scheme.kind == Kind::Awq && matches!(parameter.role, Role::Linear);
    let rank = match parameter.shape.len() {
        1 => 1,
        _ if parameter.stacked || parameter.slice.is_some() => 2,
        rank => rank,
    };
    for (name, tensor) in parameter.sources.iter().zip(&sources) {
        ensure!(
            tensor.shape.len() == rank,
            "`{name}` has the shape {:?}, not {rank} dimensions",
            tensor.shape
        );
    }
    // Rows and columns as they come out of the arrangement. Of three dimensions and more, all but the first make the
    // columns.
    let size = |tensor: &Tensor, axis: usize| match axis {
        0 => tensor.shape[0],
        _ => tensor.shape[1..].iter().product(),
    };
    let along = |axis: usize| sources.iter().map(move |tensor| size(tensor, axis));
    let equal = |axis: usize| along(axis).all(|size| Some(size) == along(axis).next());
    let first = |axis: usize| along(axis).next().unwrap_or(1);
    let (rows, columns, consistent) = match (parameter.transposed, beside, &parameter.slice) {
        (_, _, Some(slice)) => {
            let (across, along) =
                if slice.transposed { (first(1), slice.part) } else { (slice.part, first(1)) };
            let fits = sources.len() == 1 && slice.blocks.checked_mul(slice.block) == Some(first(0));
            (if fits { slice.blocks * across } else { 0 }, along, fits)
        }
        (true, ..) => (along(1).sum::<u64>(), first(0), sources.len() == 1),
        (_, true, _) => (first(0), along(1).sum(), equal(0)),
        _ => (along(0).sum(), first(1), equal(1)),
    };
    ensure!(
        consistent,
        "its sources do not fit together: {:?}",
        sources.iter().map(|t| &t.shape).collect::<Vec<_>>()
    );
    let mut shape: Vec<u64> = match parameter.shape[..] {
        [Some(stack), _, _] if rank == 2 && stack > 0 => vec![stack, rows / stack, columns],
        [_] => vec![rows],
        [_, _] => vec![rows, columns],
        _ => sources[0].shape.clone(),
    };
    let fits =
        parameter.shape.iter().zip(&shape).all(|(expected, size)| expected.is_none_or(|it| it == *size));
    let expected: Vec<String> =
        parameter.shape.iter().map(|size| size.map_or("any".to_owned(), |size| size.to_string())).collect();
    ensure!(
        fits && shape.iter().product::<u64>() == rows * columns,
        "its sources give {shape:?}, but config.json asks for [{}]",
        expected.join(", ")
    );
    ensure!(shape.iter().all(|size| *size > 0), "it has the shape {shape:?}, which is empty");
    let arrangement = match (&parameter.split, &parameter.slice) {
        (_, Some(slice)) => {
            let [block, start, part] = [slice.block, slice.start, slice.part].map(|size| size as usize);
            match slice.transposed {
                true => Arrangement::TransposedSlice { block, start, part },
                false => Arrangement::Slice { block, start, part },
            }
        }
        _ if beside => Arrangement::Beside,
        _ if parameter.transposed => Arrangement::Transposed,
        (Some((outer, parts, inner)), _) => {
            let expected = outer * parts.iter().sum::<u64>() * inner;
            ensure!(
                expected == rows && sources.len() == 1,
                "it has {rows} rows, but its heads make {expected}"
            );
            let parts = parts.iter().map(|part| *part as usize).collect();
            Arrangement::Split { outer: *outer as usize, parts, inner: *inner as usize }
        }
        _ => Arrangement::Stacked,
    };
    ensure!(
        !beside || sources.iter().all(|tensor| tensor.dtype == dtype),
        "its sources are of different types"
    );
    let treatment = treatment(parameter, scheme, &mut shape, columns, dtype)?;
    let (rows, columns) = (rows as usize, columns as usize);
    let name = parameter.name.clone();
    Ok(Job { name, sources, arrangement, rows, columns, ..treatment })
}
