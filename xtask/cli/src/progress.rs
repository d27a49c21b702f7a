//! Progress for people, on standard error as its place wants it, and for programs as events.

use crate::{
    error::error_text,
    events,
    output::{tell_error, tell_raw},
    place::{Failure, Place},
};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use store::{Done, Event, Forecast, How, Meter, Progress, Unit, printable};

/// How often a line is printed where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(20);
/// How often an event says how far something is.
const EVENTS: Duration = Duration::from_secs(1);

/// What may stand on the terminal.
static SHOWN: Mutex<Vec<MultiProgress>> = Mutex::new(Vec::new());

/// Takes all bars away, for good.
pub fn clear() {
    for bars in SHOWN.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let _ = bars.clear();
        bars.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// Implements [`Progress`] on stderr.
pub struct Bars {
    bars: MultiProgress,
    place: Place,
    quiet: bool,
}

impl Bars {
    /// `quiet` shows notes and failures only.
    pub fn new(place: Place, quiet: bool) -> Self {
        let place = place.found();
        let target = match place {
            Place::Terminal if !quiet => ProgressDrawTarget::stderr(),
            _ => ProgressDrawTarget::hidden(),
        };
        let bars = MultiProgress::with_draw_target(target);
        if place == Place::Terminal {
            SHOWN.lock().unwrap_or_else(PoisonError::into_inner).push(bars.clone());
        }
        Self { bars, place, quiet }
    }

    /// Where it is read.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Prints a line of its own, above the bars.
    pub fn line(&self, text: &str) {
        if !self.quiet {
            self.bars.suspend(|| eprintln!("{text}"));
        }
    }

    /// The same of something that happened: with the time, where whoever keeps the log does not write one.
    fn stamped(&self, text: &str) {
        self.line(&format!("{}{text}", stamp(self.place)));
    }

    /// The log of a build, where it folds.
    fn fold(&self, name: &str, done: &Done<'_>) {
        if let (Some(log), false) = (done.log, self.quiet) {
            self.bars.suspend(|| tell_raw(&self.place.folded_log(name, log)));
        }
    }
}

/// The time since the start, in a plain log.
fn stamp(place: Place) -> String {
    match place {
        Place::Plain => format!("[{:7.1}s] ", events::since_start().as_secs_f64()),
        _ => String::new(),
    }
}

impl Progress for Bars {
    fn begin(&self, label: &str, total: u64, unit: Unit) -> Box<dyn Meter> {
        let bar = self.bars.add(ProgressBar::new(total));
        if let Ok(style) = ProgressStyle::with_template(&template(unit, columns())) {
            bar.set_style(style);
        }
        bar.set_prefix(printable(label).to_string());
        if self.place == Place::Terminal && !self.quiet {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let id = events::next_meter();
        let kind = match unit {
            Unit::Bytes => "bytes",
            Unit::Items => "items",
        };
        events::emit("begin", json!({ "id": id, "label": label, "unit": kind, "total": total }));
        let now = Instant::now();
        Box::new(Bar {
            bar,
            place: self.place,
            quiet: self.quiet,
            label: label.to_owned(),
            unit,
            id,
            printed: Mutex::new(now),
            emitted: Mutex::new(now),
        })
    }

    fn note(&self, message: &str) {
        events::emit("note", json!({ "message": message }));
        self.bars.suspend(|| eprintln!("note: {message}"));
    }

    fn forecast(&self, forecast: &Forecast) {
        events::forecast(forecast);
        if let Some(text) = forecast_text(forecast) {
            self.stamped(&text);
        }
    }

    fn event(&self, label: &str, event: Event<'_>) {
        events::work(label, event);
        match event {
            // On a terminal a bar tells it.
            Event::Started if self.place == Place::Terminal => {}
            Event::Started => self.stamped(&format!("{:>8} {label}", "building")),
            Event::Done(done) => {
                let root = &done.outputs.hex()[..16];
                let more = match (done.how, done.time) {
                    (How::Built, Some(time)) => format!("  {:.1} s", time.as_secs_f64()),
                    (How::Imported(from), _) => format!("  from {from}"),
                    _ => String::new(),
                };
                self.stamped(&format!("{:>8} {label}  {root}{more}", done.how.word()));
                self.fold(label, &done);
            }
            Event::Failed { error, log, script, running } => self.bars.suspend(|| {
                let place = self.place;
                if let Some(log) = log {
                    tell_raw(&place.folded_log(label, log));
                }
                tell_error(place, error);
                let message = error_text(error);
                let message = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
                tell_raw(&place.annotation(&Failure { title: label, file: script, message }));
                if !running.is_empty() && !self.quiet {
                    eprintln!("waiting for what is still running: {}", running.join(", "));
                }
            }),
            Event::Skipped(cause) => self.stamped(&format!("{:>8} {label}  because of {cause}", "skipped")),
        }
    }
}

/// What is about to be done, in a line. Nothing where the next line says as much.
fn forecast_text(forecast: &Forecast) -> Option<String> {
    let Forecast { nodes, run, files, bytes, disk, free, timed, seconds } = *forecast;
    if files == 0 && run < 2 {
        return None;
    }
    let mut parts = Vec::new();
    if run > 0 {
        parts.push(format!("{run} of {nodes} steps to build"));
    }
    if files > 0 {
        let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
        parts.push(format!("{files} to fetch ({})", size(bytes)));
        parts.push(format!("at least {} of disk ({} are free)", size(disk), size(free)));
    }
    let time = match seconds {
        0..90 => format!("{seconds} s"),
        _ => format!("{} min", seconds.div_ceil(60)),
    };
    match timed {
        0 => {}
        _ if timed == run => parts.push(format!("about {time}, as they took here last")),
        _ => parts.push(format!("about {time} for the {timed} that ran here before")),
    }
    Some(format!("to do: {}", parts.join("; ")))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// The width of the terminal, or what is usual.
fn columns() -> usize {
    console::Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns))
}

/// A bar that fits into so many columns. Numbers are those of summaries: megabytes, not mebibytes.
fn template(unit: Unit, columns: usize) -> String {
    let (numbers, width) = match unit {
        Unit::Bytes if columns >= 72 => {
            ("{decimal_bytes:>9}/{decimal_total_bytes:9} {decimal_bytes_per_sec:>11} {eta:>4}", 35)
        }
        Unit::Bytes => ("{decimal_bytes:>9}/{decimal_total_bytes:9}", 19),
        Unit::Items => ("{pos:>6}/{len:6} {elapsed:>5}", 19),
    };
    // The spinner, and a space between the parts.
    let prefix = columns.saturating_sub(width + 4).clamp(8, 44);
    format!("{{spinner}} {{prefix:{prefix}!}} {numbers} {{wide_msg}}")
}

struct Bar {
    bar: ProgressBar,
    place: Place,
    quiet: bool,
    label: String,
    unit: Unit,
    id: u64,
    printed: Mutex<Instant>,
    emitted: Mutex<Instant>,
}

/// Whether it is time again.
fn is_due(last: &Mutex<Instant>, interval: Duration) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let due = last.elapsed() >= interval;
    if due {
        *last = Instant::now();
    }
    due
}

