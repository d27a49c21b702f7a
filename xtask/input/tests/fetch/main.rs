//! Fetching from real HTTP servers on this machine, good and bad ones. No registry is asked.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

#[path = "../place/mod.rs"]
mod place;
mod server;

use input::{FetchOptions, Input, Source, fetch, vendor};
use place::Place;
use server::{Answer, Server};
use std::{path::PathBuf, time::Duration};
use store::{Digest, Silent};

/// Larger than any buffer on the way, and different everywhere.
fn content() -> Vec<u8> {
    (0..300_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn wanted(urls: Vec<String>) -> Input {
    Input {
        name: "thing".to_owned(),
        digest: Digest::of(&content()),
        source: Source::Https { urls, tree: None },
    }
}

impl Place {
    fn fetch(&self, input: &Input) -> Result<(), String> {
        self.fetch_with(input, &FetchOptions::default())
    }

    fn fetch_with(&self, input: &Input, options: &FetchOptions) -> Result<(), String> {
        fetch(&self.store, &[input], options, &Silent).map_err(|error| format!("{error:#}"))
    }

    /// What was received of a file that is not complete.
    fn part(&self, input: &Input) -> PathBuf {
        self.store.root().join("downloads").join(input.digest.hex())
    }

    fn assert_has_it(&self, input: &Input) {
        assert!(self.store.read(&input.digest).unwrap() == content(), "the store has something else");
        assert!(!self.part(input).exists(), "the part was left behind");
    }

    fn assert_lacks_it(&self, input: &Input) {
        assert!(!self.store.contains(&input.digest), "the store took it");
    }
}

/// What stands in the place of a download is neither followed nor waited for.
#[test]
fn a_part_is_a_regular_file() {
    let (place, server) = (Place::new(), Server::start(vec![Answer::File(content())]));
    let input = wanted(vec![server.url("/thing")]);
    let downloads = place.store.root().join("downloads");
    std::fs::create_dir_all(&downloads).unwrap();
    let outside = downloads.parent().unwrap().join("outside");
    std::fs::write(&outside, "theirs").unwrap();
    let stands_there: [&dyn Fn(); 3] = [
        &|| std::os::unix::fs::symlink(&outside, place.part(&input)).unwrap(),
        &|| assert!(std::process::Command::new("mkfifo").arg(place.part(&input)).status().unwrap().success()),
        &|| std::os::unix::fs::symlink("/dev/zero", place.part(&input)).unwrap(),
    ];
    for make in stands_there {
        make();
        let error = place.fetch(&input).unwrap_err();
        assert!(error.contains("it is not a regular file"), "{error}");
        std::fs::remove_file(place.part(&input)).unwrap();
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"theirs");
    place.fetch(&input).unwrap();
    place.assert_has_it(&input);
}

#[test]
fn a_file_is_fetched_once() {
    let (place, server) = (Place::new(), Server::start(vec![Answer::File(content())]));
    let input = wanted(vec![server.url("/thing")]);
    place.fetch(&input).unwrap();
    place.assert_has_it(&input);
    place.fetch(&input).unwrap();
    assert_eq!(server.ranges(), [None]);
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let script =
        vec![Answer::Cut(content(), 500_000), Answer::Cut(content(), 200_000), Answer::File(content())];
    let (place, server) = (Place::new(), Server::start(script));
    let input = wanted(vec![server.url("/thing")]);
    place.fetch(&input).unwrap();
    place.assert_has_it(&input);
    let expected = [None, Some("bytes=500000-".to_owned()), Some("bytes=700000-".to_owned())];
    assert_eq!(server.ranges(), expected);
}

#[test]
fn another_run_goes_on_where_the_last_one_stopped() {
    let place = Place::new();
    let first = Server::start(vec![Answer::Cut(content(), 400_000), Answer::Status(404)]);
    let input = wanted(vec![first.url("/thing")]);
    place.fetch(&input).unwrap_err();
    assert_eq!(std::fs::metadata(place.part(&input)).unwrap().len(), 400_000);
    let second = Server::start(vec![Answer::File(content())]);
    let input = wanted(vec![second.url("/thing")]);
    place.fetch(&input).unwrap();
    place.assert_has_it(&input);
    assert_eq!(second.ranges(), [Some("bytes=400000-".to_owned())]);
}

#[test]
fn a_part_that_was_damaged_is_fetched_again() {
    let (place, server) = (Place::new(), Server::start(vec![Answer::File(content())]));
    let input = wanted(vec![server.url("/thing")]);
    std::fs::create_dir_all(place.part(&input).parent().unwrap()).unwrap();
    std::fs::write(place.part(&input), vec![0; 1000]).unwrap();
    place.fetch(&input).unwrap();
    place.assert_has_it(&input);
    assert_eq!(server.ranges(), [Some("bytes=1000-".to_owned()), None]);
}

#[test]
fn a_server_without_ranges_gives_the_file_from_its_start() {
    let script = vec![Answer::Cut(content(), 500_000), Answer::Whole(content())];
    let (place, server) = (Place::new(), Server::start(script));
    let input = wanted(vec![server.url("/thing")]);
    place.fetch(&input).unwrap();
    place.assert_has_it(&input);
    assert_eq!(server.ranges(), [None, Some("bytes=500000-".to_owned())]);
}

#[test]
fn wrong_bytes_are_refused_and_not_asked_for_again() {
    let mut wrong = content();
    wrong[700_000] ^= 1;
    let (place, server) = (Place::new(), Server::start(vec![Answer::File(wrong.clone())]));
    let input = wanted(vec![server.url("/thing")]);
    let error = place.fetch(&input).unwrap_err();
    for expected in [
        "cannot fetch `thing`".to_owned(),
        server.url("/thing"),
        input.digest.hex(),
        Digest::of(&wrong).hex(),
        "the lock is wrong, or the server sends something else".to_owned(),
    ] {
        assert!(error.contains(&expected), "{expected}: {error}");
    }
    place.assert_lacks_it(&input);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn the_next_address_is_asked_when_one_lacks_the_file() {
    let (place, first, second) = (
        Place::new(),
        Server::start(vec![Answer::Status(404)]),
        Server::start(vec![Answer::File(content())]),
    );
    let input = wanted(vec![first.url("/old/thing"), second.url("/thing")]);
    place.fetch(&input).unwrap();
    place.assert_has_it(&input);
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
}

#[test]
fn all_addresses_are_named_when_none_has_it() {
    let (place, first, second) =
        (Place::new(), Server::start(vec![Answer::Status(404)]), Server::start(vec![Answer::Status(403)]));
    let secret = second.url("/b").replace("http://", "http://user:secret@");
    let error = place.fetch(&wanted(vec![first.url("/a"), secret])).unwrap_err();
    for expected in [
        format!("{}: the server answered 404", first.url("/a")),
        format!("{}: the server answered 403", second.url("/b")),
    ] {
        assert!(error.contains(&expected), "{expected}: {error}");
    }
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn a_busy_server_is_asked_again() {
    let script = vec![Answer::Status(503), Answer::Status(429), Answer::File(content())];
    let (place, server) = (Place::new(), Server::start(script));
    let input = wanted(vec![server.url("/thing")]);
    place.fetch(&input).unwrap();
    place.assert_has_it(&input);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_redirection_is_followed_and_an_endless_one_is_not() {
    let (place, files) = (Place::new(), Server::start(vec![Answer::File(content())]));
    // What a hub says beside it changes nothing: the lock counts.
    let said = Answer::Linked(files.url("/moved"), "0".repeat(64), 1);
    let moved = Server::start(vec![said]);
    let input = wanted(vec![moved.url("/thing")]);
    place.fetch(&input).unwrap();
    place.assert_has_it(&input);
    assert_eq!(files.requests()[0].path, "/moved");

    let place = Place::new();
    let circle = Server::start(vec![Answer::Redirect("/again".to_owned())]);
    let error = place.fetch(&wanted(vec![circle.url("/thing")])).unwrap_err();
    assert!(error.contains("redirect"), "{error}");
    assert!(circle.requests().len() < 20, "it was tried again");
}

#[test]
fn more_than_the_lock_says_is_refused() {
    let mut more = content();
    more.extend_from_slice(&[7; 4_000_000]);
    for answer in [Answer::Whole(more.clone()), Answer::Unannounced(more)] {
        let (place, server) = (Place::new(), Server::start(vec![answer]));
        let input = wanted(vec![server.url("/thing")]);
        let error = place.fetch(&input).unwrap_err();
        assert!(error.contains("the server sends more than the 1200000 bytes of the lock"), "{error}");
        place.assert_lacks_it(&input);
        assert_eq!(server.requests().len(), 1);
        assert_eq!(std::fs::metadata(place.part(&input)).unwrap().len(), 0, "its bytes are kept");
    }
}

#[test]
fn a_hung_server_is_left_for_the_next_address() {
    let (place, hung, good) = (
        Place::new(),
        Server::start(vec![Answer::Silence(Duration::from_secs(600))]),
        Server::start(vec![Answer::File(content())]),
    );
    let input = wanted(vec![hung.url("/thing"), good.url("/thing")]);
    let options = FetchOptions { patience: Duration::from_millis(300), ..FetchOptions::default() };
    place.fetch_with(&input, &options).unwrap();
    place.assert_has_it(&input);

    let place = Place::new();
    let error = place.fetch_with(&wanted(vec![hung.url("/thing")]), &options).unwrap_err();
    assert!(error.contains("timeout"), "{error}");
}

#[test]
fn fetches_at_the_same_time_do_not_disturb_each_other() {
    let (place, server) = (Place::new(), Server::start(vec![Answer::File(content())]));
    let input = wanted(vec![server.url("/thing")]);
    std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..8).map(|_| scope.spawn(|| place.fetch(&input))).collect();
        for fetch in fetches {
            fetch.join().unwrap().unwrap();
        }
    });
    place.assert_has_it(&input);
    assert_eq!(server.ranges(), [None]);
}

#[test]
fn every_problem_of_several_inputs_is_told() {
    let (place, server) = (Place::new(), Server::start(vec![Answer::Status(404)]));
    let inputs: Vec<Input> = ["first", "second"]
        .map(|name| Input {
            name: name.to_owned(),
            digest: Digest::of(name.as_bytes()),
            source: Source::Https { urls: vec![server.url(&format!("/{name}"))], tree: None },
        })
        .into();
    let inputs: Vec<&Input> = inputs.iter().collect();
    let error = fetch(&place.store, &inputs, &FetchOptions::default(), &Silent).unwrap_err().to_string();
    assert!(error.contains("`first`") && error.contains("`second`"), "{error}");
}

#[test]
fn offline_asks_nobody_and_takes_what_is_vendored() {
    let (place, server) = (Place::new(), Server::start(vec![Answer::File(content())]));
    let input = wanted(vec![server.url("/thing")]);
    let offline = FetchOptions { offline: true, ..FetchOptions::default() };
    let error = place.fetch_with(&input, &offline).unwrap_err();
    assert!(error.contains("nothing may be downloaded"), "{error}");
    assert_eq!(server.requests(), []);

    place.fetch(&input).unwrap();
    let vendored = place.directory.path().join("vendored");
    vendor(&place.store, &[&input], &vendored, &Silent).unwrap();
    let other = Place::new();
    let offline = FetchOptions { vendored: Some(vendored.clone()), ..offline };
    other.fetch_with(&input, &offline).unwrap();
    other.assert_has_it(&input);
    assert_eq!(server.requests().len(), 1);
}
