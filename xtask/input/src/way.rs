//! The ways to an input, in order: the vendored directory, mirrors by digest, the live address of its ecosystem, the
//! ecosystem's archive. Whatever comes on one of them is checked by size and SHA-256; what is something else is named, and the
//! next way taken.

use crate::{
    Input, Source,
    apt::Release,
    archive::Archive,
    cargo,
    client::{Address, Client, Failure, Kind},
    configuration,
    download::{Download, Job},
    fetch::{FetchOptions, NOT_IN_STORE, Problem, Unavailable, is_local},
    git,
    hub::{self, Hub},
    index, microsoft,
    mirror::Mirror,
    url::without_credentials,
    vendor,
};
use anyhow::{Result, bail, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, OnceLock, PoisonError},
};
use store::{Hinted, Meter, Progress, Store, Unit, find};

/// What was tried for an input.
#[derive(Debug, Default)]
pub struct Gone {
    /// A line for each way.
    pub tried: Vec<String>,
    /// What can be done.
    pub hints: BTreeSet<String>,
    /// Lines of `tried` that name something else than what the lock says.
    wrong: Vec<String>,
    /// Addresses that lack it.
    lacking: Vec<String>,
}

impl Gone {
    /// One more way that failed, with what can be done about it.
    fn failed(&mut self, error: &anyhow::Error) {
        self.tried.push(format!("{error:#}"));
        self.learn(error);
    }

    fn learn(&mut self, error: &anyhow::Error) {
        self.hints.extend(store::hints(error).map(str::to_owned));
        self.hints.extend(find::<Unavailable>(error).into_iter().flat_map(|it| it.hints.clone()));
    }

    fn hint(&mut self, hint: &str) {
        self.hints.insert(hint.to_owned());
    }
}

/// Fetches inputs, one by one.
pub struct Fetcher<'a> {
    store: &'a Store,
    options: &'a FetchOptions,
    client: Client,
    mirrors: Vec<Mirror>,
    hub: OnceLock<Result<Hub>>,
    progress: &'a dyn Progress,
    /// How many files came from the dated archives, by day.
    dated: Mutex<BTreeMap<String, usize>>,
    /// What a current archive is that lacks a file.
    diagnoses: Mutex<BTreeMap<String, String>>,
}

impl<'a> Fetcher<'a> {
    /// A fetcher that has asked nothing yet.
    ///
    /// # Errors
    /// If a mirror is neither an address nor a repository.
    pub fn new(store: &'a Store, options: &'a FetchOptions, progress: &'a dyn Progress) -> Result<Self> {
        Ok(Self {
            mirrors: Mirror::all(options)?,
            store,
            options,
            client: options.network.client(options.patience),
            hub: OnceLock::new(),
            progress,
            dated: Mutex::default(),
            diagnoses: Mutex::default(),
        })
    }

