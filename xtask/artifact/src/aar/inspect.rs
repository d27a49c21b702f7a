//! What stands in an AAR, and which of the format's rules it breaks.

use crate::{Content, Elf, Kind, Limits, Machine, Member, inspect_elf, list_archive};
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Cursor, Read},
};

/// What an AAR with its jars may unpack to in bytes: libraries of a few hundred megabytes, with air.
const MOST_BYTES: u64 = 2 << 30;

/// The same, as a multiple of its size, of what is larger than [`FEW_BYTES`]: code and classes shrink to a third, zeros to a
/// thousandth.
const MOST_TIMES: u64 = 100;

/// So much may come out of any AAR.
const FEW_BYTES: u64 = 64 << 20;

/// Members of an AAR and of all its jars.
const MOST_MEMBERS: usize = 200_000;

/// The largest manifest, in bytes; AGP's have some hundred.
const LARGEST_MANIFEST: usize = 1 << 20;

/// The most attributes and namespaces of a manifest: reading them takes the square of their number.
const MOST_ATTRIBUTES: usize = 4096;

/// Android's pages, and so the least alignment of a library's segments, in bytes.
const PAGE: u64 = 16 * 1024;

/// Java 8's class files: what every Android build tool since 2017 takes.
const CLASS_FILE: u16 = 52;

/// The ABIs of 64 bits, by the names of their folders.
const ABIS: [(&str, Machine); 2] = [("arm64-v8a", Machine::Aarch64), ("x86_64", Machine::X86_64)];

/// Libraries that every Android has.
const SYSTEM: [&str; 10] = [
    "libEGL.so",
    "libGLESv2.so",
    "libGLESv3.so",
    "libandroid.so",
    "libc.so",
    "libdl.so",
    "libjnigraphics.so",
    "liblog.so",
    "libm.so",
    "libz.so",
];

/// An AAR.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Aar {
    /// The manifest's package.
    pub package: Option<String>,
    /// The lowest API level of Android.
    pub min_sdk: Option<u32>,
    /// Members, sorted.
    pub members: Vec<String>,
    /// Classes of all jars.
    pub classes: usize,
    /// Classes by class file version (52 is Java 8).
    pub class_versions: BTreeMap<u16, usize>,
    /// Classes that stand in it twice.
    pub classes_twice: Vec<String>,
    /// Libraries.
    pub libraries: Vec<JniLibrary>,
}

/// A library below `jni/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JniLibrary {
    /// The folder, such as `arm64-v8a`.
    pub abi: String,
    /// The file's name.
    pub name: String,
    /// What it is.
    pub elf: Elf,
}

/// Reads an AAR. Errors: it is not a zip archive, holds something twice or hidden, or more than an AAR can mean; a manifest, class or
/// library is damaged.
pub fn inspect_aar(bytes: &[u8]) -> Result<Aar> {
    let mut aar = Aar::default();
    let mut names = BTreeSet::new();
    let most = (bytes.len() as u64).saturating_mul(MOST_TIMES).clamp(FEW_BYTES, MOST_BYTES);
    // One bound for all that is in it, however it is nested.
    let mut left = Limits { bytes: most, members: MOST_MEMBERS };
    for (path, content) in members(bytes, &mut left)? {
        if path == "AndroidManifest.xml" {
            (aar.package, aar.min_sdk) = manifest(&content).context("`AndroidManifest.xml` is damaged")?;
        } else if path.ends_with(".jar") {
            for (class, content) in members(&content, &mut left).with_context(|| format!("in `{path}`"))? {
                let Some(name) = class.strip_suffix(".class") else { continue };
                let [0xca, 0xfe, 0xba, 0xbe, _, _, high, low, ..] = content[..] else {
                    bail!("`{class}` in `{path}` is not a class file")
                };
                aar.classes += 1;
                *aar.class_versions.entry(u16::from_be_bytes([high, low])).or_default() += 1;
                if !names.insert(name.to_owned()) {
                    aar.classes_twice.push(name.to_owned());
                }
            }
        } else if let Some((abi, name)) = path.strip_prefix("jni/").and_then(|rest| rest.split_once('/')) {
            let elf = inspect_elf(&content).with_context(|| format!("`{path}` is not a library"))?;
            aar.libraries.push(JniLibrary { abi: abi.to_owned(), name: name.to_owned(), elf });
        }
        aar.members.push(path);
    }
    aar.members.sort();
    Ok(aar)
}

