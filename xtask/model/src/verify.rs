//! Checks of a converted model that need nothing but its files.

use crate::{
    agreement::disagreements,
    chat_config::CHAT_CONFIG,
    container::{
        NDARRAY_CACHE, NDARRAY_CACHE_B16, ShardRecord, TENSOR_CACHE, TENSOR_CACHE_B16, TensorCache,
        element_size, is_shard_name,
    },
    file::{self, map_file, read_text},
    output::{index_of, is_half_replaced},
};
use anyhow::{Context, Result, bail, ensure};
use md5::{Digest, Md5};
use rayon::prelude::*;
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};
use store::{hinted, printable};

/// The most that an index of a converted model may have, and its chat configuration.
const INDEX_LIMIT: u64 = 1 << 30;
const CONFIG_LIMIT: u64 = 256 << 20;

/// Reads the index of a converted model: `tensor-cache.json`, or `ndarray-cache.json` as it was called before
/// September 2025.
///
/// # Errors
/// When there is none, or it is not one.
pub fn read_cache(directory: &Path) -> Result<TensorCache> {
    ensure!(
        !is_half_replaced(directory),
        hinted(
            format!("a command was stopped while it put a model into {}", directory.display()),
            "the next `model convert` or `model chat-config` with this `--output` finishes it, without converting again"
        )
    );
    let name = index_of(directory).with_context(|| {
        format!(
            "{} holds no converted model: there is no {TENSOR_CACHE} and no {NDARRAY_CACHE}",
            directory.display()
        )
    })?;
    read_index(directory, name)
}

fn read_index(directory: &Path, name: &str) -> Result<TensorCache> {
    let path = directory.join(name);
    let text = read_text(&path, INDEX_LIMIT)?;
    TensorCache::parse(&text).with_context(|| format!("cannot use {}", path.display()))
}

/// Reads `mlc-chat-config.json`, where there is one.
///
/// # Errors
/// When it cannot be read, or is not a JSON object.
pub(crate) fn read_chat_config(directory: &Path) -> Result<Option<Map<String, Value>>> {
    let path = directory.join(CHAT_CONFIG);
    if !path.exists() {
        return Ok(None);
    }
    let text = read_text(&path, CONFIG_LIMIT)?;
    match serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))? {
        Value::Object(config) => Ok(Some(config)),
        _ => bail!("{} is not a JSON object", path.display()),
    }
}

/// Checks every shard and record of a converted model against its hash, size and shape, and the weights against the
/// model's chat configuration, where there is one. Gives all findings; a sound model has none.
///
/// # Errors
/// When there is no index that can be read at all.
pub fn verify(directory: &Path) -> Result<Vec<String>> {
    let index = index_of(directory).unwrap_or(TENSOR_CACHE);
    let cache = read_cache(directory)?;
    let mut findings = records(&cache, index);
    findings.extend(files(directory, &cache));
    let known: HashSet<_> = cache.records.iter().map(|shard| shard.data_path.as_str()).collect();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let name = entry.with_context(|| format!("cannot read {}", directory.display()))?.file_name();
        if let Some(name) = name.to_str().filter(|name| is_shard_name(name) && !known.contains(name)) {
            findings.push(format!("{name} belongs to no model; is it left from another one?"));
        }
    }
    if index == TENSOR_CACHE && directory.join(NDARRAY_CACHE).exists() {
        let is_same = read_index(directory, NDARRAY_CACHE).is_ok_and(|old| is_equal(&old, &cache));
        if !is_same {
            findings.push(format!("{NDARRAY_CACHE} does not agree with {TENSOR_CACHE}; which one is read depends on the version of MLC"));
        }
    }
    findings.extend(half_index(directory, index, &cache)?);
    match read_chat_config(directory) {
        Ok(Some(config)) => findings.extend(disagreements(directory, &cache, &config)),
        Ok(None) => {}
        Err(error) => findings.push(format!("{error:#}")),
    }
    Ok(findings)
}

