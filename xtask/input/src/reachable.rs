//! Which locked inputs their ecosystems still have, before somebody needs them. Nothing is downloaded: packages are looked up,
//! and files are asked for their headers.

use crate::{
    FetchOptions, Input, Source,
    client::{Address, Client, Failure},
    git, index,
    url::without_credentials,
    way::Fetcher,
};
use anyhow::{Result, anyhow};
use std::sync::{Mutex, PoisonError};
use store::{Progress, Store, Unit};
use ureq::http::header;

/// Whether an input can still be had.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Reach {
    /// The input.
    pub name: String,
    /// The ecosystem has it.
    pub live: bool,
    /// A mirror by digest has it; without mirrors, false.
    pub mirrored: bool,
    /// Why the ecosystem does not have it, a line for each address.
    pub problems: Vec<String>,
}

/// Looks every input up, each file once, and gives those that the ecosystem or, where there are mirrors, no mirror has, by name.
///
/// # Errors
/// If a mirror is neither an address nor a repository.
pub fn reach(
    store: &Store,
    inputs: &[&Input],
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Vec<Reach>> {
    let mut files: Vec<&Input> = inputs.to_vec();
    files.sort_by_key(|input| input.digest);
    files.dedup_by_key(|input| input.digest);
    let meter =
        progress.begin(&format!("looking {} inputs up", files.len()), files.len() as u64, Unit::Items);
    let fetcher = Fetcher::new(store, options, progress)?;
    let client = options.network.client(options.patience);
    let queue = Mutex::new(files.iter());
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.connections.clamp(1, files.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(input) = next else { break };
                    let problems = look_up(&fetcher, &client, input, options, progress);
                    let mirrors = fetcher.mirrors(input, &mut Vec::new());
                    let mirrored =
                        mirrors.iter().any(|mirror| look(&client, mirror, input, progress).is_ok());
                    let (live, problems) = match problems {
                        Ok(()) => (true, Vec::new()),
                        Err(problems) => (false, problems),
                    };
                    let reach = Reach { name: input.name.clone(), live, mirrored, problems };
                    found.lock().unwrap_or_else(PoisonError::into_inner).push(reach);
                    meter.add(1);
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Errors: a line for each address that does not have it.
fn look_up(
    fetcher: &Fetcher,
    client: &Client,
    input: &Input,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<(), Vec<String>> {
    let one = |result: Result<()>| result.map_err(|error| vec![format!("{error:#}")]);
    match &input.source {
        Source::Crate { package, version } => {
            return one(index::look_crates_up(&[(package.as_str(), version.as_str())]));
        }
        Source::Cargo { crates } => {
            let crates: Vec<_> = crates.iter().map(|one| (one.name.as_str(), one.version.as_str())).collect();
            return one(index::look_crates_up(&crates));
        }
        Source::Git { url, revision, submodules, .. } => {
            let parts = submodules.iter().map(|part| (&part.url, &part.revision));
            return one(std::iter::once((url, revision))
                .chain(parts)
                .try_for_each(|(url, revision)| git::look_up(url, revision, options.patience)));
        }
        // All of its files are needed.
        Source::MicrosoftSdk { release, payloads, .. } => {
            let files = std::iter::once(&release.manifest).chain(payloads);
            let problems: Vec<String> = files
                .filter_map(|file| {
                    let file = file.input(&input.name).ok()?;
                    look_at_all(client, &fetcher.addresses(&file).ok()??, &file, progress).err()
                })
                .flatten()
                .collect();
            return if problems.is_empty() { Ok(()) } else { Err(problems) };
        }
        _ => {}
    }
    match fetcher.addresses(input) {
        Ok(Some(addresses)) => look_at_all(client, &addresses, input, progress),
        Ok(None) => Ok(()),
        Err(error) => Err(vec![format!("{error:#}")]),
    }
}

/// Errors: none of the addresses has it.
fn look_at_all(
    client: &Client,
    addresses: &[Address],
    input: &Input,
    progress: &dyn Progress,
) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    for address in addresses {
        match look(client, address, input, progress) {
            Ok(()) => return Ok(()),
            Err(failure) => {
                problems.push(format!("{}: {:#}", without_credentials(&address.url), failure.error))
            }
        }
    }
    Err(problems)
}

/// Errors: the address does not have a file of this size.
fn look(client: &Client, address: &Address, input: &Input, progress: &dyn Progress) -> Result<(), Failure> {
    let headers = client.persist(address, progress, || {
        // A redirection of a hub's is its promise; the server behind it is not ours to ask with a token.
        if address.token.is_some() {
            return client.head(address).map(|_| None);
        }
        match client.look(address) {
            Err(failure) if matches!(failure.status(), Some(405 | 501)) => {
                client.get(address, &[(header::RANGE, "bytes=0-0".to_owned())]).map(|_| None)
            }
            other => other.map(Some),
        }
    })?;
    let length =
        headers.and_then(|headers| headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length != input.digest.size => Err(Failure::wrong(anyhow!(
            "it has a file of {length} bytes, not of the {} of the lock",
            input.digest.size
        ))),
        _ => Ok(()),
    }
}
