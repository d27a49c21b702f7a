//! Expected tokens and logits are those of other programs: NumPy in float64, libraries that TVM compiled, and MLX.

use super::{
    pass::{Pass, Rules},
    *,
};
use crate::{Options, convert_with_chat};
use serde_json::{Map, Value};
use std::{fs, path::PathBuf};
use store::Silent;
use tempfile::TempDir;
use tiny::{LLAMA, QWEN2, QWEN3, TIED, Tiny};

#[path = "../../tests/tiny/mod.rs"]
mod tiny;

/// What a float32 computation may be off.
const TOLERANCE: f32 = 2e-5;
/// What the same may be off where a device computes in binary16.
const HALF: f32 = 0.05;

struct Model {
    directory: TempDir,
}

impl Model {
    fn new(tiny: Tiny, quantization: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (source, output) = (directory.path().join("checkpoint"), directory.path().join("model"));
        tiny.write(&source);
        let chat = crate::Chat { conversation_template: "LM".to_owned(), overrides: Map::new() };
        convert_with_chat(&Options::new(&source, &output, quantization), Some(&chat), &Silent).unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("model")
    }

    fn answer(&self, prompt: &[u32], count: usize) -> Answer {
        Reference::open(&self.path()).unwrap().answer(prompt, count).unwrap()
    }

    /// Changes a value of the chat configuration.
    fn set(&self, key: &str, value: Value) {
        let path = self.path().join(CHAT_CONFIG);
        let mut config: Map<String, Value> =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        match config["model_config"].get_mut(key) {
            Some(there) if key != "model_type" => *there = value,
            _ => {
                config.insert(key.to_owned(), value);
            }
        }
        fs::write(&path, serde_json::to_string(&config).unwrap()).unwrap();
    }

    fn error(&self) -> String {
        let Err(error) = Reference::open(&self.path()) else { panic!("it is opened") };
        let hints: Vec<_> = store::hints(&error).collect();
        format!("{error:#} [{}]", hints.join("; "))
    }
}

fn tokens(answer: &Answer) -> Vec<u32> {
    answer.steps.iter().map(|step| step.token).collect()
}

fn is_near(logits: &[f32], expected: [f32; 4], tolerance: f32) -> bool {
    logits.iter().zip(expected).all(|(logit, expected)| (logit - expected).abs() <= tolerance)
}

/// What q4f32_1 models must answer, which the checks of model libraries hold against TVM's libraries too.
const EXPECTED: &str = include_str!("../../../../recipes/checks/model/src/expected.json");

/// An answer of [`EXPECTED`].
#[derive(serde::Deserialize)]
struct Expected {
    prompt: Vec<u32>,
    logits: [f32; 4],
    tokens: Vec<u32>,
}

fn expected(model: &str) -> Vec<Expected> {
    let mut all: std::collections::BTreeMap<String, Vec<Expected>> = serde_json::from_str(EXPECTED).unwrap();
    all.remove(model).unwrap()
}

#[test]
fn models_compute_what_other_programs_do() {
    for tiny in [QWEN2, LLAMA] {
        let model = Model::new(tiny, "q4f32_1");
        for case in expected(tiny.model_type) {
            let answer = model.answer(&case.prompt, case.tokens.len());
            let first = &answer.logits[..4];
            assert!(is_near(first, case.logits, TOLERANCE), "{:?}: {first:?}", case.prompt);
            assert_eq!(tokens(&answer), case.tokens);
            assert_eq!(
                (answer.architecture.as_str(), answer.quantization.as_str()),
                (tiny.model_type, "q4f32_1")
            );
        }
    }
}

#[test]
fn a_mistral_is_a_llama() {
    let llama = Model::new(LLAMA, "q4f32_1").answer(&DEFAULT_PROMPT, 4);
    let mistral = Model::new(Tiny { model_type: "mistral", ..LLAMA }, "q4f32_1").answer(&DEFAULT_PROMPT, 4);
    assert_eq!((mistral.logits, mistral.steps), (llama.logits, llama.steps));
}

