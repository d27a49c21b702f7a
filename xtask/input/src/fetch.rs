//! Makes the blobs of inputs present in the store, in parallel.

use crate::{
    Input, Lock, Source,
    archive::Archive,
    client,
    network::Network,
    vendor,
    way::{Fetcher, Gone},
};
use anyhow::Result;
use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use store::{Digest, Progress, Store, Unit, WithHint, find, hinted};

/// How inputs are fetched.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Downloads at a time.
    pub connections: usize,
    /// Fail rather than download.
    pub offline: bool,
    /// A directory that [`crate::vendor`] wrote; nothing is downloaded that it has.
    pub vendored: Option<PathBuf>,
    /// Servers that hold inputs by digest, as a vendored directory does (`URL/sha256/HEX`), or as blobs of a registry's repository
    /// (`oci://HOST/NAME`). They are asked before the registries.
    pub mirrors: Vec<String>,
    /// By file, the states of Debian's archive that it was locked from: where current archives lack it, dated ones may have it.
    /// [`FetchOptions::with_lock`] adds them.
    pub archives: Arc<BTreeMap<Digest, Vec<Archive>>>,
    /// How long a server may say nothing before it is given up.
    pub patience: Duration,
    /// The Hugging Face hub that models come from; `None` for the one that this machine is configured with.
    pub endpoint: Option<String>,
    /// Files of a model that are locked beside those that a conversion uses.
    pub include: Vec<String>,
    /// Accept the licenses of inputs that have one to accept, and remember it in the store.
    pub accept_license: bool,
    /// What is known of the network.
    pub network: Network,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            connections: 6,
            offline: false,
            vendored: None,
            mirrors: Vec::new(),
            archives: Arc::default(),
            patience: client::PATIENCE,
            endpoint: None,
            include: Vec::new(),
            accept_license: false,
            network: Network::default(),
        }
    }
}

impl FetchOptions {
    /// Whether the vendored directory, if there is one, has an input.
    pub(crate) fn is_vendored(&self, input: &Input) -> bool {
        let has = |directory: &PathBuf| vendor::place(directory, &input.digest).is_file();
        self.vendored.as_ref().is_some_and(has)
    }

    /// The same, with what a lock says of the archives of its inputs.
    pub fn with_lock(mut self, lock: &Lock) -> Self {
        if lock.archives.is_empty() {
            return self;
        }
        let archives = Arc::make_mut(&mut self.archives);
        let is_debian =
            |source: &Source| matches!(source, Source::Debian { .. } | Source::DebianSource { .. });
        for input in lock.inputs.iter().filter(|input| is_debian(&input.source)) {
            let known = archives.entry(input.digest).or_default();
            known.extend(lock.archives.iter().cloned());
            known.sort();
            known.dedup();
        }
        self
    }

    /// The states of Debian's archive that a file was locked from.
    pub(crate) fn archives_of(&self, input: &Input) -> &[Archive] {
        self.archives.get(&input.digest).map_or(&[], Vec::as_slice)
    }
}

/// Inputs that could not be brought into the store: what is made from them has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// What was tried for each.
    pub problems: String,
    /// What can be done, each once.
    pub hints: Vec<String>,
}

impl Unavailable {
    /// The first of several that has one of these inputs.
    pub fn first_of<'a>(all: &'a [Self], inputs: &[impl Borrow<Input>]) -> Option<&'a Self> {
        let is_of = |away: &&Self| inputs.iter().any(|input| away.names.contains(&input.borrow().name));
        all.iter().find(is_of)
    }
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problems)
    }
}

impl std::error::Error for Unavailable {}

/// As [`store::full_text`], with what can be done about inputs that are unavailable.
pub fn full_text(error: &anyhow::Error) -> String {
    let hints = find::<Unavailable>(error).map_or(&[][..], |it| &it.hints);
    hints.iter().fold(store::full_text(error), |text, hint| text + "\n  " + hint)
}

/// Why an input is not in the store now.
pub enum Problem {
    /// No way has it.
    Gone(Gone),
    /// This machine failed: whatever is fetched next would fail as well.
    Local(anyhow::Error),
}

/// The disk is too small for what is to be fetched.
#[derive(Debug)]
struct NoSpace;

impl std::fmt::Display for NoSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nothing was fetched")
    }
}

impl std::error::Error for NoSpace {}

