use super::*;
use std::{fs, path::Path};

/// What the real tools said, by section (`tests/failures/provoke.sh`).
const PROVOKED: &str = include_str!("../../tests/failures/provoked.log");

fn names(log: &[u8]) -> Vec<String> {
    explain_log(log).unwrap().into_iter().map(|cause| cause.failure).collect()
}

#[test]
fn failures_that_were_provoked_are_recognised() {
    let mut sections = PROVOKED.split("== ").skip(1).map(|section| section.split_once('\n').unwrap());
    for (name, expected) in [
        ("mingw_object", "mingw-object"),
        ("mingw_library", "llvm-other-abi"),
        ("elf_object", "foreign-object"),
        ("elf_library", "foreign-object"),
        ("libxml2_missing", "libxml2"),
        ("libxml2_left_out", "libxml2"),
        ("libxml2_as_dll", "libxml2"),
        ("c_runtime", "two-c-runtimes"),
        ("llvm_without_development_files", "llvm-development-files"),
        ("cmake_4", "cmake-minimum"),
        ("function", "llvm-code-generation"),
    ] {
        let (found, log) = sections.next().unwrap();
        assert_eq!(found, name);
        let causes = explain_log(log.as_bytes()).unwrap();
        assert_eq!(names(log.as_bytes()), [expected], "{log}");
        assert_eq!(log.lines().nth(causes[0].line - 1), Some(causes[0].text.as_str()));
    }
    assert_eq!(sections.next(), None);
    // One explanation each, where it shows first.
    let causes = explain_log(PROVOKED.as_bytes()).unwrap();
    assert!(causes.is_sorted_by_key(|cause| cause.line) && causes.len() == 8, "{causes:?}");
}

