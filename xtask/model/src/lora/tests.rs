use super::*;
use crate::{architecture::architecture, quantization::scheme};
use serde_json::json;

/// What `save_pretrained` of transformers 4.57 made of `qwen2-tied-bf16` of tests/golden with a `max_shard_size` of 60,000.
#[test]
fn files_are_those_of_transformers() {
    let config = json!({
        "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300, "tie_word_embeddings": true,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 512, "hidden_act": "silu"
    });
    let config = config.as_object().unwrap();
    let qwen2 = architecture("auto", config).unwrap();
    let model = qwen2.model(config, scheme("q4f16_1").unwrap(), 100).unwrap();
    let bytes = |name: &str| {
        let elements = match name {
            "model.embed_tokens.weight" => 300 * 64,
            _ if name.contains("norm") => 64,
            _ if name.ends_with(".bias") => {
                if name.contains("q_proj") {
                    64
                } else {
                    32
                }
            }
            _ if name.contains("mlp") => 176 * 64,
            _ if name.contains("q_proj") || name.contains("o_proj") => 64 * 64,
            _ => 32 * 64,
        };
        2 * elements
    };
    let files = shards(&state(&model.parameters), bytes, 60_000);
    let layer = |layer: u8, names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("model.layers.{layer}.{name}")).collect()
    };
    let attention = [
        "self_attn.k_proj.bias",
        "self_attn.k_proj.weight",
        "self_attn.q_proj.bias",
        "self_attn.q_proj.weight",
        "self_attn.v_proj.bias",
        "self_attn.v_proj.weight",
    ];
    let rest = ["input_layernorm.weight", "mlp.down_proj.weight", "post_attention_layernorm.weight"];
    let second = ["self_attn.k_proj.bias", "self_attn.k_proj.weight", "self_attn.o_proj.weight"];
    let expected = [
        [vec!["model.embed_tokens.weight".to_owned()], layer(0, &attention)].concat(),
        [layer(0, &rest), layer(1, &second), layer(1, &attention[2..])].concat(),
        layer(0, &["mlp.gate_proj.weight", "mlp.up_proj.weight", "self_attn.o_proj.weight"]),
        [layer(1, &rest), vec!["model.norm.weight".to_owned()]].concat(),
        layer(1, &["mlp.gate_proj.weight", "mlp.up_proj.weight"]),
    ];
    assert_eq!(files, expected);
}

#[test]
fn what_is_larger_than_a_file_has_one_of_its_own() {
    let names = ["a", "large", "b", "c"].map(str::to_owned);
    let bytes = |name: &str| if name == "large" { 11 } else { 5 };
    let files = shards(&names, bytes, 10);
    assert_eq!(files, [vec!["a", "b"], vec!["c"], vec!["large"]]);
}
