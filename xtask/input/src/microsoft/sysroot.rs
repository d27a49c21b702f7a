//! Installers become one tree: `crt/{include,lib}` and `sdk/{include,lib}`, as xwin lays them out, with links where headers and
//! libraries are asked for in other letters than they are called.

use super::{
    msi,
    release::{ARCHITECTURES, Chosen, VARIANTS, choose, context, guarded},
};
use crate::{Format, Part, Payload, unpack};
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeMap, fs::File, path::Path, sync::Arc};
use store::{Digest, Store, Tree};
use xwin::{Ctx, Ops, SplatConfig, WorkItem};

/// What a cabinet may unpack to: 200 times its size, and at least this, as other archives.
const LEAST_LIMIT: u64 = 1 << 30;

/// What xwin lays out; less would be another manifest than those it was made for.
const PARTS: [&str; 4] = ["crt/include", "crt/lib/x86_64", "sdk/include", "sdk/lib"];

/// Unpacks the files of a release, all of which the store has. Errors: one is malformed, or would write elsewhere than it should;
/// what comes out is not what the installers say.
pub fn lay_out(store: &Store, manifest: &Digest, crt: &str, sdk: &str, payloads: &[Payload]) -> Result<Tree> {
    let work = store.scratch()?;
    let context = context(work.path())?;
    let chosen = choose(store, &context, manifest, crt, sdk)?;
    let mut expected = BTreeMap::new();
    for payload in payloads {
        let digest = payload.digest()?;
        let files = guarded(&payload.file, || examine(store, payload, &digest))
            .with_context(|| format!("in {}", payload.file))?;
        expected.extend(files.map(|files| (payload.file.clone(), files)));
        let place = work.path().join("dl").join(&payload.file);
        std::fs::create_dir_all(place.parent().context("a file has a directory")?)?;
        // Copied, not linked: xwin writes to these files when it does not like them.
        std::fs::copy(store.blob_path(&digest, false)?, &place)
            .with_context(|| format!("cannot write {}", place.display()))?;
    }
    run(&context, &chosen, Ops::Unpack)?;
    for (installer, files) in &expected {
        complete(&work.path().join("unpack").join(installer), files)
            .with_context(|| format!("{installer} can't be unpacked whole"))?;
    }
    let output = work.path().join("splat");
    let target = xwin::PathBuf::from_path_buf(output.clone())
        .map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))?;
    let config = SplatConfig {
        include_debug_libs: false,
        include_debug_symbols: false,
        enable_symlinks: true,
        preserve_ms_arch_notation: false,
        use_winsysroot_style: false,
        output: target,
        map: None,
        copy: false,
    };
    // Several installers want the same links, and xwin does not expect two of them to make one at the same time.
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().context("cannot start a thread")?;
    alone.install(|| run(&context, &chosen, Ops::Splat(config)))?;
    let tree = store.import(&output).context("cannot take in the unpacked SDK")?;
    for part in PARTS {
        ensure!(!tree.subtree(part).is_empty(), "the unpacked SDK has no `{part}`");
    }
    Ok(tree)
}

/// Looks at one file before xwin does. Gives the headers and libraries of an installer database.
fn examine(store: &Store, payload: &Payload, digest: &Digest) -> Result<Option<BTreeMap<String, u64>>> {
    let extension = Path::new(&payload.file).extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("vsix") => {
            unpack(store, digest, Format::Zip, &Part::default())?;
            Ok(None)
        }
        Some("cab") => {
            let cabinet = cab::Cabinet::new(store.open_blob(digest)?).context("this is not a cabinet")?;
            let files = cabinet.folder_entries().flat_map(|folder| folder.file_entries());
            let size: u64 = files.map(|file| u64::from(file.uncompressed_size())).sum();
            let limit = digest.size.saturating_mul(200).max(LEAST_LIMIT);
            ensure!(
                size <= limit,
                "it unpacks to {size} bytes, more than 200 times its size: it looks like a bomb"
            );
            Ok(None)
        }
        Some("msi") => Ok(Some(msi::read(store.open_blob(digest)?)?.files)),
        _ => anyhow::bail!("nobody knows how to unpack it"),
    }
}

/// Errors: a header or library that an installer holds was not written whole. xwin goes on without those that it can't read.
fn complete(directory: &Path, files: &BTreeMap<String, u64>) -> Result<()> {
    for (path, size) in files {
        let found = File::open(directory.join(path)).and_then(|file| file.metadata());
        let found = found.ok().map(|metadata| metadata.len());
        ensure!(
            found == Some(*size),
            "`{path}` should have {size} bytes, and has {}",
            found.map_or("none".to_owned(), |found| found.to_string())
        );
    }
    Ok(())
}

fn run(context: &Arc<Ctx>, chosen: &Chosen, operation: Ops) -> Result<()> {
    let (packages, installers) = chosen.without_addresses();
    let items = installers
        .into_iter()
        .map(|payload| WorkItem { progress: indicatif::ProgressBar::hidden(), payload: payload.into() })
        .collect();
    guarded("an installer", || {
        Arc::clone(context).execute(
            packages,
            items,
            chosen.installers.crt_version.clone(),
            chosen.installers.sdk_version.clone(),
            None,
            ARCHITECTURES,
            VARIANTS,
            operation,
        )
    })
    .context("cannot unpack the SDK")
}
