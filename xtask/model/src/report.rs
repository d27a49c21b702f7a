//! What quantization costs: the error of every weight, and a picture of it by layer.

use crate::{
    architecture::architecture,
    cast::{Bf16, F16, Source},
    checkpoint::Checkpoint,
    dtype::Dtype,
    inspect::{Tensors, record_value},
    plan::{Job, Plan},
    quantization::{Group, scheme},
    verify::read_chat_config,
};
use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use store::{WithHint, hinted};

/// The error of a weight.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightError {
    /// The parameter's name.
    pub name: String,
    /// The largest absolute difference.
    pub largest: f64,
    /// The root of the mean of squared differences.
    pub rms: f64,
    /// [`WeightError::rms`] over the root mean square of the weight itself.
    pub relative: f64,
    /// The cosine of the angle between both.
    pub cosine: f64,
}

/// What quantization costs: a converted model beside its checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The scheme's name.
    pub quantization: &'static str,
    /// Bytes of all weights as they are stored.
    pub bytes: u64,
    /// The root mean square of all differences over that of all weights that were compared.
    pub relative: f64,
    /// The error of each weight, in the order of conversion.
    pub errors: Vec<WeightError>,
}

impl Report {
    /// The weight with the largest relative error.
    pub fn worst(&self) -> Option<&WeightError> {
        self.errors.iter().max_by(|a, b| a.relative.total_cmp(&b.relative))
    }
}

#[derive(Clone, Copy, Default)]
struct Sums {
    largest: f64,
    difference: f64,
    source: f64,
    result: f64,
    product: f64,
    count: f64,
}

impl Sums {
    fn add(&mut self, source: f32, result: f32) {
        let (source, result) = (f64::from(source), f64::from(result));
        let difference = source - result;
        self.largest = self.largest.max(difference.abs());
        self.difference += difference * difference;
        self.source += source * source;
        self.result += result * result;
        self.product += source * result;
        self.count += 1.0;
    }

    fn merge(a: Self, b: Self) -> Self {
        Self {
            largest: a.largest.max(b.largest),
            difference: a.difference + b.difference,
            source: a.source + b.source,
            result: a.result + b.result,
            product: a.product + b.product,
            count: a.count + b.count,
        }
    }

    fn relative(&self) -> f64 {
        if self.source > 0.0 { (self.difference / self.source).sqrt() } else { 0.0 }
    }

    fn error(&self, name: &str) -> WeightError {
        let lengths = self.source * self.result;
        WeightError {
            name: name.to_owned(),
            largest: self.largest,
            rms: (self.difference / self.count).sqrt(),
            relative: self.relative(),
            cosine: if lengths > 0.0 { self.product / lengths.sqrt() } else { 1.0 },
        }
    }
}

/// Compares the weights of a converted model with those of its checkpoint. The
/// quantization `auto` is what the model's `mlc-chat-config.json` says.
///
/// # Errors
/// When either is not sound, or the model was not made of this checkpoint with this scheme.
pub fn report(
    source: &Path,
    converted: &Path,
    quantization: &str,
    architecture_name: &str,
) -> Result<Report> {
    let config = read_chat_config(converted)?.unwrap_or_default();
    let quantization = match quantization {
        "auto" => config.get("quantization").and_then(Value::as_str).with_hint(|| {
            hinted(
                format!(
                    "{} does not say how it was quantized: it has no mlc-chat-config.json",
                    converted.display()
                ),
                "give `--quantization`",
            )
        })?,
        name => name,
    };
    let scheme = scheme(quantization)?;
    let checkpoint = Checkpoint::open(source)?;
    let architecture = architecture(architecture_name, &checkpoint.config)?;
    let plan = Plan::new(&checkpoint, &architecture, scheme)?;
    let tensors = Tensors::open(converted)?;
    let mut bytes = 0;
    for output in plan.jobs.iter().flat_map(|job| &job.outputs) {
        let fits = tensors.records.get(&output.name).is_some_and(|(record, _)| {
            record.shape == output.shape
                && record.dtype == output.dtype.name()
                && (record.nbytes == output.stored() || record.nbytes == output.bytes())
        });
        ensure!(
            fits,
            hinted(
                format!("{} has no `{}` of this shape", converted.display(), output.name),
                format!("was it converted from this checkpoint, with `{quantization}`?")
            )
        );
        bytes += tensors.records.get(&output.name).map_or(0, |(record, _)| record.nbytes);
    }
    let (mut errors, mut all) = (Vec::new(), Sums::default());
    for job in plan.jobs.iter().filter(|job| !matches!(job.work, crate::kernel::Work::Copy)) {
        let sums =
            compare(job, &checkpoint, &tensors).with_context(|| format!("cannot compare `{}`", job.name))?;
        errors.push(sums.error(&job.name));
        all = Sums::merge(all, sums);
    }
    Ok(Report { quantization: scheme.name, bytes, relative: all.relative(), errors })
}

