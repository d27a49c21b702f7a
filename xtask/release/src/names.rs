//! Names of files that mean the same file on every system, and text that a terminal shows as it is.

use store::printable_lines;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The longest name that common file systems keep, in bytes.
const LONGEST_NAME: usize = 255;

/// The longest path that Linux takes, in bytes.
const LONGEST_PATH: usize = 4096;

/// Why a relative path with `/` does not name one file below its directory on every system, or nothing when it does.
pub fn why_unsafe(path: &str) -> Option<&'static str> {
    if path.len() > LONGEST_PATH {
        return Some("it is longer than 4096 bytes");
    }
    if !is_nfc(path) {
        return Some("it is not in Unicode's normal form C, so it is another name on some systems");
    }
    path.split('/').find_map(why_unsafe_name)
}

fn why_unsafe_name(name: &str) -> Option<&'static str> {
    if matches!(name, "" | "." | "..") {
        return Some("a part of it is empty, `.` or `..`");
    }
    if name.len() > LONGEST_NAME {
        return Some("a part of it is longer than 255 bytes");
    }
    if name.ends_with([' ', '.']) || name.starts_with(' ') {
        return Some(
            "a part of it begins with a space, or ends with a space or a dot, which Windows takes off",
        );
    }
    if name.contains(|c: char| "\\:*?\"<>|".contains(c)) {
        return Some("it has a character that Windows does not allow");
    }
    if name.contains(is_invisible) {
        return Some("it has a character that is not shown, or changes how others are shown");
    }
    is_device(name).then_some("a part of it is the name of a device on Windows")
}

/// Whether Windows opens a device, whatever the directory and the extension are.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$") {
        return true;
    }
    let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    // The superscripts one, two and three count as digits there.
    number.is_some_and(|digit| digit.chars().count() == 1 && digit.contains(|c| "0123456789¹²³".contains(c)))
}

/// Control and format characters (those for the direction of text are among them), separators, spaces that are not
/// U+0020, fillers, variation selectors, private use and noncharacters.
fn is_invisible(c: char) -> bool {
    let ranges = [
        ('\u{a0}', '\u{a0}'),
        ('\u{ad}', '\u{ad}'),
        ('\u{34f}', '\u{34f}'),
        ('\u{600}', '\u{605}'),
        ('\u{61c}', '\u{61c}'),
        ('\u{6dd}', '\u{6dd}'),
        ('\u{70f}', '\u{70f}'),
        ('\u{890}', '\u{891}'),
        ('\u{8e2}', '\u{8e2}'),
        ('\u{115f}', '\u{1160}'),
        ('\u{1680}', '\u{1680}'),
        ('\u{17b4}', '\u{17b5}'),
        ('\u{180b}', '\u{180f}'),
        ('\u{2000}', '\u{200f}'),
        ('\u{2028}', '\u{202f}'),
        ('\u{205f}', '\u{206f}'),
        ('\u{2800}', '\u{2800}'),
        ('\u{3000}', '\u{3000}'),
        ('\u{3164}', '\u{3164}'),
        ('\u{e000}', '\u{f8ff}'),
        ('\u{fdd0}', '\u{fdef}'),
        ('\u{fe00}', '\u{fe0f}'),
        ('\u{feff}', '\u{feff}'),
        ('\u{ffa0}', '\u{ffa0}'),
        ('\u{fff0}', '\u{ffff}'),
        ('\u{110bd}', '\u{110bd}'),
        ('\u{110cd}', '\u{110cd}'),
        ('\u{13430}', '\u{1343f}'),
        ('\u{1bca0}', '\u{1bca3}'),
        ('\u{1d173}', '\u{1d17a}'),
        ('\u{e0000}', '\u{10ffff}'),
    ];
    c.is_control() || ranges.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// Equal for two names that are one file somewhere: where letters have no case, or where names are normalised.
pub fn folded(path: &str) -> String {
    // To upper case first: `ß` and `ss`, or the two small sigmas, differ in lower case alone.
    let once = path.nfkd().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    once.collect::<String>().nfkd().collect()
}

/// A text by a stranger as one may show it: what is not shown or moves the cursor is escaped, and further lines are
/// indented, so that none can pass for a line of this program.
pub fn printable(text: &str) -> String {
    printable_lines(text).to_string().replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_honest_releases_are_safe() {
        for name in [
            "bin/tvm_ffi.dll",
            "licenses/a b/LICENSE.txt",
            "caf\u{e9}",
            "日本語/ファイル",
            "lib/libc++.so.1",
            "tvm-0.25.dev0+cpu.dist-info/RECORD",
            "console.txt",
            "com10",
            "nullable",
            "-rf",
            "~",
            ".hidden",
        ] {
            assert_eq!(why_unsafe(name), None, "{name}");
        }
    }

    #[test]
    fn names_that_mean_something_else_somewhere_are_not() {
        for name in [
            "",
            "/",
            "/etc/passwd",
            "a//b",
            "a/",
            "./a",
            "a/../b",
            "c:\\x",
            "a:stream",
            "a?",
            "a*",
            "a|b",
            "<a>",
            "\"a\"",
            "a.",
            "a ",
            "a./b",
            " a",
            "a\nb",
            "a\0b",
            "a\u{7f}",
            "a\u{85}b",
            "NUL",
            "nul.dll",
            "bin/NUL.dll",
            "con.txt",
            "Aux",
            "prn.tar.gz",
            "COM1",
            "com9.log",
            "LPT0",
            "lpt¹.txt",
            "CON .txt",
            "conin$",
            "CONOUT$.x",
            "clock$",
            "a\u{202e}txt.exe",
            "\u{200f}a",
            "a\u{2066}b",
            "\u{61c}",
            "a\u{200b}b",
            "\u{feff}a",
            "a\u{ad}b",
            "a\u{2028}b",
            "a\u{a0}b",
            "a\u{3000}b",
            "\u{e000}",
            "a\u{fe0f}",
            "\u{e0041}",
            "\u{ffff}",
            "cafe\u{301}",
            "\u{212b}",
            "\u{1100}\u{1161}",
        ] {
            assert!(why_unsafe(name).is_some(), "{name:?}");
        }
        assert!(why_unsafe(&"a".repeat(256)).is_some());
        assert!(why_unsafe(&"a/".repeat(3000)).is_some());
    }

    #[test]
    fn names_of_one_file_fold_together() {
        for (a, b) in [
            ("README", "readme"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("CAFÉ", "café"),
            ("straße", "STRASSE"),
            ("σ", "ς"),
            ("\u{212a}", "k"),
            ("ﬁ", "fi"),
            ("İ", "i\u{307}"),
            ("Ａ", "a"),
        ] {
            assert_eq!(folded(a), folded(b), "{a} {b}");
        }
        assert_ne!(folded("a/b"), folded("a-b"));
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c"), "a\\u001b[2Jb\\u202ec");
        assert_eq!(printable("x\nPASS"), "x\n    PASS");
        assert_eq!(printable("plain ü"), "plain ü");
    }
}
