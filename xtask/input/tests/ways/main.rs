//! The ways to an input, and what servers can do to them. No registry is asked.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

#[path = "../place/mod.rs"]
mod place;
mod server;

use input::{FetchOptions, Input, Lock, Source, fetch, push, reach, vendor};
use place::Place;
use server::{Reply, Server};
use std::{
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};
use store::{Digest, Meter, Progress, Silent, Unit};

/// Different everywhere, so that a part in the wrong place shows.
fn content(seed: u32) -> Vec<u8> {
    (0..50_000u32).flat_map(|number| (number ^ seed).wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn input(name: &str, content: &[u8], urls: Vec<String>) -> Input {
    Input { name: name.to_owned(), digest: Digest::of(content), source: Source::Https { urls, tree: None } }
}

/// Keeps what the user is told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, label: &str, total: u64, unit: Unit) -> Box<dyn Meter> {
        Silent.begin(label, total, unit)
    }

    fn note(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

fn impatient() -> FetchOptions {
    FetchOptions { patience: Duration::from_millis(300), ..FetchOptions::default() }
}

fn mirrors(servers: &[&Server]) -> FetchOptions {
    FetchOptions {
        mirrors: servers.iter().map(|server| server.address.clone()).collect(),
        ..FetchOptions::default()
    }
}

#[test]
fn a_vendored_directory_on_any_static_server_is_a_mirror() {
    let place = Place::new();
    let (one, two) = (content(1), content(2));
    let inputs = [
        input("one", &one, vec!["https://gone.invalid/one".into()]),
        // Of every ecosystem: none is asked.
        Input {
            name: "six".into(),
            digest: Digest::of(&two),
            source: Source::Pypi { package: "six".into(), version: "1".into(), file: "six.whl".into() },
        },
        Input {
            name: "bash".into(),
            digest: Digest::of(b"a package"),
            source: Source::Debian {
                package: "bash".into(),
                version: "1".into(),
                architecture: "all".into(),
                pool: "pool/b/bash.deb".into(),
            },
        },
    ];
    for content in [one.as_slice(), &two, b"a package"] {
        place.store.put_bytes(content).unwrap();
    }
    let inputs: Vec<&Input> = inputs.iter().collect();
    let directory = place.directory.path().join("vendored");
    vendor(&place.store, &inputs, &directory, &Silent).unwrap();
    let server = Server::of_directory(directory);
    let empty = Place::new();
    fetch(&empty.store, &inputs, &mirrors(&[&server]), &Silent).unwrap();
    assert_eq!(empty.store.read(&Digest::of(&two)).unwrap(), two);
    let mut expected: Vec<_> = inputs.iter().map(|input| format!("/sha256/{}", input.digest.hex())).collect();
    let mut asked = server.paths();
    expected.sort();
    asked.sort();
    assert_eq!(asked, expected);
}

#[test]
fn a_mirror_with_something_else_is_named_and_the_next_way_taken() {
    let right = content(1);
    let swapped = Server::start(|_, _| Reply::file(&content(2)));
    let short = Server::start(|_, _| Reply::file(b"short"));
    let lacks = Server::start(|_, _| Reply::status(404));
    let live = Server::start(|_, _| Reply::file(&content(1)));
    let (place, notes) = (Place::new(), Notes::default());
    let thing = input("thing", &right, vec![live.url("/thing")]);
    fetch(&place.store, &[&thing], &mirrors(&[&lacks, &swapped, &short]), &notes).unwrap();
    assert_eq!(place.store.read(&thing.digest).unwrap(), right);
    let notes = notes.0.into_inner().unwrap();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("`thing`") && notes[0].contains(&swapped.address), "{notes:?}");
    assert!(notes[0].contains(&Digest::of(&content(2)).hex()), "{notes:?}");
    assert!(notes[1].contains(&short.address) && notes[1].contains("of 5 bytes"), "{notes:?}");
}

#[test]
fn a_vendored_file_that_is_something_else_is_named_and_fetched() {
    let live = Server::start(|_, _| Reply::file(&content(1)));
    let place = Place::new();
    let thing = input("thing", &content(1), vec![live.url("/thing")]);
    let vendored = place.directory.path().join("vendored");
    std::fs::create_dir_all(vendored.join("sha256")).unwrap();
    std::fs::write(vendored.join("sha256").join(thing.digest.hex()), "rotten").unwrap();
    let options = FetchOptions { vendored: Some(vendored), ..FetchOptions::default() };
    let offline = FetchOptions { offline: true, ..options.clone() };
    let error = fetch(&place.store, &[&thing], &offline, &Silent).unwrap_err().to_string();
    assert!(error.contains("is damaged: it should be `thing`"), "{error}");
    let notes = Notes::default();
    fetch(&place.store, &[&thing], &options, &notes).unwrap();
    assert!(notes.0.into_inner().unwrap()[0].contains("is damaged: it should be `thing`"));
}

#[test]
fn when_everything_is_gone_each_address_was_asked_once_and_is_named() {
    let (mirror, live) = (Server::start(|_, _| Reply::status(404)), Server::start(|_, _| Reply::status(410)));
    let place = Place::new();
    let inputs =
        ["a", "b", "c"].map(|name| input(name, name.as_bytes(), vec![live.url(&format!("/{name}"))]));
    let inputs: Vec<&Input> = inputs.iter().collect();
    let error = fetch(&place.store, &inputs, &mirrors(&[&mirror]), &Silent).unwrap_err().to_string();
    for input in &inputs {
        let by_digest = mirror.url(&format!("/sha256/{}: the server answered 404", input.digest.hex()));
        let by_name = live.url(&format!("/{}: the server answered 410", input.name));
        assert!(error.contains(&by_digest) && error.contains(&by_name), "{error}");
    }
    assert_eq!((mirror.requests().len(), live.requests().len()), (3, 3));
}

#[test]
fn a_dead_server_is_asked_once_and_not_once_a_file() {
    // Takes connections and says nothing.
    let silent = Server::start(|_, _| {
        std::thread::sleep(Duration::from_secs(60));
        Reply::status(500)
    });
    let live = Server::start(|_, request| Reply::file(request.path.as_bytes()));
    let place = Place::new();
    let inputs: Vec<Input> = (0..20)
        .map(|number| {
            let path = format!("/{number}");
            input(&path, path.as_bytes(), vec![silent.url(&path), live.url(&path)])
        })
        .collect();
    let start = Instant::now();
    fetch(&place.store, &inputs.iter().collect::<Vec<_>>(), &impatient(), &Silent).unwrap();
    assert_eq!(silent.requests().len(), 1);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

    // Nobody listens there: all files fail at once, in one paragraph.
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let inputs: Vec<Input> = (0..20)
        .map(|number| input(&format!("n{number:02}"), &[number], vec![format!("{closed}/{number}")]))
        .collect();
    let notes = Notes::default();
    let error = fetch(&place.store, &inputs.iter().collect::<Vec<_>>(), &impatient(), &notes).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("is not asked again: ") && error.contains(" more\n"), "{error}");
    assert!(error.lines().count() < 8, "{error}");
    assert!(notes.0.into_inner().unwrap().is_empty());
}

