//! Converts a checkpoint and says how long it took: `convert SOURCE OUTPUT QUANTIZATION [THREADS]`.

use anyhow::{Context, Result};
use model::{Options, convert};
use std::{env, path::Path, time::Instant};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [source, output, quantization, rest @ ..] = &arguments[..] else {
        anyhow::bail!("usage: convert SOURCE OUTPUT QUANTIZATION [THREADS]");
    };
    let mut options = Options::new(Path::new(source), Path::new(output), quantization);
    options.jobs = rest.first().map_or(Ok(0), |jobs| jobs.parse()).context("THREADS is a number")?;
    let start = Instant::now();
    let summary = convert(&options, &store::Silent)?;
    println!(
        "{} parameters, {} bytes in, {} bytes out in {} shards, {:.4} bits per parameter, {:.2?}",
        summary.parameters,
        summary.read,
        summary.written(),
        summary.cache.records.len(),
        summary.cache.metadata.bits_per_param.unwrap_or_default(),
        start.elapsed()
    );
    Ok(())
}
