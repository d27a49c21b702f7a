//! What stands in the output and in the checkpoint whenever a command ends, by itself or by a kill: nothing is lost, and
//! nothing old passes as new.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod small;

use model::{
    Chat, Converted, Options, TENSOR_CACHE, chat_config_checked, convert, convert_through_store,
    convert_with_chat, verify,
};
use small::{chat, chat_options, digests, write_checkpoint};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use store::{Silent, Store};
use tempfile::TempDir;

/// Tells this test binary, run again as a child, where to work.
const CHILD: &str = "MODEL_TEST_CHILD";

/// A place with two fine-tunes of a model, and a store.
struct Place {
    directory: TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_checkpoint(&directory.path().join("one"), 40, 0);
        write_checkpoint(&directory.path().join("two"), 40, 7);
        let store = Store::open(&directory.path().join("store")).unwrap();
        Self { directory, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn options(&self, source: &str) -> Options {
        Options::new(&self.path(source), &self.path("out"), "q4f16_1")
    }

    /// As `model convert` does it. Whether anything was written.
    fn convert(&self, options: &Options, chat: Option<&Chat>) -> anyhow::Result<(bool, Converted)> {
        let (converted, is_new) = convert_through_store(&self.store, options, chat, None, &Silent)?;
        Ok((is_new, converted))
    }

    /// That no blob was written to.
    fn assert_store_is_sound(&self) {
        let examined = self.store.examine(&Silent).unwrap();
        assert!(examined.damaged.is_empty(), "{:?}", examined.damaged);
    }
}

/// `fs::copy` empties both where source and destination are one file.
#[test]
fn a_chat_configuration_empties_no_tokenizer_by_whichever_link() {
    let place = Place::new();
    let before = digests(&place.path("one"));
    symlink(place.path("one"), place.path("link")).unwrap();
    for output in ["one", "link", "one/../one", "link/."] {
        let options = chat_options(&place.path("one"), &place.path(output), "q4f16_1");
        let error = chat_config_checked(&options).unwrap_err().to_string();
        assert!(error.contains("holds the checkpoint"), "{output}: {error}");
        assert_eq!(digests(&place.path("one")), before, "{output}");
    }
    fs::create_dir(place.path("out")).unwrap();
    symlink(place.path("one/tokenizer.json"), place.path("out/tokenizer.json")).unwrap();
    fs::hard_link(place.path("one/tokenizer_config.json"), place.path("out/tokenizer_config.json")).unwrap();
    chat_config_checked(&chat_options(&place.path("one"), &place.path("out"), "q4f16_1")).unwrap();
    assert_eq!(digests(&place.path("one")), before);
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        assert_eq!(digests(&place.path("out"))[name], before[name]);
        assert!(!store::is_same_file(&place.path("one").join(name), &place.path("out").join(name)));
    }
}

/// What is done to an output with all rights, as root does, reaches neither the store nor the next output.
#[test]
fn an_output_shares_no_file_with_the_store() {
    let place = Place::new();
    let (_, converted) = place.convert(&place.options("one"), Some(&chat(None))).unwrap();
    place.store.export(&converted.root, &place.path("exported")).unwrap();
    for directory in ["out", "exported"] {
        for entry in fs::read_dir(place.path(directory)).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(fs::metadata(&path).unwrap().nlink(), 1, "{}", path.display());
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            fs::write(&path, "edited").unwrap();
        }
    }
    place.assert_store_is_sound();
    let again = Options { output: place.path("again"), ..place.options("one") };
    assert!(place.convert(&again, Some(&chat(None))).unwrap().1.cached);
    assert_eq!(verify(&again.output).unwrap(), Vec::<String>::new());

    // A link that an older version made is replaced, although it is the right file.
    let shard = place.path("again/params_shard_0.bin");
    fs::remove_file(&shard).unwrap();
    let digest = *converted
        .outputs
        .iter()
        .find_map(|(name, entry)| match entry {
            store::Entry::File { digest, .. } if name == "params_shard_0.bin" => Some(digest),
            _ => None,
        })
        .unwrap();
    fs::hard_link(place.store.blob_path(&digest, false).unwrap(), &shard).unwrap();
    assert!(place.convert(&again, Some(&chat(None))).unwrap().0);
    assert!(!place.store.is_shared(&shard, &digest));
}

