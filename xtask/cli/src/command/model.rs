//! `model fetch`, `convert`, `chat-config`, `verify`, `inspect`, `diff`, `report` and `try`.

mod convert;
mod cost;
pub mod fetch;
pub mod former;
mod published;
mod summary;
mod trial;

use self::summary::Summary;
use crate::context::Global;
use anyhow::{Result, bail};
use input::Published;
use model::Chat;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};
use store::{Progress, hinted, printable};

/// Fetch Hugging Face checkpoints, convert them to MLC weights, and look at the result
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Fetch(fetch::Arguments),
    /// Convert a checkpoint's weights, to the byte as the reference does on its CPU path
    ///
    /// The result is kept in the store by what it was made of, so a second run finds it there; the output directory
    /// gets files of its own, which share the store's space where the file system can. The checkpoint is a directory, or a
    /// model that `model fetch` locked, by its name. What is left unfinished when it is stopped is never taken for a model.
    ///
    /// Examples:
    ///   cargo xtask model convert Qwen2.5-3B-Instruct --quantization q4f16_1 -o Qwen2.5-3B-q4f16_1
    ///   cargo xtask model convert DIR --quantization q4f16_0 --conversation-template qwen2 -o OUT
    ///   cargo xtask model convert DIR --quantization q4f16_1 --lora-adapter ADAPTER -o OUT
    #[command(verbatim_doc_comment)]
    Convert {
        #[command(flatten)]
        source: Source,
        /// Write mlc-chat-config.json and the tokenizer's files too, with this conversation template
        #[arg(long, alias = "conv-template", value_name = "NAME")]
        conversation_template: Option<String>,
        #[command(flatten)]
        sizes: Sizes,
        /// Merge this LoRA adapter into the checkpoint before; several are merged one after the other
        ///
        /// A directory as PEFT saves it: adapter_config.json and adapter_model.safetensors. Neither directory is changed.
        #[arg(long, value_name = "DIR")]
        lora_adapter: Vec<PathBuf>,
        /// Write to the output directory alone, and keep nothing in the store
        #[arg(long)]
        no_store: bool,
        /// An upper bound of memory for buffers, in MB
        #[arg(long, value_name = "MB", default_value_t = 256)]
        memory: u64,
        /// Replace another model in the output directory
        #[arg(long)]
        replace: bool,
        /// Sign the model with this key (model.sig), as `model_signing verify key` checks it
        ///
        /// An elliptic curve key on P-256 in PEM; the passphrase of an encrypted one stands in MLC_REPRO_PASSPHRASE.
        #[arg(long, value_name = "FILE")]
        model_signature: Option<PathBuf>,
    },
    /// Write mlc-chat-config.json and the tokenizer's files
    ChatConfig {
        #[command(flatten)]
        source: Source,
        /// The conversation template
        #[arg(long, alias = "conv-template", value_name = "NAME")]
        conversation_template: String,
        #[command(flatten)]
        sizes: Sizes,
    },
    #[command(name = "convert_weight", alias = "convert-weight", hide = true)]
    ConvertWeight(former::Arguments),
    #[command(name = "gen_config", alias = "gen-config", hide = true)]
    GenConfig(former::Arguments),
    /// Check every shard and tensor of a converted model
    ///
    /// Where there is an mlc-chat-config.json, the weights must be those of its architecture and quantization. A model of a
    /// hub is fetched into the store first, and locked nowhere.
    Verify {
        /// The converted model: a directory, or a model of a hub
        #[arg(value_name = "DIR|OWNER/NAME@REVISION")]
        directory: PathBuf,
    },
    /// List the tensors of a converted model or a checkpoint
    Inspect {
        /// The model; of one of a hub, the index alone is fetched
        #[arg(value_name = "DIR|OWNER/NAME@REVISION")]
        directory: PathBuf,
    },
    /// Compare two converted models, tensor by tensor
    Diff {
        /// One
        #[arg(value_name = "DIR|OWNER/NAME@REVISION")]
        left: PathBuf,
        /// The other
        #[arg(value_name = "DIR|OWNER/NAME@REVISION")]
        right: PathBuf,
    },
    Report(cost::Arguments),
    Try(trial::Arguments),
}

