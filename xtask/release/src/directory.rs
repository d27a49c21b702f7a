//! Writing a release directory: complete or not at all.

use crate::{
    Manifest,
    provenance::{self, companions},
    verify::{Problems, check_checksums, check_files, list},
};
use anyhow::{Context, Result, ensure};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use std::{
    fs::File,
    io::{ErrorKind, Write},
    path::Path,
};
use store::{Store, hinted, sync_directory};

/// What [`write`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The directory holds this release already.
    UpToDate,
    /// It was written.
    New,
}

/// Directories that are being written begin with this, beside the release.
const TEMPORARY: &str = ".release-";

/// Writes a release to `destination`, replacing an older one there. The new directory is finished and synced beside the
/// old one and then takes its place in one step, so that nobody ever sees a mixture, whenever this process is killed;
/// two processes take turns. Errors: what stands at `destination` is not a release; a blob is missing; the disk is full.
pub fn write(store: &Store, manifest: &Manifest, destination: &Path) -> Result<Written> {
    let parent = destination.parent().context("a release directory needs a name")?;
    std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let _lock = lock(parent)?;
    let json = manifest.to_json()?;
    let exists = is_release(destination)?;
    if exists && is_up_to_date(manifest, &json, destination)? {
        return Ok(Written::UpToDate);
    }
    sweep(parent)?;
    let temporary = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempdir_in(parent)
        .with_context(|| format!("cannot write to {}", parent.display()))?;
    let new = temporary.path().join("new");
    for file in manifest.files() {
        // A copy: whoever changes a release's file must not change the store's blob.
        let mut source = store.open_blob(&file.digest()?)?;
        create(&new.join(&file.path), |target| std::io::copy(&mut source, target).map(|_| ()))?;
    }
    for (name, text) in [("release.json", &json), ("SHA256SUMS", &manifest.checksums(&json))] {
        create(&new.join(name), |target| target.write_all(text.as_bytes()))?;
    }
    if exists {
        keep_signatures(manifest, &json, destination, &new)?;
    }
    sync_directories(&new)?;
    replace(&new, destination, &temporary.path().join("old"), exists)?;
    sync_directory(parent)?;
    Ok(Written::New)
}

/// Refuses a place that [`write`] could not write a release to, so that this is known before a build. Writes nothing.
///
/// # Errors
/// Something else is there; what should be a directory above it is a file.
pub fn check_destination(destination: &Path) -> Result<()> {
    let above = destination.ancestors().skip(1).filter(|above| *above != Path::new(""));
    let there = above.filter_map(|above| Some((above, std::fs::metadata(above).ok()?))).next();
    if let Some((above, metadata)) = there {
        ensure!(metadata.is_dir(), "{} is a file, not a directory", above.display());
    }
    is_release(destination).map(|_| ())
}

