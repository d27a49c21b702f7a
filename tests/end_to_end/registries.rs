//! Locking and fetching from the package registries that this machine is configured for: its Python index, its crate
//! registry, its npm registry and its Debian archive. A few small files each.

use crate::project::{Project, text};
use std::process::Command;

const INTENT: &str = r#"
[[input]]
name = "itoa"
kind = "crate"
package = "itoa"
version = "1.0.15"

[[input]]
name = "crates"
kind = "cargo"
lock = "Cargo.lock"

[[input]]
name = "is-number"
kind = "npm"
package = "is-number"
version = "7.0.0"

[[input]]
name = "six"
kind = "pypi"
package = "six"
version = "1.16.0"
file = "six-1.16.0-py2.py3-none-any.whl"

[[input]]
name = "hello"
kind = "debian-source"
suite = "trixie"
package = "hello"
suffix = ".orig.tar.gz"
"#;

/// Two versions of a crate, as a lock of cargo's has them.
const CARGO_LOCK: &str = r#"
version = 4

[[package]]
name = "itoa"
version = "0.4.8"
source = "registry+https://example.invalid/index"
checksum = "b71991ff56294aa922b450139ee08b3bfc70982c6b2c7562771375cf73542dd4"

[[package]]
name = "itoa"
version = "1.0.15"
source = "registry+https://example.invalid/index"
checksum = "4a5f13b858c8d314ee3e8f639011f7ccefe71f97f96e50151fb991f267928e2c"
"#;

/// What does not change while the suite does: the content of released files.
const DIGESTS: [(&str, &str); 4] = [
    ("crates", "4d27b9f34d2010a6020e49201c1496e79968f0104742ccb715af546b88c42a1e"),
    ("six", "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254"),
    ("itoa", "4a5f13b858c8d314ee3e8f639011f7ccefe71f97f96e50151fb991f267928e2c"),
    ("is-number", "7b75c1057198cf97696909a9bee176c9c5e9bcb5b03bf3ecef2f484defadd51e"),
];

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

#[test]
fn every_registry_is_locked_fetched_vendored_and_read_offline() {
    let project = Project::new();
    project.write("recipes/inputs.toml", INTENT);
    project.write("recipes/Cargo.lock", CARGO_LOCK);
    let stores: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let run =
        |store: usize, arguments: &[&str]| succeed(&mut project.command(stores[store].path(), arguments));

    let unlocked = project.command(stores[0].path(), &["lock", "check"]).output().unwrap();
    assert_eq!(unlocked.status.code(), Some(1), "{}", text(&unlocked));
    run(0, &["lock", "update", "inputs"]);
    let path = project.directory.path().join("recipes/inputs.lock");
    let locked = std::fs::read_to_string(&path).unwrap();
    let table: toml::Table = locked.parse().unwrap();
    for (name, digest) in DIGESTS {
        let input =
            table["input"].as_array().unwrap().iter().find(|input| input["name"].as_str() == Some(name));
        assert_eq!(input.unwrap()["sha256"].as_str(), Some(digest), "{name}");
    }
    assert!(locked.contains("\"itoa 0.4.8 b71991ff"), "{locked}");
    assert!(!locked.contains("://"), "an address of a registry is in the lock:\n{locked}");
    run(0, &["lock", "check", "--offline"]);
    run(0, &["lock", "update", "inputs"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), locked, "locking again changes nothing");

    run(1, &["fetch", "itoa", "crates", "is-number", "six", "hello"]);
    let vendored = project.directory.path().join("vendored");
    run(1, &["vendor", vendored.to_str().unwrap()]);
    run(
        2,
        &[
            "fetch",
            "--offline",
            "--vendored",
            vendored.to_str().unwrap(),
            "itoa",
            "crates",
            "is-number",
            "six",
            "hello",
        ],
    );
}
