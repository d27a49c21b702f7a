//! An environment as a container image: layers, configuration and manifest of the OCI image specification 1.1, and the two
//! archives that container engines load.
//!
//! Every byte depends on the environment alone, so that the image's ID is known before an engine has seen it.

use crate::{Environment, layers::layers, tarball};
use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::Write;
use store::{Action, Digest, Entry, HashWriter, Meter, Progress, Store, Tree, Unit};

/// Raised when the same environment would give another image.
const VERSION: &str = "2";

/// The time that images and their files bear (the store's, 315532800 seconds), as RFC 3339 writes it.
const CREATED: &str = "1980-01-01T00:00:00Z";

/// Where the description stands among the layers that it describes.
const DESCRIPTION: &str = "layers.json";

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// How an image is written into one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// An OCI image layout in a tar archive: for registries' clients, podman, containerd, and Docker since 25.
    Oci,
    /// The same with the `manifest.json` that every version of Docker loads, as its own `docker save` writes it since 25.
    Docker,
}

/// What is kept about a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    name: String,
    sha256: String,
    size: u64,
}

/// An environment's image. Its layers are tar archives that are written anew whenever they are asked for; only their digests
/// are kept.
pub struct Image {
    /// `mlc-repro/NAME:DIGEST`, the digest being the first 16 digits of the environment's tree.
    pub name: String,
    tree: Tree,
    layers: Vec<Description>,
    config: String,
    manifest: String,
}

impl Image {
    /// Splits an environment into layers and hashes them, once ever.
    pub fn of(store: &Store, environment: &Environment, progress: &dyn Progress) -> Result<Self> {
        let mut words = vec!["image".to_owned(), VERSION.to_owned(), environment.root.to_string()];
        words.extend(environment.packages.iter().map(|(name, digest)| format!("{name} {digest}")));
        let root =
            store.once(&Action::named(words), || describe(store, environment, progress)?.write(store))?;
        let tree = Tree::read(store, &root)?;
        let Some(Entry::File { digest, .. }) = tree.get(DESCRIPTION) else {
            bail!("the description of an image is missing");
        };
        let layers: Vec<Description> = serde_json::from_slice(&store.read(digest)?)?;
        let config = config(environment, &layers);
        let manifest = manifest(&config, &layers);
        let name = format!("mlc-repro/{}:{}", environment.name, &environment.root.hex()[..16]);
        Ok(Self { name, tree, layers, config, manifest })
    }

    /// What engines call the image: the digest of its configuration, or (Docker with containerd's store, its default since 29)
    /// of its manifest.
    pub fn ids(&self) -> [String; 2] {
        [&self.config, &self.manifest].map(|text| sha256(text))
    }

    /// Size of all layers in bytes.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// The layers' names, sizes in bytes and SHA-256, lowest first.
    pub fn layers(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        self.layers.iter().map(|layer| (layer.name.as_str(), layer.size, layer.sha256.as_str()))
    }