#[derive(clap::Args)]
struct Source {
    /// The checkpoint's directory, to which nothing is written; or a model that is locked in models/
    #[arg(value_name = "DIR|MODEL")]
    directory: PathBuf,
    /// The quantization, such as q4f16_1; without one, all that there are are listed
    #[arg(long, value_name = "SCHEME")]
    quantization: Option<String>,
    /// Where to write
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// The architecture; `auto` is what config.json names
    #[arg(long, alias = "model-type", default_value = "auto")]
    architecture: String,
}

/// Sizes in place of those of config.json.
#[derive(clap::Args)]
struct Sizes {
    /// Tokens of context; -1 for no bound
    #[arg(long, value_name = "N", requires = "conversation_template", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    context_window_size: Option<i64>,
    /// Tokens of a sliding window; -1 for none, where config.json has one
    #[arg(long, value_name = "N", requires = "conversation_template", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..))]
    sliding_window_size: Option<i64>,
    /// Tokens that prefill at a time
    #[arg(long, value_name = "N", requires = "conversation_template")]
    prefill_chunk_size: Option<u64>,
    /// Tokens that a sliding window keeps from the start
    #[arg(long, value_name = "N", requires = "conversation_template")]
    attention_sink_size: Option<u64>,
    /// Sequences at a time
    #[arg(long, value_name = "N", requires = "conversation_template")]
    max_batch_size: Option<u64>,
    /// Devices that share every tensor
    #[arg(long, value_name = "N", requires = "conversation_template")]
    tensor_parallel_shards: Option<u64>,
    /// Groups of devices that share the layers
    #[arg(long, value_name = "N", requires = "conversation_template")]
    pipeline_parallel_stages: Option<u64>,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        Command::Fetch(arguments) => return fetch::run(global, arguments),
        Command::Convert {
            source,
            conversation_template,
            sizes,
            lora_adapter,
            no_store,
            memory,
            replace,
            model_signature,
        } => {
            // Before hours of work, a key that can't be used is told.
            let key = model_signature.as_ref().map(|path| {
                crate::secret::model_key(path, &crate::secret::Passphrases::default(), &global.progress())
            });
            let key = key.transpose()?;
            let chat = conversation_template.as_ref().map(|template| Chat {
                conversation_template: template.clone(),
                overrides: sizes.overrides(),
            });
            let options = source.options(global, *memory, *replace)?;
            let options = model::Options { adapters: lora_adapter.clone(), ..options };
            if *no_store {
                convert(global, &options, chat.as_ref())?;
            } else {
                convert::convert(global, &options, chat.as_ref())?;
            }
            if let Some(key) = key {
                let place = release::sign_model(&options.output, &key)?;
                global.progress().line(&format!("{} is signed", place.display()));
            }
        }
        Command::ChatConfig { source, conversation_template, sizes } => {
            let chat =
                Chat { conversation_template: conversation_template.clone(), overrides: sizes.overrides() };
            chat_config(global, &source.options(global, 256, false)?, &chat)?;
        }
        Command::ConvertWeight(_) => return former::convert_weight(),
        Command::GenConfig(_) => return former::gen_config(),
        Command::Try(arguments) => return trial::run(global, arguments),
        Command::Verify { directory } => return verify(global, directory),
        Command::Inspect { directory } => inspect(global, directory)?,
        Command::Diff { left, right } => return diff(global, left, right),
        Command::Report(arguments) => return cost::run(global, arguments),
    }
    Ok(ExitCode::SUCCESS)
}

impl Source {
    fn options(&self, global: &Global, megabytes: u64, replace: bool) -> Result<model::Options> {
        let Some(quantization) = &self.quantization else {
            let names: Vec<_> = model::SCHEMES.iter().map(|scheme| scheme.name).collect();
            bail!(hinted(
                "the quantization is missing",
                format!("give `--quantization` with one of {}; q4f16_1 is the usual one", names.join(", "))
            ));
        };
        let directory = match convert::locked(&self.directory)? {
            Some(_) => self.directory.clone(),
            None => model::checkpoint_directory(&self.directory)?,
        };
        Ok(model::Options {
            architecture: self.architecture.clone(),
            jobs: global.jobs(),
            memory: megabytes << 20,
            replace,
            ..model::Options::new(&directory, &self.output, quantization)
        })
    }
}

