//! Releases and inputs in registries: Debian's docker-registry, and one of the tests' own that has other habits.

use crate::{
    model::{Hub, checkpoint},
    one_hash::engine::Registry as Debian,
    project::{Project, TARGET, shared_store, text},
    registry::{Access, Registry},
    ways,
};
use input::{Descriptor, FetchOptions, OciContent, OciManifest, OciReference, Registry as OciRegistry};
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    sync::Barrier,
};
use store::Digest;

/// User `me`, password `U*U` (a test vector of bcrypt's).
const PASSWORDS: &str = "me:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
const BASIC: &str = "bWU6VSpV";

/// A project with a release of one step, built.
pub fn released() -> Project {
    let project = Project::new();
    project.recipe(
        "part",
        "",
        "echo part > /build/out/part; mkdir /build/out/licenses; echo MIT > /build/out/licenses/LICENSE\n",
    );
    project.release("small", "part");
    let output = project.run(&["release", "small"]);
    assert!(output.status.success(), "{}", text(&output));
    project
}

/// The files below a directory, with their content.
pub fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => {
                    let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                    found.insert(name, std::fs::read(path).unwrap());
                }
            }
        }
    }
    found
}

/// Logs in at a registry as `me`.
fn log_in(project: &Project, host: &str) {
    project.write("docker/config.json", &format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{BASIC}\"}}}}}}"));
}

fn run(project: &Project, arguments: &[&str]) -> std::process::Output {
    let mut command = project.command(&shared_store(), arguments);
    command.env("DOCKER_CONFIG", project.directory.path().join("docker")).output().unwrap()
}

