//! Computes runs of a parameter's output, a line at a time.
//!
//! A line is the unit of output that needs nothing of other lines: a row, or, where the output is transposed, a
//! group of columns. Lines can be computed in any order and on any number of processors, and give the same bytes.

use crate::{
    cast::{self, Bf16, F16, Source},
    dtype::Dtype,
    fp8,
    group::{self, Arithmetic, with_arithmetic},
    quantization::Group,
    rows::Rows,
};
use std::ops::Range;

/// What becomes of the elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Work {
    /// They are cast to a type and stored, perhaps after adding one.
    Cast { dtype: Dtype, plus_one: bool },
    /// Their bytes are copied.
    Copy,
    /// They are quantized in groups, from values of a type.
    Group { group: Group, dtype: Dtype, transposed: bool },
    /// They become 8-bit floats, after a division by a scale of the whole tensor.
    Float8 { layout: fp8::Layout, scale: Option<f32> },
}

/// A parameter's rows and what is made of them.
pub(crate) struct Lines<'a> {
    pub rows: Rows<'a>,
    pub source: Dtype,
    pub work: Work,
}

/// Which instructions may be used. Every choice gives the same bytes.
#[derive(Clone, Copy, Debug, Default)]
pub enum Instructions {
    /// What the processor has, found at run time.
    #[default]
    Detected,
    /// Only what every processor of the target has.
    Baseline,
}

impl Instructions {
    /// Runs an operation, compiled for these instructions.
    #[inline(always)]
    pub(crate) fn run<Operation: pulp::NullaryFnOnce>(self, operation: Operation) -> Operation::Output {
        match self {
            Self::Detected => pulp::Arch::new().dispatch(operation),
            Self::Baseline => operation.call(),
        }
    }
}

macro_rules! with_source {
    ($dtype:expr, $source:ident => $body:expr) => {
        match $dtype {
            Dtype::F16 => {
                type $source = F16;
                $body
            }
            Dtype::Bf16 => {
                type $source = Bf16;
                $body
            }
            _ => {
                type $source = f32;
                $body
            }
        }
    };
}

impl Lines<'_> {
    /// How many lines there are.
    pub fn count(&self) -> usize {
        match self.work {
            Work::Group { group, transposed: true, .. } => self.rows.columns.div_ceil(group.size),
            _ => self.rows.rows,
        }
    }

    /// Whether lines are groups of columns.
    pub fn is_transposed(&self) -> bool {
        matches!(self.work, Work::Group { transposed: true, .. })
    }

    /// Bytes that a line adds to each of the outputs: values or codes, and scales.
    pub fn bytes(&self) -> (usize, usize) {
        let columns = self.rows.columns;
        match self.work {
            Work::Cast { dtype, .. } => (columns * dtype.stored_size() as usize, 0),
            Work::Copy => (columns * self.source.size() as usize, 0),
            Work::Float8 { .. } => (columns, 0),
            Work::Group { group, transposed, .. } => {
                let groups = if transposed { self.rows.rows } else { columns.div_ceil(group.size) };
                (16 * groups, 2 * groups)
            }
        }
    }

    /// Computes `lines` into `values` and `scales`, which hold exactly them.
    pub fn compute(
        &self,
        lines: Range<usize>,
        values: &mut [u8],
        scales: &mut [u8],
        instructions: Instructions,
    ) {
        instructions.run(Run { lines: self, range: lines, values, scales });
    }

    /// The largest absolute value of `lines`, cast to binary16. The reference compares without regard to NaN.
    pub fn largest(&self, lines: Range<usize>) -> f32 {
        let mut buffer = Vec::new();
        let mut largest = 0f32;
        for row in lines {
            let bytes = self.rows.segment(row, 0..self.rows.columns, &mut buffer);
            with_source!(self.source, S => {
                for element in bytes.chunks_exact(S::SIZE) {
                    largest = largest.max(S::load(element).to_f16_value().abs());
                }
            });
        }
        largest
    }
}

struct Run<'a, 'b> {
    lines: &'a Lines<'b>,
    range: Range<usize>,
    values: &'a mut [u8],
    scales: &'a mut [u8],
}

