//! A Hugging Face checkpoint: `config.json` and files of safetensors or of PyTorch, mapped into memory.
//!
//! Headers come from strangers. The `safetensors` crate bounds them (100 MB), and checks that ranges are in the
//! file, do not overlap, leave no holes and fit their shapes; on top of that, a name may stand in a header once.

use crate::{
    dtype::Dtype,
    file::{map_file, other_format, read_text},
    python,
    recognize::without_weights,
    torch,
};
use anyhow::{Context, Result, bail, ensure};
use memmap2::Mmap;
use safetensors::SafeTensors;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, HashSet},
    fs::{self, DirEntry},
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// The index of a checkpoint of several files.
pub const INDEX: &str = "model.safetensors.index.json";
/// The only file of a small checkpoint.
pub const SINGLE: &str = "model.safetensors";
/// The same of PyTorch's own format, which the reference prefers.
pub const PICKLED_INDEX: &str = "pytorch_model.bin.index.json";
/// The only file of a small checkpoint in PyTorch's own format.
pub const PICKLED: &str = "pytorch_model.bin";
/// An index of a hundred thousand tensors has some 10 MB.
const INDEX_LIMIT: u64 = 256 << 20;
const CONFIG_LIMIT: u64 = 16 << 20;

/// A checkpoint, open for reading. Nothing is ever written into its directory.
pub struct Checkpoint {
    /// Where it is.
    pub directory: PathBuf,
    /// `config.json`, in its own order.
    pub config: Map<String, Value>,
    /// Its files, in the order in which the index names them first.
    pub files: Vec<SourceFile>,
    maps: Vec<Arc<Mmap>>,
    tensors: HashMap<String, Tensor>,
    order: Vec<String>,
    absent: HashMap<String, String>,
    /// The index by which it was opened.
    pub(crate) index: Option<&'static str>,
}

/// One file of tensors.
pub struct SourceFile {
    /// Its name in the directory.
    pub name: String,
    /// Names and element counts of all its tensors, by offset; the index may name fewer.
    pub contents: Vec<(String, u64)>,
}

/// Where a tensor of a checkpoint lies.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The position of its file in [`Checkpoint::files`].
    pub file: usize,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Whether the reference reads it as float32: bfloat16 of PyTorch's own files, for which it asks NumPy.
    pub widened: bool,
    /// Its dimensions, the slowest first.
    pub shape: Vec<u64>,
    /// The position of the map that holds it: as of its file, or after them.
    pub(crate) map: usize,
    pub(crate) range: Range<usize>,
}

impl Tensor {
    /// The type that its elements have for the reference.
    pub(crate) fn read_as(&self) -> Dtype {
        if self.widened { Dtype::F32 } else { self.dtype }
    }
}

impl Checkpoint {
    /// Opens the checkpoint in `directory`: by the index of PyTorch's files or the only one of them, else by
    /// `model.safetensors.index.json` or `model.safetensors`, which is the reference's order.
    ///
    /// # Errors
    /// When files are missing, not what they should be, or outside the directory.
    pub fn open(directory: &Path) -> Result<Self> {
        Ok(Self { config: read_config(directory)?, ..Self::open_tensors(directory)? })
    }

