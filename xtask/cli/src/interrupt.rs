//! Ctrl-C: the bars go, and it is said what stays.

use crate::{context::BackendKind, events, progress};
use std::{process, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// 128 and the number of SIGINT: what a shell reports of a program that the signal ended.
const INTERRUPTED: i32 = 130;

/// How long the containers or operations of a build may take to go away, before this process does.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends this process when it is interrupted, from now on. Whatever is under way may end at any moment; the next command goes on.
pub fn listen(backend: BackendKind, json: Option<events::Json>) {
    if is_ignored() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let Ok(runtime) = runtime else { return };
    let received = {
        let _inside = runtime.enter();
        signal(SignalKind::interrupt())
    };
    let Ok(mut received) = received else { return };
    std::thread::spawn(move || {
        runtime.block_on(received.recv());
        progress::clear();
        eprintln!("interrupted: what was complete is kept, and the same command continues");
        events::finish(json, Err(&anyhow::anyhow!("interrupted")));
        if matches!(backend, BackendKind::Docker | BackendKind::Remote) {
            // These end this process themselves, once their containers or operations are gone.
            std::thread::sleep(PATIENCE);
        }
        process::exit(INTERRUPTED);
    });
}

/// Whether whoever started us wants no interruption, as a shell does for what is in its background.
fn is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores_interrupts(&status)
}

fn ignores_interrupts(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 0b10 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_background_is_not_interrupted() {
        assert!(ignores_interrupts("Name:\tx\nSigIgn:\t0000000000001006\n"));
        assert!(!ignores_interrupts("Name:\tx\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_interrupts(""));
    }
}
