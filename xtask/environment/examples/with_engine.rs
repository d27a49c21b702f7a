//! Runs a command while a Docker engine of its own is there, at DOCKER_HOST, for machines where none runs: the engine of the
//! tests, which leaves the network of this machine alone. It ends with the command.
//!
//! `cargo run --example with_engine -- cargo xtask verify --rebuild --backend docker dist/tvm`

#![allow(clippy::unwrap_used, reason = "the engine is the tests'; there, a panic is the report")]

#[path = "../tests/docker/engine.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod engine;
#[path = "../tests/machine/wait.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod wait;

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let Some((program, arguments)) = words.split_first() else {
        eprintln!("usage: with_engine PROGRAM [ARGUMENT]...");
        return ExitCode::from(2);
    };
    let engine = engine::Engine::start();
    let mut command = Command::new(program);
    let status = command.args(arguments).env("DOCKER_HOST", engine.host()).status();
    // What is left behind in the engine would be ours.
    let left = engine.leftovers();
    match status {
        Ok(status) if status.success() && left.is_empty() => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("with_engine: {program:?}: {status}; containers and volumes left behind: {left:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("with_engine: cannot start {program:?}: {error}");
            ExitCode::FAILURE
        }
    }
}
