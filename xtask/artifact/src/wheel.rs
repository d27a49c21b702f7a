//! Wheels: Python packages in the binary distribution format (PEP 427 and its successors in the packaging specifications),
//! whose bytes depend on their content alone.
//!
//! What goes where is the tree's own layout: everything stands where it is installed (`site-packages`), but for `licenses/`,
//! which goes into `NAME-VERSION.dist-info/licenses/`. METADATA (version 2.4), WHEEL, RECORD and `entry_points.txt` are written
//! from data. Members are sorted, `.dist-info` last, as the specification recommends.

mod metadata;
mod platform;
#[cfg(test)]
mod tests;

use crate::archive::ZipFile;
use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
pub use metadata::Metadata;
use store::{Digest, Entry, Store, Tree, hinted};

/// Where license texts stand in the tree that a wheel is made of.
const LICENSES: &str = "licenses/";

/// A wheel's file name without `.whl`, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelName {
    /// The distribution's name as file names have it: lower case, every run of `-_.` an underscore.
    pub distribution: String,
    /// The version.
    pub version: String,
    /// The compatibility tag: Python, ABI and platform, `cp313-cp313-win_amd64`.
    pub tag: String,
}

impl WheelName {
    /// Reads the file name of a wheel, with or without `.whl`. Nothing when it is none, or has a build tag.
    pub fn parse(file_name: &str) -> Option<Self> {
        let name = file_name.strip_suffix(".whl").unwrap_or(file_name);
        let [distribution, version, tag] = name.splitn(3, '-').collect::<Vec<_>>().try_into().ok()?;
        let fine = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.+".contains(c))
        };
        let parts: Vec<_> = tag.split('-').collect();
        (parts.len() == 3 && [distribution, version].into_iter().chain(parts).all(fine)).then(|| Self {
            distribution: distribution.to_owned(),
            version: version.to_owned(),
            tag: tag.to_owned(),
        })
    }

    /// `NAME-VERSION-TAG`.
    pub fn stem(&self) -> String {
        format!("{}-{}-{}", self.distribution, self.version, self.tag)
    }

    /// The file name.
    pub fn file_name(&self) -> String {
        self.stem() + ".whl"
    }

    /// The directory of the wheel's own files.
    pub fn information(&self) -> String {
        format!("{}-{}.dist-info", self.distribution, self.version)
    }

    /// The single tags that a compressed one stands for, in order: `py2.py3-none-any` is two.
    fn tags(&self) -> Vec<String> {
        let parts: Vec<Vec<&str>> = self.tag.split('-').map(|part| part.split('.').collect()).collect();
        let mut tags = vec![String::new()];
        for part in &parts {
            let longer = |tag: &String| part.iter().map(|one| format!("{tag}-{one}")).collect::<Vec<_>>();
            tags = tags.iter().flat_map(longer).collect();
        }
        tags.into_iter().map(|tag| tag.trim_start_matches('-').to_owned()).collect()
    }
}