#[test]
fn schemes_of_binary16_are_near() {
    let answer = Model::new(QWEN2, "q4f16_1").answer(&DEFAULT_PROMPT, 13);
    assert!(is_near(&answer.logits, [0.1331, 3.2402, 1.1024, 0.2129], 1e-4), "{:?}", &answer.logits[..4]);
    assert_eq!(tokens(&answer), [303, 216, 176, 88, 209, 125, 194, 36, 125, 194, 36, 41, 236]);
    let answer = Model::new(LLAMA, "q4f16_1").answer(&[5, 80, 33, 120, 7], 11);
    let device = [-1.081055, -0.810547, -0.351318, 0.861816];
    assert!(is_near(&answer.logits, device, HALF), "{:?}", &answer.logits[..4]);
    assert_eq!(tokens(&answer), [120, 53, 24, 205, 297, 46, 176, 193, 290, 259, 94]);
}

#[test]
fn one_model_is_the_same_in_every_layout() {
    let one = Model::new(QWEN2, "q4f16_1").answer(&DEFAULT_PROMPT, 4);
    let transposed = Model::new(QWEN2, "q4f16_0").answer(&DEFAULT_PROMPT, 4);
    for (a, b) in one.logits.iter().zip(&transposed.logits) {
        assert!((a - b).abs() <= TOLERANCE, "{a} {b}");
    }
    // Weights that are exact in bfloat16 are so in all three types; what is not quantized is the same then.
    let whole = Model::new(QWEN2, "q0f32").answer(&DEFAULT_PROMPT, 4);
    for scheme in ["q0bf16", "q0f16"] {
        assert_eq!(Model::new(QWEN2, scheme).answer(&DEFAULT_PROMPT, 4).logits, whole.logits, "{scheme}");
    }
    // Fewer bits are farther from it.
    let error = |scheme: &str| -> f32 {
        let answer = Model::new(QWEN2, scheme).answer(&DEFAULT_PROMPT, 1);
        answer.logits.iter().zip(&whole.logits).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
    };
    let errors = ["q4f16_2", "q4f16_1", "q3f16_1"].map(error);
    assert!(errors.is_sorted() && errors[2] > 1.2 * errors[1], "{errors:?}");
    assert!((error("q3f16_0") - errors[2]).abs() < 1e-3);
}

/// The checkpoints as MLX (mlx-lm 0.32.2, on the processor in float32) runs them, which shares nothing with us or TVM.
#[test]
fn what_is_not_quantized_is_what_mlx_computes() {
    let check = |model: &Model, prompt: &[u32], logits: [f32; 4], expected: [u32; 8]| {
        let answer = model.answer(prompt, 8);
        assert!(is_near(&answer.logits, logits, 1e-4), "{:?}, not {logits:?}", &answer.logits[..4]);
        assert_eq!(tokens(&answer), expected);
    };
    let tokens = [18, 114, 49, 164, 68, 115, 196, 194];
    for (tiny, logits, tokens) in [
        (QWEN2, [-0.538879, 3.216067, 1.120699, 0.386325], [303, 216, 176, 88, 182, 156, 268, 245]),
        (QWEN3, [1.38302, 0.845887, 2.879634, 2.358333], [102, 219, 22, 217, 263, 59, 156, 28]),
        (TIED, [5.399998, 1.742841, -1.849864, 9.513033], [7; 8]),
        (LLAMA, [2.412825, -0.907986, -0.040601, -0.873834], tokens),
    ] {
        check(&Model::new(tiny, "q0f32"), &DEFAULT_PROMPT, logits, tokens);
    }
    // Positions scaled as Llama 3.1 does.
    let model = Model::new(LLAMA, "q0f32");
    model.set("rope_scaling", scaling(8.0));
    check(&model, &DEFAULT_PROMPT, [2.495633, -0.967689, -0.036187, -0.814962], tokens);
    let long: Vec<u32> = (1..=100).collect();
    check(&model, &long, [1.877322, -2.100246, 1.028693, 0.621358], [30, 168, 238, 90, 15, 178, 58, 133]);
}

