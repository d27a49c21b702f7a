//! `model try`: what a converted model computes.

use super::published;
use crate::context::Global;
use anyhow::Result;
use input::Published;
use model::{Answer, DEFAULT_PROMPT, Reference};
use std::{path::PathBuf, process::ExitCode};

/// Below this margin, devices that compute in binary16 were seen to give the other token.
const NARROW: f32 = 0.05;

/// Compute what a converted model answers, without a device or a library
///
/// Feeds a prompt and generates tokens in float32, each the likeliest, with our own reference of the
/// architecture (llama, mistral, qwen2, qwen3). What another program computes of the same model can be
/// held against it: the same tokens, where the margin to the second is not narrow. The model is
/// verified first.
///
/// Examples:
///   cargo xtask model try OUT
///   cargo xtask model try OUT --tokens 5,80,33,120,7 --generate 11 --json
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The converted model: a directory, or a model of a hub
    #[arg(value_name = "DIR|OWNER/NAME@REVISION")]
    directory: PathBuf,
    /// The ids of the prompt's tokens [default: 1,2,3,4,5,6,7]
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    tokens: Vec<u32>,
    /// How many tokens to generate
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    generate: u32,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    let directory = published::directory(global, &arguments.directory, Published::Whole)?;
    let reference = Reference::open(&directory)?;
    let prompt = if arguments.tokens.is_empty() { &DEFAULT_PROMPT[..] } else { &arguments.tokens };
    let answer = reference.answer(prompt, arguments.generate as usize)?;
    if global.json() {
        crate::events::result(&answer)?;
    } else {
        show(&answer);
    }
    Ok(ExitCode::SUCCESS)
}

fn show(answer: &Answer) {
    println!("{} in {}, prompt {}", answer.architecture, answer.quantization, list(&answer.prompt));
    println!("{:>7} {:>10} {:>9} {:>7}", "token", "logit", "margin", "second");
    for step in &answer.steps {
        let narrow = if step.margin < NARROW { "  narrow" } else { "" };
        println!("{:7} {:10.6} {:9.6} {:7}{narrow}", step.token, step.logit, step.margin, step.second);
    }
    let tokens: Vec<u32> = answer.steps.iter().map(|step| step.token).collect();
    println!("tokens {}", list(&tokens));
}

fn list(tokens: &[u32]) -> String {
    tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}
