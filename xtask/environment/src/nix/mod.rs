//! Actions as derivations, in Nix's own sandbox.
//!
//! The Nix store is one of our own (`nix/` in our store: <https://nix.dev/manual/nix/2.28/store/types/local-store>, with a
//! `root`), so that neither a daemon nor its trust is needed, nothing of the machine's configuration has a part in a build,
//! and all works offline. The environment stands in it by its NAR hash; a build that ends leaves nothing else there.

mod client;
mod output;

use crate::{
    Backend, Ended, Environment, Exit, Launch, Limits,
    isolation::Isolation,
    sandbox::{FILTER, ISOLATION, inside, not_begun, system},
    system_calls::SystemCalls,
    tarball,
};
use anyhow::{Context, Result, ensure};
use client::Client;
use output::{BEGIN, Follower, Heard};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, IsTerminal, Write},
    path::Path,
    time::Instant,
};
use store::{Digest, Progress, Store, Tree, hinted};

/// SIGKILL.
const KILL: i32 = 9;

/// The derivation.
const ACTION: &str = include_str!("action.nix");

/// Programs of the locked tools, by their own loader: Nix's sandbox has nothing else.
const TOOLS: &str = r#"
run() {
    local program=$tools/usr/bin/$1
    shift
    "$tools/usr/lib64/ld-linux-x86-64.so.2" --library-path "$tools/usr/lib/x86_64-linux-gnu:$tools/usr/lib64" "$program" "$@"
}
cd "$NIX_BUILD_TOP"
run mkdir "$out" work
run tar --extract --preserve-permissions --no-same-owner --file "$source"
"#;

/// Runs actions in Nix's sandbox.
pub struct Nix {
    client: Client,
    /// The store path of the environment with bubblewrap.
    tools: String,
    isolation: Isolation,
    limits: Limits,
    /// A command of a shell that writes the filter of system calls.
    filter: String,
}

/// What is run, by paths of the Nix store.
struct Job<'a> {
    root: &'a str,
    /// Writes the sources as a tar archive, in which they are called `source`.
    source: &'a dyn Fn(&mut dyn Write) -> Result<()>,
    variables: &'a BTreeMap<String, String>,
    arguments: &'a [String],
    scratch: &'a Path,
    limits: Limits,
    /// How many bytes its outputs may have.
    room: u64,
}

impl Nix {
    /// Finds Nix and puts the environment with bubblewrap into its store. Errors: there is no Nix, or it can't use our store.
    pub fn new(store: &Store, tools: &Environment, progress: &dyn Progress) -> Result<Self> {
        // As for the sandbox: an open directory would be a way out.
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        // Where two processes make the directories or the database of a new store at the same time, Nix finds what the other
        // made, and gives up.
        let turn = store.lock_work("nix", "the Nix store", progress)?;
        let client = Client::new(&store.root().join("nix"))?;
        let tools = import(&client, store, &tools.root, progress)?;
        drop(turn);
        let program = SystemCalls::load()?.program()?;
        let filter: String = program.iter().map(|byte| format!("\\{byte:03o}")).collect();
        let filter = format!("printf '{filter}' > filter\n");
        Ok(Self { client, tools, isolation: Isolation::load()?, limits: Limits::default(), filter })
    }

    /// What one action may take at most.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Runs a job, and gives its outputs to `keep` if it succeeded. Nothing of it is left in the Nix store, however it ends.
    fn run_job(
        &self,
        job: &Job,
        output: &mut dyn FnMut(&[u8]),
        keep: impl FnOnce(&Path) -> Result<Tree>,
    ) -> Result<Ended> {
        self.client.remove_those_of_the_dead();
        let mut follower = Follower::new()?;
        let run = follower.run().to_owned();
        self.client.begin(&run)?;
        let ran = self.steps(job, &mut follower, output, keep);
        self.client.remove(&run);
        ran
    }

    fn steps(
        &self,
        job: &Job,
        follower: &mut Follower,
        output: &mut dyn FnMut(&[u8]),
        keep: impl FnOnce(&Path) -> Result<Tree>,
    ) -> Result<Ended> {
        // All that is made in the Nix store has the run in its name.
        let archive = job.scratch.join(format!("{}.tar", follower.run()));
        let file = File::create(&archive).with_context(|| format!("cannot create {}", archive.display()))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        (job.source)(&mut file)?;
        file.flush().context("cannot write the sources' archive")?;
        drop(file);
        let source = self.client.add_file(&archive)?;
        std::fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
        let expression = job.scratch.join("action.nix");
        std::fs::write(&expression, ACTION)
            .with_context(|| format!("cannot write {}", expression.display()))?;
        let script = self.script(job, follower);
        let derivation = self.client.instantiate(
            &expression,
            &[
                ("tools", &self.tools),
                ("root", job.root),
                ("source", &source),
                ("script", &script),
                ("run", follower.run()),
            ],
        )?;
        let (built, why) = self.client.realise(&derivation, job.scratch, &job.limits, &mut |bytes| {
            follower.hear(bytes, output);
        })?;
        if let Some(why) = why {
            output(why.as_bytes());
            return Ok(Ended { exit: Exit::Signalled(KILL), outputs: Tree::new() });
        }
        let words = follower.words();
        let failed = |code| Ended { exit: Exit::of(code), outputs: Tree::new() };
        match (follower.end(), built) {
            (Heard::Nothing, _) => Err(self.client.explain("run an action", &words)),
            (Heard::NotBegun, _) => Err(not_begun(&words)),
            (Heard::Ended(0), Some(path)) => {
                keep(&self.client.place(&path)).map(|outputs| Ended { exit: Exit::Exited(0), outputs })
            }
            (Heard::Ended(0), None) => Err(self.client.explain("keep what an action wrote", &words)),
            (Heard::Ended(code), _) => Ok(failed(code)),
        }
    }

