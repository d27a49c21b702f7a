//! Rows on the manifest alone: each is canonical and has checksums that fit, and contradicts itself.

use super::{Case, Release, case};
use crate::{File, Missing, Part, Wanted};
use builder::{Cxx, Node};
use store::Digest;

fn zeros(size: u64) -> Digest {
    Digest { sha256: [0; 32], size }
}

fn text(release: &Release, change: impl FnOnce(String) -> String) {
    let json = String::from_utf8(release.read("release.json")).unwrap();
    let changed = change(json.clone());
    assert_ne!(json, changed, "the tampering does nothing");
    release.write_json(&changed);
}

/// Another file in the place of one of the manifest's.
fn other(file: &File) -> File {
    File { executable: file.executable, ..File::new(&file.path, &Digest::of(b"other")) }
}

fn part(name: &str, license: &str, input: Option<&str>) -> Part {
    Part { name: name.into(), license: license.into(), input: input.map(Into::into) }
}

pub fn cases() -> Vec<Case> {
    vec![
        case("a schema that nobody knows", "has the schema `mlc-repro/release/9`", |release| {
            text(release, |json| json.replace("mlc-repro/release/3", "mlc-repro/release/9"));
        }),
        case("the first schema, with what came later", "and fields that came later", |release| {
            release.forge(|it| it.schema = "mlc-repro/release/1".into());
        }),
        case("a field more", "is not a manifest: unknown field `author`", |release| {
            text(release, |json| json.replacen("{\n", "{\n  \"author\": \"me\",\n", 1));
        }),
        case("a field twice", "duplicate field `name`", |release| {
            text(release, |json| json.replacen("{\n", "{\n  \"name\": \"test\",\n", 1));
        }),
        case("other spacing", "is not written canonically", |release| {
            text(release, |json| json.replace("  ", " "))
        }),
        case("text behind the end", "is not a manifest", |release| text(release, |json| json + "{}")),
        case("an escaped letter", "is not written canonically", |release| {
            text(release, |json| json.replacen("\"test\"", "\"\\u0074est\"", 1));
        }),
        case("brackets without end", "is not a manifest", |release| text(release, |_| "[".repeat(100_000))),
        case("another program wrote it", "does not say which version of mlc-repro wrote it", |release| {
            release.forge(|it| it.program = Some("make 4.4.1".into()));
        }),
        case("no program wrote it", "does not say which version of mlc-repro wrote it", |release| {
            release.forge(|it| it.program = None);
        }),
        case("there is no `verify.py`", "does not name `verify.py`", |release| {
            release.forge(|it| it.verifier = None);
            std::fs::remove_file(release.path.join("verify.py")).unwrap();
        }),
        case("there is no bill of materials", "does not name `bom.cdx.json`", |release| {
            release.forge(|it| it.bom = None);
            std::fs::remove_file(release.path.join("bom.cdx.json")).unwrap();
        }),
        case(
            "a part without license texts",
            "has the parts [\"zlib\"], and license texts of {}",
            |release| {
                release.forge(|it| it.artifacts[0].parts.push(part("zlib", "Zlib", None)));
            },
        ),
        case(
            "a license that leaves a part's out",
            "has the license `MIT`, which does not name those of all",
            |release| {
                release.forge(|it| it.artifacts[0].parts.push(part("zlib", "Zlib", None)));
            },
        ),
        case("a part whose license is none", "`none at all`, which is not an SPDX expression", |release| {
            release.forge(|it| it.artifacts[0].parts.push(part("zlib", "none at all", None)));
        }),
        case("a part out of no input", "out of `more`, which is not an input of the release", |release| {
            release.forge(|it| it.artifacts[0].parts.push(part("zlib", "Zlib", Some("more"))));
        }),
        case(
            "the second schema, with what came later",
            "has the schema `mlc-repro/release/2`, and fields that",
            |release| {
                release.forge(|it| it.schema = "mlc-repro/release/2".into());
            },
        ),
        case(
            "`outputs` of an artifact are zeros",
            "the outputs of hello@x86_64-pc-windows-msvc has the digest",
            |release| {
                release.forge(|it| it.artifacts[0].step.outputs = zeros(159));
            },
        ),
        case(
            "`outputs` of an artifact are those of the other target",
            "and its files and links are the tree",
            |release| {
                release.forge(|it| it.artifacts[0].step.outputs = it.artifacts[1].step.outputs);
            },
        ),
        case(
            "`outputs` of an intermediate are zeros",
            "the outputs of start-up@x86_64-pc-windows-msvc",
            |release| {
                release.forge(|it| it.intermediates[0].outputs = zeros(84));
            },
        ),
        case(
            "`outputs` of a check are zeros",
            "the outputs of smoke-test@x86_64-pc-windows-msvc",
            |release| {
                release.forge(|it| it.checks[0].outputs = zeros(84));
            },
        ),
        case("an action is zeros", "the action of hello@x86_64-pc-windows-msvc has the digest", |release| {
            release.forge(|it| it.artifacts[0].step.action = zeros(138));
        }),
        case("an action is that of the other target", "can't have the same action", |release| {
            release.forge(|it| it.artifacts[0].step.action = it.artifacts[1].step.action);
        }),
        case("an environment's tree is zeros", "the tree of `linux` has the digest", |release| {
            release.forge(|it| it.environments.get_mut("linux").unwrap().tree = zeros(77));
        }),
        case("the hash of an empty file with a size", "which nothing has", |release| {
            release.forge(|it| {
                let tree = &mut it.environments.get_mut("linux").unwrap().tree;
                tree.sha256 = Digest::of(b"").sha256;
            });
        }),
        case("an environment without a Nix hash", "which is not a SHA-256 in SRI form", |release| {
            release.forge(|it| it.environments.get_mut("linux").unwrap().nar.clear());
        }),
        case("a Nix hash that is cut off", "has the Nix hash `sha256-AAAA`", |release| {
            release.forge(|it| it.environments.get_mut("linux").unwrap().nar = "sha256-AAAA".into());
        }),
        case("a Nix hash of another kind", "which is not a SHA-256 in SRI form", |release| {
            release.forge(|it| {
                let nar = &mut it.environments.get_mut("linux").unwrap().nar;
                *nar = nar.replace("sha256-", "sha512-");
            });
        }),
        case("checks that did not run it", "and the checks that ran it are [\"smoke-test\"]", |release| {
            release.forge(|it| it.artifacts[0].checked_by.push("vcpkg-test".into()));
        }),
        case("checks of another target", "and the checks that ran it are []", |release| {
            release.forge(|it| it.artifacts[1].checked_by.push("smoke-test".into()));
        }),
        case(
            "checks that ran it are not named",
            "and the checks that ran it are [\"smoke-test\"]",
            |release| {
                release.forge(|it| it.artifacts[0].checked_by.clear());
            },
        ),
        case("a check that is not there", "and the checks that ran it are []", |release| {
            release.forge(|it| it.checks.clear());
        }),
        case(
            "a license text is another, here, in the directory and in the manifest",
            "its files and links are the tree",
            |release| {
                let path = "licenses/hello-1.0-x86_64-pc-windows-msvc/LICENSE";
                std::fs::write(release.path.join(path), "other").unwrap();
                release.forge(|it| {
                    let file = it.artifacts[0]
                        .files
                        .iter_mut()
                        .find(|file| file.path == "licenses/LICENSE")
                        .unwrap();
                    *file = other(file);
                    it.licenses[0] = other(&it.licenses[0]);
                });
            },
        ),
        case("a license expression that is empty", "has no license expression", |release| {
            release.forge(|it| it.artifacts[0].license = " ".into());
        }),
        case("an artifact without license texts", "has no license texts", |release| {
            release.forge(|it| {
                it.artifacts[0].files.pop();
                it.licenses.remove(0);
            });
        }),
        case("an archive that is executable", "and no file of a release is", |release| {
            release.forge(|it| it.artifacts[0].archive.executable = true);
        }),
        case("a file that is not a program", "it is executable", |release| {
            release.forge(|it| it.artifacts[1].files[0].executable = false);
        }),
        case("a link to elsewhere", "which leads out of it to `../../x`", |release| {
            release.forge(|it| it.artifacts[1].links = [("lib/libhello.so".into(), "../../x".into())].into());
        }),
        case("a link with another text", "it is a link to `libhello.so.1`, not to `other`", |release| {
            release.forge(|it| it.artifacts[1].links = [("lib/libhello.so".into(), "other".into())].into());
        }),
        case(
            "a file that the archive lacks",
            "lacks `hello-1.0-x86_64-pc-windows-msvc/bin/other.dll`",
            |release| {
                release.forge(|it| {
                    let file = File { path: "bin/other.dll".into(), ..it.artifacts[0].files[0].clone() };
                    it.artifacts[0].files.insert(1, file);
                });
            },
        ),
        case("a file that the manifest hides", "bin/hello.dll`, which is not in the manifest", |release| {
            release.forge(|it| drop(it.artifacts[0].files.remove(0)));
        }),
        case("files in another order", "has files that are not sorted by path", |release| {
            release.forge(|it| it.artifacts[0].files.reverse());
        }),
        case("a file with another size", "has the outputs", |release| {
            release.forge(|it| it.artifacts[0].files[0].size += 1);
        }),
        case("a plain artifact that is said to be packed", "so it was not packed", |release| {
            release.forge(|it| it.artifacts[0].packed_from = it.artifacts[0].files.clone());
        }),
        case("a sha256 that is none", "has no sha256, but `x`", |release| {
            release.forge(|it| it.licenses[0].sha256 = "x".into());
        }),
        case(
            "an archive named after another version",
            "should be named `hello-1.1-x86_64-pc-windows-msvc.zip`",
            |release| {
                release.forge(|it| it.artifacts[0].version = "1.1".into());
            },
        ),
        case(
            "an environment that is not described",
            "does not say what the environment `other` is",
            |release| {
                release.forge(|it| it.artifacts[0].step.environment = "other".into());
            },
        ),
        case("an input that is not described", "does not say what the input `hello-source` is", |release| {
            release.forge(|it| it.inputs.clear());
        }),
        case("an input that nothing uses", "lists the input `more`, which no step uses", |release| {
            release.forge(|it| {
                let facts = it.inputs["hello-source"].clone();
                it.inputs.insert("more".into(), facts);
            });
        }),
        case("an input that nobody else can check", "input `hello-source` is unpinned", |release| {
            release.forge(|it| {
                let facts = it.inputs.get_mut("hello-source").unwrap();
                facts.source = input::Source::Path { path: "x.tar".into(), directory: false };
            });
        }),
        case(
            "a dependency that is not there",
            "depends on `start-up`, which is not in the manifest",
            |release| {
                release.forge(|it| {
                    it.intermediates.clear();
                    it.repository.retain(|path, _| !path.contains("start"));
                });
            },
        ),
        case("a step twice", "names the step start-up@x86_64-pc-windows-msvc twice", |release| {
            release.forge(|it| it.intermediates.push(it.intermediates[0].clone()));
        }),
        case("something is missing, and there", "is missing, and has it", |release| {
            release.forge(|it| {
                let wanted = Wanted::Step("hello@x86_64-pc-windows-msvc".parse::<Node>().unwrap());
                it.missing = vec![Missing { wanted, waits_for: vec!["hello-source".into()] }];
            });
        }),
        case("something is missing for no reason", "is missing, and not why", |release| {
            release.forge(|it| {
                it.missing =
                    vec![Missing { wanted: Wanted::Model { model: "m".into() }, waits_for: Vec::new() }];
            });
        }),
        case("a step that is made from nothing", "is not said to be made from a recipe", |release| {
            release.forge(|it| it.artifacts[0].step.made_from.clear());
        }),
        case(
            "a policy that is not said to be used",
            "is not said to be made from `recipes/policies/hello.toml`",
            |release| {
                release.forge(|it| {
                    it.artifacts[0].step.made_from.retain(|path| path != "recipes/policies/hello.toml")
                });
            },
        ),
        case(
            "a script whose digest is left out",
            "`repository` lacks `recipes/packages/hello/build.sh`",
            |release| {
                release.forge(|it| _ = it.repository.remove("recipes/packages/hello/build.sh"));
            },
        ),
        case(
            "a file of the repository that nothing uses",
            "`repository` has `recipes/more.sh`, which nothing",
            |release| {
                release.forge(|it| _ = it.repository.insert("recipes/more.sh".into(), Digest::of(b"x")));
            },
        ),
        case(
            "the release's own definition is left out",
            "`repository` lacks `releases/test.toml`",
            |release| {
                release.forge(|it| _ = it.repository.remove("releases/test.toml"));
            },
        ),
        case(
            "two versions of one library",
            "there are 2 versions of `hello`: 0.9 (is in `hello-1.0",
            |release| {
                release.forge(|it| drop(it.artifacts[0].contains.insert("hello".into(), "0.9".into())));
            },
        ),
        case("a library that needs another version", "there are 2 versions of `hello`", |release| {
            release.forge(|it| drop(it.artifacts[1].needs.insert("hello".into(), "2.0".into())));
        }),
        case("two C++ standard libraries for one target", "2 C++ standard libraries", |release| {
            release.forge(|it| {
                let mut more = it.artifacts[0].clone();
                more.step.recipe = "more".into();
                more.cxx = Some(Cxx::MsvcStl);
                it.artifacts.push(more);
            });
        }),
        case("imported from nobody", "was imported from nobody that has a name", |release| {
            release.forge(|it| it.artifacts[0].step.imported = Some(String::new()));
        }),
        case("no artifact at all", "names no artifact and no model", |release| {
            release.forge(|it| it.artifacts.clear());
        }),
    ]
}

