//! One action, in one container.

use super::{
    Docker, leftovers,
    transfer::{receive, send},
};
use crate::{
    Ended, Exit, Launch, Limits,
    backend::{COMMAND, prepare},
};
use anyhow::{Context, Result, anyhow, bail};
use bollard::{
    body_try_stream,
    errors::Error,
    models::{ContainerCreateBody, HostConfig, Mount, MountType, ResourcesUlimits, VolumeCreateRequest},
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder,
        KillContainerOptionsBuilder, UploadToContainerOptionsBuilder,
    },
};
use futures_util::StreamExt;
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use store::{Tree, hinted};

/// How many processes and threads a container may have.
const PROCESSES: i64 = 16_384;

/// A mount of memory, as in the sandbox.
const TEMPORARY: &str = "rw,exec,nosuid,nodev,mode=1777";

/// Begins to run the command as a child, so that the first process stays to reap and to tell how it ended; it ends it when
/// our end of its input closes, that is when our process dies. What the shell itself would say of a signal goes nowhere.
const WATCH: &str = "exec 3<&0 4>&1 </dev/null >/dev/null 2>&1
{ read -r line <&3; kill -KILL -1; } 4>&- &
";

/// How often a name that is taken may be another process' by chance.
const ATTEMPTS: u32 = 100;

/// What the container that builds is given.
struct Held<'a> {
    /// The volume with the sources.
    volume: &'a str,
    /// The option that names the filter of system calls.
    filter: &'a str,
}

/// What was made and has to go.
#[derive(Default)]
struct Made {
    containers: Mutex<Vec<String>>,
    volumes: Mutex<Vec<String>>,
}

impl Made {
    fn add(list: &Mutex<Vec<String>>, id: &str) {
        list.lock().unwrap_or_else(PoisonError::into_inner).push(id.to_owned());
    }

