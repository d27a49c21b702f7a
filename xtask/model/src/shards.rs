//! Shards while they are made: kept in memory until they are full, or, when a tensor alone is larger, written as it
//! is computed. MD5 and SHA-256 are computed of the same bytes, while the next ones are made, and what is written goes
//! to the disk at once, so that little is left to wait for at the end.

use crate::{
    container::shard_name,
    convert::Fill,
    kernel::Lines,
    plan::{Job, Output, Plan},
};
use anyhow::{Context, Result, anyhow};
use md5::{Digest as _, Md5};
use rayon::Scope;
use std::{
    collections::HashMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};
use store::{Digest, HashWriter, Hinted, WithHint, hinted};

/// Shards up to this size are kept in memory: those that are not one large tensor.
const KEPT: u64 = 32 << 20;

/// All shards of a conversion.
pub(crate) struct Shards<'p> {
    directory: PathBuf,
    sizes: &'p [u64],
    state: Mutex<State>,
    /// Shards that are being written, and how many may be.
    writing: AtomicUsize,
    at_once: usize,
}

struct State {
    open: HashMap<usize, Kept>,
    remaining: Vec<usize>,
    sums: Vec<Option<Sums>>,
    syncing: Vec<JoinHandle<Result<()>>>,
    spare: Vec<Vec<u8>>,
    failure: Option<anyhow::Error>,
}

/// What a shard's bytes give.
pub(crate) struct Sums {
    /// Hexadecimal.
    pub md5: String,
    pub digest: Digest,
}

/// The buffer of a shard.
type Kept = Vec<u8>;

impl<'p> Shards<'p> {
    pub fn new(directory: &Path, plan: &'p Plan, memory: u64) -> Self {
        let mut remaining = vec![0; plan.shards.len()];
        for output in plan.jobs.iter().flat_map(|job| &job.outputs) {
            remaining[output.shard] += 1;
        }
        let state = State {
            open: HashMap::new(),
            sums: remaining.iter().map(|_| None).collect(),
            syncing: Vec::new(),
            remaining,
            spare: Vec::new(),
            failure: None,
        };
        // Up to three shards are filled at once (a pending one, a tensor's codes and its scales), or one and the
        // windows of large tensors, which take no more.
        let at_once = (memory / KEPT).saturating_sub(3) as usize;
        let state = Mutex::new(state);
        Self {
            directory: directory.to_owned(),
            sizes: &plan.shards,
            state,
            writing: AtomicUsize::new(0),
            at_once,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes a job's lines and writes them where they belong.
    pub fn write<'s>(&'s self, scope: &Scope<'s>, job: &Job, lines: &Lines, fill: &Fill) -> Result<()> {
        self.check()?;
        let values = &job.outputs[0];
        // Scales of whole tensors are put by themselves.
        let scales = job.outputs.get(1).filter(|_| lines.bytes().1 > 0);
        let streamed = |output: &Output| self.sizes[output.shard] > KEPT;
        let all = lines.count();
        if !streamed(values) && scales.is_none_or(|scales| scales.shard == values.shard) {
            let mut buffer = self.take(values.shard);
            let start = values.offset as usize;
            let (value_bytes, scale_bytes) = lines.bytes();
            let (values_out, rest) = buffer[start..].split_at_mut(all * value_bytes);
            // Scales follow their codes wherever both are in one shard.
            fill.fill(lines, 0..all, values_out, &mut rest[..all * scale_bytes]);
            return self.give(scope, values.shard, buffer, 1 + usize::from(scales.is_some()));
        }
        let mut value_target = Target::new(self, values)?;
        let mut scale_target = scales.map(|scales| Target::new(self, scales)).transpose()?;
        let window = fill.window(lines);
        let (value_bytes, scale_bytes) = lines.bytes();
        let mut current = (Vec::new(), Vec::new());
        let mut previous = (Vec::new(), Vec::new());
        let mut start = 0;
        while start < all || !previous.0.is_empty() {
            let end = (start + window).min(all);
            current.0.resize((end - start) * value_bytes, 0);
            current.1.resize((end - start) * scale_bytes, 0);
            let (_, written) = rayon::join(
                || fill.fill(lines, start..end, &mut current.0, &mut current.1),
                || -> Result<()> {
                    value_target.append(&previous.0)?;
                    scale_target.as_mut().map_or(Ok(()), |target| target.append(&previous.1))
                },
            );
            written?;
            std::mem::swap(&mut current, &mut previous);
            start = end;
        }
        value_target.finish(self, scope)?;
        scale_target.map_or(Ok(()), |target| target.finish(self, scope))
    }

    /// Puts a small tensor.
    pub fn put<'s>(&'s self, scope: &Scope<'s>, output: &Output, bytes: &[u8]) -> Result<()> {
        let mut buffer = self.take(output.shard);
        let start = output.offset as usize;
        buffer[start..start + bytes.len()].copy_from_slice(bytes);
        self.give(scope, output.shard, buffer, 1)
    }

