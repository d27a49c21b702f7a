//! Rows on a manifest and a checkout that say different things.

use super::{Case, Release, case};
use crate::{Missing, Wanted};
use builder::{Cxx, Node};
use store::Digest;

fn edit(release: &Release, path: &str, from: &str, to: &str) {
    release.edit_checkout(path, from, to);
}

fn missing(release: &mut Release, waits_for: &str) {
    release.forge(|it| {
        it.artifacts.pop();
        it.licenses.pop();
        it.environments.remove("linux");
        it.repository.remove("containers/linux.toml");
        let wanted = Wanted::Step("hello@x86_64-unknown-linux-gnu".parse::<Node>().unwrap());
        it.missing = vec![Missing { wanted, waits_for: vec![waits_for.into()] }];
    });
    std::fs::remove_file(release.path.join(crate::example::LINUX)).unwrap();
    std::fs::remove_dir_all(release.path.join("licenses/hello-1.0-x86_64-unknown-linux-gnu")).unwrap();
}

/// What the manifest claims, and this checkout refutes.
#[rustfmt::skip]
pub fn claims() -> Vec<Case> {
    vec![
        case("artifacts in another order", "has the artifacts in another order than the release's definition", |it| it.forge(|m| m.artifacts.reverse())),
        case("a license that is not the recipe's", "has the license `0BSD`, and `MIT` in its recipe", |it| it.forge(|m| m.artifacts[0].license = "0BSD".into())),
        case("a sysroot that is not the recipe's", "has the sysroot `microsoft`, and `open-msvc` in its recipe", |it| it.forge(|m| m.artifacts[0].sysroot = Some("microsoft".into()))),
        case("no policy", "has the policy `none`, and `hello` in its recipe", |it| it.forge(|m| m.artifacts[0].policy = None)),
        case("another policy's digest", "was examined by another policy", |it| it.forge(|m| m.artifacts[0].policy.as_mut().unwrap().text = Digest::of(b"x"))),
        case("another C++ standard library", "has the C++ standard library `msvc-stl`, and `libc++` in its recipe", |it| it.forge(|m| m.artifacts[0].cxx = Some(Cxx::MsvcStl))),
        case("a library more", "has the contained libraries `zlib 1.3`, and `` in its recipe", |it| it.forge(|m| drop(m.artifacts[0].contains.insert("zlib".into(), "1.3".into())))),
        case("a needed library more", "has the needed libraries `zlib 1.3`, and `` in its recipe", |it| it.forge(|m| drop(m.artifacts[0].needs.insert("zlib".into(), "1.3".into())))),
        case("another environment", "ran in the environment `wine`, and its recipe says `windows`", |it| it.forge(|m| { m.intermediates[0].environment = "wine".into(); })),
        case("no input", "was made from other inputs than its recipe says", |it| it.forge(|m| m.artifacts[0].step.inputs.clear())),
        case("no dependency", "depends on other recipes than its recipe says", |it| it.forge(|m| m.artifacts[0].step.dependencies.clear())),
        case("another input", "input `hello-source` is ", |it| it.forge(|m| m.inputs.get_mut("hello-source").unwrap().sha256 = "1".repeat(64))),
        case("an input from elsewhere", "comes from elsewhere than recipes/inputs.lock says", |it| it.forge(|m| m.inputs.get_mut("hello-source").unwrap().source = input::Source::Crate { package: "evil".into(), version: "1.0".into() })),
        case("another lock of an environment", "environment `linux` was made with another lock", |it| it.forge(|m| m.environments.get_mut("linux").unwrap().lock = Digest::of(b"x"))),
        case("an artifact less", "lacks the artifact hello@x86_64-unknown-linux-gnu", |it| { missing(it, "hello-source"); it.forge(|m| m.missing.clear()); }),
        case("missing, and waits for what it is not made from", "waits for `other`, which it is not made from", |it| missing(it, "other")),
        case("missing, and nobody asks for it", "says that m is missing, which nobody asks for", |it| it.forge(|m| m.missing = vec![Missing { wanted: Wanted::Model { model: "m".into() }, waits_for: vec!["x".into()] }])),
        case("another script", "`recipes/packages/hello/build.sh` is not the file that hello@x86_64-pc-windows-msvc and 1 more was made from", |it| it.forge(|m| _ = m.repository.insert("recipes/packages/hello/build.sh".into(), Digest::of(b"x")))),
        case("a patch that is not told", "was made from other files than this checkout has for it (without `patches/hello/0001-greet.patch`)", |it| it.forge(|m| {
            m.repository.remove("patches/hello/0001-greet.patch");
            m.artifacts.iter_mut().for_each(|it| it.step.made_from.retain(|path| !path.starts_with("patches/")));
        })),
        case("a file more that it is said to be made from", "(with `recipes/more.sh`)", |it| it.forge(|m| {
            m.repository.insert("recipes/more.sh".into(), Digest::of(b"x"));
            let files = &mut m.intermediates[0].made_from;
            files.push("recipes/more.sh".into());
            files.sort();
        })),
        case("a version of this program that is another", "was written by mlc-repro 9.0.0, and this checkout is of mlc-repro", |it| it.forge(|m| m.program = Some("mlc-repro 9.0.0".into()))),
        case("a `verify.py` that passes everything", "verify.py: is not the script that this program writes", |it| {
            std::fs::write(it.path.join("verify.py"), "print('PASS')\n").unwrap();
            it.forge(|m| m.verifier = Some(crate::File::new("verify.py", &Digest::of(b"print('PASS')\n"))));
        }),
        case("a release of another name", "there is no release `other`", |it| it.forge(|m| {
            m.name = "other".into();
            let digest = m.repository["releases/test.toml"];
            m.repository.insert("releases/other.toml".into(), digest);
        })),
        case("another definition that it is said to include", "`releases/more.toml`, which the release was made from, is not in this checkout", |it| it.forge(|m| _ = m.repository.insert("releases/more.toml".into(), Digest::of(b"x")))),
    ]
}

