//! What a cluster says of an action while and after it runs.

use crate::stub::{Lie, Running, start};
use bazel_remote_apis::{
    build::bazel::remote::execution::v2 as reapi,
    google::{
        longrunning::{Operation, operation::Result as Finished},
        protobuf::Any,
        rpc,
    },
};
use environment::{Backend, Environment, Launch, Source};
use prost::Message;
use remote::{Connection, Demands, Operations, Ran, Remote, Watch};
use std::{
    collections::BTreeMap,
    sync::{Mutex, atomic::Ordering},
};
use store::{Action, Digest, Meter, Silent, Store, Tree, to_message};
use tonic::{Code, Status};

const RESPONSE: &str = "type.googleapis.com/build.bazel.remote.execution.v2.ExecuteResponse";

fn done(response: &reapi::ExecuteResponse) -> Operation {
    let value = Any { type_url: RESPONSE.into(), value: response.encode_to_vec() };
    Operation {
        name: "one".into(),
        done: true,
        result: Some(Finished::Response(value)),
        ..Default::default()
    }
}

fn running(metadata: reapi::ExecuteOperationMetadata) -> Operation {
    let value = Any { type_url: String::new(), value: metadata.encode_to_vec() };
    Operation { name: "one".into(), metadata: Some(value), ..Default::default() }
}

fn failed(code: Code, message: &str) -> Operation {
    let status = rpc::Status { code: code as i32, message: message.into(), ..Default::default() };
    Operation { name: "one".into(), done: true, result: Some(Finished::Error(status)), ..Default::default() }
}

fn says(server: &Running, streams: Vec<Vec<Result<Operation, Status>>>) {
    *server.memory.operations.lock().unwrap() = streams.into();
}

/// What was said of a run.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Meter for Heard {
    fn add(&self, _: u64) {}
    fn set(&self, _: u64, _: u64) {}
    fn message(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

fn execute(server: &Running, heard: &Heard) -> Result<Ran, String> {
    let connection = Connection::open(&server.options).unwrap();
    let watch = Watch { meter: heard, note: &|_| {} };
    connection
        .execute(&Digest::of(b"action"), &watch, &Operations::default())
        .map_err(|error| format!("{error:#}"))
}

#[test]
fn an_operation_that_lies_is_no_result() {
    let server = start(Lie::None, 0, None);
    let fine = reapi::ExecuteResponse {
        result: Some(reapi::ActionResult { exit_code: 3, ..Default::default() }),
        ..Default::default()
    };
    let mut other = done(&fine);
    if let Some(Finished::Response(value)) = &mut other.result {
        value.type_url = "type.googleapis.com/google.protobuf.Empty".into();
    }
    let mut garbage = done(&fine);
    if let Some(Finished::Response(value)) = &mut garbage.result {
        value.value = vec![0xff; 10];
    }
    for (operation, says_this) in [
        (
            Operation { done: true, ..Default::default() },
            "says that the action is done, and nothing of its result",
        ),
        (done(&reapi::ExecuteResponse::default()), "ran the action, and names no result"),
        (other, "answers with something else than the result of an action"),
        (garbage, "answers with no result of an action"),
    ] {
        says(&server, vec![vec![Ok(operation)]]);
        let error = execute(&server, &Heard::default()).err().unwrap();
        assert!(error.contains(says_this), "{error}");
    }
    // What comes after the end is not heard.
    says(&server, vec![vec![Ok(done(&fine)), Ok(failed(Code::Internal, "no")), Err(Status::internal("no"))]]);
    let Ok(Ran::Ended(result)) = execute(&server, &Heard::default()) else { panic!("it ended") };
    assert_eq!(result.exit_code, 3);
    // A response that is an error besides was not run.
    let status = Some(rpc::Status { code: 8, ..Default::default() });
    says(&server, vec![vec![Ok(done(&reapi::ExecuteResponse { status, ..fine.clone() }))]]);
    assert!(matches!(execute(&server, &Heard::default()), Ok(Ran::NotRun(status)) if status.code == 8));
    // Streams that end without an end are waited for again, and not for ever.
    let before = server.memory.questions.load(Ordering::Relaxed);
    says(&server, vec![vec![Ok(running(Default::default()))], vec![], vec![Ok(done(&fine))]]);
    assert!(matches!(execute(&server, &Heard::default()), Ok(Ran::Ended(_))));
    assert_eq!(server.memory.questions.load(Ordering::Relaxed) - before, 3);
    says(&server, Vec::new());
    assert!(execute(&server, &Heard::default()).err().unwrap().contains("the stream ended early"));
}

#[test]
fn the_output_is_followed_where_the_server_gives_it() {
    let server = start(Lie::None, 0, None);
    let metadata = |name: &str| reapi::ExecuteOperationMetadata {
        stage: 3,
        stdout_stream_name: name.into(),
        ..Default::default()
    };
    let fine = reapi::ExecuteResponse { result: Some(Default::default()), ..Default::default() };
    // What it names first can't be had, which ends nothing.
    let mut stream = vec![Ok(running(metadata("nowhere/1"))), Ok(running(metadata("log")))];
    stream.extend((0..20).map(|_| Ok(running(metadata("log")))));
    says(&server, vec![stream, vec![Ok(done(&fine))]]);
    let heard = Heard::default();
    assert!(matches!(execute(&server, &heard), Ok(Ran::Ended(_))));
    let heard = heard.0.lock().unwrap();
    assert!(heard.iter().any(|line| line == "[1/2] first"), "{heard:?}");
}

/// Runs an action through the backend, as builds do.
fn build(server: &Running, demands: Demands) -> (Action, Result<bool, anyhow::Error>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let root = Tree::new().write(&store).unwrap();
    let action = Action { input_root: Some(root), ..Action::named(["true"]) };
    let environment =
        Environment { name: "x".into(), root, packages: Vec::new(), variables: BTreeMap::new() };
    let launch = Launch {
        store: &store,
        environment: &environment,
        arguments: &action.arguments,
        variables: &action.variables,
        source: Source::Tree(&Tree::new()),
        action: Some(&action),
        interactive: false,
        needs: Default::default(),
        progress: &Silent,
    };
    let remote = Remote::open(&server.options, demands).unwrap();
    let ended = remote.run(&launch, &mut |_| {}).map(|ended| ended.exit.success());
    (action.clone(), ended)
}

#[test]
fn a_server_that_loses_what_it_is_sent_is_told_as_such() {
    for lie in [Lie::None, Lie::Forgets] {
        let server = start(lie, 0, None);
        let lost = || vec![Ok(failed(Code::NotFound, "Blob not found in the local CAS"))];
        says(&server, vec![lost(), lost(), lost(), lost()]);
        let error = build(&server, Demands::default()).1.unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("loses inputs of the action as soon as they are sent: Blob not found"),
            "{text}"
        );
        assert!(store::hints(&error).any(|hint| hint.contains("more room")), "{text}");
        assert_eq!(server.memory.operations.lock().unwrap().len(), 1, "three tries");
    }
}

