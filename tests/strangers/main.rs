//! Every reader of strangers' bytes, on its seeds and on mutations of them.
//!
//! The same targets as the fuzzer's (`fuzz/run`), in the build that all tests have: overflows of arithmetic panic in it. What is mutated
//! follows from the seeds alone, so that a failure comes again; the fuzzer, which follows the paths that a program takes, finds more.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in tests, a panic is the report")]

#[path = "../../fuzz/src/targets.rs"]
mod targets;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use targets::{Place, TARGETS};

/// Mutations of each target. All of them together take some seconds.
const MUTATIONS: usize = 400;

/// Much longer than any input takes on a slow machine: a hang, not a slow run.
const PATIENCE: Duration = Duration::from_secs(120);

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Numbers that follow from a seed (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Changes some bytes, numbers, digits and pieces.
fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    const EXTREMES: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        match numbers.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            1 if !bytes.is_empty() => bytes[at] = numbers.next() as u8,
            2 => bytes.truncate(at),
            3 if !bytes.is_empty() => {
                let value = EXTREMES[numbers.below(EXTREMES.len())].to_le_bytes();
                for (byte, new) in
                    bytes[at..].iter_mut().zip(value.iter().take([1, 2, 4, 8][numbers.below(4)]))
                {
                    *byte = *new;
                }
            }
            4 => {
                let piece: Vec<u8> = bytes[at..].iter().take(numbers.below(64)).copied().collect();
                let to = numbers.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            5 => {
                let end = (at + numbers.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                // A digit of a text's number, or more of them.
                if let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit) {
                    bytes.splice(
                        at + digit..at + digit,
                        b"9999999999".iter().take(numbers.below(11)).copied(),
                    );
                }
            }
        }
    }
}

#[test]
fn no_bytes_break_a_reader() {
    for (target, read) in TARGETS {
        let place = Place::new();
        let seeds = seeds(target);
        let run = |what: &str, bytes: &[u8]| {
            let start = Instant::now();
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&place, bytes)));
            if result.is_err() || start.elapsed() > PATIENCE {
                let kept = std::env::temp_dir().join(format!("strangers-{target}-{}", std::process::id()));
                std::fs::write(&kept, bytes).unwrap();
                panic!(
                    "{target} broke, or took {:?}, on {what}: kept as {}",
                    start.elapsed(),
                    kept.display()
                );
            }
        };
        for (path, bytes) in &seeds {
            run(&path.display().to_string(), bytes);
        }
        let mut numbers = Numbers(
            target.bytes().fold(1_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))),
        );
        for number in 0..MUTATIONS {
            let (path, seed) = &seeds[numbers.below(seeds.len())];
            let mut bytes = seed.clone();
            mutate(&mut bytes, &mut numbers);
            run(&format!("mutation {number} of {}", path.display()), &bytes);
        }
    }
}