    /// The sums of every shard; all are on the disk.
    pub fn finish(self) -> Result<Vec<Sums>> {
        self.check()?;
        let syncing = std::mem::take(&mut self.state().syncing);
        for thread in syncing {
            thread.join().map_err(|_| anyhow!("a thread failed"))??;
        }
        let sums = std::mem::take(&mut self.state().sums);
        sums.into_iter().collect::<Option<_>>().context("a shard was not written")
    }

    fn check(&self) -> Result<()> {
        self.state().failure.take().map_or(Ok(()), Err)
    }

    fn take(&self, shard: usize) -> Kept {
        let mut state = self.state();
        if let Some(buffer) = state.open.remove(&shard) {
            return buffer;
        }
        let mut buffer = state.spare.pop().unwrap_or_default();
        drop(state);
        buffer.resize(self.sizes[shard] as usize, 0);
        buffer
    }

    /// Gives a buffer back after `count` of its tensors were put into it; a full one is written.
    fn give<'s>(&'s self, scope: &Scope<'s>, shard: usize, buffer: Kept, count: usize) -> Result<()> {
        let mut state = self.state();
        state.remaining[shard] -= count;
        if state.remaining[shard] > 0 {
            state.open.insert(shard, buffer);
            return Ok(());
        }
        drop(state);
        let write = move || {
            let result = self.write_shard(shard, &buffer);
            let mut state = self.state();
            match result {
                Ok(sums) => state.sums[shard] = Some(sums),
                Err(error) => state.failure = Some(error),
            }
            state.spare.push(buffer);
        };
        if self.writing.load(Ordering::Relaxed) < self.at_once {
            self.writing.fetch_add(1, Ordering::Relaxed);
            scope.spawn(move |_| {
                write();
                self.writing.fetch_sub(1, Ordering::Relaxed);
            });
        } else {
            write();
        }
        Ok(())
    }

    fn write_shard(&self, shard: usize, bytes: &[u8]) -> Result<Sums> {
        let mut file = ShardFile::create(self.directory.join(shard_name(shard)))?;
        file.append(bytes)?;
        self.finish_file(file)
    }

    fn finish_file(&self, file: ShardFile) -> Result<Sums> {
        let (written, digest) = file.file.finish();
        let path = file.path;
        let sync = move || written.sync_all().with_hint(|| cannot_write(&path));
        let thread = std::thread::Builder::new().spawn(sync).context("cannot start a thread")?;
        self.state().syncing.push(thread);
        let md5 = file.md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Sums { md5, digest })
    }
}

fn cannot_write(path: &Path) -> Hinted {
    hinted(format!("cannot write {}", path.display()), "is the disk full?")
}

/// A shard that is being written.
struct ShardFile {
    path: PathBuf,
    file: HashWriter<File>,
    md5: Md5,
}

impl ShardFile {
    fn create(path: PathBuf) -> Result<Self> {
        let file = File::create_new(&path).with_hint(|| cannot_write(&path))?;
        Ok(Self { path, file: HashWriter::new(file), md5: Md5::new() })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        // In pieces that stay in the cache between hashing and writing.
        for piece in bytes.chunks(256 << 10) {
            self.md5.update(piece);
            self.file.write_all(piece).with_hint(|| cannot_write(&self.path))?;
        }
        Ok(())
    }
}

/// Where the windows of a tensor go.
enum Target {
    Kept { shard: usize, buffer: Kept, position: usize },
    Streamed { shard: usize, file: Box<ShardFile> },
}

impl Target {
    fn new(shards: &Shards, output: &Output) -> Result<Self> {
        let shard = output.shard;
        if shards.sizes[shard] <= KEPT {
            return Ok(Self::Kept { shard, buffer: shards.take(shard), position: output.offset as usize });
        }
        let file = ShardFile::create(shards.directory.join(shard_name(shard)))?;
        Ok(Self::Streamed { shard, file: Box::new(file) })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Kept { buffer, position, .. } => {
                buffer[*position..*position + bytes.len()].copy_from_slice(bytes);
                *position += bytes.len();
                Ok(())
            }
            Self::Streamed { file, .. } => file.append(bytes),
        }
    }

    fn finish<'s>(self, shards: &'s Shards, scope: &Scope<'s>) -> Result<()> {
        match self {
            Self::Kept { shard, buffer, .. } => shards.give(scope, shard, buffer, 1),
            Self::Streamed { shard, file } => {
                let sums = shards.finish_file(*file)?;
                let mut state = shards.state();
                state.remaining[shard] -= 1;
                state.sums[shard] = Some(sums);
                Ok(())
            }
        }
    }
}