    /// Where mirrors have an input, if they do; what keeps one from saying so goes to `problems`.
    pub fn mirrors(&self, input: &Input, problems: &mut Vec<String>) -> Vec<Address> {
        let mut addresses = Vec::new();
        for mirror in &self.mirrors {
            match mirror.address(input) {
                Ok(address) => addresses.push(address),
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        addresses
    }

    /// Says what came from elsewhere than usual.
    pub fn report(&self) {
        for (day, count) in self.dated.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let packages = if *count == 1 { "package" } else { "packages" };
            self.progress.note(&format!("{count} {packages} from the archive of {day}"));
        }
    }

    /// Takes the first way that has the input.
    ///
    /// # Errors
    /// If none has it, or this machine fails.
    pub fn fetch(&self, input: &Input) -> Result<(), Problem> {
        let mut gone = Gone::default();
        if !self.find(input, &mut gone).map_err(Problem::Local)? {
            return Err(Problem::Gone(gone));
        }
        for line in &gone.wrong {
            self.progress.note(&format!("`{}` was passed over, and came another way: {line}", input.name));
        }
        Ok(())
    }

    /// Whether a way has the input. Errors are those of this machine.
    fn find(&self, input: &Input, gone: &mut Gone) -> Result<bool> {
        if let Some(directory) = &self.options.vendored {
            match vendor::take(self.store, input, directory) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) if is_local(&error) => return Err(error),
                Err(error) => {
                    gone.wrong.push(format!("{error:#}"));
                    gone.failed(&error);
                }
            }
        }
        if let Source::Path { path, .. } = &input.source {
            gone.tried.push(format!("it was given as {}, and is no longer in the store", path.display()));
            gone.hint("give it again");
            return Ok(false);
        }
        if self.options.offline {
            gone.tried.push(NOT_IN_STORE.to_owned());
            gone.hint("remove `--offline`, or pass `--vendored DIR`");
            return Ok(false);
        }
        if let Source::MicrosoftSdk { release, .. } = &input.source
            && let Err(error) = microsoft::require_license(self.store, &input.name, release, self.options)
        {
            gone.failed(&error);
            return Ok(false);
        }
        let meter = self.progress.begin(&input.name, input.digest.size, Unit::Bytes);
        let meter = meter.as_ref();
        let mirrors = self.mirrors(input, &mut gone.tried);
        if self.first_of(input, &mirrors, gone, meter)?.is_some() {
            return Ok(true);
        }
        let live = match self.addresses(input) {
            Ok(Some(addresses)) => Ok(self.first_of(input, &addresses, gone, meter)?.is_some()),
            Ok(None) => self.run_tool(input, meter).map(|()| true),
            Err(error) => Err(error),
        };
        match live {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) if is_local(&error) => return Err(error),
            Err(error) => gone.failed(&error),
        }
        match &input.source {
            Source::Debian { pool, .. } | Source::DebianSource { pool, .. } => {
                self.dated(input, pool, gone, meter)
            }
            _ => Ok(false),
        }
    }

    /// The address that had it, by its place among `addresses`. Errors are those of this machine.
    fn first_of(
        &self,
        input: &Input,
        addresses: &[Address],
        gone: &mut Gone,
        meter: &dyn Meter,
    ) -> Result<Option<usize>> {
        if addresses.is_empty() {
            return Ok(None);
        }
        let job = Job { store: self.store, client: &self.client, meter, progress: self.progress };
        let Some(mut download) = Download::begin(job, &input.digest)? else { return Ok(Some(0)) };
        for (index, address) in addresses.iter().enumerate() {
            let Failure { error, kind } = match download.receive(address) {
                Ok(()) => {
                    download.keep()?;
                    return Ok(Some(index));
                }
                Err(failure) => failure,
            };
            // What is said of a server that was given up holds for all of its files.
            let line = match kind {
                Kind::Local => return Err(error),
                Kind::Skipped => format!("{error:#}"),
                _ => format!("{}: {error:#}", without_credentials(&address.url)),
            };
            gone.learn(&error);
            match kind {
                Kind::Wrong => gone.wrong.push(line.clone()),
                Kind::Status { status: 404 | 410, .. } => gone.lacking.push(address.url.clone()),
                _ => {}
            }
            gone.tried.push(line);
        }
        Ok(None)
    }

    /// Where the ecosystem of an input has it; nothing where a tool of the ecosystem fetches.
    ///
    /// # Errors
    /// If no registry is configured, or it does not know the input.
    pub fn addresses(&self, input: &Input) -> Result<Option<Vec<Address>>> {
        let (client, network) = (&self.client, &self.options.network);
        Ok(Some(match &input.source {
            Source::Pypi { package, file, .. } => {
                vec![index::python_file(client, network.python()?, package, file, self.progress)?.url.into()]
            }
            Source::Debian { pool, .. } | Source::DebianSource { pool, .. } => {
                network.debian()?.iter().map(|mirror| format!("{mirror}/{pool}").into()).collect()
            }
            Source::Npm { package, version } => {
                vec![index::npm_file(network.npm()?, package, version).into()]
            }
            Source::HuggingFace { .. } => {
                let open = || Hub::open(client.clone(), self.options.endpoint.as_deref());
                let hub = self.hub.get_or_init(open).as_ref();
                vec![hub::address(hub.map_err(Hinted::copy_of)?, &input.source)?]
            }
            Source::Https { urls, .. } => urls.iter().cloned().map(Address::from).collect(),
            Source::Crate { .. }
            | Source::Cargo { .. }
            | Source::Git { .. }
            | Source::MicrosoftSdk { .. }
            | Source::Path { .. } => return Ok(None),
        }))
    }

    /// Fetches by a tool of the ecosystem.
    fn run_tool(&self, input: &Input, meter: &dyn Meter) -> Result<()> {
        match &input.source {
            Source::Crate { package, version } => {
                let digest = self.store.put_file(&index::crate_file(package, version)?)?;
                ensure!(
                    digest == input.digest,
                    "crate `{package}` {version} has sha256 {}, not that of the lock",
                    digest.hex()
                );
                Ok(())
            }
            Source::Cargo { .. } => cargo::fetch(self.store, input),
            Source::Git { .. } => {
                meter.message("git fetch");
                git::fetch(self.store, input, self.options.patience)
            }
            Source::MicrosoftSdk { .. } => microsoft::fetch(self.store, input, self.options, self.progress),
            _ => bail!("no tool fetches `{}`", input.name),
        }
    }

    /// The last way of a Debian package: the archive as it was when the package was locked.
    fn dated(&self, input: &Input, pool: &str, gone: &mut Gone, meter: &dyn Meter) -> Result<bool> {
        let mut lacking: Vec<String> = self.options.network.debian().unwrap_or_default().to_vec();
        lacking.retain(|mirror| gone.lacking.contains(&format!("{mirror}/{pool}")));
        let mut addresses: Vec<(Address, &Archive)> = Vec::new();
        let states = self.options.archives_of(input);
        for archive in states {
            match self.options.network.snapshots(archive, &self.client, &lacking) {
                Ok(snapshots) => addresses.extend(
                    snapshots.iter().map(|snapshot| (Address::from(format!("{snapshot}/{pool}")), archive)),
                ),
                Err(error) => gone.failed(&error),
            }
        }
        let (addresses, archives): (Vec<Address>, Vec<&Archive>) = addresses.into_iter().unzip();
        {
            let _turn = self.options.network.archive_turn();
            if let Some(index) = self.first_of(input, &addresses, gone, meter)? {
                let mut dated = self.dated.lock().unwrap_or_else(PoisonError::into_inner);
                *dated.entry(archives[index].day().to_owned()).or_default() += 1;
                return Ok(true);
            }
        }
        for mirror in &lacking {
            let mut diagnoses = self.diagnoses.lock().unwrap_or_else(PoisonError::into_inner);
            let diagnose = || diagnose(&self.client, mirror, states.first());
            gone.hint(diagnoses.entry(mirror.clone()).or_insert_with(diagnose));
        }
        if let (true, Some(archive)) = (addresses.is_empty(), states.first()) {
            gone.hint(&format!(
                "where there is a dated archive, its state of {} has it: MLC_REPRO_DEBIAN_SNAPSHOT is its address, with @SNAPSHOTID@ where the date goes",
                archive.day()
            ));
        }
        Ok(false)
    }
}

