//! Rows on a wheel and on an AAR, with everything made to fit but what it was packed from.

use super::{Case, Release, case, raw::Zip, tar, zip};
use crate::{
    File,
    example::{AAR, WHEEL},
};
use store::Digest;

const INFORMATION: &str = "hello-1.0.dist-info";

/// A member of a zip archive that is not compressed, in the place of one.
fn replace(archive: &mut Zip, name: &str, content: &[u8]) {
    let one = written(name, content);
    let member = archive.members.iter_mut().find(|member| member.name == name.as_bytes()).unwrap();
    let fresh = Zip::read(&one).members.remove(0);
    (member.local, member.data) = (fresh.local, fresh.data);
    member.central[..38].copy_from_slice(&fresh.central[..38]);
}

/// An archive of one member, as this program writes it.
fn written(name: &str, content: &[u8]) -> Vec<u8> {
    use ::zip::{DateTime, ZipWriter, write::SimpleFileOptions};
    let options = SimpleFileOptions::default()
        .compression_level(Some(6))
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(name, options).unwrap();
    std::io::Write::write_all(&mut zip, content).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Changes one file of the wheel, mends RECORD, and makes the manifest fit but for `packed_from`.
fn wheel(release: &mut Release, name: &str, content: &[u8]) {
    let record_name = format!("{INFORMATION}/RECORD");
    let artifact = &mut release.manifest.artifacts[0];
    let file = artifact.files.iter_mut().find(|file| file.path == name).unwrap();
    *file = File { executable: file.executable, ..File::new(name, &Digest::of(content)) };
    let others = artifact.files.iter().filter(|file| file.path != record_name);
    let record =
        artifact::record_text(others.map(|file| (file.path.as_str(), file.digest().unwrap())), &record_name);
    let file = artifact.files.iter_mut().find(|file| file.path == record_name).unwrap();
    *file = File::new(&record_name, &Digest::of(record.as_bytes()));
    zip::edit(release, WHEEL, |zip| {
        replace(zip, name, content);
        replace(zip, &record_name, record.as_bytes());
    });
}

/// Changes METADATA of the wheel.
fn metadata(release: &mut Release, from: &str, to: &str) {
    let text = "Metadata-Version: 2.4\nName: hello\nVersion: 1.0\nSummary: says hello\nLicense-Expression: MIT\n\
                License-File: LICENSE\nRequires-Python: >=3.9\n\
                Description-Content-Type: text/markdown; charset=UTF-8\n\n# Hello\n";
    assert!(text.contains(from), "{from}");
    wheel(release, &format!("{INFORMATION}/METADATA"), text.replacen(from, to, 1).as_bytes());
}

/// Changes the AAR in its archive, and makes the manifest fit but for `packed_from`.
fn aar(release: &mut Release, change: impl FnOnce(&mut Zip)) {
    published(release, "hello-1.0.aar", |bytes| {
        let mut zip = Zip::read(bytes);
        change(&mut zip);
        *bytes = zip.write();
    });
}

/// Changes a file that stands beside the AAR.
fn published(release: &mut Release, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut change = Some(change);
    let plain = tar::unpacked(&release.read(AAR));
    let mut archive = ::tar::Archive::new(plain.as_slice());
    let mut builder = ::tar::Builder::new(Vec::new());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        if path.ends_with(&format!("/{name}")) {
            change.take().unwrap()(&mut bytes);
            let files = &mut release.manifest.artifacts[1].files;
            *files.iter_mut().find(|file| file.path == name).unwrap() = File::new(name, &Digest::of(&bytes));
        }
        let mut header = entry.header().clone();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, &path, bytes.as_slice()).unwrap();
    }
    assert!(change.is_none(), "there is no {name}");
    release.forge_archive(AAR, &tar::packed(&builder.into_inner().unwrap()));
}

/// Puts the outputs of the manifest in agreement with what it says they are.
fn outputs(release: &mut Release, index: usize) {
    let mut tree = store::Tree::new();
    for file in &release.manifest.artifacts[index].packed_from {
        let entry = store::Entry::File { digest: file.digest().unwrap(), executable: file.executable };
        tree.insert(&file.path, entry).unwrap();
    }
    release.forge(|it| it.artifacts[index].step.outputs = tree.digest().unwrap());
}