#[test]
fn a_result_for_other_properties_is_shared_under_the_key_of_all_clusters() {
    let server = start(Lie::None, 0, None);
    let content = Digest::of(b"content");
    let node = reapi::FileNode { name: "x".into(), digest: Some(to_message(&content)), ..Default::default() };
    let tree = reapi::Tree {
        root: Some(reapi::Directory { files: vec![node], ..Default::default() }),
        children: vec![],
    };
    let tree = tree.encode_to_vec();
    for bytes in [b"content".to_vec(), tree.clone()] {
        server.memory.blobs.lock().unwrap().insert(Digest::of(&bytes), bytes);
    }
    let tree_digest = Some(to_message(&Digest::of(&tree)));
    let directory = reapi::OutputDirectory { path: "out".into(), tree_digest, ..Default::default() };
    let result = reapi::ActionResult { output_directories: vec![directory], ..Default::default() };
    let properties = BTreeMap::from([("Pool".to_owned(), "large".to_owned())]);
    for (demands, exit_code, is_shared) in [
        (Demands::default(), 0, false),
        (Demands { properties: properties.clone(), timeout: None }, 1, false),
        (Demands { properties, timeout: None }, 0, true),
    ] {
        let result = reapi::ActionResult { exit_code, ..result.clone() };
        let response = reapi::ExecuteResponse { result: Some(result.clone()), ..Default::default() };
        says(&server, vec![vec![Ok(done(&response))]]);
        let (action, ended) = build(&server, demands);
        assert_eq!(ended.unwrap(), exit_code == 0);
        let kept = server.memory.results.lock().unwrap();
        assert_eq!(kept.get(&action.digest()), is_shared.then_some(&result));
        let blobs = server.memory.blobs.lock().unwrap();
        assert!(blobs.contains_key(&action.digest()) && blobs.contains_key(&action.command_digest()));
    }
}
