//! What this machine's registries are, for `doctor`.

use crate::{Input, Source, fetch::FetchOptions, url::without_credentials, way::diagnose};
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use store::hinted;

/// The Python package index, without credentials.
///
/// # Errors
/// If none is configured.
pub fn python_registry(options: &FetchOptions) -> Result<String> {
    options.network.python().map(without_credentials)
}

/// The Debian archives, without credentials, and whether they have `sample`, a locked package: one request for its headers.
///
/// # Errors
/// If none is configured, or none has it. The message says what can be done.
pub fn debian_registry(options: &FetchOptions, sample: Option<&Input>) -> Result<String> {
    let mirrors = options.network.debian()?;
    let shown: Vec<String> = mirrors.iter().map(|mirror| without_credentials(mirror)).collect();
    let shown = shown.join(", ");
    let Some((input, Source::Debian { pool, version, .. })) = sample.map(|input| (input, &input.source))
    else {
        return Ok(shown);
    };
    if options.offline {
        return Ok(format!("{shown}, not asked (`--offline`)"));
    }
    let client = options.network.client(options.patience);
    let (mut problems, mut hints) = (Vec::new(), BTreeSet::new());
    for mirror in mirrors {
        let address = format!("{mirror}/{pool}").into();
        match client.persist(&address, &store::Silent, || client.look(&address)) {
            Ok(_) => {
                return Ok(format!("{shown}; has what the locks name (asked for {} {version})", input.name));
            }
            Err(failure) => {
                let line = format!("{}: {:#}", without_credentials(&address.url), failure.error);
                if failure.status() == Some(404) {
                    hints.insert(diagnose(&client, mirror, options.archives_of(input).first()));
                }
                problems.push(line);
            }
        }
    }
    let message =
        format!("no archive has {} {version}, which is locked: {}", input.name, problems.join("\n"));
    match hints.is_empty() {
        true => bail!(message),
        false => bail!(hinted(message, Vec::from_iter(hints).join("; "))),
    }
}
