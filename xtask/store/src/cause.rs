//! What results were made from, so that what is derived from a damaged blob is found.

use crate::{
    Digest, Store,
    damage::Id,
    message::{digests_in, from_message, is_empty},
    shelf::shelves,
};
use anyhow::Result;
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use std::collections::{HashMap, HashSet, VecDeque};

/// What leads from a blob or directory to something that depends on it.
#[derive(Clone, Copy)]
enum Dependent {
    /// A directory that holds it.
    Directory(Id),
    /// A result that was made from it.
    MadeFrom(usize),
    /// A result that names it as an output.
    HasAsOutput(usize),
}

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// Its content is what its digest says, but may not be what it should: it was made from something bad.
    Suspect,
    /// It is damaged, or holds something damaged.
    Damaged,
}

#[derive(Default)]
struct Made {
    key: Id,
    /// Whether the messages of its action are in the store.
    is_known: bool,
    /// For work of our own, which has no input tree: all digests that it names.
    named: HashSet<Id>,
    outputs: Vec<Id>,
}

/// Results, and everything that they reach: the action and its command, whatever these name (in arguments, variables and
/// platform properties: archives, environments, trees of dependencies), the input tree, the outputs.
#[derive(Default)]
pub(crate) struct Causes {
    results: Vec<Made>,
    dependents: HashMap<Id, Vec<Dependent>>,
    visited: HashSet<Id>,
    /// Work of our own by what it names.
    named: HashMap<Id, Vec<usize>>,
}

impl Causes {
    /// Of every result in the store.
    pub(crate) fn of_all_results(store: &Store) -> Result<Self> {
        let mut causes = Self::default();
        for found in shelves(&store.root.join("ac"))?.files {
            let Ok(bytes) = crate::store_file::read(&found.path) else { continue };
            let message = reapi::ActionResult::decode(bytes.as_slice()).unwrap_or_default();
            causes.add(store, found.id, &message);
        }
        Ok(causes)
    }

    /// Of an action that has no result yet.
    pub(crate) fn of_action(store: &Store, action: &Digest) -> Result<Self> {
        let mut causes = Self::default();
        causes.add(store, action.sha256, &reapi::ActionResult::default());
        Ok(causes)
    }

    fn add(&mut self, store: &Store, key: Id, result: &reapi::ActionResult) {
        let index = self.results.len();
        let mut made = Made { key, ..Made::default() };
        for directory in &result.output_directories {
            for digest in [&directory.root_directory_digest, &directory.tree_digest] {
                made.outputs.extend(from_message(digest.as_ref()).map(|digest| digest.sha256));
            }
        }
        for digest in result.output_files.iter().map(|file| &file.digest) {
            made.outputs.extend(from_message(digest.as_ref()).map(|digest| digest.sha256));
        }
        for digest in [&result.stdout_digest, &result.stderr_digest] {
            if let Ok(digest) = from_message(digest.as_ref()) {
                self.depends(digest.sha256, Dependent::HasAsOutput(index));
            }
        }
        for output in made.outputs.clone() {
            self.depends(output, Dependent::HasAsOutput(index));
            self.walk(store, output);
        }
        self.add_causes(store, index, &mut made);
        self.results.push(made);
    }

    fn add_causes(&mut self, store: &Store, index: usize, made: &mut Made) {
        self.depends(made.key, Dependent::MadeFrom(index));
        let Some(action) = store.peek_id(&made.key) else { return };
        let Ok(action) = reapi::Action::decode(action.as_slice()) else { return };
        let mut words: Vec<&str> = Vec::new();
        words.extend(
            action.platform.iter().flat_map(|platform| &platform.properties).map(|property| &*property.value),
        );
        let command = from_message(action.command_digest.as_ref()).ok();
        let Some(command_id) = command.map(|digest| digest.sha256) else { return };
        self.depends(command_id, Dependent::MadeFrom(index));
        let Some(command) = store.peek_id(&command_id) else { return };
        let Ok(command) = reapi::Command::decode(command.as_slice()) else { return };
        words.extend(command.arguments.iter().map(String::as_str));
        words.extend(command.environment_variables.iter().map(|variable| &*variable.value));
        made.is_known = true;
        let mut named: HashSet<Id> = words.into_iter().flat_map(digests_in).collect();
        named.remove(&Digest::of(b"").sha256);
        for id in &named {
            self.depends(*id, Dependent::MadeFrom(index));
        }
        match from_message(action.input_root_digest.as_ref()) {
            Ok(root) if root.size > 0 => {
                self.depends(root.sha256, Dependent::MadeFrom(index));
                self.walk(store, root.sha256);
                self.add_environment(store, root.sha256);
            }
            _ => {
                for id in &named {
                    self.named.entry(*id).or_default().push(index);
                }
                made.named = named;
            }
        }
    }