/// Writes a wheel into the store and gives its name and digest. `version` is a version as PEP 440 writes it, `license` an SPDX
/// expression. Errors: the metadata is not what the specifications allow, the tree has links or files where the wheel's own
/// stand, or libraries that the tag does not promise.
pub fn write_wheel(
    store: &Store,
    tree: &Tree,
    metadata: &Metadata,
    version: &str,
    license: &str,
    tag: &str,
) -> Result<(WheelName, Digest)> {
    let name = WheelName {
        distribution: metadata.distribution()?,
        version: version.to_owned(),
        tag: tag.to_owned(),
    };
    ensure!(
        WheelName::parse(&name.file_name()).as_ref() == Some(&name),
        hinted(
            format!("`{}` is not a name for a wheel", name.file_name()),
            "a tag is `PYTHON-ABI-PLATFORM`, such as `py3-none-any`"
        )
    );
    platform::check(store, tree, tag, &metadata.dependency_libraries)?;

    let information = name.information();
    let (mut content, mut own) = (Vec::new(), Vec::new());
    let mut readme = None;
    for (path, entry) in tree.iter() {
        let Entry::File { digest, executable } = entry else {
            bail!("`{path}` is a link or an empty directory, which a wheel can't hold")
        };
        let top = path.split('/').next().unwrap_or_default();
        ensure!(
            !top.ends_with(".dist-info") && !top.ends_with(".data"),
            "`{path}` stands where the wheel's own files do"
        );
        if metadata.readme.as_deref() == Some(path) {
            readme = Some(String::from_utf8(store.read(digest)?).context("the readme is not UTF-8")?);
            continue;
        }
        match path.strip_prefix(LICENSES) {
            Some(rest) => own.push((format!("{information}/{LICENSES}{rest}"), *digest, *executable)),
            None => content.push((path.to_owned(), *digest, *executable)),
        }
    }
    ensure!(!content.is_empty(), "there is nothing to install in it");
    if let (Some(path), None) = (&metadata.readme, &readme) {
        bail!("the readme `{path}` is not in the tree");
    }
    let licenses: Vec<_> = own
        .iter()
        .filter_map(|(path, _, _)| path.strip_prefix(&format!("{information}/{LICENSES}")))
        .map(str::to_owned)
        .collect();

    for (path, text) in wheel_texts(&name, metadata, license, &licenses, readme.as_deref())? {
        own.push((path, store.put_bytes(text.as_bytes())?, false));
    }
    own.sort();
    content.extend(own);
    let record = format!("{information}/RECORD");
    let text = record_text(content.iter().map(|(path, digest, _)| (path.as_str(), *digest)), &record);
    content.push((record, store.put_bytes(text.as_bytes())?, false));

    let mut zip = ZipFile::new(store)?;
    for (path, digest, executable) in &content {
        zip.file(store, path, digest, *executable).with_context(|| format!("cannot pack `{path}`"))?;
    }
    Ok((name, zip.finish(store)?))
}

/// The files of `.dist-info` that are written from data, RECORD aside: paths and texts. `licenses` are the paths below
/// `licenses/`.
///
/// # Errors
/// If the metadata is not what the specifications allow.
pub fn wheel_texts(
    name: &WheelName,
    metadata: &Metadata,
    license: &str,
    licenses: &[String],
    readme: Option<&str>,
) -> Result<Vec<(String, String)>> {
    let mut texts = vec![
        ("METADATA", metadata.text(&name.version, license, licenses, readme)?),
        ("WHEEL", wheel_tags(name)),
    ];
    texts.extend(metadata.entry_points().map(|text| ("entry_points.txt", text)));
    let information = name.information();
    Ok(texts.into_iter().map(|(file, text)| (format!("{information}/{file}"), text)).collect())
}

/// The text of WHEEL. The generator's version is left out: it says nothing about the content, and would change it.
pub fn wheel_tags(name: &WheelName) -> String {
    let pure = name.tag.ends_with("-none-any");
    let mut text = format!("Wheel-Version: 1.0\nGenerator: mlc-repro\nRoot-Is-Purelib: {pure}\n");
    for tag in name.tags() {
        text += &format!("Tag: {tag}\n");
    }
    text
}

/// The text of RECORD: path, digest and size of each file, sorted; of itself (`record`) the path alone.
pub fn record_text<'a>(files: impl Iterator<Item = (&'a str, Digest)>, record: &str) -> String {
    let mut lines: Vec<_> = files
        .map(|(path, digest)| {
            let hash = URL_SAFE_NO_PAD.encode(digest.sha256);
            format!("{},sha256={hash},{}\n", quoted(path), digest.size)
        })
        .collect();
    lines.push(format!("{record},,\n"));
    lines.sort();
    lines.concat()
}

/// A field of a CSV file (RFC 4180), in quotes where it needs them.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
