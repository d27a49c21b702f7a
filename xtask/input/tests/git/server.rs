//! Git repositories, served on loopback by Git's own daemon.

use std::{
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// `git daemon`, started anew for every connection: no port has to be free.
pub struct Server {
    directory: tempfile::TempDir,
    address: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (stop, base) = (stop.clone(), directory.path().to_owned());
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let output = OwnedFd::from(stream.unwrap());
                    let input = output.try_clone().unwrap();
                    let mut daemon = Command::new("git")
                        .args(["daemon", "--inetd", "--export-all"])
                        .arg(format!("--base-path={}", base.display()))
                        .arg(&base)
                        .stdin(Stdio::from(input))
                        .stdout(Stdio::from(output))
                        .stderr(Stdio::null())
                        .spawn()
                        .unwrap();
                    std::thread::spawn(move || daemon.wait());
                }
            }
        });
        Self { directory, address, stop, thread: Some(thread) }
    }

    pub fn url(&self, name: &str) -> String {
        format!("git://{}/{name}", self.address)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A new repository with a branch `main`.
    pub fn repository(&self, name: &str) -> Repository {
        let repository = Repository { directory: self.path(name) };
        std::fs::create_dir(&repository.directory).unwrap();
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread up.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A repository with a work tree.
pub struct Repository {
    directory: PathBuf,
}

impl Repository {
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@x.invalid", "-c", "core.autocrlf=false"])
            .args(["-c", "advice.addEmbeddedRepo=false", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(&self.directory)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path: &Path = &self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A submodule as `.gitmodules` and a link, without fetching it.
    pub fn add_submodule(&self, path: &str, url: &str, revision: &str) {
        let modules = std::fs::read_to_string(self.path(".gitmodules")).unwrap_or_default();
        self.write(
            ".gitmodules",
            &format!("{modules}[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n"),
        );
        self.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{revision},{path}")]);
    }

    /// Commits what stands in the work tree, submodules' links being kept; gives the revision.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--ignore-removal", "."]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }
}
