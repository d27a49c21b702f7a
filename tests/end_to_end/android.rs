//! What the build scripts ask of the Android NDK, with a stand-in that compiles nothing: its CMake writes down the flags.

use crate::project::{Project, repository, text};

const TARGET: &str = "aarch64-linux-android";

/// A recipe that configures with `recipes/lib/cmake.sh`, an NDK of this revision and a toolchain file that adds these flags.
fn configured(project: &Project, revision: &str, added: &str) -> std::process::Output {
    for file in ["recipes/lib/cmake.sh", "recipes/lib/cmake.toml"] {
        project.write(file, &std::fs::read_to_string(repository().join(file)).unwrap());
    }
    project.write("ndk/source.properties", &format!("Pkg.Desc = Android NDK\nPkg.Revision = {revision}\n"));
    // CMake's part: every argument becomes a line of the build, and the toolchain file's flags another.
    let cmake = format!(
        "mkdir CMakeFiles\nprintf '%s\\n' \"$@\" >build.ninja\necho '--target=aarch64-none-linux-android28 {added}' >CMakeFiles/rules.ninja\n"
    );
    project.write("tools/cmake", &cmake);
    let source = |path: &str| format!("[[source]]\nproject = \"/{path}\"\npath = \"{path}\"\n");
    let sources: String = ["ndk", "tools"].map(source).concat();
    project.write(
        "recipes/packages/flags/recipe.toml",
        &format!(
            "name = \"flags\"\nversion = \"1\"\nlib = [\"cmake\"]\n{sources}[[target]]\ntriple = \"{TARGET}\"\nenvironment = \"sandbox\"\n"
        ),
    );
    project.write(
        "recipes/packages/flags/build.sh",
        "source=/build/src/source\n. /build/src/build.sh\ncmake() { /bin/bash /build/src/tools/cmake \"$@\"; }\n\
         configure -DMINE=1\ncp build.ninja \"$out/flags\"\n",
    );
    project.run(&["build", "flags"])
}

const HARDENED: &str = "-DANDROID -fstack-protector-strong -D_FORTIFY_SOURCE=2";

#[test]
fn the_ndk_must_be_the_pinned_one_and_its_flags_must_stay() {
    let project = Project::new();
    let output = configured(&project, "27.2.12479018", HARDENED);
    assert!(output.status.success(), "{}", text(&output));
    assert!(project.run(&["build", "flags", "-o", "copy"]).status.success());
    let flags = project.directory.path().join(format!("copy/flags-1-{TARGET}/flags"));
    let flags = std::fs::read_to_string(flags).unwrap();
    for expected in [
        "-DANDROID_ABI=arm64-v8a\n",
        "-DANDROID_PLATFORM=android-28\n",
        "-DANDROID_STL=c++_static\n",
        "-DCMAKE_SHARED_LINKER_FLAGS=",
        "-Wl,-z,max-page-size=16384",
        "-Wl,--no-undefined",
        "-DCMAKE_CXX_FLAGS=-ffile-prefix-map=/build/src=.",
        "-DMINE=1\n",
    ] {
        assert!(flags.contains(expected), "{expected} is not in:\n{flags}");
    }
    for (revision, added, expected) in [
        (
            "26.3.11579264",
            HARDENED,
            "this is NDK revision 26.3.11579264, and the policies are for 27.2.12479018",
        ),
        ("", HARDENED, "this is NDK revision unknown"),
        (
            "27.2.12479018",
            "-DANDROID -fstack-protector-strong",
            "the build does not use `-D_FORTIFY_SOURCE=2`",
        ),
        (
            "27.2.12479018",
            "-DANDROID -D_FORTIFY_SOURCE=2",
            "the build does not use `-fstack-protector-strong`",
        ),
    ] {
        let output = configured(&project, revision, added);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains(expected), "{expected}: {}", text(&output));
    }
}