fn name(release: &mut Release, name: &str) {
    release.forge(|it| {
        let mut file = it.artifacts[0].files[0].clone();
        file.path = name.to_owned();
        it.artifacts[0].files.push(file);
        it.artifacts[0].files.sort();
    });
}

pub fn names() -> Vec<Case> {
    vec![
        case("`../x`", "names `../x`, which is not a safe path", |release| name(release, "../x")),
        case("`/etc/passwd`", "names `/etc/passwd`, which is not a safe path", |release| {
            name(release, "/etc/passwd")
        }),
        case("`c:\\x`", "which is not a safe path", |release| name(release, "c:\\x")),
        case("a stream of a file", "which is not a safe path", |release| name(release, "bin/hello.dll:evil")),
        case("a line end", "which is not a safe path", |release| name(release, "bin/a\nPASS")),
        case(
            "`NUL.dll`",
            "names `bin/NUL.dll`, which is not a safe path: a part of it is the name of a device",
            |release| {
                name(release, "bin/NUL.dll");
            },
        ),
        case("`con.txt`", "is the name of a device", |release| name(release, "con.txt")),
        case("`COM¹`", "is the name of a device", |release| name(release, "COM¹.log")),
        case("a directory `aux`", "is the name of a device", |release| name(release, "aux/x.h")),
        case("a dot at the end", "which Windows takes off", |release| name(release, "bin/hello.dll.")),
        case("a space at the end", "which Windows takes off", |release| name(release, "bin/hello.dll ")),
        case("text from right to left", "names `bin/\\u202elld.exe`", |release| {
            name(release, "bin/\u{202e}lld.exe")
        }),
        case("a mark from right to left", "is not shown", |release| name(release, "bin/a\u{200f}b")),
        case("an isolate", "is not shown", |release| name(release, "bin/a\u{2067}b")),
        case("a space without width", "is not shown", |release| name(release, "bin/hello\u{200b}.dll")),
        case("a soft hyphen", "is not shown", |release| name(release, "bin/hel\u{ad}lo.dll")),
        case("a letter and its accent apart", "is not in Unicode's normal form C", |release| {
            name(release, "cafe\u{301}");
        }),
        case(
            "one name in both normal forms",
            "which are one file where letters have no case or names are normalized",
            |release| {
                name(release, "caf\u{e9}");
                name(release, "cafe\u{301}");
            },
        ),
        case(
            "a name in upper case",
            "names `bin/HELLO.DLL` and `bin/hello.dll`, which are one file",
            |release| {
                name(release, "bin/HELLO.DLL");
            },
        ),
        case("`ß` and `ss`", "which are one file", |release| {
            name(release, "stra\u{df}e");
            name(release, "strasse");
        }),
        case("a name of 300 bytes", "longer than 255 bytes", |release| name(release, &"a".repeat(300))),
        case("a file below a file", "below the file `bin/hello.dll`", |release| {
            name(release, "bin/hello.dll/x")
        }),
        case("a name twice", "names `bin/hello.dll` twice", |release| name(release, "bin/hello.dll")),
        case("a release named `../x`", "`../x` is not a name for a release", |release| {
            release.forge(|it| it.name = "../x".into());
        }),
        case("an archive named `NUL.zip`", "is the name of a device", |release| {
            release.forge(|it| it.artifacts[0].archive.path = "NUL.zip".into());
        }),
    ]
}
