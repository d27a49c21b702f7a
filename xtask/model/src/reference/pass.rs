//! The forward pass: embedding, layers of attention and a gated network, the head.

use super::{
    settings::Settings,
    weights::{Matrix, Named, dot, vector},
};
use crate::inspect::Tensors;
use anyhow::Result;
use rayon::prelude::*;

/// A sequence of tokens that was fed so far.
pub(super) struct Pass<'a> {
    settings: &'a Settings,
    rules: Rules,
    embedding: Matrix<'a>,
    layers: Vec<Layer<'a>>,
    norm: Vec<f32>,
    /// `None`: the embedding.
    head: Option<Matrix<'a>>,
    /// Tokens that were fed.
    length: usize,
}

struct Layer<'a> {
    attention_norm: Vec<f32>,
    qkv: Linear<'a>,
    query_norm: Option<Vec<f32>>,
    key_norm: Option<Vec<f32>>,
    output: Linear<'a>,
    network_norm: Vec<f32>,
    gate_up: Linear<'a>,
    down: Linear<'a>,
    /// Of every token that was fed, one after another.
    keys: Vec<f32>,
    values: Vec<f32>,
}

struct Linear<'a> {
    weight: Matrix<'a>,
    bias: Option<Vec<f32>>,
}

impl Linear<'_> {
    fn apply(&self, vectors: &[f32]) -> Vec<f32> {
        let mut outputs = self.weight.multiply(vectors);
        if let Some(bias) = &self.bias {
            for output in outputs.chunks_exact_mut(bias.len()) {
                add(output, bias);
            }
        }
        outputs
    }
}

fn add(to: &mut [f32], other: &[f32]) {
    for (to, other) in to.iter_mut().zip(other) {
        *to += other;
    }
}

/// What is easily got wrong. Tests do so, and must fail.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// The code of zero, where it is not the scheme's.
    pub zero: Option<u32>,
    /// The head of keys and values that serves a head, of how many heads each serves and how many there are.
    pub kv_head: fn(head: usize, served: usize, kv_heads: usize) -> usize,
    /// How many tokens a position sees.
    pub seen: fn(position: usize) -> usize,
}

impl Rules {
    pub const RIGHT: Self =
        Self { zero: None, kv_head: |head, served, _| head / served, seen: |position| position + 1 };
}

impl<'a> Pass<'a> {
    pub fn new(tensors: &'a Tensors, settings: &'a Settings) -> Result<Self> {
        Self::by(Rules::RIGHT, tensors, settings)
    }

    pub fn by(rules: Rules, tensors: &'a Tensors, settings: &'a Settings) -> Result<Self> {
        let Settings { hidden, intermediate, heads, kv_heads, head_dim, vocabulary, .. } = *settings;
        let matrix = |named: Named| Matrix::open(tensors, settings.scheme, &named, rules.zero);
        let end = |name, is_embedding| {
            matrix(Named { name, rows: vocabulary, columns: hidden, is_end: true, is_embedding })
        };
        let linear = |name: &str, rows, columns, has_bias: bool| -> Result<Linear<'a>> {
            let weight = matrix(Named { name, rows, columns, is_end: false, is_embedding: false })?;
            let bias = has_bias.then(|| vector(tensors, &format!("{name}.bias"), rows)).transpose()?;
            Ok(Linear { weight, bias })
        };
        let layer = |index: usize| -> Result<Layer<'a>> {
            let form = &settings.form;
            let name = |name: &str| format!("model.layers.{index}.{name}");
            let norm = |part: &str, length| vector(tensors, &name(&format!("{part}.weight")), length);
            let head_norm = |part: &str| {
                form.has_head_norms.then(|| norm(&format!("self_attn.{part}"), head_dim)).transpose()
            };
            let qkv = name(&format!("self_attn.{}", form.attention));
            Ok(Layer {
                attention_norm: norm("input_layernorm", hidden)?,
                qkv: linear(&qkv, (heads + 2 * kv_heads) * head_dim, hidden, form.has_bias)?,
                query_norm: head_norm("q_norm")?,
                key_norm: head_norm("k_norm")?,
                output: linear(&name("self_attn.o_proj"), hidden, heads * head_dim, form.has_output_bias)?,
                network_norm: norm("post_attention_layernorm", hidden)?,
                gate_up: linear(&name("mlp.gate_up_proj"), 2 * intermediate, hidden, false)?,
                down: linear(&name("mlp.down_proj"), hidden, intermediate, false)?,
                keys: Vec::new(),
                values: Vec::new(),
            })
        };
        Ok(Self {
            settings,
            rules,
            embedding: end("model.embed_tokens", true)?,
            layers: (0..settings.layers).map(layer).collect::<Result<_>>()?,
            norm: vector(tensors, "model.norm.weight", hidden)?,
            head: (!settings.is_tied).then(|| end("lm_head", false)).transpose()?,
            length: 0,
        })
    }

    /// Feeds tokens, at least one, and gives the logits after the last.
    pub fn feed(&mut self, tokens: &[u32]) -> Vec<f32> {
        let Self { settings, rules, .. } = *self;
        let hidden = settings.hidden;
        let mut stream = vec![0.0; tokens.len() * hidden];
        for (token, out) in tokens.iter().zip(stream.chunks_exact_mut(hidden)) {
            self.embedding.decode(*token as usize..*token as usize + 1, out);
        }
        for layer in &mut self.layers {
            let normed = norm(&stream, &layer.attention_norm, settings.epsilon);
            let attended = layer.attend(&normed, self.length, settings, &rules);
            add(&mut stream, &layer.output.apply(&attended));
            let normed = norm(&stream, &layer.network_norm, settings.epsilon);
            let network = gated(&layer.gate_up.apply(&normed), settings.intermediate);
            add(&mut stream, &layer.down.apply(&network));
        }
        self.length += tokens.len();
        let last = norm(&stream[stream.len() - hidden..], &self.norm, settings.epsilon);
        self.head.as_ref().unwrap_or(&self.embedding).multiply(&last)
    }
}

