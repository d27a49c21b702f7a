//! What a forward pass needs to know of a model, out of its `mlc-chat-config.json`.

use crate::quantization::{Kind, Scheme, choices, scheme};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use std::f64::consts::PI;
use store::{hinted, printable};

/// The architectures that there is a reference of.
pub const REFERENCED: [&str; 4] = ["llama", "mistral", "qwen2", "qwen3"];

/// A model's sizes and numbers.
pub(super) struct Settings {
    pub architecture: &'static str,
    pub scheme: &'static Scheme,
    pub hidden: usize,
    pub intermediate: usize,
    pub layers: usize,
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` heads.
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocabulary: usize,
    /// What is added to the mean square in a norm.
    pub epsilon: f32,
    /// Whether the head is the embedding.
    pub is_tied: bool,
    /// The most tokens that there may be.
    pub context: Option<usize>,
    pub rope: Rope,
    pub form: Form,
}

/// What the architectures differ in.
pub(super) struct Form {
    /// The layer that makes queries, keys and values.
    pub attention: &'static str,
    /// Whether that layer has a bias.
    pub has_bias: bool,
    /// Whether the attention's output has one.
    pub has_output_bias: bool,
    /// Whether the heads of queries and keys are normed before they are turned.
    pub has_head_norms: bool,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// If there is no reference of the architecture or the quantization, or a size is missing or makes no sense.
    pub fn read(config: &Map<String, Value>) -> Result<Self> {
        let text = |key: &str| {
            let value = config.get(key).and_then(Value::as_str);
            value.with_context(|| format!("mlc-chat-config.json has no text `{key}`"))
        };
        let name = text("model_type")?;
        let Some(&architecture) = REFERENCED.iter().find(|known| **known == name) else {
            bail!(hinted(
                format!("there is no reference of the architecture `{}`", printable(name)),
                choices(name, &REFERENCED)
            ));
        };
        let scheme = scheme(text("quantization")?)?;
        ensure!(
            matches!(scheme.kind, Kind::Cast | Kind::Group(_)),
            hinted(
                format!("there is no reference of the quantization `{}`", scheme.name),
                "convert the checkpoint with q0f32 to try what it computes"
            )
        );
        let model = config.get("model_config").and_then(Value::as_object);
        let model = model.context("mlc-chat-config.json has no object `model_config`")?;
        let size = |key: &str| -> Result<usize> {
            let size = model.get(key).and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
            // No model comes near; products of two sizes are numbers still.
            let size = size.filter(|size| (1..1 << 28).contains(size));
            size.with_context(|| format!("`{key}` of the `model_config` is not a size"))
        };
        let (hidden, heads) = (size("hidden_size")?, size("num_attention_heads")?);
        let optional = |key: &str, otherwise: usize| match model.get(key) {
            None | Some(Value::Null) => Ok(otherwise),
            Some(value) if value.as_u64() == Some(0) => Ok(otherwise),
            Some(_) => size(key),
        };
        let kv_heads = optional("num_key_value_heads", heads)?;
        let head_dim = optional("head_dim", hidden / heads)?;
        ensure!(
            heads.is_multiple_of(kv_heads),
            "{kv_heads} heads of keys and values cannot be shared by {heads} heads"
        );
        ensure!(
            head_dim > 0 && head_dim.is_multiple_of(2),
            "a head of {head_dim} dimensions cannot be turned"
        );
        let activation = model.get("hidden_act").map_or(Some("silu"), Value::as_str);
        ensure!(
            activation.is_some_and(|name| name == "silu" || name == "swish"),
            "there is no reference of the activation {}",
            model["hidden_act"]
        );
        let flag = |key: &str| model.get(key).and_then(Value::as_bool).unwrap_or_default();
        let bounds = [config, model].into_iter().flat_map(|of| {
            ["context_window_size", "sliding_window_size"].map(|key| of.get(key).and_then(Value::as_u64))
        });
        let is_qwen3 = architecture == "qwen3";
        Ok(Self {
            architecture,
            scheme,
            hidden,
            intermediate: size("intermediate_size")?,
            layers: size("num_hidden_layers")?,
            heads,
            kv_heads,
            head_dim,
            vocabulary: size("vocab_size")?,
            epsilon: number(model, "rms_norm_eps")? as f32,
            is_tied: architecture != "mistral" && flag("tie_word_embeddings"),
            context: bounds.flatten().filter(|size| *size > 0).min().map(|size| size as usize),
            rope: Rope::read(model, head_dim)?,
            form: Form {
                attention: if architecture.starts_with("qwen") { "c_attn" } else { "qkv_proj" },
                has_bias: architecture == "qwen2" || is_qwen3 && flag("attention_bias"),
                has_output_bias: is_qwen3 && flag("attention_bias"),
                has_head_norms: is_qwen3,
            },
        })
    }
}

fn number(of: &Map<String, Value>, key: &str) -> Result<f64> {
    let number = of.get(key).and_then(Value::as_f64).filter(|number| number.is_finite() && *number > 0.0);
    number.with_context(|| format!("`{key}` of the `model_config` is not a number above zero"))
}

/// How positions turn the heads of queries and keys.
pub(super) struct Rope {
    /// The angle by which one position turns each pair of dimensions.
    pub frequencies: Vec<f64>,
}

impl Rope {
    fn read(model: &Map<String, Value>, head_dim: usize) -> Result<Self> {
        let base = if model.contains_key("rope_theta") { "rope_theta" } else { "position_embedding_base" };
        let mut rope = Self::new(number(model, base)?, head_dim);
        match model.get("rope_scaling") {
            None | Some(Value::Null) => {}
            Some(Value::Object(scaling))
                if scaling.get("rope_type").and_then(Value::as_str) == Some("llama3") =>
            {
                rope.scale_as_llama3(scaling).context("`rope_scaling` cannot be used")?;
            }
            Some(other) => bail!("there is no reference of the `rope_scaling` {other}"),
        }
        Ok(rope)
    }

    pub fn new(base: f64, head_dim: usize) -> Self {
        let exponent = |pair: usize| -2.0 * pair as f64 / head_dim as f64;
        Self { frequencies: (0..head_dim / 2).map(|pair| base.powf(exponent(pair))).collect() }
    }

    /// Slows pairs that turn less than once within the context that the model was trained with before, as Llama 3.1 does.
    fn scale_as_llama3(&mut self, scaling: &Map<String, Value>) -> Result<()> {
        let number = |key| number(scaling, key);
        let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
        let (factor, context) = (number("factor")?, number("original_max_position_embeddings")?);
        ensure!(low < high, "`low_freq_factor` is not below `high_freq_factor`");
        for frequency in &mut self.frequencies {
            let turns = context * *frequency / (2.0 * PI);
            let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            *frequency *= kept + (1.0 - kept) / factor;
        }
        Ok(())
    }
}
