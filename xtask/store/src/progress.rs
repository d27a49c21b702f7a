//! How long work reports what it does, without knowing who watches.

use crate::Digest;
use std::{path::Path, time::Duration};

/// What a meter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of a download, an archive or a file.
    Bytes,
    /// Packages, build steps, tensors.
    Items,
}

/// What happens to one of many pieces of work. Whoever watches can tell it at once.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// It runs, since its result was not there.
    Started,
    /// Its result is there.
    Done(Done<'a>),
    /// It failed.
    Failed {
        /// Why.
        error: &'a anyhow::Error,
        /// What it said, where it ran.
        log: Option<&'a Path>,
        /// The file of the repository that is run for it, from its top.
        script: Option<&'a str>,
        /// What is still running, and is waited for.
        running: &'a [String],
    },
    /// It is not tried, because of this.
    Skipped(&'a str),
}

/// A result, and where it is from.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    /// How it got there.
    pub how: How<'a>,
    /// Root of the output tree.
    pub outputs: Digest,
    /// How long it took, where that was measured.
    pub time: Option<Duration>,
    /// What it said, where it ran now.
    pub log: Option<&'a Path>,
}

/// How a result got into the store.
#[derive(Clone, Copy, Debug)]
pub enum How<'a> {
    /// It was made now.
    Built,
    /// It was there.
    Cached,
    /// It is of somebody, whose name this is.
    Imported(&'a str),
}

impl How<'_> {
    /// The word for listings and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Cached => "cached",
            Self::Imported(_) => "imported",
        }
    }
}

/// What work will take, as far as it is known before it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Pieces of work.
    pub nodes: usize,
    /// Those without a result.
    pub run: usize,
    /// Files to fetch.
    pub files: usize,
    /// Bytes of these files.
    pub bytes: u64,
    /// Bytes that the store grows by at least, with what is in these files.
    pub disk: u64,
    /// Bytes that its disk has free.
    pub free: u64,
    /// Of those without a result, how many have run here before.
    pub timed: usize,
    /// How long these took, shared among as many as run at a time.
    pub seconds: u64,
}

/// What work prints, line by line. A line ends at a line feed or, as where a counter is drawn again, at a carriage return.
#[derive(Default)]
pub struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// A line longer than a screen is of no use as progress.
    const LONGEST: usize = 400;

    /// Takes bytes, and calls `each` with every line that ends in them. Of a line that is too long its beginning is kept.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                each(&String::from_utf8_lossy(&self.line));
                self.line.clear();
            } else if self.line.len() < Self::LONGEST {
                self.line.push(byte);
            }
        }
    }
}

/// Receives the progress of long work. Implemented by the command line; [`Silent`] is for tests.
pub trait Progress: Send + Sync {
    /// Starts a meter. `total` is 0 while unknown. The work is over when the meter is dropped.
    fn begin(&self, label: &str, total: u64, unit: Unit) -> Box<dyn Meter>;
    /// A sentence for the user about something that happened (a retry, a healed blob).
    fn note(&self, message: &str);
    /// What is about to be done.
    fn forecast(&self, _forecast: &Forecast) {}
    /// Something happened to the piece of work that is called so.
    fn event(&self, _label: &str, _event: Event<'_>) {}
}

/// One piece of work under way.
pub trait Meter: Send + Sync {
    /// `amount` more units are done.
    fn add(&self, amount: u64);
    /// Sets how far the work is, where it is known absolutely (ninja's `[12/71]`).
    fn set(&self, position: u64, total: u64);
    /// What is being worked on at the moment.
    fn message(&self, message: &str);
}

/// Reports nothing.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64, _: Unit) -> Box<dyn Meter> {
        Box::new(Silent)
    }
    fn note(&self, _: &str) {}
}

impl Meter for Silent {
    fn add(&self, _: u64) {}
    fn set(&self, _: u64, _: u64) {}
    fn message(&self, _: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_of_pieces() {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        let long = "x".repeat(500) + "\n";
        for piece in ["[1/2] a\r[2/", "2] b\n", &long, "not yet"] {
            lines.take(piece.as_bytes(), |line| found.push(line.to_owned()));
        }
        assert_eq!(found, ["[1/2] a", "[2/2] b", &"x".repeat(400)]);
    }
}
