//! Converted models in a release: a directory of plain files each, as MLC reads them.

use crate::{File, Manifest, manifest::InputFacts};
use anyhow::{Result, bail};
use input::{Input, Source};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{Digest, Entry, Tree};

/// A `[[model]]` of `releases/NAME.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// The model: `models/NAME.toml`.
    pub name: String,
    /// The quantization, such as `q4f16_1`.
    pub quantization: String,
    /// The conversation template of `mlc-chat-config.json`; without one, there are weights only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_template: Option<String>,
    /// Sizes in the place of those of `config.json`, such as `context_window_size`; -1 for no window.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sizes: BTreeMap<String, i64>,
}

impl Conversion {
    /// `NAME-QUANTIZATION`: the model's directory in the release, and the name below `licenses/`.
    pub fn title(&self) -> String {
        format!("{}-{}", self.name, self.quantization)
    }
}

/// A model of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// What was asked for.
    pub conversion: Conversion,
    /// The license, as the model's card names it.
    pub license: String,
    /// The architecture's name in MLC's registry.
    pub architecture: String,
    /// Digest of the conversion's action.
    pub action: Digest,
    /// Root of the output tree.
    pub outputs: Digest,
    /// The locked files that it was made of, by name.
    pub inputs: Vec<String>,
    /// Its files, as paths of the release directory, sorted.
    pub files: Vec<File>,
}

impl Model {
    /// A model whose conversion gave `outputs`, the tree of `root`, by `action`.
    ///
    /// Errors: the outputs hold something else than files.
    pub fn new(
        conversion: &Conversion,
        license: &str,
        architecture: &str,
        action: Digest,
        (root, outputs): (Digest, &Tree),
        inputs: &[Input],
    ) -> Result<Self> {
        let mut files = Vec::new();
        for (path, entry) in outputs.iter() {
            let Entry::File { digest, .. } = entry else {
                bail!("`{path}` of a converted model is not a file")
            };
            files.push(File::new(&format!("{}/{path}", conversion.title()), digest));
        }
        Ok(Self {
            conversion: conversion.clone(),
            license: license.to_owned(),
            architecture: architecture.to_owned(),
            action,
            outputs: root,
            inputs: inputs.iter().map(|input| input.name.clone()).collect(),
            files,
        })
    }

    /// The license texts among its inputs: where they stand in the release directory, and what they are.
    pub(crate) fn licenses<'a>(
        &'a self,
        inputs: &'a BTreeMap<String, InputFacts>,
    ) -> impl Iterator<Item = File> + 'a {
        self.inputs.iter().filter_map(|name| {
            let facts = inputs.get(name)?;
            let Source::HuggingFace { file, .. } = &facts.source else { return None };
            let is_text =
                ["LICENSE", "LICENCE", "NOTICE", "USE_POLICY"].iter().any(|start| file.starts_with(start));
            is_text.then(|| File {
                path: format!("licenses/{}/{file}", self.conversion.title()),
                sha256: facts.sha256.clone(),
                size: facts.size,
                executable: false,
            })
        })
    }
}

impl Manifest {
    /// Adds a model with the inputs that it was made of.
    pub(crate) fn add_model(&mut self, model: &Model, inputs: &[Input]) {
        for input in inputs {
            let facts = InputFacts {
                source: input.source.clone(),
                sha256: input.digest.hex(),
                size: input.digest.size,
            };
            self.inputs.insert(input.name.clone(), facts);
        }
        self.licenses.extend(model.licenses(&self.inputs));
        self.models.push(model.clone());
    }
}