/// Why a current archive of Debian lacks a package, and what to do: it is asked for its Release file.
pub fn diagnose(client: &Client, mirror: &str, archive: Option<&Archive>) -> String {
    let shown = without_credentials(mirror);
    let from =
        if configuration::is_debian_chosen() { configuration::DEBIAN_MIRROR } else { "apt's configuration" };
    let Some(archive) = archive else {
        return format!(
            "where {shown} (from {from}) is an archive of Debian, it drops a version when a newer one comes; `cargo xtask lock update` asks for that"
        );
    };
    let Ok(release) = Release::fetch(client, &archive.release_url(mirror)) else {
        return format!(
            "{shown} (from {from}) has no suite `{}`: is it an archive of Debian?",
            archive.suite
        );
    };
    if !release.is_debian() {
        let whose = release.origin.as_deref().unwrap_or("somebody who does not say so");
        return format!("{shown} (from {from}) is an archive of {whose}, not of Debian");
    }
    match Archive::of(&archive.suite, &release) {
        // RFC 3339 in UTC sorts by time.
        Ok(now) if now.date > archive.date => format!(
            "{shown} has a newer state ({}) than the lock ({}), and an archive drops a version when a newer one comes; `cargo xtask lock update` asks for that",
            now.day(),
            archive.day()
        ),
        Ok(now) if now.date < archive.date => format!(
            "{shown} has an older state ({}) than the lock ({}): it has yet to be brought up to date",
            now.day(),
            archive.day()
        ),
        _ => format!(
            "{shown} has the state of the lock ({}), and should have it: is the mirror incomplete?",
            archive.day()
        ),
    }
}
