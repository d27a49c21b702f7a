//! Engines of the tests' own, Docker's and podman's, which end with them. They change nothing of this machine's network.

use super::wait::until;
use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// Starts an engine in a directory with mounts of its own, and ends it when the input closes, so that it never outlives the
/// tests, or by the signal that the input names.
const WATCHED: &str = "exec 3<&0
cd \"$1\" && shift && rm -f pid exec/containerd/containerd.pid
unshare --mount \"$@\" </dev/null 3<&- >>log 2>&1 &
engine=$!
{ read -r line <&3; kill -${line:-TERM} \"$engine\"; } &
watch=$!
wait \"$engine\"
kill \"$watch\" 2>/dev/null
exit 0";

const DOCKERD: &str = "dockerd --iptables=false --ip6tables=false --ip-forward=false --bridge=none --data-root PLACE/data \
    --exec-root PLACE/exec --pidfile PLACE/pid -H unix://PLACE/docker.sock";

/// With runc, since crun refuses machines that mix both versions of cgroups.
const PODMAN: &str = "podman --root PLACE/data --runroot PLACE/exec --tmpdir PLACE/temporary --runtime runc \
    --cgroup-manager cgroupfs --events-backend file system service --time 0 unix://PLACE/docker.sock";

/// What a slow machine may take to start an engine or a registry.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Engine {
    directory: TempDir,
    /// The command with `PLACE` for the directory.
    command: &'static str,
    child: Option<Child>,
}

impl Engine {
    /// Starts one with an empty data root.
    pub fn start() -> Self {
        Self::start_in(&[])
    }

    /// Starts one by a command that runs its arguments.
    pub fn start_in(starter: &[&str]) -> Self {
        Self::of(DOCKERD, starter)
    }

    /// Starts podman's service with an empty root.
    pub fn podman() -> Self {
        Self::of(PODMAN, &[])
    }

    fn of(command: &'static str, starter: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("engine-").tempdir().unwrap();
        let mut engine = Self { directory, command, child: None };
        engine.restart(starter);
        engine
    }

    /// Starts it again on what it had.
    pub fn restart(&mut self, starter: &[&str]) {
        let place = self.directory.path().to_str().unwrap();
        let command = self.command.replace("PLACE", place);
        let mut words = starter.to_vec();
        words.extend(["sh", "-c", WATCHED, "sh", place]);
        words.extend(command.split_whitespace());
        // Where much else runs, dockerd gives its containerd up too early.
        for _ in 0..5 {
            let mut child = Command::new(words[0]).args(&words[1..]).stdin(Stdio::piped()).spawn().unwrap();
            let mut ended = false;
            until("the engine answers or ends", PATIENCE, || {
                ended = child.try_wait().unwrap().is_some();
                let mut version = Command::new("docker");
                version.args(["--host", &self.host(), "version"]).stdout(Stdio::null()).stderr(Stdio::null());
                ended || version.status().expect("tests need Docker's client (Debian's docker.io)").success()
            });
            if !ended {
                self.child = Some(child);
                return;
            }
        }
        panic!(
            "tests need dockerd and podman with runc (Debian's docker.io, podman, runc; .ci/run installs them), and one ended: {}",
            self.log()
        );
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What Docker's own client says. It must succeed.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker")
            .arg("--host")
            .arg(self.host())
            .args(arguments)
            .output()
            .expect("tests need Docker's client (Debian's docker.io)");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        assert!(output.status.success(), "docker {arguments:?}: {text}");
        text
    }

    /// Containers and volumes, ours or not.
    pub fn leftovers(&self) -> String {
        [self.docker(&["ps", "--all", "--quiet"]), self.docker(&["volume", "ls", "--quiet"])].concat()
    }

    /// Ends it by a signal.
    pub fn end(&mut self, signal: &str) {
        use std::io::Write;
        if let Some(mut child) = self.child.take() {
            let mut input = child.stdin.take().unwrap();
            let _ = writeln!(input, "{signal}");
            child.wait().unwrap();
        }
    }
}

/// Debian's docker-registry, on a port of this machine's own, as long as the tests run.
pub struct Registry {
    port: u16,
    child: Child,
    directory: TempDir,
}

impl Registry {
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one with more in its configuration, where `PLACE` is a directory of its own.
    pub fn start_with(more: &str) -> Self {
        // The port is free, and may be another's a moment later: then the next one is tried.
        for _ in 0..5 {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            let directory = tempfile::tempdir().unwrap();
            let configuration = directory.path().join("registry.yml");
            let text = format!(
                "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: '127.0.0.1:{port}' }}\n{}\n",
                directory.path().join("data").display(),
                more.replace("PLACE", &directory.path().display().to_string())
            );
            std::fs::write(&configuration, text).unwrap();
            let script =
                "exec 3<&0; docker-registry serve \"$1\" </dev/null 3<&- >/dev/null 2>&1 & registry=$!
                { read -r line <&3; kill \"$registry\"; } & wait \"$registry\"";
            let mut child = Command::new("sh")
                .args(["-c", script, "sh"])
                .arg(&configuration)
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            let mut ended = false;
            until("the registry answers", PATIENCE, || {
                ended = child.try_wait().unwrap().is_some();
                ended || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
            if !ended {
                return Self { port, child, directory };
            }
        }
        panic!("tests need docker-registry; .ci/run installs it");
    }

    /// A file of the directory that is its own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// An image of that name there, for skopeo.
    pub fn place(&self, name: &str) -> String {
        format!("docker://127.0.0.1:{}/{name}:1", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let last: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("the engine said last: {last:#?}");
        }
        self.end("TERM");
    }
}
