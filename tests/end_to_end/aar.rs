//! Android libraries: packed by a recipe, released, published to a Maven repository, looked into.

use crate::project::{Project, TARGET, text};
use std::process::Command;

/// A recipe `lib` whose outputs are packed as an AAR, with a class of this class file version and a library of this machine.
pub fn library(project: &Project, abi: &str, class_version: u8) {
    project.write("parts/answer.c", "int answer(void) { return 42; }\n");
    let parts = project.directory.path().join("parts");
    let cc = [
        "-shared",
        "-fPIC",
        "-nostdlib",
        "-s",
        "-Wl,-z,max-page-size=16384",
        "-o",
        "libanswer.so",
        "answer.c",
    ];
    assert!(Command::new("cc").args(cc).current_dir(&parts).status().unwrap().success());
    let jar = format!(
        "import zipfile\nwith zipfile.ZipFile('classes.jar', 'w') as jar:\n    \
         jar.writestr(zipfile.ZipInfo('org/example/A.class'), bytes([0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, {class_version}, 0, 1]))\n"
    );
    assert!(Command::new("python3").args(["-c", &jar]).current_dir(&parts).status().unwrap().success());
    project.write(
        "recipes/packages/lib/recipe.toml",
        &format!(
            "name = \"lib\"\nversion = \"1.0\"\nlicense = \"MIT\"\n\
             [aar]\ngroup = \"org.example\"\nartifact = \"answer\"\ndescription = \"answers\"\nurl = \"https://example.org\"\n\
             package = \"org.example.answer\"\nmin_sdk = 28\nmin_compile_sdk = 28\n\
             [[source]]\nproject = \"/parts\"\npath = \"parts\"\n\
             [[target]]\ntriple = \"{TARGET}\"\nenvironment = \"sandbox\"\n"
        ),
    );
    let script = format!(
        "mkdir -p /build/out/jni/{abi} /build/out/licenses\ncp /build/src/parts/libanswer.so /build/out/jni/{abi}/\n\
         cp /build/src/parts/classes.jar /build/out/\necho MIT > /build/out/licenses/LICENSE\n"
    );
    project.write("recipes/packages/lib/build.sh", &script);
}

#[test]
fn an_aar_is_packed_released_published_and_looked_into() {
    let project = Project::new();
    library(&project, "x86_64", 52);
    let artifact = format!("[[artifact]]\nrecipe = \"lib\"\ntargets = [\"{TARGET}\"]\n");
    project.write("releases/small.toml", &format!("name = \"small\"\n{artifact}"));
    for arguments in [&["release", "small"][..], &["verify", "dist/small"]] {
        let output = project.run(arguments);
        assert!(output.status.success(), "{}", text(&output));
    }
    let manifest = std::fs::read_to_string(project.directory.path().join("dist/small/release.json")).unwrap();
    assert!(manifest.contains("\"path\": \"answer-1.0.aar\""), "{manifest}");

    let output = project.run(&["publish", "maven-local", "repository", "lib"]);
    assert!(output.status.success(), "{}", text(&output));
    let place = project.directory.path().join("repository/org/example/answer/1.0");
    let mut names: Vec<_> = std::fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["answer-1.0.aar", "answer-1.0.module", "answer-1.0.pom"]);
    let shown = project.run(&["artifact", place.join("answer-1.0.aar").to_str().unwrap()]);
    assert!(shown.status.success() && text(&shown).contains("org.example.answer"), "{}", text(&shown));
    // By itself a jar is an archive like others; under the name of an AAR it is a wrong one.
    let jar = project.directory.path().join("parts/classes.jar");
    assert!(project.run(&["artifact", jar.to_str().unwrap()]).status.success());
    let renamed = project.directory.path().join("renamed.aar");
    std::fs::copy(jar, &renamed).unwrap();
    let plain = project.run(&["artifact", renamed.to_str().unwrap()]);
    assert_eq!(plain.status.code(), Some(1));
    assert!(text(&plain).contains("problem: `AndroidManifest.xml` is missing"), "{}", text(&plain));
}

#[test]
fn a_library_for_another_abi_and_a_class_above_the_target_are_refused() {
    let project = Project::new();
    for (abi, version, expected) in [
        (
            "arm64-v8a",
            52,
            "`jni/arm64-v8a/libanswer.so` is for the machine 62, not for the ABI of its folder",
        ),
        ("x86_64", 61, "have class file version 61, above 52"),
    ] {
        library(&project, abi, version);
        let output = project.run(&["build", "lib"]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains(expected), "{expected}: {}", text(&output));
    }
    project.recipe("plain", "", "echo x > /build/out/x\n");
    let output = project.run(&["publish", "maven-local", "repository", "plain"]);
    assert!(text(&output).contains("recipe `plain` makes no AAR"), "{}", text(&output));
}