    /// What runs in Nix's sandbox.
    fn script(&self, job: &Job, follower: &Follower) -> String {
        let mut words: Vec<String> = Vec::new();
        let mut add = |list: &[&str]| words.extend(list.iter().map(|word| quote(word)));
        add(ISOLATION);
        add(FILTER);
        add(&["--new-session", "--ro-bind"]);
        words.push("\"$root\" /".to_owned());
        words.extend(system(&job.limits).iter().map(|word| quote(word)));
        words.extend(self.isolation.covers().iter().map(|word| quote(word)));
        words.push(
            "--ro-bind source /build/src --bind work /build/work --bind \"$out\" /build/out".to_owned(),
        );
        // Nix would read all of it to hash it. Shells count to this.
        let room = job.room.min(i64::MAX as u64);
        let begin = format!("printf '{BEGIN}\\n'; ");
        let inside = inside(&self.isolation, &begin, job.variables, job.arguments);
        words.extend(inside.iter().map(|word| quote(word)));
        format!(
            r#"{TOOLS}{}status=0
run bwrap {} </dev/null 9<filter 2>&1 || status=$?
size=$(run du --apparent-size --block-size=1 --summarize "$out" 2>/dev/null) || true
size=${{size%%[!0-9]*}}
printf '\n%s %s\n' {} "$status"
if [ "$status" = 0 ] && [ "${{#size}}" -gt 18 -o "${{size:-0}}" -gt {} ]; then
    printf 'the outputs are too large to keep: %s bytes, and there is room for %s\n' "$size" {}
    exit 1
fi
"#,
            self.filter,
            words.join(" "),
            follower.end_mark(),
            room,
            room
        )
    }
}

impl Backend for Nix {
    fn name(&self) -> &'static str {
        "nix"
    }

    fn check(&self) -> Result<String> {
        let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
        let [source, work] = ["source", "work"].map(|name| scratch.path().join(name));
        for directory in [&source, &work] {
            std::fs::create_dir(directory).context("cannot make a temporary directory")?;
        }
        let job = Job {
            root: &self.tools,
            source: &|out| tarball::write_directory(&source, "source", out),
            variables: &BTreeMap::new(),
            arguments: &["/usr/bin/true".to_owned()],
            scratch: &work,
            limits: Limits::default(),
            room: u64::MAX,
        };
        let start = Instant::now();
        let mut said = Vec::new();
        let ended = self.run_job(&job, &mut |bytes| said.extend_from_slice(bytes), |_| Ok(Tree::new()))?;
        ensure!(
            ended.exit.success(),
            "an empty action failed in it: {}",
            String::from_utf8_lossy(&said).trim()
        );
        Ok(format!(
            "{}, an empty action takes {:.0} ms",
            self.client.version(),
            start.elapsed().as_secs_f64() * 1000.0
        ))
    }

    fn run(&self, launch: &Launch, output: &mut dyn FnMut(&[u8])) -> Result<Ended> {
        ensure!(!launch.arguments.is_empty(), "there is no command to run in Nix's sandbox");
        ensure!(
            !launch.interactive || !std::io::stdin().is_terminal(),
            hinted(
                "the nix backend has no shell at a terminal",
                "give a command after `--`, or use `--backend sandbox`, which shows the same files"
            )
        );
        let root = import(&self.client, launch.store, &launch.environment.root, launch.progress)?;
        let scratch = launch.store.scratch()?;
        let limits = self.limits.raised_to(&launch.needs);
        let job = Job {
            root: &root,
            source: &|out| launch.source.write(launch.store, "source", out),
            variables: launch.variables,
            arguments: launch.arguments,
            scratch: scratch.path(),
            limits,
            room: launch.store.free_bytes()?.min(limits.outputs.unwrap_or(u64::MAX)),
        };
        self.run_job(&job, output, |outputs| match launch.interactive {
            true => Ok(Tree::new()),
            false => launch.store.import_kept_outputs(outputs, limits.outputs),
        })
    }
}

/// Puts a tree into the Nix store, if it is not there: its path follows from its NAR hash.
fn import(client: &Client, store: &Store, root: &Digest, progress: &dyn Progress) -> Result<String> {
    let expected = client.fixed_path(&store.nar_hash_of(root)?, &root.hex())?;
    if client.is_valid(&expected)? {
        return Ok(expected);
    }
    let checkout = store.checkout(root, progress)?;
    let meter = progress.begin("importing the environment into the Nix store", 0, store::Unit::Items);
    let path = client.add_directory(&checkout)?;
    drop(meter);
    ensure!(
        path == expected,
        hinted(
            format!(
                "{} became {path} in the Nix store, not {expected}: its files are not what their digests say",
                checkout.display()
            ),
            "run `cargo xtask store fsck`"
        )
    );
    Ok(path)
}

/// A word for a POSIX shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        for word in ["", "a b", "it's", "$x `y` \"z\"", "a\nb", "\\'"] {
            let script = format!("printf %s {}", quote(word));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
