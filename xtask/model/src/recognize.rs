//! What people give as a checkpoint: a directory, something that leads to one, or something else that has a name.

use crate::checkpoint::{INDEX, PICKLED, PICKLED_INDEX, SINGLE};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};
use store::{Hinted, hinted};

const HINT: &str = "give the directory that holds config.json and the safetensors files";

/// The directory of the checkpoint that is meant by `given`: itself, that of the `config.json` or index that is given in its
/// place, or the snapshot of a directory in a hub's cache (`models--OWNER--NAME`).
///
/// # Errors
/// When it is something else, or does not exist: with what it is, and what to do.
pub fn checkpoint_directory(given: &Path) -> Result<PathBuf> {
    let Ok(data) = fs::metadata(given) else { return Err(absent(given)) };
    if !data.is_dir() {
        return of_file(given, data.is_file());
    }
    if given.join("config.json").exists() {
        return Ok(given.to_owned());
    }
    if let Some(snapshot) = snapshot(given)? {
        return Ok(snapshot);
    }
    let names = names(given)?;
    let cached: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| name.starts_with("models--")).collect();
    ensure!(
        cached.is_empty(),
        hinted(
            format!("{} is the cache of a hub, with {} models", given.display(), cached.len()),
            format!("give one of them, such as {}", given.join(cached.first().unwrap_or(&"")).display())
        )
    );
    let inside: Vec<&String> =
        names.iter().filter(|name| given.join(name).join("config.json").exists()).collect();
    if let ([inside], None) = (&inside[..], kind(&names)) {
        bail!(hinted(
            format!("{} has no config.json, but {inside} in it does", given.display()),
            format!("give {}", given.join(inside).display())
        ));
    }
    bail!(of(&names).about(&format!("{} has no config.json", given.display())))
}

/// What stands in the place of a checkpoint.
struct Found {
    /// `it holds …`; none where nothing is known there.
    what: Option<String>,
    /// What to do.
    hint: &'static str,
}

impl Found {
    fn about(self, message: &str) -> Hinted {
        let what = self.what.map_or_else(String::new, |what| format!(": {what}"));
        hinted(format!("{message}{what}"), self.hint)
    }
}

/// Why a directory has no weights that can be read.
pub(crate) fn without_weights(directory: &Path, message: &str) -> Hinted {
    of(&names(directory).unwrap_or_default()).about(message)
}

