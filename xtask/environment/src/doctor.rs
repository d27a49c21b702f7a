//! Whether this machine lets sandboxes be made, and what to change where it does not.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use store::hinted;

/// One thing that was looked at, for `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, in a word.
    pub name: &'static str,
    /// Whether it is as it must be.
    pub ok: bool,
    /// What was found, as a sentence.
    pub detail: String,
    /// What to do where it is not; empty otherwise.
    pub remedy: String,
}

/// A switch of the kernel that forbids user namespaces.
struct Switch {
    /// Below `/proc/sys`.
    file: &'static str,
    /// The value that forbids.
    forbids: &'static str,
    /// Whether it forbids them to root as well.
    root_too: bool,
    /// What allows them.
    remedy: &'static str,
}

const SWITCHES: [Switch; 3] = [
    Switch {
        file: "user/max_user_namespaces",
        forbids: "0",
        root_too: true,
        remedy: "sysctl user.max_user_namespaces=10000",
    },
    // Debian's and Arch's patch.
    Switch {
        file: "kernel/unprivileged_userns_clone",
        forbids: "0",
        root_too: false,
        remedy: "sysctl kernel.unprivileged_userns_clone=1",
    },
    // Ubuntu since 23.10.
    Switch {
        file: "kernel/apparmor_restrict_unprivileged_userns",
        forbids: "1",
        root_too: false,
        remedy: "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    },
];

/// Everything that sandboxes need of this machine and that can be seen without making one.
pub fn checks() -> Vec<Check> {
    let system = Path::new("/proc");
    vec![kernel(system, std::env::consts::ARCH), user_namespaces(system), container(system)]
}

/// Whether this machine lets this user make user namespaces, as far as its switches tell. The error is one sentence and
/// what to change.
pub fn namespaces() -> Result<()> {
    let check = user_namespaces(Path::new("/proc"));
    match check.ok {
        true => Ok(()),
        false => bail!(hinted(check.detail, check.remedy)),
    }
}

/// Where the drive of Windows is mounted that a path stands on, as WSL 2 shows it; nothing on other file systems.
pub fn windows_drive(path: &Path) -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    drive(&mounts, &path.canonicalize().ok()?)
}

/// By the lines of `mountinfo` (proc(5)): the place is their fifth field, with blanks as `\\040`; behind ` - ` stand type, source
/// and options. WSL 2 mounts drives by its own protocol over 9p, or by virtiofs; WSL 1 as drvfs.
fn drive(mounts: &str, path: &Path) -> Option<PathBuf> {
    let parsed = mounts.lines().filter_map(|line| {
        let (place, system) = line.split_once(" - ")?;
        let place = place.split(' ').nth(4)?.replace("\\040", " ").replace("\\134", "\\");
        path.starts_with(&place).then_some((PathBuf::from(place), system))
    });
    // Of two at one place, the later one is seen.
    let (place, system) = parsed.max_by_key(|(place, _)| place.components().count())?;
    let mut fields = system.split(' ');
    let (kind, source, options) = (fields.next()?, fields.next()?, fields.next().unwrap_or_default());
    let is_drive = match kind {
        "drvfs" => true,
        "9p" | "virtiofs" => source.starts_with("drvfs") || options.contains("aname=drvfs"),
        _ => false,
    };
    is_drive.then_some(place)
}