#[rustfmt::skip]
pub fn cases() -> Vec<Case> {
    vec![
        case("code in the wheel is another, RECORD mended", "has a wheel with another `hello/__init__.py` than its outputs have", |it| wheel(it, "hello/__init__.py", b"import evil\n")),
        case("the wheel's license is another", "with another `hello-1.0.dist-info/licenses/LICENSE`", |it| wheel(it, "hello-1.0.dist-info/licenses/LICENSE", b"other")),
        case("the wheel's WHEEL is another", "with another `hello-1.0.dist-info/WHEEL` than its metadata gives", |it| wheel(it, "hello-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\n")),
        case("the wheel is said to be of another version inside", "has a METADATA whose Version is not `1.0`", |it| metadata(it, "Version: 1.0", "Version: 2.0")),
        case("the wheel is said to have another license inside", "has a METADATA whose License-Expression is not `MIT`", |it| metadata(it, "License-Expression: MIT", "License-Expression: 0BSD")),
        case("the wheel has two licenses inside", "has a METADATA whose License-Expression is not `MIT`", |it| metadata(it, "Summary", "License-Expression: 0BSD\nSummary")),
        case("the wheel's description is another", "has a METADATA whose description is not the readme in its outputs", |it| metadata(it, "# Hello", "# Hallo")),
        case("the manifest's license of the wheel is another", "has a METADATA whose License-Expression is not `0BSD`", |it| it.forge(|m| m.artifacts[0].license = "0BSD".into())),
        case("RECORD is another", "has no RECORD of the files that it holds", |it| it.forge(|m| m.artifacts[0].files.iter_mut().find(|file| file.path.ends_with("RECORD")).unwrap().sha256 = "0".repeat(64))),
        case("the wheel lacks WHEEL", "lacks `hello-1.0.dist-info/WHEEL`", |it| it.forge(|m| m.artifacts[0].files.retain(|file| !file.path.ends_with("/WHEEL")))),
        case("the wheel is of another version", "is of the version `2.0` elsewhere", |it| it.forge(|m| m.artifacts[0].version = "2.0".into())),
        case("what the wheel was packed from is left out", "does not say what it was packed from", |it| it.forge(|m| m.artifacts[0].packed_from.clear())),
        case("what the wheel was packed from is another", "and what it was packed from is the tree", |it| it.forge(|m| m.artifacts[0].packed_from[1].sha256 = "1".repeat(64))),
        case("the outputs hold code that the wheel lacks", "has a wheel without `hello/more.py`", |it| { it.forge(|m| { m.artifacts[0].packed_from.push(File::new("hello/more.py", &Digest::of(b"x"))); m.artifacts[0].packed_from.sort(); }); outputs(it, 0); }),
        case("the outputs lack code that the wheel holds", "has a wheel with `hello/__init__.py`, which is not made from its outputs", |it| { it.forge(|m| m.artifacts[0].packed_from.retain(|file| file.path != "hello/__init__.py")); outputs(it, 0); }),
        case("a program of the wheel is not a program in the outputs", "with another `hello/run` than its outputs have", |it| { it.forge(|m| m.artifacts[0].packed_from.iter_mut().for_each(|file| file.executable = false)); outputs(it, 0); }),
        case("RECORD does not stand at the end of the wheel", "has its members in another order", |it| zip::edit(it, WHEEL, |zip| zip.members.rotate_right(1))),
        case("setuid in the wheel", "in the directory has another attributes (mode)", |it| zip::edit(it, WHEEL, |zip| zip.members[0].central[41] |= 8)),
        case("a class in the AAR is another", "has `hello-1.0.aar` with another `classes.jar` than its outputs have", |it| aar(it, |zip| replace(zip, "classes.jar", b"PK"))),
        case("a rule in the AAR is another", "with another `proguard.txt` than its outputs have", |it| aar(it, |zip| replace(zip, "proguard.txt", b"-dontobfuscate\n"))),
        case("a license in the AAR is another", "with another `META-INF/licenses/LICENSE`", |it| aar(it, |zip| replace(zip, "META-INF/licenses/LICENSE", b"other"))),
        case("resources in the AAR", "with another `R.txt` than its metadata gives", |it| aar(it, |zip| replace(zip, "R.txt", b"int x y 0\n"))),
        case("the AAR lacks a member", "has `hello-1.0.aar` without `proguard.txt`", |it| aar(it, |zip| { zip.members.retain(|member| member.name != b"proguard.txt"); super::raw::put16(&mut zip.end, 8, 5); super::raw::put16(&mut zip.end, 10, 5); })),
        case("the AAR's members in another order", "has an AAR `hello-1.0.aar` whose members are not sorted", |it| aar(it, |zip| zip.members.reverse())),
        case("a comment in the AAR", "has a damaged AAR `hello-1.0.aar`", |it| aar(it, |zip| zip.comment = b"hidden".to_vec())),
        case("a header in the AAR is another", "that mlc-repro does not write so: the header before `AndroidManifest.xml`", |it| aar(it, |zip| zip.members[0].local[14] ^= 1)),
        case("setuid in the AAR", "that mlc-repro does not write so: the entry of `AndroidManifest.xml`", |it| aar(it, |zip| zip.members[0].central[41] |= 8)),
        case("the AAR is none", "has a damaged AAR `hello-1.0.aar`", |it| published(it, "hello-1.0.aar", |bytes| *bytes = b"none".to_vec())),
        case("the sources beside the AAR are others", "has an archive with another `hello-1.0-sources.jar` than its outputs have", |it| published(it, "hello-1.0-sources.jar", |bytes| *bytes = b"PK".to_vec())),
        case("what the AAR was packed from is left out", "does not say what it was packed from", |it| it.forge(|m| m.artifacts[1].packed_from.clear())),
        case("the outputs hold a library that the AAR lacks", "without `jni/arm64-v8a/libx.so`", |it| { it.forge(|m| { m.artifacts[1].packed_from.push(File::new("jni/arm64-v8a/libx.so", &Digest::of(b"x"))); m.artifacts[1].packed_from.sort(); }); outputs(it, 1); }),
    ]
}

