//! Actions in containers, by Docker or podman.
//!
//! The environment is an image that we make ([`Image`]); nothing is ever pulled. What a container reads and writes goes through
//! the engine's socket into volumes and back, so that the engine may be a rootless one, or another machine's. tokio, which
//! bollard needs, is used in this module only.

mod address;
mod container;
mod leftovers;
mod load;
mod transfer;

use crate::{Backend, Ended, Launch, Limits, image::Image, isolation::Isolation, system_calls::SystemCalls};
use address::Surroundings;
use anyhow::{Context, Result, anyhow, bail, ensure};
use bollard::{API_DEFAULT_VERSION, models::SystemInfo};
use std::{io::IsTerminal, path::Path, sync::Arc, time::Instant};
use store::{Owner, WithHint, hinted};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::RwLock,
};

/// How long an engine may take to answer at all, in seconds.
const PATIENCE: u64 = 10;

/// How long one request may take, in seconds: loading an image on a slow disk is the longest.
const LONGEST: u64 = 4 * 3600;

/// Runs actions in containers.
pub struct Docker {
    engine: bollard::Docker,
    url: String,
    info: SystemInfo,
    /// Whether it is podman, which takes Docker's requests, but for some.
    is_podman: bool,
    runtime: Runtime,
    owner: Owner,
    isolation: Isolation,
    limits: Limits,
    /// The system calls that a build may make, as engines take them.
    filter: String,
    /// Held while something is made that has to be removed; alone by who removes all before this process ends.
    making: Arc<RwLock<()>>,
}

impl Docker {
    /// Connects to the engine at an address (`unix://PATH`, `tcp://HOST:PORT`), else to the one that Docker's own client would
    /// choose (`DOCKER_HOST`, contexts, the usual sockets), or to podman. From now on SIGINT, SIGTERM and SIGHUP remove this process' containers before they end it. Errors: no engine
    /// answers, or it can't run our containers.
    pub fn new(host: Option<&str>) -> Result<Self> {
        let variable = |name: &str| match (name, host) {
            ("DOCKER_HOST", Some(host)) => Some(host.to_owned()),
            _ => std::env::var(name).ok(),
        };
        let address = Surroundings { variable: &variable, root: Path::new("/") }.address()?;
        address.probe()?;
        let url = address.url.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot start the Docker client")?;
        let connect = |seconds| match url.strip_prefix("unix://") {
            Some(path) => bollard::Docker::connect_with_unix(path, seconds, API_DEFAULT_VERSION),
            None => bollard::Docker::connect_with_http(&url, seconds, API_DEFAULT_VERSION),
        };
        let said = || {
            hinted(
                format!("what answers at {url} ({}) is not a container engine", address.named_by),
                "DOCKER_HOST must name the socket of a Docker or podman service that is running",
            )
        };
        let reach = async |seconds| connect(seconds)?.negotiate_version().await;
        let info = runtime.block_on(async { reach(PATIENCE).await?.info().await }).with_hint(said)?;
        let engine = runtime.block_on(reach(LONGEST)).with_hint(said)?;
        let components = runtime.block_on(engine.version()).with_hint(said)?.components.unwrap_or_default();
        let docker = Self {
            engine,
            url,
            info,
            is_podman: components.iter().any(|component| component.name.starts_with("Podman")),
            runtime,
            owner: Owner::this_process(),
            isolation: Isolation::load()?,
            limits: Limits::default(),
            filter: SystemCalls::load()?.profile(),
            making: Arc::new(RwLock::new(())),
        };
        docker.suits()?;
        docker.clean_up_when_interrupted()?;
        Ok(docker)
    }

