//! Microsoft's C runtime and Windows SDK, by the crate `xwin`: Visual Studio's manifest and every installer are pinned, and what
//! they unpack to as well. Its license does not let anybody pass it on: such an input stays on the machine that fetched it.

mod license;
mod msi;
mod release;
mod stl;
mod sysroot;

use crate::{FetchOptions, Input, Payload, Source, fetch::fetch as fetch_inputs, pack, url::is_private};
use anyhow::{Context, Result, bail, ensure};
use store::{Digest, Progress, Store, hinted};

/// What is asked for: versions, and the manifest that has them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MicrosoftSdk {
    /// Version of the C runtime's packages (`14.43.17.13`: tools 14.43 of Visual Studio 17.13).
    pub crt: String,
    /// Version of the Windows SDK (`10.0.22621`).
    pub sdk: String,
    /// Where the license is that has to be accepted.
    pub license: String,
    /// Visual Studio's manifest of packages.
    pub manifest: Payload,
}

impl MicrosoftSdk {
    /// Errors: something in it can't be what it should be; Clang is refused by this C runtime.
    pub fn check(&self) -> Result<()> {
        stl::check(&self.crt)?;
        let is_version = self.sdk.split('.').all(|part| part.parse::<u32>().is_ok());
        ensure!(
            is_version,
            "`{}` is not a version of the Windows SDK, such as 10.0.22621",
            self.sdk.escape_debug()
        );
        ensure!(
            is_private(&self.license),
            "`{}` is not the address of a license",
            self.license.escape_debug()
        );
        self.manifest.check()
    }
}

impl Payload {
    /// Errors: its name would leave its directory; its address is none; its digest is none.
    pub fn check(&self) -> Result<()> {
        let parts: Vec<&str> = self.file.split('/').collect();
        let fine = parts.len() <= 2 && parts.iter().all(|part| msi::is_file_name(part));
        ensure!(fine, "`{}` is not a name of a file", self.file.escape_debug());
        ensure!(is_private(&self.url), "the address of `{}` has to start with https://", self.file);
        self.digest().map(|_| ())
    }

    /// Size and SHA-256.
    pub fn digest(&self) -> Result<Digest> {
        Digest::from_hex(&self.sha256, self.size)
            .with_context(|| format!("`{}` has a bad `sha256`", self.file))
    }

    /// It, as an input of its own. Errors: its digest is none.
    pub(crate) fn input(&self, name: &str) -> Result<Input> {
        Ok(Input {
            name: format!("{name}/{}", self.file),
            digest: self.digest()?,
            source: Source::Https { urls: vec![self.url.clone()], tree: None },
        })
    }
}

/// Locks what is asked for: fetches the manifest, chooses, fetches the files and unpacks them.
///
/// Errors: the license is not accepted; a file is out of reach, or not what the manifest says; it can't be unpacked.
pub fn resolve(
    store: &Store,
    name: &str,
    wanted: &MicrosoftSdk,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Input> {
    wanted.check()?;
    license::require(store, name, &wanted.license, options.accept_license)?;
    fetch_all(store, name, std::slice::from_ref(&wanted.manifest), options, progress)?;
    let manifest = wanted.manifest.digest()?;
    let payloads = choose_files(store, name, wanted, options, progress)?;
    progress.note(&format!("unpacking {} files of `{name}`", payloads.len()));
    let tree = sysroot::lay_out(store, &manifest, &wanted.crt, &wanted.sdk, &payloads)?;
    let source = Source::MicrosoftSdk { release: wanted.clone(), payloads, tree: tree.write(store)? };
    Ok(Input { name: name.to_owned(), digest: pack::pack(store, &tree)?, source })
}

/// The installers and cabinets of a release, fetched.
fn choose_files(
    store: &Store,
    name: &str,
    wanted: &MicrosoftSdk,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<Vec<Payload>> {
    let work = store.scratch()?;
    let context = release::context(work.path())?;
    let manifest = wanted.manifest.digest()?;
    let chosen = release::choose(store, &context, &manifest, &wanted.crt, &wanted.sdk)?;
    let mut payloads = chosen.installers()?;
    check_all(&payloads)?;
    fetch_all(store, name, &payloads, options, progress)?;
    let cabinets = chosen.cabinets(store)?;
    check_all(&cabinets)?;
    fetch_all(store, name, &cabinets, options, progress)?;
    payloads.extend(cabinets);
    payloads.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(payloads)
}

/// # Errors
/// If the license of an SDK is not accepted.
pub fn require_license(
    store: &Store,
    name: &str,
    release: &MicrosoftSdk,
    options: &FetchOptions,
) -> Result<()> {
    license::require(store, name, &release.license, options.accept_license)
}

/// Makes the packed tree of a locked SDK present.
///
/// Errors: as [`resolve`]; what the files unpack to is not what the lock says.
pub fn fetch(store: &Store, input: &Input, options: &FetchOptions, progress: &dyn Progress) -> Result<()> {
    let Source::MicrosoftSdk { release, payloads, tree } = &input.source else {
        bail!("`{}` is not a Microsoft SDK", input.name)
    };
    license::require(store, &input.name, &release.license, options.accept_license)?;
    fetch_all(store, &input.name, std::slice::from_ref(&release.manifest), options, progress)?;
    fetch_all(store, &input.name, payloads, options, progress)?;
    let laid_out =
        sysroot::lay_out(store, &release.manifest.digest()?, &release.crt, &release.sdk, payloads)?;
    let found = laid_out.write(store)?;
    ensure!(
        found == *tree,
        hinted(
            format!("`{}` unpacks to the tree {found}, not to that of the lock, {tree}", input.name),
            "run `cargo xtask lock update inputs`, and look at what changed"
        )
    );
    let packed = pack::pack(store, &laid_out)?;
    ensure!(
        packed == input.digest,
        "`{}` packs to {packed}, not to {} of the lock",
        input.name,
        input.digest
    );
    Ok(())
}

/// Errors: a lock or manifest names something that is not a file of an SDK.
pub fn check_all(payloads: &[Payload]) -> Result<()> {
    payloads.iter().try_for_each(Payload::check)?;
    let sorted = payloads.windows(2).all(|pair| pair[0].file < pair[1].file);
    ensure!(sorted, "its files must be sorted by name, each once");
    Ok(())
}

fn fetch_all(
    store: &Store,
    name: &str,
    payloads: &[Payload],
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<()> {
    let inputs: Vec<Input> = payloads.iter().map(|payload| payload.input(name)).collect::<Result<_>>()?;
    fetch_inputs(store, &inputs.iter().collect::<Vec<_>>(), options, progress)
}
