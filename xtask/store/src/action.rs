//! Actions of the Remote Execution API: what is run, on which inputs, in which environment. Their digest is the cache key.

use crate::{
    Digest, Store,
    message::{from_message, to_message},
};
use anyhow::{Context, Result};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use std::collections::BTreeMap;

/// Something that was, or can be, done: everything that its result depends on, and nothing else.
///
/// Work that is not a command in a sandbox (unpacking an archive, assembling an environment) is keyed the same way:
/// `arguments` then name the mechanism, its version and what it works on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// The command line, `arguments[0]` being the program.
    pub arguments: Vec<String>,
    /// Environment variables; nothing else is set.
    pub variables: BTreeMap<String, String>,
    /// Platform properties: where it runs, such as the digest of the environment's tree.
    pub properties: BTreeMap<String, String>,
    /// Root of the input tree.
    pub input_root: Option<Digest>,
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
            ..reapi::Command::default()
        }
        .encode_to_vec()
    }

    fn message(&self, command: &Digest) -> Vec<u8> {
        reapi::Action {
            command_digest: Some(to_message(command)),
            input_root_digest: Some(to_message(&self.input_root.unwrap_or_else(|| Digest::of(b"")))),
            platform: (!self.properties.is_empty()).then(|| reapi::Platform {
                properties: self
                    .properties
                    .iter()
                    .map(|(name, value)| reapi::platform::Property {
                        name: name.clone(),
                        value: value.clone(),
                    })
                    .collect(),
            }),
            ..reapi::Action::default()
        }
        .encode_to_vec()
    }

    /// The digest of the `Command` message.
    pub(crate) fn command_digest(&self) -> Digest {
        Digest::of(&self.command())
    }

    /// The digest of the `Action` message in canonical encoding.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.message(&self.command_digest()))
    }

    /// Keeps the `Command` and `Action` messages as blobs, so that the action can be explained or executed later.
    pub fn write(&self, store: &Store) -> Result<Digest> {
        let command = store.put_bytes(&self.command())?;
        store.put_bytes(&self.message(&command))
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
            properties: action
                .platform
                .unwrap_or_default()
                .properties
                .into_iter()
                .map(|property| (property.name, property.value))
                .collect(),
            input_root: (input_root.size > 0).then_some(input_root),
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
        keys.push(Action { properties: [("A".into(), "1".into())].into(), ..action.clone() }.digest());
        keys.push(Action { input_root: Some(Digest::of(b"tree")), ..action }.digest());
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 5);
    }
}
