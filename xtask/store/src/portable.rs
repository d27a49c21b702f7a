//! Results with all that they name, for another store: given out, and checked on the way in.

use crate::{
    ActionResult, Digest, Shelf, Store,
    directory::for_each,
    lookup::LARGEST_MESSAGE,
    message::from_message,
    peer::{Child, named},
    result::{Kept, decode},
};
use anyhow::{Context, Result, bail, ensure};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A result for another store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portable {
    /// The action.
    pub action: Digest,
    /// How much of the outputs goes along.
    pub shelf: Shelf,
    /// The message that stands there.
    pub message: Vec<u8>,
}

/// What became of results that were imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Results that are new.
    pub new: usize,
    /// Results that were there, and are the same.
    pub known: usize,
    /// Actions whose results here are others. These stay.
    pub different: Vec<Digest>,
}

impl Store {
    /// A result to be given to another store, and the blobs that go along: all that it names for a whole one, for others the root
    /// of its outputs. Both have the action with its command.
    ///
    /// # Errors
    /// If there is no such result, or a blob is missing or damaged.
    pub fn portable(&self, action: &Digest, whole: bool) -> Result<(Portable, BTreeSet<Digest>)> {
        let missing = || format!("the store has no result of the action {action}");
        let kept = self.peek_result(action);
        let kept = match whole {
            true => {
                let mut kept = kept.with_context(missing)?;
                // Results of older versions have no such message.
                kept.tree = Some(self.put_bytes(&self.tree_message(&kept.result.outputs)?)?);
                kept
            }
            false => {
                let Kept { result, from, .. } =
                    kept.or_else(|| self.peek_claim(action)).with_context(missing)?;
                Kept { result: ActionResult { log: None, ..result }, tree: None, from }
            }
        };
        let shelf = if whole { Shelf::Whole } else { Shelf::Claim };
        let mut blobs = BTreeSet::new();
        self.reach(action, &kept, shelf, &mut |blob| {
            blobs.insert(blob);
            Ok(())
        })?;
        Ok((Portable { action: *action, shelf, message: kept.encode() }, blobs))
    }

    /// Names every blob of a result: each directory before it is read.
    fn reach(
        &self,
        action: &Digest,
        kept: &Kept,
        shelf: Shelf,
        name: &mut dyn FnMut(Digest) -> Result<()>,
    ) -> Result<()> {
        name(*action)?;
        let message = reapi::Action::decode(self.read_message(action)?.as_slice())
            .with_context(|| format!("{action} is not an action"))?;
        let command = from_message(message.command_digest.as_ref())?;
        name(command)?;
        reapi::Command::decode(self.read_message(&command)?.as_slice())
            .with_context(|| format!("{command} is not a command"))?;
        let outputs = kept.result.outputs;
        if shelf == Shelf::Claim {
            name(outputs)?;
            return for_each(self, &outputs, &mut |_| {});
        }
        kept.blobs().try_for_each(&mut *name)?;
        let mut seen = HashSet::from([outputs]);
        let mut pending = vec![outputs];
        while let Some(directory) = pending.pop() {
            name(directory)?;
            ensure!(directory.size <= LARGEST_MESSAGE, "{directory} is too large for a directory");
            let mut files = Vec::new();
            for_each(self, &directory, &mut |child| match child {
                Child::Directory(digest) => pending.extend(seen.insert(digest).then_some(digest)),
                Child::File(digest) => files.push(digest),
            })?;
            files.into_iter().try_for_each(&mut *name)?;
        }
        Ok(())
    }

    fn read_message(&self, digest: &Digest) -> Result<Vec<u8>> {
        ensure!(digest.size <= LARGEST_MESSAGE, "{digest} is too large for a message");
        // Reading what is missing would mark the store as damaged.
        ensure!(self.contains(digest), "the store lacks the message {digest}");
        self.read(digest)
    }

    /// Takes results in that came from somebody else, by the name `from`, with blobs that are in the store already. All of them are
    /// checked before the first is named: that each is written canonically, that its action, command, outputs and log are
    /// among the blobs, and that there is no other blob. A result that this store has stays as it is.
    ///
    /// # Errors
    /// If one is not what it has to be: nothing is taken in then.
    pub fn accept(&self, results: &[Portable], blobs: &BTreeSet<Digest>, from: &str) -> Result<Accepted> {
        let mut kept = BTreeMap::new();
        let mut reached = BTreeSet::new();
        for portable in results {
            let Portable { action, shelf, message } = portable;
            let explain = || format!("the result of the action {}", action.hex());
            let one = decode(message).filter(|kept| kept.encode() == *message);
            let one = one.context("it is not written as this program writes it").with_context(explain)?;
            self.reach(action, &one, *shelf, &mut |blob| {
                reached.insert(blob);
                ensure!(blobs.contains(&blob), "the blob {blob} is not there");
                Ok(())
            })
            .with_context(explain)?;
            if *shelf == Shelf::Whole {
                let outputs = one.result.outputs;
                crate::Tree::read(self, &outputs).with_context(explain)?;
                let tree = Digest::of(&self.tree_message(&outputs).with_context(explain)?);
                ensure!(one.tree == Some(tree), "{}: its tree message is another", explain());
            }
            ensure!(kept.insert((*shelf, *action), one).is_none(), "{} is there twice", explain());
        }
        if let Some(blob) = blobs.difference(&reached).next() {
            bail!("the blob {blob} belongs to no result");
        }
        let mut accepted = Accepted::default();
        for ((shelf, action), one) in kept {
            let outputs = one.result.outputs;
            let here = match shelf {
                Shelf::Whole => self.result(&action)?.map(|result| result.outputs),
                Shelf::Claim => self
                    .result(&action)?
                    .map(|result| result.outputs)
                    .or_else(|| self.peek_claim(&action).map(|kept| kept.result.outputs)),
            };
            match here {
                Some(here) if here == outputs => accepted.known += 1,
                Some(_) => accepted.different.push(action),
                None => {
                    let from = named(from, one.from.as_deref());
                    match shelf {
                        Shelf::Whole => self.put_result_of(&action, &one.result, Some(from))?,
                        Shelf::Claim => self.put_claim(&action, &outputs, from)?,
                    }
                    accepted.new += 1;
                }
            }
        }
        Ok(accepted)
    }
}
