//! The wheels of a release as a Python package index: a directory that any static server has, and that pip reads as it is.
//!
//! `simple/PROJECT/` holds the wheels of a project with `index.html` (PEP 503) and `index.json` (PEP 691, for servers that choose by
//! what a client accepts), each naming every wheel there with its SHA-256.

use crate::Manifest;
use anyhow::{Context, Result, ensure};
use artifact::WheelName;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
};
use store::{Digest, copy_output, hinted, write_output};

/// Adds the wheels of a release, which must have passed [`crate::verify`], to the index in `directory`, with a file
/// `requirements-RELEASE.txt` that names them by hash. Gives their names. What was there stays.
///
/// # Errors
/// If the release has no wheel; if the index has another file of the same name, since installers take a version's files to be the
/// same for ever; if the directory can't be written.
pub fn publish_pypi(release: &Path, directory: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(release.join("release.json")).context("cannot read release.json")?;
    let manifest: Manifest = serde_json::from_str(&text).context("release.json is damaged")?;
    let wheels: Vec<_> = manifest
        .artifacts
        .iter()
        .filter_map(|artifact| Some((artifact.wheel()?, &artifact.archive)))
        .collect();
    ensure!(!wheels.is_empty(), "the release `{}` has no wheel", manifest.name);
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let _lock = crate::directory::lock(directory)?;
    let mut projects = BTreeSet::new();
    for (name, archive) in &wheels {
        let project = normalized(&name.distribution);
        let place = directory.join("simple").join(&project);
        std::fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
        let file = place.join(name.file_name());
        if file.symlink_metadata().is_ok() {
            ensure!(
                Digest::of_file(&file)?.hex() == archive.sha256,
                hinted(
                    format!(
                        "{} exists and has another content, and what installers took once stays the same",
                        file.display()
                    ),
                    "remove it, or choose another directory"
                )
            );
        } else {
            copy_output(&release.join(&archive.path), &file)?;
        }
        projects.insert(project);
    }
    for project in &projects {
        write_project(&directory.join("simple"), project)?;
    }
    write_projects(&directory.join("simple"))?;
    let requirements = requirements(wheels.iter().map(|(name, archive)| (name, archive.sha256.as_str())))?;
    write_output(&directory.join(format!("requirements-{}.txt", manifest.name)), requirements.as_bytes())?;
    Ok(wheels.into_iter().map(|(name, _)| name.file_name()).collect())
}

/// A project's name in addresses (PEP 503): lower case, every run of `-_.` a hyphen.
fn normalized(name: &str) -> String {
    let parts: Vec<_> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-").to_lowercase()
}

/// The wheels in a project's directory, with their hashes.
fn write_project(simple: &Path, project: &str) -> Result<()> {
    let place = simple.join(project);
    let mut wheels = BTreeMap::new();
    for entry in std::fs::read_dir(&place).with_context(|| format!("cannot list {}", place.display()))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_wheel =
            name.ends_with(".whl") && WheelName::parse(&name).is_some_and(|it| it.file_name() == name);
        if is_wheel && entry.file_type()?.is_file() {
            wheels.insert(name, Digest::of_file(&entry.path())?);
        }
    }
    let mut html = head(&format!("Links for {project}"));
    for (name, digest) in &wheels {
        writeln!(html, "<a href=\"{name}#sha256={}\">{name}</a><br>", digest.hex())?;
    }
    html.push_str("</body></html>\n");
    let files: Vec<_> = wheels
        .iter()
        .map(|(name, digest)| {
            json!({ "filename": name, "hashes": { "sha256": digest.hex() }, "size": digest.size, "url": name })
        })
        .collect();
    let versions: BTreeSet<_> =
        wheels.keys().filter_map(|name| Some(WheelName::parse(name)?.version)).collect();
    let json =
        json!({ "files": files, "meta": { "api-version": "1.1" }, "name": project, "versions": versions });
    write_output(&place.join("index.html"), html.as_bytes())?;
    write_output(&place.join("index.json"), (json.to_string() + "\n").as_bytes())
}

fn write_projects(simple: &Path) -> Result<()> {
    let mut projects = BTreeSet::new();
    for entry in std::fs::read_dir(simple).with_context(|| format!("cannot list {}", simple.display()))? {
        let entry = entry?;
        if let (Ok(name), true) = (entry.file_name().into_string(), entry.file_type()?.is_dir())
            && normalized(&name) == name
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            projects.insert(name);
        }
    }
    let mut html = head("Simple index");
    for name in &projects {
        writeln!(html, "<a href=\"{name}/\">{name}</a><br>")?;
    }
    html.push_str("</body></html>\n");
    let list: Vec<_> = projects.iter().map(|name| json!({ "name": name })).collect();
    let json = json!({ "meta": { "api-version": "1.1" }, "projects": list });
    write_output(&simple.join("index.html"), html.as_bytes())?;
    write_output(&simple.join("index.json"), (json.to_string() + "\n").as_bytes())
}

fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html><head><meta name=\"pypi:repository-version\" content=\"1.1\"><title>{title}</title></head><body>\n"
    )
}

