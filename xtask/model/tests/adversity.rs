//! Killed conversions, a full disk, and readers given damaged files: nothing that is left looks whole.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use model::{Checkpoint, Options, TENSOR_CACHE, TensorCache, convert, inspect, verify};
use proptest::prelude::*;
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

/// A Llama whose embedding is an eighth of a shard or more: `rows` of 64 bfloat16.
fn write_checkpoint(directory: &Path, rows: usize) {
    let layer = |name: &str, shape: &[usize]| (format!("model.layers.0.{name}.weight"), shape.to_vec());
    let tensors = [
        ("model.embed_tokens.weight".to_owned(), vec![rows, 64]),
        layer("self_attn.q_proj", &[64, 64]),
        layer("self_attn.k_proj", &[32, 64]),
        layer("self_attn.v_proj", &[32, 64]),
        layer("self_attn.o_proj", &[64, 64]),
        layer("mlp.gate_proj", &[96, 64]),
        layer("mlp.up_proj", &[96, 64]),
        layer("mlp.down_proj", &[64, 96]),
        layer("input_layernorm", &[64]),
        layer("post_attention_layernorm", &[64]),
        ("model.norm.weight".to_owned(), vec![64]),
    ];
    let (mut header, mut data) = (serde_json::Map::new(), Vec::<u8>::new());
    for (name, shape) in tensors {
        let start = data.len();
        for index in 0..shape.iter().product::<usize>() {
            let value = (index.wrapping_mul(2_654_435_761) % 1000) as f32 / 1000.0 - 0.5;
            data.extend_from_slice(&value.to_le_bytes()[2..]);
        }
        let offsets = [start, data.len()];
        header.insert(name, serde_json::json!({"dtype": "BF16", "shape": shape, "data_offsets": offsets}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    fs::create_dir_all(directory).unwrap();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    fs::write(directory.join("model.safetensors"), file).unwrap();
    let config = serde_json::json!({
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": rows, "tie_word_embeddings": true,
        "rms_norm_eps": 1e-6, "max_position_embeddings": 128
    });
    fs::write(directory.join("config.json"), config.to_string()).unwrap();
}

/// By SIGKILL, and by SIGINT as Ctrl-C sends it, again and again in the same output directory.
#[test]
fn a_conversion_stopped_at_any_moment_leaves_no_model_or_a_whole_one() {
    if let Some(directory) = std::env::var_os(CHILD) {
        convert_for_ever(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    write_checkpoint(&directory.path().join("checkpoint"), 60_000);
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
        write_checkpoint(checkpoint.path(), rows);
        let error = convert(&Options::new(checkpoint.path(), &output, "q0f16"), &Silent).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("is the disk full?") && error.contains("No space left"), "{error}");
        assert_eq!(fs::read_dir(&output).unwrap().count(), 0, "something was left");
    }
    // What is small enough fits afterwards: nothing holds the room.
    convert(&Options::new(checkpoint.path(), &output, "q4f16_1"), &Silent).unwrap();
    assert_eq!(verify(&output).unwrap(), Vec::<String>::new());
}

fn converted() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    write_checkpoint(&directory.path().join("checkpoint"), 40);
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
            write_checkpoint(directory.path(), 40);
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
            write_checkpoint(directory.path(), 40);
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
