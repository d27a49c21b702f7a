//! Publishing: a converted model on a hub of this machine (tests/hub/stand_in.py, which real clients have proven), with everything that
//! can go wrong there; and what a builder signs, by others' tools.

use crate::{
    model::checkpoint,
    project::{Project, shared_store, text},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};
use tempfile::TempDir;

pub const TOKEN: &str = "hf_secretsecretsecret";

/// The stand-in, which ends when its standard input is closed.
pub struct Hub {
    place: TempDir,
    child: Child,
    address: String,
}

impl Hub {
    pub fn start() -> Self {
        Self::start_with(0)
    }

    /// One that takes larger files in parts of so many bytes.
    pub fn start_with(parts: u64) -> Self {
        let place = tempfile::tempdir().unwrap();
        let script = crate::project::repository().join("tests/hub/stand_in.py");
        let mut child = Command::new("python3")
            .args(["-B".as_ref(), script.as_os_str(), place.path().as_os_str()])
            .env("HUB_PARTS", parts.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { place, child, address: address.trim().to_owned() }
    }

    /// How much was asked since the last look.
    pub fn number(&self) -> usize {
        std::fs::read_to_string(self.place.path().join("log.jsonl")).map_or(0, |log| log.lines().count())
    }

    /// What goes wrong next.
    fn fail(&self, faults: &Value) {
        std::fs::write(self.place.path().join("faults.json"), faults.to_string()).unwrap();
    }

    /// What was asked since the last look.
    pub fn requests(&self) -> Vec<Value> {
        let path = self.place.path().join("log.jsonl");
        let log = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn files(&self, repository: &str) -> Value {
        // There is none before there is a repository.
        let state =
            std::fs::read_to_string(self.place.path().join("state.json")).unwrap_or_else(|_| "{}".to_owned());
        serde_json::from_str::<Value>(&state).unwrap()["repositories"][repository]["files"].clone()
    }

    fn publish(&self, directory: &Path, more: &[&str]) -> Output {
        self.publish_with(TOKEN, directory, more)
    }

    fn publish_with(&self, token: &str, directory: &Path, more: &[&str]) -> Output {
        let output = self.command(&Project::new(), token, directory, more).output().unwrap();
        // Whatever is told, the token is not.
        assert!(!text(&output).contains(token), "{}", text(&output));
        output
    }

    pub fn command(&self, project: &Project, token: &str, directory: &Path, more: &[&str]) -> Command {
        let words = [
            "-vv",
            "publish",
            "hugging-face",
            "me/tiny",
            directory.to_str().unwrap(),
            "--endpoint",
            &self.address,
        ];
        let mut command = project.command(&shared_store(), &[&words[..], more].concat());
        command.env("HF_TOKEN", token);
        command
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A converted model, made once.
pub fn converted() -> &'static Path {
    static MODEL: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = MODEL.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        let (source, path) = (place.path().join("source"), place.path().join("tiny-q4f16_1"));
        std::fs::create_dir(&source).unwrap();
        for (name, content) in checkpoint() {
            std::fs::write(source.join(name), content).unwrap();
        }
        let project = Project::new();
        let [from, to] = [&source, &path].map(|path| path.to_str().unwrap());
        let words = ["model", "convert", from, "--quantization", "q4f16_1", "-o", to, "--no-store"];
        let output = project.command(&shared_store(), &words).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        (place, path)
    });
    path
}

pub fn copy_of(model: &Path, place: &Path) -> PathBuf {
    let path = place.join("model");
    std::fs::create_dir(&path).unwrap();
    for entry in std::fs::read_dir(model).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
    }
    path
}

pub fn count(requests: &[Value], method: &str, part: &str) -> usize {
    let is_one = |it: &&Value| it["method"] == method && it["path"].as_str().unwrap().contains(part);
    requests.iter().filter(is_one).count()
}

