//! The image of an environment, as engines, registries and their clients see it.

use crate::{
    engine::{Engine, Registry},
    machine::machine,
    turn,
};
use environment::{Definition, Environment, Image, ImageFormat, assemble};
use input::{FetchOptions, Lock};
use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};
use store::Silent;
use tempfile::TempDir;

fn image(environment: &Environment) -> Image {
    Image::of(&machine().store, environment, &Silent).unwrap()
}

fn written(image: &Image, format: ImageFormat, directory: &TempDir, name: &str) -> PathBuf {
    let path = directory.path().join(name);
    image.write(&machine().store, format, File::create(&path).unwrap(), &Silent).unwrap();
    path
}

/// What skopeo, the registries' client, says. It must succeed.
fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(arguments)
        .output()
        .expect("tests need skopeo; .ci/run installs it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {arguments:?}: {text}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_version_of_an_archive_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&machine().environment);
    for format in [ImageFormat::Oci, ImageFormat::Docker] {
        let one = written(&image, format, &directory, "one");
        let two = written(&image, format, &directory, "two");
        assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
    }
    assert_eq!(image.layers().map(|(_, size, _)| size).sum::<u64>(), image.size());
}

#[test]
fn a_registry_takes_it_and_gives_it_back() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&machine().environment);
    let oci = format!("oci-archive:{}", written(&image, ImageFormat::Oci, &directory, "oci").display());
    let docker =
        format!("docker-archive:{}", written(&image, ImageFormat::Docker, &directory, "docker").display());
    let registry = Registry::start();
    for (source, name) in [(&oci, "from-oci"), (&docker, "from-docker")] {
        let place = registry.place(name);
        skopeo(&["copy", "--dest-tls-verify=false", source, &place]);
        // The configuration's digest is the image's ID; the registry's layers are compressed, so its manifest is another.
        let manifest = skopeo(&["inspect", "--raw", "--tls-verify=false", &place]);
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["config"]["digest"], image.ids()[0].as_str());
        let config = skopeo(&["inspect", "--config", "--raw", "--tls-verify=false", &place]);
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["config"]["User"], "1000:1000");
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), image.layers().count());
    }
    // And back, to an engine that never saw the archive.
    let back = directory.path().join("back");
    let place = format!("docker-archive:{}:back:1", back.display());
    skopeo(&["copy", "--src-tls-verify=false", &registry.place("from-oci"), &place]);
    let _turn = turn();
    let engine = Engine::start();
    engine.docker(&["load", "--input", back.to_str().unwrap()]);
    assert_eq!(engine.docker(&["images", "--no-trunc", "--quiet"]), image.ids()[0]);
    let said =
        engine.docker(&["run", "--rm", "--network", "none", "back:1", "/bin/bash", "-c", "id -un; pwd"]);
    assert_eq!(said, "builder\n/build/work");
}

#[test]
fn a_change_of_one_package_moves_one_layer() {
    let containers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../containers");
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(containers.join("common.toml"), directory.path().join("common.toml")).unwrap();
    let definition = std::fs::read_to_string(containers.join("sandbox.toml")).unwrap();
    std::fs::write(directory.path().join("sandbox.toml"), definition.replace("  \"tar\",\n", "")).unwrap();
    let definition = Definition::load(&directory.path().join("sandbox.toml")).unwrap();
    let lock = std::fs::read_to_string(containers.join("sandbox.lock")).unwrap();
    let mut lock = Lock::parse(&lock, "sandbox.lock").unwrap();
    lock.inputs.retain(|input| input.name != "tar");
    let store = &machine().store;
    let without = assemble(store, "sandbox", &definition, &lock, &FetchOptions::default(), &Silent).unwrap();

    let layers = |environment: &Environment| -> BTreeSet<(String, String)> {
        let image = image(environment);
        image.layers().map(|(name, _, sha256)| (name.to_owned(), sha256.to_owned())).collect()
    };
    let (with, without) = (layers(&machine().environment), layers(&without));
    assert!(with.len() > 4, "{with:?}");
    assert_eq!(with.difference(&without).count(), 1, "{with:?} {without:?}");
}
