//! Options that every command takes, and what they open.

use crate::{events::Json, place::Place, progress::Bars, remote::Remote};
use anyhow::{Context, Result, ensure};
use artifact::ArchivePeer;
use builder::Project;
use environment::{Backend, Docker, Limits, Nix, Sandbox};
use input::{FetchOptions, Model, Network, ServerPeer};
use operation::Session;
use remote::{Cache, Failure, Reason, Remote as Cluster};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use store::{DirectoryPeer, Peer, Progress, Rehash, Store, WithHint, find, hinted};

/// Inputs of the user's own, for the commands that build.
#[derive(Clone, Default, clap::Args)]
pub struct GivenInputs {
    /// Take an input from a file or directory of this machine, such as an NDK that is there already
    ///
    /// It counts as the locked input when it is that, byte for byte. Otherwise it is used all the same, release.json
    /// records it as unpinned, and `verify` refuses the release. For a model, by its name in models/, the directory of a
    /// checkpoint, whose files must be the locked ones. Example: `--input android-ndk=~/android-ndk-r27c`
    #[arg(long = "input", value_name = "NAME=PATH", value_parser = given_input)]
    inputs: Vec<(String, PathBuf)>,
}

fn given_input(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err("expected NAME=PATH, such as android-ndk=/opt/android-ndk-r27c".to_owned()),
    }
}

impl GivenInputs {
    /// Puts them in the place of the locked ones, and says of each that is not pinned that it is not.
    pub fn apply(&self, project: &mut Project, store: &Store, progress: &Bars) -> Result<()> {
        for (name, path) in &self.inputs {
            if let Some(model) = Model::find(&project.root, name)? {
                model.take(store, &project.root, path, progress)?;
                continue;
            }
            if project.give(store, name, path)? {
                continue;
            }
            // A lock that was written where the archive could not be reached does not say what is in it.
            let locked = project.inputs.get(name);
            let is_unknown = path.is_dir()
                && locked
                    .is_some_and(|locked| locked.source.tree().is_none() && !store.contains(&locked.digest));
            let why = match is_unknown {
                true => {
                    "can't be compared, since recipes/inputs.lock has no `tree` of it (`cargo xtask lock update inputs` writes that where its address answers; the archive itself can be given too)"
                }
                false => "is not what recipes/inputs.lock pins",
            };
            progress.note(&format!(
                "`{name}` from {} {why}: what is built from it can't be verified",
                path.display()
            ));
        }
        Ok(())
    }
}

/// Whose results are taken, for the commands that build.
#[derive(Clone, Default, clap::Args)]
pub struct Others {
    /// Take results from a store, an archive that `store export` wrote, or a server; may be given several times
    ///
    /// DIR is a store or an unpacked archive, URL a server of such a directory. What they have is not built here: they are
    /// trusted, release.json says of every step whose it is, and `verify --rebuild` builds all of it. Blobs are checked by
    /// digest. MLC_REPRO_FROM names some as well, separated by spaces. NAME is what release.json says [default: the last part
    /// of the path, or the server's name].
    #[arg(long = "from", value_name = "[NAME=]DIR|FILE|URL")]
    from: Vec<String>,
    /// Take results and inputs from a server of the Remote Execution API, as long as it answers (docs/remote.md)
    ///
    /// URL is grpc://HOST:PORT, grpcs://HOST:PORT with TLS, or unix:PATH. Its results are trusted as those of `--from` are, blobs
    /// are checked by digest, and `verify --rebuild` asks nobody. NAME is what release.json says [default: the server's name].
    /// Example: `--cache team=grpcs://cache.example:443`
    #[arg(long, env = "MLC_REPRO_CACHE", value_name = "[NAME=]URL")]
    cache: Option<String>,
    /// Give the cache what is built here, and the inputs that may be passed on
    #[arg(long, requires = "cache")]
    cache_upload: bool,
}

