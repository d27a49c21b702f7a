//! Real libraries: ELF ones made by this machine's `cc`; PE ones by hand, since it has no linker for them.

use super::*;
use object::write::pe::{NtHeaders, Writer};
use std::process::Command;

/// The target of the libraries here.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn library(directory: &Path, name: &str, flags: &[&str]) -> Vec<u8> {
    let source = directory.join("x.c");
    std::fs::write(&source, "#include <stdio.h>\nint answer(void) { puts(\"/secret/path\"); return 42; }\n")
        .unwrap();
    let path = directory.join(name);
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-s", "-o"])
        .arg(&path)
        .arg(&source)
        .args(flags)
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read(path).unwrap()
}

fn findings(policy: &str, files: &[(&str, &[u8])], system: &[(&str, &[u8])]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let tree = |files: &[(&str, &[u8])]| {
        let mut tree = Tree::new();
        for (path, bytes) in files {
            tree.insert(path, Entry::File { digest: store.put_bytes(bytes).unwrap(), executable: false })
                .unwrap();
        }
        tree
    };
    let policy: Policy = toml::from_str(policy).unwrap();
    let found = check(&store, &policy, TARGET, &tree(files), &tree(system)).unwrap();
    found.iter().map(ToString::to_string).collect()
}

const HARDENED: [&str; 3] = ["-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack", "-Wl,-z,max-page-size=16384"];

#[test]
fn a_library_that_keeps_every_rule_passes() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = library(directory.path(), "libx.so", &HARDENED);
    let policy = r#"
        required = ["lib/lib*.so"]
        forbidden = ["/build/"]
        holds = { "lib/*.so" = ["/secret/path"] }
        exports = { "lib/libx.so" = ["ans*"] }
        elf = { needed = ["libc.so.6"], versions = { GLIBC = "2.99" }, alignment = 16384, tools = ["GCC: *"] }
    "#;
    assert_eq!(findings(policy, &[("lib/libx.so", &bytes)], &[]), Vec::<String>::new());
}

#[test]
fn every_broken_rule_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let bad =
        ["-Wl,-z,norelro,-z,lazy", "-Wl,-z,execstack", "-Wl,-rpath,/opt/x", "-Wl,-z,max-page-size=4096"];
    let bytes = library(directory.path(), "libx.so", &bad);
    let policy = r#"
        required = ["lib/liby.so"]
        forbidden = ["/secret/path"]
        holds = { "lib/libx.so" = ["/public/path"] }
        exports = { "lib/libx.so" = ["question"], "lib/libz.so" = ["a"] }
        elf = { versions = { GLIBC = "2.0" }, alignment = 16384, tools = ["clang *"] }
    "#;
    let found = findings(policy, &[("lib/libx.so", &bytes)], &[]).join("\n");
    for expected in [
        "lib/liby.so: is missing",
        "holds `/secret/path`",
        "does not hold `/public/path`",
        "does not export `question`",
        "lib/libz.so: is missing, so",
        "executable stack",
        "no RELRO",
        "binds lazily",
        "needs `libc.so.6`",
        "looks for libraries in `/opt/x`",
        "above the ceiling 2.0",
        "not to 16384",
        "was made with `GCC: ",
    ] {
        assert!(found.contains(expected), "{expected} is not in:\n{found}");
    }
}

