//! What is known of a fetch before it begins: what there is to fetch, and servers that do not answer.

use crate::{
    FetchOptions, Input, Source, Unavailable,
    client::{Address, Kind},
    fetch::{bytes, listed},
    url::{self, without_credentials},
    way::Fetcher,
};
use anyhow::Result;
use std::{collections::BTreeMap, time::Duration};
use store::{Progress, Store};

/// How long a server may say nothing before the work is not begun. A download waits longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two questions to a server whose connection broke.
const PAUSE: Duration = Duration::from_millis(500);

/// The inputs that neither the store nor the vendored directory has, each file once, the largest first.
pub fn to_fetch<'a>(store: &Store, inputs: &[&'a Input], options: &FetchOptions) -> Vec<&'a Input> {
    let mut missing: Vec<&Input> = inputs.to_vec();
    missing.sort_by_key(|input| (std::cmp::Reverse(input.digest.size), input.digest));
    missing.dedup_by_key(|input| input.digest);
    missing.retain(|input| !options.is_vendored(input) && !store.contains(&input.digest));
    missing
}

/// Of what is to be fetched, that which stands on a server of its own, and not in a registry, and whose server does not answer:
/// one request a server. With mirrors nobody is asked, since they may have it.
///
/// # Errors
/// If a mirror is neither an address nor a repository.
pub fn unreachable(
    store: &Store,
    inputs: &[&Input],
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Vec<Unavailable>> {
    if options.offline || !options.mirrors.is_empty() {
        return Ok(Vec::new());
    }
    let fetcher = Fetcher::new(store, options, progress)?;
    // By what keeps them away.
    let mut away: BTreeMap<String, Vec<&Input>> = BTreeMap::new();
    let mut servers: BTreeMap<String, Vec<(&Input, Address)>> = BTreeMap::new();
    for input in inputs {
        let addresses = match &input.source {
            Source::Git { url, .. } => Ok(Some(vec![Address::from(url.clone())])),
            Source::Https { .. } | Source::HuggingFace { .. } => fetcher.addresses(input),
            _ => continue,
        };
        match addresses.map(Option::unwrap_or_default).as_deref() {
            // Where there are several, one of them may have it.
            Ok([address]) => {
                let server = url::server(&address.url).unwrap_or_default();
                servers.entry(server).or_default().push((input, address.clone()));
            }
            Ok(_) => {}
            Err(error) => away.entry(format!("{error:#}")).or_default().push(input),
        }
    }
    let client = options.network.client(options.patience.min(PATIENCE));
    for inputs in servers.into_values() {
        let Some((_, Address { url, .. })) = inputs.first() else { continue };
        // Without its token: what the server says is not asked for, only whether it does. A connection that breaks may hold the
        // next time.
        let mut answer = client.look(&Address::from(url.clone()));
        if answer.as_ref().is_err_and(|failure| failure.kind == Kind::Broken) {
            std::thread::sleep(PAUSE);
            answer = client.look(&Address::from(url.clone()));
        }
        if let Err(failure) = answer
            && matches!(failure.kind, Kind::Dead | Kind::Broken)
        {
            let why = format!("{}: {:#}", without_credentials(url), failure.error);
            away.entry(why).or_default().extend(inputs.iter().map(|(input, _)| *input));
        }
    }
    Ok(away.into_iter().map(|(why, inputs)| unavailable(&why, &inputs)).collect())
}

fn unavailable(why: &str, inputs: &[&Input]) -> Unavailable {
    let mut names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
    names.sort();
    let size = bytes(inputs.iter().copied()) / 1_000_000;
    Unavailable {
        names,
        problems: format!("cannot fetch {} ({size} MB)\n  {why}", listed(inputs)),
        hints: vec![
            "a copy of your own is taken with `--input NAME=PATH`, one from a machine that reaches it with `--vendored DIR` or `--mirror URL` (docs/inputs.md)"
                .to_owned(),
        ],
    }
}