/// What is wrong with an index in itself.
fn records(cache: &TensorCache, index: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut names = HashSet::new();
    let (mut bytes, mut count) = (0.0, 0);
    for shard in &cache.records {
        let mut end = 0;
        for record in &shard.records {
            count += 1;
            let name = printable(&record.name);
            if record.name.is_empty() {
                findings.push(format!("a tensor of {} has no name", printable(&shard.data_path)));
            } else if !names.insert(&record.name) {
                findings.push(format!("`{name}` stands in {index} twice"));
            }
            let (Some(size), Some(stored)) = (element_size(&record.dtype), record.stored_size()) else {
                findings.push(format!("`{name}` has the unknown type `{}`", printable(&record.dtype)));
                continue;
            };
            let elements = record.shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size));
            bytes += elements.unwrap_or(0) as f64 * size as f64;
            if elements.and_then(|elements| elements.checked_mul(stored)) != Some(record.nbytes) {
                findings.push(format!("`{name}` has {} bytes, which its shape does not make", record.nbytes));
            }
            if record.byte_offset != end {
                findings.push(format!("`{name}` starts at {}, not at {end}", record.byte_offset));
            }
            end = record.byte_offset.saturating_add(record.nbytes);
        }
        if end != shard.nbytes {
            let name = printable(&shard.data_path);
            findings.push(format!("the tensors of {name} end at {end}, not at {}", shard.nbytes));
        }
    }
    if cache.metadata.param_size.is_some_and(|expected| expected != count) {
        findings.push(format!("there are {count} tensors, not {}", cache.metadata.param_size.unwrap_or(0)));
    }
    if let Some(expected) = cache.metadata.param_bytes.filter(|expected| *expected != bytes) {
        findings.push(format!("tensors have {bytes} bytes, not {expected}"));
    }
    findings
}

/// What is wrong with the files of the shards. However many shards name a file, by whichever names, it is hashed once.
fn files(directory: &Path, cache: &TensorCache) -> Vec<String> {
    let mut findings = Vec::new();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut to_hash: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let mut sound: Vec<(&ShardRecord, (u64, u64))> = Vec::new();
    for shard in &cache.records {
        let name = printable(&shard.data_path);
        let count = names.entry(&shard.data_path).or_default();
        *count += 1;
        if *count > 1 {
            continue;
        }
        if shard.data_path.is_empty() || !is_inside(&shard.data_path) {
            findings.push(format!("`{name}` is a file outside the model"));
            continue;
        }
        let path = directory.join(&shard.data_path);
        match fs::metadata(&path) {
            Err(error) => findings.push(format!("cannot read {name}: {error}")),
            Ok(data) if !data.is_file() => findings.push(format!("{name} is not a regular file")),
            Ok(data) if data.len() != shard.nbytes => findings.push(match file::check(&path) {
                Ok(()) => format!("{name} has {} bytes, not {}", data.len(), shard.nbytes),
                Err(error) => format!("{error:#}"),
            }),
            Ok(data) => {
                let file = (data.dev(), data.ino());
                to_hash.insert(file, path);
                sound.push((shard, file));
            }
        }
    }
    for (name, count) in names.iter().filter(|(_, count)| **count > 1) {
        findings.push(format!("{} is the file of {count} shards", printable(name)));
    }
    let sums: BTreeMap<_, _> = to_hash
        .into_par_iter()
        .map(|(file, path)| {
            let sum = map_file(&path).map(|map| -> String {
                Md5::digest(&map[..]).iter().map(|byte| format!("{byte:02x}")).collect()
            });
            (file, sum)
        })
        .collect();
    for (shard, file) in sound {
        let name = printable(&shard.data_path);
        match (&sums[&file], &shard.md5sum) {
            (Err(error), _) => findings.push(format!("{error:#}")),
            (Ok(sum), Some(expected)) if !sum.eq_ignore_ascii_case(expected) => {
                findings.push(format!("{name} has the MD5 {sum}, not {}", printable(expected)));
            }
            _ => {}
        }
    }
    findings
}

/// Whether a name leads to a file of the directory.
pub(crate) fn is_inside(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// What is wrong with the index for readers that take float32 as the bfloat16 it is stored as.
fn half_index(directory: &Path, index: &str, cache: &TensorCache) -> Result<Option<String>> {
    let name = if index == TENSOR_CACHE { TENSOR_CACHE_B16 } else { NDARRAY_CACHE_B16 };
    let expected = cache.to_b16();
    let there = directory.join(name).exists().then(|| read_index(directory, name));
    Ok(match (expected, there) {
        (Some(_), None) => Some(format!("{name} is missing")),
        // Older versions wrote it always.
        (None, Some(Ok(there))) if index == NDARRAY_CACHE && is_equal(&there, cache) => None,
        (None, Some(_)) => Some(format!("there is a {name}, but no float32")),
        (Some(_), Some(Err(error))) => Some(format!("{error:#}")),
        (Some(expected), Some(Ok(there))) if !is_equal(&there, &expected) => {
            Some(format!("{name} does not agree with {index}"))
        }
        _ => None,
    })
}

fn is_equal(a: &TensorCache, b: &TensorCache) -> bool {
    matches!((a.to_json(), b.to_json()), (Ok(a), Ok(b)) if a == b)
}