#[test]
fn a_busy_server_is_waited_for_and_the_user_is_told_once() {
    let started = Instant::now();
    let asked = OnceLock::new();
    let server = Server::start(move |_, request| {
        match asked.get_or_init(Instant::now).elapsed() < Duration::from_millis(900) {
            true => Reply::status(429).with("Retry-After", 1),
            false => Reply::file(request.path.as_bytes()),
        }
    });
    let (place, notes) = (Place::new(), Notes::default());
    let inputs: Vec<Input> = (0..12)
        .map(|number| {
            input(
                &number.to_string(),
                format!("/{number}").as_bytes(),
                vec![server.url(&format!("/{number}"))],
            )
        })
        .collect();
    fetch(&place.store, &inputs.iter().collect::<Vec<_>>(), &FetchOptions::default(), &notes).unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1), "Retry-After was not obeyed");
    assert_eq!(server.requests().len(), 13, "one was refused, and then all were given");
    assert_eq!(
        notes.0.into_inner().unwrap(),
        [format!("{}: the server answered 429; trying again", server.address)]
    );
}

#[test]
fn a_server_that_trickles_is_given_up() {
    let slow =
        Server::start(|_, _| Reply { pause: Some(Duration::from_millis(50)), ..Reply::file(&content(1)) });
    let live = Server::start(|_, _| Reply::file(&content(1)));
    let place = Place::new();
    let thing = input("thing", &content(1), vec![slow.url("/thing"), live.url("/thing")]);
    let start = Instant::now();
    fetch(&place.store, &[&thing], &impatient(), &Silent).unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let range = live.requests()[0].headers.get("range").cloned().unwrap();
    assert!(range.starts_with("bytes="), "what came goes on elsewhere: {range}");
}

