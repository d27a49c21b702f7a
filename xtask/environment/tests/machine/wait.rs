//! Waiting for what other processes do.

use std::time::{Duration, Instant};

/// Whether something becomes so, looked at again and again for this long.
fn becomes(patience: Duration, mut so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if so() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until something is so. Panics when it is not within this time.
pub fn until(what: &str, patience: Duration, so: impl FnMut() -> bool) {
    assert!(becomes(patience, so), "it was never so: {what}");
}

/// Whether a process with this word in its command line lives on this machine.
pub fn is_running(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    // A process may end while we look.
    let mut lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(word))
}

/// Whether such a process still lives after this time; it need not be waited for once none does.
pub fn lives(word: &str, patience: Duration) -> bool {
    !becomes(patience, || !is_running(word))
}
