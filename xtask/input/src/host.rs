//! What is known of the servers that were asked: which are silent, which want to be left alone, how often they failed.
//!
//! Counted by server, not by file: of a server that is gone, hundreds of files would otherwise each wait for it.

use crate::client::{Failure, Kind};
use anyhow::anyhow;
use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How often in a row a server may fail before it is given up.
pub const TRIES: u32 = 4;
/// How long a server that was given up is not asked again.
const RECOVERY: Duration = Duration::from_secs(300);
/// The longest `Retry-After` that is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What is known of one server.
#[derive(Default)]
struct State {
    /// It has answered at least once.
    answered: bool,
    /// Somebody is asking it to see whether it answers.
    probing: bool,
    /// Failures in a row, those of requests that ran beside each other counted once.
    failures: u32,
    /// When the last one was counted.
    failed: Option<Instant>,
    /// It is not asked before.
    rest: Option<Instant>,
    /// It was given up: when, and why.
    dead: Option<(Instant, String)>,
    /// The user was told that it is asked again.
    noted: bool,
}

#[derive(Default)]
struct Host {
    state: Mutex<State>,
    changed: Condvar,
}

impl Host {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All servers that were asked. Clones share what they know.
#[derive(Clone, Default)]
pub struct Hosts(Arc<Mutex<HashMap<String, Arc<Host>>>>);

/// Leave to ask a server once.
pub struct Turn {
    host: Arc<Host>,
    server: String,
    started: Instant,
    probing: bool,
}

/// What comes after a failure.
pub enum Next {
    /// Another try makes sense, after this time; with what the user is told of it.
    Again(Duration, Option<String>),
    /// It does not.
    Over,
}

impl Hosts {
    /// Waits until `server` may be asked. While it has not answered yet, or fails, one request at a time is sent.
    ///
    /// # Errors
    /// If it was given up.
    pub fn enter(&self, server: &str) -> Result<Turn, Failure> {
        let host = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(server.to_owned()).or_default().clone()
        };
        let mut state = host.lock();
        loop {
            let now = Instant::now();
            if let Some((since, why)) = &state.dead {
                if now.duration_since(*since) < RECOVERY {
                    let error = anyhow!("{server} is not asked again: {why}");
                    return Err(Failure { error, kind: Kind::Skipped });
                }
                *state = State::default();
            }
            if let Some(rest) = state.rest.map(|rest| rest.saturating_duration_since(now))
                && !rest.is_zero()
            {
                state = host.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            if (!state.answered || state.failures > 0) && state.probing {
                state = host.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            break;
        }
        let probing = !state.answered || state.failures > 0;
        state.probing |= probing;
        drop(state);
        Ok(Turn { host, server: server.to_owned(), started: Instant::now(), probing })
    }

    /// Says that a server gives what it is asked for; others may ask it at the same time.
    pub fn answered(&self, server: &str) {
        let host = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(server).cloned();
        if let Some(host) = host {
            host.lock().answered = true;
            host.changed.notify_all();
        }
    }
}

impl Turn {
    /// The server did what was asked.
    pub fn succeeded(self) {
        let mut state = self.host.lock();
        state.answered = true;
        state.failures = 0;
    }

    /// The server did not. `attempt` counts the tries of this file before, from 0.
    pub fn failed(self, failure: &Failure, attempt: u32) -> Next {
        let mut state = self.host.lock();
        state.answered |= matches!(failure.kind, Kind::Status { .. } | Kind::Wrong);
        let (is_of_server, wait) = match &failure.kind {
            Kind::Status { status: 408 | 429 | 502 | 503 | 504, retry_after } => (true, *retry_after),
            Kind::Status { status: 500..=599, retry_after } => (false, *retry_after),
            Kind::Dead | Kind::Broken => (true, None),
            Kind::Again => (false, None),
            Kind::Status { .. } | Kind::Wrong => {
                state.failures = 0;
                return Next::Over;
            }
            Kind::Slow => {
                state.dead = Some((Instant::now(), format!("{:#}", failure.error)));
                return Next::Over;
            }
            Kind::Local | Kind::Skipped => return Next::Over,
        };
        if is_of_server && state.failed.is_none_or(|failed| failed <= self.started) {
            state.failures += 1;
            state.failed = Some(Instant::now());
        }
        let is_gone = matches!(failure.kind, Kind::Dead) && !state.answered;
        let wait = wait.unwrap_or_else(|| Duration::from_millis(300 << (2 * attempt.min(5))));
        if is_gone || state.failures >= TRIES || wait > LONGEST_WAIT {
            let mut why = format!("{:#}", failure.error);
            if wait > LONGEST_WAIT {
                why += &format!(", and wants to be left alone for {} s", wait.as_secs());
            }
            state.dead = Some((Instant::now(), why));
            return Next::Over;
        }
        if attempt + 1 >= TRIES {
            return Next::Over;
        }
        if is_of_server {
            state.rest = Some(Instant::now() + wait);
        }
        let note = (!state.noted).then(|| {
            let pause = if wait.as_secs() > 1 { format!(" in {} s", wait.as_secs()) } else { String::new() };
            format!("{}: {:#}; trying again{pause}", self.server, failure.error)
        });
        state.noted = true;
        Next::Again(wait, note)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.probing {
            self.host.lock().probing = false;
        }
        self.host.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: Kind) -> Failure {
        Failure { error: anyhow!("no"), kind }
    }

    #[test]
    fn a_server_that_never_answered_is_given_up_at_once() {
        let hosts = Hosts::default();
        assert!(matches!(hosts.enter("a").unwrap().failed(&failure(Kind::Dead), 0), Next::Over));
        let skipped = hosts.enter("a").err().unwrap();
        assert!(
            matches!(skipped.kind, Kind::Skipped)
                && skipped.error.to_string().contains("not asked again: no")
        );
        assert!(hosts.enter("b").is_ok(), "another server");
    }

    #[test]
    fn failures_are_counted_by_server_and_told_once() {
        let hosts = Hosts::default();
        hosts.enter("a").unwrap().succeeded();
        let mut told = 0;
        for round in 0..TRIES {
            // Another file each time.
            let busy = Kind::Status { status: 503, retry_after: Some(Duration::ZERO) };
            match hosts.enter("a").unwrap().failed(&failure(busy), 0) {
                Next::Again(_, note) => told += usize::from(note.is_some()),
                Next::Over => assert_eq!(round, TRIES - 1),
            }
        }
        assert_eq!(told, 1);
        assert!(hosts.enter("a").is_err());
    }

    #[test]
    fn who_asks_for_an_hour_is_not_waited_for() {
        let hosts = Hosts::default();
        let busy = Kind::Status { status: 429, retry_after: Some(Duration::from_secs(3600)) };
        assert!(matches!(hosts.enter("a").unwrap().failed(&failure(busy), 0), Next::Over));
        assert!(hosts.enter("a").err().unwrap().error.to_string().contains("3600 s"));
    }

    #[test]
    fn a_missing_file_says_nothing_against_its_server() {
        let hosts = Hosts::default();
        for _ in 0..9 {
            let missing = Kind::Status { status: 404, retry_after: None };
            assert!(matches!(hosts.enter("a").unwrap().failed(&failure(missing), 0), Next::Over));
        }
        assert!(hosts.enter("a").is_ok());
    }
}
