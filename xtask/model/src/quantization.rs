//! The table of quantization schemes.

use crate::dtype::Dtype;
use anyhow::Result;
use store::{WithHint, hinted, printable};

/// How a model's parameters are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scheme {
    /// The name on the command line and in `mlc-chat-config.json`.
    pub name: &'static str,
    /// The type of what is not quantized, and of scales.
    pub dtype: Dtype,
    /// What happens to weights.
    pub kind: Kind,
}

/// What a scheme does to weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// They are cast.
    Cast,
    /// Groups along the input dimension share a scale.
    Group(Group),
    /// A tensor shares a scale, or has none; codes are 8-bit floats.
    Float8 {
        /// The type of the codes.
        dtype: Dtype,
        /// Whether there is a scale.
        scale: bool,
        /// Whether a scale of activations stands beside it.
        calibration: bool,
    },
    /// Already quantized by AutoAWQ: copied.
    Awq,
    /// Already quantized in blocks of 8-bit floats with a scale each: copied.
    BlockScale {
        /// Whether activations have a scale too.
        activation: bool,
    },
}

/// Group quantization to integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Bits of a code.
    pub bits: u32,
    /// Elements of a group.
    pub size: usize,
    /// Whether linear layers are stored transposed, `[K, N]`.
    pub transposed: bool,
    /// Whether embeddings and the final layer are quantized.
    pub ends: bool,
}

impl Group {
    /// Codes in a 32-bit word.
    pub const fn codes_per_word(self) -> usize {
        (32 / self.bits) as usize
    }

    /// Words of a group.
    pub const fn words(self) -> usize {
        self.size / self.codes_per_word()
    }

    /// The code of zero, and the largest multiple of a scale.
    pub const fn maximum(self) -> u32 {
        (1 << (self.bits - 1)) - 1
    }
}

const fn group(
    name: &'static str,
    dtype: Dtype,
    bits: u32,
    size: usize,
    transposed: bool,
    ends: bool,
) -> Scheme {
    Scheme { name, dtype, kind: Kind::Group(Group { bits, size, transposed, ends }) }
}

/// Every scheme that can be converted to. `q4f16_ft` is missing: it needs CUDA even in the reference.
pub const SCHEMES: &[Scheme] = &[
    Scheme { name: "q0f16", dtype: Dtype::F16, kind: Kind::Cast },
    Scheme { name: "q0bf16", dtype: Dtype::Bf16, kind: Kind::Cast },
    Scheme { name: "q0f32", dtype: Dtype::F32, kind: Kind::Cast },
    group("q3f16_0", Dtype::F16, 3, 40, true, true),
    group("q3f16_1", Dtype::F16, 3, 40, false, true),
    group("q4f16_0", Dtype::F16, 4, 32, true, true),
    group("q4f16_1", Dtype::F16, 4, 32, false, true),
    group("q4f16_2", Dtype::F16, 4, 32, false, false),
    group("q4bf16_0", Dtype::Bf16, 4, 32, true, true),
    group("q4bf16_1", Dtype::Bf16, 4, 32, false, true),
    group("q4f32_1", Dtype::F32, 4, 32, false, true),
    Scheme {
        name: "e5m2_e5m2_f16",
        dtype: Dtype::F16,
        kind: Kind::Float8 { dtype: Dtype::F8E5M2, scale: false, calibration: false },
    },
    Scheme {
        name: "e4m3_e4m3_f16",
        dtype: Dtype::F16,
        kind: Kind::Float8 { dtype: Dtype::F8E4M3, scale: true, calibration: true },
    },
    Scheme {
        name: "e4m3_e4m3_f16_max_calibrate",
        dtype: Dtype::F16,
        kind: Kind::Float8 { dtype: Dtype::F8E4M3, scale: true, calibration: false },
    },
    Scheme { name: "q4f16_autoawq", dtype: Dtype::F16, kind: Kind::Awq },
    Scheme {
        name: "fp8_e4m3fn_bf16_block_scale",
        dtype: Dtype::Bf16,
        kind: Kind::BlockScale { activation: false },
    },
    Scheme {
        name: "fp8_e4m3fn_bf16_block_scale_static_activation",
        dtype: Dtype::Bf16,
        kind: Kind::BlockScale { activation: true },
    },
];

/// The scheme called `name`.
///
/// # Errors
/// When there is none; the message lists them.
pub fn scheme(name: &str) -> Result<&'static Scheme> {
    SCHEMES.iter().find(|scheme| scheme.name == name).with_hint(|| {
        let names: Vec<_> = SCHEMES.iter().map(|scheme| scheme.name).collect();
        hinted(format!("there is no quantization `{}`", printable(name)), choices(name, &names))
    })
}

/// What there is in place of a name that is not known: the one that was meant, if one is near, and all.
pub(crate) fn choices(name: &str, known: &[&str]) -> String {
    // Whoever writes `Q4F16-1` means `q4f16_1`.
    let plain = |text: &str| text.to_lowercase().replace(['-', '.', ' '], "_");
    let wanted = plain(name);
    let likeness = |known: &&&str| strsim::jaro_winkler(&plain(known), &wanted);
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let all = format!("there are {}", known.join(", "));
    match nearest {
        Some(nearest) if likeness(&nearest) > 0.8 => format!("did you mean `{nearest}`? {all}"),
        _ => all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_told_the_right_one() {
        for (wrong, right) in
            [("q4f16-1", "q4f16_1"), ("Q4F16_1", "q4f16_1"), ("q3f16", "q3f16_1"), ("q0fp16", "q0f16")]
        {
            let error = store::full_text(&scheme(wrong).unwrap_err());
            assert!(
                error.contains(&format!("did you mean `{right}`?")) && error.contains("q4bf16_0"),
                "{error}"
            );
        }
        let error = scheme("int8\u{1b}").unwrap_err().to_string();
        assert!(!error.contains("did you mean") && error.contains("`int8\\u001b`"), "{error}");
    }
}
