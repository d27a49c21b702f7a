//! Whether a converted model's weights are what its chat configuration says.

use crate::{
    architecture::architecture,
    chat_config::CHAT_CONFIG,
    container::{TensorCache, TensorRecord},
    file::map_file,
    plan::expected_outputs,
    quantization::{Kind, Scheme, scheme},
    verify::is_inside,
};
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, HashSet},
    path::Path,
};
use store::printable;

/// How many differences are told one by one.
const TOLD: usize = 3;

/// What of a model's weights is not as its `mlc-chat-config.json` says: other names, shapes or types than the architecture
/// has in that quantization, or codes of another number of bits. Nothing where the architecture or the quantization is not
/// known here.
///
/// The configuration of a model in `model_config` has the names that `config.json` has, as far as shapes depend on them.
pub(crate) fn disagreements(
    directory: &Path,
    cache: &TensorCache,
    config: &Map<String, Value>,
) -> Vec<String> {
    let quantization = config.get("quantization").and_then(Value::as_str).unwrap_or_default();
    let Ok(scheme) = scheme(quantization) else { return Vec::new() };
    let mut wrong = expected(scheme, config).map(|expected| compare(&expected, cache)).unwrap_or_default();
    if let (true, Kind::Group(group)) = (wrong.is_empty(), scheme.kind) {
        wrong.extend(other_bits(directory, cache, group.bits));
    }
    let more = wrong.len().saturating_sub(TOLD);
    let told = |what: &String| format!("the weights are not {quantization}, as {CHAT_CONFIG} says: {what}");
    let mut findings: Vec<String> = wrong.iter().take(TOLD).map(told).collect();
    if more > 0 {
        findings.push(format!("the same holds for {more} more tensors"));
    }
    findings
}

fn compare(expected: &Expected, cache: &TensorCache) -> Vec<String> {
    let records: HashMap<&str, &TensorRecord> =
        cache.tensors().map(|record| (record.name.as_str(), record)).collect();
    let mut wrong: Vec<String> = expected
        .tensors
        .iter()
        .filter_map(|tensor| match records.get(tensor.name.as_str()) {
            None => Some(format!("there is no `{}`", printable(&tensor.name))),
            Some(record) if tensor.fits(record) => None,
            Some(record) => Some(format!(
                "`{}` is {} {:?}, not {}",
                printable(&tensor.name),
                printable(&record.dtype),
                record.shape,
                tensor.told()
            )),
        })
        .collect();
    if expected.is_complete {
        let known: HashSet<&str> = expected.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let strange = cache.tensors().filter(|record| !known.contains(record.name.as_str()));
        wrong.extend(
            strange.map(|record| format!("there is `{}`, which it has not", printable(&record.name))),
        );
    }
    wrong
}

/// Whether the codes of the first quantized tensor are of 4 bits where 3 are said, or the other way round. Where rows have a
/// few groups only, both have the same shapes.
///
/// A word holds ten codes of 3 bits, and then its two highest bits are never set; or eight codes of 4 bits, and the highest
/// code, around 7, has one of them set nearly always.
fn other_bits(directory: &Path, cache: &TensorCache, bits: u32) -> Option<String> {
    const ENOUGH: usize = 1 << 20;
    let (shard, record) = cache.records.iter().find_map(|shard| {
        let record = shard.records.iter().find(|record| record.name.ends_with(".q_weight"))?;
        Some((shard, record))
    })?;
    if !is_inside(&shard.data_path) {
        return None;
    }
    // What is wrong with the file itself is found elsewhere.
    let map = map_file(&directory.join(&shard.data_path)).ok()?;
    let start = usize::try_from(record.byte_offset).ok()?;
    let end = usize::try_from(record.byte_offset.checked_add(record.nbytes)?).ok()?;
    let words = map.get(start..end)?.chunks_exact(4).take(ENOUGH);
    let words = words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let (three, all) = words
        .filter(|word| *word != 0)
        .fold((0usize, 0usize), |(three, all), word| (three + usize::from(word >> 30 == 0), all + 1));
    let found = if 2 * three > all { 3 } else { 4 };
    (all > 0 && found != bits)
        .then(|| format!("`{}` holds codes of {found} bits, not of {bits}", printable(&record.name)))
}

/// What a model has.
pub(crate) struct Expected {
    pub tensors: Vec<ExpectedTensor>,
    /// Whether that is all.
    pub is_complete: bool,
}

/// A tensor that a model has.
pub(crate) struct ExpectedTensor {
    pub name: String,
    /// `None` is a number that the configuration does not say.
    pub shape: Vec<Option<u64>>,
    pub dtype: &'static str,
}

impl ExpectedTensor {
    fn fits(&self, record: &TensorRecord) -> bool {
        let mut sizes = self.shape.iter().zip(&record.shape);
        self.dtype == record.dtype
            && self.shape.len() == record.shape.len()
            && sizes.all(|(expected, size)| expected.is_none_or(|expected| expected == *size))
    }

    fn told(&self) -> String {
        let sizes: Vec<_> =
            self.shape.iter().map(|size| size.map_or("any".to_owned(), |size| size.to_string())).collect();
        format!("{} [{}]", self.dtype, sizes.join(", "))
    }
}

/// The most tensors of a checkpoint that a converted model is compared with: no known one has half of it.
const MOST_TENSORS: usize = 100_000;

fn expected(scheme: &Scheme, config: &Map<String, Value>) -> Option<Expected> {
    let architecture = architecture(config.get("model_type")?.as_str()?, &Map::new()).ok()?;
    let Value::Object(mut sizes) = config.get("model_config")?.clone() else { return None };
    // Weights are stored whole, for however many devices the configuration is.
    sizes.insert("tensor_parallel_shards".to_owned(), 1.into());
    let parameters = architecture.model(&sizes, scheme, MOST_TENSORS).ok()?.parameters;
    expected_outputs(&parameters, scheme, &sizes).ok()
}
