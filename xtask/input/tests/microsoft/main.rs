//! Microsoft's SDK from a server on this machine that gives a small one: locked, fetched, unpacked; and everything that must be
//! refused. Nobody else's server is asked.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

#[path = "../place/mod.rs"]
mod place;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../fetch/server.rs"]
mod server;
mod studio;

use input::{FetchOptions, Input, Intent, Lock, Part, Source, check, fetch, unpack, update, vendor};
use place::Place;
use server::Answer;
use std::path::Path;
use store::{Entry, Silent, Tree};
use studio::{SDK, Studio, cabinet_name, database, installer, vsix};

fn accepting() -> FetchOptions {
    FetchOptions { accept_license: true, ..FetchOptions::default() }
}

impl Place {
    /// `recipes/inputs.toml`, which asks for what a server has.
    fn intent(&self, studio: &Studio) -> Intent {
        let path = self.directory.path().join("inputs.toml");
        let release = toml::to_string(&toml::Table::from_iter([(
            "release".to_owned(),
            toml::Value::try_from(studio.release()).unwrap(),
        )]));
        let release = release.unwrap().replace("[release", "[input.release");
        std::fs::write(&path, format!("[[input]]\nname = \"sdk\"\nkind = \"microsoft-sdk\"\n{release}"))
            .unwrap();
        Intent { path }
    }

    /// Locks, and gives the lock.
    fn lock(&self, studio: &Studio, options: &FetchOptions) -> Result<Lock, String> {
        let intent = self.intent(studio);
        update(&self.store, &intent, options, &Silent).map_err(|error| input::full_text(&error))?;
        check(&intent).map_err(|error| format!("{error:#}"))?;
        Ok(Lock::load(&intent.lock_path()).unwrap())
    }

    fn locked(&self, studio: &Studio) -> Input {
        self.lock(studio, &accepting()).unwrap().get("sdk").unwrap().clone()
    }

    fn refusal(&self, studio: &Studio) -> String {
        self.lock(studio, &accepting()).unwrap_err()
    }

    fn fetch(&self, input: &Input, options: &FetchOptions) -> Result<(), String> {
        fetch(&self.store, &[input], options, &Silent).map_err(|error| input::full_text(&error))
    }

    fn text(&self, tree: &Tree, path: &str) -> String {
        match tree.get(path) {
            Some(Entry::File { digest, .. }) => String::from_utf8(self.store.read(digest).unwrap()).unwrap(),
            Some(Entry::Symlink { target }) => format!("-> {target}"),
            other => format!("{other:?}"),
        }
    }
}

#[test]
fn what_is_locked_in_one_place_is_the_same_in_another() {
    let studio = Studio::start();
    let input = Place::new().locked(&studio);
    let Source::MicrosoftSdk { payloads, tree, .. } = &input.source else { panic!("{input:?}") };
    let names: Vec<&str> = payloads.iter().map(|payload| payload.file.as_str()).collect();
    assert_eq!(names.iter().filter(|name| name.ends_with(".vsix")).count(), 3);
    assert_eq!(names.iter().filter(|name| name.ends_with(".msi")).count(), 6);
    assert_eq!(names.iter().filter(|name| name.ends_with(".cab")).count(), 6);

    let other = Place::new();
    other.fetch(&input, &accepting()).unwrap();
    let unpacked = unpack(&other.store, &input.digest, input.format(), &Part::default()).unwrap();
    assert_eq!(unpacked.digest().unwrap(), *tree);
    for (path, text) in [
        ("crt/include/vcruntime.h", "#pragma once\n"),
        ("crt/lib/x86_64/msvcrt.lib", "msvcrt"),
        ("crt/lib/x86_64/MSVCRT.lib", "-> msvcrt.lib"),
        ("sdk/include/um/Windows.h", "#include <WinDef.h>\n"),
        ("sdk/include/um/windows.h", "-> Windows.h"),
        ("sdk/include/shared/windef.h", "typedef int BOOL;\n"),
        ("sdk/include/shared/WinDef.h", "-> windef.h"),
        ("sdk/include/um/only64.h", "// x64\n"),
        ("sdk/include/um/winbase.h", "// winbase\n"),
        ("sdk/include/ucrt/stdio.h", "int puts(const char*);\n"),
        ("sdk/lib/um/x86_64/user32.lib", "-> User32.Lib"),
        ("sdk/lib/um/x86_64/kernel32.Lib", "kernel32"),
        ("sdk/lib/ucrt/x86_64/ucrt.lib", "ucrt"),
    ] {
        assert_eq!(other.text(&unpacked, path), text, "{path}");
    }
    assert!(
        !unpacked.iter().any(|(path, _)| path.ends_with("sdk.cat")),
        "only headers and libraries are kept"
    );
    let requests = studio.server.requests().len();
    other.fetch(&input, &FetchOptions::default()).unwrap();
    assert_eq!(studio.server.requests().len(), requests, "what is there is not fetched again");
}

