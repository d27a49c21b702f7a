//! Why builds differ: what the two values look like when everything is taken out that one cause would change.

use regex::Regex;
use serde::Serialize;
use std::{fmt, sync::OnceLock};

/// A likely cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The time of the build.
    TimeStamp,
    /// The directory of the build.
    Path,
    /// Who built it.
    UserName,
    /// The order in which a directory, a hash table or threads gave things.
    Order,
    /// The processor that it was built on, or how many there were.
    Processor,
    /// Modes of files, as the umask or a checkout left them.
    Permissions,
    /// Another version of a compiler or tool.
    Tool,
    /// An identifier that is made of the rest, or of chance.
    Identifier,
    /// Line ends.
    LineEnds,
    /// The same content, compressed or laid out in another way.
    Compression,
}

impl Cause {
    /// What it is called.
    pub fn title(self) -> &'static str {
        match self {
            Self::TimeStamp => "time stamp",
            Self::Path => "path of the build",
            Self::UserName => "user name",
            Self::Order => "order",
            Self::Processor => "processor of the host",
            Self::Permissions => "permissions",
            Self::Tool => "version of a tool",
            Self::Identifier => "identifier",
            Self::LineEnds => "line ends",
            Self::Compression => "compression or layout",
        }
    }

    /// What helps.
    pub fn advice(self) -> &'static str {
        match self {
            Self::TimeStamp => {
                "set SOURCE_DATE_EPOCH, link with /Brepro or --no-insert-timestamp, and leave out __DATE__ and __TIME__"
            }
            Self::Path => {
                "build in one directory everywhere, or map it: -ffile-prefix-map=, /pathmap:, --remap-path-prefix"
            }
            Self::UserName => "write archives with owner 0, and leave user and host out of what is built in",
            Self::Order => {
                "sort what comes from directories (glob, find, readdir), hash tables and threads before it is written"
            }
            Self::Processor => {
                "name the processor (-march=x86-64-v2, not native), and let no count of processors in"
            }
            Self::Permissions => "set modes when packing; umask and checkouts differ",
            Self::Tool => "pin compilers and tools; another version gives other bytes",
            Self::Identifier => {
                "it often follows from other differences; else make it from content (--build-id=sha1, /Brepro, fixed UUIDs)"
            }
            Self::LineEnds => "check out with the same line ends everywhere (.gitattributes)",
            Self::Compression => "pin the compressor, its level and its number of threads",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// Longer texts are not searched for patterns, in bytes.
const LONGEST: usize = 64 << 10;

/// What to take out, and what it is if the rest is equal. The first that fits counts.
const PATTERNS: [(Cause, &str); 8] = [
    (
        Cause::TimeStamp,
        concat!(
            r"(?:19|20)\d\d[-/.]\d\d[-/.]\d\d(?:[T _]\d\d[:.-]\d\d(?:[:.-]\d\d(?:\.\d+)?)?)?(?:Z| ?[+-]\d\d:?\d\d)?",
            r"|(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\w*,? +)?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\w* +\d{1,2},?(?: +\d\d:\d\d:\d\d(?: +[A-Z]{3,4})?)? +(?:19|20)\d\d",
            r"|(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\w*,? +)?\d{1,2} +(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\w* +(?:19|20)\d\d(?: +\d\d:\d\d(?::\d\d)?)?(?: +(?:GMT|UTC|[+-]\d{4}))?",
            r"|\b\d\d:\d\d:\d\d(?:\.\d+)?\b",
            r"|\b1[0-9]{9}(?:[0-9]{3})?\b",
            r"|\b(?:19|20)\d\d(?:0\d|1[0-2])(?:[0-2]\d|3[01])(?:T?\d{4,6}Z?)?\b",
        ),
    ),
    (Cause::UserName, r"(?:/home/|/Users/|[A-Za-z]:[\\/]+Users[\\/]+)[^/\\\s:;]+"),
    (
        Cause::Identifier,
        r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{64}\b|\b[0-9a-f]{40}\b|\b[0-9a-f]{32}\b",
    ),
    (Cause::Path, r"(?:[A-Za-z]:)?(?:[\\/]+[\w.+~@ -]+){2,}[\\/]*|(?:[A-Za-z]:)[\\/]+[\w.+~@-]+"),
    (
        Cause::Processor,
        concat!(
            r"(?i)\b(?:znver\d|bdver\d|btver\d|skylake(?:-avx512)?|haswell|broadwell|ivybridge|sandybridge|nehalem|westmere|",
            r"icelake-(?:client|server)|cascadelake|cooperlake|sapphirerapids|emeraldrapids|graniterapids|alderlake|",
            r"raptorlake|meteorlake|tigerlake|rocketlake|x86-64(?:-v[234])?|native|generic|neoverse-\w+|cortex-\w+|apple-m\d|",
            r"armv[89][\w.+-]*|avx(?:2|512\w*)?|sse[\w.]*|core2|athlon\w*)\b|(?:-j|jobs[ =:]+|nproc[ =:]+|threads[ =:]+)\d+\b",
        ),
    ),
    (Cause::Tool, r"\d+(?:\.\d+)+(?:[-+~][\w.+~]+)*"),
    (Cause::LineEnds, r"\r"),
    (Cause::Identifier, r"\b(?:tmp|temp|cc)[A-Za-z0-9_]{6,}\b"),
];

fn patterns() -> &'static [(Cause, Regex)] {
    static COMPILED: OnceLock<Vec<(Cause, Regex)>> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let compiled = PATTERNS.iter().map(|(cause, pattern)| Some((*cause, Regex::new(pattern).ok()?)));
        compiled.flatten().collect()
    })
}

