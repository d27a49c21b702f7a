//! MLC's container: shards of raw bytes and `tensor-cache.json`.

use crate::{dtype::Dtype, python};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The index of a converted model.
pub const TENSOR_CACHE: &str = "tensor-cache.json";
/// The same for readers that take float32 as the bfloat16 it is stored as; exists where there is float32.
pub const TENSOR_CACHE_B16: &str = "tensor-cache-b16.json";
/// The index as it was called before September 2025.
pub const NDARRAY_CACHE: &str = "ndarray-cache.json";
/// [`TENSOR_CACHE_B16`] as it was called before September 2025.
pub const NDARRAY_CACHE_B16: &str = "ndarray-cache-b16.json";
/// What indices are called, of every version and kind.
pub(crate) const INDICES: [&str; 4] = [TENSOR_CACHE, NDARRAY_CACHE, TENSOR_CACHE_B16, NDARRAY_CACHE_B16];
/// What a shard is kept below, unless a tensor alone is larger.
const CAPACITY: u64 = 32 << 20;

/// `tensor-cache.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TensorCache {
    /// Totals.
    #[serde(default)]
    pub metadata: Metadata,
    /// Shards in the order of their numbers.
    pub records: Vec<ShardRecord>,
}

/// Totals of a converted model. Models that were published long ago have some of them, or none.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metadata {
    /// The number of tensors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param_size: Option<u64>,
    /// Bytes of all tensors in their logical types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param_bytes: Option<f64>,
    /// `param_bytes` in bits over the number of parameters in the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits_per_param: Option<f64>,
}

/// One shard.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardRecord {
    /// The file's name.
    pub data_path: String,
    /// Always `raw-shard`.
    pub format: String,
    /// The file's size.
    pub nbytes: u64,
    /// Its tensors, in order.
    pub records: Vec<TensorRecord>,
    /// The file's MD5, in hexadecimal; the first published models have none.
    #[serde(rename = "md5sum", default, skip_serializing_if = "Option::is_none")]
    pub md5sum: Option<String>,
}

/// One tensor.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TensorRecord {
    /// The parameter's name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<u64>,
    /// Its type at run time.
    pub dtype: String,
    /// `f32-to-bf16`: float32 is stored as bfloat16, all else as it is; or `raw`.
    pub format: String,
    /// Stored bytes.
    pub nbytes: u64,
    /// Where in the shard it starts.
    pub byte_offset: u64,
}

impl TensorRecord {
    /// Bytes of an element in the shard; `None` for a type that MLC has not. Only `raw` float32 is stored as it is.
    pub(crate) fn stored_size(&self) -> Option<u64> {
        let size = element_size(&self.dtype)?;
        Some(if self.dtype == Dtype::F32.name() && self.format != "raw" { 2 } else { size })
    }
}

/// Bytes of an element of a type, as TVM names them.
pub(crate) fn element_size(dtype: &str) -> Option<u64> {
    Dtype::from_name(dtype).map(Dtype::size).or(match dtype {
        "int8" | "uint8" | "bool" | "float8_e4m3" | "e4m3_float8" | "e5m2_float8" => Some(1),
        "int16" | "uint16" => Some(2),
        "int64" | "uint64" | "float64" => Some(8),
        _ => None,
    })
}

impl TensorCache {
    /// The text of `tensor-cache.json`.
    pub fn to_json(&self) -> Result<String> {
        python::to_string(self, 4)
    }

    /// The text of `tensor-cache-b16.json`, if there is one.
    pub fn to_json_b16(&self) -> Result<Option<String>> {
        self.to_b16().map(|cache| cache.to_json()).transpose()
    }