/// Fetches every input that the store lacks.
///
/// # Errors
/// If no way has some of them: all of these together, as [`Unavailable`]. If this machine can't hold them: at once, and as
/// something else.
pub fn fetch(
    store: &Store,
    inputs: &[&Input],
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<()> {
    let mut missing: Vec<&Input> =
        inputs.iter().copied().filter(|input| !store.contains(&input.digest)).collect();
    missing.sort_by_key(|input| (std::cmp::Reverse(input.digest.size), input.digest));
    missing.dedup_by_key(|input| input.digest);
    // Where a license has to be accepted, it is the publisher who is asked.
    let shared: Vec<Digest> =
        missing.iter().filter(|input| input.source.may_be_passed_on()).map(|input| input.digest).collect();
    store.bring_held(&shared, progress);
    missing.retain(|input| !store.contains(&input.digest));
    if missing.is_empty() {
        return Ok(());
    }
    if let Some(directory) = &options.vendored {
        vendor::check(directory)?;
    }
    let fetcher = Fetcher::new(store, options, progress)?;
    let total = require_space(store, &missing, options)?;
    let meter = progress.begin(&format!("fetching {} inputs", missing.len()), total, Unit::Bytes);
    let queue = Mutex::new(missing.iter());
    let gone = Mutex::new(Vec::new());
    let local = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..options.connections.clamp(1, missing.len()) {
            scope.spawn(|| {
                loop {
                    if lock(&local).is_some() {
                        break;
                    }
                    let Some(input) = lock(&queue).next() else { break };
                    match fetcher.fetch(input) {
                        Ok(()) => {}
                        Err(Problem::Gone(problem)) => lock(&gone).push((*input, problem)),
                        Err(Problem::Local(error)) => {
                            let error = error.context(format!("cannot fetch `{}`", input.name));
                            lock(&local).get_or_insert(error);
                        }
                    }
                    meter.add(input.digest.size);
                }
            });
        }
    });
    fetcher.report();
    if let Some(error) = local.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let gone = gone.into_inner().unwrap_or_else(PoisonError::into_inner);
    if gone.is_empty() { Ok(()) } else { Err(unavailable(gone).into()) }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of what is missing. Errors: the disk has no place for them.
fn require_space(store: &Store, missing: &[&Input], options: &FetchOptions) -> Result<u64> {
    // What is vendored beside the store may be cloned, and what was received already takes no more.
    let needed = bytes(missing.iter().copied().filter(|input| !options.is_vendored(input)));
    let received: u64 = missing
        .iter()
        .filter_map(|input| store.root().join("downloads").join(input.digest.hex()).symlink_metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .fold(0, |sum, part| sum.saturating_add(part.len()));
    let (needed, free) = (needed.saturating_sub(received), store.free_bytes()?);
    if !options.offline && needed > free {
        return Err(NoSpace).with_hint(|| {
            hinted(
                format!(
                    "{} inputs have {} MB to fetch, and the disk of the store at {} has {} MB free",
                    missing.len(),
                    needed / 1_000_000,
                    store.root().display(),
                    free / 1_000_000
                ),
                "`cargo xtask store gc` frees what no release or lock needs, and `--store` chooses another disk",
            )
        });
    }
    Ok(bytes(missing.iter().copied()))
}

/// Bytes of all inputs together.
pub fn bytes<'a>(inputs: impl IntoIterator<Item = &'a Input>) -> u64 {
    inputs.into_iter().fold(0, |sum, input| sum.saturating_add(input.digest.size))
}

/// What is said of an input with `--offline`.
pub const NOT_IN_STORE: &str = "not in the store, and nothing may be downloaded";

/// One text of all problems: inputs with the same problem together.
fn unavailable(gone: Vec<(&Input, Gone)>) -> Unavailable {
    let mut names: Vec<String> = gone.iter().map(|(input, _)| input.name.clone()).collect();
    names.sort();
    let hints: BTreeSet<String> = gone.iter().flat_map(|(_, gone)| gone.hints.iter().cloned()).collect();
    let mut groups: BTreeMap<Vec<String>, Vec<&Input>> = BTreeMap::new();
    for (input, Gone { tried, .. }) in gone {
        groups.entry(tried).or_default().push(input);
    }
    let mut texts: Vec<String> = groups
        .into_iter()
        .map(|(tried, mut inputs)| {
            inputs.sort_by(|a, b| a.name.cmp(&b.name));
            if tried == [NOT_IN_STORE] {
                let verb = if inputs.len() == 1 { "is" } else { "are" };
                return format!("{} {verb} {NOT_IN_STORE}", listed(&inputs));
            }
            let subject = match inputs[..] {
                [input] => {
                    format!("`{}` ({} bytes, sha256 {})", input.name, input.digest.size, input.digest.hex())
                }
                _ => listed(&inputs),
            };
            format!("cannot fetch {subject}\n  {}", tried.join("\n  "))
        })
        .collect();
    texts.sort();
    Unavailable { names, problems: texts.join("\n"), hints: hints.into_iter().collect() }
}

/// The first names of many.
pub fn listed(inputs: &[&Input]) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> = inputs.iter().take(SHOWN).map(|input| format!("`{}`", input.name)).collect();
    match inputs.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// Whether this machine is at fault, and not what was asked.
pub fn is_local(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    if find::<NoSpace>(error).is_some() {
        return true;
    }
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem | FileTooLarge))
}