    /// The same without `config.json`, for those who look at tensors only.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_tensors(directory: &Path) -> Result<Self> {
        let found = weights(directory);
        let (mut files, mut maps) = (Vec::new(), Vec::new());
        let mut tensors = HashMap::new();
        let mut order = Vec::new();
        let mut absent = HashMap::new();
        let index = found.filter(|name| [PICKLED_INDEX, INDEX].contains(name));
        if let Some(index) = index.map(|name| directory.join(name)) {
            let mut by_file: Vec<(String, Vec<String>)> = Vec::new();
            let mut positions: HashMap<String, usize> = HashMap::new();
            for (name, file_name) in read_index(&index)? {
                let file_name =
                    file_name_of(&file_name).with_context(|| format!("{} is refused", index.display()))?;
                let position = *positions.entry(file_name.clone()).or_insert_with(|| {
                    by_file.push((file_name, Vec::new()));
                    by_file.len() - 1
                });
                by_file[position].1.push(name);
            }
            for (file_name, names) in by_file {
                // Not every file and tensor that an index names is needed, or there: what is, the plan knows.
                if directory.join(&file_name).exists() {
                    let (file, mut header, map) = open_file(directory, &file_name, files.len())?;
                    files.push(file);
                    maps.push(Arc::new(map));
                    for name in &names {
                        match header.remove(name) {
                            Some(tensor) => _ = tensors.insert(name.clone(), tensor),
                            None => _ = absent.insert(name.clone(), file_name.clone()),
                        }
                    }
                } else {
                    absent.extend(names.iter().map(|name| (name.clone(), file_name.clone())));
                }
                order.extend(names);
            }
        } else if let Some(single) = found {
            let (file, header, map) = open_file(directory, single, 0)?;
            order.extend(file.contents.iter().map(|(name, _)| name.clone()));
            files.push(file);
            maps.push(Arc::new(map));
            tensors = header;
        } else {
            let message =
                format!("{} holds none of {SINGLE}, {PICKLED} and their indices", directory.display());
            bail!(without_weights(directory, &message));
        }
        let (directory, config) = (directory.to_owned(), Map::new());
        Ok(Self { directory, config, files, maps, tensors, order, absent, index })
    }

    /// The same checkpoint with other tensors, in files as `shards` names them, each in its own order.
    pub(crate) fn with_tensors(
        &self,
        shards: &[Vec<String>],
        mut tensors: HashMap<String, Tensor>,
        merged: Option<Mmap>,
    ) -> Self {
        let mut files = Vec::new();
        for (position, names) in shards.iter().enumerate() {
            let mut contents = Vec::new();
            for name in names {
                if let Some(tensor) = tensors.get_mut(name) {
                    tensor.file = position;
                    contents.push((name.clone(), tensor.shape.iter().product()));
                }
            }
            files.push(SourceFile { name: format!("{} of {}", position + 1, shards.len()), contents });
        }
        Self {
            directory: self.directory.clone(),
            config: self.config.clone(),
            files,
            maps: self.maps.iter().cloned().chain(merged.map(Arc::new)).collect(),
            tensors,
            order: shards.concat(),
            absent: HashMap::new(),
            index: self.index,
        }
    }

    /// How many files are mapped.
    pub(crate) fn map_count(&self) -> usize {
        self.maps.len()
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Why a tensor that the index names is not there, if that is so.
    pub(crate) fn absence(&self, name: &str) -> Option<String> {
        let (file, index) = (self.absent.get(name)?, self.index.unwrap_or(INDEX));
        Some(match self.directory.join(file).exists() {
            true => format!("{index} says that it is in {file}, but that file does not hold it"),
            false => {
                format!("{index} says that it is in {file}, which is not there; fetch that file, too")
            }
        })
    }

    /// Safetensors that are not read, because files of PyTorch stand beside them: their index, or the only file.
    pub fn passed_over(&self) -> Option<&'static str> {
        let is_pickled = |file: &SourceFile| file.name == PICKLED;
        let pickled = self.index == Some(PICKLED_INDEX) || self.files.first().is_some_and(is_pickled);
        [INDEX, SINGLE].into_iter().find(|name| pickled && self.directory.join(name).exists())
    }

    /// The names of all tensors in the order in which the reference walks them: files in order of first
    /// appearance in the index, in each the names in the index's order; without an index, by offset.
    pub fn order(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// The little-endian elements of a tensor of this checkpoint.
    pub fn bytes(&self, tensor: &Tensor) -> &[u8] {
        &self.maps[tensor.map][tensor.range.clone()]
    }
}

/// The index or the only file of a checkpoint. An index of PyTorch's files stands beside safetensors also where only
/// these were downloaded: the reference takes it and fails.
fn weights(directory: &Path) -> Option<&'static str> {
    let there = |name: &&str| directory.join(name).exists();
    let alone = [PICKLED, INDEX, SINGLE].into_iter().find(there);
    let is_pickle = |entry: DirEntry| entry.file_name().to_string_lossy().ends_with(".bin");
    let pickles = || fs::read_dir(directory).is_ok_and(|entries| entries.flatten().any(is_pickle));
    let indexed = there(&PICKLED_INDEX) && (alone.is_none() || pickles());
    indexed.then_some(PICKLED_INDEX).or(alone)
}

/// Reads `config.json`.
pub fn read_config(directory: &Path) -> Result<Map<String, Value>> {
    let path = directory.join("config.json");
    let text = read_text(&path, CONFIG_LIMIT)?;
    match python::parse(&text).with_context(|| format!("{} is not JSON", path.display()))? {
        Value::Object(config) => Ok(config),
        _ => bail!("{} is not a JSON object", path.display()),
    }
}

