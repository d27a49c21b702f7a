//! What recipes and targets are called.

use store::name_type;

name_type!(
    /// The name of a recipe.
    RecipeName,
    "recipe"
);

name_type!(
    /// An LLVM triple, such as `x86_64-pc-windows-msvc`.
    Triple,
    "target"
);

/// Short names of targets on the command line, and what a triple of theirs ends in.
const SHORT: [(&str, &str); 3] =
    [("windows", "-windows-msvc"), ("linux", "-linux-gnu"), ("android", "-linux-android")];

impl Triple {
    /// Whether `text` means this target: its triple, or `windows`, `linux` or `android`.
    pub fn is_meant_by(&self, text: &str) -> bool {
        let short = SHORT.iter().find(|(short, _)| *short == text);
        *self == *text || short.is_some_and(|(_, end)| self.ends_with(end))
    }

    /// Its short name, if it has one.
    pub fn short(&self) -> Option<&'static str> {
        SHORT.iter().find(|(_, end)| self.ends_with(end)).map(|(short, _)| *short)
    }
}

/// A license expression of SPDX, such as `MIT OR Apache-2.0` (SPDX 2.3, annex D). `LicenseRef-NAME` is for what has no
/// identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct License(String);

impl std::str::FromStr for License {
    type Err = InvalidLicense;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match spdx::Expression::parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(InvalidLicense { text: text.to_owned(), reason: error.reason.to_string() }),
        }
    }
}

impl<'de> serde::Deserialize<'de> for License {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl std::fmt::Display for License {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

impl std::ops::Deref for License {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

/// A text that is not a license expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidLicense {
    text: String,
    reason: String,
}

impl std::fmt::Display for InvalidLicense {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` is not a license expression of SPDX ({}); write one such as `MIT OR Apache-2.0`, and `LicenseRef-NAME` for what has no identifier",
            self.text.escape_debug(),
            self.reason
        )
    }
}

impl std::error::Error for InvalidLicense {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_mean_the_triples_of_a_system() {
        for (triple, short) in [
            ("x86_64-pc-windows-msvc", "windows"),
            ("x86_64-unknown-linux-gnu", "linux"),
            ("aarch64-linux-android", "android"),
        ] {
            let triple: Triple = triple.parse().unwrap();
            for name in ["windows", "linux", "android", "macos"] {
                assert_eq!(triple.is_meant_by(name), name == short, "{triple} {name}");
            }
            assert!(triple.is_meant_by(&triple));
        }
    }

    #[test]
    fn licenses_are_expressions_of_spdx() {
        for good in [
            "MIT",
            "MIT OR Apache-2.0",
            "Apache-2.0 AND (Apache-2.0 WITH LLVM-exception)",
            "LicenseRef-Microsoft-Visual-Studio",
            "LGPL-2.1-or-later",
        ] {
            assert_eq!(&*good.parse::<License>().unwrap(), good);
        }
        for bad in ["", "Apche two, or so", "MIT OR", "mit/apache", "GPL", "MIT AND (Apache-2.0"] {
            let error = bad.parse::<License>().unwrap_err().to_string();
            assert!(error.contains("is not a license expression of SPDX"), "{error}");
        }
    }
}
