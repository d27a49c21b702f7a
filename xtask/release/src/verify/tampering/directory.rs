//! Rows on the directory and its checksums, without a change of the manifest.

use super::{Case, Release, case};
use crate::example::{ARCHIVE, LINUX};
use std::os::unix::{ffi::OsStrExt, fs::symlink};

fn sums(release: &Release, change: impl FnOnce(Vec<&str>) -> String) {
    let path = release.path.join("SHA256SUMS");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, change(text.lines().collect())).unwrap();
}

fn text(lines: &[&str]) -> String {
    lines.join("\n") + "\n"
}

/// Moves a file away and leaves a link to it.
fn link(release: &Release, name: &str) {
    let away = release.path.with_file_name("away");
    std::fs::rename(release.path.join(name), &away).unwrap();
    symlink(&away, release.path.join(name)).unwrap();
}

pub fn cases() -> Vec<Case> {
    vec![
        case(
            "one bit of an archive",
            "hello-1.0-x86_64-pc-windows-msvc.zip: changed: its sha256 is",
            |release| {
                let mut bytes = release.read(ARCHIVE);
                bytes[100] ^= 1;
                std::fs::write(release.path.join(ARCHIVE), bytes).unwrap();
            },
        ),
        case(
            "an archive that is cut off",
            "hello-1.0-x86_64-pc-windows-msvc.zip: changed: it has 10 bytes",
            |release| {
                std::fs::write(release.path.join(ARCHIVE), "0123456789").unwrap();
            },
        ),
        case("an archive is gone", "hello-1.0-x86_64-pc-windows-msvc.zip: is missing", |release| {
            std::fs::remove_file(release.path.join(ARCHIVE)).unwrap();
        }),
        case(
            "an archive has another name",
            "renamed.zip: is not in the manifest; it is `hello-1.0",
            |release| {
                std::fs::rename(release.path.join(ARCHIVE), release.path.join("renamed.zip")).unwrap();
            },
        ),
        case("two archives changed places", "hello-1.0-x86_64-pc-windows-msvc.zip: changed", |release| {
            let (windows, linux) = (release.read(ARCHIVE), release.read(LINUX));
            std::fs::write(release.path.join(ARCHIVE), linux).unwrap();
            std::fs::write(release.path.join(LINUX), windows).unwrap();
        }),
        case(
            "an archive is a link",
            "hello-1.0-x86_64-pc-windows-msvc.zip: is not a regular file",
            |release| {
                link(release, ARCHIVE);
            },
        ),
        case("`licenses` is a link", "licenses: is neither in the manifest nor a regular file", |release| {
            link(release, "licenses");
        }),
        case("`release.json` is a link", "release.json: is not a regular file", |release| {
            link(release, "release.json")
        }),
        case("`SHA256SUMS` is a link", "SHA256SUMS: is not a regular file", |release| {
            link(release, "SHA256SUMS")
        }),
        case("`verify.py` is a link", "verify.py: is not a regular file", |release| {
            link(release, "verify.py")
        }),
        case("`verify.py` says something else", "verify.py: changed", |release| {
            std::fs::write(release.path.join("verify.py"), "print('PASS')\n").unwrap();
        }),
        case(
            "a license text is another",
            "licenses/hello-1.0-x86_64-pc-windows-msvc/LICENSE: changed",
            |release| {
                std::fs::write(
                    release.path.join("licenses/hello-1.0-x86_64-pc-windows-msvc/LICENSE"),
                    "LICENSE",
                )
                .unwrap();
            },
        ),
        case("the bill of materials says something else", "bom.cdx.json: changed", |release| {
            std::fs::write(release.path.join("bom.cdx.json"), "{}").unwrap();
        }),
        case("a file more", "extra: is not in the manifest", |release| {
            std::fs::write(release.path.join("extra"), "").unwrap();
        }),
        case("a hidden file more", "licenses/.hidden: is not in the manifest", |release| {
            std::fs::write(release.path.join("licenses/.hidden"), "").unwrap();
        }),
        case("an empty directory", "empty: is a directory that the manifest does not name", |release| {
            std::fs::create_dir(release.path.join("empty")).unwrap();
        }),
        case("a link more", "link: is neither in the manifest nor a regular file", |release| {
            symlink("/etc/passwd", release.path.join("link")).unwrap();
        }),
        case("a file whose name moves the cursor", "\\u001b[31m: is not in the manifest", |release| {
            std::fs::write(release.path.join("\u{1b}[31m"), "").unwrap();
        }),
        case(
            "a file whose name turns the text around",
            "\\u202etxt.exe: is not in the manifest",
            |release| {
                std::fs::write(release.path.join("\u{202e}txt.exe"), "").unwrap();
            },
        ),
        case("a file whose name is not UTF-8", "\\xff", |release| {
            std::fs::write(release.path.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        }),
        case("`release.json` is gone", "release.json: is missing", |release| {
            std::fs::remove_file(release.path.join("release.json")).unwrap();
        }),
        case("`SHA256SUMS` is gone", "SHA256SUMS: is missing", |release| {
            std::fs::remove_file(release.path.join("SHA256SUMS")).unwrap();
        }),
        case("a checksum is another", "where it should be", |release| {
            sums(release, |lines| {
                let first = format!("{}{}", "0".repeat(64), &lines[0][64..]);
                [first + "\n", text(&lines[1..])].concat()
            });
        }),
        case("a checksum is gone", "SHA256SUMS: does not name `bom.cdx.json`", |release| {
            sums(release, |lines| text(&lines[1..]));
        }),
        case("a checksum stands there twice", "SHA256SUMS: names `verify.py` twice", |release| {
            sums(release, |mut lines| {
                lines.push(lines[lines.len() - 1]);
                text(&lines)
            });
        }),
        case(
            "a checksum of a file elsewhere",
            "SHA256SUMS: names `../x`, which is not in the manifest",
            |release| {
                sums(release, |lines| text(&lines) + &format!("{}  ../x\n", "0".repeat(64)));
            },
        ),
        case("a comment among the checksums", "SHA256SUMS: line 1 is not a checksum", |release| {
            sums(release, |lines| format!("# all is well\n{}", text(&lines)));
        }),
        case("the checksums stand in another order", "SHA256SUMS: is not written canonically", |release| {
            sums(release, |mut lines| {
                lines.reverse();
                text(&lines)
            });
        }),
        case("the checksums have Windows' line ends", "SHA256SUMS: is not written canonically", |release| {
            sums(release, |lines| lines.join("\r\n") + "\r\n");
        }),
        case("the checksums are for binary mode", "SHA256SUMS: line 1 is not a checksum", |release| {
            sums(release, |lines| text(&lines).replace("  ", " *"));
        }),
    ]
}