fn scaling(factor: f64) -> Value {
    serde_json::json!({
        "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64
    })
}

#[test]
fn positions_are_scaled_as_llama_3_does() {
    let model = Model::new(LLAMA, "q4f32_1");
    let plain = model.answer(&DEFAULT_PROMPT, 1);
    model.set("rope_scaling", scaling(1.0));
    assert!(is_near(&model.answer(&DEFAULT_PROMPT, 1).logits, plain.logits[..4].try_into().unwrap(), 1e-6));
    model.set("rope_scaling", scaling(8.0));
    let settings = Reference::open(&model.path()).unwrap().settings;
    let frequencies = &settings.rope.frequencies;
    // Pairs that turn more than 4 times in 64 tokens stay, those that turn less than once are 8 times slower.
    let expected = |pair: usize| 10000f64.powf(-2.0 * pair as f64 / 32.0);
    assert_eq!((frequencies[0], frequencies[15]), (1.0, expected(15) / 8.0));
    // The second turns 64 * 0.5623 / 2 pi = 5.73 times, the fourth 1.81 times.
    assert_eq!(frequencies[1], expected(1));
    assert!((frequencies[3] / expected(3) - 0.3617).abs() < 1e-3, "{}", frequencies[3] / expected(3));
}

#[test]
fn what_is_easily_got_wrong_is_found() {
    let model = Model::new(QWEN2, "q4f32_1");
    let reference = Reference::open(&model.path()).unwrap();
    let case = expected("qwen2").remove(0);
    let right = |rules: Rules| {
        let mut pass = Pass::by(rules, &reference.tensors, &reference.settings).unwrap();
        is_near(&pass.feed(&case.prompt), case.logits, TOLERANCE)
    };
    assert!(right(Rules::RIGHT));
    assert!(!right(Rules { zero: Some(8), ..Rules::RIGHT }));
    assert!(!right(Rules { kv_head: |head, _, kv_heads| head % kv_heads, ..Rules::RIGHT }));
    assert!(!right(Rules { seen: |position| position.max(1), ..Rules::RIGHT }));
    assert!(!right(Rules { seen: |_| usize::MAX, ..Rules::RIGHT }));
    for (key, right, wrong) in [("rope_theta", 10000.0, 9000.0), ("rms_norm_eps", 1e-6, 1e-5)] {
        model.set(key, wrong.into());
        let answer = model.answer(&DEFAULT_PROMPT, 1);
        assert!(!is_near(&answer.logits, case.logits, TOLERANCE), "{key}");
        model.set(key, right.into());
    }
    assert!(is_near(&model.answer(&DEFAULT_PROMPT, 1).logits, case.logits, TOLERANCE));
}

