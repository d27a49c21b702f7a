//! What `attest` writes, read by others' programs. securesystemslib, cryptography and py-minisign come out of the Python package
//! index that pip is configured with; tests/signatures/other_tools.sh asks more programs.

use super::*;
use crate::{example, write};
use signature::SecretKey;
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// `check.py COMMAND FILES…`; exits with 0 where the signature is right.
const CHECK: &str = r#"
import json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
import minisign

def envelope(path, threshold, *keys):
    keys = [SSlibKey.from_crypto(load_pem_public_key(open(key, "rb").read())) for key in keys]
    assert len(Envelope.from_dict(json.load(open(path))).verify(keys, int(threshold))) >= int(threshold)

def checksums(path, signature, key):
    minisign.PublicKey.from_file(key).verify(open(path, "rb").read(), minisign.Signature.from_file(signature))

{"envelope": envelope, "checksums": checksums}[sys.argv[1]](*sys.argv[2:])
"#;

struct Tools {
    place: TempDir,
}

impl Tools {
    fn install() -> Self {
        let place = tempfile::tempdir().unwrap();
        let output = Command::new("python3")
            .args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile", "--target"])
            .arg(place.path().join("packages"))
            .args(["securesystemslib==1.6.0", "cryptography", "py-minisign==0.21.1"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(place.path().join("check.py"), CHECK).unwrap();
        Self { place }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.place.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Whether the check passes, and what it said.
    fn accepts(&self, words: &[&str], files: &[&Path]) -> (bool, String) {
        let output = Command::new("python3")
            .arg("-B")
            .arg(self.place.path().join("check.py"))
            .args(words)
            .args(files)
            .env("PYTHONPATH", self.place.path().join("packages"))
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn securesystemslib_and_minisign_accept_what_is_signed_and_nothing_else() {
    let tools = Tools::install();
    let (directory, store, manifest) = example::release();
    let path = directory.path().join("dist/test");
    write(&store, &manifest, &path).unwrap();
    let keys = [1, 2, 9].map(|seed| SecretKey::from_seed([seed; 32]));
    let [alice, bob, stranger] =
        [0, 1, 2].map(|at| tools.write(&format!("{at}.pub"), &keys[at].public().to_pem()));
    attest(&path, &keys[0], None).unwrap();
    let name = format!("provenance/{}.intoto.jsonl", example::ARCHIVE);
    let one = tools.write("one", &std::fs::read_to_string(path.join(&name)).unwrap());
    attest(&path, &keys[1], None).unwrap();
    let text = std::fs::read_to_string(path.join(&name)).unwrap();
    let both = tools.write("both", &text);
    let envelope: serde_json::Value = serde_json::from_str(&text).unwrap();
    let changed = |name: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let mut envelope = envelope.clone();
        change(&mut envelope);
        tools.write(name, &envelope.to_string())
    };
    let payload = changed("payload", &|it| {
        let text = it["payload"].as_str().unwrap().replacen("ey", "fy", 1);
        it["payload"] = text.into();
    });
    let kind = changed("type", &|it| it["payloadType"] = "application/json".into());
    let signature = changed("signature", &|it| {
        it["signatures"][0]["sig"] = it["signatures"][1]["sig"].clone();
    });
    for (wanted, files) in [
        (true, [&both, &alice, &bob]),
        (false, [&one, &alice, &bob]),
        (false, [&both, &alice, &stranger]),
        (false, [&payload, &alice, &bob]),
        (false, [&kind, &alice, &bob]),
        (false, [&signature, &alice, &bob]),
    ] {
        let [envelope, first, second] = files;
        let (accepted, said) =
            tools.accepts(&["envelope", envelope.to_str().unwrap(), "2"], &[first, second]);
        assert_eq!(accepted, wanted, "{files:?}: {said}");
    }

    let sums = path.join("SHA256SUMS");
    let text = std::fs::read_to_string(path.join(CHECKSUMS_SIGNATURE)).unwrap();
    let right = tools.write("right", &text);
    let untrusted = tools.write("untrusted", &text.replacen("signature by", "signed by", 1));
    let comment = tools.write("comment", &text.replace("release: test", "release: tvm"));
    let other = tools.write("other", "0\n");
    let [alice, stranger] =
        [0, 2].map(|at| tools.write(&format!("{at}.minisign.pub"), &keys[at].public().to_minisign()));
    for (wanted, files) in [
        (true, [&sums, &right, &alice]),
        (true, [&sums, &untrusted, &alice]),
        (false, [&sums, &comment, &alice]),
        (false, [&other, &right, &alice]),
        (false, [&sums, &right, &stranger]),
    ] {
        let (accepted, said) = tools.accepts(&["checksums"], &files.map(PathBuf::as_path));
        assert_eq!(accepted, wanted, "{files:?}: {said}");
    }
}