    /// An action's input root may be an environment with `build` put in (sources at `build/src`): then it was made from the
    /// environment, whose own root is another directory.
    fn add_environment(&mut self, store: &Store, root: Id) {
        let Some(Ok(directory)) =
            store.peek_id(&root).map(|bytes| reapi::Directory::decode(bytes.as_slice()))
        else {
            return;
        };
        let Some(place) = directory.directories.iter().position(|node| node.name == "build") else { return };
        let (mut without, mut empty) = (directory.clone(), directory);
        without.directories.remove(place);
        empty.directories[place].digest = Some(crate::message::to_message(&Digest::of(b"")));
        for environment in [without, empty] {
            let id = Digest::of(&environment.encode_to_vec()).sha256;
            self.depends(id, Dependent::Directory(root));
        }
    }

    fn depends(&mut self, on: Id, dependent: Dependent) {
        self.dependents.entry(on).or_default().push(dependent);
    }

    /// Adds a tree, if it is one and is there.
    fn walk(&mut self, store: &Store, root: Id) {
        let mut pending = vec![root];
        while let Some(id) = pending.pop() {
            if !self.visited.insert(id) {
                continue;
            }
            let Some(Ok(directory)) =
                store.peek_id(&id).map(|bytes| reapi::Directory::decode(bytes.as_slice()))
            else {
                continue;
            };
            for file in &directory.files {
                if let Ok(digest) = from_message(file.digest.as_ref()) {
                    self.depends(digest.sha256, Dependent::Directory(id));
                }
            }
            for node in &directory.directories {
                if let Ok(digest) = from_message(node.digest.as_ref()) {
                    self.depends(digest.sha256, Dependent::Directory(id));
                    pending.push(digest.sha256);
                }
            }
        }
    }

    /// The keys of all results that must go when these blobs are damaged: those that reach one, by what they were made from or
    /// by what they hold, and those made from outputs of these. A result whose action is not in the store may have been made
    /// from anything, and goes too.
    pub(crate) fn derived_from(&self, damaged: &HashSet<Id>) -> HashSet<Id> {
        let mut search =
            Search { causes: self, marks: HashMap::new(), pending: VecDeque::new(), bad: HashSet::new() };
        for id in damaged {
            search.mark(*id, Mark::Damaged);
        }
        for (index, _) in self.results.iter().enumerate().filter(|(_, made)| !made.is_known) {
            search.condemn(index);
        }
        while let Some((id, mark)) = search.pending.pop_front() {
            for dependent in self.dependents.get(&id).into_iter().flatten() {
                match *dependent {
                    Dependent::Directory(above) => search.mark(above, mark),
                    Dependent::MadeFrom(index) => search.condemn(index),
                    Dependent::HasAsOutput(index) if mark == Mark::Damaged => search.condemn(index),
                    // Somebody else made the same: that speaks for it.
                    Dependent::HasAsOutput(_) => {}
                }
            }
        }
        search.bad.into_iter().map(|index| self.results[index].key).collect()
    }
}

struct Search<'a> {
    causes: &'a Causes,
    marks: HashMap<Id, Mark>,
    pending: VecDeque<(Id, Mark)>,
    bad: HashSet<usize>,
}

impl Search<'_> {
    fn mark(&mut self, id: Id, mark: Mark) {
        if is_empty(&id) || self.marks.get(&id).is_some_and(|known| *known >= mark) {
            return;
        }
        self.marks.insert(id, mark);
        self.pending.push_back((id, mark));
    }

    fn condemn(&mut self, first: usize) {
        let mut pending = vec![first];
        while let Some(index) = pending.pop() {
            if !self.bad.insert(index) {
                continue;
            }
            let made = &self.causes.results[index];
            for output in &made.outputs {
                self.mark(*output, Mark::Suspect);
            }
            // Work of our own looks up other such work (a composed tree that of an unpacked archive), by digests that its own
            // words must name as well.
            let Some(one) = made.named.iter().next() else { continue };
            for other in self.causes.named.get(one).into_iter().flatten() {
                if self.causes.results[*other].named.is_superset(&made.named) {
                    pending.push(*other);
                }
            }
        }
    }
}
