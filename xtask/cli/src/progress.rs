//! Progress bars on a terminal, plain lines elsewhere.

use crate::error::error_text;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};
use store::{Event, Meter, Progress, Unit, printable};

/// How often a line is printed where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(20);

/// Implements [`Progress`] on stderr.
pub struct Bars {
    bars: MultiProgress,
    terminal: bool,
    quiet: bool,
}

impl Bars {
    /// `quiet` shows notes only.
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target =
            if terminal && !quiet { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), terminal, quiet }
    }

    /// Prints a line of its own, above the bars.
    pub fn line(&self, text: &str) {
        if !self.quiet {
            self.bars.suspend(|| eprintln!("{text}"));
        }
    }
}

impl Progress for Bars {
    fn begin(&self, label: &str, total: u64, unit: Unit) -> Box<dyn Meter> {
        let template = match unit {
            Unit::Bytes => {
                "{spinner} {prefix:44!} {bytes:>11}/{total_bytes:11} {bytes_per_sec:>12} {eta:>4} {wide_msg}"
            }
            Unit::Items => "{spinner} {prefix:44!} {pos:>6}/{len:6} {elapsed:>5} {wide_msg}",
        };
        let bar = self.bars.add(ProgressBar::new(total));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(printable(label).to_string());
        if self.terminal && !self.quiet {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Box::new(Bar {
            bar,
            plain: !self.terminal && !self.quiet,
            label: label.to_owned(),
            unit,
            printed: Mutex::new(Instant::now()),
        })
    }

    fn note(&self, message: &str) {
        self.bars.suspend(|| eprintln!("note: {message}"));
    }

    fn event(&self, label: &str, event: Event<'_>) {
        match event {
            // On a terminal a bar tells it.
            Event::Started if self.terminal => {}
            Event::Started => self.line(&format!("{:>8} {label}", "building")),
            Event::Ended(what) => self.line(&format!("{:>8} {label}  {what}", "built")),
            Event::Failed { error, running } => {
                self.bars.suspend(|| eprint!("{}", error_text(error)));
                if !running.is_empty() {
                    self.line(&format!("waiting for what is still running: {}", running.join(", ")));
                }
            }
        }
    }
}

struct Bar {
    bar: ProgressBar,
    plain: bool,
    label: String,
    unit: Unit,
    printed: Mutex<Instant>,
}

impl Bar {
    /// Where there is no terminal: a line now and then.
    fn print(&self) {
        if !self.plain {
            return;
        }
        let mut printed = self.printed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if printed.elapsed() >= INTERVAL {
            *printed = Instant::now();
            let (position, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            match self.unit {
                Unit::Bytes => {
                    eprintln!("{}: {} of {} MB", self.label, position / 1_000_000, total / 1_000_000)
                }
                Unit::Items => eprintln!("{}: {position} of {total}", self.label),
            }
        }
    }
}

impl Meter for Bar {
    fn add(&self, amount: u64) {
        self.bar.inc(amount);
        self.print();
    }
    fn set(&self, position: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(position);
        self.print();
    }
    fn message(&self, message: &str) {
        self.bar.set_message(printable(message).to_string());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
