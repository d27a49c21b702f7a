//! What is told after a conversion: what it cost, and what to do next.

use crate::context::Global;
use anyhow::Result;
use model::{Options, read_cache};
use serde_json::Value;
use std::path::Path;

/// A conversion that is done.
pub struct Summary<'a> {
    /// What became of the output: `is converted`, say.
    pub outcome: &'a str,
    /// The checkpoint, as it was given.
    pub source: &'a Path,
    /// The name of the architecture.
    pub architecture: &'a str,
    /// Bytes of the checkpoint's weights.
    pub read: u64,
    /// Whether the chat configuration was written too.
    pub has_chat: bool,
    /// How long it took.
    pub seconds: f64,
}

impl Summary<'_> {
    /// Prints it: as text, or as JSON with what `json` has already.
    pub fn show(&self, global: &Global, options: &Options, json: &mut Value) -> Result<()> {
        let cache = read_cache(&options.output)?;
        let written: u64 = cache.records.iter().map(|shard| shard.nbytes).sum();
        let bits = cache.metadata.bits_per_param;
        if global.json() {
            json["source_bytes"] = self.read.into();
            json["weight_bytes"] = written.into();
            json["bits_per_parameter"] = bits.into();
            json["seconds"] = self.seconds.into();
            crate::events::result(json)?;
            return Ok(());
        }
        let output = options.output.display();
        let bits = bits.map(|bits| format!(", {bits:.3} bits per parameter")).unwrap_or_default();
        let shards = match cache.records.len() {
            1 => "1 shard".to_owned(),
            count => format!("{count} shards"),
        };
        let progress = global.progress();
        progress.line(&format!(
            "{output} {}: {} in {}, {} to {} in {shards}{bits}, {:.1} s",
            self.outcome,
            self.architecture,
            options.quantization,
            size(self.read),
            size(written),
            self.seconds
        ));
        let next = match self.has_chat || options.output.join("mlc-chat-config.json").exists() {
            true => format!("model verify {}", quoted(&options.output)),
            false => format!(
                "model chat-config {} --quantization {} --conversation-template NAME -o {}",
                quoted(self.source),
                options.quantization,
                quoted(&options.output)
            ),
        };
        progress.line(&format!("next: cargo xtask {next}"));
        Ok(())
    }
}

/// Bytes in the unit that leaves one to three digits.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+@:".contains(character);
    match text.chars().all(is_plain) && !text.is_empty() {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_paths_are_as_people_write_them() {
        assert_eq!([size(999), size(988_000_000), size(1_740_000_000)], ["1.0 kB", "988 MB", "1.74 GB"]);
        assert_eq!(quoted(Path::new("dist/Qwen2.5-3B")), "dist/Qwen2.5-3B");
        assert_eq!(quoted(Path::new("it's a model")), "'it'\\''s a model'");
    }
}
