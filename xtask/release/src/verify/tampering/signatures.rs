//! Rows on signatures and policies, and random changes of both.

use super::{Case, Random, Release, case, text};
use crate::{Trust, attest, provenance::companions};
use signature::{Envelope, Minisignature, PublicKey, SecretKey};
use std::collections::BTreeSet;

/// The seeds of the keys of two builders.
pub const BUILDERS: [u8; 2] = [1, 2];

/// The seed of a key that no policy names.
const STRANGER: u8 = 9;

/// The envelope of the whole release.
pub const RELEASE: &str = "provenance/release.intoto.jsonl";

/// The envelope of the archive for Windows.
pub const WINDOWS: &str = "provenance/hello-1.0-x86_64-pc-windows-msvc.zip.intoto.jsonl";

const LINUX: &str = "provenance/hello-1.0-x86_64-unknown-linux-gnu.tar.gz.intoto.jsonl";

const CHECKSUMS: &str = "SHA256SUMS.minisig";

/// What a policy says beside its keys and roles.
pub const TWO_OF_TWO: &str = r#"
[release]
role = "builders"
threshold = 2
[[artifact]]
match = ["hello-*"]
role = "builders"
threshold = 2
[checksums]
role = "builders"
"#;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

/// The text of a policy with the two builders, the key of an importer, and these rules.
pub fn policy_text(rules: &str) -> String {
    let [alice, bob, carol] = [1, 2, 3].map(|seed| {
        let text = key(seed).public().to_minisign();
        text.lines().nth(1).unwrap().to_owned()
    });
    format!(
        "version = 1\n[keys]\nalice = {{ public = \"{alice}\" }}\nbob = {{ public = \"{bob}\" }}\ncarol = {{ public = \"{carol}\" }}\n\
         [roles]\nbuilders = [\"alice\", \"bob\"]\nimporters = [\"carol\"]\n{rules}"
    )
}

/// The policy itself.
pub fn policy(rules: &str) -> Trust {
    Trust::parse(&policy_text(rules), &|path| anyhow::bail!("no file {path}")).unwrap()
}

impl Release {
    /// Adds a builder's signatures.
    pub fn attest(&mut self, seed: u8) {
        attest(&self.path, &key(seed), None).unwrap();
    }

    /// Writes a file of the release.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path.join(name), text).unwrap();
    }

    /// Writes a copy of a file.
    pub fn copy_file(&self, from: &str, to: &str) {
        std::fs::write(self.path.join(to), self.read(from)).unwrap();
    }

    /// Changes an envelope.
    fn edit(&self, name: &str, change: impl FnOnce(String) -> String) {
        self.write(name, &change(String::from_utf8(self.read(name)).unwrap()));
    }

    /// Signs an envelope anew by these keys alone.
    fn sign_by(&self, name: &str, seeds: &[u8]) {
        let envelope = Envelope::parse(&String::from_utf8(self.read(name)).unwrap()).unwrap();
        let mut new = Envelope::new(envelope.payload());
        seeds.iter().for_each(|seed| new.sign(&key(*seed)));
        self.write(name, &new.to_text());
    }
}

/// The first signature of an envelope, as it stands in its text.
fn first_signature(text: &str) -> (String, String) {
    let at = text.find("\"sig\":\"").unwrap() + 7;
    let sig = text[at..at + 88].to_owned();
    let at = text.find("\"keyid\":\"").unwrap() + 9;
    (text[at..at + 64].to_owned(), sig)
}

