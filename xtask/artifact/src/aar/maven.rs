//! What Maven (POM 4.0.0) and Gradle (module metadata 1.1) read beside an archive.

use super::AarMetadata;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::Digest;

/// A name in a Maven repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinates {
    /// The group.
    pub group: String,
    /// The artifact.
    pub artifact: String,
    /// The version.
    pub version: String,
}

impl Coordinates {
    /// `ARTIFACT-VERSION`, which all of its files begin with.
    pub fn stem(&self) -> String {
        format!("{}-{}", self.artifact, self.version)
    }

    /// The directory in a repository.
    pub fn directory(&self) -> String {
        format!("{}/{}/{}", self.group.replace('.', "/"), self.artifact, self.version)
    }

    /// Those that a POM states. Nothing when the text is none of ours.
    pub fn of_pom(text: &str) -> Option<Self> {
        let document = roxmltree::Document::parse(text).ok()?;
        let root = document.root_element();
        let value = |name: &str| {
            let element = root.children().find(|child| child.tag_name().name() == name)?;
            let text = element.text()?.trim();
            // They become a path.
            let fine = text.split('.').all(|part| !part.is_empty())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c));
            fine.then(|| text.to_owned())
        };
        Some(Self { group: value("groupId")?, artifact: value("artifactId")?, version: value("version")? })
    }
}

/// A library that another one needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// The group.
    pub group: String,
    /// The artifact.
    pub artifact: String,
    /// The version that it was built with.
    pub version: String,
    /// Whether those who use the library see it too (`compile` in a POM), or only the library itself (`runtime`).
    #[serde(default)]
    pub api: bool,
}

/// The POM. Gradle reads the comment and goes on to the module metadata.
pub fn pom(coordinates: &Coordinates, metadata: &AarMetadata, license: &str) -> String {
    let dependencies: String = metadata
        .dependencies
        .iter()
        .map(|dependency| {
            format!(
                "    <dependency>\n      <groupId>{}</groupId>\n      <artifactId>{}</artifactId>\n      \
                 <version>{}</version>\n      <scope>{}</scope>\n    </dependency>\n",
                escape(&dependency.group),
                escape(&dependency.artifact),
                escape(&dependency.version),
                if dependency.api { "compile" } else { "runtime" }
            )
        })
        .collect();
    let dependencies = match dependencies.is_empty() {
        true => String::new(),
        false => format!("  <dependencies>\n{dependencies}  </dependencies>\n"),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <project xmlns=\"http://maven.apache.org/POM/4.0.0\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xsi:schemaLocation=\"http://maven.apache.org/POM/4.0.0 https://maven.apache.org/xsd/maven-4.0.0.xsd\">\n  \
         <!-- do_not_remove: published-with-gradle-metadata -->\n  \
         <modelVersion>4.0.0</modelVersion>\n  <groupId>{}</groupId>\n  <artifactId>{}</artifactId>\n  \
         <version>{}</version>\n  <packaging>aar</packaging>\n  <name>{}</name>\n  <description>{}</description>\n  \
         <url>{}</url>\n  <licenses>\n    <license>\n      <name>{}</name>\n    </license>\n  </licenses>\n{dependencies}</project>\n",
        escape(&coordinates.group),
        escape(&coordinates.artifact),
        escape(&coordinates.version),
        escape(&coordinates.artifact),
        escape(&metadata.description),
        escape(&metadata.url),
        escape(license),
    )
}

/// Gradle's module metadata: one variant to compile against, one to run with, the same file.
pub fn module(coordinates: &Coordinates, dependencies: &[Dependency], aar: &Digest) -> Result<String> {
    let file = format!("{}.aar", coordinates.stem());
    let variant = |name: &str, usage: &str, all: bool| {
        let wanted: Vec<Value> = dependencies
            .iter()
            .filter(|dependency| all || dependency.api)
            .map(|dependency| {
                json!({
                    "group": dependency.group,
                    "module": dependency.artifact,
                    "version": { "requires": dependency.version },
                })
            })
            .collect();
        json!({
            "name": name,
            "attributes": {
                "org.gradle.category": "library",
                "org.gradle.dependency.bundling": "external",
                "org.gradle.libraryelements": "aar",
                "org.gradle.usage": usage,
            },
            "dependencies": wanted,
            "files": [{ "name": file, "url": file, "size": aar.size, "sha256": aar.hex() }],
        })
    };
    let module = json!({
        "formatVersion": "1.1",
        "component": {
            "group": coordinates.group,
            "module": coordinates.artifact,
            "version": coordinates.version,
            "attributes": { "org.gradle.status": "release" },
        },
        "variants": [
            variant("releaseApiElements", "java-api", false),
            variant("releaseRuntimeElements", "java-runtime", true),
        ],
    });
    Ok(serde_json::to_string_pretty(&module).context("cannot write the module metadata")? + "\n")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