/// What was changed in the checkout after the release.
#[rustfmt::skip]
pub fn cases() -> Vec<Case> {
    vec![
        case("a script", "`recipes/packages/hello/build.sh` is not the file that hello@x86_64-pc-windows-msvc and 1 more was made from", |it| edit(it, "recipes/packages/hello/build.sh", "make", "make install")),
        case("a script of a check", "`recipes/checks/smoke/run.sh` is not the file that smoke-test@x86_64-pc-windows-msvc was made from", |it| edit(it, "recipes/checks/smoke/run.sh", "wine", "true")),
        case("a script of an intermediate", "`recipes/toolchain/start-up/build.sh` is not the file", |it| edit(it, "recipes/toolchain/start-up/build.sh", "cc", "evil-cc")),
        case("a helper", "`recipes/lib/helper.sh` is not the file", |it| edit(it, "recipes/lib/helper.sh", "true", "false")),
        case("a helper more", "`recipes/lib/more.sh` of this checkout was not there when the release was made", |it| std::fs::write(it.project.join("recipes/lib/more.sh"), "x").unwrap()),
        case("a helper less", "`recipes/lib/helper.sh`, which hello@x86_64-pc-windows-msvc and 1 more was made from, is not in this checkout", |it| { std::fs::write(it.project.join("recipes/lib/x"), "").unwrap(); std::fs::remove_file(it.project.join("recipes/lib/helper.sh")).unwrap(); }),
        case("a helper that becomes a link", "`recipes/lib/helper.sh` is not the file", |it| { let path = it.project.join("recipes/lib/helper.sh"); std::fs::rename(&path, it.project.join("moved")).unwrap(); std::os::unix::fs::symlink("../../moved", path).unwrap(); }),
        case("a patch", "`patches/hello/0001-greet.patch` is not the file", |it| edit(it, "patches/hello/0001-greet.patch", "polite", "evil")),
        case("a patch more", "`patches/hello/0002-evil.patch` of this checkout was not there", |it| std::fs::write(it.project.join("patches/hello/0002-evil.patch"), "Why: x\n").unwrap()),
        case("no patch", "has no `.patch` file", |it| std::fs::remove_file(it.project.join("patches/hello/0001-greet.patch")).unwrap()),
        case("a source of the sysroot", "`sysroot/start.c` is not the file that start-up@x86_64-pc-windows-msvc was made from", |it| edit(it, "sysroot/start.c", "void", "")),
        case("a source more in the sysroot", "`sysroot/evil.c` of this checkout was not there", |it| std::fs::write(it.project.join("sysroot/evil.c"), "").unwrap()),
        case("a policy", "was examined by another policy than recipes/policies/hello.toml is now", |it| edit(it, "recipes/policies/hello.toml", "hello.dll", "other.dll")),
        case("a policy that another includes", "`recipes/policies/base.toml` is not the file", |it| edit(it, "recipes/policies/base.toml", "/home/", "/root/")),
        case("an environment's definition", "`containers/wine.toml` is not the file that smoke-test@x86_64-pc-windows-msvc was made from", |it| edit(it, "containers/wine.toml", "wine", "wine64")),
        case("an environment's lock", "environment `wine` was made with another lock than containers/wine.lock is now", |it| edit(it, "containers/wine.lock", "wine", "other")),
        case("a recipe's comment", "`recipes/toolchain/start-up/recipe.toml` is not the file", |it| edit(it, "recipes/toolchain/start-up/recipe.toml", "name", "# now faster\nname")),
        case("a recipe's version", "has the version `1.0`, and `1.1` in its recipe", |it| edit(it, "recipes/packages/hello/recipe.toml", "version = \"1.0\"", "version = \"1.1\"")),
        case("a recipe's sysroot", "has the sysroot `open-msvc`, and `other` in its recipe", |it| edit(it, "recipes/packages/hello/recipe.toml", "open-msvc", "other")),
        case("a recipe's C++ standard library", "has the C++ standard library `libc++`, and `libstdc++` in its recipe", |it| edit(it, "recipes/packages/hello/recipe.toml", "libc++", "libstdc++")),
        case("a recipe's dependency", "has the intermediate start-up@x86_64-pc-windows-msvc, which the release's definition does not ask for", |it| edit(it, "recipes/packages/hello/recipe.toml", "[\"start-up\"]", "[]")),
        case("a recipe's input", "was made from other inputs than its recipe says", |it| edit(it, "recipes/packages/hello/recipe.toml", "input = \"hello-source\"\npath = \"hello\"\npatches = \"hello\"", "project = \"/sysroot\"\npath = \"hello\"")),
        case("a recipe's environment", "ran in the environment `wine`, and its recipe says `linux`", |it| edit(it, "recipes/checks/smoke/recipe.toml", "\"wine\"", "\"linux\"")),
        case("a recipe is gone", "there is no recipe `start-up`", |it| { std::fs::remove_file(it.project.join("recipes/toolchain/start-up/recipe.toml")).unwrap(); edit(it, "recipes/packages/hello/recipe.toml", "dependencies = [\"start-up\"]\n", ""); }),
        case("the release's definition", "has the artifact hello@x86_64-unknown-linux-gnu, which the release's definition does not ask for", |it| edit(it, "releases/test.toml", ", \"x86_64-unknown-linux-gnu\"", "")),
        case("a comment in the release's definition", "`releases/test.toml` is not the file that the release was made from", |it| edit(it, "releases/test.toml", "name", "# x\nname")),
        case("the lock of inputs", "input `hello-source` is ", |it| edit(it, "recipes/inputs.lock", &Digest::of(b"source").hex(), &Digest::of(b"other").hex())),
    ]
}