/// Rows that are found without knowing any key.
pub fn cases() -> Vec<Case> {
    vec![
        case(
            "an envelope of nothing in the release",
            "more.intoto.jsonl: is not in the manifest",
            |release| {
                release.copy_file(RELEASE, "provenance/more.intoto.jsonl");
            },
        ),
        case("a file that is not a signature", "provenance/README: is not in the manifest", |release| {
            release.write("provenance/README", "trust us\n");
        }),
        case(
            "a public key among the signatures",
            "provenance/alice.pub: is not in the manifest",
            |release| {
                release.write("provenance/alice.pub", &key(1).public().to_pem());
            },
        ),
        case(
            "a directory among the signatures",
            "is a directory that the manifest does not name",
            |release| {
                std::fs::create_dir(release.path.join("provenance/more")).unwrap();
            },
        ),
        case(
            "an empty `provenance`",
            "provenance: is a directory that the manifest does not name",
            |release| {
                std::fs::remove_dir_all(release.path.join("provenance")).unwrap();
                std::fs::create_dir(release.path.join("provenance")).unwrap();
            },
        ),
        case("an envelope is a link", "release.intoto.jsonl: is not a regular file", |release| {
            std::fs::remove_file(release.path.join(RELEASE)).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", release.path.join(RELEASE)).unwrap();
        }),
        case("two envelopes in a file", "it is not one DSSE envelope", |release| {
            release.edit(RELEASE, |text| format!("{text}{text}"));
        }),
        case("an envelope that is cut off", "it is not one DSSE envelope", |release| {
            release.edit(RELEASE, |text| text[..text.len() / 2].to_owned());
        }),
        case("a field more in an envelope", "unknown field", |release| {
            release.edit(RELEASE, |text| text.replacen('{', "{\"note\":1,", 1));
        }),
        case("a field twice in an envelope", "duplicate field `payload`", |release| {
            release.edit(RELEASE, |text| text.replacen('{', "{\"payload\":\"e30=\",", 1));
        }),
        case("an envelope in another writing", "it is not written canonically", |release| {
            release.edit(RELEASE, |text| text.replacen(":", ": ", 1));
        }),
        case("signatures in another order", "it is not written canonically", |release| {
            release.edit(RELEASE, |text| {
                let at = text.find("[{").unwrap();
                let signatures: Vec<_> =
                    text[at + 1..text.len() - 3].split("},").map(|it| it.trim_end_matches('}')).collect();
                format!("{}[{}}},{}}}]}}\n", &text[..at], signatures[1], signatures[0])
            });
        }),
        case("an envelope without a signature", "it has no signature", |release| {
            release.edit(RELEASE, |text| text[..text.find("[{").unwrap()].to_owned() + "[]}\n");
        }),
        case("one signature twice in an envelope", "it has one signature twice", |release| {
            release.edit(RELEASE, |text| {
                let (keyid, sig) = first_signature(&text);
                text.replacen("[{", &format!("[{{\"keyid\":\"{keyid}\",\"sig\":\"{sig}\"}},{{"), 1)
            });
        }),
        case("two signatures by one name", "two signatures in it are said to be of one key", |release| {
            release.edit(RELEASE, |text| {
                let text = text.replace(&key(2).public().key_id(), &key(1).public().key_id());
                Envelope::parse(&text).unwrap().to_text()
            });
        }),
        case("a payload of another type", "its payload has the type `application/json`", |release| {
            release.edit(RELEASE, |text| text.replace("application/vnd.in-toto+json", "application/json"));
        }),
        case(
            "the envelope of another archive",
            "its statement is not the one that release.json gives",
            |release| {
                release.copy_file(LINUX, WINDOWS);
            },
        ),
        case("a statement with one bit changed", "its statement is not the one", |release| {
            release.edit(WINDOWS, |text| text.replacen("\"payload\":\"ey", "\"payload\":\"fy", 1));
        }),
        case("a statement about another file, signed", "its statement is not the one", |release| {
            let text = String::from_utf8(release.read(WINDOWS)).unwrap();
            let payload = Envelope::parse(&text).unwrap().payload().to_vec();
            let other = String::from_utf8(payload).unwrap().replacen("hello-1.0", "hello-2.0", 1);
            let mut envelope = Envelope::new(other.as_bytes());
            envelope.sign(&key(1));
            release.write(WINDOWS, &envelope.to_text());
        }),
        case("the signatures are of an older state", "its statement is not the one", |release| {
            release.forge(|manifest| manifest.artifacts[0].license = "0BSD".into());
        }),
        case("checksums signed by no minisign", "SHA256SUMS.minisig: is not a signature", |release| {
            release.write(CHECKSUMS, "trust us\n");
        }),
        case("checksums signed without being hashed", "it is of an old kind", |release| {
            release.edit(CHECKSUMS, |text| text.replacen("\nRU", "\nRW", 1));
        }),
        case(
            "checksums signed as those of another release",
            "its comment is of another release",
            |release| {
                let content = release.read("SHA256SUMS");
                let comment = format!("release: test\trelease.json: sha256:{}", "0".repeat(64));
                let signature = Minisignature::sign(&key(1), &content, &comment).unwrap();
                release.write(CHECKSUMS, &signature.to_text("x"));
            },
        ),
        case("the checksums' signature is a link", "SHA256SUMS.minisig: is not a regular file", |release| {
            std::fs::rename(release.path.join(CHECKSUMS), release.path.with_file_name("away")).unwrap();
            std::os::unix::fs::symlink("../away", release.path.join(CHECKSUMS)).unwrap();
        }),
    ]
}