/// What `pip install --require-hashes -r` takes. Versions that are of one platform alone are asked for there alone.
fn requirements<'a>(wheels: impl Iterator<Item = (&'a WheelName, &'a str)>) -> Result<String> {
    type Version<'a> = (String, &'a str);
    /// Hashes and markers.
    type Wheels<'a> = (BTreeSet<&'a str>, BTreeSet<&'a str>);
    let mut versions: BTreeMap<Version<'_>, Wheels<'_>> = BTreeMap::new();
    for (name, sha256) in wheels {
        let (hashes, markers) = versions.entry((normalized(&name.distribution), &name.version)).or_default();
        hashes.insert(sha256);
        markers.insert(marker(&name.tag));
    }
    let mut text = String::new();
    for ((project, version), (hashes, markers)) in versions {
        write!(text, "{project}=={version}")?;
        if let (1, Some(marker)) = (markers.len(), markers.first().filter(|marker| !marker.is_empty())) {
            write!(text, " ; {marker}")?;
        }
        for hash in hashes {
            write!(text, " \\\n    --hash=sha256:{hash}")?;
        }
        text.push('\n');
    }
    Ok(text)
}

fn marker(tag: &str) -> &'static str {
    match tag.rsplit('-').next().unwrap_or_default() {
        platform if platform.starts_with("win") => "sys_platform == \"win32\"",
        platform if platform.contains("linux") => "sys_platform == \"linux\"",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{example, write};
    use std::process::Command;

    /// Real pip, without a network: the file comes from the directory, and its hash from the requirements.
    fn pip(index: &Path, requirements: &Path, target: &Path) -> (bool, String) {
        let output = Command::new("python3")
            .args(["-m", "pip", "install", "--isolated", "--no-cache-dir", "--disable-pip-version-check"])
            .arg(format!("--index-url=file://{}/simple/", index.display()))
            .args(["--require-hashes", "-r"])
            .arg(requirements)
            .arg("--target")
            .arg(target)
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    #[test]
    fn pip_installs_by_hash_from_the_index() {
        let (directory, store, manifest) = example::release_of("packed");
        let (release, index) = (directory.path().join("dist/packed"), directory.path().join("index"));
        write(&store, &manifest, &release).unwrap();
        assert_eq!(publish_pypi(&release, &index).unwrap(), [example::WHEEL]);
        let requirements = index.join("requirements-packed.txt");
        let (installed, text) = pip(&index, &requirements, &directory.path().join("site"));
        assert!(installed, "{text}");
        assert!(directory.path().join("site/hello/__init__.py").exists(), "{text}");
        // Again, it changes nothing; a wheel of the same name and another content is not replaced.
        publish_pypi(&release, &index).unwrap();
        let wheel = index.join("simple/hello").join(example::WHEEL);
        let mut bytes = std::fs::read(&wheel).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&wheel, &bytes).unwrap();
        let (installed, text) = pip(&index, &requirements, &directory.path().join("other"));
        assert!(!installed && text.contains("DO NOT MATCH THE HASHES"), "{text}");
        let error = publish_pypi(&release, &index).unwrap_err().to_string();
        assert!(error.contains("exists and has another content"), "{error}");
    }

    #[test]
    fn an_index_names_every_wheel_that_is_there() {
        let (directory, store, manifest) = example::release_of("packed");
        let (release, index) = (directory.path().join("dist/packed"), directory.path().join("index"));
        write(&store, &manifest, &release).unwrap();
        let place = index.join("simple/hello");
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("hello-0.9-py3-none-any.whl"), "older").unwrap();
        std::fs::write(place.join("evil\"><b>-1-py3-none-any.whl"), "").unwrap();
        publish_pypi(&release, &index).unwrap();
        let html = std::fs::read_to_string(place.join("index.html")).unwrap();
        assert!(
            html.contains(&format!("hello-0.9-py3-none-any.whl#sha256={}", Digest::of(b"older").hex())),
            "{html}"
        );
        assert!(html.contains(example::WHEEL) && !html.contains("evil"), "{html}");
        let json: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(place.join("index.json")).unwrap()).unwrap();
        assert_eq!(json["versions"], json!(["0.9", "1.0"]));
        assert!(
            std::fs::read_to_string(index.join("simple/index.html")).unwrap().contains("href=\"hello/\"")
        );
    }

    #[test]
    fn what_is_of_one_platform_is_asked_for_there_alone() {
        let names =
            ["a_b-1+x-cp313-cp313-win_amd64", "a_b-1-cp313-cp313-manylinux_2_28_x86_64", "c-2-py3-none-any"]
                .map(|name| WheelName::parse(name).unwrap());
        let text = requirements(names.iter().map(|name| (name, "ab"))).unwrap();
        assert_eq!(
            text,
            "a-b==1 ; sys_platform == \"linux\" \\\n    --hash=sha256:ab\na-b==1+x ; sys_platform == \"win32\" \\\n    --hash=sha256:ab\n\
             c==2 \\\n    --hash=sha256:ab\n"
        );
    }

    #[test]
    fn a_release_without_wheels_is_said_to_have_none() {
        let (directory, store, manifest) = example::release();
        let release = directory.path().join("dist/test");
        write(&store, &manifest, &release).unwrap();
        let error = publish_pypi(&release, &directory.path().join("index")).unwrap_err().to_string();
        assert_eq!(error, "the release `test` has no wheel");
    }
}
