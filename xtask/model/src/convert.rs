//! A conversion: rows in, shards out, in memory that does not grow with the model.

use crate::{
    action::Chat,
    architecture::{Architecture, architecture},
    cast::store_f32,
    chat_config::ChatFiles,
    checkpoint::Checkpoint,
    container::{
        Metadata, ShardRecord, TENSOR_CACHE, TENSOR_CACHE_B16, TensorCache, TensorRecord, shard_name,
    },
    fp8,
    kernel::{Instructions, Lines, Work},
    lora::Merge,
    output::{Replacement, Staging, check_output, note_removed},
    plan::{Job, Plan},
    quantization::{Scheme, scheme},
    shards::{Shards, Sums},
};
use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use std::{
    ops::Range,
    path::{Path, PathBuf},
};
use store::{Digest, Meter, Progress, Unit, WithHint, hinted};

/// What to convert, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The checkpoint's directory. Nothing is written there.
    pub source: PathBuf,
    /// Where the converted model goes. Created if absent.
    pub output: PathBuf,
    /// The name of a scheme, see [`SCHEMES`](crate::SCHEMES).
    pub quantization: String,
    /// The name of an architecture, or `auto` for the one that `config.json` names.
    pub architecture: String,
    /// Directories of LoRA adapters, which are merged into the checkpoint one after the other.
    pub adapters: Vec<PathBuf>,
    /// Threads; 0 for as many as there are processors. Bytes do not depend on it.
    pub jobs: usize,
    /// An upper bound of memory for buffers, in bytes, at least [`Options::LEAST_MEMORY`]. Mapped pages of the
    /// checkpoint are the page cache's and do not count.
    pub memory: u64,
    /// Whether another model in the output directory may be replaced.
    pub replace: bool,
    /// Which instructions may be used. Bytes do not depend on it.
    pub instructions: Instructions,
}

impl Options {
    /// The smallest [`Options::memory`].
    pub const LEAST_MEMORY: u64 = 160 << 20;

    /// A conversion of `source` to `output` with everything else as usual.
    pub fn new(source: &Path, output: &Path, quantization: &str) -> Self {
        Self {
            source: source.to_owned(),
            output: output.to_owned(),
            quantization: quantization.to_owned(),
            architecture: "auto".to_owned(),
            adapters: Vec::new(),
            jobs: 0,
            memory: 256 << 20,
            replace: false,
            instructions: Instructions::Detected,
        }
    }
}

/// What a conversion did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The name of the architecture in MLC's registry.
    pub architecture: String,
    /// Elements of the checkpoint, as the reference counts them.
    pub parameters: u64,
    /// Bytes read.
    pub read: u64,
    /// The index that was written.
    pub cache: TensorCache,
    /// The digests of the shards, in their order.
    pub shards: Vec<Digest>,
    /// Tensors of the checkpoint that became no parameter.
    pub ignored: Vec<String>,
}

impl Summary {
    /// Bytes of all shards.
    pub fn written(&self) -> u64 {
        self.cache.records.iter().map(|shard| shard.nbytes).sum()
    }
}

/// Bytes of values that one task computes.
const TASK: usize = 128 << 10;
/// Bytes of values that are computed before they are written, where a shard is too large to be kept.
const WINDOW: usize = 8 << 20;

/// Converts a checkpoint.
///
/// Shards are written under another name and get theirs, and `tensor-cache.json` last of all, when everything is
/// complete; a conversion that is stopped leaves nothing that could be taken for a model.
///
/// # Errors
/// When the checkpoint is not sound or not complete, a combination is not offered, or files cannot be written.
pub fn convert(options: &Options, progress: &dyn Progress) -> Result<Summary> {
    convert_with_chat(options, None, progress)
}

