//! Another sysroot in the place of the one that recipes name, laid out from a directory of the user's. The files are stand-ins:
//! nothing is compiled.

use crate::project::{Project, repository, text};
use std::os::unix::fs::symlink;

const TARGET: &str = "x86_64-pc-windows-msvc";

/// A project with the recipe `microsoft-sysroot`, run in the environment `sandbox`, and one that says what sysroot it got.
fn project() -> Project {
    let project = Project::new();
    for path in [
        "recipes/toolchain/microsoft-sysroot/build.sh",
        "recipes/toolchain/microsoft-sysroot/recipe.toml",
        "recipes/toolchain/microsoft-sysroot/toolchain.cmake",
        "sysroot/cmake/toolchain.cmake",
    ] {
        let original = std::fs::read_to_string(repository().join(path)).unwrap();
        project.write(path, &original.replace("environment = \"windows\"", "environment = \"sandbox\""));
    }
    let recipe = |name: &str, more: &str| {
        format!(
            "name = \"{name}\"\nversion = \"1\"\nlicense = \"MIT\"\n[[target]]\ntriple = \"{TARGET}\"\nenvironment = \"sandbox\"\n{more}"
        )
    };
    project.write("recipes/packages/msvc-sysroot/recipe.toml", &recipe("msvc-sysroot", ""));
    project.write("recipes/packages/msvc-sysroot/build.sh", "echo open > /build/out/open\n");
    project.write(
        "recipes/packages/seen/recipe.toml",
        &recipe("seen", "sysroot = \"open-msvc\"\ndependencies = [\"msvc-sysroot\"]\n"),
    );
    project.write(
        "recipes/packages/seen/build.sh",
        "shopt -s globstar\ncd /build/src/dependencies/*\n\
         for path in **; do if [ -L $path ]; then echo \"$path ->\"; elif [ -f $path ]; then echo $path; fi; done >/build/out/seen\n",
    );
    let lock = project.directory.path().join("recipes/inputs.lock");
    let text = std::fs::read_to_string(&lock).unwrap();
    std::fs::write(lock, text.replace("version = 1\n", "version = 1\npending = [\"microsoft-sdk\"]\n"))
        .unwrap();
    project
}

#[test]
fn a_sysroot_that_the_user_has_takes_the_place_of_the_open_one() {
    let project = project();
    let seen = |arguments: &[&str]| {
        let copy = project.directory.path().join("copy");
        let _ = std::fs::remove_dir_all(&copy);
        let output = project.run(&[&["build", "seen", "-o", "copy"], arguments].concat());
        assert!(output.status.success(), "{}", text(&output));
        std::fs::read_to_string(copy.join(format!("seen-1-{TARGET}/seen"))).unwrap()
    };
    assert_eq!(seen(&[]), "open\n");

    let refused = project.run(&["build", "seen", "--sysroot", "microsoft"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("give a copy with `--input microsoft-sdk=DIR`"), "{}", text(&refused));

    for path in [
        "crt/include/vcruntime.h",
        "crt/lib/x86_64/msvcrt.lib",
        "sdk/include/shared/winerror.h",
        "sdk/include/ucrt/stdio.h",
        "sdk/include/um/Windows.h",
        "sdk/lib/ucrt/x86_64/ucrt.lib",
        "sdk/lib/um/x86_64/kernel32.Lib",
    ] {
        project.write(&format!("splat/{path}"), "a stand-in\n");
    }
    symlink("Windows.h", project.directory.path().join("splat/sdk/include/um/windows.h")).unwrap();
    symlink("kernel32.Lib", project.directory.path().join("splat/sdk/lib/um/x86_64/kernel32.lib")).unwrap();
    let expected = "cmake/open-toolchain.cmake\ncmake/toolchain.cmake\ninclude/shared/winerror.h\ninclude/ucrt/stdio.h\n\
                    include/um/Windows.h\ninclude/um/windows.h ->\ninclude/vcruntime/vcruntime.h\nlib/kernel32.Lib\nlib/kernel32.lib ->\n\
                    lib/msvcrt.lib\nlib/ucrt.lib\nlicenses/microsoft-sdk/NOTICE\n";
    assert_eq!(seen(&["--sysroot", "microsoft", "--input", "microsoft-sdk=splat"]), expected);

    std::fs::remove_dir_all(project.directory.path().join("splat/sdk/lib/um")).unwrap();
    let broken = project.run(&["build", "seen", "--sysroot", "microsoft", "--input", "microsoft-sdk=splat"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken).contains("sdk/lib/um/x86_64"), "{}", text(&broken));
}
