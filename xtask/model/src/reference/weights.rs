//! Weights of a converted model as numbers, a few rows at a time.

use crate::{
    dtype::Dtype,
    inspect::{Tensors, record_value},
    quantization::{Group, Kind, Scheme},
};
use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use std::ops::Range;
use store::printable;

/// Rows that are decoded at once: where a matrix is stored transposed, those of a cache line.
const ROWS: usize = 16;

/// A tensor as it is stored.
struct Stored<'a> {
    bytes: &'a [u8],
    size: usize,
    value: fn(&[u8]) -> f32,
}

impl<'a> Stored<'a> {
    fn open(tensors: &'a Tensors, name: &str, shape: &[usize]) -> Result<Self> {
        let bytes = shaped(tensors, name, shape)?;
        let (record, _) = &tensors.records[name];
        let value = record_value(record);
        let value = value.with_context(|| format!("the values of `{}` are not numbers", printable(name)))?;
        let size = record.stored_size().unwrap_or_default() as usize;
        ensure!(
            bytes.len() == size * shape.iter().product::<usize>(),
            "`{}` has {} bytes",
            printable(name),
            bytes.len()
        );
        Ok(Self { bytes, size, value })
    }

    fn get(&self, index: usize) -> f32 {
        (self.value)(&self.bytes[index * self.size..])
    }
}

/// The bytes of a tensor of this shape.
fn shaped<'a>(tensors: &'a Tensors, name: &str, shape: &[usize]) -> Result<&'a [u8]> {
    let bytes = tensors.bytes(name)?;
    let there = &tensors.records[name].0.shape;
    let is_same = there.len() == shape.len() && there.iter().zip(shape).all(|(a, b)| *a == *b as u64);
    ensure!(is_same, "`{}` has the shape {there:?}, not {shape:?}", printable(name));
    Ok(bytes)
}

/// A vector, such as the weight of a norm.
pub(super) fn vector(tensors: &Tensors, name: &str, length: usize) -> Result<Vec<f32>> {
    let stored = Stored::open(tensors, name, &[length])?;
    Ok((0..length).map(|index| stored.get(index)).collect())
}

/// The weight of a linear layer or an embedding: a row for each output.
pub(super) struct Matrix<'a> {
    rows: usize,
    columns: usize,
    form: Form<'a>,
}

enum Form<'a> {
    Plain(Stored<'a>),
    Group(Codes<'a>),
}

/// Codes in groups that share a scale.
struct Codes<'a> {
    words: &'a [u8],
    scales: Stored<'a>,
    group: Group,
    /// The code of zero.
    zero: f32,
    transposed: bool,
}

/// Which weight is meant.
pub(super) struct Named<'n> {
    pub name: &'n str,
    pub rows: usize,
    pub columns: usize,
    /// Whether it is an embedding or the head, which some schemes leave as they are.
    pub is_end: bool,
    /// Whether it is an embedding, which is never stored transposed.
    pub is_embedding: bool,
}

impl<'a> Matrix<'a> {
    pub fn open(tensors: &'a Tensors, scheme: &Scheme, named: &Named, zero: Option<u32>) -> Result<Self> {
        let Named { name, rows, columns, is_end, is_embedding } = *named;
        let form = match scheme.kind {
            Kind::Group(group) if group.ends || !is_end => {
                let transposed = group.transposed && !is_embedding;
                let groups = columns.div_ceil(group.size);
                let shape = |width: usize| if transposed { [width, rows] } else { [rows, width] };
                let codes = format!("{name}.q_weight");
                let words = shaped(tensors, &codes, &shape(groups * group.words()))?;
                ensure!(
                    tensors.records[&codes].0.dtype == Dtype::U32.name()
                        && words.len() == 4 * rows * groups * group.words(),
                    "the codes of `{}` are not words",
                    printable(name)
                );
                let scales = Stored::open(tensors, &format!("{name}.q_scale"), &shape(groups))?;
                let zero = zero.unwrap_or(group.maximum()) as f32;
                Form::Group(Codes { words, scales, group, zero, transposed })
            }
            _ => Form::Plain(Stored::open(tensors, &format!("{name}.weight"), &[rows, columns])?),
        };
        Ok(Self { rows, columns, form })
    }

    /// Some rows, one after another.
    pub fn decode(&self, rows: Range<usize>, out: &mut [f32]) {
        match &self.form {
            Form::Plain(stored) => {
                let elements =
                    stored.bytes[rows.start * self.columns * stored.size..].chunks_exact(stored.size);
                for (out, element) in out.iter_mut().zip(elements) {
                    *out = (stored.value)(element);
                }
            }
            Form::Group(codes) => {
                for (row, out) in rows.zip(out.chunks_exact_mut(self.columns)) {
                    codes.decode(row, self.rows, out);
                }
            }
        }
    }

    /// The products of vectors of as many columns with every row.
    pub fn multiply(&self, vectors: &[f32]) -> Vec<f32> {
        let count = vectors.len() / self.columns;
        // Row by row, since each is decoded once; then back to an output for each vector.
        let mut products = vec![0.0; self.rows * count];
        products.par_chunks_mut(ROWS * count).enumerate().for_each_init(
            || vec![0.0; ROWS * self.columns],
            |buffer, (block, products)| {
                let start = block * ROWS;
                let rows = products.len() / count;
                self.decode(start..start + rows, &mut buffer[..rows * self.columns]);
                for (row, products) in buffer.chunks_exact(self.columns).zip(products.chunks_exact_mut(count))
                {
                    for (vector, product) in vectors.chunks_exact(self.columns).zip(products) {
                        *product = dot(row, vector);
                    }
                }
            },
        );
        let mut outputs = vec![0.0; self.rows * count];
        for (row, products) in products.chunks_exact(count).enumerate() {
            for (vector, product) in products.iter().enumerate() {
                outputs[vector * self.rows + row] = *product;
            }
        }
        outputs
    }
}

impl Codes<'_> {
    /// A row of a matrix of so many.
    fn decode(&self, row: usize, rows: usize, out: &mut [f32]) {
        let Group { bits, size, .. } = self.group;
        let (per, mask) = (self.group.codes_per_word(), (1u32 << bits) - 1);
        let groups = out.len().div_ceil(size);
        for (group, out) in out.chunks_mut(size).enumerate() {
            let scale = match self.transposed {
                true => self.scales.get(group * rows + row),
                false => self.scales.get(row * groups + group),
            };
            for (index, out) in out.chunks_mut(per).enumerate() {
                let word = group * self.group.words() + index;
                let word = match self.transposed {
                    true => word * rows + row,
                    false => row * groups * self.group.words() + word,
                };
                let word = &self.words[4 * word..4 * word + 4];
                let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                for (code, out) in out.iter_mut().enumerate() {
                    *out = ((word >> (code as u32 * bits) & mask) as f32 - self.zero) * scale;
                }
            }
        }
    }
}

/// The product of two vectors, summed in sixteen parts, which rounds less than one sum and suits every processor.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut parts = [0f32; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for (part, (a, b)) in parts.iter_mut().zip(a.iter().zip(b)) {
            *part += a * b;
        }
    }
    rest + parts.iter().sum::<f32>()
}