fn of(names: &[String]) -> Found {
    kind(names).unwrap_or(Found { what: None, hint: HINT })
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let reading = || format!("cannot read {}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).with_context(reading)? {
        names.extend(entry.with_context(reading)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// What the files of a directory without readable weights are, with what to do.
fn kind(names: &[String]) -> Option<Found> {
    let found = |what: String, hint| Some(Found { what: Some(what), hint });
    let find = |is: &dyn Fn(&str) -> bool| {
        names.iter().find(|name| is(name)).map(|name| name.escape_debug().to_string())
    };
    let ends = |ending: &'static str| find(&move |name: &str| name.ends_with(ending));
    if let Some(name) =
        find(&|name| name.starts_with("adapter_config.json") || name.starts_with("adapter_model."))
    {
        return found(
            format!("it holds a LoRA adapter ({name}), not a model"),
            "convert the model that it was made for, and give this directory with `--lora-adapter`",
        );
    }
    if let Some(name) =
        find(&|name| ["mlc-chat-config.json", "tensor-cache.json", "ndarray-cache.json"].contains(&name))
    {
        return found(
            format!("it holds a model that is converted already ({name})"),
            "`cargo xtask model verify` checks it; give the original checkpoint to convert it again",
        );
    }
    if let Some(name) = find(&|name| is_partial(name)) {
        return found(
            format!("it holds a download that was not finished ({name})"),
            "finish it, or run `cargo xtask model fetch OWNER/NAME@REVISION`",
        );
    }
    if let Some(name) = ends(".gguf") {
        return found(
            format!("it holds GGUF ({name}), which llama.cpp reads"),
            "give the original safetensors checkpoint, of which the GGUF file was made",
        );
    }
    if let Some(name) = find(&is_variant) {
        return found(
            format!("it holds weights of another variant alone ({name})"),
            "give the checkpoint with model.safetensors, or rename the files and the index if this variant is what you want",
        );
    }
    if let Some(name) = find(&|name| name.starts_with("consolidated.")) {
        return found(
            format!("it holds the weights as their makers' own program reads them ({name})"),
            "give the repository's version for `transformers`, with config.json and model.safetensors",
        );
    }
    if let Some(name) = ends(".safetensors") {
        return found(
            format!("it holds safetensors files ({name}) without model.safetensors.index.json"),
            "download the index too; one file alone must be called model.safetensors",
        );
    }
    if let Some(name) = find(&|name| {
        ![PICKLED, PICKLED_INDEX].contains(&name)
            && [".bin", ".pt", ".pth", ".ckpt", ".bin.index.json"].iter().any(|ending| name.ends_with(ending))
    }) {
        return found(
            format!("it holds files of PyTorch ({name}), but neither pytorch_model.bin nor its index"),
            "rename the only file to pytorch_model.bin, or give the checkpoint in safetensors",
        );
    }
    if let Some(name) =
        find(&|name| [".h5", ".msgpack", ".onnx", ".npz"].iter().any(|ending| name.ends_with(ending)))
    {
        return found(
            format!("it holds weights of another framework ({name})"),
            "give the safetensors checkpoint",
        );
    }
    let pipeline = find(&|name| name == "model_index.json");
    pipeline
        .and_then(|_| found("it holds a pipeline of `diffusers`, which MLC does not run".to_owned(), HINT))
}

/// `model.VARIANT.safetensors`, or a shard or index of such.
fn is_variant(name: &str) -> bool {
    let Some(middle) = name.strip_prefix("model.") else { return false };
    let rest =
        middle.strip_suffix(".safetensors").or_else(|| middle.strip_suffix(".json")).unwrap_or_default();
    let variant = rest.strip_prefix("safetensors.index.").unwrap_or(rest);
    let variant = variant.split('-').next().unwrap_or(variant);
    !variant.is_empty()
        && variant != "safetensors"
        && variant.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_partial(name: &str) -> bool {
    [".incomplete", ".part", ".aria2", ".crdownload", ".tmp"].iter().any(|ending| {
        let whole = name.strip_suffix(ending).unwrap_or_default();
        whole.contains(".safetensors") || whole.contains(".json")
    })
}

/// The snapshot of a model in the cache of a hub: that of `refs/main`, or the only one.
fn snapshot(given: &Path) -> Result<Option<PathBuf>> {
    let directory = if given.ends_with("snapshots") { given.to_owned() } else { given.join("snapshots") };
    if !directory.is_dir() {
        return Ok(None);
    }
    let names = names(&directory)?;
    let usable: Vec<&String> =
        names.iter().filter(|name| directory.join(name).join("config.json").exists()).collect();
    let main = directory.parent().map(|model| model.join("refs/main"));
    let main = main.and_then(|path| crate::file::read_text(&path, 4096).ok());
    let main = main.as_deref().map(str::trim);
    match (usable.iter().find(|name| Some(name.as_str()) == main), &usable[..]) {
        (Some(name), _) => Ok(Some(directory.join(name))),
        (None, [only]) => Ok(Some(directory.join(only))),
        (None, []) => bail!(hinted(
            format!("no snapshot in {} has a config.json", directory.display()),
            "download the model with `cargo xtask model fetch OWNER/NAME@REVISION`"
        )),
        (None, several) => {
            let several: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
            bail!(hinted(
                format!("{} holds several snapshots: {}", directory.display(), several.join(", ")),
                format!("give one of them, such as {}", directory.join(several[0]).display())
            ))
        }
    }
}

fn of_file(given: &Path, is_regular: bool) -> Result<PathBuf> {
    ensure!(is_regular, "{} is neither a directory nor a regular file", given.display());
    let name = given.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let parent = given.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if ["config.json", INDEX, SINGLE, PICKLED_INDEX, PICKLED].contains(&name) {
        return Ok(parent.to_owned());
    }
    let message = format!("{} is a file, not a checkpoint's directory", given.display());
    match kind(&[name.to_owned()]) {
        _ if name.ends_with(".gguf") => bail!(hinted(
            format!("{message}: it is GGUF, which llama.cpp reads"),
            "give the directory of the original safetensors checkpoint"
        )),
        Some(Found { what, hint }) if !name.ends_with(".safetensors") => {
            let what = what.map(|what| what.replacen("it holds", "it is", 1));
            bail!(Found { what, hint }.about(&message))
        }
        _ => bail!(hinted(message, format!("give the directory that it is in, {}", parent.display()))),
    }
}

/// A model of a hub, as people write it.
#[derive(Debug, PartialEq, Eq)]
pub struct OnHub {
    /// `OWNER/NAME`.
    pub repository: String,
    /// The commit, branch or tag, where one is named.
    pub revision: Option<String>,
    /// `SCHEME://HOST`, where it is an address.
    pub endpoint: Option<String>,
}

/// Reads `OWNER/NAME`, `OWNER/NAME@REVISION`, `HF://OWNER/NAME` or the address of a model's page or file.
pub fn on_hub(given: &str) -> Option<OnHub> {
    // A path that is made of an address loses a slash.
    let (scheme, rest) = given.split_once(":/").map_or(("", given), |(scheme, rest)| (scheme, rest));
    let mut parts = rest.split('/').filter(|part| !part.is_empty());
    let endpoint = match scheme.to_ascii_lowercase().as_str() {
        "" if given.starts_with('/') => return None,
        "" | "hf" => None,
        scheme @ ("http" | "https") => Some(format!("{scheme}://{}", parts.next()?)),
        _ => return None,
    };
    let (owner, name) = (parts.next()?, parts.next()?);
    let (name, mut revision) =
        name.split_once('@').map_or((name, None), |(name, revision)| (name, Some(revision)));
    match (parts.next(), parts.next()) {
        (None, _) => {}
        (Some("tree" | "blob" | "resolve"), Some(of)) if endpoint.is_some() => revision = Some(of),
        _ => return None,
    }
    let is_name = |name: &str| {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !name.starts_with(['.', '-']) && !name.is_empty() && name.bytes().all(fine)
    };
    let name = name.strip_suffix(".git").unwrap_or(name);
    let fine = is_name(owner) && is_name(name) && revision.is_none_or(is_name);
    fine.then(|| OnHub {
        repository: format!("{owner}/{name}"),
        revision: revision.map(str::to_owned),
        endpoint,
    })
}

fn absent(given: &Path) -> anyhow::Error {
    if let Some(OnHub { repository, revision, .. }) = given.to_str().and_then(on_hub) {
        let name = repository.split('/').next_back().unwrap_or_default();
        let revision = revision.as_deref().unwrap_or("main");
        if name.ends_with("-MLC") {
            return anyhow::anyhow!(hinted(
                format!(
                    "{} does not exist here; on a hub, it is a model that is converted already",
                    given.display()
                ),
                "MLC runs it as it is; to convert, give the original checkpoint"
            ));
        }
        return anyhow::anyhow!(hinted(
            format!("{} does not exist here; on a hub, it is a model", given.display()),
            format!("run `cargo xtask model fetch {repository}@{revision}`, then give `{name}`")
        ));
    }
    hinted(format!("{} does not exist", given.display()), HINT).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{}").unwrap();
        }
        directory
    }

    fn refused(path: &Path, expected: &str) {
        let error = checkpoint_directory(path).unwrap_err();
        assert_eq!(store::hints(&error).count(), 1, "{error}");
        let error = store::full_text(&error);
        assert!(error.contains(expected), "expected `{expected}` in: {error}");
    }

    #[test]
    fn a_file_of_a_checkpoint_stands_for_its_directory() {
        let there = directory(&["config.json", "model.safetensors", "model-00001-of-00002.safetensors"]);
        for file in ["", "config.json", "model.safetensors"] {
            assert_eq!(
                checkpoint_directory(&there.path().join(file)).unwrap().components().count(),
                there.path().components().count()
            );
        }
        refused(&there.path().join("model-00001-of-00002.safetensors"), "give the directory that it is in");
    }

    #[test]
    fn a_hubs_cache_leads_to_its_snapshot() {
        let (one, other) = ("a".repeat(40), "b".repeat(40));
        let files = [&one, &other].map(|commit| format!("models--o--n/snapshots/{commit}/config.json"));
        let there = directory(&[&files[0], &files[1]]);
        let model = there.path().join("models--o--n");
        refused(&model, "holds several snapshots");
        refused(there.path(), "is the cache of a hub, with 1 models");
        fs::create_dir(model.join("refs")).unwrap();
        fs::write(model.join("refs/main"), &other).unwrap();
        for given in [&model, &model.join("snapshots")] {
            assert_eq!(checkpoint_directory(given).unwrap(), model.join("snapshots").join(&other));
        }
        let only = directory(&[&files[0]]);
        let model = only.path().join("models--o--n");
        assert_eq!(checkpoint_directory(&model).unwrap(), model.join("snapshots").join(&one));
        fs::remove_file(only.path().join(&files[0])).unwrap();
        refused(&model, "no snapshot in");
    }

    #[test]
    fn what_is_on_a_hub_is_named() {
        let fetch = "model fetch Qwen/Qwen2.5-0.5B-Instruct@";
        for (given, revision) in [
            ("Qwen/Qwen2.5-0.5B-Instruct", "main"),
            ("Qwen/Qwen2.5-0.5B-Instruct@v1", "v1"),
            ("HF://Qwen/Qwen2.5-0.5B-Instruct", "main"),
            ("hf:/Qwen/Qwen2.5-0.5B-Instruct", "main"),
            ("https://hub.invalid/Qwen/Qwen2.5-0.5B-Instruct", "main"),
            ("https://hub.invalid/Qwen/Qwen2.5-0.5B-Instruct.git", "main"),
            ("https://hub.invalid/Qwen/Qwen2.5-0.5B-Instruct/tree/abc", "abc"),
            ("https://hub.invalid/Qwen/Qwen2.5-0.5B-Instruct/blob/main/config.json", "main"),
        ] {
            refused(Path::new(given), &format!("{fetch}{revision}`"));
        }
        refused(Path::new("HF://o/Llama-q4f16_1-MLC"), "is converted already");
        for given in ["./nowhere/x", "/nowhere/x", "a/b/c", "nowhere", "../x"] {
            refused(Path::new(given), "does not exist\n");
        }
    }

    #[test]
    fn other_formats_are_named_with_what_to_do() {
        for (files, expected) in [
            (
                &["adapter_config.json", "adapter_model.safetensors"][..],
                "a LoRA adapter (adapter_config.json)",
            ),
            (&["m.gguf"], "it holds GGUF (m.gguf)"),
            (&["consolidated.00.pth", "params.json"], "makers' own program"),
            (&["consolidated.safetensors", "params.json"], "makers' own program"),
            (&["model.fp16.safetensors"], "another variant alone (model.fp16.safetensors)"),
            (&["model.fp16-00001-of-00002.safetensors"], "another variant alone"),
            (&["model.safetensors.index.fp16.json", "pytorch_model.bin"], "another variant alone"),
            (&["mlc-chat-config.json", "params_shard_0.bin"], "is converted already"),
            (&["weights.bin"], "files of PyTorch (weights.bin)"),
            (&["model-00001-of-00002.safetensors"], "without model.safetensors.index.json"),
            (&["model.safetensors.incomplete"], "not finished"),
            (&["tf_model.h5"], "another framework"),
            (&["merged/config.json"], "but merged in it does"),
            (&["README.md"], "has no config.json"),
        ] {
            let there = directory(files);
            refused(there.path(), expected);
            if !expected.contains("config.json") && !expected.contains("merged") {
                assert!(without_weights(there.path(), "").to_string().contains(expected), "{expected}");
            }
        }
        refused(&directory(&["m.gguf"]).path().join("m.gguf"), "is GGUF");
        refused(&directory(&["x.pth"]).path().join("x.pth"), "it is files of PyTorch");
        for name in [
            "model.safetensors",
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
            "model.json",
        ] {
            assert!(!is_variant(name), "{name}");
        }
    }
}
