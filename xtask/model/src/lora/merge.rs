//! The arithmetic of merging, in PyTorch's order: a product is summed over the rank by one fused multiply-add after the
//! other, multiplied by the scale, added to the weight as binary32, and rounded to the model's type.

use super::adapter::{Adapter, Product};
use crate::{
    cast::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16, recast},
    checkpoint::{Checkpoint, Tensor},
    dtype::Dtype,
    file::map_open,
    kernel::Instructions,
};
use anyhow::{Context, Result};
use memmap2::Mmap;
use rayon::prelude::*;
use std::{os::unix::fs::FileExt, path::Path};
use store::{Progress, Unit};

/// Bytes that one task computes.
const TASK: usize = 1 << 20;

/// A tensor that is computed.
pub(crate) struct Write {
    pub name: String,
    /// The checkpoint's.
    pub tensor: Tensor,
    pub to: Dtype,
    /// Where it goes in the file.
    pub place: u64,
    pub change: Change,
}

/// What adapters do to a tensor, by their positions.
pub(crate) struct Change {
    /// The last one that replaces it.
    saved: Option<usize>,
    /// Those that add to it after that.
    added: Vec<usize>,
}

impl Change {
    pub fn of(name: &str, adapters: &[Adapter]) -> Self {
        let saved = adapters.iter().rposition(|adapter| adapter.saved(name).is_some());
        let after = saved.map_or(0, |position| position + 1);
        let added = (after..adapters.len()).filter(|position| adapters[*position].adds_to(name)).collect();
        Self { saved, added }
    }

    pub fn is_empty(&self) -> bool {
        self.saved.is_none() && self.added.is_empty()
    }
}

/// Where merged tensors come from.
pub(crate) struct Sources<'a> {
    pub checkpoint: &'a Checkpoint,
    pub adapters: &'a [Adapter],
    pub instructions: Instructions,
}

/// Computes `writes` into a file of `size` bytes without a name in `directory`, and maps it.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(
    sources: &Sources<'_>,
    writes: &[Write],
    size: u64,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<Mmap> {
    let context = || format!("cannot keep the merged weights in {}", directory.display());
    let file = tempfile::tempfile_in(directory).with_context(context)?;
    let meter = progress.begin("merge", size, Unit::Bytes);
    for write in writes {
        let Sources { checkpoint, adapters, instructions } = *sources;
        let Change { saved, added } = &write.change;
        let saved =
            saved.and_then(|position| Some((&adapters[position], adapters[position].saved(&write.name)?)));
        let (from, bytes) = match saved {
            Some((adapter, tensor)) => (tensor.dtype, adapter.bytes(tensor)),
            None => (write.tensor.dtype, checkpoint.bytes(&write.tensor)),
        };
        let products: Vec<_> =
            added.iter().filter_map(|&position| adapters[position].product(&write.name)).collect();
        let columns = write.tensor.shape.last().map_or(1, |columns| *columns as usize).max(1);
        let row = columns * write.to.size() as usize;
        let rows = (TASK / row).max(1);
        let stored = columns * from.size() as usize;
        bytes
            .par_chunks(rows * stored)
            .enumerate()
            .try_for_each(|(number, bytes)| {
                let mut values = Vec::with_capacity(rows * row);
                recast_all(from, write.to, bytes, &mut values);
                let first = number * rows;
                for product in &products {
                    instructions.run(Run { product, first, columns, dtype: write.to, values: &mut values });
                }
                meter.add(values.len() as u64);
                file.write_all_at(&values, write.place + (first * row) as u64)
            })
            .with_context(context)?;
    }
    map_open(&file).with_context(context)
}

fn recast_all(from: Dtype, to: Dtype, bytes: &[u8], out: &mut Vec<u8>) {
    if from == to { out.extend_from_slice(bytes) } else { recast(from, to, false, bytes, out) }
}

/// One product, added to some rows.
struct Run<'a> {
    product: &'a Product,
    /// The first of the rows.
    first: usize,
    columns: usize,
    dtype: Dtype,
    /// The rows, in `dtype`.
    values: &'a mut [u8],
}

impl pulp::NullaryFnOnce for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Product { left, right, rank, scale } = self.product;
        let mut sums = vec![0f32; self.columns];
        let size = self.dtype.size() as usize;
        for (number, values) in self.values.chunks_exact_mut(self.columns * size).enumerate() {
            sums.fill(0.0);
            let row = (self.first + number) * rank;
            for (factor, row) in left[row..row + rank].iter().zip(right.chunks_exact(self.columns)) {
                for (sum, element) in sums.iter_mut().zip(row) {
                    *sum = factor.mul_add(*element, *sum);
                }
            }
            match self.dtype {
                Dtype::F32 => add(values, &sums, |value: [u8; 4], sum| {
                    (f32::from_le_bytes(value) + sum * scale).to_le_bytes()
                }),
                Dtype::F16 => add(values, &sums, |value: [u8; 2], sum| {
                    f32_to_f16(f16_to_f32(u16::from_le_bytes(value)) + sum * scale).to_le_bytes()
                }),
                _ => add(values, &sums, |value: [u8; 2], sum| {
                    f32_to_bf16(bf16_to_f32(u16::from_le_bytes(value)) + sum * scale).to_le_bytes()
                }),
            }
        }
    }
}

#[inline(always)]
fn add<const N: usize>(values: &mut [u8], sums: &[f32], with: impl Fn([u8; N], f32) -> [u8; N]) {
    for (value, sum) in values.as_chunks_mut::<N>().0.iter_mut().zip(sums) {
        *value = with(*value, *sum);
    }
}
