//! `publish hugging-face`.

use crate::{
    context::Global,
    secret::{Passphrases, model_key},
};
use anyhow::{Context, Result, bail, ensure};
use input::{Content, Hub, Model, Publication, PublishRequest, PublishedFile, Terms};
use signature::{MODEL_SIGNATURE, ModelBundle, ModelKey, ModelStatement};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};
use store::{Digest, hinted};

const CARD: &str = "README.md";

/// Publish a converted model on a Hugging Face hub
///
/// The model is verified first. What the hub has already is not sent again, large files are known by their SHA-256, and one commit
/// adds everything, on top of the state that was looked at: whoever changes the repository meanwhile is told, not overwritten. A run
/// that was cut off is repeated for what lacks, and a signature of the hub that holds is not made anew. Where DIR has no README.md, a model card is written for it: license, source, digests,
/// and how to make and verify it.
///
/// The hub is that of `--endpoint`, of HF_ENDPOINT, or of Python's `huggingface_hub`; the token is taken from HF_TOKEN or that
/// client's file, goes to the hub alone, and is shown nowhere.
///
/// Examples:
///   cargo xtask publish hugging-face me/Qwen2.5-3B-q4f16_1-MLC Qwen2.5-3B-q4f16_1 --model Qwen2.5-3B-Instruct --dry-run
///   cargo xtask publish hugging-face me/tiny-MLC DIR --license apache-2.0
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The repository, which is made where there is none
    #[arg(value_name = "OWNER/NAME")]
    repository: String,
    /// The converted model
    directory: PathBuf,
    /// The license of the converted weights, as model cards name it
    #[arg(long, value_name = "ID", required_unless_present = "model")]
    license: Option<String>,
    /// The model of models/ that it was converted from: its license, repository and commit stand on the card
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Sign what is published, the card included, as `model_signing verify key` checks it
    #[arg(long, value_name = "FILE")]
    model_signature: Option<PathBuf>,
    /// Read the passphrase of that key from the first line of a file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The hub [default: HF_ENDPOINT]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The message of the commit
    #[arg(long, value_name = "TEXT", default_value = "Publish with mlc-repro")]
    message: String,
    /// Say what would be done, and change nothing on the hub
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub fn run(global: &Global, arguments: &Arguments) -> Result<()> {
    ensure!(!global.offline, "publishing needs the network, and `--offline` forbids it");
    let (progress, directory) = (global.progress(), &arguments.directory);
    release::clear_signatures(directory)?;
    let findings = model::verify(directory)?;
    ensure!(
        findings.is_empty(),
        "{} does not pass `model verify`, so it is not published:\n  {}",
        directory.display(),
        findings.join("\n  ")
    );
    let source = match &arguments.model {
        Some(name) => Some(Model::load(&crate::context::project_root()?, name)?),
        None => None,
    };
    let license = match (&arguments.license, &source) {
        (Some(license), _) => license.clone(),
        (None, Some(model)) => model.license.clone(),
        (None, None) => bail!(hinted("which license do the weights have?", "give `--license ID`")),
    };
    check_license(&license, global.accept_license)?;
    let mut files = files(directory)?;
    let is_there = |name: &str| files.iter().any(|file| file.path == name);
    if is_there(MODEL_SIGNATURE) && !is_there(CARD) && arguments.model_signature.is_none() {
        bail!(hinted(
            format!(
                "{MODEL_SIGNATURE} in {} signs no {CARD}, so that it would not fit what is published",
                directory.display()
            ),
            "sign anew with `--model-signature KEY`, or remove it",
        ));
    }
    if !files.iter().any(|file| file.path == CARD) {
        let text = card(
            &arguments.repository,
            &license,
            source.as_ref(),
            &files,
            arguments.model_signature.is_some(),
        )?;
        files.push(text_file(CARD, text));
    }
    let options = global.fetch_options();
    let hub = Hub::open(options.network.client(options.patience), arguments.endpoint.as_deref())?;
    if let Some(path) = &arguments.model_signature {
        let passphrases = Passphrases { file: arguments.passphrase_file.clone() };
        let key = model_key(path, &passphrases, &progress)?;
        let name = arguments.repository.rsplit('/').next().unwrap_or_default().to_owned();
        files.retain(|file| file.path != MODEL_SIGNATURE);
        let digests = files.iter().map(|file| (file.path.clone(), file.digest.hex())).collect();
        let statement = ModelStatement { name, files: digests };
        // Each signature is another one: the hub's stays as long as it holds.
        let there = hub.published_text(&arguments.repository, MODEL_SIGNATURE, &progress)?;
        let text = match there.filter(|text| is_signature(text, &key, &statement)) {
            Some(text) => text,
            None => key.sign(&statement)?.to_text(),
        };
        files.push(text_file(MODEL_SIGNATURE, text));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let request = PublishRequest {
        repository: &arguments.repository,
        files: &files,
        message: &arguments.message,
        dry_run: arguments.dry_run,
    };
    let done = hub.publish(&request, &progress)?;
    tell(global, arguments, &done)
}

/// Whether a stranger's text is this key's signature of these very files.
fn is_signature(text: &str, key: &ModelKey, statement: &ModelStatement) -> bool {
    ModelBundle::parse(text).is_ok_and(|bundle| {
        bundle.is_of(statement) && bundle.verifies(&key.public_pem()).is_ok_and(|verifies| verifies)
    })
}

fn tell(global: &Global, arguments: &Arguments, done: &Publication) -> Result<()> {
    if global.json() {
        let json = serde_json::json!({
            "repository": arguments.repository, "commit": done.commit, "created": done.created,
            "dry_run": arguments.dry_run, "changed": done.changed, "sent": done.sent, "there": done.there,
        });
        crate::events::result(&json)?;
        return Ok(());
    }
    let (progress, repository) = (global.progress(), &arguments.repository);
    for path in &done.changed {
        let how = match (arguments.dry_run, done.sent.contains_key(path)) {
            (true, _) => "would publish",
            (false, true) => "sent",
            (false, false) => "committed",
        };
        progress.line(&format!("{how} {path}"));
    }
    let there = done.there.len();
    progress.line(&match (&done.commit, arguments.dry_run) {
        (Some(commit), _) => format!("{repository} is at {commit}; {there} files were there"),
        (None, true) => format!("nothing was changed; {there} files are there"),
        (None, false) => format!("{repository} is up to date: {there} files are there"),
    });
    Ok(())
}

/// A license has to be known to whoever publishes under it.
fn check_license(license: &str, is_accepted: bool) -> Result<()> {
    let is_id = !license.is_empty()
        && license.len() <= 100
        && license.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-_".contains(&byte));
    ensure!(
        is_id && license != "unknown",
        hinted(
            format!(
                "`{}` is not the name of a license as model cards have it, such as apache-2.0",
                license.escape_debug()
            ),
            "give `--license ID`"
        )
    );
    if let Some(warning) = Terms::of(license)?.warning() {
        ensure!(
            is_accepted,
            hinted(
                format!("the license {license} is not one under which anything may be published: {warning}"),
                "`--accept-license` says that you have read it and may"
            )
        );
    }
    Ok(())
}

/// Every file of a directory, hashed.
fn files(directory: &Path) -> Result<Vec<PublishedFile>> {
    let mut files = Vec::new();
    let mut open = vec![String::new()];
    while let Some(prefix) = open.pop() {
        let place = directory.join(&prefix);
        for entry in std::fs::read_dir(&place).with_context(|| format!("cannot list {}", place.display()))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                bail!("{} has a name that is not UTF-8", entry.path().display());
            };
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            ensure!(
                !name.contains(|c: char| c.is_control() || c == '\\') && name != ".git",
                "`{}` cannot be published",
                path.escape_debug()
            );
            if kind.is_dir() {
                open.push(format!("{path}/"));
            } else {
                ensure!(
                    kind.is_file(),
                    "{} is not a regular file, and is not published",
                    entry.path().display()
                );
                let digest = Digest::of_file(&entry.path())?;
                files.push(PublishedFile { path, content: Content::File(entry.path()), digest });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn text_file(path: &str, text: String) -> PublishedFile {
    let digest = Digest::of(text.as_bytes());
    PublishedFile { path: path.to_owned(), content: Content::Text(text), digest }
}

/// The model card.
fn card(
    repository: &str,
    license: &str,
    source: Option<&Model>,
    files: &[PublishedFile],
    is_signed: bool,
) -> Result<String> {
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let mut text = format!("---\nlicense: {license}\n");
    if let Some(model) = source {
        write!(text, "base_model: {}\nbase_model_relation: quantized\n", model.repository)?;
    }
    text.push_str("library_name: mlc-llm\npipeline_tag: text-generation\ntags:\n- mlc-llm\n- web-llm\n---\n");
    write!(
        text,
        "\n# {name}\n\nWeights for MLC-LLM and WebLLM, converted by mlc-repro: the same bytes each time.\n"
    )?;
    if let Some(model) = source {
        let quantization = quantization(files)?;
        write!(
            text,
            "\nConverted from {} at the commit `{}`. To make it again:\n\n```\ncargo xtask model fetch {}@{}\ncargo xtask model convert {}{} -o {name}\n```\n",
            model.repository,
            model.revision,
            model.repository,
            model.revision,
            model.name(),
            quantization
        )?;
    }
    write!(text, "\n## To verify it\n\n```\ncargo xtask model verify {repository}@main\n")?;
    if is_signed {
        let command = "model_signing verify key . --signature model.sig --public_key KEY.pub";
        writeln!(text, "{command}    # with the key of who published it")?;
    }
    text.push_str("```\n\n| SHA-256 | bytes | file |\n|---|---|---|\n");
    for file in files.iter().filter(|file| file.path != MODEL_SIGNATURE) {
        writeln!(
            text,
            "| `{}` | {} | {} |",
            file.digest.hex(),
            file.digest.size,
            file.path.replace('|', "\\|")
        )?;
    }
    Ok(text)
}

/// ` --quantization …` of the configuration that is published, and its conversation template.
fn quantization(files: &[PublishedFile]) -> Result<String> {
    let Some(Content::File(path)) =
        files.iter().find(|file| file.path == "mlc-chat-config.json").map(|file| &file.content)
    else {
        return Ok(String::new());
    };
    let value: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let is_word =
        |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let word = |value: &serde_json::Value| value.as_str().filter(is_word).map(str::to_owned);
    let scheme = word(&value["quantization"]).map(|it| format!(" --quantization {it}"));
    let template = word(&value["conv_template"]["name"]).map(|it| format!(" --conversation-template {it}"));
    Ok(scheme.unwrap_or_default() + &template.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_license_is_asked_for_and_read() {
        check_license("apache-2.0", false).unwrap();
        for (license, expected) in [
            ("qwen-research", "is not one under which anything may be published"),
            ("unknown", "is not the name of a license"),
            ("mit\nbase_model: x", "is not the name of a license"),
            ("", "is not the name of a license"),
        ] {
            let error = check_license(license, false).unwrap_err().to_string();
            assert!(error.contains(expected), "{license}: {error}");
        }
        check_license("qwen-research", true).unwrap();
    }
}
