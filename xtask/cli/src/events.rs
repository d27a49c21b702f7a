//! What `--json` prints: one document when the command has ended, or a stream of events (docs/json.md).

use crate::error::error_value;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use store::{Event, Forecast, How};

/// The version of the stream. It grows when a field or event goes or changes its meaning, not when one is added.
pub const SCHEMA: u32 = 1;

/// What is printed on standard output for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Json {
    /// One document when the command has ended: its result, or what failed
    Document,
    /// One object a line, as things happen; the last has what the document would be
    Events,
}

static START: OnceLock<Instant> = OnceLock::new();
static STREAMS: AtomicBool = AtomicBool::new(false);
static METERS: AtomicU64 = AtomicU64::new(0);
static RESULT: Mutex<Option<String>> = Mutex::new(None);

/// How long this process runs.
pub fn since_start() -> Duration {
    START.get_or_init(Instant::now).elapsed()
}

/// Begins the stream, if it is asked for.
pub fn open(json: Option<Json>, command: &str) {
    since_start();
    if json == Some(Json::Events) {
        STREAMS.store(true, Ordering::Relaxed);
        emit("start", json!({ "schema": SCHEMA, "version": env!("CARGO_PKG_VERSION"), "command": command }));
    }
}

/// Whether a stream is asked for.
pub fn is_open() -> bool {
    STREAMS.load(Ordering::Relaxed)
}

/// Prints an event, if a stream is asked for.
pub fn emit(event: &str, fields: Value) {
    if !is_open() {
        return;
    }
    let at = (since_start().as_secs_f64() * 1000.0).round() / 1000.0;
    let mut line = Map::from_iter([("event".to_owned(), event.into()), ("at".to_owned(), at.into())]);
    if let Value::Object(fields) = fields {
        line.extend(fields);
    }
    println!("{}", Value::Object(line));
}

/// What a command has found out: printed by [`finish`].
///
/// # Errors
/// It is not a value of JSON.
pub fn result(value: &impl Serialize) -> anyhow::Result<()> {
    result_text(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// The same, as JSON whose bytes are kept.
pub fn result_text(json: String) {
    *RESULT.lock().unwrap_or_else(PoisonError::into_inner) = Some(json);
}

/// Prints the result, or what failed: as the document, or as the last event.
pub fn finish(json: Option<Json>, ended: Result<bool, &anyhow::Error>) {
    let result = RESULT.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (json, ended) {
        (None, _) => {}
        (Some(Json::Document), Err(error)) => println!("{}", json!({ "error": error_value(error) })),
        (Some(Json::Document), Ok(_)) => println!("{}", result.as_deref().unwrap_or("null").trim_end()),
        (Some(Json::Events), ended) => {
            let result = result.and_then(|text| serde_json::from_str::<Value>(&text).ok());
            let error = ended.err().map(error_value);
            emit("result", json!({ "ok": ended.unwrap_or(false), "result": result, "error": error }));
        }
    }
}

/// The number of a meter.
pub fn next_meter() -> u64 {
    METERS.fetch_add(1, Ordering::Relaxed)
}

/// What is about to be done.
pub fn forecast(forecast: &Forecast) {
    let Forecast { nodes, run, files, bytes, disk, free, timed, seconds } = forecast;
    let seconds = (timed == run).then_some(seconds);
    emit(
        "forecast",
        json!({ "nodes": nodes, "run": run, "files": files, "bytes": bytes, "disk": disk, "free": free, "seconds": seconds }),
    );
}

/// What happened to a piece of work.
pub fn work(name: &str, event: Event<'_>) {
    let (kind, fields) = match event {
        Event::Started => ("started", json!({})),
        Event::Done(done) => {
            let mut fields = json!({
                "outputs": done.outputs,
                "seconds": done.time.map(|time| (time.as_secs_f64() * 1000.0).round() / 1000.0),
                "log": done.log,
            });
            if let How::Imported(from) = done.how {
                fields["from"] = from.into();
            }
            (done.how.word(), fields)
        }
        Event::Failed { error, script, running, .. } => {
            ("failed", json!({ "error": error_value(error), "script": script, "running": running }))
        }
        Event::Skipped(because) => ("skipped", json!({ "because": because })),
    };
    let mut all = json!({ "name": name });
    if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
        all.extend(fields);
    }
    emit(kind, all);
}