    fn take(list: &Mutex<Vec<String>>) -> Vec<String> {
        std::mem::take(&mut list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Docker {
    /// Runs the command in a container of the image; nothing of it is left in the engine, however it ends.
    pub(super) fn run_in(
        &self,
        image: &str,
        launch: &Launch,
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<Ended> {
        let made = Made::default();
        let ran = self.steps(image, launch, output, &made);
        self.runtime.block_on(async {
            // Who removes all before this process ends took the container away: then this never goes on.
            let _making = self.making.read().await;
            for id in Made::take(&made.containers) {
                leftovers::remove_container(&self.engine, &id).await;
            }
            for name in Made::take(&made.volumes) {
                leftovers::remove_volume(&self.engine, &name).await;
            }
        });
        ran
    }

    fn steps(
        &self,
        image: &str,
        launch: &Launch,
        output: &mut dyn FnMut(&[u8]),
        made: &Made,
    ) -> Result<Ended> {
        let volume = self.volume(made)?;
        // Sources are put into the volume through a container that is never started: the one that builds may not write there.
        let carrier = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(vec!["/bin/sh".to_owned()]),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                mounts: Some(vec![mount("/build/src", Some(&volume), false)]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let carrier = self.create(made, carrier)?;
        self.send_source(&carrier, launch)?;
        let scratch = launch.store.scratch()?;
        let filter = self.filter(scratch.path())?;
        let container =
            self.create(made, self.container(image, launch, Held { volume: &volume, filter: &filter }))?;
        let exit = self.start(&container, self.limits.raised_to(&launch.needs).time, output)?;
        let outputs = match exit.success() && !launch.interactive {
            true => self.fetch_outputs(&container, launch)?,
            false => Tree::new(),
        };
        Ok(Ended { exit, outputs })
    }

    fn volume(&self, made: &Made) -> Result<String> {
        self.runtime.block_on(async {
            let _making = self.making.read().await;
            let request = VolumeCreateRequest {
                labels: Some(leftovers::labels(&self.owner)),
                ..VolumeCreateRequest::default()
            };
            let volume = self
                .engine
                .create_volume(request)
                .await
                .map_err(|error| self.explain("make a volume", error))?;
            Made::add(&made.volumes, &volume.name);
            Ok(volume.name)
        })
    }

    /// Creates a container under a name that is free.
    fn create(&self, made: &Made, mut body: ContainerCreateBody) -> Result<String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        body.labels = Some(leftovers::labels(&self.owner));
        self.runtime.block_on(async {
            for _ in 0..ATTEMPTS {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let name = format!("mlc-repro-{}-{number}", std::process::id());
                let options = CreateContainerOptionsBuilder::new().name(&name).build();
                let _making = self.making.read().await;
                match self.engine.create_container(Some(options), body.clone()).await {
                    Ok(created) => {
                        Made::add(&made.containers, &created.id);
                        return Ok(created.id);
                    }
                    // The name is another's.
                    Err(Error::DockerResponseServerError { status_code: 409, .. }) => {}
                    Err(error) => return Err(self.explain("make a container", error)),
                }
            }
            let process = std::process::id();
            bail!(hinted(
                format!("the container names from mlc-repro-{process}-0 on are taken at {}", self.url),
                "`docker ps --all --filter name=mlc-repro` lists the containers that have them; remove those"
            ))
        })
    }

    /// What the engine is told about system calls: Docker takes the filter itself, podman the path of one, which it reads when
    /// it makes the container.
    fn filter(&self, scratch: &Path) -> Result<String> {
        if !self.is_podman {
            return Ok(format!("seccomp={}", self.filter));
        }
        let path = scratch.join("system-calls.json");
        std::fs::write(&path, &self.filter).with_context(|| format!("cannot write {}", path.display()))?;
        let path =
            std::path::absolute(&path).with_context(|| format!("cannot resolve {}", path.display()))?;
        Ok(format!("seccomp={}", path.display()))
    }

    /// The container that builds.
    fn container(&self, image: &str, launch: &Launch, held: Held) -> ContainerCreateBody {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let script = format!(
            "{}{WATCH}{COMMAND} >&4 2>&4 3<&- 4>&-\nexit $?",
            prepare(&self.isolation, launch.variables, &launch.environment.variables)
        );
        let mut command = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
        command.extend_from_slice(launch.arguments);
        let mut security = vec!["no-new-privileges".to_owned(), held.filter.to_owned()];
        if self.is_podman {
            // It leaves `masked_paths` out.
            security.push(format!("mask={}", self.isolation.hidden().collect::<Vec<_>>().join(":")));
        }
        let limits = self.limits.raised_to(&launch.needs);
        // Swapping is not for builds; without it the limit is what it says.
        let whole = self.info.mem_total.map(|total| total / 16 * 15);
        let memory = limits.memory.and_then(|memory| i64::try_from(memory).ok()).or(whole);
        ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(Vec::new()),
            cmd: Some(command),
            env: Some(launch.variables.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            hostname: Some("builder".to_owned()),
            user: Some("1000:1000".to_owned()),
            working_dir: Some("/build/work".to_owned()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                // Else the engine copies this machine's resolv.conf.
                dns: words(&["127.0.0.1"]),
                dns_search: words(&["."]),
                readonly_rootfs: Some(true),
                tmpfs: Some(HashMap::from(
                    ["/tmp", "/dev/shm"].map(|path| (path.to_owned(), temporary(&limits))),
                )),
                mounts: Some(vec![
                    mount("/build/src", Some(held.volume), true),
                    mount("/build/work", None, false),
                    mount("/build/out", None, false),
                ]),
                cap_drop: words(&["ALL"]),
                security_opt: Some(security),
                masked_paths: Some(self.isolation.hidden().map(str::to_owned).collect()),
                pids_limit: Some(limits.processes.map_or(PROCESSES, |most| most.min(i64::MAX as u64) as i64)),
                memory,
                memory_swap: memory,
                // podman gives all that are not named more than a root without CAP_SYS_RESOURCE may set.
                ulimits: Some(self.isolation.limits().map(|(name, value)| limit(name, value)).collect()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    /// The archive names the volume's directory, so that it gets its time as well. Docker sets that only from the directory above,
    /// where podman does not find the volume.
    fn send_source(&self, carrier: &str, launch: &Launch) -> Result<()> {
        let (place, name) = if self.is_podman { ("/build/src", ".") } else { ("/build", "src") };
        send(
            |out| launch.source.write(launch.store, name, out),
            |pieces| {
                let options = UploadToContainerOptionsBuilder::new().path(place).build();
                let sent = self.engine.upload_to_container(carrier, Some(options), body_try_stream(pieces));
                self.runtime.block_on(sent).map_err(|error| self.explain("take the sources", error))
            },
        )
    }

    /// Starts a container, passes its output on, and waits for its end, for no longer than `most`.
    fn start(&self, container: &str, most: Option<Duration>, output: &mut dyn FnMut(&[u8])) -> Result<Exit> {
        self.runtime.block_on(async {
            let options = AttachContainerOptionsBuilder::new()
                .stdin(true)
                .stdout(true)
                .stderr(true)
                .stream(true)
                .build();
            let mut attached = self
                .engine
                .attach_container(container, Some(options))
                .await
                .map_err(|error| self.explain("give a container's output", error))?;
            self.engine
                .start_container(container, None)
                .await
                .map_err(|error| self.explain("start a container", error))?;
            let start = Instant::now();
            let mut left = most;
            loop {
                let piece = match left {
                    None => attached.output.next().await,
                    Some(time) => match tokio::time::timeout(time, attached.output.next()).await {
                        Ok(piece) => piece,
                        Err(_) => {
                            let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
                            // It may have ended by itself already.
                            let _ = self.engine.kill_container(container, Some(options)).await;
                            output(Limits::time_is_up(most.unwrap_or_default()).as_bytes());
                            left = None;
                            continue;
                        }
                    },
                };
                left = left.and(most).map(|most| most.saturating_sub(start.elapsed()));
                let Some(piece) = piece else { break };
                let piece =
                    piece.map_err(|error| self.explain("go on giving a container's output", error))?;
                output(&piece.into_bytes());
            }
            // Until here the open input has kept the command running.
            let mut waiting = Box::pin(self.engine.wait_container(container, None));
            let code = match waiting.next().await {
                Some(Ok(answer)) => answer.status_code,
                Some(Err(Error::DockerContainerWaitError { code, .. })) => code,
                Some(Err(error)) => return Err(self.explain("tell how a container ended", error)),
                None => bail!("the container engine at {} did not tell how a container ended", self.url),
            };
            drop(attached.input);
            let inspected = self.engine.inspect_container(container, None).await;
            let state = inspected.ok().and_then(|found| found.state).unwrap_or_default();
            if state.oom_killed == Some(true) {
                output(b"the container engine killed a process for want of memory\n");
            }
            let code = i32::try_from(code).map_err(|_| anyhow!("an exit status of {code}"))?;
            Ok(Exit::of(code))
        })
    }

    /// Straight from the engine into the store: no file system of this machine has a say about names, links and modes.
    fn fetch_outputs(&self, container: &str, launch: &Launch) -> Result<Tree> {
        let most = self.limits.raised_to(&launch.needs).outputs;
        let room = launch.store.free_bytes()?.min(most.unwrap_or(u64::MAX));
        receive(
            |sender| {
                self.runtime.block_on(async {
                    let options = DownloadFromContainerOptionsBuilder::new().path("/build/out").build();
                    let mut pieces = Box::pin(self.engine.download_from_container(container, Some(options)));
                    while let Some(piece) = pieces.next().await {
                        let piece = piece.map_err(|error| self.explain("give the outputs", error))?;
                        if sender.send(piece).await.is_err() {
                            break;
                        }
                    }
                    Ok(())
                })
            },
            |archive| input::unpack_outputs(launch.store, archive, room),
        )
        .context("cannot fetch the outputs")
    }
}

/// What is said of a mount of [`TEMPORARY`].
fn temporary(limits: &Limits) -> String {
    match limits.memory {
        Some(memory) => format!("{TEMPORARY},size={memory}"),
        None => TEMPORARY.to_owned(),
    }
}

fn mount(target: &str, volume: Option<&str>, read_only: bool) -> Mount {
    Mount {
        target: Some(target.to_owned()),
        source: volume.map(str::to_owned),
        typ: Some(MountType::VOLUME),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

fn limit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}
