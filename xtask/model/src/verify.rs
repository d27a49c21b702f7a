//! Checks of a converted model that need nothing but its files.

use crate::{
    checkpoint::map_file,
    container::{TENSOR_CACHE, TENSOR_CACHE_B16, TensorCache, is_shard_name},
    dtype::Dtype,
};
use anyhow::{Context, Result};
use md5::{Digest, Md5};
use rayon::prelude::*;
use std::{
    collections::HashSet,
    fs,
    path::{Component, Path},
};

/// Reads `tensor-cache.json` of a converted model.
pub fn read_cache(directory: &Path) -> Result<TensorCache> {
    let path = directory.join(TENSOR_CACHE);
    let text = crate::checkpoint::read_text(&path, 1 << 30)?;
    TensorCache::parse(&text).with_context(|| format!("cannot use {}", path.display()))
}

/// Checks every shard and record of a converted model against its hash, size and shape. Gives all findings; a sound
/// model has none.
///
/// # Errors
/// When there is no `tensor-cache.json` that can be read at all.
pub fn verify(directory: &Path) -> Result<Vec<String>> {
    let cache = read_cache(directory)?;
    let mut findings = Vec::new();
    let mut names = HashSet::new();
    let mut bytes: f64 = 0.0;
    let mut count = 0;
    for shard in &cache.records {
        let mut end = 0;
        for record in &shard.records {
            count += 1;
            let name = record.name.escape_debug();
            if !names.insert(&record.name) {
                findings.push(format!("`{name}` stands in {TENSOR_CACHE} twice"));
            }
            let Some(dtype) = Dtype::from_name(&record.dtype) else {
                findings.push(format!("`{name}` has the unknown type `{}`", record.dtype.escape_debug()));
                continue;
            };
            let elements = record.shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size));
            let stored = elements.and_then(|elements| elements.checked_mul(dtype.stored_size()));
            bytes += elements.unwrap_or(0) as f64 * dtype.size() as f64;
            if stored != Some(record.nbytes) {
                findings.push(format!("`{name}` has {} bytes, which its shape does not make", record.nbytes));
            }
            if record.byte_offset != end {
                findings.push(format!("`{name}` starts at {}, not at {end}", record.byte_offset));
            }
            end = record.byte_offset.saturating_add(record.nbytes);
        }
        if end != shard.nbytes {
            findings
                .push(format!("the tensors of {} end at {end}, not at {}", shard.data_path, shard.nbytes));
        }
    }
    if count != cache.metadata.param_size {
        findings.push(format!("there are {count} tensors, not {}", cache.metadata.param_size));
    }
    if bytes != cache.metadata.param_bytes {
        findings.push(format!("tensors have {bytes} bytes, not {}", cache.metadata.param_bytes));
    }
    let checked = cache.records.par_iter().filter_map(|shard| {
        let name = &shard.data_path;
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Some(format!("`{}` is a file outside the model", name.escape_debug()));
        }
        let path = directory.join(name);
        match fs::metadata(&path) {
            Err(error) => return Some(format!("cannot read {name}: {error}")),
            Ok(data) if data.len() != shard.nbytes => {
                return Some(format!("{name} has {} bytes, not {}", data.len(), shard.nbytes));
            }
            Ok(_) => {}
        }
        let map = match map_file(&path) {
            Ok(map) => map,
            Err(error) => return Some(format!("{error:#}")),
        };
        let sum: String = Md5::digest(&map[..]).iter().map(|byte| format!("{byte:02x}")).collect();
        (sum != shard.md5sum)
            .then(|| format!("{name} has the MD5 {sum}, not {}", shard.md5sum.escape_debug()))
    });
    findings.extend(checked.collect::<Vec<_>>());
    let known: HashSet<_> = cache.records.iter().map(|shard| shard.data_path.as_str()).collect();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let name = entry.with_context(|| format!("cannot read {}", directory.display()))?.file_name();
        if let Some(name) = name.to_str().filter(|name| is_shard_name(name) && !known.contains(name)) {
            findings.push(format!("{name} belongs to no model; is it left from another one?"));
        }
    }
    let b16 = directory.join(TENSOR_CACHE_B16);
    let expected = cache.to_json_b16()?;
    let actual = fs::read_to_string(&b16).ok();
    match (&expected, &actual) {
        (Some(_), None) => findings.push(format!("{TENSOR_CACHE_B16} is missing")),
        (None, Some(_)) => findings.push(format!("there is a {TENSOR_CACHE_B16}, but no float32")),
        (Some(expected), Some(actual)) if expected != actual => {
            findings.push(format!("{TENSOR_CACHE_B16} does not agree with {TENSOR_CACHE}"));
        }
        _ => {}
    }
    Ok(findings)
}
