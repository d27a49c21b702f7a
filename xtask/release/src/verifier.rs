//! `verify.py` of a release directory: the check of files, for whoever does not want this program.

/// Its name in the release directory.
pub const NAME: &str = "verify.py";

/// Its text. It needs Python 3.8 or newer and nothing else.
pub const SCRIPT: &str = include_str!("verifier/verify.py");
