//! Files that `torch.save` wrote: a ZIP with a pickle and the elements of its tensors beside it.

use crate::{
    dtype::Dtype,
    pickle::{self, Pickled},
};
use anyhow::{Context, Result, bail, ensure};
use std::{collections::HashMap, io::Cursor, ops::Range};
use store::hinted;
use zip::{CompressionMethod, ZipArchive};

/// A pickle of a hundred thousand tensors has some 15 MB.
const LIMIT: usize = 16 << 20;
/// How PyTorch's files began before version 1.6.
const OLD: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// A tensor of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<u64>,
    /// Where its elements are in the file.
    pub range: Range<usize>,
}

/// The tensors of a file, in the order of their dictionary.
///
/// # Errors
/// When it is not what `torch.save` writes, or its pickle does anything but put tensors together.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Saved>> {
    ensure!(
        !bytes.starts_with(OLD),
        hinted(
            "it has the format that PyTorch wrote before version 1.6",
            "`torch.save(torch.load(FILE, weights_only=True), FILE)` writes the present one"
        )
    );
    let mut archive = ZipArchive::new(Cursor::new(bytes)).context("it is not a sound ZIP file")?;
    let mut entries: HashMap<String, Range<usize>> = HashMap::new();
    for number in 0..archive.len() {
        let entry = archive.by_index_raw(number)?;
        let name = entry.name().context("it has an entry without a name")?.into_owned();
        let stored = entry.compression() == CompressionMethod::Stored && !entry.encrypted();
        ensure!(stored, "`{}` in it is compressed, which PyTorch does not do", name.escape_debug());
        let start = entry.data_start().context("it has an entry that is nowhere")?;
        let end = start.checked_add(entry.size()).filter(|end| *end <= bytes.len() as u64);
        let end = end.with_context(|| format!("`{}` in it ends after it", name.escape_debug()))?;
        ensure!(!entries.contains_key(&name), "`{}` stands in it twice", name.escape_debug());
        entries.insert(name, start as usize..end as usize);
    }
    let pickles: Vec<&String> = entries.keys().filter(|name| name.ends_with("/data.pkl")).collect();
    let [pickle] = pickles[..] else { bail!("it has {} files data.pkl, not one", pickles.len()) };
    let prefix = pickle.strip_suffix("data.pkl").unwrap_or_default();
    if let Some(order) = entries.get(&format!("{prefix}byteorder")) {
        ensure!(bytes[order.clone()].trim_ascii() == b"little", "its numbers are not little-endian");
    }
    let pickle = &bytes[entries[pickle].clone()];
    ensure!(pickle.len() <= LIMIT, "its pickle is too large ({} bytes, at most {LIMIT})", pickle.len());
    let tensors = pickle::read(pickle).context("its pickle is refused")?;
    let place = |(name, tensor): (String, Pickled)| {
        let range = range(&tensor, prefix, &entries)
            .with_context(|| format!("`{}` cannot be read", name.escape_debug()))?;
        Ok(Saved { name, dtype: tensor.dtype, shape: tensor.shape, range })
    };
    tensors.into_iter().map(place).collect()
}

/// Where a tensor's elements are.
fn range(tensor: &Pickled, prefix: &str, entries: &HashMap<String, Range<usize>>) -> Result<Range<usize>> {
    let storage =
        entries.get(&format!("{prefix}data/{}", tensor.storage)).context("its elements are missing")?;
    let bytes = |elements: u64| {
        let bytes = elements.checked_mul(tensor.element).and_then(|bytes| usize::try_from(bytes).ok());
        bytes.context("it is too large")
    };
    ensure!(bytes(tensor.length)? <= storage.len(), "its elements are not all there");
    // It ends in its storage, as the pickle was checked to say.
    let start = storage.start + bytes(tensor.start)?;
    Ok(start..start + bytes(tensor.shape.iter().product())?)
}
