//! AARs, the archives that Android's build tools take libraries from, and what Maven and Gradle need beside one: a POM and Gradle's
//! module metadata. The bytes depend on the content alone.
//!
//! What a recipe writes is what the archive holds: `classes.jar`, `jni/ABI/lib*.so` and, where there is one, `proguard.txt`. The
//! manifest, `R.txt` and `aar-metadata.properties` are written from data; license texts go into `META-INF/licenses/`. A jar
//! `sources.jar` is published beside it.

mod inspect;
mod maven;
#[cfg(test)]
mod tests;

use crate::archive::ZipFile;
use anyhow::{Context, Result, bail, ensure};
pub use inspect::{Aar, JniLibrary, inspect_aar};
pub use maven::{Coordinates, Dependency};
use serde::{Deserialize, Serialize};
use store::{Digest, Entry, Store, Tree};

/// Where license texts stand in the tree that an AAR is made of.
const LICENSES: &str = "licenses/";

/// What an AAR says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AarMetadata {
    /// The Maven group, such as `org.apache.tvm`.
    pub group: String,
    /// The Maven artifact.
    pub artifact: String,
    /// A sentence for the POM.
    pub description: String,
    /// Where the project is at home.
    pub url: String,
    /// The Java package of the manifest, which no other library of an application may have.
    pub package: String,
    /// The lowest API level of Android that it runs on.
    pub min_sdk: u32,
    /// The lowest API level whose classes an application must be compiled against.
    pub min_compile_sdk: u32,
    /// Other libraries that it needs.
    #[serde(default, rename = "dependency")]
    pub dependencies: Vec<Dependency>,
}

impl AarMetadata {
    /// Its name in a Maven repository.
    pub fn coordinates(&self, version: &str) -> Coordinates {
        Coordinates {
            group: self.group.clone(),
            artifact: self.artifact.clone(),
            version: version.to_owned(),
        }
    }

    /// The members of the AAR that are written from data: paths and texts.
    pub fn texts(&self) -> [(&'static str, String); 3] {
        [
            ("AndroidManifest.xml", self.manifest()),
            // No resources: it must be there all the same.
            ("R.txt", String::new()),
            ("META-INF/com/android/build/gradle/aar-metadata.properties", self.properties()),
        ]
    }

    /// What is written from data and published beside the AAR: the module metadata and the POM, paths and texts.
    pub fn published_texts(
        &self,
        version: &str,
        license: &str,
        aar: &Digest,
    ) -> Result<[(String, String); 2]> {
        let coordinates = self.coordinates(version);
        let stem = coordinates.stem();
        let module = maven::module(&coordinates, &self.dependencies, aar)?;
        Ok([
            (format!("{stem}.module"), module),
            (format!("{stem}.pom"), maven::pom(&coordinates, self, license)),
        ])
    }

    fn check(&self) -> Result<()> {
        let is_name = |text: &str| {
            text.split('.').all(|part| {
                part.starts_with(|c: char| c.is_ascii_alphabetic())
                    && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
            })
        };
        for (what, name) in [("group", &self.group), ("artifact", &self.artifact), ("package", &self.package)]
        {
            ensure!(is_name(name), "`{name}` is not a valid {what}");
        }
        ensure!(self.package.contains('.'), "the package `{}` needs two parts", self.package);
        ensure!(
            self.min_sdk > 0 && self.min_compile_sdk >= self.min_sdk,
            "`min_compile_sdk` is below `min_sdk`"
        );
        Ok(())
    }

    fn manifest(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
             <manifest xmlns:android=\"http://schemas.android.com/apk/res/android\"\n    package=\"{}\">\n\n    \
             <uses-sdk android:minSdkVersion=\"{}\" />\n\n</manifest>\n",
            self.package, self.min_sdk
        )
    }

    fn properties(&self) -> String {
        format!(
            "aarFormatVersion=1.0\naarMetadataVersion=1.0\nminCompileSdk={}\nminCompileSdkExtension=0\n\
             minAndroidGradlePluginVersion=1.0.0\ncoreLibraryDesugaringEnabled=false\n",
            self.min_compile_sdk
        )
    }
}

/// Writes an AAR and what is published with it into the store: a tree of `ARTIFACT-VERSION.aar`, `.pom`, `.module`,
/// `-sources.jar` and `licenses/`. `license` is an SPDX expression. Errors: the metadata is malformed; the tree holds something
/// that has no place in an AAR; the finished AAR breaks one of its own rules ([`Aar::problems`]).
pub fn write_aar(
    store: &Store,
    outputs: &Tree,
    metadata: &AarMetadata,
    version: &str,
    license: &str,
) -> Result<Tree> {
    metadata.check()?;
    let mut published = Tree::new();
    let mut members: Vec<(String, Digest)> = Vec::new();
    let coordinates = metadata.coordinates(version);
    let stem = coordinates.stem();
    for (path, entry) in outputs.iter() {
        let Entry::File { digest, .. } = entry else {
            bail!("`{path}` is a link or an empty directory, which an AAR can't hold")
        };
        if path == "sources.jar" {
            published.insert(&format!("{stem}-sources.jar"), file(*digest))?;
        } else if let Some(rest) = path.strip_prefix(LICENSES) {
            published.insert(path, file(*digest))?;
            members.push((format!("META-INF/licenses/{rest}"), *digest));
        } else {
            members.push((path.to_owned(), *digest));
        }
    }
    for (path, text) in metadata.texts() {
        ensure!(outputs.get(path).is_none(), "`{path}` is written from data, and must not be in the outputs");
        members.push((path.to_owned(), store.put_bytes(text.as_bytes())?));
    }
    members.sort();
    let mut zip = ZipFile::new(store)?;
    for (path, digest) in &members {
        zip.file(store, path, digest, false).with_context(|| format!("cannot pack `{path}`"))?;
    }
    let aar = zip.finish(store)?;
    let problems = inspect_aar(&store.read(&aar)?)?.problems();
    ensure!(problems.is_empty(), "the AAR breaks its rules:\n  {}", problems.join("\n  "));

    published.insert(&format!("{stem}.aar"), file(aar))?;
    for (path, text) in metadata.published_texts(version, license, &aar)? {
        published.insert(&path, file(store.put_bytes(text.as_bytes())?))?;
    }
    Ok(published)
}

fn file(digest: Digest) -> Entry {
    Entry::File { digest, executable: false }
}