impl Layer<'_> {
    /// What the heads of tokens from `start` on make of all tokens until each.
    fn attend(&mut self, normed: &[f32], start: usize, settings: &Settings, rules: &Rules) -> Vec<f32> {
        let Settings { heads, kv_heads, head_dim, .. } = *settings;
        let mut queries = Vec::new();
        let projected = self.qkv.apply(normed);
        let width = (heads + 2 * kv_heads) * head_dim;
        for (index, token) in projected.chunks_exact(width).enumerate() {
            let (query, rest) = token.split_at(heads * head_dim);
            let (key, value) = rest.split_at(kv_heads * head_dim);
            let turned = |part: &[f32], weight: &Option<Vec<f32>>| {
                let part = match weight {
                    Some(weight) => norm(part, weight, settings.epsilon),
                    None => part.to_owned(),
                };
                turn(part, start + index, &settings.rope.frequencies)
            };
            queries.extend(turned(query, &self.query_norm));
            self.keys.extend(turned(key, &self.key_norm));
            self.values.extend_from_slice(value);
        }
        let mut attended = vec![0.0; queries.len()];
        let scale = 1.0 / (head_dim as f32).sqrt();
        let stride = kv_heads * head_dim;
        let count = self.keys.len() / stride;
        let heads_of_all = queries.par_chunks_exact(head_dim).zip(attended.par_chunks_exact_mut(head_dim));
        heads_of_all.enumerate().for_each(|(index, (query, out))| {
            let head = (rules.kv_head)(index % heads, heads / kv_heads, kv_heads) * head_dim;
            let seen = (rules.seen)(start + index / heads).min(count);
            let part = |of: &[f32], token: usize| token * stride + head..token * stride + head + of.len();
            let mut weights: Vec<f32> =
                (0..seen).map(|token| dot(query, &self.keys[part(query, token)]) * scale).collect();
            softmax(&mut weights);
            for (token, weight) in weights.iter().enumerate() {
                for (out, value) in out.iter_mut().zip(&self.values[part(query, token)]) {
                    *out += weight * value;
                }
            }
        });
        attended
    }
}

/// Vectors over the root of their mean square, times a weight.
fn norm(vectors: &[f32], weight: &[f32], epsilon: f32) -> Vec<f32> {
    let of_one = |vector: &[f32]| {
        let factor = 1.0 / (dot(vector, vector) / vector.len() as f32 + epsilon).sqrt();
        vector.iter().zip(weight).map(|(value, weight)| value * factor * weight).collect::<Vec<_>>()
    };
    vectors.chunks_exact(weight.len()).flat_map(of_one).collect()
}

/// Turns each head's pairs, the first half with the second, by the angles of a position.
fn turn(mut heads: Vec<f32>, position: usize, frequencies: &[f64]) -> Vec<f32> {
    let half = frequencies.len();
    for head in heads.chunks_exact_mut(2 * half) {
        let (first, second) = head.split_at_mut(half);
        for ((a, b), frequency) in first.iter_mut().zip(second).zip(frequencies) {
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            let (sin, cos) = (sin as f32, cos as f32);
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
    heads
}

fn softmax(weights: &mut [f32]) {
    let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for weight in &mut *weights {
        *weight = (*weight - largest).exp();
        sum += *weight;
    }
    for weight in weights {
        *weight /= sum;
    }
}

/// `silu(gate) * up`, where each output has first all gates, then what they let through.
fn gated(gates_and_ups: &[f32], intermediate: usize) -> Vec<f32> {
    let of_one = |output: &[f32]| {
        let (gates, ups) = output.split_at(intermediate);
        gates.iter().zip(ups).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect::<Vec<_>>()
    };
    gates_and_ups.chunks_exact(2 * intermediate).flat_map(of_one).collect()
}