/// Rows that a policy finds.
pub fn with_policy() -> Vec<Case> {
    vec![
        case(
            "no signature at all",
            "policy: the release needs 2 keys of `builders`, and is signed by nobody",
            |release| {
                std::fs::remove_dir_all(release.path.join("provenance")).unwrap();
            },
        ),
        case(
            "an artifact's envelope is gone",
            "`hello-1.0-x86_64-pc-windows-msvc` needs 2 keys",
            |release| {
                std::fs::remove_file(release.path.join(WINDOWS)).unwrap();
            },
        ),
        case("one of two builders signed", "and is signed by alice", |release| {
            release.sign_by(WINDOWS, &[1])
        }),
        case("a stranger signed in the place of one", "and is signed by bob", |release| {
            release.sign_by(WINDOWS, &[2, STRANGER]);
        }),
        case("a key of another role signed in the place of one", "and is signed by alice", |release| {
            release.sign_by(WINDOWS, &[1, 3]);
        }),
        case("strangers alone", "and is signed by nobody", |release| {
            release.sign_by(RELEASE, &[STRANGER, STRANGER + 1, STRANGER + 2]);
        }),
        case("one key under two names", "and is signed by alice", |release| {
            release.sign_by(WINDOWS, &[1]);
            release.edit(WINDOWS, |text| {
                let (_, sig) = first_signature(&text);
                let bob = key(2).public().key_id();
                let text = text.replacen("[{", &format!("[{{\"keyid\":\"{bob}\",\"sig\":\"{sig}\"}},{{"), 1);
                Envelope::parse(&text).unwrap().to_text()
            });
        }),
        case("a stranger under a builder's name", "and is signed by alice", |release| {
            release.sign_by(WINDOWS, &[1, STRANGER]);
            release.edit(WINDOWS, |text| {
                let text = text.replace(&key(STRANGER).public().key_id(), &key(2).public().key_id());
                Envelope::parse(&text).unwrap().to_text()
            });
        }),
        case("a signature with one bit changed", "needs 2 keys of `builders`", |release| {
            release.edit(WINDOWS, |text| {
                let (_, sig) = first_signature(&text);
                let other = if sig.starts_with('A') { "B" } else { "A" };
                Envelope::parse(&text.replace(&sig, &format!("{other}{}", &sig[1..]))).unwrap().to_text()
            });
        }),
        case("the signatures of the other archive", "needs 2 keys of `builders`", |release| {
            let other = Envelope::parse(&String::from_utf8(release.read(LINUX)).unwrap()).unwrap().to_text();
            release.edit(WINDOWS, |text| {
                text[..text.find("\"payloadType\"").unwrap()].to_owned()
                    + &other[other.find("\"payloadType\"").unwrap()..]
            });
        }),
        case("the checksums' signature is gone", "`SHA256SUMS` needs a key of `builders`", |release| {
            std::fs::remove_file(release.path.join(CHECKSUMS)).unwrap();
        }),
        case("a stranger signed the checksums", "`SHA256SUMS` needs a key of `builders`", |release| {
            let content = release.read("SHA256SUMS");
            let signature = Minisignature::sign(&key(STRANGER), &content, "release").unwrap();
            release.write(CHECKSUMS, &signature.to_text("x"));
        }),
        case("the signed comment is another", "`SHA256SUMS` needs a key of `builders`", |release| {
            release.edit(CHECKSUMS, |text| text.replace("release: test", "release: tvm"));
        }),
        case("a sysroot that the policy does not accept", "which the policy does not accept", |release| {
            release.policy = Some(policy(&format!("{TWO_OF_TWO}[accept]\nsysroots = [\"microsoft\"]\n")));
        }),
        case(
            "an artifact that the policy does not know",
            "is matched by no [[artifact]] of the policy",
            |release| {
                release.policy = Some(policy("[release]\nunsigned = true\n"));
            },
        ),
        case(
            "imported, and the policy says nothing of it",
            "is matched by no [[imported]] of the policy",
            |release| {
                release.forge(|it| it.artifacts[0].step.imported = Some("factory".into()));
                resign(release, &BUILDERS);
            },
        ),
        case(
            "imported, and nobody vouches for it",
            "needs 1 keys of `importers` that vouch for it",
            |release| {
                release.forge(|it| it.artifacts[0].step.imported = Some("factory".into()));
                resign(release, &BUILDERS);
                let rules = format!("{TWO_OF_TWO}[[imported]]\nfrom = \"fact*\"\nrole = \"importers\"\n");
                release.policy = Some(policy(&rules));
            },
        ),
    ]
}

/// Signs a release that was changed, as if it had been built so.
fn resign(release: &mut Release, seeds: &[u8]) {
    std::fs::remove_dir_all(release.path.join("provenance")).unwrap();
    std::fs::remove_file(release.path.join(CHECKSUMS)).unwrap();
    seeds.iter().for_each(|seed| release.attest(*seed));
}

