//! Killed conversions, a full disk, and readers given damaged files: nothing that is left looks whole.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod small;

use model::{Checkpoint, Options, TENSOR_CACHE, TensorCache, convert, inspect, verify};
use proptest::prelude::*;
use small::write_checkpoint;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
use store::Silent;
use tempfile::TempDir;

/// Tells this test binary, run again as a child, where to work.
const CHILD: &str = "MODEL_TEST_CHILD";

fn child(test: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(CHILD, directory)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// By SIGKILL, and by SIGINT as Ctrl-C sends it, again and again in the same output directory.
#[test]
fn a_conversion_stopped_at_any_moment_leaves_no_model_or_a_whole_one() {
    if let Some(directory) = std::env::var_os(CHILD) {
        convert_for_ever(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    write_checkpoint(&directory.path().join("checkpoint"), 60_000, 0);
    let output = directory.path().join("output");
    let (mut stopped_within, mut whole) = (0, 0);
    for round in 0.. {
        let mut child =
            child("a_conversion_stopped_at_any_moment_leaves_no_model_or_a_whole_one", directory.path());
        std::thread::sleep(Duration::from_millis(30 + round % 16 * 17));
        if round % 2 == 1 {
            Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
            // Where this test runs with SIGINT ignored, so does the child.
            for _ in 0..50 {
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        stopped_within += u32::from(output.join(".converting").exists());
        if output.join(TENSOR_CACHE).exists() {
            assert_eq!(verify(&output).unwrap(), Vec::<String>::new(), "round {round}");
            whole += 1;
        }
        // On a busy machine it takes longer until a child comes that far.
        if round >= 16 && stopped_within > 0 && whole > 0 {
            break;
        }
    }
    let options = Options::new(&directory.path().join("checkpoint"), &output, "q4f16_1");
    convert(&Options { replace: true, ..options }, &Silent).unwrap();
    assert_eq!(verify(&output).unwrap(), Vec::<String>::new());
    assert!(!output.join(".converting").exists());
}

fn convert_for_ever(directory: &Path) -> ! {
    for scheme in ["q4f16_1", "q0f32", "q3f16_1", "q0f16"].into_iter().cycle() {
        let options = Options::new(&directory.join("checkpoint"), &directory.join("output"), scheme);
        convert(&Options { replace: true, ..options }, &Silent).unwrap();
    }
    unreachable!()
}

/// In a mount namespace, with a small file system of its own.
#[test]
fn a_full_disk_is_explained_and_leaves_nothing() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return fill(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=12m tmpfs \"$1\" && exec \"$2\" --exact \"$3\"";
    // As in the store's tests: an ordinary user gets a user namespace of its own.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let user: &[&str] = if is_root { &[] } else { &["--user", "--map-root-user"] };
    let output: Output = Command::new("unshare")
        .args(user)
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .arg("a_full_disk_is_explained_and_leaves_nothing")
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

fn fill(directory: &Path) {
    // Elsewhere: the full disk is to be that of the output.
    let checkpoint = tempfile::tempdir().unwrap();
    let output = directory.join("output");
    // 12.8 MB in one shard that is kept in memory; then one that is written as it is computed.
    for rows in [100_000, 300_000] {
        write_checkpoint(checkpoint.path(), rows, 0);
        let error = convert(&Options::new(checkpoint.path(), &output, "q0f16"), &Silent).unwrap_err();
        let error = store::full_text(&error);
        assert!(error.contains("is the disk full?") && error.contains("No space left"), "{error}");
        assert!(!output.exists(), "something was left");
    }
    // What is small enough fits afterwards: nothing holds the room.
    convert(&Options::new(checkpoint.path(), &output, "q4f16_1"), &Silent).unwrap();
    assert_eq!(verify(&output).unwrap(), Vec::<String>::new());
}

fn converted() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    write_checkpoint(&directory.path().join("checkpoint"), 40, 0);
    let output = directory.path().join("output");
    convert(&Options::new(&directory.path().join("checkpoint"), &output, "q4f32_1"), &Silent).unwrap();
    let index = fs::read_to_string(output.join(TENSOR_CACHE)).unwrap();
    (directory, index)
}

/// Changes of a text: bytes replaced, a piece taken out, a piece said twice, an end cut off.
fn mutate(text: &[u8], changes: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for (place, kind, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = place.index(bytes.len());
        let end = (at + usize::from(*byte)).min(bytes.len());
        match kind % 6 {
            0 => drop(bytes.drain(at..end)),
            1 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            2 if at > bytes.len() / 2 => bytes.truncate(at),
            // A digit where a digit was keeps it a number: sizes and offsets that lie.
            3 | 4 => {
                if let Some(digit) = bytes[at..].iter_mut().find(|byte| byte.is_ascii_digit()) {
                    *digit = b'0' + byte % 10;
                }
            }
            _ => bytes[at] = *byte,
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The reader of `tensor-cache.json`: an error or findings, never a panic, never memory without bound. That the
    /// model is another one can't always be told: a name is a name.
    #[test]
    fn damaged_indices_of_converted_models_give_errors(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 1..6)
    ) {
        thread_local!(static MODEL: (TempDir, String) = converted());
        MODEL.with(|(directory, index)| {
            let bytes = mutate(index.as_bytes(), &changes);
            let text = String::from_utf8_lossy(&bytes);
            let output = directory.path().join("output");
            fs::write(output.join(TENSOR_CACHE), text.as_bytes()).unwrap();
            TensorCache::parse(&text).ok();
            verify(&output).ok();
            inspect(&output).ok();
        });
    }

    /// The reader of safetensors headers, with the length that stands before them.
    #[test]
    fn damaged_headers_give_errors(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 1..6),
        right_length in any::<bool>(),
    ) {
        thread_local!(static FILE: (TempDir, Vec<u8>) = {
            let directory = tempfile::tempdir().unwrap();
            write_checkpoint(directory.path(), 40, 0);
            let file = fs::read(directory.path().join("model.safetensors")).unwrap();
            (directory, file)
        });
        FILE.with(|(directory, file)| {
            let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            let header = mutate(&file[8..8 + length], &changes);
            let stated = if right_length { header.len() } else { length };
            let bytes = [&(stated as u64).to_le_bytes()[..], &header, &file[8 + length..]].concat();
            fs::write(directory.path().join("model.safetensors"), bytes).unwrap();
            if let Ok(checkpoint) = Checkpoint::open(directory.path()) {
                for name in checkpoint.order() {
                    checkpoint.bytes(checkpoint.tensor(name).unwrap());
                }
                let output = directory.path().join("output");
                convert(&Options::new(directory.path(), &output, "q4f16_1"), &Silent).ok();
                fs::remove_dir_all(&output).ok();
            }
        });
    }

    /// The reader of `model.safetensors.index.json`.
    #[test]
    fn damaged_indices_of_checkpoints_give_errors(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 1..6)
    ) {
        thread_local!(static PLACE: (TempDir, String) = {
            let directory = tempfile::tempdir().unwrap();
            write_checkpoint(directory.path(), 40, 0);
            let checkpoint = Checkpoint::open(directory.path()).unwrap();
            let map: serde_json::Map<_, _> =
                checkpoint.order().map(|name| (name.to_owned(), "model.safetensors".into())).collect();
            (directory, serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map }).to_string())
        });
        PLACE.with(|(directory, index)| {
            let path = directory.path().join("model.safetensors.index.json");
            fs::write(path, mutate(index.as_bytes(), &changes)).unwrap();
            Checkpoint::open(directory.path()).ok();
        });
    }
}