#[test]
fn a_model_is_published_by_one_commit_and_only_what_lacks_is_sent() {
    let hub = Hub::start();
    let license = ["--license", "apache-2.0"];
    let dry = hub.publish(converted(), &["--license", "apache-2.0", "--dry-run"]);
    assert!(
        dry.status.success() && text(&dry).contains("would publish params_shard_0.bin"),
        "{}",
        text(&dry)
    );
    assert!(hub.requests().iter().all(|request| request["method"] == "GET"), "a dry run changes nothing");

    let first = hub.publish(converted(), &license);
    assert!(first.status.success(), "{}", text(&first));
    let requests = hub.requests();
    assert_eq!((count(&requests, "PUT", "/put/"), count(&requests, "POST", "/commit/")), (1, 1));
    for request in &requests {
        // Where large files go is not the hub, and gets no token.
        assert_eq!(request["token"], !request["path"].as_str().unwrap().starts_with("/put/"), "{request}");
    }
    let files = hub.files("me/tiny");
    for entry in std::fs::read_dir(converted()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert_eq!(files[&name]["oid"], store::Digest::of_file(&entry.path()).unwrap().hex(), "{name}");
    }
    assert_eq!(files["README.md"]["large"], false);

    let again = hub.publish(converted(), &license);
    assert!(again.status.success() && text(&again).contains("is up to date"), "{}", text(&again));
    let requests = hub.requests();
    assert_eq!((count(&requests, "PUT", ""), count(&requests, "POST", "")), (0, 0));

    // A file more: nothing else is sent.
    let place = tempfile::tempdir().unwrap();
    let model = copy_of(converted(), place.path());
    std::fs::write(model.join("NOTICE"), "hello\n").unwrap();
    assert!(hub.publish(&model, &license).status.success());
    assert_eq!(count(&hub.requests(), "PUT", ""), 0);
    assert!(hub.files("me/tiny").get("NOTICE").is_some());
}

#[test]
fn a_signature_that_holds_is_not_made_anew() {
    let (hub, keys) = (Hub::start(), Project::new());
    for name in ["a", "b"] {
        let output = keys.run(&["attest", "keygen", name, "--model", "--no-passphrase"]);
        assert!(output.status.success(), "{}", text(&output));
    }
    let place = tempfile::tempdir().unwrap();
    let model = copy_of(converted(), place.path());
    let publish = |key: &str, more: &[&str]| {
        let key = keys.directory.path().join(key);
        let words = ["--license", "mit", "--model-signature", key.to_str().unwrap()];
        let output = hub.publish(&model, &[&words[..], more].concat());
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let signature = || hub.files("me/tiny")["model.sig"]["oid"].clone();
    assert!(publish("a.pem", &[]).contains("committed model.sig"));
    let first = signature();
    hub.requests();
    assert!(publish("a.pem", &[]).contains("is up to date"));
    assert!(publish("a.pem", &["--dry-run"]).contains("nothing was changed"));
    assert_eq!(count(&hub.requests(), "POST", ""), 0);
    assert_eq!(signature(), first);
    // Another key, other files, and what is not a signature: then it is made, and stays.
    let made = |key: &str, others: &[&str]| {
        let before = signature();
        let said = publish(key, &[]);
        let committed: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("committed ")).collect();
        assert_eq!(committed, [others, &["model.sig"]].concat(), "{said}");
        assert_ne!(signature(), before);
        assert!(publish(key, &[]).contains("is up to date"));
    };
    made("b.pem", &[]);
    std::fs::write(model.join("NOTICE"), "hello\n").unwrap();
    made("b.pem", &["NOTICE", "README.md"]);
    std::fs::write(model.join("README.md"), "A card\n").unwrap();
    std::fs::write(model.join("model.sig"), "{}").unwrap();
    let output = hub.publish(&model, &["--license", "mit"]);
    assert!(output.status.success(), "{}", text(&output));
    made("b.pem", &[]);
}

#[test]
fn whatever_a_hub_refuses_is_explained_and_the_next_run_goes_on() {
    let hub = Hub::start();
    let license = ["--license", "apache-2.0"];
    let model = converted();
    let fails = |output: Output, expected: &str| {
        let found = text(&output);
        assert!(output.status.code() == Some(1) && found.contains(expected), "{expected}: {found}");
    };
    fails(hub.publish_with("hf_anotherone", model, &license), "does not know the token");
    hub.fail(&json!({ "create": [403] }));
    fails(hub.publish(model, &license), "the token may not make me/tiny");
    // Somebody else made it meanwhile: that is not a failure. Then the storage fails twice, and somebody else commits.
    hub.fail(&json!({ "create": [], "put": [503, 503], "commit": [412] }));
    fails(hub.publish(model, &license), "was changed by somebody else meanwhile");
    assert_eq!(count(&hub.requests(), "PUT", ""), 3, "twice refused, then taken");
    hub.fail(&json!({ "commit": [409] }));
    fails(hub.publish(model, &license), "was changed by somebody else meanwhile");
    hub.fail(&json!({ "commit": [403] }));
    fails(hub.publish(model, &license), "the token may not commit to me/tiny");
    assert_eq!(count(&hub.requests(), "PUT", ""), 0, "what arrived is not sent again");
    hub.fail(&json!({ "oid": [1] }));
    fails(hub.publish(model, &license), "returned an invalid commit");
    hub.fail(&json!({}));
    let output = hub.publish(model, &license);
    assert!(output.status.success(), "{}", text(&output));
    assert!(hub.files("me/tiny").get("params_shard_0.bin").is_some());
}