fn succeeds(project: &Project, arguments: &[&str]) -> String {
    let output = run(project, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn fails(project: &Project, arguments: &[&str]) -> String {
    let output = run(project, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output));
    text(&output)
}

#[test]
fn a_release_goes_to_registries_and_comes_back() {
    let project = released();
    let dist = project.directory.path().join("dist/small");
    let (open, own) = (Debian::start(), Registry::start(Access::Open));
    let closed = Debian::start_with("auth: { htpasswd: { realm: test, path: PLACE/passwords } }");
    std::fs::write(closed.file("passwords"), PASSWORDS).unwrap();
    log_in(&project, &closed.address());
    let mut digests = Vec::new();
    for (index, host) in [open.address(), own.address().to_owned(), closed.address()].iter().enumerate() {
        let place = format!("oci://{host}/a/b:v1");
        let named = succeeds(&project, &["publish", &place, "dist/small"]);
        // It is known before, and the same the next time.
        assert_eq!(succeeds(&project, &["publish", &place, "dist/small", "--dry-run"]), named);
        let again = run(&project, &["publish", &place, "dist/small"]);
        assert!(text(&again).contains("0 files were sent"), "{}", text(&again));
        let target = format!("fetched-{index}");
        succeeds(&project, &["fetch-release", &named, &target]);
        let fetched = project.directory.path().join(&target);
        assert_eq!(files(&fetched), files(&dist));
        let mut check = Command::new("sha256sum");
        check.args(["-c", "--strict", "--quiet", "SHA256SUMS"]).current_dir(&fetched);
        assert!(check.status().unwrap().success());
        digests.push(named.rsplit('@').next().unwrap().to_owned());
        // A tag is shown, and not trusted.
        let said = fails(&project, &["fetch-release", &place, "by-tag"]);
        assert!(said.contains(&digests[0]) && said.contains("by its digest"), "{said}");
        let said = fails(&project, &["fetch-release", &named, &target]);
        assert!(said.contains("exists"), "{said}");
    }
    digests.dedup();
    assert_eq!(digests.len(), 1);
    project.write("docker/config.json", "{}");
    let said = fails(&project, &["publish", &format!("oci://{}/a/b", closed.address()), "dist/small"]);
    assert!(said.contains("does not let us in") && said.contains("docker login"), "{said}");
    std::fs::write(dist.join("release.json"), "{}").unwrap();
    let said = fails(&project, &["publish", &format!("oci://{}/a/b", open.address()), "dist/small"]);
    assert!(said.contains("is not published, since it does not verify"), "{said}");
}

#[test]
fn a_token_is_got_with_docker_s_password_and_shown_to_nobody() {
    let project = released();
    // Good for seven requests: several are needed on the way.
    let registry = Registry::start(Access::Token("Basic bWU6VSpV", 7));
    let place = format!("oci://{}/a/b", registry.address());
    let said = fails(&project, &["publish", &place, "dist/small"]);
    assert!(said.contains("does not let us in"), "{said}");
    log_in(&project, registry.address());
    let output = run(&project, &["publish", &place, "dist/small", "-vv"]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for secret in ["U*U", BASIC, "Bearer t"] {
        assert!(!said.contains(secret), "{said}");
    }
    let requests = registry.server.requests();
    let tokens = requests.iter().filter(|request| request.path.starts_with("/token?"));
    assert!(tokens.count() > 2);
    for request in requests.iter().filter(|request| !request.path.starts_with("/token?")) {
        assert!(!request.headers.get("authorization").is_some_and(|shown| shown.contains(BASIC)));
    }
}

#[test]
fn a_registry_that_lies_gives_no_release() {
    let project = released();
    let registry = Registry::start(Access::Open);
    let place = format!("oci://{}/a/b", registry.address());
    let named = succeeds(&project, &["publish", &place, "dist/small"]);
    let held = registry.held.lock().unwrap().clone();
    let archive = std::fs::read(project.directory.path().join(format!("dist/small/part-1-{TARGET}.tar.gz")));
    let archive = format!("blobs/sha256:{}", Digest::of(&archive.unwrap()).hex());
    let manifest = format!("manifests/{}", named.rsplit('@').next().unwrap());
    let with = |path: &str, content: Option<&[u8]>| {
        let mut held = held.clone();
        match content {
            Some(content) => held.insert(path.to_owned(), content.to_vec()),
            None => held.remove(path),
        };
        held
    };
    let mut longer = held[&archive].clone();
    longer.push(0);
    let mut flipped = held[&archive].clone();
    flipped[20] ^= 1;
    for (what, held, expected) in [
        ("another manifest", with(&manifest, Some(b"{}")), "sends something else"),
        ("no manifest", with(&manifest, None), "it is not there"),
        ("an endless manifest", with(&manifest, Some(&vec![b' '; 5 << 20])), "more than"),
        ("a flipped archive", with(&archive, Some(&flipped)), "sends something else"),
        ("a longer archive", with(&archive, Some(&longer)), "sends something else"),
        ("no archive", with(&archive, None), "404"),
    ] {
        *registry.held.lock().unwrap() = held;
        let said = fails(&project, &["fetch-release", &named, "fetched"]);
        assert!(said.contains(expected), "{what}: {said}");
        assert!(!project.directory.path().join("fetched").exists(), "{what}");
    }
    // Whole manifests of strangers, each by its own digest.
    let original: serde_json::Value = serde_json::from_slice(&held[&manifest]).unwrap();
    let title = "org.opencontainers.image.title";
    let mut evil = original.clone();
    evil["layers"][0]["annotations"][title] = "../../evil".into();
    let mut other = original.clone();
    other["artifactType"] = "application/vnd.other".into();
    let mut less = original.clone();
    less["layers"].as_array_mut().unwrap().pop();
    let mut annotated = original.clone();
    annotated["layers"][0]["annotations"]["org.opencontainers.image.source"] = "https://evil.invalid".into();
    let mut reordered = original.clone();
    reordered["layers"].as_array_mut().unwrap().reverse();
    let mut huge = original.clone();
    huge["layers"][0]["size"] = (1_u64 << 60).into();
    for (what, json, expected) in [
        ("a path upwards", evil, "can't be written"),
        ("another artifact", other, "is not that of a release"),
        ("an annotation more", annotated, "in another manifest than the one"),
        ("files in another order", reordered, "in another manifest than the one"),
        ("a file less", less, "is not a sound release"),
        ("a file larger than the disk", huge, "MB free"),
    ] {
        let bytes = json.to_string().into_bytes();
        let digest = format!("sha256:{}", Digest::of(&bytes).hex());
        *registry.held.lock().unwrap() = with(&format!("manifests/{digest}"), Some(&bytes));
        let said = fails(&project, &["fetch-release", &format!("{place}@{digest}"), "fetched"]);
        assert!(said.contains(expected), "{what}: {said}");
        assert!(!project.directory.path().join("fetched").exists(), "{what}");
    }
}

#[test]
fn inputs_stand_in_a_registry_by_their_digests() {
    let project = ways::project();
    for file in ["sandbox.toml", "sandbox.lock"] {
        std::fs::remove_file(project.directory.path().join("containers").join(file)).unwrap();
    }
    let current = ways::mirror();
    let registry = Debian::start();
    let place = format!("oci://{}/team/inputs", registry.address());
    let store = tempfile::tempdir().unwrap();
    for expected in ["6 files were sent, 0 were there", "0 files were sent, 6 were there"] {
        let output = ways::fetch(&project, store.path(), &["vendor", "--push", &place])
            .env("MLC_REPRO_DEBIAN_MIRROR", current.url("/debian"))
            .output()
            .unwrap();
        assert!(output.status.success() && text(&output).contains(expected), "{}", text(&output));
    }
    let empty = tempfile::tempdir().unwrap();
    let output = ways::fetch(&project, empty.path(), &["fetch", "--mirror", &place])
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    for wrong in ["oci://127.0.0.1/", "oci://127.0.0.1/a:tag", "ftp://127.0.0.1"] {
        let empty = tempfile::tempdir().unwrap();
        let output = ways::fetch(&project, empty.path(), &["fetch", "--mirror", wrong]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    }
}

/// What is said about a release refers to it, and what names the manifest stands where cosign looks (tests/signatures/other_tools.sh
/// asks cosign and oras themselves). Signatures that are published one after the other come back together.
#[test]
fn what_is_said_about_a_release_refers_to_it() {
    let project = released();
    let dist = project.directory.path().join("dist/small");
    let own = Registry::start(Access::Open);
    let named = succeeds(&project, &["publish", &format!("oci://{}/a/b", own.address()), "dist/small"]);
    let digest = named.rsplit('@').next().unwrap();
    succeeds(&project, &["attest", "keygen", "stranger", "--no-passphrase"]);
    for name in ["alice", "bob"] {
        succeeds(&project, &["attest", "keygen", name, "--no-passphrase"]);
        let to = project.directory.path().join(name);
        let copied = Command::new("cp").arg("-r").args([&dist, &to]).status().unwrap();
        assert!(copied.success());
    }
    // The directories are named as the keys are, and both stand in the project.
    for (directory, key) in [("alice", "alice.pem"), ("bob", "bob.pem")] {
        succeeds(&project, &["attest", directory, "--key", key]);
    }
    let debian = Debian::start();
    for (index, host) in [own.address().to_owned(), debian.address()].iter().enumerate() {
        let place = format!("oci://{host}/a/b");
        let registry =
            OciRegistry::open(&OciReference::parse(&place).unwrap(), &FetchOptions::default(), true);
        let whole = format!("{place}@{digest}");
        for directory in ["alice", "alice", "bob"] {
            // The release is the same, whatever is said about it.
            assert_eq!(succeeds(&project, &["publish", &place, directory]), whole);
        }
        let subject = registry.manifest(&digest[7..]).unwrap().1;
        let referrers = registry.referrers(&subject, &store::Silent).unwrap();
        let mut kinds: Vec<_> = referrers.iter().map(|it| it.artifact_type.clone().unwrap()).collect();
        kinds.sort();
        // Of each builder, one for the archive and one for the release, and one of the checksums.
        let (envelope, minisign) =
            ("application/vnd.dsse.envelope.v1+json", "application/vnd.mlc-repro.minisign.v1");
        assert_eq!(kinds, [&["application/vnd.cyclonedx+json"][..], &[envelope; 4], &[minisign; 2]].concat());
        // Neither says that it keeps account, so there is a list; cosign's tag is not a list.
        let hex = registry.resolve(&format!("sha256-{}.att", &digest[7..])).unwrap();
        let (attestations, _) = registry.manifest(&hex).unwrap();
        assert_eq!(attestations.layers.len(), 2, "both builders' envelopes of the release");
        for layer in &attestations.layers {
            assert_eq!(layer.annotations["predicateType"], "https://slsa.dev/provenance/v1");
            assert_eq!(layer.annotations["dev.cosignproject.cosign/signature"], "");
        }
        let fetched = format!("fetched-{index}");
        succeeds(&project, &["fetch-release", &whole, &fetched]);
        let fetched = project.directory.path().join(fetched).join("provenance");
        for (name, bytes) in files(&fetched) {
            let envelope: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(envelope["signatures"].as_array().unwrap().len(), 2, "{name}");
        }
        assert_eq!(files(&fetched).len(), 2);
        // Of the signatures of the checksums there is place for one: with a policy, for one that counts.
        for name in ["alice", "bob", "stranger"] {
            let policy = format!(
                "version = 1\n[keys]\nit = {{ file = \"{name}.pub\" }}\n[roles]\nall = [\"it\"]\n[release]\nunsigned = true\n\
                 [[artifact]]\nmatch = [\"*\"]\nunsigned = true\n[checksums]\nrole = \"all\"\n"
            );
            project.write(&format!("{name}.toml"), &policy);
            let place = format!("fetched-{index}-{name}");
            let arguments = ["fetch-release", &whole, &place, "--policy", &format!("{name}.toml")];
            let place = project.directory.path().join(&place);
            if name == "stranger" {
                let said = fails(&project, &arguments);
                assert!(said.contains("`SHA256SUMS` needs a key of `all`"), "{said}");
                assert!(!place.exists(), "what does not satisfy the policy is not there");
            } else {
                let said = text(&run(&project, &arguments));
                assert!(said.contains("signed: SHA256SUMS by it"), "{said}");
                let signature =
                    |directory: &Path| std::fs::read_to_string(directory.join("SHA256SUMS.minisig")).unwrap();
                assert_eq!(signature(&place), signature(&project.directory.path().join(name)));
            }
        }
    }
    let list = own.held.lock().unwrap()[&format!("manifests/{}", digest.replace(':', "-"))].clone();
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 7);
}

/// Nobody can lock a tag: who publishes at the same time may write a list without what another has just added.
#[test]
fn what_several_publish_at_once_is_listed() {
    let project = released();
    let debian = Debian::start();
    let reference = |name: &str| format!("oci://{}/{name}", debian.address());
    let open = |name: &str| {
        OciRegistry::open(&OciReference::parse(&reference(name)).unwrap(), &FetchOptions::default(), true)
    };
    // By the client alone, as often as it goes.
    let (kind, content) = ("application/vnd.test", Digest::of(b"x"));
    let layers = |title: &str| vec![Descriptor::new(kind, &content).titled(title)];
    let registry = open("a/list");
    registry.push_blob(&content, &OciContent::Bytes(b"x")).unwrap();
    let subject = registry.push_manifest(&OciManifest::new(kind, layers("subject")), None).unwrap();
    let subject = Descriptor { artifact_type: None, ..subject };
    let start = Barrier::new(3);
    std::thread::scope(|scope| {
        for who in 0..3 {
            let (subject, start) = (&subject, &start);
            scope.spawn(move || {
                let registry = open("a/list");
                for round in 0..4 {
                    let mut referrer = OciManifest::new(kind, layers(&format!("{who}-{round}")));
                    referrer.subject = Some(subject.clone());
                    start.wait();
                    registry.push_manifest(&referrer, None).unwrap();
                }
            });
        }
    });
    assert_eq!(registry.referrers(&subject, &store::Silent).unwrap().len(), 12);
    // Two builders, each with a release that it has signed.
    for name in ["alice", "bob"] {
        let to = project.directory.path().join(name);
        let dist = project.directory.path().join("dist/small");
        assert!(Command::new("cp").arg("-r").args([&dist, &to]).status().unwrap().success());
        succeeds(&project, &["attest", "keygen", name, "--no-passphrase"]);
        succeeds(&project, &["attest", name, "--key", &format!("{name}.pem")]);
    }
    for round in 0..3 {
        let place = reference(&format!("a/b{round}"));
        let publish = |directory: &str| {
            let mut command = project.command(&shared_store(), &["publish", &place, directory]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        for output in [publish("alice"), publish("bob")].map(|child| child.wait_with_output().unwrap()) {
            assert!(output.status.success(), "{}", text(&output));
        }
        let digest = succeeds(&project, &["publish", &place, "alice", "--dry-run"]);
        let hex = digest.rsplit(':').next().unwrap();
        let registry = open(&format!("a/b{round}"));
        let subject = registry.manifest(hex).unwrap().1;
        // Three of each builder, and the bill of materials of both.
        assert_eq!(registry.referrers(&subject, &store::Silent).unwrap().len(), 7);
        let attestations = registry.tagged(&format!("sha256-{hex}.att")).unwrap().unwrap();
        assert_eq!(attestations.layers.len(), 2);
    }
}

#[test]
fn what_strangers_attach_to_a_release_is_passed_over() {
    let project = released();
    let own = Registry::start(Access::Open);
    let place = format!("oci://{}/a/b", own.address());
    let named = succeeds(&project, &["publish", &place, "dist/small"]);
    let digest = named.rsplit('@').next().unwrap();
    let registry = OciRegistry::open(&OciReference::parse(&place).unwrap(), &FetchOptions::default(), true);
    let subject = registry.manifest(&digest[7..]).unwrap().1;
    let attach = |kind: &str, title: &str, size: u64| {
        let content = Digest::of(title.as_bytes());
        registry.push_blob(&content, &OciContent::Bytes(title.as_bytes())).unwrap();
        let layer = Descriptor { size, ..Descriptor::new(kind, &content).titled(title) };
        let mut manifest = OciManifest::new(kind, vec![layer]);
        manifest.subject = Some(subject.clone());
        registry.push_manifest(&manifest, None).unwrap();
    };
    let envelope = "application/vnd.dsse.envelope.v1+json";
    for title in [
        "../../evil",
        "release.json",
        "SHA256SUMS",
        "provenance/../../x.intoto.jsonl",
        "provenance/a/b.intoto.jsonl",
    ] {
        attach(envelope, title, title.len() as u64);
    }
    attach("application/vnd.other", "provenance/x.intoto.jsonl", 25);
    attach("application/vnd.cyclonedx+json", "provenance/x.intoto.jsonl", 25);
    attach(envelope, "bom.cdx.json", 12);
    attach(envelope, "provenance/huge.intoto.jsonl", 1 << 50);
    let minisign = "application/vnd.mlc-repro.minisign.v1";
    attach(minisign, "SHA256SUMS.minisig", 18);
    attach(minisign, "../SHA256SUMS.minisig", 21);
    attach(minisign, "provenance/x.sig", 16);
    attach("application/vnd.mlc-repro.model-signature.v1+json", "provenance/x.sig", 16);
    // A list that names what is not a referrer, and what is not there.
    let other = Digest::of(b"other").hex();
    let list = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[\
         {{\"mediaType\":\"x\",\"digest\":\"{digest}\",\"size\":1}},{{\"mediaType\":\"x\",\"digest\":\"sha256:{other}\",\"size\":1}},\
         {{\"mediaType\":\"x\",\"digest\":\"md5:0\",\"size\":1}}]}}"
    );
    own.held.lock().unwrap().insert(format!("manifests/{}", digest.replace(':', "-")), list.into_bytes());
    let output = run(&project, &["fetch-release", &named, "fetched"]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("its subject is another") && said.contains("it is not there"), "{said}");
    let fetched = project.directory.path().join("fetched");
    assert_eq!(files(&fetched), files(&project.directory.path().join("dist/small")));
}

/// What `--model-signature` wrote travels as the other signatures do, byte for byte, and is held against the model afterwards.
#[test]
fn the_signature_of_a_model_comes_back_with_it() {
    let (project, store) = (Project::new(), tempfile::tempdir().unwrap());
    let hub = Hub::start(checkpoint(), "mit");
    let run = |arguments: &[&str]| hub.succeed(&project, store.path(), arguments);
    run(&["model", "fetch", "owner/tiny@main"]);
    let model = "[[model]]\nname = \"tiny\"\nquantization = \"q4f16_1\"\n";
    project.write("releases/small.toml", &format!("name = \"small\"\n{model}"));
    run(&["release", "small"]);
    for more in [&[][..], &["--model"]] {
        let name = if more.is_empty() { "a" } else { "m" };
        run(&[&["attest", "keygen", name, "--no-passphrase"], more].concat());
    }
    run(&["attest", "dist/small", "--key", "a.pem", "--model-signature", "m.pem"]);
    let registry = Registry::start(Access::Open);
    let place = format!("oci://{}/a/b", registry.address());
    let said = run(&["publish", &place, "dist/small"]);
    let named = said.lines().find(|line| line.starts_with("oci://")).unwrap().to_owned();
    for signature in
        ["SHA256SUMS.minisig", "provenance/tiny-q4f16_1.sig", "provenance/tiny-q4f16_1.intoto.jsonl"]
    {
        assert!(said.contains(&format!("{signature} refers to it")), "{said}");
    }
    run(&["fetch-release", &named, "fetched"]);
    let fetched = project.directory.path().join("fetched");
    assert_eq!(files(&fetched), files(&project.directory.path().join("dist/small")));
    if let Some(kept) = std::env::var_os("MLC_REPRO_KEEP_SIGNED") {
        // For tests/signatures/model_in_registry.sh, which asks others' programs.
        let keys = ["a.minisign.pub", "m.pub"].map(|name| project.directory.path().join(name));
        assert!(Command::new("cp").arg("-r").arg(&fetched).args(keys).arg(kept).status().unwrap().success());
    }
    // A signature of other files is not taken for one of this model.
    let registry = OciRegistry::open(&OciReference::parse(&place).unwrap(), &FetchOptions::default(), true);
    let subject = registry.manifest(named.rsplit(':').next().unwrap()).unwrap().1;
    let mut other: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fetched.join("provenance/tiny-q4f16_1.sig")).unwrap()).unwrap();
    other["dsseEnvelope"]["payload"] = "e30=".into();
    let other = other.to_string();
    let content = Digest::of(other.as_bytes());
    registry.push_blob(&content, &OciContent::Bytes(other.as_bytes())).unwrap();
    let kind = "application/vnd.mlc-repro.model-signature.v1+json";
    let layer = Descriptor::new(kind, &content).titled("provenance/tiny-q4f16_1.sig");
    let mut manifest = OciManifest::new(kind, vec![layer]);
    manifest.subject = Some(subject);
    registry.push_manifest(&manifest, None).unwrap();
    let said = run(&["fetch-release", &named, "again"]);
    assert!(said.contains("it is of other files than the model has"), "{said}");
    assert_eq!(files(&project.directory.path().join("again")), files(&fetched));
}