    /// What one action may take at most.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Whether our containers can run there.
    fn suits(&self) -> Result<()> {
        let info = &self.info;
        let is = |value: &Option<String>, expected: &[&str]| {
            value.as_deref().is_none_or(|value| expected.contains(&value))
        };
        ensure!(
            is(&info.os_type, &["linux"]) && is(&info.architecture, &["x86_64", "amd64"]),
            hinted(
                format!(
                    "the engine at {} runs containers for {} on {}, and the environments hold programs for Linux on x86_64",
                    self.url,
                    info.os_type.as_deref().unwrap_or("?"),
                    info.architecture.as_deref().unwrap_or("?")
                ),
                "set DOCKER_HOST to another one"
            )
        );
        ensure!(
            info.security_options.iter().flatten().any(|option| option.starts_with("name=seccomp")),
            hinted(
                format!(
                    "the engine at {} can't filter system calls (seccomp), which is a part of the isolation of builds",
                    self.url
                ),
                "use another engine or `--backend sandbox`"
            )
        );
        // Podman takes the filter as a file of its own machine.
        ensure!(
            !self.is_podman || self.url.starts_with("unix://"),
            hinted(
                format!(
                    "podman takes the filter of system calls as a file, and {} may be another machine",
                    self.url
                ),
                "use podman through its socket here (`unix://PATH`), or a Docker engine there"
            )
        );
        Ok(())
    }

    /// The engine and its version, as people know it.
    fn version(&self) -> String {
        let version = self.info.server_version.as_deref().unwrap_or("of unknown version");
        format!("engine {version} at {}", self.url)
    }

    fn clean_up_when_interrupted(&self) -> Result<()> {
        let (engine, owner, making) = (self.engine.clone(), self.owner.clone(), self.making.clone());
        let _inside = self.runtime.enter();
        let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        for kind in signals {
            let mut received = signal(kind).context("cannot listen for signals")?;
            let (engine, owner, making) = (engine.clone(), owner.clone(), making.clone());
            self.runtime.spawn(async move {
                received.recv().await;
                let _alone = making.write().await;
                leftovers::remove_own(&engine, &owner).await;
                std::process::exit(128 + kind.as_raw_value());
            });
        }
        Ok(())
    }

    /// What became of a request, in words that say what to do.
    fn explain(&self, what: &str, error: bollard::errors::Error) -> anyhow::Error {
        use bollard::errors::Error;
        let url = &self.url;
        let text = match &error {
            Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
            Error::DockerStreamError { error } => error.trim().to_owned(),
            other => {
                let chain: Vec<_> = anyhow::Chain::new(other).map(ToString::to_string).collect();
                chain.join(": ")
            }
        };
        let hint = match &error {
            _ if text.contains("no space left") => {
                "its disk is full; free some with `docker system prune`, or move its data root to another disk"
            }
            _ if text.contains("read-only file system") => {
                "its data root must be on a disk that it may write to"
            }
            _ if text.contains("cgroup") && self.uses_crun() => {
                "crun can't work with mixed cgroups (version 1 and 2 both mounted); install runc, and start podman's service with `podman --runtime runc system service`"
            }
            Error::DockerResponseServerError { .. } | Error::DockerStreamError { .. } => {
                "the engine's own log says more (`journalctl -u docker`)"
            }
            _ => "the engine went away, or its machine; start it again, then run the same command",
        };
        anyhow!(hinted(format!("the container engine at {url} could not {what}: {text}"), hint))
    }

    fn uses_crun(&self) -> bool {
        self.info.default_runtime.as_deref() == Some("crun")
    }
}

impl Backend for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn check(&self) -> Result<String> {
        let start = Instant::now();
        self.runtime.block_on(self.engine.ping()).map_err(|error| self.explain("answer", error))?;
        if self.uses_crun() && Path::new("/sys/fs/cgroup/unified").exists() {
            bail!(hinted(
                format!(
                    "{} uses crun, which can't work with mixed cgroups (version 1 and 2 both mounted)",
                    self.version()
                ),
                "install runc, and start podman's service with `podman --runtime runc system service`"
            ));
        }
        Ok(format!("{}, answers in {:.0} ms", self.version(), start.elapsed().as_secs_f64() * 1000.0))
    }

    fn run(&self, launch: &Launch, output: &mut dyn FnMut(&[u8])) -> Result<Ended> {
        ensure!(!launch.arguments.is_empty(), "there is no command to run in the container");
        ensure!(
            !launch.interactive || !std::io::stdin().is_terminal(),
            hinted(
                "the docker backend has no shell at a terminal",
                "give a command after `--`, or use `--backend sandbox`, which shows the same files"
            )
        );
        self.runtime.block_on(leftovers::remove_those_of_the_dead(&self.engine, &self.owner));
        let image = Image::of(launch.store, launch.environment, launch.progress)?;
        let id = self.load(launch, &image)?;
        self.run_in(&id, launch, output)
    }
}