#[test]
fn parts_that_do_not_fit_are_not_put_together() {
    let whole = content(1);
    type Wrong = fn(usize, usize, usize) -> Option<String>;
    let ranges: [Wrong; 4] = [
        // From its start, not from where it was asked.
        |_, last, size| Some(format!("bytes 0-{last}/{size}")),
        // Of a longer file.
        |from, last, size| Some(format!("bytes {from}-{last}/{}", size + 1)),
        |_, _, _| Some("nonsense".to_owned()),
        |_, _, _| None,
    ];
    for (case, wrong) in ranges.into_iter().enumerate() {
        let server = Server::start(move |_, request| {
            let whole = content(1);
            match request.headers.get("range") {
                Some(range) => {
                    let from: usize =
                        range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
                    let rest = &content(2)[from..];
                    let reply = Reply { status: 206, ..Reply::file(rest) };
                    match wrong(from, whole.len() - 1, whole.len()) {
                        Some(range) => reply.with("Content-Range", range),
                        None => reply,
                    }
                }
                None if request.path == "/cut" => Reply { cut: Some(90_000), ..Reply::file(&whole) },
                None => Reply::file(&whole),
            }
        });
        let place = Place::new();
        let thing = input("thing", &whole, vec![server.url("/cut"), server.url("/whole")]);
        fetch(&place.store, &[&thing], &FetchOptions::default(), &Silent).unwrap();
        assert_eq!(place.store.read(&thing.digest).unwrap(), whole, "case {case}");
    }
}

#[test]
fn a_part_is_asked_for_only_of_the_file_that_it_is_of() {
    let server = Server::start(|turn, request| {
        let reply = Reply::file(&content(1)).with("ETag", "\"one\"");
        match (turn, request.headers.get("range")) {
            (0, _) => Reply { cut: Some(90_000), ..reply },
            (_, Some(_)) => {
                let size = content(1).len();
                let part = Reply { status: 206, ..Reply::file(&content(1)[90_000..]) };
                part.with("ETag", "\"one\"").with("Content-Range", format!("bytes 90000-{}/{size}", size - 1))
            }
            _ => reply,
        }
    });
    let place = Place::new();
    let thing = input("thing", &content(1), vec![server.url("/thing")]);
    fetch(&place.store, &[&thing], &FetchOptions::default(), &Silent).unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].headers["range"], "bytes=90000-");
    assert_eq!(requests[1].headers["if-range"], "\"one\"");
}

