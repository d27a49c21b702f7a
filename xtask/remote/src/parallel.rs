//! Several questions at a time.

use anyhow::Result;
use std::sync::{Mutex, PoisonError};

/// How many are asked at a time: a server's answer takes longer than its work.
const AT_ONCE: usize = 8;

/// Does something for each, several at a time, until one fails. Gives the first error.
pub fn each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let queue = Mutex::new(items.iter());
    let problem = Mutex::new(None);
    let lock = || problem.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(items.len()) {
            scope.spawn(|| {
                while lock().is_none() {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(item) = next else { break };
                    if let Err(error) = work(item) {
                        lock().get_or_insert(error);
                    }
                }
            });
        }
    });
    problem.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}
