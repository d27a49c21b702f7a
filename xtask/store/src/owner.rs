//! Whose something is that was left behind or is locked: a process that lives, is stopped, or has ended.

use std::fmt;

/// A process, told from all others, on this machine or elsewhere, now or before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(String);

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It lives, and may run.
    Running,
    /// It lives, and does not go on before it gets a signal (`kill -CONT`), or a debugger lets it.
    Stopped,
    /// It has ended.
    Ended,
    /// It is of another machine, or of another namespace of process numbers.
    Elsewhere,
}

impl Owner {
    /// This process.
    pub fn this_process() -> Self {
        Self::of("self").unwrap_or_else(|| Self("unknown".to_owned()))
    }

    /// The process with this number; none where there is none.
    fn of(process: &str) -> Option<Self> {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let boot = read("/proc/sys/kernel/random/boot_id")?;
        // Numbers mean something in their namespace only.
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        let status = read(&format!("/proc/{process}/stat"))?;
        // The name, in parentheses, may hold anything; after it come the fields from the third on, of which the 22nd is the
        // time at which the process began.
        let (number, rest) = status.split_once(" (")?;
        let began = rest.rsplit_once(')')?.1.split_whitespace().nth(19)?;
        Some(Self(format!("{}/{}/{number}/{began}", boot.trim(), namespace.display())))
    }

    /// Whether it certainly has ended: it was a process of this machine and namespace.
    pub fn is_dead(&self) -> bool {
        self.state() == State::Ended
    }

    /// What it does now.
    pub fn state(&self) -> State {
        let (Some(this), Some((place, _))) = (Self::of("self"), self.split()) else {
            return State::Elsewhere;
        };
        if this.split().is_none_or(|(here, _)| here != place) {
            return State::Elsewhere;
        }
        let Some(number) = self.number() else { return State::Elsewhere };
        if Self::of(number).as_ref() != Some(self) {
            return State::Ended;
        }
        let status = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        match status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
            Some('T' | 't') => State::Stopped,
            Some('Z' | 'X') | None => State::Ended,
            Some(_) => State::Running,
        }
    }

    /// Its number, where it runs.
    pub fn number(&self) -> Option<&str> {
        self.split()?.1.split_once('/').map(|(number, _)| number)
    }

    /// Boot and namespace; number and beginning.
    fn split(&self) -> Option<(&str, &str)> {
        let (end, _) = self.0.match_indices('/').nth(1)?;
        Some((&self.0[..end], &self.0[end + 1..]))
    }

    /// Reads what another process wrote of itself.
    pub fn parse(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_from_each_other() {
        let this = Owner::this_process();
        assert_eq!(Owner::of(&std::process::id().to_string()), Some(this.clone()));
        assert!(!this.is_dead());
        // The same number, another beginning.
        assert!(Owner(format!("{}0", this.0)).is_dead());
        // Of another machine nothing is known.
        assert!(!Owner(format!("x{}", this.0)).is_dead());
        assert!(!Owner("unknown".to_owned()).is_dead());
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let other = Owner::of(&child.id().to_string()).unwrap();
        assert!(!other.is_dead());
        let stopped = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(stopped, rustix::process::Signal::STOP).unwrap();
        while other.state() == State::Running {
            std::thread::yield_now();
        }
        assert_eq!(other.state(), State::Stopped);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(other.is_dead());
    }
}