fn read_index(path: &Path) -> Result<Vec<(String, String)>> {
    let text = read_text(path, INDEX_LIMIT)?;
    #[derive(serde::Deserialize)]
    struct Index {
        #[serde(deserialize_with = "unique_strings")]
        weight_map: Vec<(String, String)>,
    }
    let index: Index = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a safetensors index", path.display()))?;
    ensure!(!index.weight_map.is_empty(), "{} names no tensors", path.display());
    Ok(index.weight_map)
}

/// A file's name without `./`. Links may leave the directory (the Hugging Face cache is made of them), names may not.
fn file_name_of(name: &str) -> Result<String> {
    let mut parts = Vec::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str().unwrap_or_default()),
            Component::CurDir => {}
            _ => bail!("`{}` names a file outside the checkpoint", name.escape_debug()),
        }
    }
    ensure!(!parts.is_empty(), "`{}` does not name a file", name.escape_debug());
    Ok(parts.join("/"))
}

/// A file of tensors: its contents, where each is, and its bytes.
pub(crate) type Opened = (SourceFile, HashMap<String, Tensor>, Mmap);

/// Opens a file of tensors, which is to be at `position` among others.
///
/// # Errors
/// When it is not there, or not what its name says.
pub(crate) fn open_file(directory: &Path, name: &str, position: usize) -> Result<Opened> {
    let path = directory.join(name);
    let map = map_file(&path)?;
    if [".bin", ".pt", ".pth"].iter().any(|ending| name.ends_with(ending)) {
        let (contents, tensors) = read_saved(&map, position)
            .with_context(|| format!("{} is not a file of PyTorch that can be read", path.display()))?;
        return Ok((SourceFile { name: name.to_owned(), contents }, tensors, map));
    }
    if let Some(format) = other_format(&map) {
        bail!("{} is not a safetensors file: {format}", path.display());
    }
    let (contents, tensors) = read_header(&map, position)
        .with_context(|| format!("{} is not a sound safetensors file", path.display()))?;
    Ok((SourceFile { name: name.to_owned(), contents }, tensors, map))
}

type Header = (Vec<(String, u64)>, HashMap<String, Tensor>);

fn read_saved(bytes: &[u8], file: usize) -> Result<Header> {
    let saved = torch::read(bytes)?;
    let contents = saved.iter().map(|saved| (saved.name.clone(), saved.shape.iter().product())).collect();
    let tensors = saved.into_iter().map(|torch::Saved { name, dtype, shape, range }| {
        (name, Tensor { file, dtype, widened: dtype == Dtype::Bf16, shape, map: file, range })
    });
    Ok((contents, tensors.collect()))
}

fn read_header(bytes: &[u8], file: usize) -> Result<Header> {
    let (length, metadata) = SafeTensors::read_metadata(bytes)?;
    let start = length + 8;
    let names: UniqueNames = serde_json::from_slice(&bytes[8..start])?;
    let mut entries: Vec<_> = names
        .0
        .into_iter()
        .filter(|name| name != "__metadata__")
        .map(|name| {
            let info = metadata.info(&name).with_context(|| format!("`{name}` has no description"))?;
            let shape: Vec<u64> = info.shape.iter().map(|&dimension| dimension as u64).collect();
            let range = start + info.data_offsets.0..start + info.data_offsets.1;
            Ok((name, Tensor { file, dtype: info.dtype.into(), widened: false, shape, map: file, range }))
        })
        .collect::<Result<_>>()?;
    entries.sort_by(|(a, x), (b, y)| (x.range.start, x.range.end, a).cmp(&(y.range.start, y.range.end, b)));
    let contents =
        entries.iter().map(|(name, tensor)| (name.clone(), tensor.shape.iter().product())).collect();
    Ok((contents, entries.into_iter().collect()))
}

/// The keys of a JSON object, each of which stands there once.
struct UniqueNames(Vec<String>);

impl<'de> serde::Deserialize<'de> for UniqueNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = deserializer.deserialize_map(Unique::<IgnoredAny>(std::marker::PhantomData))?;
        Ok(Self(pairs.into_iter().map(|(name, _)| name).collect()))
    }
}

fn unique_strings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    deserializer.deserialize_map(Unique(std::marker::PhantomData))
}

struct Unique<V>(std::marker::PhantomData<V>);

impl<'de, V: serde::Deserialize<'de>> Visitor<'de> for Unique<V> {
    type Value = Vec<(String, V)>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        let mut seen = HashSet::new();
        while let Some((name, value)) = map.next_entry::<String, V>()? {
            if !seen.insert(name.clone()) {
                return Err(serde::de::Error::custom(format!("`{name}` stands there twice")));
            }
            pairs.push((name, value));
        }
        Ok(pairs)
    }
}
