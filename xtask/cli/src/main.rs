//! `cargo xtask`: arguments, progress and exit status over the crates below. No logic lives here: a command
//! reads its arguments, calls operations, and prints what they return.
//!
//! Exit status: [`EXIT_STATUS`].

#[macro_use]
mod output;
mod command;
mod context;
mod error;
mod events;
mod interrupt;
mod names;
mod options;
mod place;
mod progress;
mod reference;
mod remote;
mod report;
mod secret;
mod show;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What the exit status says.
const EXIT_STATUS: &str = "Exit status:
  0    success
  1    a build or a check failed, or something could not be done
  2    the command line is wrong
  130  interrupted (Ctrl-C); what was complete is kept, and the same command continues
  141  nobody reads the output any more (`| head`)";

/// Reproducible, content-addressed builds of TVM and MLC-LLM for Windows and Android, and of the models they run.
///
/// `cargo xtask release` builds everything that releases/tvm.toml names, from pinned inputs, without network in the
/// builds; `cargo xtask verify DIR` checks a release. Start with `cargo xtask doctor` when something does not work.
#[derive(Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    version = env!("XTASK_VERSION"),
    max_term_width = 110,
    disable_help_subcommand = true,
    after_long_help = EXIT_STATUS
)]
pub struct Arguments {
    #[command(flatten)]
    global: context::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Release(command::release::Arguments),
    Build(command::build::Arguments),
    Verify(command::verify::Arguments),
    Attest(command::attest::Arguments),
    Fetch(command::fetch::Arguments),
    FetchRelease(command::fetch_release::Arguments),
    Vendor(command::vendor::Arguments),
    Lock(command::lock::Arguments),
    Log(command::log::Arguments),
    Environment(command::environment::Arguments),
    Store(command::store::Arguments),
    Report(command::report::Arguments),
    Diff(command::diff::Arguments),
    Graph(command::graph::Arguments),
    Matrix(command::matrix::Arguments),
    Patch(command::patch::Arguments),
    Model(command::model::Arguments),
    Publish(command::publish::Arguments),
    Explain(command::explain::Arguments),
    Artifact(command::artifact::Arguments),
    Doctor(command::doctor::Arguments),
    Ci(command::ci::Arguments),
    Completions(command::completions::Arguments),
    /// What may stand in place of the last word, for the scripts of `completions`
    #[command(hide = true)]
    Complete(command::completions::Words),
    Man(command::man::Arguments),
    #[command(name = "convert_weight", alias = "convert-weight", hide = true)]
    ConvertWeight(command::model::former::Arguments),
    #[command(name = "gen_config", alias = "gen-config", hide = true)]
    GenConfig(command::model::former::Arguments),
}

/// Whether somebody types into a program of the command's own, to whom Ctrl-C belongs.
fn is_shell(name: &str) -> bool {
    name == "environment shell"
}

fn main() -> ExitCode {
    let (arguments, name) = options::parse();
    arguments.global.start_tracing();
    events::open(arguments.global.json_output, &name);
    let global = arguments.global;
    if !is_shell(&name) {
        interrupt::listen(global.backend, global.json_output);
    }
    let result = match arguments.command {
        Command::Release(arguments) => command::release::run(&global, &arguments),
        Command::Build(arguments) => command::build::run(&global, &arguments),
        Command::Verify(arguments) => command::verify::run(&global, &arguments),
        Command::Attest(arguments) => command::attest::run(&global, &arguments),
        Command::Fetch(arguments) => command::fetch::run(&global, &arguments),
        Command::FetchRelease(arguments) => command::fetch_release::run(&global, &arguments),
        Command::Vendor(arguments) => command::vendor::run(&global, &arguments),
        Command::Lock(arguments) => command::lock::run(&global, &arguments),
        Command::Log(arguments) => command::log::run(&global, &arguments),
        Command::Environment(arguments) => command::environment::run(&global, &arguments),
        Command::Store(arguments) => command::store::run(&global, &arguments),
        Command::Report(arguments) => command::report::run(&global, &arguments),
        Command::Diff(arguments) => command::diff::run(&global, &arguments),
        Command::Graph(arguments) => command::graph::run(&global, &arguments),
        Command::Matrix(arguments) => command::matrix::run(&global, &arguments),
        Command::Patch(arguments) => command::patch::run(&global, &arguments),
        Command::Model(arguments) => command::model::run(&global, &arguments),
        Command::Publish(arguments) => command::publish::run(&global, &arguments),
        Command::Explain(arguments) => command::explain::run(&global, &arguments),
        Command::Artifact(arguments) => command::artifact::run(&global, &arguments),
        Command::Doctor(arguments) => command::doctor::run(&global, &arguments),
        Command::Ci(arguments) => command::ci::run(&global, &arguments),
        Command::Completions(arguments) => command::completions::run(&arguments),
        Command::Complete(words) => command::completions::complete(&words),
        Command::Man(arguments) => command::man::run(&arguments),
        Command::ConvertWeight(_) => command::model::former::convert_weight(),
        Command::GenConfig(_) => command::model::former::gen_config(),
    };
    if let Err(error) = &result {
        let place = global.place.found();
        output::tell_error(place, error);
        let message = error.to_string();
        let failure = place::Failure { title: &name, file: None, message: &message };
        output::tell_raw(&place.annotation(&failure));
    }
    events::finish(global.json_output, result.as_ref().map(|status| *status == ExitCode::SUCCESS));
    result.unwrap_or(ExitCode::FAILURE)
}
