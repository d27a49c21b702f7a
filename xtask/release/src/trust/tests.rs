use super::*;
use signature::SecretKey;

fn public(seed: u8) -> String {
    SecretKey::from_seed([seed; 32]).public().to_pem()
}

fn parse(text: &str) -> Result<Trust> {
    Trust::parse(text, &|path| match path {
        "alice.pub" => Ok(public(1)),
        "bob.pub" => Ok(public(2)),
        other => bail!("there is no {other}"),
    })
}

const WHOLE: &str = r#"
version = 1
[keys]
alice = { file = "alice.pub" }
bob = { file = "bob.pub" }
[roles]
builders = ["alice", "bob"]
[release]
role = "builders"
threshold = 2
[[artifact]]
match = ["tvm-ffi-*"]
role = "builders"
[[artifact]]
match = ["*"]
unsigned = true
[checksums]
role = "builders"
[accept]
sysroots = ["open-msvc"]
unpinned-inputs = ["android-ndk"]
"#;

#[test]
fn a_policy_says_what_each_thing_needs() {
    let trust = parse(WHOLE).unwrap();
    assert_eq!(trust.release, Need::Signed { role: "builders".into(), threshold: 2 });
    assert_eq!(
        trust.need_of("tvm-ffi-0.1-linux"),
        Some(&Need::Signed { role: "builders".into(), threshold: 1 })
    );
    assert_eq!(trust.need_of("other"), Some(&Need::Unsigned), "the first rule that matches counts");
    assert!(trust.accepts_unpinned("android-ndk") && !trust.accepts_unpinned("other"));
}

#[test]
fn what_would_accept_too_much_or_never_anything_is_refused() {
    for (from, to, expected) in [
        ("version = 1", "version = 2", "it is not of version 1"),
        ("version = 1", "", "it is not of version 1"),
        ("threshold = 2", "threshold = 0", "would accept anything"),
        ("threshold = 2", "threshold = 3", "wants 3 of the 2 keys"),
        ("threshold = 2", "threshold = -1", "invalid value"),
        ("bob.pub", "alice.pub", "the keys `alice` and `bob` are one key"),
        ("bob.pub", "carol.pub", "there is no carol.pub"),
        ("[\"alice\", \"bob\"]", "[\"alice\", \"alice\"]", "names the key `alice` twice"),
        ("[\"alice\", \"bob\"]", "[\"alice\", \"carol\"]", "names the key `carol`, which [keys] lacks"),
        ("role = \"builders\"\nthreshold = 2", "role = \"others\"", "there is no role `others`"),
        ("role = \"builders\"\nthreshold = 2", "", "release: needs a `role`, or `unsigned = true`"),
        ("threshold = 2", "unsigned = true", "has a `role` and may be unsigned"),
        ("unsigned = true", "unsigned = true\nthreshold = 1", "what may be unsigned has no `threshold`"),
        ("match = [\"*\"]", "match = []", "an empty `match`"),
        ("[release]\nrole = \"builders\"\nthreshold = 2\n", "", "missing field `release`"),
        ("{ file = \"bob.pub\" }", "{}", "needs either `file` or `public`"),
        ("{ file = \"bob.pub\" }", "{ public = \"RWQ\" }", "neither a key in PEM nor one of minisign"),
        ("[accept]", "[acept]", "unknown field `acept`"),
    ] {
        assert!(WHOLE.contains(from), "{from}");
        let error = format!("{:#}", parse(&WHOLE.replace(from, to)).unwrap_err());
        assert!(error.contains(expected), "{from} to {to}: {error}");
    }
}

#[test]
fn patterns_are_of_whole_names() {
    for (pattern, name, expected) in [
        ("tvm-ffi", "tvm-ffi", true),
        ("tvm-ffi", "tvm-ffi-2", false),
        ("tvm-*", "tvm-", true),
        ("tvm-*", "a-tvm-1", false),
        ("*-linux", "tvm-linux", true),
        ("*-linux", "tvm-linux-gnu", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("a*a", "a", false),
        ("*", "", true),
        ("", "a", false),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn keys_are_read_beside_the_policy() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("policy.toml", WHOLE), ("alice.pub", &public(1)), ("bob.pub", &public(2))] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let trust = Trust::load(&directory.path().join("policy.toml")).unwrap();
    assert_eq!(trust.sha256, Digest::of(WHOLE.as_bytes()).hex());
    std::fs::remove_file(directory.path().join("bob.pub")).unwrap();
    let error = format!("{:#}", Trust::load(&directory.path().join("policy.toml")).unwrap_err());
    assert!(error.contains("key `bob`"), "{error}");
}
