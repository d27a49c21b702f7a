//! Pages are sound, fetch nothing, and nothing that a stranger writes leaves its place.

use super::*;
use crate::{example, verify, write};

/// What would command a browser, a terminal or a reader's eye.
const EVIL: &str = "</code><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}\u{1b}[2J&amp;";

/// Sound as XML, one title of the first level, headings in order, nothing to fetch or run.
#[track_caller]
fn check(html: &str) {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(html, options).unwrap();
    let mut level = 0;
    let mut ids = std::collections::BTreeSet::new();
    for node in document.descendants().filter(|node| node.is_element()) {
        let name = node.tag_name().name();
        assert!(
            !["script", "link", "img", "iframe", "object", "embed", "form", "base", "image", "use"]
                .contains(&name),
            "{name}"
        );
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on"), "{}", attribute.name());
            let is_reference =
                ["href", "src", "action", "data", "srcset", "poster"].contains(&attribute.name());
            assert!(!is_reference || attribute.value().starts_with('#'), "{}", attribute.value());
            if attribute.name() == "id" {
                assert!(ids.insert(attribute.value()), "{} twice", attribute.value());
            }
        }
        if let Some(heading) = name.strip_prefix('h').and_then(|level| level.parse::<u32>().ok()) {
            assert!(heading <= level + 1, "h{heading} behind h{level}");
            level = heading;
        }
    }
    let count = |name| document.descendants().filter(|node| node.has_tag_name(name)).count();
    assert_eq!((count("h1"), count("title") >= 1, count("main")), (1, true, 1));
    assert!(html.contains("Content-Security-Policy") && html.contains("default-src 'none'"));
    for outside in ["url(", "@import", "http-equiv=\"refresh\"", "<script", "\u{202e}", "\u{1b}"] {
        // A picture may name its own arrow.
        assert!(!html.replace("url(#arrow)", "").contains(outside), "{outside:?}");
    }
    let addresses = html.matches("://").count() - html.matches("http://www.w3.org/2000/svg").count();
    let shown =
        document.descendants().filter_map(|it| it.text()).map(|it| it.matches("://").count()).sum::<usize>();
    assert!(addresses <= shown, "an address that is not text");
}

#[test]
fn the_page_of_a_release_holds_what_the_manifest_does() {
    for name in ["test", "packed"] {
        let (directory, store, manifest) = example::release_of(name);
        let path = directory.path().join("dist");
        write(&store, &manifest, &path).unwrap();
        let verdict = verify(&path, None).unwrap();
        let html = release_page(&path, &manifest, &verdict);
        check(&html);
        for artifact in &manifest.artifacts {
            for part in [
                &artifact.archive.path,
                &artifact.archive.sha256,
                &artifact.license,
                &artifact.files[0].sha256,
            ] {
                assert!(html.contains(part.as_str()), "{part}");
            }
        }
        assert!(html.contains("Every file is what the manifest says"));
        assert!(html.contains("None lies beside this release"));
        // Nothing in the other release depends on anything.
        assert!(html.contains("viewBox=") && (name != "test" || html.contains("marker-end")));
    }
}

#[test]
fn what_is_empty_is_not_shown_as_a_table() {
    assert_eq!(table("x", &["a", "b"], &[]), "<p>None.</p>\n");
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    let html = table("x", &["a", "b", "c"], &[row(["1", "", "2"]), row(["", "", "3"])]);
    // On a phone, the names of columns stand before the cells.
    assert!(html.contains("<table style=\"--h1:'a: ';--h2:'c: ';\">"), "{html}");
    assert!(!html.contains(">b<") && html.contains("<tr><td></td><td>3</td></tr>"), "{html}");
    assert!((1..=COLUMNS).all(|number| STYLE.contains(&format!("content:var(--h{number})"))));
}

#[test]
fn what_programs_read_is_set_apart_in_sentences() {
    assert_eq!(prose("`a<b` is"), "<code>a&lt;b</code> is");
    assert_eq!(prose("a ` b <"), "a ` b &lt;");
    assert_eq!(
        (exact_size(431), exact_size(1 << 20)),
        ("431 bytes".into(), "1.0 MiB (1048576 bytes)".into())
    );
}