#[test]
fn without_the_license_nothing_is_fetched_and_it_is_asked_for_once() {
    let (studio, place) = (Studio::start(), Place::new());
    let lock = place.lock(&studio, &FetchOptions::default()).unwrap();
    assert_eq!((lock.pending, lock.inputs.len()), (vec!["sdk".to_owned()], 0));
    assert_eq!(studio.server.requests(), []);

    let input = Place::new().locked(&studio);
    let refused = place.fetch(&input, &FetchOptions::default()).unwrap_err();
    assert!(refused.contains("read https://license.invalid/; `--accept-license` accepts it"), "{refused}");
    place.fetch(&input, &accepting()).unwrap();
    let record = std::fs::read_to_string(place.store.root().join("licenses/sdk.toml")).unwrap();
    assert!(record.contains("license = \"https://license.invalid/\"\naccepted = \"20"), "{record}");
    place.lock(&studio, &FetchOptions::default()).unwrap();
}

#[test]
fn a_runtime_that_refuses_our_clang_is_refused_before_anything_is_fetched() {
    let (studio, place) = (Studio::start(), Place::new());
    let intent = place.intent(&studio);
    let text = std::fs::read_to_string(&intent.path).unwrap();
    std::fs::write(&intent.path, text.replace("14.43.17.13", "14.44.17.14")).unwrap();
    std::fs::write(intent.lock_path(), "version = 1\n").unwrap();
    for error in [
        format!("{:#}", update(&place.store, &intent, &accepting(), &Silent).unwrap_err()),
        format!(
            "{:#}",
            Lock::parse(&lock_text(&studio).replace("14.43.17.13", "14.44.17.14"), "x.lock").unwrap_err()
        ),
    ] {
        assert!(
            error.contains("Clang 18 is refused by the STL of 14.44.17.14, which asks for Clang 19"),
            "{error}"
        );
    }
    assert!(!studio.server.requests().iter().any(|request| request.path.ends_with(".vsman")));
}

fn lock_text(studio: &Studio) -> String {
    let release = studio.release();
    let digest = release.manifest.digest().unwrap();
    let source = Source::MicrosoftSdk { release, payloads: Vec::new(), tree: digest };
    Lock { inputs: vec![Input { name: "sdk".into(), digest, source }], ..Lock::default() }.to_toml().unwrap()
}

#[test]
fn files_that_are_not_those_of_the_lock_are_refused() {
    let studio = Studio::start();
    let input = Place::new().locked(&studio);
    for (path, content, expected) in [
        ("/VisualStudio.vsman", b"{}".as_slice(), "the server has a file of 2 bytes"),
        ("/Win11SDK_10.0.22621/0.cab", [0; 5000].as_slice(), "the server sends more than"),
    ] {
        let good = studio.files.lock().unwrap().insert(path.to_owned(), content.to_owned()).unwrap();
        let error = Place::new().fetch(&input, &accepting()).unwrap_err();
        assert!(error.contains(expected), "{path}: {error}");
        studio.files.lock().unwrap().insert(path.to_owned(), good);
    }
    // As long as it should be, and something else.
    for path in ["/VisualStudio.vsman", "/Win11SDK_10.0.22621/3.msi"] {
        let good = studio.files.lock().unwrap()[path].clone();
        let changed = good.iter().map(|byte| byte ^ 1).collect();
        studio.files.lock().unwrap().insert(path.to_owned(), changed);
        let error = Place::new().fetch(&input, &accepting()).unwrap_err();
        assert!(error.contains("not that of the lock"), "{path}: {error}");
        studio.files.lock().unwrap().insert(path.to_owned(), good);
    }
    let Source::MicrosoftSdk { release, payloads, .. } = input.source.clone() else { unreachable!() };
    let tree = release.manifest.digest().unwrap();
    let wrong = Input { source: Source::MicrosoftSdk { release, payloads, tree }, ..input };
    let error = Place::new().fetch(&wrong, &accepting()).unwrap_err();
    assert!(error.contains("unpacks to the tree"), "{error}");
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let (studio, place) = (Studio::start(), Place::new());
    let release = studio.release();
    let manifest = studio.files.lock().unwrap()["/VisualStudio.vsman"].clone();
    let cuts = vec![Answer::Cut(manifest, 100)];
    studio.answers.lock().unwrap().insert("/VisualStudio.vsman".to_owned(), cuts);
    place.locked(&studio);
    let ranges: Vec<_> = studio
        .server
        .requests()
        .into_iter()
        .filter(|request| request.path == "/VisualStudio.vsman")
        .map(|request| request.range)
        .collect();
    assert_eq!(ranges, [None, Some("bytes=100-".to_owned())], "{} bytes", release.manifest.size);
}

