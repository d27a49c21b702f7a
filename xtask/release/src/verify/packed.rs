//! Wheels and AARs against the outputs that they were packed from: each of their files is an output at another place, or is
//! written from data, and of these every text that can be written again is.

use super::Problems;
use crate::{Artifact, File};
use artifact::{Kind, Limits, WheelName, list_in_form, wheel_tags, wheel_texts};
use builder::Recipe;
use std::collections::{BTreeMap, BTreeSet};
use store::Digest;

/// Where license texts stand in outputs.
const LICENSES: &str = "licenses/";

/// The longest METADATA that is read, in bytes.
const LONGEST_TEXT: u64 = 16 << 20;

/// The longest AAR that is looked into, in bytes: it is held in memory.
const LONGEST_AAR: u64 = 512 << 20;

/// The AAR among an artifact's files.
pub fn aar(artifact: &Artifact) -> Option<&File> {
    artifact.files.iter().find(|file| !file.path.contains('/') && file.path.ends_with(".aar"))
}

/// Members whose content is needed here, and how long they may be.
pub fn wanted(artifact: &Artifact) -> BTreeMap<String, u64> {
    if let Some(name) = artifact.wheel() {
        return [(format!("{}/METADATA", name.information()), LONGEST_TEXT)].into();
    }
    aar(artifact).map(|file| (artifact.top() + &file.path, LONGEST_AAR)).into_iter().collect()
}

/// The paths of an archive's members in the order in which they stand: sorted, but for a wheel's own files, which come
/// last, with RECORD behind them.
pub fn order(artifact: &Artifact) -> Vec<String> {
    let top = artifact.top();
    let paths = artifact.files.iter().map(|file| &file.path).chain(artifact.links.keys());
    let mut paths: Vec<String> = paths.map(|path| format!("{top}{path}")).collect();
    paths.sort();
    if let Some(name) = artifact.wheel() {
        let own = name.information() + "/";
        let record = format!("{own}RECORD");
        paths.sort_by_key(|path| (path.starts_with(&own), *path == record));
    }
    paths
}

/// Checks an artifact that was packed. `kept` are the contents that [`wanted`] asks for; `recipe` is its recipe, where
/// there is a checkout.
pub fn check(
    artifact: &Artifact,
    kept: &BTreeMap<String, Vec<u8>>,
    recipe: Option<&Recipe>,
    problems: &mut Problems,
) {
    // Without its outputs, as in the first schema, or with ones that can't be, told by the check of the manifest.
    if artifact.packed_from.is_empty() {
        return;
    }
    let mut checker = Checker { artifact, recipe, problems };
    if let Some(name) = artifact.wheel() {
        checker.wheel(&name, kept);
    } else if let Some(file) = aar(artifact) {
        checker.aar(file, kept.get(&(artifact.top() + &file.path)).map(Vec::as_slice));
    }
}

struct Checker<'a> {
    artifact: &'a Artifact,
    recipe: Option<&'a Recipe>,
    problems: &'a mut Problems,
}

/// What a file should be.
enum Origin {
    /// An output: digest and whether it is executable.
    Output(String, bool),
    /// This text.
    Text(Digest),
    /// A text that only the recipe tells.
    Data,
}