    /// The index that takes float32 as the bfloat16 it is stored as; `None` where there is no such float32.
    pub(crate) fn to_b16(&self) -> Option<Self> {
        let mut cache = self.clone();
        let mut any = false;
        for record in cache.records.iter_mut().flat_map(|shard| &mut shard.records) {
            if record.dtype == Dtype::F32.name() && record.format != "raw" {
                record.dtype = Dtype::Bf16.name().to_owned();
                record.format = "raw".to_owned();
                any = true;
            }
        }
        any.then_some(cache)
    }

    /// All tensors, in order.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorRecord> {
        self.records.iter().flat_map(|shard| &shard.records)
    }

    /// Reads a `tensor-cache.json`.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("it is not a tensor-cache.json")
    }
}

/// The name of a shard.
pub(crate) fn shard_name(number: usize) -> String {
    format!("params_shard_{number}.bin")
}

/// Whether a file's name is that of a shard.
pub(crate) fn is_shard_name(name: &str) -> bool {
    let number = name.strip_prefix("params_shard_").and_then(|rest| rest.strip_suffix(".bin"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Where tensors of these stored sizes go: for each, the shard and the offset in it, and the sizes of all shards.
///
/// Shards get their numbers when they are written: a tensor of half a shard or more that does not fit into the
/// pending one is written alone, before it.
pub(crate) fn lay_out(sizes: &[u64]) -> (Vec<(usize, u64)>, Vec<u64>) {
    let mut places = vec![(0, 0); sizes.len()];
    let mut shards = Vec::new();
    let mut pending: Vec<usize> = Vec::new();
    let mut filled = 0;
    let flush =
        |pending: &mut Vec<usize>, filled: &mut u64, shards: &mut Vec<u64>, places: &mut [(usize, u64)]| {
            if !pending.is_empty() {
                for position in pending.drain(..) {
                    places[position].0 = shards.len();
                }
                shards.push(std::mem::take(filled));
            }
        };
    for (position, &size) in sizes.iter().enumerate() {
        if filled + size >= CAPACITY {
            if size * 2 >= CAPACITY {
                places[position] = (shards.len(), 0);
                shards.push(size);
                continue;
            }
            flush(&mut pending, &mut filled, &mut shards, &mut places);
        }
        places[position].1 = filled;
        pending.push(position);
        filled += size;
    }
    flush(&mut pending, &mut filled, &mut shards, &mut places);
    (places, shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn small_tensors_share_a_shard() {
        assert_eq!(lay_out(&[10, 20]), (vec![(0, 0), (0, 10)], vec![30]));
        assert_eq!(lay_out(&[]), (vec![], vec![]));
    }

    #[test]
    fn a_large_tensor_overtakes_what_is_pending() {
        let (places, shards) = lay_out(&[10 * MIB, 40 * MIB, 4 * MIB]);
        assert_eq!(places, [(1, 0), (0, 0), (1, 10 * MIB)]);
        assert_eq!(shards, [40 * MIB, 14 * MIB]);
    }

    #[test]
    fn a_tensor_of_half_a_shard_is_packed_if_it_fits_and_alone_if_not() {
        assert_eq!(lay_out(&[15 * MIB, 16 * MIB]).1, [31 * MIB]);
        assert_eq!(lay_out(&[16 * MIB, 16 * MIB]).1, [16 * MIB, 16 * MIB]);
        assert_eq!(lay_out(&[16 * MIB, 16 * MIB]).0, [(1, 0), (0, 0)]);
    }

    #[test]
    fn a_full_shard_is_flushed() {
        let (places, shards) = lay_out(&[15 * MIB, 15 * MIB, 2 * MIB, MIB]);
        assert_eq!(places, [(0, 0), (0, 15 * MIB), (1, 0), (1, 2 * MIB)]);
        assert_eq!(shards, [30 * MIB, 3 * MIB]);
    }

    #[test]
    fn names_of_shards() {
        assert!(is_shard_name(&shard_name(12)));
        for name in ["params_shard_.bin", "params_shard_1.bin.part", "params_shard_x.bin", "shard_1.bin"] {
            assert!(!is_shard_name(name), "{name}");
        }
    }
}
