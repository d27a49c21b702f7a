//! Nix's own programs, on a store of ours.

use crate::{
    limits::{Limits, guard},
    session,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::{
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use store::{Owner, hinted};

/// Where the store stands instead of below our own.
const PLACE: &str = "MLC_REPRO_NIX_STORE";

/// The oldest Nix that was tried.
const OLDEST: (u32, u32) = (2, 8);

/// All that decides how Nix builds; no file of this machine does. A sandbox that can't be made is an error, never a build
/// without one.
const CONFIGURATION: &str = "\
sandbox = true
sandbox-fallback = false
substitute = false
substituters =
builders =
build-users-group =
max-jobs = 1
extra-sandbox-paths =
pre-build-hook =
post-build-hook =
keep-build-log = false
restrict-eval = false
pure-eval = false
";

/// Runs Nix until it ends, or ends it when its input closes: when our process dies.
const WATCHED: &str = "exec 3<&0
\"$@\" </dev/null 3<&- &
nix=$!
{ read -r line <&3; kill -TERM \"$nix\"; } >/dev/null 2>&1 &
watch=$!
wait \"$nix\"
status=$?
kill \"$watch\" 2>/dev/null
exit \"$status\"";

const NAMESPACES: &str = "its sandbox needs user, mount and PID namespaces, which this machine or the container that this runs in forbids; `cargo xtask doctor` says more";

/// What Nix says where it may not work, and what to change.
const PROBLEMS: &[(&str, &str)] = &[
    ("does not support the kernel namespaces", NAMESPACES),
    // Also said in a chroot, which the kernel lets make no user namespaces.
    ("user namespaces are not enabled", NAMESPACES),
    (
        "setgroups failed",
        "root of a user namespace of its own is not root enough for Nix; run this as root or as an ordinary user",
    ),
    ("cloning builder process", NAMESPACES),
    ("cannot figure out user name", "the user that this runs as must stand in /etc/passwd"),
    (
        "Read-only file system",
        "its store must be a directory that you may write to; MLC_REPRO_NIX_STORE names another",
    ),
    (
        "Permission denied",
        "its store must be a directory that you may write to; MLC_REPRO_NIX_STORE names another",
    ),
    (
        "No space left on device",
        "the disk is full; `cargo xtask store gc` frees some, and MLC_REPRO_NIX_STORE names another place",
    ),
    ("unsupported type", "outputs are files, directories and links"),
];

/// Nix, and where our store for it is.
pub(super) struct Client {
    root: PathBuf,
    /// `Nix`, and its version once that is known.
    name: String,
}

impl Client {
    /// Errors: there is no Nix, or it is too old.
    pub(super) fn new(default: &Path) -> Result<Self> {
        let named = std::env::var_os(PLACE).filter(|place| !place.is_empty());
        let root = named.map_or_else(|| default.to_owned(), PathBuf::from);
        let root =
            std::path::absolute(&root).with_context(|| format!("cannot resolve {}", root.display()))?;
        // On our store as everything else: a machine's own, which may be root's alone, is opened even for this.
        let client = Self { root, name: "Nix".to_owned() };
        let output = match client.command("nix-store").arg("--version").output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(hinted(
                "there is no `nix-store` on PATH",
                "install Nix: Debian's package is `nix-bin`; no daemon and no configuration is needed"
            )),
            Err(error) => bail!(hinted(format!("cannot start `nix-store`: {error}"), "install Nix anew")),
        };
        ensure!(
            output.status.success(),
            client.explain("say its version", &String::from_utf8_lossy(&output.stderr))
        );
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().last().unwrap_or_default().to_owned();
        let numbers = version.split_once('.').and_then(|(major, rest)| {
            let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        });
        ensure!(
            numbers.is_some_and(|numbers| numbers >= OLDEST),
            hinted(
                format!(
                    "`nix-store --version` says `{}`, and {}.{} is needed",
                    text.trim(),
                    OLDEST.0,
                    OLDEST.1
                ),
                "install a newer Nix"
            )
        );
        Ok(Self { name: format!("Nix {version}"), ..client })
    }

    pub(super) fn version(&self) -> String {
        format!("{}, store {}", self.name, self.root.display())
    }

    /// Where a store path is on this machine.
    pub(super) fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear();
        for name in ["PATH", "HOME", "TMPDIR", "USER"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("NIX_CONFIG", CONFIGURATION)
            .env("NIX_CONF_DIR", "/nonexistent")
            .env("NIX_USER_CONF_FILES", "")
            .arg("--store")
            .arg(&self.root)
            .stdin(Stdio::null());
        command
    }

    fn output(&self, what: &str, command: &mut Command) -> Result<Output> {
        command.output().with_context(|| format!("cannot start Nix to {what}"))
    }

    /// The single line that a command which must succeed prints.
    fn line(&self, what: &str, command: &mut Command) -> Result<String> {
        let output = self.output(what, command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", self.explain(what, &said));
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(text.starts_with("/nix/store/"), "{}", self.explain(what, &format!("it answered `{text}`")));
        Ok(text)
    }

    /// The store path of a directory with this NAR hash.
    pub(super) fn fixed_path(&self, nar_hash: &str, name: &str) -> Result<String> {
        let mut command = self.command("nix-store");
        command.args(["--print-fixed-path", "--recursive", "sha256", nar_hash, name]);
        self.line("name the environment", &mut command)
    }

    pub(super) fn is_valid(&self, path: &str) -> Result<bool> {
        let mut command = self.command("nix-store");
        let output = self.output("look for the environment", command.args(["--check-validity", path]))?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => Ok(true),
            false if said.contains("is not valid") => Ok(false),
            false => bail!("{}", self.explain("look for the environment", &said)),
        }
    }

    pub(super) fn add_directory(&self, directory: &Path) -> Result<String> {
        let mut command = self.command("nix-store");
        command.args(["--add-fixed", "--recursive", "sha256"]).arg(directory);
        self.line("take the environment", &mut command)
    }

    pub(super) fn add_file(&self, file: &Path) -> Result<String> {
        let mut command = self.command("nix-store");
        self.line("take the sources", command.args(["--add-fixed", "sha256"]).arg(file))
    }

    /// The derivation that an expression gives for these arguments.
    pub(super) fn instantiate(&self, expression: &Path, arguments: &[(&str, &str)]) -> Result<String> {
        let mut command = self.command("nix-instantiate");
        command.arg(expression).arg("--quiet");
        for (name, value) in arguments {
            command.args(["--argstr", name, value]);
        }
        self.line("make a derivation", &mut command)
    }

    /// Builds a derivation in `scratch`; `hear` gets what Nix and the builder say. Gives the path of what it built, if it did,
    /// and why the build was ended, if it was.
    pub(super) fn realise(
        &self,
        derivation: &str,
        scratch: &Path,
        limits: &Limits,
        hear: &mut dyn FnMut(&[u8]),
    ) -> Result<(Option<String>, Option<String>)> {
        let nix = self.command("nix-store");
        let mut command = Command::new("sh");
        command.args(["-c", WATCHED, "sh"]).arg(nix.get_program()).args(nix.get_args());
        command.env_clear().envs(nix.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
            .env("TMPDIR", scratch)
            .args(["--realise", derivation])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Nix hands its session keyring down to what it builds.
        let mut started = session::start(command).context("cannot start Nix to run an action")?;
        let child = &mut started.child;
        // Closing it would end the build.
        let mut input = child.stdin.take();
        let mut errors = child.stderr.take().context("Nix has no stderr")?;
        let (heard, why) = guard(
            limits,
            child.id(),
            || drop(input.take()),
            || -> Result<()> {
                let mut buffer = vec![0; 1 << 16];
                loop {
                    match errors.read(&mut buffer).context("cannot read what Nix says")? {
                        0 => return Ok(()),
                        count => hear(&buffer[..count]),
                    }
                }
            },
        );
        heard?;
        let output = started.child.wait_with_output().context("cannot wait for Nix")?;
        drop(input);
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let is_built = output.status.success() && path.starts_with("/nix/store/");
        Ok((is_built.then_some(path), why))
    }

    /// Writes down whose a run is.
    pub(super) fn begin(&self, run: &str) -> Result<()> {
        let place = self.runs().join(run);
        std::fs::create_dir_all(self.runs())
            .and_then(|()| std::fs::write(&place, Owner::this_process().to_string()))
            .map_err(|error| self.explain("begin", &format!("cannot write {}: {error}", place.display())))
    }

    fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Removes all that bears a run's name. Best effort: what stays is tried again by the next process.
    pub(super) fn remove(&self, run: &str) {
        let Ok(entries) = std::fs::read_dir(self.place("/nix/store")) else { return };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let (locks, paths): (Vec<String>, Vec<String>) =
            names.filter(|name| name.contains(run)).partition(|name| name.ends_with(".lock"));
        let mut command = self.command("nix-store");
        command.arg("--delete").args(paths.iter().map(|name| format!("/nix/store/{name}")));
        if !paths.is_empty() && !command.output().is_ok_and(|output| output.status.success()) {
            return;
        }
        for name in locks {
            let _ = std::fs::remove_file(self.place("/nix/store").join(name));
        }
        let _ = std::fs::remove_file(self.runs().join(run));
    }

    /// As [`Client::remove`], for the runs of processes that were killed.
    pub(super) fn remove_those_of_the_dead(&self) {
        let Ok(entries) = std::fs::read_dir(self.runs()) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let owner = std::fs::read_to_string(&path).unwrap_or_default();
            let run = path.file_name().and_then(|name| name.to_str());
            if let (true, Some(run)) = (Owner::parse(&owner).is_dead(), run) {
                self.remove(run);
            }
        }
    }

    /// Nix's words, and what to do about them.
    pub(super) fn explain(&self, what: &str, said: &str) -> anyhow::Error {
        let said = said.trim();
        let hint = PROBLEMS
            .iter()
            .find(|(words, _)| said.contains(words))
            .map_or("`cargo xtask doctor` tries it on an empty action", |(_, hint)| hint);
        anyhow!(hinted(
            format!("{} could not {what} in the store {}: {said}", self.name, self.root.display()),
            hint
        ))
    }
}
