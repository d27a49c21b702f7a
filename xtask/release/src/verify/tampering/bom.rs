//! Rows on the bill of materials: it is another one, and manifest and checksums fit it.

use super::{Case, Release, case};
use crate::BOM;
use serde_json::{Value, json};
use store::Digest;

/// Changes the bill as a forger would: canonical, and with a manifest and checksums that fit.
fn forge(release: &mut Release, change: impl FnOnce(&mut Value)) {
    let mut bom: Value = serde_json::from_slice(&release.read(BOM)).unwrap();
    change(&mut bom);
    text(release, |_| serde_json::to_string_pretty(&bom).unwrap() + "\n");
}

fn text(release: &mut Release, change: impl FnOnce(String) -> String) {
    let before = String::from_utf8(release.read(BOM)).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after, "the tampering does nothing");
    std::fs::write(release.path.join(BOM), &after).unwrap();
    release.manifest.bom = Some(crate::File::new(BOM, &Digest::of(after.as_bytes())));
    release.write_json(&release.manifest.to_json().unwrap());
}

/// The formula of the environment `linux`.
fn linux(bom: &mut Value) -> &mut Value {
    let formulas = bom["formulation"].as_array_mut().unwrap();
    formulas.iter_mut().find(|it| it["bom-ref"] == "environment:linux").unwrap()
}

/// Found without a checkout.
pub fn cases() -> Vec<Case> {
    vec![
        case("a license is another", "/components/0/licenses/0/expression", |release| {
            forge(release, |bom| bom["components"][0]["licenses"][0]["expression"] = "0BSD".into());
        }),
        case("a version is another", "/components/0/version", |release| {
            forge(release, |bom| bom["components"][0]["version"] = "2.0".into());
        }),
        case("an artifact's digest is another", "/components/1/hashes/0/content", |release| {
            forge(release, |bom| bom["components"][1]["hashes"][0]["content"] = "0".repeat(64).into());
        }),
        case("a source's digest is another", "/components/2/hashes/0/content", |release| {
            forge(release, |bom| bom["components"][2]["hashes"][0]["content"] = "0".repeat(64).into());
        }),
        case("a source's package URL is another", "/components/2/purl", |release| {
            forge(release, |bom| bom["components"][2]["purl"] = "pkg:cargo/goodbye@1.0".into());
        }),
        case("an artifact is left out", "is not the bill of materials of this release", |release| {
            forge(release, |bom| _ = bom["components"].as_array_mut().unwrap().remove(0));
        }),
        case("a component more", "/components/3", |release| {
            forge(release, |bom| {
                let more = json!({ "type": "library", "name": "more" });
                bom["components"].as_array_mut().unwrap().push(more);
            });
        }),
        case("a file of an artifact is left out", "/components/0/components", |release| {
            forge(release, |bom| _ = bom["components"][0]["components"].as_array_mut().unwrap().pop());
        }),
        case("a bom-ref stands there twice", "has the bom-ref `input:hello-source` twice", |release| {
            forge(release, |bom| bom["components"][0]["bom-ref"] = "input:hello-source".into());
        }),
        case("a dependency on nothing", "refers to `artifact:gone`, which is not in it", |release| {
            forge(release, |bom| bom["dependencies"][0]["dependsOn"] = json!(["artifact:gone"]));
        }),
        case("no dependencies", "/dependencies", |release| {
            forge(release, |bom| _ = bom.as_object_mut().unwrap().remove("dependencies"));
        }),
        case("it is said to be incomplete", "/compositions/0/aggregate", |release| {
            forge(release, |bom| bom["compositions"][0]["aggregate"] = "incomplete".into());
        }),
        case("a time stands in it", "/metadata/timestamp", |release| {
            forge(release, |bom| bom["metadata"]["timestamp"] = "2026-01-01T00:00:00Z".into());
        }),
        case("another serial number", "another serial number", |release| {
            forge(release, |bom| {
                bom["serialNumber"] = "urn:uuid:00000000-0000-4000-8000-000000000000".into();
            });
        }),
        case("a step's action is another", "/formulation/", |release| {
            forge(release, |bom| linux(bom)["workflows"][0]["uid"] = "0".repeat(64).into());
        }),
        case("another version of CycloneDX", "/specVersion", |release| {
            forge(release, |bom| bom["specVersion"] = "1.5".into());
        }),
        case("other spacing", "bom.cdx.json: is not written canonically", |release| {
            text(release, |text| text.replace("  ", " "));
        }),
        case("a key twice", "bom.cdx.json: is not written canonically", |release| {
            text(release, |text| text.replacen("{\n", "{\n  \"version\": 1,\n", 1));
        }),
        case("it is not JSON", "bom.cdx.json: is not a bill of materials", |release| {
            text(release, |_| "BOM".into())
        }),
        case(
            "a package of an environment with more to say",
            "packages of `linux` that are not written as such",
            |release| {
                forge(release, |bom| {
                    linux(bom)["components"][0]["externalReferences"] =
                        json!([{ "type": "website", "url": "https://evil.invalid" }]);
                    let serial = crate::bom::serial_of(bom);
                    bom["serialNumber"] = serial.into();
                });
            },
        ),
        case(
            "a package of an environment without a hash",
            "packages of `linux` that are not written as such",
            |release| {
                forge(release, |bom| {
                    linux(bom)["components"][0]["hashes"] = json!([]);
                    let serial = crate::bom::serial_of(bom);
                    bom["serialNumber"] = serial.into();
                });
            },
        ),
        case("a package of an environment twice", "has a package of `linux` twice", |release| {
            forge(release, |bom| {
                let package = linux(bom)["components"][0].clone();
                linux(bom)["components"] = json!([package, package]);
                let serial = crate::bom::serial_of(bom);
                bom["serialNumber"] = serial.into();
            });
        }),
        case("brackets without end in it", "bom.cdx.json: is not a bill of materials", |release| {
            text(release, |_| "[".repeat(100_000));
        }),
    ]
}

/// Found with a checkout alone: the release does not say which packages its environments are made of.
pub fn against_locks() -> Vec<Case> {
    vec![
        case("a package of an environment is another", "/components/0/version", |release| {
            forge(release, |bom| {
                linux(bom)["components"][0]["version"] = "15".into();
                // As a forger would: it follows from the rest.
                let serial = crate::bom::serial_of(bom);
                bom["serialNumber"] = serial.into();
            });
        }),
        case("a package of an environment is left out", "/components/0", |release| {
            forge(release, |bom| {
                linux(bom)["components"] = json!([]);
                let serial = crate::bom::serial_of(bom);
                bom["serialNumber"] = serial.into();
            });
        }),
    ]
}
