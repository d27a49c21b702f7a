//! What is in a checkpoint or a converted model, and how two converted models differ.

use crate::{
    cast::{bf16_to_f32, f16_to_f32},
    checkpoint::Checkpoint,
    container::TensorRecord,
    dtype::Dtype,
    file::map_file,
    fp8,
    output::index_of,
    verify::{is_inside, read_cache},
};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};
use store::{hinted, printable};

/// A row of the table that `inspect` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorRow {
    /// The tensor's name.
    pub name: String,
    /// The type of its elements.
    pub dtype: String,
    /// Its dimensions.
    pub shape: Vec<u64>,
    /// Stored bytes.
    pub bytes: u64,
    /// The file that holds it.
    pub file: String,
}

/// What is in a directory.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// All tensors, in order.
    pub tensors: Vec<TensorRow>,
    /// Bits per parameter as the converted model says; `None` for a checkpoint.
    pub bits_per_parameter: Option<f64>,
}

/// Lists the tensors of a converted model, or, if it is none, of a checkpoint; that needs no `config.json`.
pub fn inspect(directory: &Path) -> Result<Inspection> {
    if index_of(directory).is_some() {
        let cache = read_cache(directory)?;
        let mut tensors = Vec::new();
        for shard in cache.records {
            tensors.extend(shard.records.into_iter().map(|record| TensorRow {
                name: record.name,
                dtype: record.dtype,
                shape: record.shape,
                bytes: record.nbytes,
                file: shard.data_path.clone(),
            }));
        }
        return Ok(Inspection { tensors, bits_per_parameter: cache.metadata.bits_per_param });
    }
    let checkpoint = Checkpoint::open_tensors(directory)?;
    let tensors = checkpoint.order().filter_map(|name| {
        let tensor = checkpoint.tensor(name)?;
        Some(TensorRow {
            name: name.to_owned(),
            dtype: tensor.dtype.name().to_owned(),
            shape: tensor.shape.clone(),
            bytes: checkpoint.bytes(tensor).len() as u64,
            file: checkpoint.files[tensor.file].name.clone(),
        })
    });
    Ok(Inspection { tensors: tensors.collect(), bits_per_parameter: None })
}

/// How a tensor of two converted models differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The tensor's name.
    pub name: String,
    /// What differs, in words.
    pub what: String,
    /// The first byte of the tensor that differs.
    pub first_byte: Option<u64>,
    /// Elements that differ.
    pub elements: u64,
    /// The largest difference of two values; `None` for codes.
    pub largest: Option<f64>,
}

/// Compares two converted models, tensor by tensor. Equal ones give nothing.
pub fn diff(left: &Path, right: &Path) -> Result<Vec<Difference>> {
    let (left, right) = (Tensors::open(left)?, Tensors::open(right)?);
    let mut differences = Vec::new();
    let only = |name: &str, what: &str| Difference {
        name: name.to_owned(),
        what: what.to_owned(),
        first_byte: None,
        elements: 0,
        largest: None,
    };
    for (name, (record, _)) in &left.records {
        let Some((other, _)) = right.records.get(name) else {
            differences.push(only(name, "is only in the first"));
            continue;
        };
        // What is stored counts: float32 as bfloat16 is the same under both names of its form.
        let is_same_form = record.stored_size() == other.stored_size();
        if record.shape != other.shape || record.dtype != other.dtype || !is_same_form {
            let shown = |record: &TensorRecord| {
                let form =
                    if is_same_form { String::new() } else { format!(" ({})", printable(&record.format)) };
                format!("{}{form} {:?}", printable(&record.dtype), record.shape)
            };
            let what = format!("is {} and {}", shown(record), shown(other));
            differences.push(only(name, &what));
            continue;
        }
        let (a, b) = (left.bytes(name)?, right.bytes(name)?);
        let Some(first) = a.iter().zip(b).position(|(a, b)| a != b) else { continue };
        let size =
            record.stored_size().with_context(|| format!("unknown type `{}`", printable(&record.dtype)))?
                as usize;
        let pairs = || a.chunks_exact(size).zip(b.chunks_exact(size)).filter(|(a, b)| a != b);
        let largest = record_value(record).map(|value| {
            pairs().map(|(a, b)| (f64::from(value(a)) - f64::from(value(b))).abs()).fold(0.0, f64::max)
        });
        differences.push(Difference {
            first_byte: Some(first as u64),
            elements: pairs().count() as u64,
            largest,
            ..only(name, "has other bytes")
        });
    }
    for name in right.records.keys().filter(|name| !left.records.contains_key(*name)) {
        differences.push(only(name, "is only in the second"));
    }
    Ok(differences)
}

/// The value of an element's stored bytes; `None` for codes.
pub(crate) fn value_of(dtype: Dtype) -> Option<fn(&[u8]) -> f32> {
    match dtype {
        Dtype::F16 => Some(|bytes| f16_to_f32(u16::from_le_bytes([bytes[0], bytes[1]]))),
        Dtype::Bf16 | Dtype::F32 => Some(|bytes| bf16_to_f32(u16::from_le_bytes([bytes[0], bytes[1]]))),
        Dtype::F8E4M3 => Some(|bytes| fp8::value(bytes[0], fp8::E4M3)),
        Dtype::F8E5M2 => Some(|bytes| fp8::value(bytes[0], fp8::E5M2)),
        _ => None,
    }
}

/// The same of a tensor in a shard, which may have float32 as it is.
pub(crate) fn record_value(record: &TensorRecord) -> Option<fn(&[u8]) -> f32> {
    match Dtype::from_name(&record.dtype)? {
        Dtype::F32 if record.stored_size() == Some(4) => {
            Some(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        }
        dtype => value_of(dtype),
    }
}

/// The tensors of a converted model, mapped.
pub(crate) struct Tensors {
    pub records: BTreeMap<String, (TensorRecord, usize)>,
    shards: Vec<memmap2::Mmap>,
}

impl Tensors {
    pub fn open(directory: &Path) -> Result<Self> {
        let cache = read_cache(directory)?;
        let mut records = BTreeMap::new();
        let mut shards: Vec<memmap2::Mmap> = Vec::new();
        let mut positions: HashMap<String, usize> = HashMap::new();
        for shard in cache.records {
            let shown = printable(&shard.data_path);
            ensure!(is_inside(&shard.data_path), "`{shown}` is a file outside the model");
            let position = match positions.get(&shard.data_path) {
                Some(position) => *position,
                None => {
                    shards.push(map_file(&directory.join(&shard.data_path))?);
                    positions.insert(shard.data_path.clone(), shards.len() - 1);
                    shards.len() - 1
                }
            };
            let map = &shards[position];
            for record in shard.records {
                let end = record.byte_offset.checked_add(record.nbytes);
                ensure!(
                    end.is_some_and(|end| end <= map.len() as u64),
                    hinted(
                        format!(
                            "`{}` is not inside {}",
                            printable(&record.name),
                            printable(&shard.data_path)
                        ),
                        "`model verify` says what is wrong with the model"
                    )
                );
                records.insert(record.name.clone(), (record, position));
            }
        }
        Ok(Self { records, shards })
    }

    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        let (record, shard) =
            self.records.get(name).with_context(|| format!("there is no `{}`", printable(name)))?;
        Ok(&self.shards[*shard][record.byte_offset as usize..(record.byte_offset + record.nbytes) as usize])
    }
}