impl Others {
    /// Opens them. That they are named here is why they are trusted; a policy would decide it in this place.
    pub fn open(&self, global: &Global) -> Result<Vec<Box<dyn Peer>>> {
        let configured = std::env::var("MLC_REPRO_FROM").unwrap_or_default();
        let all = self.from.iter().map(String::as_str).chain(configured.split_whitespace());
        let mut peers = all
            .map(|text| {
                let (name, place) = peer_name(text)?;
                global.progress().line(&format!("results of `{name}` are trusted, and not built here"));
                let path = Path::new(place);
                Ok(match place {
                    _ if place.contains("://") => {
                        Box::new(ServerPeer::new(&name, place, &global.fetch_options())?) as Box<dyn Peer>
                    }
                    _ if path.is_dir() => Box::new(DirectoryPeer::open(&name, path)?),
                    _ => Box::new(ArchivePeer::open(&name, path)?),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        peers.extend(self.open_cache(global)?);
        if global.backend == BackendKind::Remote {
            // What a cluster has of somebody is his word; what it runs for us is not looked up there.
            let (name, url) = peer_name(global.remote.cluster()?)?;
            let options = global.remote.options(url, &global.progress())?;
            peers.push(Box::new(Cache::open(&name, &options, false)?));
        }
        Ok(peers)
    }

    /// Opens the cache, if one is named and answers. One that does not is no reason not to build; one that answers something else
    /// than it should is.
    fn open_cache(&self, global: &Global) -> Result<Option<Box<dyn Peer>>> {
        let Some(text) = &self.cache else { return Ok(None) };
        let (name, url) = peer_name(text)?;
        ensure!(!global.offline, "`--cache {url}` asks the network, and `--offline` forbids it");
        let options = global.remote.options(url, &global.progress())?;
        match Cache::open(&name, &options, self.cache_upload) {
            Ok(cache) => {
                let progress = global.progress();
                progress.line(&format!("results of `{name}` are trusted, and not built here ({url})"));
                Ok(Some(Box::new(cache)))
            }
            Err(error) if find::<Failure>(&error).is_some_and(|it| it.reason == Reason::Unreachable) => {
                global.progress().note(&format!("{error:#}; nothing is taken from there"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// What somebody is called whose results are taken, and where they are.
fn peer_name(text: &str) -> Result<(String, &str)> {
    if let Some((name, place)) = text.split_once('=')
        && !name.contains(['/', ':'])
    {
        return Ok((check_name(name)?, place));
    }
    Ok((default_name(text), text))
}

/// What a name for release.json may be: letters, digits, `.`, `_` and `-`.
pub fn check_name(name: &str) -> Result<String> {
    ensure!(
        name.len() <= 64 && name == default_name(name),
        "`{}` can't be the name of whoever made results: it needs letters and digits, at most 64, and `.`, `_`, `-` between",
        name.escape_debug()
    );
    Ok(name.to_owned())
}

/// The name that a path or address gives.
pub fn default_name(place: &str) -> String {
    let place = place.trim_end_matches('/');
    let part = match place.split_once("://") {
        Some((_, rest)) => {
            let host = rest.split('/').next().unwrap_or_default();
            let host = host.rsplit('@').next().unwrap_or_default();
            host.rsplit_once(':').map_or(host, |(host, _)| host)
        }
        None => {
            let last = place.rsplit('/').next().unwrap_or_default();
            last.strip_suffix(".tar").unwrap_or(last)
        }
    };
    let plain: String =
        part.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
    let plain: String = plain.trim_matches(['.', '-', '_']).chars().take(64).collect();
    let plain = plain.trim_end_matches(['.', '-', '_']);
    match plain {
        "" => "somebody".to_owned(),
        _ => plain.to_owned(),
    }
}

/// Options of every command.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The store's directory [default: mlc-repro in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long, global = true, env = "MLC_REPRO_STORE", value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Processors that builds may use [default: all]
    #[arg(long, short, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Fail rather than download
    #[arg(long, global = true)]
    pub offline: bool,
    /// Hash everything from the store that enters a build, a release or an export, however recently it was hashed
    #[arg(long, global = true)]
    pub verify_inputs: bool,
    /// Hash what enters a build, a release or an export again after this many days
    #[arg(long, global = true, env = "MLC_REPRO_VERIFY_AGE", value_name = "DAYS", default_value_t = 7)]
    pub verify_age: u16,
    /// Take inputs from a directory that `vendor` wrote
    #[arg(long, global = true, value_name = "DIR")]
    pub vendored: Option<PathBuf>,
    /// Take inputs from a server that holds them as `vendor` lays them out (URL/sha256/HEX), or from a repository of a registry
    /// (oci://HOST/NAME); may be given several times
    ///
    /// Asked in order, before the registries; whatever comes is checked by size and SHA-256. MLC_REPRO_MIRROR names servers
    /// as well, separated by spaces.
    #[arg(long = "mirror", global = true, value_name = "URL")]
    pub mirrors: Vec<String>,
    /// What is known of the network, by all that this process fetches
    #[arg(skip)]
    pub network: Network,
    /// How actions are run; every way gives the same bytes
    #[arg(long, global = true, env = "MLC_REPRO_BACKEND", value_enum, default_value_t = BackendKind::Sandbox)]
    pub backend: BackendKind,
    /// Limit what one build may take: time=2h, memory=16G, processes=4096, outputs=8G; may be given several times
    ///
    /// A build that takes more is ended, and the log says why. A recipe that says in `[limits]` that it needs more gets it. Nothing is
    /// limited by default.
    #[arg(long = "limit", global = true, env = "MLC_REPRO_LIMITS", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = limit)]
    pub limits: Vec<String>,
    /// The sysroot that Windows artifacts are made with, instead of the one that recipes name (`microsoft`; docs/windows.md)
    #[arg(long, global = true, env = "MLC_REPRO_SYSROOT", value_name = "NAME")]
    pub sysroot: Option<String>,
    /// Accept the license of what is fetched, where one has to be accepted; remembered in the store
    #[arg(long, global = true)]
    pub accept_license: bool,
    /// Print JSON on standard output instead of text: one document at the end, or with `--json=events` one event a line (docs/json.md)
    #[arg(
        long = "json",
        id = "json",
        global = true,
        value_enum,
        value_name = "WHAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "document",
        hide_possible_values = true
    )]
    pub json_output: Option<Json>,
    /// How progress is shown: `terminal`, `plain`, `github` or `gitlab` [default: what the environment says]
    #[arg(
        long = "progress",
        id = "progress",
        global = true,
        env = "MLC_REPRO_PROGRESS",
        value_enum,
        value_name = "PLACE",
        default_value_t = Place::Auto,
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub place: Place,
    /// No progress, no summary
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    // Its heading goes on to whatever stands behind it.
    #[command(flatten)]
    pub remote: Remote,
}

/// A setting of a limit, checked.
fn limit(text: &str) -> Result<String, String> {
    Limits::default().set(text).map(|()| text.to_owned()).map_err(|error| format!("{error:#}"))
}

/// A way to run actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendKind {
    /// Namespaces of this machine, by bubblewrap out of locked packages
    Sandbox,
    /// Containers of Docker or podman: DOCKER_HOST, Docker's context or the usual sockets say where
    Docker,
    /// Nix's own sandbox, with a Nix store inside ours
    Nix,
    /// Workers of a cluster of the Remote Execution API, which `--remote` names
    Remote,
}

impl BackendKind {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Docker => "docker",
            Self::Nix => "nix",
            Self::Remote => "remote",
        }
    }

    fn open(self, session: &Session<'_>, settings: &[String], remote: &Remote) -> Result<Box<dyn Backend>> {
        let mut limits = Limits::default();
        settings.iter().try_for_each(|setting| limits.set(setting))?;
        let Session { project, store, fetch, progress, .. } = session;
        let tools = || {
            let (definition, lock) = project.environment("sandbox")?;
            environment::assemble(store, "sandbox", &definition, &lock, fetch, *progress)
        };
        Ok(match self {
            Self::Sandbox => Box::new(Sandbox::new(store, &tools()?, *progress)?.with_limits(limits)),
            Self::Docker => Box::new(Docker::new(None)?.with_limits(limits)),
            Self::Nix => Box::new(Nix::new(store, &tools()?, *progress)?.with_limits(limits)),
            Self::Remote => {
                // Of the limits, a request has the time; the others are the cluster's business.
                let options = remote.options(peer_name(remote.cluster()?)?.1, *progress)?;
                Box::new(Cluster::open(&options, remote.demands(limits.time))?)
            }
        })
    }
}

/// The repository around the working directory.
pub fn project_root() -> Result<PathBuf> {
    let here = std::env::current_dir().context("the working directory is gone")?;
    let is_root = |path: &&Path| path.join("recipes").is_dir() && path.join("containers").is_dir();
    here.ancestors().find(is_root).map(Path::to_owned).with_hint(|| {
        hinted(
            format!("{} is not inside a checkout of mlc-repro", here.display()),
            "run it from the repository",
        )
    })
}

impl Global {
    /// Sends what the rooms trace to stderr, as far as it was asked for.
    pub fn start_tracing(&self) {
        let level = match self.verbose {
            0 => "warn",
            1 => "debug",
            _ => "trace",
        };
        let mut filter = tracing_subscriber::EnvFilter::try_from_env("MLC_REPRO_LOG")
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
        // They dump what goes over the wire, tokens included, and tell whole addresses, some of which are signed.
        for quiet in
            ["ureq_proto::util=debug", "ureq=info", "h2=info", "hyper_util=info", "rustls=info", "tower=info"]
        {
            if let Ok(directive) = quiet.parse() {
                filter = filter.add_directive(directive);
            }
        }
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(|| crate::output::Traces)
            // Colours would be escaped with everything else that commands a terminal.
            .with_ansi(false)
            .without_time()
            .log_internal_errors(false)
            .init();
    }

    /// The repository's recipes and locks.
    pub fn project(&self) -> Result<Project> {
        let mut project = Project::load(&project_root()?)?;
        if let Some(sysroot) = &self.sysroot {
            project.use_sysroot(sysroot)?;
        }
        Ok(project)
    }

    /// The store.
    pub fn open_store(&self) -> Result<Store> {
        let rehash = match self.verify_inputs {
            true => Rehash::Always,
            false => Rehash::After(Duration::from_secs(u64::from(self.verify_age) * 24 * 3600)),
        };
        Ok(Store::open(&self.store_root()?)?.with_rehash(rehash))
    }

    /// The store, for commands that may take results of others.
    pub fn open_store_with(&self, others: &Others) -> Result<Store> {
        let peers = others.open(self)?;
        Ok(self.open_store()?.with_peers(peers))
    }

    /// The store, for commands that only look: nothing in it is made or changed, also where there is none.
    pub fn look_at_store(&self) -> Result<Store> {
        Store::look(&self.store_root()?)
    }

    fn store_root(&self) -> Result<PathBuf> {
        self.store.clone().map_or_else(Store::default_root, Ok)
    }

    /// Opens the way to run actions that was chosen, for a session.
    pub fn opener(&self) -> impl Fn(&Session<'_>) -> Result<Box<dyn Backend>> + Sync + use<> {
        let (kind, limits, remote) = (self.backend, self.limits.clone(), self.remote.clone());
        move |session| kind.open(session, &limits, &remote)
    }

    /// What operations work on.
    pub fn session<'a>(
        &self,
        project: &'a Project,
        store: &'a Store,
        progress: &'a Bars,
        open: operation::Opener<'a>,
    ) -> Session<'a> {
        let session = Session::new(project, store, progress, open);
        let session = session.with_fetch(self.fetch_options()).with_jobs(self.jobs());
        match self.backend {
            BackendKind::Remote => session.with_nodes(self.remote.jobs()),
            _ => session,
        }
    }

    /// How many processors to use.
    pub fn jobs(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(all, usize::from)
    }

    /// How inputs are fetched.
    pub fn fetch_options(&self) -> FetchOptions {
        let configured = std::env::var("MLC_REPRO_MIRROR").unwrap_or_default();
        let mirrors = self.mirrors.iter().map(String::as_str).chain(configured.split_whitespace());
        FetchOptions {
            offline: self.offline,
            vendored: self.vendored.clone(),
            mirrors: mirrors.map(|mirror| mirror.trim_end_matches('/').to_owned()).collect(),
            network: self.network.clone(),
            accept_license: self.accept_license,
            ..FetchOptions::default()
        }
    }

    /// Where progress goes.
    pub fn progress(&self) -> Bars {
        Bars::new(self.place, self.quiet)
    }

    /// Whether results are for programs.
    pub fn json(&self) -> bool {
        self.json_output.is_some()
    }
}