impl pulp::NullaryFnOnce for Run<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Lines { rows, source, work } = self.lines;
        let mut buffer = Vec::new();
        let (bytes, _) = self.lines.bytes();
        match *work {
            Work::Copy => {
                for (row, out) in self.range.zip(self.values.chunks_exact_mut(bytes)) {
                    out.copy_from_slice(rows.segment(row, 0..rows.columns, &mut buffer));
                }
            }
            Work::Cast { dtype, plus_one } => with_source!(*source, S => {
                for (row, out) in self.range.zip(self.values.chunks_exact_mut(bytes)) {
                    cast::cast::<S>(rows.segment(row, 0..rows.columns, &mut buffer), plus_one, dtype, out);
                }
            }),
            Work::Float8 { layout, scale } => with_source!(*source, S => {
                for (row, out) in self.range.zip(self.values.chunks_exact_mut(bytes)) {
                    let elements = rows.segment(row, 0..rows.columns, &mut buffer).chunks_exact(S::SIZE);
                    for (element, code) in elements.zip(out) {
                        let value = S::load(element).to_f16_value();
                        *code = fp8::convert(scale.map_or(value, |scale| value / scale), layout);
                    }
                }
            }),
            Work::Group { group, dtype, transposed } => {
                with_source!(*source, S => with_arithmetic!(dtype, A => {
                    match (group.bits, transposed) {
                        (4, false) => groups::<S, A, 4, 32>(rows, self.range, self.values, self.scales),
                        (4, true) => columns::<S, A, 4, 32>(rows, self.range, self.values, self.scales),
                        (_, false) => groups::<S, A, 3, 40>(rows, self.range, self.values, self.scales),
                        (_, true) => columns::<S, A, 3, 40>(rows, self.range, self.values, self.scales),
                    }
                }))
            }
        }
    }
}

/// Loads up to `SIZE` elements as values of the model type; the rest is zero.
#[inline(always)]
fn load<S: Source, A: Arithmetic, const SIZE: usize>(bytes: &[u8]) -> ([f32; SIZE], usize) {
    let mut weights = [0.0; SIZE];
    let count = bytes.len() / S::SIZE;
    if count == SIZE {
        // The length is known to the compiler here.
        for (weight, element) in weights.iter_mut().zip(bytes[..SIZE * S::SIZE].chunks_exact(S::SIZE)) {
            *weight = A::value(S::load(element));
        }
    } else {
        for (weight, element) in weights.iter_mut().zip(bytes.chunks_exact(S::SIZE)) {
            *weight = A::value(S::load(element));
        }
    }
    (weights, count)
}

#[inline(always)]
fn groups<S: Source, A: Arithmetic, const BITS: u32, const SIZE: usize>(
    rows: &Rows,
    lines: Range<usize>,
    values: &mut [u8],
    scales: &mut [u8],
) {
    let mut buffer = Vec::new();
    let groups = rows.columns.div_ceil(SIZE);
    let outputs = values.chunks_exact_mut(16 * groups).zip(scales.chunks_exact_mut(2 * groups));
    for (row, (values, scales)) in lines.zip(outputs) {
        let elements = rows.segment(row, 0..rows.columns, &mut buffer).chunks(SIZE * S::SIZE);
        let outputs = values.chunks_exact_mut(16).zip(scales.chunks_exact_mut(2));
        for (elements, (value, scale)) in elements.zip(outputs) {
            let (weights, count) = load::<S, A, SIZE>(elements);
            let (words, stored) = group::quantize::<A, BITS, SIZE>(&weights, count, false);
            for (word, out) in words.iter().zip(value.chunks_exact_mut(4)) {
                out.copy_from_slice(&word.to_le_bytes());
            }
            scale.copy_from_slice(&stored.to_le_bytes());
        }
    }
}

#[inline(always)]
fn columns<S: Source, A: Arithmetic, const BITS: u32, const SIZE: usize>(
    rows: &Rows,
    lines: Range<usize>,
    values: &mut [u8],
    scales: &mut [u8],
) {
    let mut buffer = Vec::new();
    let first = lines.start * SIZE;
    let last = (lines.end * SIZE).min(rows.columns);
    for row in 0..rows.rows {
        let elements = rows.segment(row, first..last, &mut buffer).chunks(SIZE * S::SIZE);
        for (line, elements) in elements.enumerate() {
            let (weights, count) = load::<S, A, SIZE>(elements);
            let (words, stored) = group::quantize::<A, BITS, SIZE>(&weights, count, A::EXACT_IF_TRANSPOSED);
            for (index, word) in words.iter().enumerate() {
                let position = 4 * ((4 * line + index) * rows.rows + row);
                values[position..position + 4].copy_from_slice(&word.to_le_bytes());
            }
            let position = 2 * (line * rows.rows + row);
            scales[position..position + 2].copy_from_slice(&stored.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