impl Sizes {
    fn overrides(&self) -> serde_json::Map<String, Value> {
        let given = [
            ("context_window_size", self.context_window_size.map(Value::from)),
            ("sliding_window_size", self.sliding_window_size.map(Value::from)),
            ("prefill_chunk_size", self.prefill_chunk_size.map(Value::from)),
            ("attention_sink_size", self.attention_sink_size.map(Value::from)),
            ("max_batch_size", self.max_batch_size.map(Value::from)),
            ("tensor_parallel_shards", self.tensor_parallel_shards.map(Value::from)),
            ("pipeline_parallel_stages", self.pipeline_parallel_stages.map(Value::from)),
        ];
        given.into_iter().filter_map(|(name, size)| Some((name.to_owned(), size?))).collect()
    }
}

/// Converts past the store.
fn convert(global: &Global, options: &model::Options, chat: Option<&Chat>) -> Result<()> {
    let start = Instant::now();
    let source = convert::source_directory(global, &options.source)?;
    let shown = &options.source;
    let options = model::Options { source, ..options.clone() };
    let converted = model::convert_with_chat(&options, chat, &global.progress())?;
    let summary = Summary {
        outcome: "is converted",
        source: shown,
        architecture: &converted.architecture,
        read: converted.read,
        has_chat: chat.is_some(),
        seconds: start.elapsed().as_secs_f64(),
    };
    summary.show(global, &options, &mut serde_json::json!({ "architecture": converted.architecture }))
}

fn chat_config(global: &Global, options: &model::Options, chat: &Chat) -> Result<()> {
    let progress = global.progress();
    let source = convert::source_directory(global, &options.source)?;
    let options = &model::Options { source, ..options.clone() };
    for note in model::chat_config_checked(&chat.options(options))? {
        progress.note(&note);
    }
    progress.line(&format!("{} is written", options.output.join("mlc-chat-config.json").display()));
    Ok(())
}

fn verify(global: &Global, directory: &Path) -> Result<ExitCode> {
    let findings = model::verify(&published::directory(global, directory, Published::Whole)?)?;
    if global.json() {
        let verdict = if findings.is_empty() { "PASS" } else { "FAIL" };
        crate::events::result(&serde_json::json!({ "verdict": verdict, "findings": findings }))?;
    } else if findings.is_empty() {
        println!("PASS  {}", directory.display());
    } else {
        for finding in &findings {
            println!("FAIL  {finding}");
        }
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn inspect(global: &Global, directory: &Path) -> Result<()> {
    let inspection = model::inspect(&published::directory(global, directory, Published::Index)?)?;
    if global.json() {
        crate::events::result(&inspection)?;
        return Ok(());
    }
    for tensor in &inspection.tensors {
        let shape: Vec<_> = tensor.shape.iter().map(u64::to_string).collect();
        println!(
            "{:13} {:>20} {:>12}  {}  ({})",
            printable(&tensor.dtype).to_string(),
            shape.join("×"),
            tensor.bytes,
            printable(&tensor.name),
            printable(&tensor.file)
        );
    }
    let bytes: u64 = inspection.tensors.iter().map(|tensor| tensor.bytes).sum();
    print!("{} tensors, {} MB", inspection.tensors.len(), bytes / 1_000_000);
    match inspection.bits_per_parameter {
        Some(bits) => println!(", {bits:.3} bits per parameter"),
        None => println!(),
    }
    Ok(())
}

fn diff(global: &Global, left: &Path, right: &Path) -> Result<ExitCode> {
    let [left, right] = [left, right].map(|model| published::directory(global, model, Published::Whole));
    let differences = model::diff(&left?, &right?)?;
    if global.json() {
        crate::events::result(&differences)?;
    } else {
        for difference in &differences {
            println!("{}: {}", printable(&difference.name), difference.what);
        }
        println!("{} tensors differ", differences.len());
    }
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