impl Bar {
    /// A line and an event now and then.
    fn print(&self) {
        let counts = || (self.bar.position(), self.bar.length().unwrap_or(0));
        if events::is_open() && is_due(&self.emitted, EVENTS) {
            let (position, total) = counts();
            let message = Some(self.bar.message()).filter(|message| !message.is_empty());
            events::emit(
                "progress",
                json!({ "id": self.id, "done": position, "total": total, "message": message }),
            );
        }
        if !self.quiet && self.place != Place::Terminal && is_due(&self.printed, INTERVAL) {
            let (position, total) = counts();
            let (label, stamp) = (&self.label, stamp(self.place));
            match self.unit {
                Unit::Bytes => {
                    eprintln!("{stamp}{label}: {} of {} MB", position / 1_000_000, total / 1_000_000);
                }
                Unit::Items => eprintln!("{stamp}{label}: {position} of {total}"),
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
        events::emit("end", json!({ "id": self.id, "done": self.bar.position() }));
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a template takes of the line before its message, at its widest.
    fn width(template: &str) -> usize {
        let prefix = template.split_once("{prefix:").and_then(|(_, rest)| rest.split_once('!')).unwrap().0;
        let numbers = if template.contains("per_sec") { 35 } else { 19 };
        prefix.parse::<usize>().unwrap() + numbers + 4
    }

    #[test]
    fn what_is_about_to_be_done_is_a_line() {
        let first = Forecast {
            nodes: 23,
            run: 23,
            files: 351,
            bytes: 887_000_000,
            disk: 4_400_000_000,
            free: 61_000_000_000,
            ..Forecast::default()
        };
        let text = "to do: 23 of 23 steps to build; 351 files to fetch (887 MB); at least 4400 MB of disk (61 GB are free)";
        assert_eq!(forecast_text(&first).as_deref(), Some(text));
        let again = Forecast { nodes: 23, run: 4, timed: 4, seconds: 100, ..Forecast::default() };
        let text = "to do: 4 of 23 steps to build; about 2 min, as they took here last";
        assert_eq!(forecast_text(&again).as_deref(), Some(text));
        let text = "to do: 4 of 23 steps to build; about 100 s for the 3 that ran here before";
        let some = Forecast { timed: 3, seconds: 89, ..again };
        assert_eq!(forecast_text(&some), Some(text.replace("100 s", "89 s")));
        assert_eq!(forecast_text(&Forecast { nodes: 9, run: 1, ..Forecast::default() }), None);
        assert_eq!(forecast_text(&Forecast::default()), None);
    }

    #[test]
    fn a_bar_is_no_wider_than_its_terminal() {
        for unit in [Unit::Bytes, Unit::Items] {
            for columns in [40, 60, 71, 72, 80, 100, 200] {
                let template = template(unit, columns);
                assert!(width(&template) <= columns, "{columns}: {template}");
            }
        }
    }
}