#[test]
fn reports_are_explained_and_green_logs_are_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/failures");
    let expected = fs::read_to_string(folder.join("expected.toml")).unwrap();
    let expected: BTreeMap<String, Vec<String>> = toml::from_str(&expected).unwrap();
    let logs: Vec<_> = fs::read_dir(folder.join("reports")).unwrap().collect();
    assert_eq!(logs.len(), expected.len());
    let mut wrong = Vec::new();
    for (name, expected) in expected {
        let log = fs::read(folder.join("reports").join(format!("{name}.log"))).unwrap();
        let found = names(&log);
        if found != expected {
            wrong.push(format!("{name}: {found:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Messages that link.exe says in other languages, other shapes of the same failures, and lines that only look like one.
#[test]
fn codes_and_symbols_decide_not_words() {
    for (log, expected) in [
        ("LINK : fatal error LNK1104: 无法打开文件“libxml2s.lib”", Some("libxml2")),
        ("1>LINK : fatal error LNK1181: cannot open input file 'libxml2s.lib'", Some("libxml2")),
        (
            "a.lib(b.obj) : error LNK2019: Verweis auf nicht aufgelöstes externes Symbol \"__std_search_1\" in Funktion \"f\".",
            Some("newer-stl"),
        ),
        ("a.lib(b.obj) : error LNK2001: 无法解析的外部符号 __std_find_trivial_8", Some("newer-stl")),
        (
            "x.lib(a.obj) : error LNK2038: Konflikt ermittelt für \"RuntimeLibrary\": Wert \"MT\"",
            Some("two-c-runtimes"),
        ),
        ("C:\\x\\y.cpp(3): fatal error C1060: compiler is out of heap space", Some("out-of-memory")),
        ("./build.sh: line 3: 12345 Killed                  make -j8", Some("out-of-memory")),
        ("Killed", Some("out-of-memory")),
        ("clang++: error: unable to execute command: Killed", Some("out-of-memory")),
        ("error: could not compile `x` (signal: 9, SIGKILL: kill)", Some("out-of-memory")),
        ("OSError: [Errno 28] No space left on device", Some("disk-full")),
        (
            "fatal error: error in backend: IO failure on output stream: No space left on device",
            Some("disk-full"),
        ),
        ("/usr/bin/ld: cannot find -lzstd: No such file or directory", Some("llvm-system-library")),
        ("ld.lld: error: unable to find library -lxml2", Some("llvm-system-library")),
        (
            "ImportError: libtinfo.so.5: cannot open shared object file: No such file or directory",
            Some("system-library-not-found"),
        ),
        (
            "ImportError: DLL load failed while importing core: The specified module could not be found.",
            Some("missing-dll"),
        ),
        (
            "ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by x.so)",
            Some("glibc-too-old"),
        ),
        (
            "python3: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by python3)",
            Some("glibc-too-old"),
        ),
        (
            "terminate called after throwing\n  what():  TypeAttr __ffi_convert__ is already registered for type index 64",
            Some("two-tvm-versions"),
        ),
        (
            "tvm._ffi.base.TVMError: Cannot find global function target.build.llvm",
            Some("llvm-code-generation"),
        ),
        ("a.cc:1:10: fatal error: Windows.h: No such file or directory", Some("header-case")),
        ("a.cc:1:10: fatal error: 'llvm/Support/Host.h' file not found", Some("llvm-api")),
        ("java.lang.UnsatisfiedLinkError: no tvm4j in java.library.path", Some("android-library-not-packed")),
        (
            "java.lang.UnsupportedClassVersionError: org/x/Y has been compiled by a more recent version of the Java Runtime (class file version 61.0)",
            Some("java-class-version"),
        ),
        ("curl: (6) Could not resolve host: example.org", Some("no-network")),
        ("g++: internal compiler error: Killed (program cc1plus)", Some("out-of-memory")),
        ("collect2: fatal error: ld terminated with signal 9 [Killed]", Some("out-of-memory")),
        ("LINK : fatal error LNK1104: cannot open file 'vulkan-1.lib'", Some("vulkan-import-library")),
        (
            "lld-link: error: undefined symbol: vkGetPhysicalDeviceProperties2KHR",
            Some("vulkan-import-library"),
        ),
        (
            "msvcprt.lib(MSVCP140.dll) : error LNK2005: \"public: x\" already defined in libcpmt.lib(xthrow.obj)",
            Some("two-c-runtimes"),
        ),
        (
            "LINK : warning LNK4098: defaultlib 'LIBCMT' conflicts\nx.dll : fatal error LNK1120: 3",
            Some("two-c-runtimes"),
        ),
        ("ld: library 'zstd' not found", Some("llvm-system-library")),
        (
            "x.obj : error LNK2019: unresolved external symbol __imp_TVMFFIFunctionCall referenced in f",
            Some("tvm-not-exported"),
        ),
        ("ld.lld: error: undefined symbol: __isoc23_strtol", Some("glibc-too-old")),
        (
            "ld.lld: error: undefined symbol: std::__ndk1::basic_string<char>::append(char const*)",
            Some("two-cxx-libraries"),
        ),
        ("a.cc:9:10: fatal error: dlpack/dlpack.h: No such file or directory", Some("submodule-missing")),
        (
            "InternalError: Check failed: (m_libHandler != nullptr) is false: Error! Cannot open libOpenCL!",
            Some("device-driver"),
        ),
        (
            "E/AndroidRuntime( 1234): java.lang.UnsatisfiedLinkError: dlopen failed: library \"libc++_shared.so\" not found: needed by x",
            Some("android-library-not-packed"),
        ),
        (
            "E/AndroidRuntime( 1234): java.lang.UnsatisfiedLinkError: dlopen failed: cannot locate symbol \"TVMFFIErrorMoveFromRaised\" referenced by x",
            Some("model-library-and-runtime"),
        ),
        (
            "BUG! exception in phase 'semantic analysis' Unsupported class file major version 65",
            Some("java-class-version"),
        ),
        ("error: could not find `Cargo.toml`", None),
        // A retry that succeeded, and a warning in a build that failed.
        (
            "warning: spurious network error (2 tries remaining): Could not resolve host: x\n   Compiling x v1\n    Finished",
            None,
        ),
        (
            "WARNING: Retrying (Retry(total=4)) after connection broken by 'Temporary failure in name resolution'\nSuccessfully installed x",
            None,
        ),
        ("libxml2.a : warning LNK4272: library machine type 'x86' conflicts\nx.dll created", None),
        ("lld-link: error: undefined symbol: void __cdecl my::f(class llvm::Module *)", None),
        ("lld-link: error: undefined symbol: void __cdecl tvm_tools::g(void)", None),
        ("-- Could not find a package configuration file provided by \"LLVM\"", None),
        ("see LNK2038: mismatch detected for 'RuntimeLibrary'", None),
        (
            "README: if link says 'LINK : fatal error LNK1104: cannot open file libxml2s.lib', install libxml2",
            None,
        ),
        ("ninja: no work to do. Killed processes: 0", None),
        ("test no_space_left_on_device ... ok", None),
        ("[1/2] Building CXX object out_of_memory.cpp.o", None),
        ("lld-link: warning: undefined symbol: ___chkstk_ms", None),
    ] {
        assert_eq!(names(log.as_bytes()), expected.as_slice(), "{log}");
    }
}

#[test]
fn encodings_and_collectors_do_not_hide_a_message() {
    let message = "lld-link: error: undefined symbol: ___chkstk_ms\n";
    let big: Vec<u8> =
        [0xfeff].into_iter().chain(message.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    let little_without_mark: Vec<u8> = message.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with_mark = [b"\xef\xbb\xbf", message.as_bytes()].concat();
    for log in [
        big.as_slice(),
        &little_without_mark,
        &with_mark,
        b"\x1b[1m\x1b[31mlld-link: error: \x1b[0mundefined symbol: ___chkstk_ms",
        b"\x1b]8;;file://x\x07lld-link: error: \x1b]8;;\x1b\\undefined symbol: ___chkstk_ms",
        b"[ 12%] Linking\rlld-link: error: undefined symbol: ___chkstk_ms\r\n",
        b"2026-11-27T10:00:00.1234567Z lld-link: error: undefined symbol: ___chkstk_ms\r\n",
        b"#15 123.4 lld-link: error: undefined symbol: ___chkstk_ms",
    ] {
        assert_eq!(names(log), ["mingw-object"], "{}", String::from_utf8_lossy(log));
    }
}

#[test]
fn the_tail_is_short() {
    let log: String = (0..100).map(|line| format!("line {line}\n")).collect();
    let tail = tail(&log);
    assert_eq!(tail.lines().count(), LINES);
    assert!(tail.ends_with("  | line 99\n"));
}
