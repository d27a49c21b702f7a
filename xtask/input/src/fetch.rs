//! Makes the blobs of inputs present in the store, in parallel.

use crate::{
    Input, Source, cargo,
    client::{self, Address},
    configuration,
    download::download,
    git,
    hub::{self, Hub},
    index, microsoft, vendor,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Mutex, OnceLock},
    time::Duration,
};
use store::{Progress, Store, Unit};

/// How inputs are fetched.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Downloads at a time.
    pub connections: usize,
    /// Fail rather than download.
    pub offline: bool,
    /// A directory that [`crate::vendor`] wrote; nothing is downloaded that it has.
    pub vendored: Option<PathBuf>,
    /// How long a server may say nothing before it is given up.
    pub patience: Duration,
    /// The Hugging Face hub that models come from; `None` for the one that this machine is configured with.
    pub endpoint: Option<String>,
    /// Accept the licences of inputs that have one to accept, and remember it in the store.
    pub accept_license: bool,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            connections: 6,
            offline: false,
            vendored: None,
            patience: client::PATIENCE,
            endpoint: None,
            accept_license: false,
        }
    }
}

/// Addresses are looked up once, and only when something has to be downloaded.
#[derive(Default)]
struct Registries {
    debian: OnceLock<Result<Vec<String>, String>>,
    python: OnceLock<Result<String, String>>,
    npm: OnceLock<Result<String, String>>,
    hub: OnceLock<Result<Hub, String>>,
}

impl Registries {
    fn debian(&self) -> Result<&[String]> {
        let found =
            self.debian.get_or_init(|| configuration::debian_mirrors().map_err(|error| format!("{error:#}")));
        found.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn npm(&self) -> Result<&str> {
        let found =
            self.npm.get_or_init(|| configuration::npm_registry().map_err(|error| format!("{error:#}")));
        found.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn python(&self) -> Result<&str> {
        let found =
            self.python.get_or_init(|| configuration::python_index().map_err(|error| format!("{error:#}")));
        found.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn hub(&self, agent: &ureq::Agent, options: &FetchOptions) -> Result<&Hub> {
        let found = self.hub.get_or_init(|| {
            Hub::open(agent.clone(), options.endpoint.as_deref()).map_err(|error| format!("{error:#}"))
        });
        found.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }
}

/// Inputs that could not be brought into the store: what is made from them has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// What was tried for each, and what to do.
    pub problems: String,
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problems)
    }
}

impl std::error::Error for Unavailable {}

/// Fetches every input that the store lacks. All problems are reported together, as [`Unavailable`].
pub fn fetch(
    store: &Store,
    inputs: &[&Input],
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<()> {
    let mut missing: Vec<&Input> =
        inputs.iter().copied().filter(|input| !store.contains(&input.digest)).collect();
    missing.sort_by_key(|input| std::cmp::Reverse(input.digest.size));
    missing.dedup_by_key(|input| input.digest);
    if missing.is_empty() {
        return Ok(());
    }
    let total = missing.iter().map(|input| input.digest.size).sum();
    let meter = progress.begin(&format!("fetching {} inputs", missing.len()), total, Unit::Bytes);
    let registries = Registries::default();
    let agent = client::agent(options.patience);
    let queue = Mutex::new(missing.iter());
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.connections.clamp(1, missing.len()) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                    let Some(input) = next else { break };
                    let result = fetch_one(store, input, options, &registries, &agent, progress);
                    meter.add(input.digest.size);
                    if let Err(error) = result {
                        problems
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .push((input.name.clone(), format!("{error:#}")));
                    }
                }
            });
        }
    });
    let mut problems = problems.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    problems.sort();
    if problems.is_empty() {
        return Ok(());
    }
    let (names, mut problems): (Vec<_>, Vec<_>) = problems.into_iter().unzip();
    // That a registry is not configured is a problem of all that it has.
    let mut told = BTreeSet::new();
    problems.retain(|problem| told.insert(problem.clone()));
    Err(Unavailable { names, problems: problems.join("\n") }.into())
}

fn fetch_one(
    store: &Store,
    input: &Input,
    options: &FetchOptions,
    registries: &Registries,
    agent: &ureq::Agent,
    progress: &dyn Progress,
) -> Result<()> {
    let name = input.name.as_str();
    if let Some(directory) = &options.vendored
        && vendor::take(store, input, directory)?
    {
        return Ok(());
    }
    if let Source::Path { path, .. } = &input.source {
        bail!(
            "`{name}` was given as {}, and is no longer in the store\n  hint: give it again",
            path.display()
        );
    }
    ensure!(
        !options.offline,
        "`{name}` is not in the store, and nothing may be downloaded\n  hint: leave `--offline` out, or give `--vendored DIR`"
    );
    let addresses: Vec<Address> = match &input.source {
        Source::Pypi { package, file, .. } => {
            vec![index::python_file(agent, registries.python()?, package, file)?.url.into()]
        }
        Source::Debian { pool, .. } | Source::DebianSource { pool, .. } => {
            registries.debian()?.iter().map(|mirror| format!("{mirror}/{pool}").into()).collect()
        }
        Source::Crate { package, version } => {
            let path = index::crate_file(package, version)?;
            let digest = store.put_file(&path)?;
            ensure!(
                digest == input.digest,
                "crate `{package}` {version} has sha256 {}, not that of the lock",
                digest.hex()
            );
            return Ok(());
        }
        Source::Cargo { .. } => {
            return cargo::fetch(store, input).with_context(|| format!("cannot fetch `{name}`"));
        }
        Source::Npm { package, version } => vec![index::npm_file(registries.npm()?, package, version).into()],
        Source::Git { .. } => {
            let meter = progress.begin(name, 0, Unit::Bytes);
            meter.message("git fetch");
            return git::fetch(store, input, options.patience)
                .with_context(|| format!("cannot fetch `{name}`"));
        }
        Source::MicrosoftSdk { .. } => {
            return microsoft::fetch(store, input, options, progress)
                .with_context(|| format!("cannot fetch `{name}`"));
        }
        Source::HuggingFace { .. } => vec![hub::address(registries.hub(agent, options)?, &input.source)?],
        Source::Https { urls, .. } => urls.iter().cloned().map(Address::from).collect(),
        Source::Path { .. } => bail!("`{name}` is a path"),
    };
    let meter = progress.begin(name, input.digest.size, Unit::Bytes);
    download(store, agent, name, &addresses, &input.digest, meter.as_ref(), progress)
}
