//! Rows on facts of a manifest that can't be so.

use super::{Case, Release, case};
use crate::{Conversion, Model};
use store::{Digest, Tree};

/// Puts links in the place of an artifact's, whose outputs fit.
fn link(release: &mut Release, links: &[(&str, &str)]) {
    release.forge(|it| {
        it.artifacts[1].links =
            links.iter().map(|(path, target)| ((*path).into(), (*target).into())).collect();
    });
}

/// Adds a model without files that is sound but for the change.
fn model(release: &mut Release, change: fn(&mut Model)) {
    release.forge(|it| {
        let conversion = Conversion {
            name: "tiny".into(),
            quantization: "q4f16_1".into(),
            conversation_template: None,
            sizes: [].into(),
        };
        let tree = Tree::new();
        let root = tree.digest().unwrap();
        let mut model =
            Model::new(&conversion, "mit", "llama", Digest::of(b"action"), (root, &tree), &[]).unwrap();
        model.inputs = vec!["hello-source".into()];
        change(&mut model);
        it.repository.insert("models/tiny.toml".into(), Digest::of(b"x"));
        it.models.push(model);
    });
}

pub fn cases() -> Vec<Case> {
    vec![
        case(
            "a step that is made from itself",
            "hello@x86_64-pc-windows-msvc depends on itself",
            |release| {
                release.forge(|it| it.artifacts[0].step.dependencies.push("hello".into()));
            },
        ),
        case(
            "two steps that are made from each other",
            "start-up@x86_64-pc-windows-msvc depends on itself",
            |release| {
                release.forge(|it| it.intermediates[0].dependencies.push("hello".into()));
            },
        ),
        case("an input twice", "names `hello-source` twice", |release| {
            release.forge(|it| it.artifacts[0].step.inputs.push("hello-source".into()));
        }),
        case("a dependency twice", "names `start-up` twice", |release| {
            release.forge(|it| it.artifacts[0].step.dependencies.push("start-up".into()));
        }),
        case(
            "an intermediate that nothing needs",
            "has the intermediate start-up@x86_64-pc-windows-msvc, which nothing was made from",
            |release| release.forge(|it| it.artifacts[0].step.dependencies.clear()),
        ),
        case("an input of zeros", "input `hello-source` has the digest 0000", |release| {
            release.forge(|it| it.inputs.get_mut("hello-source").unwrap().sha256 = "0".repeat(64));
        }),
        case("an input without content that has a size", "which nothing has", |release| {
            release.forge(|it| it.inputs.get_mut("hello-source").unwrap().sha256 = Digest::of(b"").hex());
        }),
        case("one content of two sizes", "and 7 bytes where that has 6", |release| {
            release.forge(|it| {
                let mut facts = it.inputs["hello-source"].clone();
                facts.size += 1;
                it.inputs.insert("more".into(), facts);
                it.artifacts[0].step.inputs.push("more".into());
            });
        }),
        case(
            "two trees with one Nix hash",
            "have one tree by one of their hashes, and two by the other",
            |release| {
                release.forge(|it| {
                    let nar = it.environments["linux"].nar.clone();
                    it.environments.get_mut("wine").unwrap().nar = nar;
                });
            },
        ),
        case(
            "one tree with two Nix hashes",
            "have one tree by one of their hashes, and two by the other",
            |release| {
                release.forge(|it| {
                    let tree = it.environments["linux"].tree;
                    it.environments.get_mut("wine").unwrap().tree = tree;
                });
            },
        ),
        case(
            "a license that is none",
            "has the license `do what you want`, which is not an SPDX expression",
            |release| {
                release.forge(|it| it.artifacts[0].license = "do what you want".into());
            },
        ),
        case(
            "a link that leads out by way of another",
            "has the link `evil`, which leads out of it by way",
            |release| {
                // By its text alone it ends at the top.
                link(release, &[("a/b/up", "../.."), ("evil", "a/b/up/../x")]);
            },
        ),
        case("a link to itself", "has the link `loop`, which leads in a circle", |release| {
            link(release, &[("loop", "loop")]);
        }),
        case(
            "a link to a device of Windows",
            "which is not a safe path: a part of it is the name of a device",
            |release| {
                link(release, &[("lib/libhello.so", "nul")]);
            },
        ),
        case("a link whose text turns around", "has the link `lib/libhello.so` to", |release| {
            link(release, &[("lib/libhello.so", "libhello\u{202e}os")]);
        }),
        case("an input whose name moves the cursor", "which is not shown as it is written", |release| {
            release.forge(|it| {
                let facts = it.inputs.remove("hello-source").unwrap();
                let name = "hello\u{1b}[2K-source";
                it.inputs.insert(name.into(), facts);
                for artifact in &mut it.artifacts {
                    artifact.step.inputs.iter_mut().for_each(|input| *input = name.into());
                }
            });
        }),
        case("a sysroot whose name is invisible", "which is not shown as it is written", |release| {
            release.forge(|it| it.artifacts[0].sysroot = Some("open-msvc\u{200b}".into()));
        }),
        case("two links to each other", "has the link `a`, which leads in a circle", |release| {
            link(release, &[("a", "b"), ("b", "a")]);
        }),
        case("a model without files", "the model `tiny-q4f16_1` has no files", |release| {
            model(release, |_| {})
        }),
        case("a model that is made from nothing", "the model `tiny-q4f16_1` has no inputs", |release| {
            model(release, |it| it.inputs.clear());
        }),
        case("a model without a license", "the model `tiny-q4f16_1` has no license", |release| {
            model(release, |it| it.license.clear());
        }),
        case("a model without an architecture", "the model `tiny-q4f16_1` has no architecture", |release| {
            model(release, |it| it.architecture.clear());
        }),
        case(
            "a model by the action of a library",
            "and the model `tiny-q4f16_1` can't have the same action",
            |release| {
                let action = release.manifest.artifacts[0].step.action;
                release.forge(|it| it.artifacts[0].step.action = Digest::of(b"action"));
                assert_ne!(action, release.manifest.artifacts[0].step.action);
                model(release, |_| {});
            },
        ),
        case(
            "a `verify.py` that passes everything",
            "verify.py: is not the script that this program writes",
            |release| {
                let script = b"print('PASS')\n";
                std::fs::write(release.path.join("verify.py"), script).unwrap();
                release.forge(|it| it.verifier = Some(crate::File::new("verify.py", &Digest::of(script))));
            },
        ),
    ]
}