fn value(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn passed(name: &'static str, detail: String) -> Check {
    Check { name, ok: true, detail, remedy: String::new() }
}

fn failed(name: &'static str, detail: String, remedy: &str) -> Check {
    Check { name, ok: false, detail, remedy: remedy.to_owned() }
}

/// Environments are made of programs for one processor.
fn kernel(system: &Path, architecture: &str) -> Check {
    let release = value(&system.join("sys/kernel/osrelease")).unwrap_or_else(|| "unknown".to_owned());
    match architecture {
        "x86_64" => passed("kernel", format!("Linux {release} on x86_64")),
        other => failed(
            "kernel",
            format!("this machine is {other}, and the environments hold programs for x86_64"),
            "use a machine with an x86_64 processor",
        ),
    }
}

fn user_namespaces(system: &Path) -> Check {
    const NAME: &str = "namespaces";
    if !system.join("self/ns/user").exists() {
        return failed(
            NAME,
            "this kernel has no user namespaces, which the sandbox is made of".to_owned(),
            "use a kernel with CONFIG_USER_NS=y",
        );
    }
    let is_root = is_root(system);
    let forbidding = SWITCHES.iter().find(|switch| {
        let found = value(&system.join("sys").join(switch.file));
        found.as_deref() == Some(switch.forbids) && (switch.root_too || !is_root)
    });
    match forbidding {
        None => passed(NAME, "user namespaces are allowed".to_owned()),
        Some(Switch { file, forbids, remedy, .. }) => failed(
            NAME,
            format!(
                "this machine forbids user namespaces, which the sandbox is made of (/proc/sys/{file} is {forbids})"
            ),
            &format!("as root, run `{remedy}`"),
        ),
    }
}

/// The fields of `/proc/self/status` by name.
fn status(system: &Path, field: &str) -> Option<String> {
    let text = value(&system.join("self/status"))?;
    text.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
}

fn is_root(system: &Path) -> bool {
    status(system, "Uid").is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
}

/// Container engines forbid by a filter for system calls, which no switch shows.
pub(crate) fn is_filtered() -> bool {
    status(Path::new("/proc"), "Seccomp").as_deref() == Some("2")
}

fn container(system: &Path) -> Check {
    // Nothing fails here: whether the filter forbids namespaces is seen only when one is made.
    match status(system, "Seccomp").as_deref() {
        Some("2") => {
            passed("filter", format!("system calls are filtered, as in a container; {IN_CONTAINER}"))
        }
        _ => passed("filter", "system calls are not filtered".to_owned()),
    }
}

/// What lets a container engine's containers make sandboxes.
pub(crate) const IN_CONTAINER: &str = "if the sandbox fails, start the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined`";

#[cfg(test)]
mod tests {
    use super::*;

    /// A `/proc` with a user and the given files below `sys`.
    fn machine(user: u32, switches: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("self/ns/user", "");
        write("self/status", &format!("Name:\tx\nUid:\t{user}\t{user}\t{user}\t{user}\nSeccomp:\t0\n"));
        for (path, text) in switches {
            write(&format!("sys/{path}"), text);
        }
        directory
    }

    #[test]
    fn each_switch_is_named_with_its_remedy() {
        for switch in &SWITCHES {
            let check = user_namespaces(machine(1000, &[(switch.file, switch.forbids)]).path());
            assert!(!check.ok && check.detail.contains(switch.file), "{check:?}");
            assert_eq!(check.remedy, format!("as root, run `{}`", switch.remedy));
            let check = user_namespaces(machine(0, &[(switch.file, switch.forbids)]).path());
            assert_eq!(check.ok, !switch.root_too, "{check:?}");
        }
    }

    #[test]
    fn a_machine_that_allows_is_fine() {
        let fine = machine(1000, &[("user/max_user_namespaces", "100"), ("kernel/osrelease", "6.1")]);
        assert!(user_namespaces(fine.path()).ok);
        assert_eq!(kernel(fine.path(), "x86_64").detail, "Linux 6.1 on x86_64");
        assert!(!user_namespaces(tempfile::tempdir().unwrap().path()).ok);
        assert!(!kernel(fine.path(), "aarch64").ok);
    }

    #[test]
    fn drives_of_windows_are_known() {
        let mounts = r"22 1 8:32 / / rw,relatime - ext4 /dev/sdc rw,discard
80 22 0:56 / /mnt/c rw,noatime - 9p C:\134 rw,dirsync,aname=drvfs;path=C:\;uid=1000;gid=1000,access=client
81 22 0:57 / /mnt/my\040drive rw,noatime - virtiofs drvfsaD rw
82 22 0:58 / /mnt/host rw - 9p share rw,trans=virtio
83 80 8:48 / /mnt/c/linux rw - ext4 /dev/sdd rw
84 22 0:59 / /mnt/e rw - drvfs E: rw
";
        let found = |path: &str| drive(mounts, Path::new(path)).map(|place| place.display().to_string());
        assert_eq!(found("/mnt/c/Users/x/mlc-repro").as_deref(), Some("/mnt/c"));
        assert_eq!(found("/mnt/c").as_deref(), Some("/mnt/c"));
        assert_eq!(found("/mnt/my drive/store").as_deref(), Some("/mnt/my drive"));
        assert_eq!(found("/mnt/e/x").as_deref(), Some("/mnt/e"));
        for path in ["/home/x", "/mnt/cc", "/mnt/host/x", "/mnt/c/linux/x"] {
            assert_eq!(found(path), None, "{path}");
        }
        assert_eq!(windows_drive(Path::new("/")), None);
    }

    #[test]
    fn a_filter_is_told() {
        let machine = machine(0, &[]);
        assert_eq!(container(machine.path()).detail, "system calls are not filtered");
        std::fs::write(machine.path().join("self/status"), "Seccomp:\t2\n").unwrap();
        assert!(container(machine.path()).detail.contains("seccomp=unconfined"));
    }
}