#[test]
fn what_is_imported_passes_when_somebody_vouches_for_it() {
    let mut release = Release::new("signed");
    release.forge(|it| it.artifacts[0].step.imported = Some("factory".into()));
    resign(&mut release, &[1, 2, 3]);
    let rules = format!("{TWO_OF_TWO}[[imported]]\nfrom = \"factory\"\nrole = \"importers\"\n");
    release.policy = Some(policy(&rules));
    assert_eq!(text(&release.problems(false)), "");
}

#[test]
fn what_may_be_unsigned_or_unpinned_passes() {
    let mut release = Release::new("test");
    release.policy =
        Some(policy("[release]\nunsigned = true\n[[artifact]]\nmatch = [\"*\"]\nunsigned = true\n"));
    assert_eq!(text(&release.problems(false)), "");
    release.forge(|it| {
        it.inputs.get_mut("hello-source").unwrap().source =
            input::Source::Path { path: "hello".into(), directory: false };
    });
    assert!(text(&release.problems(false)).contains("is unpinned"));
    let rules = "[release]\nunsigned = true\n[[artifact]]\nmatch = [\"*\"]\nunsigned = true\n[accept]\nunpinned-inputs = [\"hello-source\"]\n";
    release.policy = Some(policy(rules));
    assert_eq!(text(&release.problems(false)), "");
}

/// Whatever is changed in a file of signatures, two of two builders do not pass, or nothing was changed that is signed.
#[test]
fn random_changes_of_signatures_are_found() {
    let mut random = Random(17);
    let release = Release::new("signed");
    for name in [WINDOWS, RELEASE, CHECKSUMS] {
        let whole = release.read(name);
        for round in 0..60 {
            let mut bytes = whole.clone();
            random.mutate(&mut bytes);
            // minisign's first line is not signed by anybody.
            let first_line = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
            let is_same = match name {
                CHECKSUMS => bytes.get(first_line(&bytes)..) == whole.get(first_line(&whole)..),
                _ => bytes == whole,
            };
            std::fs::write(release.path.join(name), &bytes).unwrap();
            let found = text(&release.problems(false));
            assert!(
                is_same || !found.is_empty() || is_key_name(name, &bytes, &whole),
                "{name}, round {round}"
            );
        }
        std::fs::write(release.path.join(name), &whole).unwrap();
    }
}

/// Names of keys are hints, which nobody signs: whether nothing but these is another.
fn is_key_name(name: &str, bytes: &[u8], whole: &[u8]) -> bool {
    let parsed = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if name == CHECKSUMS {
            let signature = Minisignature::parse(&text).unwrap();
            let [key, other] = BUILDERS.map(|seed| key(seed).public());
            let content = Release::new("test").read("SHA256SUMS");
            return format!(
                "{} {}",
                signature.comment(),
                signature.verifies(&key, &content) || signature.verifies(&other, &content)
            );
        }
        let envelope = Envelope::parse(&text).unwrap();
        let keys: BTreeSet<PublicKey> = BUILDERS.iter().map(|seed| key(*seed).public()).collect();
        format!("{:?} {:?}", envelope.payload(), envelope.signers(&keys))
    };
    parsed(bytes) == parsed(whole)
}

/// No change of a policy that wants signatures accepts a release without any, or one that a stranger signed.
#[test]
fn random_changes_of_policies_accept_nothing() {
    let mut random = Random(19);
    let whole = policy_text(&TWO_OF_TWO.replace("[checksums]\nrole = \"builders\"\n", ""));
    let stranger = {
        let mut release = Release::new("test");
        release.attest(STRANGER);
        release
    };
    let json = std::fs::read_to_string(stranger.path.join("release.json")).unwrap();
    let beside = companions(&stranger.manifest, &json).unwrap();
    let mut evidence = crate::trust::Evidence::default();
    for (path, companion) in beside {
        if let crate::provenance::Companion::Envelope { about, .. } = companion {
            let text = String::from_utf8(stranger.read(&path)).unwrap();
            evidence.envelopes.insert(about, Envelope::parse(&text).unwrap());
        }
    }
    let mut read = 0;
    for round in 0..2000 {
        let mut bytes = whole.clone().into_bytes();
        random.mutate(&mut bytes);
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let Ok(trust) = Trust::parse(&text, &|path| anyhow::bail!("no file {path}")) else { continue };
        read += 1;
        let mut problems = super::super::Problems::default();
        crate::trust::check(&stranger.manifest, &trust, &evidence, &mut problems);
        assert!(!problems.0.is_empty(), "round {round} accepts a stranger: {text}");
    }
    assert!(read > 0, "no changed policy was read");
}