/// A DLL, laid out by hand in one section: the export directory first, then strings and tables.
fn dll(imports: Option<(&str, &[&str])>, exports: &[&str], time_stamp: u32, characteristics: u16) -> Vec<u8> {
    const BASE: u32 = 0x1000;
    let mut data = vec![0; 40];
    let string = |data: &mut Vec<u8>, text: &str| {
        let at = BASE + data.len() as u32;
        data.extend(text.bytes().chain([0]));
        at
    };
    let words = |data: &mut Vec<u8>, words: &[u32]| {
        data.resize(data.len().next_multiple_of(8), 0);
        let at = BASE + data.len() as u32;
        data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        at
    };
    let mut import_directory = (0, 0);
    if let Some((name, names)) = imports {
        let name = string(&mut data, name);
        let mut thunks = Vec::new();
        let mut known = std::collections::HashMap::new();
        for name in names {
            // `#N` is an ordinal: the highest bit says so.
            if let Some(ordinal) = name.strip_prefix('#') {
                thunks.extend([ordinal.parse().unwrap(), 0x8000_0000]);
                continue;
            }
            let at = *known.entry(name).or_insert_with(|| {
                let at = BASE + data.len() as u32;
                data.extend([0, 0]);
                string(&mut data, name);
                at
            });
            thunks.extend([at, 0]);
        }
        thunks.extend([0, 0]);
        let table = words(&mut data, &thunks);
        import_directory = (words(&mut data, &[table, 0, 0, name, table, 0, 0, 0, 0, 0]), 40);
    }
    let count = exports.len() as u32;
    let names: Vec<u32> = exports.iter().map(|name| string(&mut data, name)).collect();
    let addresses = words(&mut data, &vec![BASE; exports.len()]);
    let pointers = words(&mut data, &names);
    let ordinals = words(&mut data, &[0x0001_0000, 0x0003_0002]);
    let directory = [0, 0, 0, BASE, 1, count, count, addresses, pointers, ordinals];
    data.splice(..40, directory.iter().flat_map(|word| word.to_le_bytes()));
    let size = data.len() as u32;

    let mut file = Vec::new();
    let mut writer = Writer::new(true, 0x1000, 0x200, &mut file);
    writer.reserve_dos_header();
    writer.reserve_nt_headers(16);
    writer.reserve_section_headers(1);
    let range = writer.reserve_data_section(size, size);
    writer.set_data_directory(
        object::pe::IMAGE_DIRECTORY_ENTRY_IMPORT,
        import_directory.0,
        import_directory.1,
    );
    writer.set_data_directory(object::pe::IMAGE_DIRECTORY_ENTRY_EXPORT, BASE, size);
    writer.write_empty_dos_header().unwrap();
    writer.write_nt_headers(NtHeaders {
        machine: object::pe::IMAGE_FILE_MACHINE_AMD64,
        time_date_stamp: time_stamp,
        characteristics: object::pe::IMAGE_FILE_DLL | object::pe::IMAGE_FILE_EXECUTABLE_IMAGE,
        major_linker_version: 0,
        minor_linker_version: 0,
        address_of_entry_point: 0,
        image_base: 0x1_8000_0000,
        major_operating_system_version: 6,
        minor_operating_system_version: 0,
        major_image_version: 0,
        minor_image_version: 0,
        major_subsystem_version: 6,
        minor_subsystem_version: 0,
        subsystem: object::pe::IMAGE_SUBSYSTEM_WINDOWS_CUI,
        dll_characteristics: object::pe::DllFlags(characteristics),
        size_of_stack_reserve: 0x10_0000,
        size_of_stack_commit: 0x1000,
        size_of_heap_reserve: 0x10_0000,
        size_of_heap_commit: 0x1000,
    });
    writer.write_section_headers();
    writer.write_section(range.file_offset, &data);
    file
}

const SAFE: u16 = 0x0160;
const PE_POLICY: &str = r#"
    [pe]
    imports = ["kernel32.dll", "api-ms-win-crt-*.dll"]
    delayed = ["vulkan-1.dll"]
    providers = "wine"
    aliases = { "api-ms-win-crt-*.dll" = "ucrtbase.dll" }
"#;

#[test]
fn imports_are_looked_up_in_the_export_table_of_what_provides_them() {
    let kernel = dll(None, &["ExitProcess", "Sleep"], 0, SAFE);
    let system: [(&str, &[u8]); 2] = [("wine/kernel32.dll", &kernel), ("wine/ucrtbase.dll", &kernel)];
    let good = dll(Some(("KERNEL32.dll", &["Sleep"])), &["answer"], 0, SAFE);
    assert_eq!(findings(PE_POLICY, &[("bin/x.dll", &good)], &system), Vec::<String>::new());
    let good = dll(Some(("api-ms-win-crt-heap-l1-1-0.dll", &["Sleep"])), &["answer"], 0, SAFE);
    assert_eq!(findings(PE_POLICY, &[("bin/x.dll", &good)], &system), Vec::<String>::new());
    let user = dll(Some(("x.dll", &["answer", "question"])), &["u"], 0, SAFE);
    assert_eq!(
        findings(PE_POLICY, &[("bin/x.dll", &good), ("bin/y.dll", &user)], &system),
        ["bin/y.dll: imports `question` from `x.dll`, which does not export it"]
    );
}