/// Waits for whoever else writes to a release in this directory, until the file that it gives is closed.
pub(crate) fn lock(parent: &Path) -> Result<File> {
    // Not emptied: somebody else may have a file of this name.
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(parent.join(".lock"))
        .with_context(|| format!("cannot write to {}", parent.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", parent.display()))?;
    Ok(lock)
}

/// Whether there is an older release to replace. Errors: there is something else, which is not ours to remove.
fn is_release(destination: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(destination) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", destination.display())),
        Ok(metadata) => {
            // A release that lost a file or two is still a release, and is mended.
            let known = metadata.is_dir()
                && (["release.json", "SHA256SUMS"].iter().any(|name| destination.join(name).exists())
                    || std::fs::read_dir(destination).is_ok_and(|mut entries| entries.next().is_none()));
            ensure!(
                known,
                hinted(
                    format!("{} is there already and is not a release", destination.display()),
                    "move it away, or choose another place with `--output`"
                )
            );
            Ok(true)
        }
    }
}

/// Whether exactly these bytes are there. The archives' members need no look: the archives are ours, bit for bit.
fn is_up_to_date(manifest: &Manifest, json: &str, destination: &Path) -> Result<bool> {
    let same = std::fs::read(destination.join("release.json")).is_ok_and(|bytes| bytes == json.as_bytes());
    if !same {
        return Ok(false);
    }
    let found = list(destination)?;
    let mut problems = Problems::default();
    let beside = companions(manifest, json)?;
    check_files(destination, &found, manifest, &beside, &mut problems)?;
    check_checksums(destination, manifest, json, &mut problems);
    Ok(problems.0.is_empty())
}

/// Takes the signatures of the old directory along, where they are of the same release: a damaged archive is mended, and who
/// vouched for it still does.
fn keep_signatures(manifest: &Manifest, json: &str, old: &Path, new: &Path) -> Result<()> {
    let same = std::fs::read(old.join("release.json")).is_ok_and(|bytes| bytes == json.as_bytes());
    if !same {
        return Ok(());
    }
    for path in companions(manifest, json)?.into_keys() {
        if let Ok(Some(text)) = provenance::read(&old.join(&path)) {
            create(&new.join(&path), |target| target.write_all(text.as_bytes()))?;
        }
    }
    Ok(())
}

/// Removes what a killed process left. The lock is held, so nobody else is writing.
fn sweep(parent: &Path) -> Result<()> {
    let entries = std::fs::read_dir(parent).with_context(|| format!("cannot list {}", parent.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            std::fs::remove_dir_all(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Puts `new` in the place of `destination`. Where the file system can swap two names, there is never a moment without
/// a release.
fn replace(new: &Path, destination: &Path, old: &Path, exists: bool) -> Result<()> {
    let explain = || format!("cannot replace {}", destination.display());
    if !exists {
        return std::fs::rename(new, destination).with_context(explain);
    }
    match renameat_with(CWD, new, CWD, destination, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            move_aside(new, destination, old).with_context(explain)
        }
        Err(error) => Err(error).with_context(explain),
    }
}

/// For file systems that can't swap names. A process that is killed between the two steps leaves no release, and the
/// next run writes it.
fn move_aside(new: &Path, destination: &Path, old: &Path) -> std::io::Result<()> {
    std::fs::rename(destination, old)?;
    std::fs::rename(new, destination)
}

fn create(path: &Path, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    let explain = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(path.parent().context("a file has a directory")?).with_context(explain)?;
    let mut file = File::create_new(path).with_context(explain)?;
    fill(&mut file).with_context(explain)?;
    file.sync_all().with_context(explain)
}

fn sync_directories(directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{example, verify};
    use std::{collections::BTreeMap, os::unix::fs::MetadataExt, path::PathBuf};

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn times(directory: &Path) -> BTreeMap<PathBuf, (i64, i64, u64)> {
        let found = list(directory).unwrap();
        let stamp = |path: PathBuf| {
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            (path, (metadata.ctime(), metadata.ctime_nsec(), metadata.ino()))
        };
        found.keys().map(|name| stamp(directory.join(name))).collect()
    }

    #[test]
    fn a_second_run_touches_nothing() {
        let (directory, store, manifest) = example::release();
        let path = directory.path().join("dist/test");
        assert_eq!(write(&store, &manifest, &path).unwrap(), Written::New);
        let before = times(&path);
        assert_eq!(write(&store, &manifest, &path).unwrap(), Written::UpToDate);
        assert_eq!(times(&path), before);
        assert_eq!(names(&directory.path().join("dist")), [".lock", "test"]);
    }

    #[test]
    fn a_damaged_release_is_mended_and_the_store_is_not_shared_with_it() {
        let (directory, store, manifest) = example::release();
        let path = directory.path().join("dist/test");
        write(&store, &manifest, &path).unwrap();
        std::fs::write(path.join(example::ARCHIVE), "damage").unwrap();
        std::fs::write(path.join("extra"), "").unwrap();
        assert_eq!(write(&store, &manifest, &path).unwrap(), Written::New);
        assert_eq!(verify(&path, None).unwrap().problems, []);
    }

    #[test]
    fn what_is_no_release_is_not_replaced() {
        let (directory, store, manifest) = example::release();
        let path = directory.path().join("dist/test");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("thesis.tex"), "years of work").unwrap();
        let error = write(&store, &manifest, &path).unwrap_err().to_string();
        assert!(error.contains("is there already and is not a release"), "{error}");
        assert!(path.join("thesis.tex").exists());
        let link = directory.path().join("dist/link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(write(&store, &manifest, &link).is_err());
    }

    #[test]
    fn what_a_killed_process_left_is_swept() {
        let (directory, store, manifest) = example::release();
        let dist = directory.path().join("dist");
        std::fs::create_dir_all(dist.join(".release-a1b2/new/licenses")).unwrap();
        std::fs::write(dist.join(".release-a1b2/new/half"), "ha").unwrap();
        write(&store, &manifest, &dist.join("test")).unwrap();
        assert_eq!(names(&dist), [".lock", "test"]);
    }

    #[test]
    fn a_missing_blob_leaves_the_old_release() {
        let (directory, store, mut manifest) = example::release();
        let path = directory.path().join("dist/test");
        write(&store, &manifest, &path).unwrap();
        manifest.licenses[0].sha256 = "0".repeat(64);
        assert!(write(&store, &manifest, &path).is_err());
        assert_eq!(verify(&path, None).unwrap().problems, []);
        assert_eq!(names(&directory.path().join("dist")), [".lock", "test"]);
    }

    fn bom_of(manifest: &Manifest) -> store::Digest {
        manifest.bom.as_ref().unwrap().digest().unwrap()
    }

    #[test]
    fn writers_at_the_same_time_never_mix() {
        let (directory, store, manifest) = example::release();
        let path = directory.path().join("dist/test");
        let mut other = manifest.clone();
        other.program = Some("mlc-repro 0.0.1".into());
        let packages = crate::bom::packages_of(
            &serde_json::from_slice(&store.read(&bom_of(&manifest)).unwrap()).unwrap(),
        );
        let bom = crate::bom::text(&other, &packages).unwrap();
        other.bom = Some(crate::File::new(crate::BOM, &store.put_bytes(bom.as_bytes()).unwrap()));
        std::thread::scope(|scope| {
            for manifest in [&manifest, &other, &manifest, &other] {
                scope.spawn(|| {
                    for _ in 0..5 {
                        write(&store, manifest, &path).unwrap();
                    }
                });
            }
        });
        assert_eq!(verify(&path, None).unwrap().problems, []);
        assert_eq!(names(&directory.path().join("dist")), [".lock", "test"]);
    }

    #[test]
    fn where_names_cannot_be_swapped_the_old_one_moves_aside() {
        let directory = tempfile::tempdir().unwrap();
        let [new, place, old] = ["new", "place", "old"].map(|name| directory.path().join(name));
        for path in [&new, &place] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join(path.file_name().unwrap()), "").unwrap();
        }
        move_aside(&new, &place, &old).unwrap();
        assert_eq!((names(&place), names(&old)), (vec!["new".to_owned()], vec!["place".to_owned()]));
        assert!(!new.exists());
    }
}