#[test]
fn large_files_go_in_parts_where_the_hub_wants_them_so() {
    let size = std::fs::metadata(converted().join("params_shard_0.bin")).unwrap().len();
    // Three parts, the last of which is shorter.
    let hub = Hub::start_with(size / 3 + 1);
    let license = ["--license", "apache-2.0"];
    let fails = |faults: Value, expected: &str| {
        hub.fail(&faults);
        let output = hub.publish(converted(), &license);
        let found = text(&output);
        assert!(output.status.code() == Some(1) && found.contains(expected), "{expected}: {found}");
        // The addresses of parts are secrets.
        assert!(!found.contains("signature=secret"), "{found}");
    };
    fails(json!({ "parts": [1] }), "are 3 parts of");
    fails(json!({ "part": [403] }), "the part 1 of 3 did not arrive");
    fails(json!({ "etag": [1] }), "the part 1 of 3 did not arrive");
    fails(json!({ "complete": [400] }), "its parts were not put together");
    hub.requests();
    hub.fail(&json!({ "part": [503, 503] }));
    let output = hub.publish(converted(), &license);
    assert!(output.status.success(), "{}", text(&output));
    let requests = hub.requests();
    let counts = ["/part/", "/complete/", "/put/"]
        .map(|part| count(&requests, "PUT", part) + count(&requests, "POST", part));
    assert_eq!(counts, [5, 1, 0], "twice refused, then three parts, put together once");
    for request in &requests {
        let path = request["path"].as_str().unwrap();
        let is_storage = path.starts_with("/part/") || path.starts_with("/complete/");
        assert_eq!(request["token"], !is_storage, "{request}");
    }
    let oid = store::Digest::of_file(&converted().join("params_shard_0.bin")).unwrap().hex();
    assert_eq!(hub.files("me/tiny")["params_shard_0.bin"]["oid"], oid);
    assert!(text(&hub.publish(converted(), &license)).contains("is up to date"));
}

#[test]
fn a_hub_that_answers_for_another_object_is_not_believed() {
    let hub = Hub::start();
    hub.fail(&json!({ "batch": [1] }));
    let output = hub.publish(converted(), &["--license", "apache-2.0"]);
    assert!(
        !output.status.success() && text(&output).contains("which it was not asked for"),
        "{}",
        text(&output)
    );
    assert_eq!(count(&hub.requests(), "PUT", ""), 0);
}

#[test]
fn what_is_damaged_or_of_no_license_is_not_published() {
    let hub = Hub::start();
    let place = tempfile::tempdir().unwrap();
    let model = copy_of(converted(), place.path());
    let fails = |words: &[&str], expected: &str| {
        let output = hub.publish(&model, words);
        assert!(
            !output.status.success() && text(&output).contains(expected),
            "{expected}: {}",
            text(&output)
        );
    };
    fails(&[], "--license");
    fails(&["--license", "qwen-research"], "is not one under which anything may be published");
    std::os::unix::fs::symlink("/etc/passwd", model.join("link")).unwrap();
    fails(&["--license", "mit"], "is not a regular file");
    std::fs::remove_file(model.join("link")).unwrap();
    // Of what was there before the card that would be written now.
    std::fs::write(model.join("model.sig"), "{}").unwrap();
    fails(&["--license", "mit"], "signs no README.md");
    std::fs::remove_file(model.join("model.sig")).unwrap();
    let shard = model.join("params_shard_0.bin");
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    fails(&["--license", "mit"], "does not pass `model verify`");
    assert!(hub.requests().is_empty(), "nothing was asked");
}
