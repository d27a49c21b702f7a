//! Actions of the Remote Execution API: what is run, on which inputs, in which environment. Their digest is the cache key.

use crate::{
    Digest, Store,
    message::{from_message, to_message},
};
use anyhow::{Context, Result};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use reapi::command::OutputDirectoryFormat;
use std::collections::BTreeMap;

/// Something that was, or can be, done: everything that its result depends on, and nothing else.
///
/// Work that is not a command in a sandbox (unpacking an archive, assembling an environment) is keyed the same way:
/// `arguments` then name the mechanism, its version and what it works on.
///
/// A command is executable as it is by any worker of the Remote Execution API that takes `input_root` for the root file
/// system: there is no platform, no property, no timeout and no salt in it. What a cluster asks beside it belongs to the
/// request, so that its digest is one key everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// The command line, `arguments[0]` being the program.
    pub arguments: Vec<String>,
    /// Environment variables; nothing else is set.
    pub variables: BTreeMap<String, String>,
    /// Root of the input tree: all that the command sees, its environment included.
    pub input_root: Option<Digest>,
    /// The directory of the input tree that the command starts in; empty for its root.
    pub working_directory: String,
    /// What the command leaves, by paths relative to `working_directory`.
    pub output_paths: Vec<String>,
}

impl Action {
    /// An action that is a mechanism of our own, by its words.
    pub fn named(arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { arguments: arguments.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    fn command(&self) -> Vec<u8> {
        reapi::Command {
            arguments: self.arguments.clone(),
            environment_variables: self
                .variables
                .iter()
                .map(|(name, value)| reapi::command::EnvironmentVariable {
                    name: name.clone(),
                    value: value.clone(),
                })
                .collect(),
            working_directory: self.working_directory.clone(),
            output_paths: self.output_paths.clone(),
            output_directory_format: match self.output_paths.is_empty() {
                true => OutputDirectoryFormat::default(),
                false => OutputDirectoryFormat::TreeAndDirectory,
            }
            .into(),
            ..reapi::Command::default()
        }
        .encode_to_vec()
    }

    fn message(&self, command: &Digest) -> Vec<u8> {
        reapi::Action {
            command_digest: Some(to_message(command)),
            input_root_digest: Some(to_message(&self.input_root.unwrap_or_else(|| Digest::of(b"")))),
            ..reapi::Action::default()
        }
        .encode_to_vec()
    }

    /// The digest of the `Command` message.
    pub fn command_digest(&self) -> Digest {
        Digest::of(&self.command())
    }

    /// The digest of the `Action` message in canonical encoding.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.message(&self.command_digest()))
    }

    /// Keeps the `Command` and `Action` messages as blobs, so that the action can be explained or executed later.
    /// To be called before the action's inputs are read: a result is not kept when one is found damaged after this.
    pub fn write(&self, store: &Store) -> Result<Digest> {
        let command = store.put_bytes(&self.command())?;
        let digest = store.put_bytes(&self.message(&command))?;
        store.begin(&digest)?;
        Ok(digest)
    }

    /// Reads back what [`Action::write`] kept.
    pub fn read(store: &Store, digest: &Digest) -> Result<Self> {
        let action = reapi::Action::decode(store.read(digest)?.as_slice())
            .with_context(|| format!("{digest} is not an action"))?;
        let command = from_message(action.command_digest.as_ref())?;
        let command = reapi::Command::decode(store.read(&command)?.as_slice())
            .with_context(|| format!("{command} is not a command"))?;
        let input_root = from_message(action.input_root_digest.as_ref())?;
        Ok(Self {
            arguments: command.arguments,
            variables: command
                .environment_variables
                .into_iter()
                .map(|variable| (variable.name, variable.value))
                .collect(),
            input_root: (input_root.size > 0).then_some(input_root),
            working_directory: command.working_directory,
            output_paths: command.output_paths,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_part_of_the_key() {
        let action = Action::named(["unpack", "1", "deb"]);
        let mut keys = vec![action.digest()];
        keys.push(Action::named(["unpack", "2", "deb"]).digest());
        keys.push(Action { variables: [("A".into(), "1".into())].into(), ..action.clone() }.digest());
        keys.push(Action { working_directory: "build".into(), ..action.clone() }.digest());
        keys.push(Action { output_paths: vec!["out".into()], ..action.clone() }.digest());
        keys.push(Action { input_root: Some(Digest::of(b"tree")), ..action }.digest());
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 6);
    }

    /// The bytes that peers see, and so every key: whoever has to change this test changes all keys.
    #[test]
    fn a_command_is_what_the_api_says() {
        let action = Action {
            arguments: vec!["/bin/true".into()],
            variables: [("B".into(), "2".into()), ("A".into(), "1".into())].into(),
            input_root: Some(Digest::of(b"")),
            working_directory: "build".into(),
            output_paths: vec!["out".into()],
        };
        let command = reapi::Command::decode(action.command().as_slice()).unwrap();
        let names: Vec<_> =
            command.environment_variables.iter().map(|variable| variable.name.as_str()).collect();
        assert_eq!(names, ["A", "B"]);
        assert_eq!(command.output_directory_format(), OutputDirectoryFormat::TreeAndDirectory);
        assert_eq!((command.working_directory.as_str(), command.output_paths.len()), ("build", 1));
        let message = reapi::Action::decode(action.message(&action.command_digest()).as_slice()).unwrap();
        assert_eq!((message.platform, message.timeout, message.salt), (None, None, Vec::new()));
    }

    #[test]
    fn an_action_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let action = Action {
            variables: [("A".into(), "1".into())].into(),
            input_root: Some(Digest::of(b"tree")),
            working_directory: "build".into(),
            output_paths: vec!["out".into()],
            ..Action::named(["run"])
        };
        let digest = action.write(&store).unwrap();
        assert_eq!(digest, action.digest());
        assert_eq!(Action::read(&store, &digest).unwrap(), action);
    }
}
