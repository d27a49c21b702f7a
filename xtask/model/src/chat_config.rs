//! `mlc-chat-config.json` and the tokenizer's files.

use crate::{
    agreement::disagreements,
    architecture::architecture,
    auto_tokenizer::{self, Count, Files},
    checkpoint::read_config,
    configuration::{whole, with_rope_keys},
    file::{self, read_bytes, read_text},
    output::{Staging, check_output, index_of},
    python,
    quantization::{choices, scheme},
    tokenizer,
    tokenizer_json::{self, Settings},
    verify::read_cache,
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use store::{Digest, copy_output, hinted, printable};

const TEMPLATES: &str = include_str!("conversation_templates.json");
/// The configuration that MLC reads of a converted model.
pub(crate) const CHAT_CONFIG: &str = "mlc-chat-config.json";
pub(crate) const GENERATION_CONFIG: &str = "generation_config.json";
/// The tokenizer's files, in the order in which `mlc-chat-config.json` lists them.
pub(crate) const FILES: [&str; 6] = [
    "tokenizer.model",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "tokenizer_config.json",
];
/// Read where there is no `tokenizer.json`, and not copied.
pub(crate) const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const LIMIT: u64 = 256 << 20;
/// SentencePiece models have some megabytes.
const MODEL_LIMIT: u64 = 64 << 20;

/// What `mlc-chat-config.json` is made of.
#[derive(Clone, Debug)]
pub struct ChatOptions {
    /// The checkpoint's directory; `config.json` and the tokenizer's files are read.
    pub source: PathBuf,
    /// Where the file goes, and copies of the tokenizer's files.
    pub output: PathBuf,
    /// The name of a scheme.
    pub quantization: String,
    /// The name of an architecture, or `auto`.
    pub architecture: String,
    /// The name of a conversation template, see [`conversation_templates`].
    pub conversation_template: String,
    /// Values in place of those of `config.json`: `context_window_size`, `sliding_window_size`,
    /// `prefill_chunk_size`, `attention_sink_size`, `max_batch_size` (128 if absent), `tensor_parallel_shards`,
    /// `pipeline_parallel_stages`. Those that an architecture lacks are refused.
    pub overrides: Map<String, Value>,
}

/// The names of all conversation templates.
pub fn conversation_templates() -> Result<Vec<String>> {
    Ok(templates()?.into_iter().map(|(name, _)| name).collect())
}

fn templates() -> Result<Map<String, Value>> {
    serde_json::from_str(TEMPLATES).context("conversation_templates.json is damaged")
}

/// Whether there is a conversation template of this name.
///
/// # Errors
/// If there is none; the message lists them.
pub(crate) fn check_template(name: &str) -> Result<()> {
    template(name).map(|_| ())
}

/// A template with every key, as the file has it.
fn template(name: &str) -> Result<Value> {
    let mut templates = templates()?;
    let Some(Value::Object(template)) = templates.remove(name) else {
        let names: Vec<_> = templates.keys().map(String::as_str).collect();
        bail!(hinted(
            format!("there is no conversation template `{}`", printable(name)),
            choices(name, &names)
        ));
    };
    let mut complete = Map::new();
    for (key, value) in template {
        if key == "add_role_after_system_message" {
            complete.entry("system_prefix_token_ids").or_insert(Value::Null);
        }
        complete.insert(key, value);
    }
    Ok(Value::Object(complete))
}

/// Writes `mlc-chat-config.json` and copies the tokenizer's files. Gives notes for the user.
///
/// Everything is made and checked before the first file is written; each file is whole or as it was before, whenever this
/// is stopped.
///
/// # Errors
/// When `config.json` lacks what the architecture needs, a name is not known, the output is the checkpoint's directory or
/// holds weights that the configuration does not fit, or files cannot be read or written.
pub fn chat_config_checked(options: &ChatOptions) -> Result<Vec<String>> {
    check_output(&options.output, &options.source)?;
    write_chat_files(options, &ChatFiles::prepare(options)?)
}

/// As [`chat_config_checked`], but as the reference treats sizes that an architecture does not have: with a note.
///
/// # Errors
/// As [`chat_config_checked`].
pub fn chat_config(options: &ChatOptions) -> Result<Vec<String>> {
    check_output(&options.output, &options.source)?;
    write_chat_files(options, &prepare(options)?)
}

fn write_chat_files(options: &ChatOptions, files: &ChatFiles) -> Result<Vec<String>> {
    if index_of(&options.output).is_some() {
        let wrong = disagreements(&options.output, &read_cache(&options.output)?, &files.config);
        if let Some(first) = wrong.first() {
            bail!(hinted(
                format!(
                    "{} holds other weights than this configuration is for: {first}",
                    options.output.display()
                ),
                "give the `--quantization` that they were converted with"
            ));
        }
    }
    let staging = Staging::open(&options.output, &options.source)?;
    files.write(&staging)?;
    staging.publish()?;
    Ok(files.notes.clone())
}

/// What [`chat_config_checked`] writes: made, and checked as far as it can be, before anything is written.
pub(crate) struct ChatFiles {
    /// `mlc-chat-config.json`.
    pub config: Map<String, Value>,
    /// For the user.
    pub notes: Vec<String>,
    files: Vec<(&'static str, Content)>,
    /// Sizes that were given and have no effect.
    unused: Vec<String>,
    architecture: String,
}

enum Content {
    /// That of a file of the checkpoint.
    Of(PathBuf),
    Text(String),
}

impl ChatFiles {
    /// Makes the files in memory, of what a user asked for: a size that the architecture does not have is an error, where
    /// the reference has a warning.
    ///
    /// # Errors
    /// As [`chat_config_checked`].
    pub fn prepare(options: &ChatOptions) -> Result<Self> {
        let files = prepare(options)?;
        if let Some(name) = files.unused.first() {
            bail!(hinted(
                format!("{} has no `{name}`", files.architecture),
                format!("leave out `--{}`", name.replace('_', "-"))
            ));
        }
        Ok(files)
    }

    /// Writes the files beside their places.
    pub fn write(&self, staging: &Staging) -> Result<()> {
        for (name, content) in &self.files {
            match content {
                Content::Of(path) => copy_output(path, &staging.path().join(name))?,
                Content::Text(text) => staging.write(name, text)?,
            }
        }
        Ok(())
    }

    /// The names of the files.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().map(|(name, _)| *name)
    }

    /// The first file in a directory that would be replaced by another content.
    pub fn first_conflict(&self, directory: &Path) -> Option<&'static str> {
        let differs = |name: &str, content: &Content| -> Result<bool> {
            let there = directory.join(name);
            if fs::symlink_metadata(&there).is_err() {
                return Ok(false);
            }
            let new = match content {
                Content::Of(path) => Digest::of_file(path)?,
                Content::Text(text) => Digest::of(text.as_bytes()),
            };
            Ok(Digest::of_file(&there)? != new)
        };
        let conflicts = |(name, content): &&(&'static str, Content)| differs(name, content).unwrap_or(true);
        self.files.iter().find(conflicts).map(|(name, _)| *name)
    }
}

fn prepare(options: &ChatOptions) -> Result<ChatFiles> {
    // Cheap, and wrong more often than the rest.
    let conversation = template(&options.conversation_template)?;
    let mut notes = Vec::new();
    let source = read_config(&options.source)?;
    let architecture = architecture(&options.architecture, &source)?;
    let scheme = scheme(&options.quantization)?;
    let context = || format!("cannot use {}", options.source.join("config.json").display());
    let config = architecture.configuration(&source).with_context(context)?;
    notes.extend(unused_scaling(&source, &config, &architecture.registry));
    let mut overrides = options.overrides.clone();
    overrides.entry("max_batch_size").or_insert(128.into());
    let mut overridden = config;
    let mut unused = Vec::new();
    for (key, value) in overrides {
        match overridden.get_mut(&key) {
            Some(field) => *field = value,
            None => {
                notes.push(format!("`{key}` is ignored: {} does not have it", architecture.registry));
                unused.extend(options.overrides.contains_key(&key).then_some(key));
            }
        }
    }
    let config = architecture.config.make(&overridden).with_context(context)?;
    let field = |name: &str, absent: i64| {
        config.get(name).map_or(Ok(absent.into()), |value| whole(name, value)).with_context(context)
    };
    let known = |name: &str| {
        let value = config.get(name).with_context(|| format!("`{name}` is not known"))?;
        whole(name, value).with_context(context)
    };
    let vocabulary = known("vocab_size")?;
    let sizes = [
        ("vocab_size", vocabulary.clone()),
        ("context_window_size", field("context_window_size", -1)?),
        ("sliding_window_size", field("sliding_window_size", -1)?),
        ("prefill_chunk_size", known("prefill_chunk_size")?),
        ("attention_sink_size", field("attention_sink_size", -1)?),
        ("tensor_parallel_shards", known("tensor_parallel_shards")?),
        ("pipeline_parallel_stages", field("pipeline_parallel_stages", 1)?),
    ];
    let embedding = match architecture.registry.as_str() {
        "bert" | "bert-bge" => Some(("encoder", "cls")),
        "qwen3-embedding" => Some(("decoder", "last")),
        _ => None,
    };

    let mut files = Vec::new();
    for name in FILES {
        let from = options.source.join(name);
        if from.exists() {
            file::check(&from)?;
            files.push((name, Content::Of(from)));
        }
    }
    let path = options.source.join("tokenizer.json");
    let (tokenizer, converted) = match path.exists() {
        true => (Some(read_json(&path)?), None),
        false => match convert_tokenizer(&options.source, &source) {
            Ok(text) => {
                let value = serde_json::from_str(&text).context("a converted tokenizer is not JSON")?;
                files.push(("tokenizer.json", Content::Text(text)));
                (None, Some(value))
            }
            Err(reason) => {
                notes.push(format!(
                    "{} holds no tokenizer.json, which MLC cannot run without, and none could be made: {reason:#}; `AutoTokenizer.from_pretrained(DIR, use_fast=True).save_pretrained(DIR)` of Python's `transformers` makes one; with `trust_remote_code=True` it runs code of the checkpoint",
                    options.source.display()
                ));
                (None, None)
            }
        },
    };
    let active = match &tokenizer {
        Some(tokenizer) => {
            tokenizer::check(tokenizer)?;
            active_vocabulary(&options.source, &source, tokenizer, &mut notes)?.unwrap_or(vocabulary.clone())
        }
        None => vocabulary.clone(),
    };
    let mut result = Map::new();
    let mut put = |name: &str, value: Value| result.insert(name.to_owned(), value);
    put("version", "0.1.0".into());
    put("model_type", architecture.registry.clone().into());
    put("quantization", scheme.name.into());
    put("model_config", Value::Object(config.clone()));
    for (name, size) in sizes {
        put(name, size);
    }
    put("active_vocab_size", active);
    for name in ["temperature", "presence_penalty", "frequency_penalty", "repetition_penalty", "top_p"] {
        put(name, Value::Null);
    }
    put("tokenizer_files", files.iter().map(|(name, _)| Value::from(*name)).collect());
    put("tokenizer_info", tokenizer::info(tokenizer.as_ref().or(converted.as_ref())));
    put("conv_template", conversation);
    for name in ["pad_token_id", "bos_token_id", "eos_token_id"] {
        put(name, Value::Null);
    }
    put("model_task", if embedding.is_some() { "embedding" } else { "chat" }.into());
    let metadata = embedding
        .map(|(kind, pooling)| json!({"model_type": kind, "pooling_strategy": pooling, "normalize": true}));
    put("embedding_metadata", metadata.unwrap_or_default());
    fill(&mut result, &options.source, source)?;

    files.push((CHAT_CONFIG, Content::Text(python::to_string(&result, 2)?)));
    Ok(ChatFiles { config: result, notes, files, unused, architecture: architecture.registry })
}

/// A note on a scaling of positions for which an architecture has no field: the reference says nothing.
fn unused_scaling(source: &Map<String, Value>, config: &Map<String, Value>, name: &str) -> Option<String> {
    let scaling = with_rope_keys(source).ok()?;
    let scaling = scaling.get("rope_scaling").filter(|_| !config.contains_key("rope_scaling"))?;
    let kind = scaling.get("rope_type").or_else(|| scaling.get("type"))?.as_str()?;
    (kind != "default").then(|| {
        format!(
            "`rope_scaling` ({}) is ignored: MLC does not scale the positions of {name}",
            kind.escape_debug()
        )
    })
}

/// How many tokens the reference counts; nothing where it cannot, and takes `vocab_size`.
fn active_vocabulary(
    directory: &Path,
    config: &Map<String, Value>,
    tokenizer: &Value,
    notes: &mut Vec<String>,
) -> Result<Option<Value>> {
    let has = |name: &str| directory.join(name).exists();
    let json = |name: &str| -> Result<Option<Value>> {
        let path = directory.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_bytes(&path, LIMIT)?;
        let text = std::str::from_utf8(&bytes).ok();
        Ok(Some(text.and_then(|text| python::parse(text).ok()).unwrap_or_default()))
    };
    let model = || read_bytes(&directory.join(FILES[0]), MODEL_LIMIT);
    let files = Files { config, tokenizer, json: &json, model: &model, has: &has };
    let (why, what) = match auto_tokenizer::count(&files)? {
        Count::Tokens(count) => return Ok(Some(count.into())),
        Count::Refused(why) => (why, "as in the reference: `transformers` 4.57 does not load this tokenizer"),
        Count::Unknown(why) => (why, "but the reference may count other tokens"),
    };
    notes.push(format!("`active_vocab_size` is the vocabulary size of config.json, {what}: {why}"));
    Ok(None)
}

/// The text of `tokenizer.json` as `transformers` makes it of `tokenizer.model`.
fn convert_tokenizer(directory: &Path, config: &Map<String, Value>) -> Result<String> {
    let path = directory.join(FILES[0]);
    ensure!(path.exists(), "there is no tokenizer.model, and a tiktoken file needs code of the checkpoint");
    let bytes = read_bytes(&path, MODEL_LIMIT)?;
    let beside = |name: &str| -> Result<Map<String, Value>> {
        let path = directory.join(name);
        match path.exists() {
            true => {
                read_json(&path)?.as_object().cloned().with_context(|| format!("{name} is not JSON object"))
            }
            false => Ok(Map::new()),
        }
    };
    let settings = Settings {
        config: config.clone(),
        tokenizer: beside("tokenizer_config.json")?,
        special: beside(SPECIAL_TOKENS)?,
        added: beside("added_tokens.json")?,
    };
    tokenizer_json::convert(&bytes, &settings).context("tokenizer.model cannot be converted")
}

/// Fills what is still null from `generation_config.json`, `config.json` and defaults.
fn fill(result: &mut Map<String, Value>, directory: &Path, config: Map<String, Value>) -> Result<()> {
    let path = directory.join(GENERATION_CONFIG);
    let generation = match path.exists() {
        true => match read_json(&path)? {
            Value::Object(map) => map,
            _ => bail!("{} is not a JSON object", path.display()),
        },
        false => Map::new(),
    };
    let defaults = json!({
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "temperature": 1.0, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "repetition_penalty": 1.0, "top_p": 1.0
    });
    let Value::Object(defaults) = defaults else { return Ok(()) };
    for (key, value) in generation.into_iter().chain(config).chain(defaults) {
        if let Some(field) = result.get_mut(&key).filter(|field| field.is_null()) {
            *field = value;
        }
    }
    Ok(())
}

fn read_json(path: &Path) -> Result<Value> {
    python::parse(&read_text(path, LIMIT)?).with_context(|| format!("{} is not JSON", path.display()))
}