/// Converts a checkpoint, with its chat configuration if one is given: both are there afterwards, or neither.
///
/// # Errors
/// As [`convert`], and those of [`chat_config`](crate::chat_config()), which are found before the first byte is converted.
pub fn convert_with_chat(options: &Options, chat: Option<&Chat>, progress: &dyn Progress) -> Result<Summary> {
    let scheme = scheme(&options.quantization)?;
    ensure!(
        options.memory >= Options::LEAST_MEMORY,
        hinted(
            format!("{} bytes of memory are not enough", options.memory),
            format!("give at least {}", Options::LEAST_MEMORY)
        )
    );
    let checkpoint = Checkpoint::open(&options.source)?;
    let architecture = architecture(&options.architecture, &checkpoint.config)?;
    check_output(&options.output, &options.source)?;
    let chat = chat.map(|chat| ChatFiles::prepare(&chat.options(options))).transpose()?;
    let context = || format!("cannot convert {}", options.source.display());
    let (plan, merge) = planned(&checkpoint, &architecture, scheme, options).with_context(context)?;
    let replacement = Replacement::new(&options.output, scheme.name, chat.as_ref(), options.replace)?;
    chat.iter().flat_map(|chat| &chat.notes).for_each(|note| progress.note(note));
    if !plan.ignored.is_empty() {
        let names: Vec<_> =
            plan.ignored.iter().take(3).map(|name| format!("`{}`", name.escape_debug())).collect();
        let more = if plan.ignored.len() > 3 { ", …" } else { "" };
        let count = plan.ignored.len();
        progress.note(&format!("{count} tensors of the checkpoint are not used: {}{more}", names.join(", ")));
    }
    if let Some(name) = checkpoint.passed_over() {
        progress
            .note(&format!("{name} is passed over: files of PyTorch stand beside it, which MLC-LLM takes"));
    }
    merge.iter().flat_map(Merge::bases).for_each(|base| progress.note(&base));
    let staging = Staging::open(&options.output, &options.source)?;
    let read = plan.jobs.iter().map(Job::read).sum();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.jobs)
        .build()
        .with_hint(|| hinted("cannot start threads", "give a smaller `--jobs`"))?;
    let sums = pool.install(|| {
        let merged =
            merge.map(|merge| merge.run(staging.path(), options.instructions, progress)).transpose()?;
        let meter = progress.begin("convert", read, Unit::Bytes);
        run(merged.as_ref().unwrap_or(&checkpoint), &plan, options, staging.path(), meter.as_ref())
    })?;

    let (sums, shards) = sums.into_iter().map(|sums| (sums.md5, sums.digest)).unzip();
    let cache = index(&plan, sums);
    let text = cache.to_json()?;
    staging.write(TENSOR_CACHE, &text)?;
    if let Some(text) = cache.to_json_b16()? {
        staging.write(TENSOR_CACHE_B16, &text)?;
    }
    if let Some(chat) = &chat {
        chat.write(&staging)?;
    }
    let keep = staging.staged()?;
    // A chat configuration stays beside the weights that it was made for.
    let is_same = chat.is_none()
        && std::fs::read(options.output.join(TENSOR_CACHE)).is_ok_and(|there| there == text.as_bytes());
    let remove = if is_same { Vec::new() } else { replacement.remove };
    note_removed(&options.output, &remove, progress);
    staging.publish_model(&keep, &remove)?;
    Ok(Summary {
        architecture: architecture.registry,
        parameters: plan.total_parameters,
        read,
        cache,
        shards,
        ignored: plan.ignored,
    })
}

/// What a conversion of `checkpoint` writes, and how the adapters are merged into it before.
///
/// # Errors
/// When the checkpoint, the scheme or an adapter does not fit the others.
pub(crate) fn planned<'a>(
    checkpoint: &'a Checkpoint,
    architecture: &Architecture,
    scheme: &Scheme,
    options: &Options,
) -> Result<(Plan, Option<Merge<'a>>)> {
    let plan = Plan::new(checkpoint, architecture, scheme)?;
    if options.adapters.is_empty() {
        return Ok((plan, None));
    }
    let merge = Merge::new(checkpoint, architecture, scheme, &options.adapters)?;
    let merged = Plan::new(&merge.outline(), architecture, scheme)?;
    Ok((Plan { ignored: plan.ignored, ..merged }, Some(merge)))
}