/// The files of a zip archive, within what is left of the limits.
fn members(bytes: &[u8], left: &mut Limits) -> Result<Vec<(String, Vec<u8>)>> {
    let listed = list_archive(Cursor::new(bytes), Kind::Zip, *left)?;
    let size = |member: &Member| match &member.content {
        Content::File { digest, .. } => digest.size,
        _ => 0,
    };
    left.bytes = left.bytes.saturating_sub(listed.iter().map(size).sum());
    left.members = left.members.saturating_sub(listed.len());
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))?;
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        if entry.is_dir() {
            continue;
        }
        let path = std::str::from_utf8(entry.name_raw())?.to_owned();
        ensure!(
            !path.starts_with('/') && !path.split('/').any(|part| matches!(part, "" | "." | "..")),
            "it holds the unsafe path `{}`",
            path.escape_debug()
        );
        let mut content = Vec::new();
        entry.by_ref().take(MOST_BYTES).read_to_end(&mut content)?;
        members.push((path, content));
    }
    Ok(members)
}

fn manifest(bytes: &[u8]) -> Result<(Option<String>, Option<u32>)> {
    ensure!(
        bytes.len() <= LARGEST_MANIFEST,
        "it is too large ({} bytes, at most {LARGEST_MANIFEST})",
        bytes.len()
    );
    let text = std::str::from_utf8(bytes).context("it is not UTF-8")?;
    // Each attribute and namespace has an `=`.
    let attributes = text.bytes().filter(|byte| *byte == b'=').count();
    ensure!(attributes <= MOST_ATTRIBUTES, "it has more than {MOST_ATTRIBUTES} attributes");
    let document = roxmltree::Document::parse(text)?;
    let root = document.root_element();
    ensure!(root.tag_name().name() == "manifest", "it is a `{}`", root.tag_name().name());
    let sdk = root.children().find(|child| child.tag_name().name() == "uses-sdk").and_then(|element| {
        element.attribute(("http://schemas.android.com/apk/res/android", "minSdkVersion"))?.parse().ok()
    });
    Ok((root.attribute("package").map(str::to_owned), sdk))
}

impl Aar {
    /// Everything in which it breaks the rules of AARs, or what Google Play and Android's loader ask for.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for required in ["AndroidManifest.xml", "R.txt", "classes.jar"] {
            if !self.members.iter().any(|member| member == required) {
                problems.push(format!("`{required}` is missing"));
            }
        }
        for member in self.members.iter().filter(|member| !is_known(member)) {
            problems.push(format!("`{member}` has no place in an AAR"));
        }
        if self.package.is_none() {
            problems.push("the manifest names no package".to_owned());
        }
        if self.min_sdk.is_none() {
            problems.push("the manifest has no `uses-sdk` with `minSdkVersion`".to_owned());
        }
        for (version, count) in self.class_versions.range(CLASS_FILE + 1..) {
            problems.push(format!(
                "{count} classes have class file version {version}, above {CLASS_FILE} (Java 8): compile with `--release 8`, or `-jvm-target 1.8`"
            ));
        }
        for class in &self.classes_twice {
            problems.push(format!("the class `{class}` stands in it twice"));
        }
        for library in &self.libraries {
            problems.extend(self.library(library));
        }
        problems
    }

    fn library(&self, library: &JniLibrary) -> Vec<String> {
        let JniLibrary { abi, name, elf } = library;
        let mut problems = Vec::new();
        let mut add = |problem: String| problems.push(format!("`jni/{abi}/{name}` {problem}"));
        match ABIS.iter().find(|(known, _)| known == abi) {
            None => add(format!("is for the ABI `{abi}`, which is not known here")),
            Some((_, machine)) if machine.elf() != elf.machine => {
                add(format!("is for the machine {}, not for the ABI of its folder", elf.machine));
            }
            Some(_) => {}
        }
        if !name.starts_with("lib") || !name.ends_with(".so") || name.contains('/') {
            add("is not named `lib*.so`, so Android does not install it".to_owned());
        }
        if elf.alignment < PAGE {
            add(format!("has segments aligned to {} bytes, and pages may have {PAGE}", elf.alignment));
        }
        if elf.text_relocations {
            add("has relocations in its code, which Android refuses".to_owned());
        }
        if let (Some(ident), Some(min_sdk)) = (&elf.android, self.min_sdk)
            && ident.api > min_sdk
        {
            add(format!("is for API level {}, above the manifest's {min_sdk}", ident.api));
        }
        for needed in &elf.needed {
            let own = self.libraries.iter().any(|other| other.abi == *abi && other.name == *needed);
            if !own && !SYSTEM.contains(&needed.as_str()) {
                add(format!("needs `{needed}`, which is neither beside it nor on every Android"));
            }
        }
        problems
    }
}

/// Whether a member has a meaning in an AAR (AGP's `aar-metadata` and the documented layout).
fn is_known(path: &str) -> bool {
    let files = [
        "AndroidManifest.xml",
        "R.txt",
        "classes.jar",
        "proguard.txt",
        "public.txt",
        "lint.jar",
        "annotations.zip",
    ];
    let folders = ["jni/", "libs/", "assets/", "res/", "META-INF/"];
    files.contains(&path) || folders.iter().any(|folder| path.starts_with(folder))
}