fn compare(job: &Job, checkpoint: &Checkpoint, tensors: &Tensors) -> Result<Sums> {
    let lines = job.lines(checkpoint);
    let codes = Elements::of(tensors, &job.outputs[0].name)?;
    let scales = job.outputs.get(1).map(|output| Elements::of(tensors, &output.name)).transpose()?;
    let (count, columns) = (lines.rows.rows, lines.rows.columns);
    let source: fn(&[u8]) -> f32 = match lines.source {
        Dtype::F16 => |bytes| F16::load(bytes).to_f32(),
        Dtype::Bf16 => |bytes| Bf16::load(bytes).to_f32(),
        _ => f32::load,
    };
    let element = lines.source.size() as usize;
    let plus = if let crate::kernel::Work::Cast { plus_one: true, .. } = lines.work { 1.0 } else { 0.0 };
    let result = results(job, count, columns, &codes, scales.as_ref())?;
    let sums = (0..count).into_par_iter().fold(Sums::default, |mut sums, row| {
        let mut buffer = Vec::new();
        let bytes = lines.rows.segment(row, 0..columns, &mut buffer);
        for (column, bytes) in bytes.chunks_exact(element).enumerate() {
            sums.add(source(bytes) + plus, result(row, column));
        }
        sums
    });
    Ok(sums.reduce(Sums::default, Sums::merge))
}

/// A tensor of the converted model, as it is stored.
struct Elements<'a> {
    bytes: &'a [u8],
    size: usize,
    value: Option<fn(&[u8]) -> f32>,
}

impl<'a> Elements<'a> {
    fn of(tensors: &'a Tensors, name: &str) -> Result<Self> {
        let (record, _) = tensors.records.get(name).with_context(|| format!("there is no `{name}`"))?;
        let size = record.stored_size().context("its type is not known")? as usize;
        Ok(Self { bytes: tensors.bytes(name)?, size, value: record_value(record) })
    }

    fn value(&self) -> Result<impl Fn(usize) -> f32 + Send + Sync + use<'a>> {
        let (bytes, size) = (self.bytes, self.size);
        let value = self.value.context("its values are no numbers")?;
        Ok(move |index: usize| value(&bytes[size * index..]))
    }
}

type Results<'a> = Box<dyn Fn(usize, usize) -> f32 + Send + Sync + 'a>;

/// The value that a device computes for an element.
fn results<'a>(
    job: &Job,
    rows: usize,
    columns: usize,
    codes: &Elements<'a>,
    scales: Option<&Elements<'a>>,
) -> Result<Results<'a>> {
    use crate::kernel::Work;
    if let Work::Group { group: Group { bits, size, .. }, transposed, .. } = job.work {
        let scale = scales.context("it has no scales")?.value()?;
        let codes = codes.bytes;
        let per = (32 / bits) as usize;
        let groups = columns.div_ceil(size);
        let middle = ((1 << (bits - 1)) - 1) as f32;
        return Ok(Box::new(move |row, column| {
            let (word, group) = (column / per, column / size);
            let (word, group) = match transposed {
                true => (word * rows + row, group * rows + row),
                false => (row * 4 * groups + word, row * groups + group),
            };
            let word = u32::from_le_bytes([
                codes[4 * word],
                codes[4 * word + 1],
                codes[4 * word + 2],
                codes[4 * word + 3],
            ]);
            let code = word >> (bits as usize * (column % per)) & ((1 << bits) - 1);
            (code as f32 - middle) * scale(group)
        }));
    }
    let value = codes.value()?;
    let scale = match scales {
        Some(scale) => scale.value()?(0),
        None => 1.0,
    };
    Ok(Box::new(move |row, column| value(row * columns + column) * scale))
}
