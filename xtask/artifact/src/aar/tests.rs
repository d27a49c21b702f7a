//! AARs around genuine and foreign libraries.

use super::*;
use std::{io::Write, process::Command};
use zip::{ZipWriter, write::SimpleFileOptions};

fn metadata() -> AarMetadata {
    AarMetadata {
        group: "org.apache.tvm".into(),
        artifact: "tvm4j".into(),
        description: "TVM's runtime & its Java API".into(),
        url: "https://tvm.apache.org".into(),
        package: "org.apache.tvm".into(),
        min_sdk: 28,
        min_compile_sdk: 28,
        dependencies: vec![Dependency {
            group: "org.jetbrains.kotlinx".into(),
            artifact: "kotlinx-serialization-json".into(),
            version: "1.9.0".into(),
            api: false,
        }],
    }
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, content) in files {
        zip.start_file(*path, SimpleFileOptions::default().last_modified_time(zip::DateTime::default()))
            .unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A jar as the JDK's tool writes it: each member's sizes and sum stand behind its bytes.
fn streamed_jar(path: &str, content: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new_stream(Vec::new());
    zip.start_file(path, SimpleFileOptions::default()).unwrap();
    zip.write_all(content).unwrap();
    zip.finish().unwrap().into_inner()
}

/// The head of a class file.
fn class(version: u8) -> Vec<u8> {
    vec![0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, version, 0, 1]
}

/// A shared library of this machine, in the place of one for Android on x86-64.
fn library(flags: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let (source, library) = (directory.path().join("x.c"), directory.path().join("x.so"));
    std::fs::write(&source, "int answer(void) { return 42; }\n").unwrap();
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-nostdlib", "-s", "-o"]).arg(&library).arg(&source).args(flags);
    assert!(command.status().unwrap().success());
    std::fs::read(library).unwrap()
}

fn outputs(store: &Store, files: &[(&str, &[u8])]) -> Tree {
    let mut tree = Tree::new();
    for (path, content) in files {
        tree.insert(path, file(store.put_bytes(content).unwrap())).unwrap();
    }
    tree
}

const ALIGNED: [&str; 1] = ["-Wl,-z,max-page-size=16384"];

#[test]
fn an_aar_is_written_published_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let classes = zip(&[("org/apache/tvm/A.class", &class(52))]);
    let tree = outputs(
        &store,
        &[
            ("classes.jar", &classes),
            ("jni/x86_64/libtvm4j.so", &library(&ALIGNED)),
            ("licenses/tvm/LICENSE", b"license"),
            ("proguard.txt", b"-keep class org.apache.tvm.** { *; }\n"),
            ("sources.jar", &zip(&[("A.java", b"class A {}")])),
        ],
    );
    let published = write_aar(&store, &tree, &metadata(), "0.25.dev0", "Apache-2.0").unwrap();
    assert_eq!(published, write_aar(&store, &tree, &metadata(), "0.25.dev0", "Apache-2.0").unwrap());
    let names: Vec<_> = published.iter().map(|(path, _)| path).collect();
    assert_eq!(
        names,
        [
            "licenses/tvm/LICENSE",
            "tvm4j-0.25.dev0-sources.jar",
            "tvm4j-0.25.dev0.aar",
            "tvm4j-0.25.dev0.module",
            "tvm4j-0.25.dev0.pom"
        ]
    );
    let read = |path: &str| match published.get(path) {
        Some(Entry::File { digest, .. }) => store.read(digest).unwrap(),
        other => panic!("{path}: {other:?}"),
    };
    let bytes = read("tvm4j-0.25.dev0.aar");
    let aar = inspect_aar(&bytes).unwrap();
    assert_eq!((aar.package.as_deref(), aar.min_sdk, aar.classes), (Some("org.apache.tvm"), Some(28), 1));
    assert_eq!(
        aar.members,
        [
            "AndroidManifest.xml",
            "META-INF/com/android/build/gradle/aar-metadata.properties",
            "META-INF/licenses/tvm/LICENSE",
            "R.txt",
            "classes.jar",
            "jni/x86_64/libtvm4j.so",
            "proguard.txt"
        ]
    );
    let pom = String::from_utf8(read("tvm4j-0.25.dev0.pom")).unwrap();
    assert!(pom.contains("<description>TVM's runtime &amp; its Java API</description>"), "{pom}");
    assert!(
        pom.contains("<scope>runtime</scope>") && pom.contains("published-with-gradle-metadata"),
        "{pom}"
    );
    let coordinates = Coordinates::of_pom(&pom).unwrap();
    assert_eq!(coordinates.directory(), "org/apache/tvm/tvm4j/0.25.dev0");
    let module: serde_json::Value = serde_json::from_slice(&read("tvm4j-0.25.dev0.module")).unwrap();
    let variant = |index: usize| &module["variants"][index];
    assert_eq!(variant(0)["dependencies"].as_array().unwrap().len(), 0);
    assert_eq!(variant(1)["dependencies"][0]["module"], "kotlinx-serialization-json");
    assert_eq!(variant(1)["files"][0]["sha256"], Digest::of(&bytes).hex());
}