#[test]
fn ordinals_are_looked_up_as_well() {
    let provider = dll(None, &["a", "b"], 0, SAFE);
    let user = dll(Some(("x.dll", &["#2", "#3", "#9"])), &["u"], 0, SAFE);
    assert_eq!(
        findings(PE_POLICY, &[("bin/x.dll", &provider), ("bin/y.dll", &user)], &[]),
        [
            "bin/y.dll: imports `#3` from `x.dll`, which does not export it",
            "bin/y.dll: imports `#9` from `x.dll`, which does not export it"
        ]
    );
}

#[test]
fn a_library_for_another_machine_is_found() {
    let mut other = dll(None, &["a"], 0, SAFE);
    let header = u32::from_le_bytes(other[60..64].try_into().unwrap()) as usize;
    other[header + 4..header + 6].copy_from_slice(&0xaa64u16.to_le_bytes());
    assert_eq!(
        findings(PE_POLICY, &[("a.dll", &other)], &[]),
        [format!("a.dll: is for the machine 0xaa64, not for `{TARGET}`")]
    );
    let directory = tempfile::tempdir().unwrap();
    let mut other = library(directory.path(), "libx.so", &HARDENED);
    // e_machine: EM_S390.
    other[18..20].copy_from_slice(&22u16.to_le_bytes());
    assert_eq!(
        findings("elf = { needed = [\"libc.so.6\"] }", &[("libx.so", &other)], &[]),
        [format!("libx.so: is for the machine 22, not for `{TARGET}`")]
    );
}

#[test]
fn a_library_that_hides_its_tools_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = library(directory.path(), "libx.so", &[&HARDENED[..], &["-fno-ident", "-nostdlib"]].concat());
    assert_eq!(
        findings("elf = { tools = [\"*\"] }", &[("libx.so", &bytes)], &[]),
        ["libx.so: does not say what it was made with (`.comment`)"]
    );
}

#[test]
fn forbidden_text_is_found_as_windows_writes_it() {
    let wide: Vec<u8> = "C /build/out/x".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let found =
        findings("forbidden = [\"/build/out\"]", &[("a", &wide), ("b", b"/build/ou"), ("c", b"")], &[]);
    assert_eq!(found, ["a: holds `/build/out`"]);
}

#[test]
fn versions_without_a_number_need_leave() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("versions");
    std::fs::write(&script, "P_PRIVATE { global: answer; };\n").unwrap();
    let script = format!("-Wl,--version-script={}", script.display());
    library(directory.path(), "libp.so", &[&script, "-Wl,-soname,libp.so"]);
    let place = format!("-L{}", directory.path().display());
    let user = directory.path().join("user.c");
    std::fs::write(&user, "int answer(void); int twice(void) { return 2 * answer(); }\n").unwrap();
    let path = directory.path().join("liby.so");
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-s", "-o"]).arg(&path).arg(&user).args([&place, "-lp"]).args(HARDENED);
    assert!(command.status().unwrap().success());
    let bytes = std::fs::read(path).unwrap();
    for (rules, expected) in [
        ("", vec!["liby.so: needs `P_PRIVATE`, a version without a number, which no ceiling bounds"]),
        ("unnumbered = [\"P_PRIVATE\"]", vec![]),
    ] {
        let policy =
            format!("[elf]\nneeded = [\"libp.so\", \"libc.so.6\"]\nversions = {{ P = \"1\" }}\n{rules}");
        assert_eq!(findings(&policy, &[("liby.so", &bytes)], &[]), expected);
    }
}

