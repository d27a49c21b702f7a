//! What a converted model computes.

use crate::project::{Project, text};
use serde_json::Value;

#[path = "../../xtask/model/tests/tiny/mod.rs"]
#[allow(dead_code, reason = "the tests of `model` use the rest")]
mod tiny;

#[test]
fn a_converted_model_is_tried() {
    let project = Project::new();
    let root = project.directory.path();
    tiny::LLAMA.write(&root.join("checkpoint"));
    let convert = [
        "model",
        "convert",
        "checkpoint",
        "--quantization",
        "q4f32_1",
        "--conversation-template",
        "chatml",
        "--no-store",
        "-o",
        "out",
    ];
    let output = project.run(&convert);
    assert!(output.status.success(), "{}", text(&output));
    let output = project.run(&["model", "try", "out", "--tokens", "5,80,33,120,7", "--generate", "3"]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("llama in q4f32_1, prompt 5,80,33,120,7\n"), "{said}");
    assert!(said.contains("tokens 120,53,24\n"), "{said}");

    let output = project.run(&["model", "try", "out", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (answer["prompt"].as_array().unwrap().len(), answer["steps"].as_array().unwrap().len()),
        (7, 8)
    );
    assert_eq!(answer["logits"].as_array().unwrap().len(), 320);
    assert!(answer["steps"][0]["margin"].as_f64().unwrap() > 0.0);

    let output = project.run(&["model", "try", "out", "--tokens", "320"]);
    assert!(text(&output).contains("there is no token 320: the vocabulary ends at 319"), "{}", text(&output));
    std::fs::write(root.join("out/params_shard_0.bin"), "").unwrap();
    let output = project.run(&["model", "try", "out"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the model is not whole: params_shard_0.bin has 0 bytes"), "{said}");
    assert!(said.contains("run `cargo xtask model verify out`"), "{said}");
}
