//! What is asked for, and whether the locks answer it: `containers/NAME.toml`, `models/NAME.toml` and
//! `recipes/inputs.toml` against their `.lock` files.

use crate::{
    Archive, Input, Lock, Model, Part, Source, Unavailable, cargo,
    debian::IsolatedApt,
    download::download_unlocked,
    fetch::{FetchOptions, fetch},
    git,
    hub::Hub,
    index,
    line_ends::read_text,
    microsoft, pack, unpack,
    wanted::{Inputs, Wanted},
};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};
use store::{Digest, Progress, Store, WithHint, find, hinted};

/// An intent file and its lock.
pub struct Intent {
    /// `containers/NAME.toml`, `models/NAME.toml` or `recipes/inputs.toml`.
    pub path: PathBuf,
}

/// Of the lists of packages that source packages are looked up beside.
const ARCHITECTURE: &str = "amd64";

/// The part of an environment's definition that a lock answers.
#[derive(Deserialize)]
struct Container {
    suite: String,
    #[serde(default)]
    suites: Vec<String>,
    #[serde(default)]
    suite_of: BTreeMap<String, String>,
    architecture: String,
    packages: Vec<String>,
}

impl Container {
    /// Every suite that packages are taken from, sorted, each once.
    fn all_suites(&self) -> Vec<&str> {
        let more = self.suites.iter().chain(self.suite_of.values()).map(String::as_str);
        more.chain([self.suite.as_str()]).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Intent {
    /// Every intent file of a repository, by the name that `lock update` takes.
    pub fn all(root: &Path) -> Result<BTreeMap<String, Self>> {
        let mut intents = BTreeMap::new();
        intents.insert("inputs".to_owned(), Self { path: root.join("recipes/inputs.toml") });
        for directory in ["containers", "models"].map(|name| root.join(name)) {
            // A repository without models is whole.
            if directory.ends_with("models") && !directory.is_dir() {
                continue;
            }
            for entry in std::fs::read_dir(&directory)
                .with_context(|| format!("cannot list {}", directory.display()))?
            {
                let path = entry?.path();
                let is_toml = path.extension().is_some_and(|extension| extension == "toml");
                if let (true, Some(stem)) = (is_toml, path.file_stem().and_then(|stem| stem.to_str())) {
                    // `common.toml` holds what the others include.
                    if stem != "common" {
                        intents.insert(stem.to_owned(), Self { path: path.clone() });
                    }
                }
            }
        }
        Ok(intents)
    }

    /// The lock beside it.
    pub fn lock_path(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    fn is_inputs(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "inputs.toml")
    }

    fn is_model(&self) -> bool {
        self.path.parent().is_some_and(|directory| directory.ends_with("models"))
    }

    fn model(&self) -> Result<Model> {
        let text = std::fs::read_to_string(&self.path)
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        Model::parse(&self.path, &text)
    }

    fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        let text = read_text(&self.path)?;
        toml::from_str(&text).with_context(|| format!("{} is malformed", self.path.display()))
    }
}

/// Checks a lock against its intent: offline, in milliseconds. Errors say what `lock update` would mend.
pub fn check(intent: &Intent) -> Result<()> {
    let path = intent.lock_path();
    let lock = Lock::load(&path)?;
    let shown = path.display();
    let hint = "run `cargo xtask lock update`";
    let text = read_text(&path)?;
    ensure!(
        text == lock.to_toml()?,
        hinted(format!("{shown} is not written as `lock update` writes it"), hint)
    );
    if intent.is_inputs() {
        let inputs: Inputs = intent.parse()?;
        for wanted in &inputs.inputs {
            let name = wanted.name();
            wanted.check().with_context(|| format!("{}: `{name}`", intent.path.display()))?;
            if lock.pending.iter().any(|pending| pending == name) {
                continue;
            }
            let input = lock.get(name).with_hint(|| hinted(format!("{shown} lacks `{name}`"), hint))?;
            ensure!(
                wanted.is_answered_by(&input.source, intent.directory())?,
                hinted(format!("{shown}: `{name}` is not what is asked for"), hint)
            );
        }
        let names: BTreeSet<_> = inputs.inputs.iter().map(Wanted::name).collect();
        for name in lock.inputs.iter().map(|input| &input.name).chain(&lock.pending) {
            ensure!(
                names.contains(name.as_str()),
                hinted(format!("{shown}: nobody asks for `{name}`"), hint)
            );
        }
        return Ok(());
    }
    if intent.is_model() {
        let model = intent.model()?;
        for input in &lock.inputs {
            model.check_input(input).with_hint(|| hinted(format!("{shown} does not answer"), hint))?;
        }
        ensure!(!lock.inputs.is_empty(), hinted(format!("{shown} is empty"), hint));
        return Ok(());
    }
    let container: Container = intent.parse()?;
    for package in &container.packages {
        ensure!(lock.get(package).is_some(), hinted(format!("{shown} lacks the package `{package}`"), hint));
    }
    let suites = container.all_suites();
    for archive in &lock.archives {
        ensure!(
            suites.contains(&archive.suite.as_str()),
            hinted(
                format!("{shown}: its packages are of `{}`, not of {}", archive.suite, quoted(&suites)),
                hint
            )
        );
    }
    for suite in &suites {
        // Locks of older versions name no suite.
        let is_named = lock.archives.is_empty() || lock.archives.iter().any(|it| it.suite == *suite);
        ensure!(is_named, hinted(format!("{shown}: no package of it is of `{suite}`"), hint));
    }
    for input in &lock.inputs {
        ensure!(
            matches!(input.source, Source::Debian { .. }),
            hinted(format!("{shown}: `{}` is not a Debian package", input.name), hint)
        );
    }
    Ok(())
}

fn quoted(suites: &[&str]) -> String {
    suites.iter().map(|suite| format!("`{suite}`")).collect::<Vec<_>>().join(" or ")
}

/// Resolves an intent anew and writes its lock; gives a line for each change.
pub fn update(
    store: &Store,
    intent: &Intent,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Vec<String>> {
    let path = intent.lock_path();
    let old = if path.exists() { Lock::load(&path)? } else { Lock::default() };
    let new = match (intent.is_inputs(), intent.is_model()) {
        (true, _) => resolve_inputs(store, intent, &old, options, progress)?,
        (_, true) => {
            let model = intent.model()?;
            let is_answered = old.inputs.iter().all(|input| model.check_input(input).is_ok());
            match is_answered && !old.inputs.is_empty() {
                // A commit never changes, so what is locked already is kept.
                true => old.clone(),
                false => {
                    let hub =
                        Hub::open(options.network.client(options.patience), options.endpoint.as_deref())?;
                    let hub = hub.including(&model.include);
                    let (found, inputs) = hub.resolve(store, &model.repository, &model.revision, progress)?;
                    write(&intent.path, &Model { include: model.include, ..found }.to_toml()?)?;
                    Lock { inputs, ..Lock::default() }
                }
            }
        }
        _ => {
            let container: Container = intent.parse()?;
            let (suites, mirrors) = (container.all_suites(), options.network.debian()?);
            let apt = IsolatedApt::new(&suites, &container.architecture, mirrors, progress)?;
            apt.pin(&container.suite_of)?;
            let inputs = apt.closure(&container.packages)?;
            apt.check_pins(&container.suite_of, &inputs)?;
            Lock { inputs, archives: apt.archives()?, ..Lock::default() }
        }
    };
    write(&path, &new.to_toml()?)?;
    Ok(changes(&old, &new))
}

/// Writes a file of the repository, whole or not at all, unless it says that already. Errors: its directory can't be written to.
pub fn write(path: &Path, text: &str) -> Result<()> {
    store::write_output(path, text.as_bytes())
}

fn resolve_inputs(
    store: &Store,
    intent: &Intent,
    old: &Lock,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Lock> {
    let inputs: Inputs = intent.parse()?;
    let mut lock = Lock::default();
    for wanted in &inputs.inputs {
        let name = wanted.name().to_owned();
        // A release never changes under its name, so what is locked already is kept; but what an archive holds may not
        // have been looked at yet.
        let is_known = |input: &&Input| match wanted {
            Wanted::Https { .. } => options.offline || input.source.tree().is_some(),
            _ => true,
        };
        if let Some(input) = old.get(&name).filter(is_known)
            && wanted.is_answered_by(&input.source, intent.directory())?
        {
            if let Wanted::DebianSource { suite, .. } = wanted {
                let known = old.archives.iter().filter(|archive| archive.suite == *suite);
                lock.archives.extend(known.cloned());
                if !lock.archives.iter().any(|archive| archive.suite == *suite) && !options.offline {
                    lock.archives.extend(state_with(wanted, input, options, progress));
                }
            }
            lock.inputs.push(input.clone());
            continue;
        }
        if let Wanted::DebianSource { suite, package, suffix, .. } = wanted {
            let apt = IsolatedApt::new(&[suite], ARCHITECTURE, options.network.debian()?, progress)?;
            let input = apt.source_file(&name, package, suffix)?;
            lock.archives.extend(apt.archives()?);
            fetch(store, &[&input], options, progress)?;
            lock.inputs.push(input);
            continue;
        }
        match resolve(store, wanted, intent.directory(), options, progress) {
            Ok(input) => lock.inputs.push(input),
            // A source outside of the registries may be out of reach for a while, or from here: the others are locked
            // all the same, and what needs this one says so.
            Err(error) if wanted.may_wait() && error.is::<Unavailable>() => {
                let hints = find::<Unavailable>(&error).map_or_else(String::new, |it| it.hints.join("; "));
                progress.note(&format!("`{name}` stays pending: {error:#}; {hints}"));
                lock.pending.push(name);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot lock `{name}`")),
        }
    }
    lock.pending.sort();
    lock.archives.sort();
    lock.archives.dedup();
    lock.inputs.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = lock.inputs.windows(2).find(|pair| pair[0].name == pair[1].name) {
        bail!("{} asks for `{}` twice", intent.path.display(), pair[0].name);
    }
    Ok(lock)
}

/// The state of the archive that a source package was locked from, where its lock does not say it: today's, as long as it has
/// the very file.
fn state_with(
    wanted: &Wanted,
    input: &Input,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Option<Archive> {
    let Wanted::DebianSource { suite, package, suffix, .. } = wanted else { return None };
    let find = || {
        let apt = IsolatedApt::new(&[suite], ARCHITECTURE, options.network.debian()?, progress)?;
        let now = apt.source_file(&input.name, package, suffix)?;
        ensure!(now == *input, "`{suite}` has another version today");
        Ok(apt.archives()?.pop())
    };
    match find() {
        Ok(archive) => archive,
        Err(error) => {
            progress.note(&format!(
                "it stays unknown which state of the archive `{}` is of: {error:#}",
                input.name
            ));
            None
        }
    }
}

/// Asks for one input of the intent in `directory`, and brings it into the store.
fn resolve(
    store: &Store,
    wanted: &Wanted,
    directory: &Path,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Input> {
    let client = options.network.client(options.patience);
    let name = wanted.name().to_owned();
    let input = match wanted {
        Wanted::Pypi { package, version, file, .. } => {
            let found = index::python_file(&client, options.network.python()?, package, file, progress)?;
            let sha256 = found.hashes.get("sha256").context("the index gives no sha256")?;
            let size = found.size.context("the index gives no size")?;
            let source =
                Source::Pypi { package: package.clone(), version: version.clone(), file: file.clone() };
            Input { name, digest: Digest::from_hex(sha256, size)?, source }
        }
        Wanted::DebianSource { .. } => bail!("`{name}` is resolved with the state of its archive"),
        Wanted::Crate { package, version, .. } => {
            let digest = store.put_file(&index::crate_file(package, version)?)?;
            let source = Source::Crate { package: package.clone(), version: version.clone() };
            Input { name, digest, source }
        }
        Wanted::Cargo { lock, .. } => {
            return cargo::resolve(store, &name, cargo::read(&directory.join(lock))?);
        }
        Wanted::Npm { package, version, .. } => {
            let url = index::npm_file(options.network.npm()?, package, version);
            let digest = download_unlocked(store, &client, &name, &url.into(), progress)?;
            let source = Source::Npm { package: package.clone(), version: version.clone() };
            Input { name, digest, source }
        }
        Wanted::Git { url, revision, submodules, .. } => {
            return git::resolve(store, &name, url, revision, submodules, options.patience);
        }
        Wanted::MicrosoftSdk { release, .. } => {
            return microsoft::resolve(store, &name, release, options, progress);
        }
        Wanted::Https { urls, size, sha256, .. } => {
            let digest = Digest::from_hex(sha256, *size)?;
            let input = Input { name, digest, source: Source::Https { urls: urls.clone(), tree: None } };
            if let Err(error) = fetch(store, &[&input], options, progress) {
                // Its digest is known: that is enough for a lock.
                progress.note(&format!("`{}` is locked by its digest, without having been fetched, so a directory given in its place counts as unpinned: {error:#}", input.name));
                return Ok(input);
            }
            let content = pack::content(&unpack(store, &digest, input.format(), &Part::default())?);
            let tree = Some(content.digest()?);
            return Ok(Input { source: Source::Https { urls: urls.clone(), tree }, ..input });
        }
    };
    fetch(store, &[&input], options, progress)?;
    Ok(input)
}

fn changes(old: &Lock, new: &Lock) -> Vec<String> {
    let mut lines = Vec::new();
    let version = |input: &Input| match &input.source {
        Source::Pypi { version, .. }
        | Source::Debian { version, .. }
        | Source::DebianSource { version, .. }
        | Source::Crate { version, .. }
        | Source::Npm { version, .. } => version.clone(),
        Source::Git { revision, .. } | Source::HuggingFace { revision, .. } => {
            revision[..12.min(revision.len())].to_owned()
        }
        Source::Cargo { crates } => format!("{} crates", crates.len()),
        Source::MicrosoftSdk { release, .. } => format!("{} with {}", release.sdk, release.crt),
        Source::Https { .. } | Source::Path { .. } => input.digest.hex()[..12].to_owned(),
    };
    for archive in new.archives.iter().filter(|archive| !old.archives.contains(archive)) {
        lines.push(format!("archive {} of {}", archive.suite, archive.date));
    }
    for input in &new.inputs {
        match old.get(&input.name) {
            None => lines.push(format!("added {} {}", input.name, version(input))),
            Some(before) if before != input => {
                lines.push(format!("changed {} {} -> {}", input.name, version(before), version(input)));
            }
            Some(_) => {}
        }
    }
    lines.extend(new.pending.iter().map(|name| format!("pending {name}")));
    let gone = old.inputs.iter().filter(|input| new.get(&input.name).is_none());
    lines.extend(gone.map(|input| format!("removed {} {}", input.name, version(input))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(intent: &str, lock: &str) -> (tempfile::TempDir, Intent) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("inputs.toml"), intent).unwrap();
        std::fs::write(directory.path().join("inputs.lock"), lock).unwrap();
        let intent = Intent { path: directory.path().join("inputs.toml") };
        (directory, intent)
    }

    const WANTED: &str = "[[input]]\nname = \"six\"\nkind = \"pypi\"\npackage = \"six\"\nversion = \"1.16.0\"\nfile = \"six-1.16.0.tar.gz\"\n";

    fn locked(version: &str) -> String {
        let source = Source::Pypi {
            package: "six".into(),
            version: version.into(),
            file: format!("six-{version}.tar.gz"),
        };
        let input = Input { name: "six".into(), digest: Digest::of(b"x"), source };
        Lock { inputs: vec![input], ..Lock::default() }.to_toml().unwrap()
    }

    #[test]
    fn a_lock_must_answer_its_intent() {
        let (_directory, intent) = project(WANTED, &locked("1.16.0"));
        check(&intent).unwrap();
        for (wanted, lock, expected) in [
            (WANTED.to_owned(), locked("1.15.0"), "is not what is asked for"),
            (WANTED.replace("\"six\"\nkind", "\"seven\"\nkind"), locked("1.16.0"), "lacks `seven`"),
            (
                WANTED.to_owned(),
                locked("1.16.0").replace("version = 1\n", "# by hand\nversion = 1\n"),
                "not written as",
            ),
        ] {
            let (_directory, intent) = project(&wanted, &lock);
            let error = format!("{:#}", check(&intent).unwrap_err());
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn changes_are_told() {
        let (old, new) =
            (Lock::parse(&locked("1.15.0"), "a").unwrap(), Lock::parse(&locked("1.16.0"), "b").unwrap());
        assert_eq!(changes(&old, &new), ["changed six 1.15.0 -> 1.16.0"]);
        assert_eq!(changes(&Lock::default(), &new), ["added six 1.16.0"]);
        assert_eq!(changes(&new, &Lock::default()), ["removed six 1.16.0"]);
    }
}