impl Checker<'_> {
    fn problem(&mut self, text: &str) {
        let title = self.artifact.title();
        self.problems.add(&self.artifact.archive.path, format!("`{title}` {text}"));
    }

    /// Each file is what `expected` says, and there is no other. `what` is what holds them.
    fn hold(&mut self, what: &str, files: &[File], mut expected: BTreeMap<String, Origin>) {
        for file in files {
            let text = match expected.remove(&file.path) {
                None => format!("has {what} with `{}`, which is not made from its outputs", file.path),
                Some(Origin::Output(sha256, executable))
                    if sha256 != file.sha256 || executable != file.executable =>
                {
                    format!("has {what} with another `{}` than its outputs have", file.path)
                }
                Some(Origin::Text(text)) if file.executable || text.hex() != file.sha256 => {
                    format!("has {what} with another `{}` than its metadata gives", file.path)
                }
                Some(Origin::Data) if file.executable => {
                    format!("has {what} with `{}`, which should not be executable", file.path)
                }
                Some(_) => continue,
            };
            self.problem(&text);
        }
        for path in expected.keys() {
            self.problem(&format!("has {what} without `{path}`"));
        }
    }

    fn wheel(&mut self, name: &WheelName, kept: &BTreeMap<String, Vec<u8>>) {
        let information = name.information();
        let path = format!("{information}/METADATA");
        let text = kept.get(&path).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let text = text.unwrap_or_default();
        let (fields, description) = text.split_once("\n\n").unwrap_or((&text, ""));
        for (field, expected) in
            [("Version", &self.artifact.version), ("License-Expression", &self.artifact.license)]
        {
            let prefix = format!("{field}: ");
            let found: Vec<_> = fields.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
            if found != [expected.as_str()] {
                self.problem(&format!("has a METADATA whose {field} is not `{expected}`"));
            }
        }
        // The readme is not installed: it stands in METADATA.
        let readme = Digest::of(description.as_bytes()).hex();
        let metadata = self.recipe.and_then(|recipe| recipe.wheel.as_ref());
        let is_readme = |file: &File| match metadata {
            Some(metadata) => metadata.readme.as_ref() == Some(&file.path),
            None => !description.is_empty() && file.sha256 == readme && !self.has(&file.path),
        };
        let mut expected = BTreeMap::new();
        let (mut licenses, mut readmes) = (Vec::new(), 0);
        for file in &self.artifact.packed_from {
            if is_readme(file) {
                readmes += usize::from(file.sha256 == readme);
                continue;
            }
            let place = match file.path.strip_prefix(LICENSES) {
                Some(rest) => {
                    licenses.push(rest.to_owned());
                    format!("{information}/{}", file.path)
                }
                None => file.path.clone(),
            };
            expected.insert(place, Origin::Output(file.sha256.clone(), file.executable));
        }
        let record = format!("{information}/RECORD");
        for own in
            ["METADATA", "RECORD", "WHEEL", "entry_points.txt"].map(|own| format!("{information}/{own}"))
        {
            // RECORD is held against the files by the check of the manifest.
            if self.has(&own) || own == record {
                expected.insert(own, Origin::Data);
            }
        }
        expected
            .insert(format!("{information}/WHEEL"), Origin::Text(Digest::of(wheel_tags(name).as_bytes())));
        if let (Some(metadata), Some(recipe)) = (metadata, self.recipe) {
            let readme = metadata.readme.as_ref().map(|_| description);
            match wheel_texts(name, metadata, &recipe.license, &licenses, readme) {
                Ok(texts) => {
                    expected.remove(&format!("{information}/entry_points.txt"));
                    let texts = texts.into_iter();
                    expected
                        .extend(texts.map(|(path, text)| (path, Origin::Text(Digest::of(text.as_bytes())))));
                }
                Err(error) => self.problem(&format!("can't be packed by its recipe: {error:#}")),
            }
        }
        if readmes != usize::from(!description.is_empty()) {
            self.problem("has a METADATA whose description is not the readme in its outputs");
        }
        self.hold("a wheel", &self.artifact.files.clone(), expected);
    }

    fn has(&self, path: &str) -> bool {
        self.artifact.files.iter().any(|file| file.path == path)
    }

    fn aar(&mut self, aar: &File, content: Option<&[u8]>) {
        let stem = aar.path.trim_end_matches(".aar");
        let (mut members, mut published) = (BTreeMap::new(), BTreeMap::new());
        for file in &self.artifact.packed_from {
            // An AAR has no modes, and neither has what stands beside it.
            let output = || Origin::Output(file.sha256.clone(), false);
            if file.path == "sources.jar" {
                published.insert(format!("{stem}-sources.jar"), output());
            } else if let Some(rest) = file.path.strip_prefix(LICENSES) {
                published.insert(file.path.clone(), output());
                members.insert(format!("META-INF/licenses/{rest}"), output());
            } else {
                members.insert(file.path.clone(), output());
            }
        }
        let metadata = self.recipe.and_then(|recipe| Some((recipe, recipe.aar.as_ref()?)));
        published.insert(aar.path.clone(), Origin::Data);
        match (metadata, aar.digest()) {
            (Some((recipe, metadata)), Ok(digest)) => {
                let texts = metadata.texts().into_iter();
                members.extend(
                    texts.map(|(path, text)| (path.to_owned(), Origin::Text(Digest::of(text.as_bytes())))),
                );
                match metadata.published_texts(&recipe.version, &recipe.license, &digest) {
                    Ok(texts) => published
                        .extend(texts.map(|(path, text)| (path, Origin::Text(Digest::of(text.as_bytes()))))),
                    Err(error) => self.problem(&format!("can't be published by its recipe: {error:#}")),
                }
                let name = metadata.coordinates(&recipe.version).stem() + ".aar";
                if name != aar.path {
                    self.problem(&format!("has an AAR `{}`, which its recipe calls `{name}`", aar.path));
                }
            }
            _ => {
                for path in
                    ["AndroidManifest.xml", "META-INF/com/android/build/gradle/aar-metadata.properties"]
                {
                    members.insert(path.to_owned(), Origin::Data);
                }
                members.insert("R.txt".to_owned(), Origin::Text(Digest::of(b"")));
                published.extend(["module", "pom"].map(|end| (format!("{stem}.{end}"), Origin::Data)));
            }
        }
        self.hold("an archive", &self.artifact.files.clone(), published);
        match content {
            Some(content) => self.members(aar, content, members),
            None => self.problem(&format!("has an AAR `{}` that is too large to be looked into", aar.path)),
        }
    }

    /// The AAR is the one that this program writes of the members that it should have.
    fn members(&mut self, aar: &File, content: &[u8], expected: BTreeMap<String, Origin>) {
        let bytes =
            self.artifact.packed_from.iter().fold(1 << 20, |sum: u64, file| sum.saturating_add(file.size));
        let limits = Limits { bytes, members: expected.len() + 100 };
        let listing = match list_in_form(&content, Kind::Zip, limits, &BTreeMap::new()) {
            Ok(listing) => listing,
            Err(error) => return self.problem(&format!("has a damaged AAR `{}`: {error:#}", aar.path)),
        };
        let files = listing.members.iter().map(|member| match &member.content {
            artifact::Content::File { digest, executable } => {
                File { executable: *executable, ..File::new(&member.path, digest) }
            }
            // A digest that nothing has.
            _ => File { path: member.path.clone(), sha256: String::new(), size: 0, executable: false },
        });
        let files: Vec<File> = files.collect();
        let names: BTreeSet<_> = files.iter().map(|file| &file.path).collect();
        let is_sorted = files.is_sorted_by(|a, b| a.path < b.path) && names.len() == files.len();
        self.hold(&format!("`{}`", aar.path), &files, expected);
        if !is_sorted {
            self.problem(&format!("has an AAR `{}` whose members are not sorted", aar.path));
        } else if let Some(deviation) = listing.deviation {
            self.problem(&format!("has an AAR `{}` that mlc-repro does not write so: {deviation}", aar.path));
        }
    }
}
