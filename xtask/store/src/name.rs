//! Names that are parsed once, where a file or the command line gives them.

use std::fmt;

/// The longest name, in bytes. `RECIPE@TARGET` and what is put around it still fit into a file's name.
const LONGEST: usize = 100;

/// A text that cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    /// What it would name, such as `recipe`.
    pub what: &'static str,
    /// The text.
    pub text: String,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, text) = (self.what, &self.text);
        if text.is_empty() {
            return write!(f, "the name of a {what} is empty");
        }
        let shown: String = text.chars().take(LONGEST).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        write!(
            f,
            "`{}{more}` cannot name a {what}: a name has at most {LONGEST} letters, digits and `.+-_`, and begins with a letter or digit",
            shown.escape_debug()
        )
    }
}

impl std::error::Error for InvalidName {}

/// Checks a name: it can stand in a path, in `RECIPE@TARGET` and in a message as it is.
///
/// # Errors
/// It is empty or longer than 100 bytes, begins with something else than an ASCII letter or digit, or has other characters
/// than ASCII letters, digits and `.+-_`.
pub fn check_name(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let fits = text.len() <= LONGEST
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".+-_".contains(c));
    if fits { Ok(()) } else { Err(InvalidName { what, text: text.to_owned() }) }
}

/// Makes a type of names that [`check_name`] lets pass: `name_type!(/** docs */ RecipeName, "recipe");`
///
/// It is read and written as a string, and can be used as one. The crate needs `serde`.
#[macro_export]
macro_rules! name_type {
    ($(#[$meta:meta])* $name:ident, $what:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::InvalidName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::check_name($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == *other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == **other
            }
        }
    };
}

#[cfg(test)]
mod tests {
    name_type!(
        /// A name.
        Name,
        "thing"
    );

    #[test]
    fn a_name_stands_in_paths_and_messages_as_it_is() {
        for good in ["a", "tvm-ffi", "x86_64-pc-windows-msvc", "0.1.15.post2+libcxx", "Qwen2.5-3B-Instruct"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let long = "a".repeat(101);
        for bad in [
            "", ".", "..", ".hidden", "-x", "a/b", "a/../b", "bad@x", "a b", "a\n", "ä", "a\\b", "a:b", &long,
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        let error = "a/\u{1b}[2J".parse::<Name>().unwrap_err().to_string();
        assert!(error.starts_with("`a/\\u{1b}[2J` cannot name a thing"), "{error}");
    }

    #[test]
    fn a_name_is_a_string_in_files() {
        let name: Name = serde_json::from_str("\"a\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"a\"");
        let error = serde_json::from_str::<Name>("\"a@b\"").unwrap_err().to_string();
        assert!(error.contains("cannot name a thing"), "{error}");
    }
}
