//! Which files a C runtime and a Windows SDK consist of, as Visual Studio's manifest tells it.

use super::{msi, stl};
use crate::Payload;
use anyhow::{Context, Result, anyhow, ensure};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};
use store::{Digest, Store};
use xwin::{
    Arch, Ctx, PrunedPackageList, Variant,
    manifest::{ManifestItem, PackageManifest},
    util::ProgressTarget,
};

/// The processor and the kind of program that we build for.
pub const ARCHITECTURES: u32 = Arch::X86_64 as u32;
/// Classic programs, not those of the Store.
pub const VARIANTS: u32 = Variant::Desktop as u32;

/// What was chosen out of a manifest.
pub struct Chosen {
    /// Everything that the manifest has.
    pub packages: PackageManifest,
    /// The installers to unpack. Their names are those of files, each once.
    pub installers: PrunedPackageList,
}

/// A context for xwin in a directory of ours. It finds there what it asks for, and reaches no network: no address that it gets is
/// one.
pub fn context(directory: &Path) -> Result<Arc<Ctx>> {
    let directory = xwin::PathBuf::from_path_buf(directory.to_owned())
        .map_err(|path| anyhow!("{} is not UTF-8", path.display()))?;
    Ok(Arc::new(Ctx::with_dir(directory, ProgressTarget::Hidden, ureq::Agent::new_with_defaults(), 0)?))
}

/// Runs what parses files of others. xwin has places that panic on what is malformed; here that is an error.
pub fn guarded<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(anyhow!("{what} is malformed")))
}

/// Reads a manifest, a blob of the store, and chooses. Errors: it is malformed; it lacks one of the versions.
pub fn choose(store: &Store, context: &Ctx, manifest: &Digest, crt: &str, sdk: &str) -> Result<Chosen> {
    stl::check(crt)?;
    let hex = manifest.hex();
    let address = nowhere(&hex);
    std::fs::copy(
        store.blob_path(manifest, false)?,
        format!("{}/dl/pkg_manifest_{hex}.vsman", context.work_dir),
    )
    .context("cannot copy the manifest")?;
    // The manifest of a channel, which names that of the packages: what xwin takes.
    let channel = serde_json::json!({"channelItems": [{
        "id": "packages", "version": "1", "type": "Manifest",
        "payloads": [{"fileName": "VisualStudio.vsman", "sha256": hex, "size": manifest.size, "url": address}],
    }]})
    .to_string();
    let channel = serde_json::from_str(&channel)?;
    guarded("Visual Studio's manifest", || {
        let hidden = indicatif::ProgressBar::hidden();
        let packages = xwin::manifest::get_package_manifest(context, &channel, hidden)?;
        let installers = xwin::prune_pkg_list(
            &packages,
            ARCHITECTURES,
            VARIANTS,
            false,
            false,
            Some(sdk.to_owned()),
            Some(crt.to_owned()),
        )?;
        for payload in &installers.payloads {
            let name = payload.filename.as_str();
            ensure!(msi::is_file_name(name), "the manifest has a file `{}`", name.escape_debug());
        }
        Ok(Chosen { packages, installers })
    })
    .context("cannot choose from Visual Studio's manifest")
}

impl Chosen {
    /// The files to fetch first: the installers.
    pub fn installers(&self) -> Result<Vec<Payload>> {
        sorted(self.installers.payloads.iter().map(|payload| Payload {
            file: payload.filename.to_string(),
            url: payload.url.clone(),
            size: payload.size,
            sha256: payload.sha256.to_string(),
        }))
    }

    /// The cabinets that the installers, which the store has, name.
    pub fn cabinets(&self, store: &Store) -> Result<Vec<Payload>> {
        let mut all = Vec::new();
        for installer in &self.installers.payloads {
            if installer.filename.extension() != Some("msi") {
                continue;
            }
            let digest = Digest::from_hex(&installer.sha256.to_string(), installer.size)?;
            let named = guarded(installer.filename.as_str(), || msi::read(store.open_blob(&digest)?))
                .with_context(|| format!("in {}", installer.filename))?
                .cabinets;
            let item = self
                .packages
                .packages
                .values()
                .find(|item| item.payloads.iter().any(|payload| payload.sha256 == installer.sha256))
                .with_context(|| format!("the manifest does not have {}", installer.filename))?;
            let stem = installer.filename.file_stem().unwrap_or_default();
            for name in named {
                let is_it = |payload: &&xwin::manifest::Payload| {
                    payload.file_name.rsplit(['/', '\\']).next() == Some(name.as_str())
                };
                let payload = item.payloads.iter().find(is_it).with_context(|| {
                    format!("{} needs `{name}`, which the manifest does not have", installer.filename)
                })?;
                all.push(Payload {
                    file: format!("{stem}/{name}"),
                    url: payload.url.clone(),
                    size: payload.size,
                    sha256: payload.sha256.to_string(),
                });
            }
        }
        sorted(all.into_iter())
    }

    /// The packages and installers with addresses that lead nowhere, for xwin.
    pub fn without_addresses(&self) -> (BTreeMap<String, ManifestItem>, Vec<xwin::Payload>) {
        let mut packages = self.packages.packages.clone();
        for payload in packages.values_mut().flat_map(|item| &mut item.payloads) {
            payload.url = nowhere(&payload.sha256.to_string());
        }
        let mut installers = self.installers.payloads.clone();
        for payload in &mut installers {
            payload.url = nowhere(&payload.sha256.to_string());
        }
        (packages, installers)
    }
}

/// What stands where xwin wants an address: no client can ask for it.
fn nowhere(hex: &str) -> String {
    format!("store:{hex}")
}

/// By name, each once.
fn sorted(payloads: impl Iterator<Item = Payload>) -> Result<Vec<Payload>> {
    let mut payloads: Vec<Payload> = payloads.collect();
    payloads.sort_by(|a, b| a.file.cmp(&b.file));
    payloads.dedup();
    if let Some(pair) = payloads.windows(2).find(|pair| pair[0].file == pair[1].file) {
        return Err(anyhow!("the manifest has two files `{}`", pair[0].file));
    }
    Ok(payloads)
}