#[test]
fn packages_that_would_write_elsewhere_are_refused() {
    for (name, expected) in [
        ("include/../../../../evil.h", "a path with `..`"),
        ("include/a\\..\\evil.h", "a path with a backslash"),
    ] {
        let mut studio = Studio::start();
        studio.replace_crt_headers(&vsix(&[("include/vcruntime.h", ""), (name, "evil")]));
        let error = Place::new().refusal(&studio);
        assert!(error.contains(expected), "{error}");
    }
    for name in ["..", "../../evil.h", "..\\evil.h", "/etc/evil.h"] {
        let (msi, cabinet) = installer(&[("Include/10.0/um", name, "evil")]);
        let error = refusal_of(&msi, &cabinet_name(&msi), &cabinet);
        let expected = format!("a file is called `{}`", name.escape_debug());
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn malformed_installers_are_errors() {
    let files = [("Include/10.0/um", "windows.h", "// windows\n")];
    let (msi, cabinet) = installer(&files);
    let name = cabinet_name(&msi);
    let mut bent = cabinet.clone();
    let last = bent.len() - 3;
    bent[last] ^= 0xff;
    for (msi, cabinet, expected) in [
        (b"no database".as_slice(), cabinet.as_slice(), "this is not a Windows Installer database"),
        (&msi[..msi.len() / 2], &cabinet, "Win11SDK_10.0.22621_headers.msi"),
        (&msi, b"no cabinet", "this is not a cabinet"),
        (&msi, &bent, "can't be unpacked whole"),
        (&msi, &cabinet[..cabinet.len() - 4], "can't be unpacked whole"),
        (&database(&files, "missing.cab"), &cabinet, "needs `missing.cab`, which the manifest does not have"),
    ] {
        let error = refusal_of(msi, &name, cabinet);
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

/// What is said to an installer of headers whose cabinet has this name in the manifest.
fn refusal_of(msi: &[u8], cabinet_name: &str, cabinet: &[u8]) -> String {
    let mut studio = Studio::start();
    studio.replace_headers(msi, cabinet_name, cabinet);
    Place::new().refusal(&studio)
}

#[test]
fn a_manifest_that_lacks_the_version_says_so() {
    let (studio, place) = (Studio::start(), Place::new());
    let intent = place.intent(&studio);
    let text = std::fs::read_to_string(&intent.path).unwrap();
    for (from, to, expected) in [
        (SDK, "10.0.99999", "unable to locate SDK '10.0.99999'"),
        ("14.43.17.13", "14.42.17.12", "CRT version '14.42.17.12' does not exist in the manifest"),
    ] {
        std::fs::write(&intent.path, text.replace(from, to)).unwrap();
        let error = format!("{:#}", update(&place.store, &intent, &accepting(), &Silent).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn it_is_never_vendored() {
    let (studio, place) = (Studio::start(), Place::new());
    let input = place.locked(&studio);
    assert!(!input.source.may_be_passed_on());
    let directory = place.directory.path().join("vendored");
    let error = vendor(&place.store, &[&input], &directory, &Silent).unwrap_err().to_string();
    assert!(error.contains("`sdk` can't be vendored: its license does not let it be passed on"), "{error}");
    assert!(!Path::new(&directory).exists());
}