    /// Writes an archive that `docker load`, `podman load` or `skopeo copy` read. Errors: the output's; a blob that is
    /// missing or damaged.
    pub fn write(
        &self,
        store: &Store,
        format: ImageFormat,
        out: impl Write,
        progress: &dyn Progress,
    ) -> Result<()> {
        let meter = progress.begin(&format!("writing the image {}", self.name), self.size(), Unit::Bytes);
        let mut archive = tar::Builder::new(out);
        let mut text = |path: &str, text: &str| tarball::write_text(&mut archive, path, text);
        text("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        text("index.json", &self.index())?;
        if format == ImageFormat::Docker {
            text("manifest.json", &self.docker_manifest())?;
        }
        for content in [&self.config, &self.manifest] {
            text(&blob(&sha256(content)["sha256:".len()..]), content)?;
        }
        for (index, layer) in self.layers.iter().enumerate() {
            tarball::begin_file(&mut archive, &blob(&layer.sha256), layer.size)?;
            let mut content = Counted { inner: archive.get_mut(), count: 0, meter: meter.as_ref() };
            tarball::write_root(store, &self.tree.subtree(&index.to_string()), &mut content)
                .with_context(|| format!("in layer `{}`", layer.name))?;
            // A tar archive is a multiple of 512 bytes long, so that nothing has to be filled up.
            ensure!(content.count == layer.size, "layer `{}` changed while it was written", layer.name);
        }
        archive.into_inner().and_then(|mut out| out.flush()).context("cannot end the archive")
    }

    fn index(&self) -> String {
        let tag = self.name.rsplit_once(':').map_or("", |(_, tag)| tag);
        json!({
            "manifests": [{
                "annotations": {
                    "io.containerd.image.name": format!("docker.io/{}", self.name),
                    "org.opencontainers.image.ref.name": tag,
                },
                "digest": sha256(&self.manifest),
                "mediaType": MANIFEST_TYPE,
                "size": self.manifest.len(),
            }],
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "schemaVersion": 2,
        })
        .to_string()
    }

    fn docker_manifest(&self) -> String {
        let layers: Vec<_> = self.layers.iter().map(|layer| blob(&layer.sha256)).collect();
        let config = blob(&sha256(&self.config)["sha256:".len()..]);
        json!([{ "Config": config, "Layers": layers, "RepoTags": [self.name] }]).to_string()
    }
}

/// Counts what is written.
struct Counted<'a, W> {
    inner: W,
    count: u64,
    meter: &'a dyn Meter,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.count += count as u64;
        self.meter.add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// The layers as directories `0`, `1`, … and their description.
fn describe(store: &Store, environment: &Environment, progress: &dyn Progress) -> Result<Tree> {
    let meter = progress.begin(&format!("hashing the image of {}", environment.name), 0, Unit::Items);
    let layers = layers(store, environment)?;
    let descriptions = layers
        .par_iter()
        .map(|layer| {
            let mut hash = HashWriter::new(std::io::sink());
            tarball::write_root(store, &layer.tree, &mut hash)
                .with_context(|| format!("in layer `{}`", layer.name))?;
            let digest = hash.finish().1;
            meter.add(1);
            Ok(Description { name: layer.name.clone(), sha256: digest.hex(), size: digest.size })
        })
        .collect::<Result<Vec<_>>>()?;
    let mut tree = Tree::new();
    for (index, layer) in layers.iter().enumerate() {
        tree.merge(&index.to_string(), &layer.tree)?;
    }
    let digest = store.put_bytes(&serde_json::to_vec(&descriptions)?)?;
    tree.insert(DESCRIPTION, Entry::File { digest, executable: false })?;
    Ok(tree)
}

/// The image configuration, keys sorted.
fn config(environment: &Environment, layers: &[Description]) -> String {
    let history: Vec<Value> = layers
        .iter()
        .map(|layer| json!({ "created": CREATED, "created_by": format!("mlc-repro: {}", layer.name) }))
        .collect();
    let layers: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", layer.sha256)).collect();
    let variables: Vec<String> =
        environment.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    json!({
        "architecture": "amd64",
        "config": {
            "Cmd": ["/bin/bash"],
            "Env": variables,
            "Labels": {
                "mlc-repro.environment": environment.name,
                "mlc-repro.tree": environment.root.to_string(),
            },
            "User": "1000:1000",
            "WorkingDir": "/build/work",
        },
        "created": CREATED,
        "history": history,
        "os": "linux",
        "rootfs": { "diff_ids": layers, "type": "layers" },
    })
    .to_string()
}

fn manifest(config: &str, layers: &[Description]) -> String {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| {
            json!({
                "digest": format!("sha256:{}", layer.sha256),
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "size": layer.size,
            })
        })
        .collect();
    json!({
        "config": {
            "digest": sha256(config),
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": config.len(),
        },
        "layers": layers,
        "mediaType": MANIFEST_TYPE,
        "schemaVersion": 2,
    })
    .to_string()
}

fn sha256(text: &str) -> String {
    format!("sha256:{}", Digest::of(text.as_bytes()).hex())
}

fn blob(hex: &str) -> String {
    format!("blobs/sha256/{hex}")
}