#[test]
fn what_the_disk_can_not_hold_is_not_begun() {
    let server = Server::start(|_, _| Reply::status(404));
    let place = Place::new();
    let huge = |name: &str, fill: u8| Input {
        name: name.to_owned(),
        digest: Digest::from_hex(&format!("{fill:02x}").repeat(32), i64::MAX as u64).unwrap(),
        source: Source::Https { urls: vec![server.url("/huge")], tree: None },
    };
    // Their sum is more than a number of 64 bits holds.
    let (one, two, three) = (huge("one", 1), huge("two", 2), huge("three", 3));
    let error = fetch(&place.store, &[&one, &two, &three], &FetchOptions::default(), &Silent).unwrap_err();
    assert!(error.to_string().contains("MB free"), "{error}");
    assert!(!error.is::<input::Unavailable>(), "nothing is missing but space");
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_store_that_can_not_be_written_to_ends_it_at_once() {
    let server = Server::start(|_, request| Reply::file(request.path.as_bytes()));
    let place = Place::new();
    // A file stands where downloads go.
    let downloads = place.store.root().join("downloads");
    let _ = std::fs::remove_dir_all(&downloads);
    std::fs::write(&downloads, "").unwrap();
    let inputs: Vec<Input> =
        (0..50).map(|number| input(&number.to_string(), &[number], vec![server.url("/x")])).collect();
    let error = fetch(&place.store, &inputs.iter().collect::<Vec<_>>(), &FetchOptions::default(), &Silent)
        .unwrap_err();
    assert!(!error.is::<input::Unavailable>(), "{error:#}");
    assert_eq!(format!("{error:#}").matches("cannot fetch").count(), 1, "{error:#}");
    assert_eq!(server.requests().len(), 0);
}

/// Takes files by PUT, and gives them back.
fn bucket() -> Server {
    let files = Mutex::new(std::collections::BTreeMap::<String, Vec<u8>>::new());
    Server::start(move |_, request| {
        let mut files = files.lock().unwrap();
        match request.method.as_str() {
            "PUT" => {
                files.insert(request.path.clone(), request.body.clone());
                Reply::status(201)
            }
            _ => files.get(&request.path).map_or_else(|| Reply::status(404), |file| Reply::file(file)),
        }
    })
}

#[test]
fn what_is_pushed_is_a_mirror_and_nothing_is_sent_twice() {
    let (place, bucket) = (Place::new(), bucket());
    let (one, two) = (
        input("one", &content(1), vec!["https://gone.invalid/1".into()]),
        input("two", b"two", vec!["https://gone.invalid/2".into()]),
    );
    place.store.put_bytes(&content(1)).unwrap();
    place.store.put_bytes(b"two").unwrap();
    let options = FetchOptions::default();
    let pushed = push(&place.store, &[&one], &bucket.address, &options, &Silent).unwrap();
    assert_eq!((pushed.sent, pushed.there), (1, 0));
    let pushed = push(&place.store, &[&one, &two], &bucket.address, &options, &Silent).unwrap();
    assert_eq!((pushed.sent, pushed.there), (1, 1));
    let other = Place::new();
    fetch(&other.store, &[&one, &two], &mirrors(&[&bucket]), &Silent).unwrap();
    assert_eq!(other.store.read(&one.digest).unwrap(), content(1));
    // The list has what was sent first, too, in the form of a lock.
    let index = bucket.requests().into_iter().rfind(|request| request.method == "PUT").unwrap();
    assert_eq!(index.path, "/index.toml");
    let index = Lock::parse(&String::from_utf8(index.body).unwrap(), "index.toml").unwrap();
    assert_eq!(index.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn a_server_that_takes_nothing_is_named() {
    let (place, server) = (Place::new(), Server::start(|_, _| Reply::status(405)));
    place.store.put_bytes(b"two").unwrap();
    let two = input("two", b"two", vec!["https://gone.invalid/2".into()]);
    let error = push(&place.store, &[&two], &server.address, &FetchOptions::default(), &Silent).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("cannot send `two`") && error.contains("405"), "{error}");
}

#[test]
fn what_has_vanished_is_found_without_fetching_anything() {
    let live = Server::start(|_, request| match (request.method.as_str(), request.path.as_str()) {
        ("HEAD", "/there" | "/mirrored") => Reply::file(b"there"),
        ("HEAD", "/other") => Reply::file(b"another size"),
        _ => Reply::status(404),
    });
    let place = Place::new();
    let inputs = [
        input("gone", b"gone!", vec![live.url("/gone"), live.url("/gone-too")]),
        input("other", b"othe1", vec![live.url("/other")]),
        input("there", b"there", vec![live.url("/gone"), live.url("/there")]),
    ];
    let inputs: Vec<&Input> = inputs.iter().collect();
    let mirrored = format!("/sha256/{}", inputs[0].digest.hex());
    let mirror = Server::start(move |_, request| match request.path == mirrored {
        true => Reply::file(b"gone!"),
        false => Reply::status(404),
    });
    let found = reach(&place.store, &inputs, &mirrors(&[&mirror]), &Silent).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|reach| (reach.name.as_str(), reach.live, reach.mirrored, reach.problems.len()))
        .collect();
    assert_eq!(found, [("gone", false, true, 2), ("other", false, false, 1), ("there", true, false, 0)]);
    assert!(live.requests().iter().all(|request| request.method == "HEAD"));
}
