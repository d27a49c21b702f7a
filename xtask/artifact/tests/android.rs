//! Genuine libraries that NDKs have linked, out of npm packages, and the rules for Android.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use artifact::{Policy, check, inspect_elf};
use input::{FetchOptions, Input, Part, Source, fetch, unpack};
use std::{fmt::Write, path::Path, process::Command};
use store::{Digest, Entry, Silent, Store, Tree};

/// r27c, API 24: the NDK that our recipes pin.
const R27C: (&str, &str, &str, u64) = (
    "@node-rs/crc32-android-arm64",
    "1.10.6",
    "127b03abc4b583652793a0dcff6a8ed0f3312194337f21da415f462898d8ef91",
    280_324,
);
/// r29, API 24; by Rust, with build paths and symbols of Node.js.
const CRC32: (&str, &str, &str, u64) = (
    "@node-rs/crc32-android-arm64",
    "1.10.8",
    "2815ad3e15352445ec29dffe764312630d03f5f058ee170eaa9ce78d1f70d55c",
    275_971,
);
/// r30, API 24.
const ROLLUP: (&str, &str, &str, u64) = (
    "@rollup/rollup-android-arm64",
    "4.67.4",
    "e14b76daca43a651cc88a49a3017ad9539499b5a46c9ea0d59f0b30916ee16aa",
    901_604,
);

/// The library of a package.
fn library(store: &Store, (package, version, sha256, size): (&str, &str, &str, u64)) -> Vec<u8> {
    let source = Source::Npm { package: package.to_owned(), version: version.to_owned() };
    let digest = Digest::from_hex(sha256, size).unwrap();
    let input = Input { name: package.to_owned(), digest, source };
    fetch(store, &[&input], &FetchOptions::default(), &Silent).unwrap();
    let tree = unpack(store, &digest, input.format(), &Part::default()).unwrap();
    let (_, entry) = tree.iter().find(|(path, _)| path.ends_with(".node")).unwrap();
    let Entry::File { digest, .. } = entry else { panic!("{entry:?}") };
    store.read(digest).unwrap()
}

/// A shared library with these symbols, in the place of an NDK's stub.
fn stub(symbols: impl Iterator<Item = String>) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let (source, library) = (directory.path().join("x.s"), directory.path().join("x.so"));
    let mut text = String::new();
    for symbol in symbols {
        writeln!(text, ".globl \"{symbol}\"\n\"{symbol}\":\n.byte 0").unwrap();
    }
    std::fs::write(&source, text).unwrap();
    let status = Command::new("cc").args(["-shared", "-nostdlib", "-o"]).arg(&library).arg(&source).status();
    assert!(status.unwrap().success());
    std::fs::read(library).unwrap()
}

fn tree(store: &Store, files: &[(&str, &[u8])]) -> Tree {
    let mut tree = Tree::new();
    for (path, bytes) in files {
        let digest = store.put_bytes(bytes).unwrap();
        tree.insert(path, Entry::File { digest, executable: false }).unwrap();
    }
    tree
}

#[test]
fn genuine_libraries_say_what_linked_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for (package, ndk, build, alignment) in [
        (R27C, "r27c", "12479018", 4096),
        (CRC32, "r29", "14206865", 16384),
        (ROLLUP, "r30", "16248370", 16384),
    ] {
        let elf = inspect_elf(&library(&store, package)).unwrap();
        let ident = elf.android.unwrap();
        assert_eq!((ident.api, ident.ndk.as_str(), ident.build.as_str()), (24, ndk, build));
        assert_eq!((elf.machine, elf.alignment), (183, alignment));
        assert!(elf.relro && elf.bind_now && !elf.text_relocations && !elf.executable_stack);
        assert!(elf.needed.contains(&"libc.so".to_owned()), "{:?}", elf.needed);
    }
}

#[test]
fn a_policy_for_android_holds_a_library_against_the_note_and_the_stubs() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let bytes = library(&store, CRC32);
    let undefined = inspect_elf(&bytes).unwrap().undefined;
    let all = stub(undefined.iter().cloned());
    let bionic =
        stub(undefined.iter().filter(|name| !name.starts_with("napi_") && *name != "malloc").cloned());
    let findings = |api: u32, ndk: &str, target: &str, libc: &[u8]| {
        let policy = format!(
            "forbidden = [\"/build/src\"]\n[elf]\nneeded = [\"libc.so\", \"libdl.so\"]\nunnumbered = [\"LIBC\"]\nalignment = 16384\n\
             [elf.android]\napi = {api}\nndk = \"{ndk}\"\nstubs = \"ndk/stubs\"\n"
        );
        let policy: Policy = toml::from_str(&policy).unwrap();
        let outputs = tree(&store, &[("lib/libcrc32.so", &bytes)]);
        let system =
            tree(&store, &[("ndk/stubs/libc.so", libc), ("ndk/stubs/libdl.so", &stub([].into_iter()))]);
        let found = check(&store, &policy, target, &outputs, &system).unwrap();
        found.iter().map(|finding| format!("{}\n", finding.problem)).collect::<String>()
    };
    let found = findings(24, "r29", "aarch64-linux-android", &all);
    assert_eq!(found, "has no SONAME, so Android before 6 looks for its path\n");
    let found = findings(28, "r27c", "x86_64-linux-android", &bionic);
    for expected in [
        "is for the machine 183, not for `x86_64-linux-android`",
        "is for Android API level 24, not 28",
        "was linked by NDK `r29`, not `r27c`",
        "wants `malloc`, which none of the libraries that it needs has",
        "wants `napi_create_error`",
    ] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let found = findings(24, "r29", "aarch64-linux-android", b"no library");
    assert!(found.contains("needs `libc.so`, whose symbols can't be read"), "{found}");
}

#[test]
fn policies_know_the_tools_of_r27c_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let outputs = tree(&store, &[("a.so", &library(&store, R27C)), ("b.so", &library(&store, CRC32))]);
    for name in ["tvm-ffi-android", "tvm-runtime-android", "tvm4j-android", "mlc4j-android"] {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/policies").join(format!("{name}.toml"));
        let (policy, _) = Policy::load(&path).unwrap();
        let found = check(&store, &policy, "aarch64-linux-android", &outputs, &Tree::new()).unwrap();
        let made_with = |file: &str| {
            let of = found.iter().filter(|finding| finding.file == file);
            of.filter_map(|finding| finding.problem.strip_prefix("was made with `"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        // Rust's own release brings compiler-rt by an older compiler of Google's.
        let foreign = made_with("a.so");
        assert!(foreign.contains("based on r487747e"), "{name}: {foreign}");
        assert!(!foreign.contains("r522817c") && !foreign.contains("Linker"), "{name}: {foreign}");
        let other = made_with("b.so");
        assert!(
            other.contains("based on r563880c") && other.contains("Linker: LLD 21.0.0"),
            "{name}: {other}"
        );
    }
}

#[test]
fn a_library_of_another_linker_has_no_note() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let outputs = tree(&store, &[("lib/libx.so", &stub(["a".to_owned()].into_iter()))]);
    let policy: Policy =
        toml::from_str("[elf]\n[elf.android]\napi = 28\nndk = \"r27c\"\nstubs = \"x\"\n").unwrap();
    let found = check(&store, &policy, "x86_64-linux-android", &outputs, &Tree::new()).unwrap();
    let found: Vec<_> = found.iter().map(|finding| finding.problem.as_str()).collect();
    assert!(
        found.contains(&"has no Android note: it was not linked with an NDK's start objects"),
        "{found:?}"
    );
}
