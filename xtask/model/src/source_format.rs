//! Checkpoints that are quantized already: what their configuration says of them.

use crate::{architecture::Architecture, quantization::Scheme};
use anyhow::Result;
use serde_json::{Map, Value};
use store::{Hinted, WithHint, hinted};

/// What a configuration says that its checkpoint is quantized with, in words.
pub(crate) fn name(config: &Map<String, Value>) -> Option<String> {
    let settings = config.get("quantization_config").or_else(|| config.get("quantization"))?.as_object()?;
    let number = |names: [&str; 2]| names.iter().find_map(|name| settings.get(*name)?.as_u64());
    let method = settings.get("quant_method").and_then(Value::as_str).map(str::to_lowercase);
    let name = match method.as_deref() {
        Some("gptq") => "GPTQ",
        Some("awq") => "AWQ",
        Some("bitsandbytes") => "bitsandbytes",
        Some("fp8" | "fbgemm_fp8") => "8-bit floats",
        Some("compressed-tensors") => "compressed-tensors",
        Some(other) => other,
        // MLX writes no method.
        None if settings.contains_key("group_size") && settings.contains_key("bits") => "MLX",
        None => return None,
    };
    let mut details = Vec::new();
    let loaded = ["load_in_4bit", "load_in_8bit"].into_iter().zip([4, 8]);
    let loaded =
        loaded.filter(|(key, _)| settings.get(*key) == Some(&Value::Bool(true))).map(|(_, bits)| bits);
    if let Some(bits) = number(["bits", "w_bit"]).or_else(|| loaded.into_iter().next()) {
        details.push(format!("{bits} bits"));
    }
    if let Some(size) = number(["group_size", "q_group_size"]) {
        details.push(format!("groups of {size}"));
    }
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    Some(format!("{}{details}", name.escape_debug()))
}

/// Why a checkpoint that is quantized already cannot be converted.
pub(crate) fn refusal(format: &str, architecture: &Architecture, scheme: &Scheme) -> Hinted {
    let hint = if format.starts_with("AWQ") && architecture.awq && scheme.name != "q4f16_autoawq" {
        "take the checkpoint before it was quantized, or copy this one with `--quantization q4f16_autoawq`"
    } else {
        "take the checkpoint before it was quantized"
    };
    let message = format!(
        "config.json says that the checkpoint is quantized already, with {format}, which `{}` does not read",
        scheme.name
    );
    hinted(message, hint)
}

/// Rows and columns that share a scale in a checkpoint of 8-bit floats.
pub(crate) fn block_size(config: &Map<String, Value>) -> Result<[u64; 2]> {
    let size =
        config.get("quantization_config").and_then(|quantization| quantization.get("weight_block_size"));
    let size = size.or_else(|| config.get("weight_block_size")).and_then(|size| {
        let sizes = size.as_array()?.iter().map(|size| size.as_u64().filter(|size| *size > 0));
        sizes.collect::<Option<Vec<_>>>()?.try_into().ok()
    });
    size.with_hint(|| {
        hinted(
            "config.json has no `weight_block_size` in `quantization_config`",
            "only checkpoints of 8-bit floats with a scale for each block can be copied; \
                take another quantization",
        )
    })
}

/// What AutoAWQ writes.
pub(crate) mod awq {
    use anyhow::{Result, ensure};
    use serde_json::{Map, Value};
    use store::hinted;

    /// Codes in a word.
    pub(crate) const PACKED: u64 = 8;
    /// Inputs that share a scale.
    pub(crate) const GROUP: u64 = 128;

    /// Checks that a configuration is of a checkpoint that MLC reads. One that says nothing is known by its shapes.
    pub(crate) fn check(config: &Map<String, Value>) -> Result<()> {
        let Some(settings) = config.get("quantization_config").or_else(|| config.get("quantization")) else {
            return Ok(());
        };
        let said = |names: &[&str]| names.iter().find_map(|name| settings.get(name));
        let fits = |names: &[&str], value: Value| said(names).is_none_or(|said| *said == value);
        let method = said(&["quant_method"]).and_then(Value::as_str).map(str::to_lowercase);
        let version = said(&["version"]).and_then(Value::as_str).map(str::to_lowercase);
        ensure!(
            method.as_deref() == Some("awq")
                && fits(&["bits", "w_bit"], 4.into())
                && fits(&["group_size", "q_group_size"], GROUP.into())
                && fits(&["zero_point"], true.into())
                && version.is_none_or(|version| version == "gemm"),
            hinted(
                format!(
                    "`q4f16_autoawq` copies what AutoAWQ made, with `quant_method` \"awq\", 4 `bits`, a `group_size` of {GROUP}, `zero_point` and `version` \"gemm\"; `quantization_config` is {settings}"
                ),
                "take the checkpoint before it was quantized, and another quantization"
            )
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn formats_are_known_by_what_the_configuration_says() {
        for (config, expected) in [
            (
                json!({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}),
                "GPTQ (4 bits, groups of 128)",
            ),
            (
                json!({"quantization_config": {"quant_method": "awq", "w_bit": 4, "q_group_size": 64}}),
                "AWQ (4 bits, groups of 64)",
            ),
            (
                json!({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}}),
                "bitsandbytes (4 bits)",
            ),
            (json!({"quantization": {"group_size": 64, "bits": 4}}), "MLX (4 bits, groups of 64)"),
            (json!({"quantization_config": {"quant_method": "hqq"}}), "hqq"),
        ] {
            assert_eq!(name(config.as_object().unwrap()).as_deref(), Some(expected));
        }
        for config in [json!({}), json!({"quantization_config": null}), json!({"quantization_config": {}})] {
            assert_eq!(name(config.as_object().unwrap()), None);
        }
    }

    #[test]
    fn only_awq_as_mlc_reads_it_is_copied() {
        let check = |settings: Value| {
            awq::check(json!({"quantization_config": settings}).as_object().unwrap())
                .map_err(|error| format!("{error:#}"))
        };
        let sound = json!({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "GEMM", "zero_point": true});
        assert_eq!(check(sound.clone()), Ok(()));
        for (key, value) in [
            ("quant_method", json!("gptq")),
            ("bits", json!(8)),
            ("group_size", json!(64)),
            ("version", json!("gemv")),
            ("zero_point", json!(false)),
        ] {
            let mut settings = sound.clone();
            settings[key] = value;
            assert!(check(settings).unwrap_err().contains(key), "{key}");
        }
    }
}
