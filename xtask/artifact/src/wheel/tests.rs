//! A small package, and what other programs make of it.

use super::*;
use std::{
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

fn metadata() -> Metadata {
    toml::from_str(
        r#"
        name = "Hello.World"
        summary = "says hello"
        author = "the Hello team"
        keywords = ["greeting", "machine learning"]
        requires-python = ">=3.9"
        dependencies = ["typing-extensions>=4.13"]
        optional-dependencies = { cpp = ["ninja", "numpy>=1; python_version < '3.14'"] }
        classifiers = ["Programming Language :: Python :: 3"]
        urls = { Homepage = "https://example.com/" }
        scripts = { hello = "hello:main" }
        readme = "README.md"
        "#,
    )
    .unwrap()
}

fn tree(store: &Store, files: &[(&str, &[u8])]) -> Tree {
    let mut tree = Tree::new();
    for (path, bytes) in files {
        let digest = store.put_bytes(bytes).unwrap();
        tree.insert(path, Entry::File { digest, executable: false }).unwrap();
    }
    tree
}

const FILES: [(&str, &[u8]); 4] = [
    ("README.md", "# Grüße\n".as_bytes()),
    ("hello/__init__.py", b"def main():\n    print('hello')\n"),
    ("hello/data, 1.txt", b"1"),
    ("licenses/MIT/LICENSE", b"MIT"),
];

fn write(files: &[(&str, &[u8])], metadata: &Metadata, tag: &str) -> Result<(tempfile::TempDir, PathBuf)> {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let tree = tree(&store, files);
    let (name, digest) = write_wheel(&store, &tree, metadata, "1.0.post2", "MIT", tag)?;
    let (_, again) = write_wheel(&store, &tree, metadata, "1.0.post2", "MIT", tag)?;
    assert_eq!(digest, again);
    let path = directory.path().join(name.file_name());
    std::fs::copy(store.blob_path(&digest, false).unwrap(), &path).unwrap();
    Ok((directory, path))
}

fn members(path: &Path) -> Vec<(String, String)> {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let count = zip.len();
    let member = |index| {
        let mut entry = zip.by_index(index).unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (String::from_utf8(entry.name_raw().to_vec()).unwrap(), text)
    };
    (0..count).map(member).collect()
}

#[test]
fn a_wheel_has_known_members() {
    let (_directory, path) = write(&FILES, &metadata(), "py2.py3-none-any").unwrap();
    assert_eq!(path.file_name().unwrap(), "hello_world-1.0.post2-py2.py3-none-any.whl");
    let members = members(&path);
    let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
    let own = "hello_world-1.0.post2.dist-info";
    assert_eq!(
        names,
        [
            "hello/__init__.py",
            "hello/data, 1.txt",
            &format!("{own}/METADATA"),
            &format!("{own}/WHEEL"),
            &format!("{own}/entry_points.txt"),
            &format!("{own}/licenses/MIT/LICENSE"),
            &format!("{own}/RECORD"),
        ]
    );
    let text = |name: &str| {
        let path = format!("{own}/{name}");
        members.iter().find(|(known, _)| *known == path).unwrap().1.as_str()
    };
    assert_eq!(
        text("METADATA"),
        "Metadata-Version: 2.4\nName: Hello.World\nVersion: 1.0.post2\nSummary: says hello\n\
         Keywords: greeting,machine learning\nAuthor: the Hello team\n\
         Project-URL: Homepage, https://example.com/\nLicense-Expression: MIT\nLicense-File: MIT/LICENSE\n\
         Classifier: Programming Language :: Python :: 3\nRequires-Python: >=3.9\n\
         Requires-Dist: typing-extensions>=4.13\nProvides-Extra: cpp\nRequires-Dist: ninja; extra == 'cpp'\n\
         Requires-Dist: numpy>=1; (python_version < '3.14') and extra == 'cpp'\n\
         Description-Content-Type: text/markdown; charset=UTF-8\n\n# Grüße\n"
    );
    assert_eq!(
        text("WHEEL"),
        "Wheel-Version: 1.0\nGenerator: mlc-repro\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n"
    );
    assert_eq!(text("entry_points.txt"), "[console_scripts]\nhello = hello:main\n");
    let record = text("RECORD");
    assert!(
        record.starts_with("\"hello/data, 1.txt\",sha256=a4ayc_80_OGda4BO_1o_V0etpOqiLx1JwB5S3beHW0s,1\n")
    );
    assert!(record.contains(&format!("\n{own}/RECORD,,\n")) && record.lines().count() == names.len());
}

/// Reads the wheel as an installer does: the standard library's own reader of metadata, and every hash of RECORD.
#[test]
fn python_agrees_with_it() {
    let (_directory, path) = write(&FILES, &metadata(), "py3-none-any").unwrap();
    let program = r##"
import base64, csv, hashlib, importlib.metadata, io, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
assert wheel.testzip() is None
[found] = importlib.metadata.Distribution.discover(path=[sys.argv[1]])
assert found.version == "1.0.post2" and found.metadata["Name"] == "Hello.World", found.metadata.items()
assert found.metadata.get_payload().strip() == "# Grüße" or found.metadata["Description"].strip() == "# Grüße"
[command] = found.entry_points
assert (command.name, command.value, command.group) == ("hello", "hello:main", "console_scripts")
record = next(name for name in wheel.namelist() if name.endswith("/RECORD"))
rows = list(csv.reader(io.TextIOWrapper(wheel.open(record), "utf-8")))
assert sorted(row[0] for row in rows) == sorted(wheel.namelist())
for name, digest, size in rows:
    if name != record:
        content = wheel.read(name)
        expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        assert (digest, int(size)) == (f"sha256={expected}", len(content)), name
sys.path.insert(0, sys.argv[1])
import hello
hello.main()
"##;
    let output = Command::new("python3").args(["-c", program]).arg(&path).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n", "{errors}");
}

#[test]
fn what_a_wheel_cannot_be_is_refused() {
    let good = metadata();
    let with = |change: fn(&mut Metadata)| {
        let mut changed = metadata();
        change(&mut changed);
        changed
    };
    let stray = [("hello-1.dist-info/RECORD", &b""[..]), FILES[3]];
    let windows = [("x.dll", &b"MZ"[..]), FILES[3]];
    type Files<'a> = &'a [(&'a str, &'a [u8])];
    let cases: [(Files, Metadata, &str, &str); 10] = [
        (&FILES, with(|it| it.name = "-hello".into()), "py3-none-any", "is not a name of a Python project"),
        (&FILES, with(|it| it.summary = "two\nlines".into()), "py3-none-any", "`Summary` of a wheel's"),
        (
            &FILES,
            with(|it| it.readme = Some("x".into())),
            "py3-none-any",
            "the readme `x` is not in the tree",
        ),
        (&FILES, good.clone(), "py3-none", "is not a name for a wheel"),
        (&FILES, good.clone(), "py3-none-amiga", "the platform `amiga` is not known"),
        (&FILES[..3], good.clone(), "py3-none-any", "there is no license text"),
        (&FILES[3..], with(|it| it.readme = None), "py3-none-any", "nothing to install"),
        (&stray, with(|it| it.readme = None), "py3-none-any", "where the wheel's own files do"),
        (&windows, with(|it| it.readme = None), "py3-none-any", "`x.dll` is a library"),
        (
            &windows,
            with(|it| it.readme = None),
            "py3-none-manylinux_2_38_x86_64",
            "is not a library for Linux",
        ),
    ];
    for (files, metadata, tag, expected) in cases {
        let error = format!("{:#}", write(files, &metadata, tag).unwrap_err());
        assert!(error.contains(expected), "{expected} is not in: {error}");
    }
}

#[test]
fn a_manylinux_tag_is_held_against_the_symbols_that_are_used() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("x.c");
    std::fs::write(&source, "#include <stdio.h>\nint answer(void) { puts(\"x\"); return 42; }\n").unwrap();
    let library = |name: &str, flags: &[&str]| {
        let path = directory.path().join(name);
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-o"]).arg(&path).arg(&source).args(flags);
        assert!(command.status().unwrap().success());
        std::fs::read(path).unwrap()
    };
    let plain = library("libx.so", &[]);
    let foreign = {
        library("libforeign.so", &["-Wl,-soname,libforeign.so"]);
        let place = format!("-L{}", directory.path().display());
        library("liby.so", &["-Wl,--no-as-needed", &place, "-lforeign"])
    };
    // The versions of a library are what its provider's script says, so providers are made here.
    let needs = |file: &str, version: &str| {
        let script = directory.path().join("versions");
        std::fs::write(&script, format!("{version} {{ global: answer; }};\n")).unwrap();
        library(
            file,
            &[&format!("-Wl,--version-script={}", script.display()), &format!("-Wl,-soname,{file}")],
        );
        let user = directory.path().join("user.c");
        std::fs::write(&user, "int answer(void); int twice(void) { return 2 * answer(); }\n").unwrap();
        let path = directory.path().join("libuser.so");
        let mut command = Command::new("cc");
        command
            .args(["-shared", "-fPIC", "-nostdlib", "-o"])
            .arg(&path)
            .arg(&user)
            .arg(directory.path().join(file));
        assert!(command.status().unwrap().success());
        std::fs::read(path).unwrap()
    };
    let young = needs("libstdc++.so.6", "GLIBCXX_3.4.31");
    let late = needs("libc.so.6", "GLIBC_2.77");
    let machine = if cfg!(target_arch = "aarch64") { ("aarch64", "x86_64") } else { ("x86_64", "aarch64") };
    let mut metadata = metadata();
    metadata.readme = None;
    for (bytes, tag, expected) in [
        (&plain, format!("py3-none-manylinux_2_99_{}", machine.0), None),
        (&plain, format!("py3-none-manylinux_2_2_{}", machine.0), Some("before 2.17 is not known")),
        (&young, format!("py3-none-manylinux_2_38_{}", machine.0), Some("needs GLIBCXX_3.4.31")),
        (&young, format!("py3-none-manylinux_2_39_{}", machine.0), None),
        (&late, format!("py3-none-manylinux_2_39_{}", machine.0), Some("needs GLIBC_2.77")),
        (&plain, format!("py3-none-manylinux_2_99_{}", machine.1), Some("is for another machine")),
        (&foreign, format!("py3-none-manylinux_2_99_{}", machine.0), Some("which not every system has")),
        (&plain, "py3-none-win_amd64".into(), Some("is not a library for Windows")),
    ] {
        let result = write(&[("hello/libx.so", bytes), FILES[3]], &metadata, &tag);
        match (result, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) if format!("{error:#}").contains(expected) => {}
            (result, expected) => panic!("{tag}: {result:?}, not {expected:?}"),
        }
    }
    metadata.dependency_libraries = vec!["libforeign.so".into()];
    write(
        &[("hello/libx.so", &foreign), FILES[3]],
        &metadata,
        &format!("py3-none-manylinux_2_99_{}", machine.0),
    )
    .unwrap();
}

#[test]
fn names_read_back() {
    let name = WheelName::parse("apache_tvm_ffi-0.1.15.post2-cp313-cp313-manylinux_2_38_x86_64.whl").unwrap();
    assert_eq!(name.information(), "apache_tvm_ffi-0.1.15.post2.dist-info");
    assert_eq!(name.tags(), ["cp313-cp313-manylinux_2_38_x86_64"]);
    for bad in [
        "a-1-py3-none.whl",
        "a-1-1-py3-none-any.whl",
        "a-1-py3-none-any-x.whl",
        "../a-1-py3-none-any.whl",
        "x",
    ] {
        assert_eq!(WheelName::parse(bad), None, "{bad}");
    }
}