#[rustfmt::skip]
pub fn against_recipes() -> Vec<Case> {
    vec![
        case("the wheel's summary is another", "with another `hello-1.0.dist-info/METADATA` than its metadata gives", |it| metadata(it, "says hello", "says goodbye")),
        case("the wheel needs a package more", "with another `hello-1.0.dist-info/METADATA`", |it| metadata(it, "Requires-Python", "Requires-Dist: evil\nRequires-Python")),
        case("the POM beside the AAR is another", "with another `hello-1.0.pom` than its metadata gives", |it| published(it, "hello-1.0.pom", |bytes| bytes.extend(b"<!-- -->"))),
        case("the module metadata beside the AAR is another", "with another `hello-1.0.module` than its metadata gives", |it| published(it, "hello-1.0.module", |bytes| bytes.extend(b" "))),
        case("the AAR's manifest is another", "with another `AndroidManifest.xml` than its metadata gives", |it| aar(it, |zip| replace(zip, "AndroidManifest.xml", b"<manifest package=\"evil\"/>"))),
        case("the AAR's metadata is another", "aar-metadata.properties` than its metadata gives", |it| aar(it, |zip| replace(zip, "META-INF/com/android/build/gradle/aar-metadata.properties", b"minCompileSdk=1\n"))),
        case("the recipe makes no wheel", "do not agree on whether it is a wheel", |it| { let path = it.project.join("recipes/packages/hello-wheel/recipe.toml"); let text = std::fs::read_to_string(&path).unwrap(); let (before, rest) = text.split_once("[wheel]").unwrap(); let rest = &rest[rest.find("[[target]]").unwrap()..]; std::fs::write(path, format!("{before}{}", rest.replace("tag = \"py3-none-any\"", ""))).unwrap(); }),
        case("the recipe's tag is another", "has the tag `py3-none-any`, and `py2.py3-none-any` in its recipe", |it| it.edit_checkout("recipes/packages/hello-wheel/recipe.toml", "py3-none-any", "py2.py3-none-any")),
        case("the recipe contains another library", "has the contained libraries `hello 1.0`, and `hello 0.9` in its recipe", |it| it.edit_checkout("recipes/packages/hello-wheel/recipe.toml", "hello = \"1.0\"", "hello = \"0.9\"")),
    ]
}