/// The likely cause of two texts' difference.
pub fn of_texts(left: &str, right: &str) -> Option<Cause> {
    if left == right || left.len().max(right.len()) > LONGEST {
        return None;
    }
    let alone = patterns().iter().find(|(cause, pattern)| {
        // A mark in its place, so that nothing grows together; but a line's end is there on one side alone.
        let mark = if *cause == Cause::LineEnds { "" } else { "\u{1}" };
        pattern.replace_all(left, mark) == pattern.replace_all(right, mark)
    });
    if let Some((cause, _)) = alone {
        return Some(*cause);
    }
    is_reordered(left.lines(), right.lines()).then_some(Cause::Order)
}

/// Whether the same things stand in another order.
pub fn is_reordered<T: Ord>(left: impl Iterator<Item = T>, right: impl Iterator<Item = T>) -> bool {
    let (mut left, mut right): (Vec<T>, Vec<T>) = (left.collect(), right.collect());
    if left.len() != right.len() || left == right {
        return false;
    }
    left.sort_unstable();
    right.sort_unstable();
    left == right
}

/// Whether a number is a time in seconds since 1970 that a build may have run at: from 2001 to 2036.
pub fn is_time(seconds: u64) -> bool {
    (1_000_000_000..2_100_000_000).contains(&seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_alone_is_the_cause() {
        for (left, right, expected) in [
            ("built on 2026-11-27 10:00:00 UTC", "built on 2025-01-02 23:59:59 UTC", Some(Cause::TimeStamp)),
            ("Nov 27 2026 10:00:00", "Jan  2 2025 01:02:03", Some(Cause::TimeStamp)),
            ("\"created\": 1764237600", "\"created\": 1664237600", Some(Cause::TimeStamp)),
            ("Fri, 27 Nov 2026 10:00:00 GMT", "Sat, 28 Nov 2026 10:00:00 GMT", Some(Cause::TimeStamp)),
            ("/home/alice/src/a.c", "/home/bob/src/a.c", Some(Cause::UserName)),
            (r"C:\Users\alice\a.pdb", r"C:\Users\bob\a.pdb", Some(Cause::UserName)),
            ("file /build/1/a.c:3", "file /tmp/build-2/sub/a.c:3", Some(Cause::Path)),
            (r"D:\a\x.obj", r"E:\work\agent\x.obj", Some(Cause::Path)),
            ("-march=znver3", "-march=skylake-avx512", Some(Cause::Processor)),
            ("make -j16", "make -j2", Some(Cause::Processor)),
            ("clang version 18.1.8", "clang version 19.1.0", Some(Cause::Tool)),
            ("a\r\nb\r\n", "a\nb\n", Some(Cause::LineEnds)),
            ("b\na\n", "a\nb\n", Some(Cause::Order)),
            (
                "id 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                "id 7ba7b810-9dad-41d1-80b4-00c04fd430c9",
                Some(Cause::Identifier),
            ),
            ("yes", "no", None),
            ("same", "same", None),
        ] {
            assert_eq!(of_texts(left, right), expected, "{left} / {right}");
        }
        assert_eq!(patterns().len(), PATTERNS.len(), "every pattern is one");
    }
}