#[test]
fn every_broken_rule_of_a_dll_is_found() {
    let bad = dll(Some(("evil.dll", &["x"])), &["answer"], 0x6000_0000, 0);
    let eager = dll(Some(("vulkan-1.dll", &["vkCreateInstance"])), &["answer"], 0, SAFE);
    let found =
        findings(PE_POLICY, &[("a.dll", &bad), ("b.dll", &eager), ("c.dll", b"MZ nothing")], &[]).join("\n");
    for expected in [
        "a.dll: has the time stamp 0x60000000",
        "a.dll: may execute data",
        "a.dll: is loaded at a fixed address",
        "a.dll: imports `evil.dll`, which is not on the allow-list",
        "b.dll: imports `vulkan-1.dll` without delay",
        "c.dll: this is not a 64-bit PE file",
    ] {
        assert!(found.contains(expected), "{expected} is not in:\n{found}");
    }
}

#[test]
fn a_damaged_dll_does_not_hide_what_is_wrong_with_its_users() {
    let user = dll(Some(("c.dll", &["x"])), &["u"], 0x6000_0000, SAFE);
    let found = findings(PE_POLICY, &[("b.dll", &user), ("c.dll", b"MZ nothing")], &[]).join("\n");
    for expected in [
        "b.dll: has the time stamp",
        "b.dll: imports `c.dll`, whose export table can't be read",
        "c.dll: this is not a 64-bit PE file",
    ] {
        assert!(found.contains(expected), "{expected} is not in:\n{found}");
    }
}

#[test]
fn links_hold_no_forbidden_text() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let policy: Policy = toml::from_str(r#"forbidden = ["/build/out"]"#).unwrap();
    for (target, expected) in [("libx.so.1", 0), ("/build/out/lib/libx.so.1", 1)] {
        let mut tree = Tree::new();
        tree.insert("lib/libx.so", Entry::Symlink { target: target.into() }).unwrap();
        assert_eq!(check(&store, &policy, TARGET, &tree, &Tree::new()).unwrap().len(), expected, "{target}");
    }
}

#[test]
fn many_references_to_one_long_name_do_not_fill_the_memory() {
    let long = "x".repeat(1 << 20);
    assert!(inspect_pe(&dll(Some(("a.dll", &[long.as_str(); 2])), &["b"], 0, SAFE)).is_ok());
    let error = inspect_pe(&dll(Some(("a.dll", &[long.as_str(); 300])), &["b"], 0, SAFE)).unwrap_err();
    assert!(error.to_string().contains("more names"), "{error:#}");
}

#[test]
fn damaged_libraries_never_panic() {
    let directory = tempfile::tempdir().unwrap();
    let samples = [
        dll(Some(("a.dll", &["x", "y"])), &["b", "c"], 0, SAFE),
        library(directory.path(), "libx.so", &HARDENED),
    ];
    let mut seed = 1u64;
    for sample in samples {
        for _ in 0..4000 {
            let mut bytes = sample.clone();
            for _ in 0..3 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (seed >> 33) as usize % bytes.len().min(4096);
                bytes[at] = (seed >> 20) as u8;
            }
            let _ = (inspect_pe(&bytes), inspect_elf(&bytes));
        }
    }
}

#[test]
fn another_sysroot_has_its_own_imports_and_licenses() {
    let text = "required = [\"a\", \"b\"]\n[pe]\nimports = [\"kernel32.dll\"]\nproviders = \"dlls\"\n\
        [sysroots.other]\nimports = [\"runtime.dll\"]\nnot_required = [\"b\"]\n";
    for (sysroot, required, imports) in [
        (Some("other"), vec!["a"], vec!["kernel32.dll", "runtime.dll"]),
        (Some("usual"), vec!["a", "b"], vec!["kernel32.dll"]),
        (None, vec!["a", "b"], vec!["kernel32.dll"]),
    ] {
        let policy = toml::from_str::<Policy>(text).unwrap().with_sysroot(sysroot);
        assert_eq!(
            (policy.required, policy.pe.unwrap().imports),
            (
                required.into_iter().map(str::to_owned).collect(),
                imports.into_iter().map(str::to_owned).collect(),
            )
        );
    }
}