/// Runs all jobs and gives the sums of every shard.
fn run(
    checkpoint: &Checkpoint,
    plan: &Plan,
    options: &Options,
    directory: &Path,
    meter: &dyn Meter,
) -> Result<Vec<Sums>> {
    let shards = Shards::new(directory, plan, options.memory);
    rayon::scope(|scope| {
        for (number, job) in plan.jobs.iter().enumerate() {
            meter.message(&format!("{}/{} {}", number + 1, plan.jobs.len(), job.name));
            let mut lines = job.lines(checkpoint);
            let fill = Fill { meter, read: job.read(), instructions: options.instructions };
            let mut constants = Vec::new();
            if let Work::Float8 { scale, .. } = &mut lines.work {
                if job.scaled {
                    let value = fp8::scale(largest(&job.lines(checkpoint)));
                    *scale = Some(value);
                    constants.push(value);
                }
                // The reference leaves the scale of activations to chance until it is calibrated; 1 changes nothing.
                constants.resize(job.outputs.len() - 1, 1.0);
            }
            shards.write(scope, job, &lines, &fill)?;
            for (output, value) in job.outputs[1..].iter().zip(constants) {
                shards.put(scope, output, &store_f32(value).to_le_bytes())?;
            }
        }
        anyhow::Ok(())
    })?;
    shards.finish()
}

fn largest(lines: &Lines) -> f32 {
    let rows = lines.rows.rows;
    let step = (TASK / lines.bytes().0.max(1)).max(1);
    (0..rows.div_ceil(step))
        .into_par_iter()
        .map(|task| lines.largest(task * step..((task + 1) * step).min(rows)))
        .reduce(|| 0.0, f32::max)
}

/// Computes lines in parallel.
pub(crate) struct Fill<'a> {
    meter: &'a dyn Meter,
    read: u64,
    instructions: Instructions,
}

impl Fill<'_> {
    /// Computes `range` into `values` and `scales`.
    pub fn fill(&self, lines: &Lines, range: Range<usize>, values: &mut [u8], scales: &mut [u8]) {
        let (value_bytes, scale_bytes) = lines.bytes();
        let least = if lines.is_transposed() { 4 } else { 1 };
        let step = (TASK / value_bytes.max(1)).max(least);
        let compute = |task: usize, values: &mut [u8], scales: &mut [u8]| {
            let start = range.start + task * step;
            let end = (start + step).min(range.end);
            lines.compute(start..end, values, scales, self.instructions);
            self.meter.add(self.read * (end - start) as u64 / lines.count() as u64);
        };
        let values = values.par_chunks_mut(step * value_bytes).enumerate();
        if scale_bytes == 0 {
            values.for_each(|(task, values)| compute(task, values, &mut []));
        } else {
            let scales = scales.par_chunks_mut(step * scale_bytes);
            values.zip(scales).for_each(|((task, values), scales)| compute(task, values, scales));
        }
    }

    /// How many lines fit a window.
    pub fn window(&self, lines: &Lines) -> usize {
        let (value_bytes, scale_bytes) = lines.bytes();
        (WINDOW / (value_bytes + scale_bytes).max(1)).max(1)
    }
}

fn index(plan: &Plan, sums: Vec<String>) -> TensorCache {
    let outputs = || plan.jobs.iter().flat_map(|job| &job.outputs);
    let bytes: u64 = outputs().map(|output| output.bytes()).sum();
    let mut records: Vec<ShardRecord> = sums
        .into_iter()
        .zip(&plan.shards)
        .enumerate()
        .map(|(number, (md5sum, &nbytes))| ShardRecord {
            data_path: shard_name(number),
            format: "raw-shard".to_owned(),
            nbytes,
            records: Vec::new(),
            md5sum: Some(md5sum),
        })
        .collect();
    for output in outputs() {
        records[output.shard].records.push(TensorRecord {
            name: output.name.clone(),
            shape: output.shape.clone(),
            dtype: output.dtype.name().to_owned(),
            format: "f32-to-bf16".to_owned(),
            nbytes: output.stored(),
            byte_offset: output.offset,
        });
    }
    let metadata = Metadata {
        param_size: Some(outputs().count() as u64),
        param_bytes: Some(bytes as f64),
        bits_per_param: Some(bytes as f64 * 8.0 / plan.total_parameters as f64),
    };
    TensorCache { metadata, records }
}