#[test]
fn every_broken_rule_is_found() {
    let class52 = class(52);
    let jar = zip(&[("A.class", &class(61)), ("B.class", &class52)]);
    let bytes = zip(&[
        ("AndroidManifest.xml", b"<manifest xmlns:android='http://schemas.android.com/apk/res/android'/>"),
        ("classes.jar", &jar),
        ("extra.txt", b""),
        ("jni/arm64-v8a/libx.so", &library(&ALIGNED)),
        ("jni/mips/libx.so", &library(&ALIGNED)),
        ("jni/x86_64/x.so", &library(&["-Wl,-z,max-page-size=4096"])),
        ("libs/more.jar", &zip(&[("B.class", &class52)])),
    ]);
    let found = inspect_aar(&bytes).unwrap().problems().join("\n");
    for expected in [
        "`R.txt` is missing",
        "`extra.txt` has no place in an AAR",
        "the manifest names no package",
        "no `uses-sdk`",
        "1 classes have class file version 61, above 52 (Java 8)",
        "the class `B` stands in it twice",
        "`jni/arm64-v8a/libx.so` is for the machine 62, not for the ABI of its folder",
        "the ABI `mips`, which is not known here",
        "`jni/x86_64/x.so` is not named `lib*.so`",
        "has segments aligned to 4096 bytes",
    ] {
        assert!(found.contains(expected), "{expected} is not in:\n{found}");
    }
}

#[test]
fn a_library_that_is_not_beside_it_is_named() {
    let needy = library(&["-Wl,-z,max-page-size=16384", "-Wl,--no-as-needed", "-lm"]);
    let bytes = zip(&[("jni/x86_64/libx.so", &needy)]);
    let found = inspect_aar(&bytes).unwrap().problems().join("\n");
    assert!(found.contains("which is neither beside it nor on every Android"), "{found}");
}

#[test]
fn an_aar_that_would_break_its_rules_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let classes = zip(&[("A.class", &class(52))]);
    let refused = |files: &[(&str, &[u8])], metadata: &AarMetadata, expected: &str| {
        let tree = outputs(&store, files);
        let error = write_aar(&store, &tree, metadata, "1", "MIT").unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{expected}: {error:#}");
    };
    let lib = library(&ALIGNED);
    refused(&[("jni/x86_64/libx.so", &lib)], &metadata(), "`classes.jar` is missing");
    refused(
        &[("classes.jar", &classes), ("jni/arm64-v8a/libx.so", &lib)],
        &metadata(),
        "is for the machine 62",
    );
    refused(&[("classes.jar", &zip(&[("A.class", &class(65))]))], &metadata(), "version 65, above 52");
    refused(&[("classes.jar", &classes), ("R.txt", b"")], &metadata(), "is written from data");
    let wrong = AarMetadata { package: "tvm".into(), ..metadata() };
    refused(&[("classes.jar", &classes)], &wrong, "needs two parts");
    let wrong = AarMetadata { group: "../etc".into(), ..metadata() };
    refused(&[("classes.jar", &classes)], &wrong, "is not a valid group");
}

#[test]
fn hostile_aars_are_refused() {
    for (bytes, expected) in [
        (zip(&[("../x", b"")]), "unsafe path"),
        (zip(&[("classes.jar", b"no zip")]), "in `classes.jar`"),
        (zip(&[("classes.jar", &zip(&[("A.class", b"short")]))]), "is not a class file"),
        (
            zip(&[("classes.jar", &streamed_jar("A.class", &class(52)))]),
            "it holds bytes that belong to no member",
        ),
        (zip(&[("jni/x86_64/libx.so", b"text")]), "is not a library"),
        (zip(&[("AndroidManifest.xml", b"<manifest")]), "`AndroidManifest.xml` is damaged"),
        (b"nothing".to_vec(), "not a zip archive"),
    ] {
        let error = format!("{:#}", inspect_aar(&bytes).unwrap_err());
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

/// A manifest with this inside its root.
fn aar_with_manifest(attributes: &str) -> Vec<u8> {
    let manifest = format!("<manifest package=\"a.b\" {attributes}><uses-sdk/></manifest>");
    zip(&[("AndroidManifest.xml", manifest.as_bytes())])
}

#[test]
fn a_manifest_without_end_is_refused_at_once() {
    let start = std::time::Instant::now();
    for form in ["xmlns:n{}=\"u{}\" ", "a{}=\"\" "] {
        let attributes: String = (0..40_000).map(|number| form.replace("{}", &number.to_string())).collect();
        let error = format!("{:#}", inspect_aar(&aar_with_manifest(&attributes)).unwrap_err());
        assert!(error.contains("more than 4096 attributes"), "{error}");
    }
    let error = format!("{:#}", inspect_aar(&aar_with_manifest(&" ".repeat(2 << 20))).unwrap_err());
    assert!(error.contains("too large"), "{error}");
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn jars_share_one_limit() {
    let jar = zip(&[("zeros", &vec![0; 20 << 20])]);
    let manifest = b"<manifest package=\"a.b\"/>".as_slice();
    let one = zip(&[("AndroidManifest.xml", manifest), ("classes.jar", &jar)]);
    assert!(inspect_aar(&one).is_ok());
    let names: Vec<String> = (0..4).map(|number| format!("libs/{number}.jar")).collect();
    let mut files = vec![("AndroidManifest.xml", manifest)];
    files.extend(names.iter().map(|name| (name.as_str(), jar.as_slice())));
    let error = format!("{:#}", inspect_aar(&zip(&files)).unwrap_err());
    assert!(error.contains("bytes in all"), "{error}");
}