/// The two differ in the values of their weights alone.
#[test]
fn another_fine_tune_is_not_up_to_date_and_is_replaced_when_asked_for() {
    let place = Place::new();
    for chat in [None, Some(chat(None))] {
        let out = place.path("out");
        assert!(place.convert(&place.options("one"), chat.as_ref()).unwrap().0);
        assert!(!place.convert(&place.options("one"), chat.as_ref()).unwrap().0, "up to date");
        let first = digests(&out);
        let error = store::full_text(&place.convert(&place.options("two"), chat.as_ref()).unwrap_err());
        assert!(error.contains("holds another model") && error.contains("--replace"), "{error}");
        assert_eq!(digests(&out), first);

        let replacing = Options { replace: true, ..place.options("two") };
        assert!(place.convert(&replacing, chat.as_ref()).unwrap().0);
        let expected = Options { output: place.path("expected"), ..place.options("two") };
        convert_with_chat(&expected, chat.as_ref(), &Silent).unwrap();
        assert_eq!(digests(&out), digests(&expected.output));
        assert_ne!(digests(&out)["params_shard_0.bin"], first["params_shard_0.bin"]);
        fs::remove_dir_all(out).unwrap();
        fs::remove_dir_all(expected.output).unwrap();
    }
}

#[test]
fn other_options_and_other_small_files_make_another_model() {
    let place = Place::new();
    let options = place.options("one");
    place.convert(&options, Some(&chat(None))).unwrap();
    let refused = |chat: &Chat, name: &str| {
        let error = place.convert(&options, Some(chat)).unwrap_err().to_string();
        assert!(error.contains(&format!("its {name} is not what this conversion makes")), "{error}");
    };
    refused(&chat(Some(64)), "mlc-chat-config.json");
    fs::write(place.path("one/generation_config.json"), r#"{"temperature": 0.25}"#).unwrap();
    refused(&chat(None), "mlc-chat-config.json");
    let replacing = Options { replace: true, ..options.clone() };
    assert!(place.convert(&replacing, Some(&chat(None))).unwrap().0);
    assert!(
        fs::read_to_string(place.path("out/mlc-chat-config.json")).unwrap().contains("\"temperature\": 0.25")
    );

    // What the user changed since is the user's: same size, and the time set back.
    let shard = place.path("out/params_shard_0.bin");
    let modified = fs::metadata(&shard).unwrap().modified().unwrap();
    let mut bytes = fs::read(&shard).unwrap();
    bytes[3] ^= 1;
    fs::write(&shard, bytes).unwrap();
    fs::File::options().write(true).open(&shard).unwrap().set_modified(modified).unwrap();
    refused(&chat(None), "params_shard_0.bin");
    assert!(place.convert(&replacing, Some(&chat(None))).unwrap().0);
    assert_eq!(verify(&options.output).unwrap(), Vec::<String>::new());
}

/// New weights never stand beside the old configuration.
#[test]
fn a_conversion_past_the_store_whose_second_half_fails_changes_nothing() {
    let place = Place::new();
    let options = place.options("one");
    convert_with_chat(&options, Some(&chat(None)), &Silent).unwrap();
    let before = digests(&options.output);
    let replacing = Options { replace: true, quantization: "q3f16_1".to_owned(), ..place.options("two") };
    for (damage, expected) in [
        (("tokenizer.json", "{"), "tokenizer.json"),
        (
            ("tokenizer.json", r#"{"added_tokens": [{"content": "<s>"}, {"content": "<s>"}]}"#),
            "adds `<s>` twice",
        ),
        (("tokenizer.json", "{}"), ""),
        (("config.json", r#"{"model_type": "llama"}"#), "config.json"),
    ] {
        let path = place.path("two").join(damage.0);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, damage.1).unwrap();
        let mut wrong = chat(None);
        if expected.is_empty() {
            wrong.conversation_template = "LMM".to_owned();
        }
        let error = store::full_text(&convert_with_chat(&replacing, Some(&wrong), &Silent).unwrap_err());
        let expected = if expected.is_empty() { "did you mean `LM`?" } else { expected };
        assert!(error.contains(expected), "{error}");
        assert_eq!(digests(&options.output), before);
        let fresh = Options { output: place.path("fresh"), ..replacing.clone() };
        assert!(convert_with_chat(&fresh, Some(&wrong), &Silent).is_err() && !fresh.output.exists());
        fs::write(&path, whole).unwrap();
    }
    // Weights alone take the place of the whole model: its configuration is not left for others.
    convert(&replacing, &Silent).unwrap();
    assert!(!options.output.join("mlc-chat-config.json").exists());
    assert_eq!(verify(&options.output).unwrap(), Vec::<String>::new());
}

#[test]
fn a_configuration_for_other_weights_is_refused_and_does_not_pass() {
    let place = Place::new();
    let options = Options { quantization: "q3f16_1".to_owned(), ..place.options("one") };
    convert(&options, &Silent).unwrap();
    let before = digests(&options.output);
    for scheme in ["q4f16_1", "q4f16_0", "q3f16_0", "q4f32_1", "q0f16", "q4bf16_1", "q4f16_2"] {
        let error = chat_config_checked(&chat_options(&options.source, &options.output, scheme)).unwrap_err();
        assert!(error.to_string().contains("holds other weights"), "{scheme}: {error:#}");
        assert_eq!(digests(&options.output), before);
    }
    chat_config_checked(&chat_options(&options.source, &options.output, "q3f16_1")).unwrap();
    assert_eq!(verify(&options.output).unwrap(), Vec::<String>::new());
    let path = options.output.join("mlc-chat-config.json");
    let text = fs::read_to_string(&path).unwrap();
    for scheme in ["q4f16_1", "q3f16_0", "q0f16"] {
        fs::write(&path, text.replace("q3f16_1", scheme)).unwrap();
        let findings = verify(&options.output).unwrap();
        let expected = format!("the weights are not {scheme}, as mlc-chat-config.json says");
        assert!(findings.iter().any(|finding| finding.contains(&expected)), "{scheme}: {findings:?}");
    }
    // The other way round: weights do not come to stand beside a configuration for others.
    let other = Options { output: place.path("other"), ..options.clone() };
    chat_config_checked(&chat_options(&options.source, &other.output, "q4f16_1")).unwrap();
    for error in [convert(&other, &Silent).unwrap_err(), place.convert(&other, None).unwrap_err()] {
        assert!(
            error.to_string().contains("holds a mlc-chat-config.json for q4f16_1, not for q3f16_1"),
            "{error:#}"
        );
    }
    assert!(!other.output.join(TENSOR_CACHE).exists());
}

#[test]
fn a_size_without_effect_is_refused() {
    let place = Place::new();
    let mut wrong = chat(None);
    wrong.overrides.insert("sliding_window_size".to_owned(), 64.into());
    let options = place.options("one");
    let error = store::full_text(&convert_with_chat(&options, Some(&wrong), &Silent).unwrap_err());
    assert!(
        error.contains("llama has no `sliding_window_size`") && error.contains("--sliding-window-size"),
        "{error}"
    );
    assert!(!options.output.exists());
}

fn child(test: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(CHILD, directory)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// SIGKILL at changing moments of both commands, through the store and past it, into the same outputs.
#[test]
fn killed_at_any_moment_neither_checkpoint_nor_store_nor_tokenizer_is_lost() {
    if let Some(directory) = std::env::var_os(CHILD) {
        work_for_ever(Path::new(&directory));
    }
    let place = Place::new();
    for (name, seed) in [("one", 0), ("two", 7)] {
        write_checkpoint(&place.path(name), 20_000, seed);
    }
    let sources = ["one", "two"].map(|name| digests(&place.path(name)));
    let expected = ["one", "two"].map(|name| {
        let options = Options { output: place.path("expected").join(name), ..place.options(name) };
        convert_with_chat(&options, Some(&chat(None)), &Silent).unwrap();
        digests(&options.output)
    });
    let (mut stopped_within, mut whole) = (0, 0);
    for round in 0.. {
        let mut child = child(
            "killed_at_any_moment_neither_checkpoint_nor_store_nor_tokenizer_is_lost",
            place.directory.path(),
        );
        // Longer and longer where a busy machine lets a child come nowhere.
        std::thread::sleep(Duration::from_millis((30 + round % 16 * 17) * (1 + round / 16)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(["one", "two"].map(|name| digests(&place.path(name))), sources, "round {round}");
        for output in ["stored", "direct", "chat"].map(|name| place.path(name)) {
            if !output.exists() {
                continue;
            }
            stopped_within += u32::from(output.join(".converting").exists());
            let found = digests(&output);
            for (name, digest) in &found {
                let is_whole = expected.iter().any(|files| files.get(name) == Some(digest));
                assert!(is_whole, "round {round}: {} in {} is neither", name, output.display());
            }
            if output.join(TENSOR_CACHE).exists() {
                assert!(expected.contains(&found), "round {round}: {} is a mixture", output.display());
                whole += 1;
            }
        }
        if round >= 12 && stopped_within > 0 && whole > 0 {
            break;
        }
    }
    place.assert_store_is_sound();
}

fn work_for_ever(directory: &Path) -> ! {
    let store = Store::open(&directory.join("store")).unwrap();
    for source in ["one", "two"].into_iter().cycle() {
        let options = |output: &str| Options {
            replace: true,
            ..Options::new(&directory.join(source), &directory.join(output), "q4f16_1")
        };
        let stored = options("stored");
        convert_through_store(&store, &stored, Some(&chat(None)), None, &Silent).unwrap();
        chat_config_checked(&chat_options(&directory.join(source), &directory.join("chat"), "q4f16_1"))
            .unwrap();
        convert_with_chat(&options("direct"), Some(&chat(None)), &Silent).unwrap();
    }
    unreachable!()
}

/// In a mount namespace, with a small file system of its own.
#[test]
fn a_full_disk_leaves_what_was_there() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return fill(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=4m tmpfs \"$1\" && exec \"$2\" --exact \"$3\"";
    // As in the store's tests: an ordinary user gets a user namespace of its own.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let user: &[&str] = if is_root { &[] } else { &["--user", "--map-root-user"] };
    let output = Command::new("unshare")
        .args(user)
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .arg("a_full_disk_leaves_what_was_there")
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

fn fill(disk: &Path) {
    let place = Place::new();
    let output = disk.join("out");
    let at = |source: &str| Options { output: output.clone(), replace: true, ..place.options(source) };
    place.convert(&at("one"), Some(&chat(None))).unwrap();
    let before = digests(&output);
    let filler = disk.join("filler");
    let error = std::io::copy(&mut std::io::repeat(0), &mut fs::File::create(&filler).unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    for error in [
        place.convert(&at("two"), Some(&chat(None))).unwrap_err(),
        convert_with_chat(&at("two"), Some(&chat(None)), &Silent).unwrap_err(),
        chat_config_checked(&chat_options(&place.path("two"), &output, "q4f16_1")).unwrap_err(),
        chat_config_checked(&chat_options(&place.path("two"), &disk.join("chat"), "q4f16_1")).unwrap_err(),
        store::write_output(&output.join("tokenizer.json"), &[0; 5000]).unwrap_err(),
    ] {
        assert!(format!("{error:#}").contains("No space left"), "{error:#}");
        assert_eq!(digests(&output), before);
        assert!(!output.join(".converting").exists() && !disk.join("chat").exists());
    }
    fs::remove_file(filler).unwrap();
    assert!(place.convert(&at("two"), Some(&chat(None))).unwrap().0);
    assert_eq!(verify(&output).unwrap(), Vec::<String>::new());
    place.assert_store_is_sound();
}