#[test]
fn what_cannot_be_tried_is_said_before_any_work() {
    let model = Model::new(QWEN2, "q4f32_1");
    let reference = Reference::open(&model.path()).unwrap();
    for (prompt, count, expected) in [
        (&[][..], 1, "the prompt has no token"),
        (&[1], 0, "there is nothing to generate"),
        (&[1, 320], 1, "there is no token 320: the vocabulary ends at 319"),
        (&[1; 500], 14, "a prompt of 500 tokens and 14 generated ones do not fit into a context of 512"),
    ] {
        let error = reference.answer(prompt, count).unwrap_err().to_string();
        assert_eq!(error, expected);
    }
    model.set("model_type", "gpt2".into());
    let error = model.error();
    assert!(error.starts_with("there is no reference of the architecture `gpt2`"), "{error}");
    assert!(error.contains("there are llama, mistral, qwen2, qwen3"), "{error}");
    model.set("model_type", "qwen2".into());
    model.set("quantization", "e4m3_e4m3_f16".into());
    assert!(model.error().starts_with("there is no reference of the quantization `e4m3_e4m3_f16`"));
    // The weights are not of this scheme.
    model.set("quantization", "q4f16_1".into());
    let error = model.error();
    assert!(
        error.contains("the model is not whole: the weights are not q4f16_1")
            && error.contains("more findings"),
        "{error}"
    );
    model.set("quantization", "q4f32_1".into());
    model.set("num_key_value_heads", 3.into());
    assert!(model.error().contains("3 heads of keys and values cannot be shared by 4 heads"));
    model.set("num_key_value_heads", 2.into());
    model.set("hidden_act", "gelu".into());
    assert!(model.error().contains("there is no reference of the activation \"gelu\""));
    model.set("hidden_act", "silu".into());
    fs::remove_file(model.path().join("params_shard_0.bin")).unwrap();
    let error = model.error();
    assert!(error.contains("the model is not whole: cannot read params_shard_0.bin"), "{error}");
    assert!(error.contains("[run `cargo xtask model verify"), "{error}");
    fs::remove_file(model.path().join(CHAT_CONFIG)).unwrap();
}

#[test]
fn a_model_without_a_chat_configuration_is_told_how_to_get_one() {
    let directory = tempfile::tempdir().unwrap();
    let (source, output) = (directory.path().join("checkpoint"), directory.path().join("model"));
    QWEN2.write(&source);
    crate::convert(&Options::new(&source, &output, "q4f32_1"), &Silent).unwrap();
    let error = Reference::open(&output).err().unwrap();
    assert!(error.to_string().contains("has no mlc-chat-config.json"), "{error:#}");
    assert_eq!(store::hints(&error).collect::<Vec<_>>(), ["write it with `cargo xtask model chat-config`"]);
}

#[test]
fn logits_that_are_not_numbers_are_named_and_equal_ones_give_the_first() {
    let step = Step::likeliest(&[1.0, 3.0, 3.0, 2.0]).unwrap();
    assert_eq!(step, Step { token: 1, logit: 3.0, second: 2, margin: 0.0 });
    let error = Step::likeliest(&[1.0, f32::NAN]).unwrap_err();
    assert_eq!(error.to_string(), "the logit of token 1 is NaN");
}

#[test]
fn the_generator_writes_what_others_wrote() {
    let digest =
        |model: &Model, path: &str| store::Digest::of_file(&model.directory.path().join(path)).unwrap().hex();
    for (tiny, checkpoint, half, single) in [
        (
            QWEN2,
            "3f0a062468e53c7599a7e0cb0b37fc4f22591dc5113ccde461ac49ae2d9eacb1",
            "9fb343f7452f1626b8498ba95127ec06782d458ae7629030ab12f7e46210d680",
            "ed52d38803f6b1d96b468f2060dd7953da4c0578b6a266a9b0314a97ddb8b8fb",
        ),
        (
            LLAMA,
            "b4c9b275c117545928f65b9093863e59a7281a732064d5a1857a739b2ab84e1c",
            "494909718ddd14183b23a7ffd58956c6c6a70dec7355387d5f8331d1ebed5eca",
            "b77a8669674ae0f57a5ab9a1c55a1896b81cf09d0be0c3140e5189e654f40859",
        ),
    ] {
        let model = Model::new(tiny, "q4f16_1");
        assert_eq!(digest(&model, "checkpoint/model.safetensors"), checkpoint, "{}", tiny.model_type);
        assert_eq!(digest(&model, "model/params_shard_0.bin"), half, "{}", tiny.model_type);
        // recipes/checks/model/src/tiny.py has these too.
        let model = Model::new(tiny, "q4f32_1");
        assert_eq!(digest(&model, "model/params_shard_0.bin"), single, "{}", tiny.model_type);
    }
}