#[test]
fn a_strangers_release_stays_text() {
    let (directory, store, mut manifest) = example::release();
    let path = directory.path().join("dist");
    write(&store, &manifest, &path).unwrap();
    let evil = EVIL.to_owned();
    manifest.name = evil.clone();
    manifest.program = Some(evil.clone());
    let artifact = &mut manifest.artifacts[0];
    (artifact.license, artifact.version, artifact.sysroot) = (evil.clone(), evil.clone(), Some(evil.clone()));
    artifact.archive.path = evil.clone();
    artifact.files[0].path = evil.clone();
    artifact.step.recipe = evil.clone();
    // In a circle.
    artifact.step.dependencies = vec![evil.clone()];
    artifact.parts.push(crate::Part { name: evil.clone(), license: evil.clone(), input: Some(evil.clone()) });
    let facts = manifest.inputs.values().next().unwrap().clone();
    manifest.inputs.insert(evil.clone(), facts);
    std::fs::create_dir(path.join("provenance")).unwrap();
    let statement =
        serde_json::json!({ "predicateType": EVIL, "subject": [{ "name": EVIL }, { "name": "b" }] });
    let payload = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, statement.to_string());
    let envelope =
        serde_json::json!({ "payload": payload, "signatures": [{ "keyid": EVIL }, {}] }).to_string();
    let write = |name: &str, text: &str| std::fs::write(path.join("provenance").join(name), text).unwrap();
    write("a.intoto.jsonl", &envelope);
    write("b.intoto.jsonl", "{");
    let html = release_page(&path, &manifest, &verify(&path, None).unwrap());
    check(&html);
    assert!(html.contains("Signatures were not checked for this page"));
    assert!(
        html.contains("can't be read as an envelope")
            && html.contains("unnamed")
            && html.contains(" and 1 more")
    );
    assert!(html.contains("&lt;script&gt;"));
}

#[test]
fn a_rebuild_tells_of_each_artifact_whether_it_is_the_same() {
    let (directory, store, manifest) = example::release();
    let [given, rebuilt] = ["given", "rebuilt"].map(|name| directory.path().join(name));
    write(&store, &manifest, &given).unwrap();
    write(&store, &manifest, &rebuilt).unwrap();
    let of = || Rebuild::new((&given, &rebuilt), &manifest, None, "mlc-repro").unwrap();
    assert!(of().same && of().artifacts.iter().all(|(_, same)| *same));
    check(&rebuild_page(&of()));
    // More differs than is listed, and the archive comes behind all of it.
    for index in 0..200 {
        std::fs::write(rebuilt.join(format!("a{index}")), "").unwrap();
    }
    std::fs::remove_file(rebuilt.join(example::LINUX)).unwrap();
    let rebuild = of();
    assert_eq!(rebuild.artifacts, [(example::ARCHIVE.to_owned(), true), (example::LINUX.to_owned(), false)]);
    assert!(!rebuild.same && rebuild.comparison.left_out > 0);
    let html = rebuild_page(&rebuild);
    check(&html);
    assert!(html.contains("The rebuild differs") && html.contains("differs</span>"));
}

#[test]
fn the_page_of_a_comparison_names_causes_and_stays_text() {
    let json =
        |text: &str| serde_json::json!({ EVIL: { "time": text, "list": [EVIL] } }).to_string().into_bytes();
    let comparison =
        artifact::compare_bytes(EVIL, &json("2026-11-27T10:00:00Z"), &json("2025-01-02T11:11:11Z"));
    let html = comparison_page(&comparison);
    check(&html);
    assert!(html.contains("time stamp") && html.contains("SOURCE_DATE_EPOCH"));
    let rebuild = Rebuild {
        schema: Rebuild::SCHEMA,
        release: EVIL.into(),
        manifest_sha256: None,
        rebuilt_by: "mlc-repro".into(),
        same: false,
        artifacts: vec![(EVIL.into(), false), ("b".into(), true)],
        comparison,
    };
    check(&rebuild_page(&rebuild));
    let same = artifact::compare_bytes("x", b"a", b"a");
    check(&comparison_page(&same));
}
