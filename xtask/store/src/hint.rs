//! What may help against an error, as data beside its text: it is printed once, after the causes.

use std::{error::Error, fmt};

/// An error and what to do about it.
#[derive(Debug)]
pub struct Hinted {
    message: String,
    hints: Vec<String>,
    source: Option<anyhow::Error>,
}

/// An error with a hint: an imperative sentence without a full stop.
pub fn hinted(message: impl Into<String>, hint: impl Into<String>) -> Hinted {
    Hinted { message: message.into(), hints: vec![hint.into()], source: None }
}

impl Hinted {
    /// The same error with its cause.
    pub fn because(self, cause: impl Into<anyhow::Error>) -> Self {
        Self { source: Some(cause.into()), ..self }
    }

    /// One that is a link of a chain of errors, or within an I/O error there.
    pub fn of<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let within = || cause.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref();
        cause.downcast_ref().or_else(within)
    }

    /// The text and the hints of an error, for one more who meets it.
    pub fn copy_of(error: &anyhow::Error) -> Self {
        let hints = hints(error).map(str::to_owned).collect();
        Self { message: format!("{error:#}"), hints, source: None }
    }

    /// What to do.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Hinted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(AsRef::as_ref)
    }
}

/// Says of what fails what was tried, and what to do about it.
pub trait WithHint<T> {
    /// As `with_context` of `anyhow`, with a hint. A cause is asked for by [`find`], since it is one of the chain then.
    fn with_hint(self, hinted: impl FnOnce() -> Hinted) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> WithHint<T> for Result<T, E> {
    fn with_hint(self, hinted: impl FnOnce() -> Hinted) -> anyhow::Result<T> {
        self.map_err(|error| hinted().because(error).into())
    }
}

impl<T> WithHint<T> for Option<T> {
    fn with_hint(self, hinted: impl FnOnce() -> Hinted) -> anyhow::Result<T> {
        self.ok_or_else(|| hinted().into())
    }
}

/// The first cause of a kind, however many contexts and hints stand above it.
pub fn find<T: Error + 'static>(error: &anyhow::Error) -> Option<&T> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// An error with its causes, then its hints, a line each: where nobody shows them apart.
pub fn full_text(error: &anyhow::Error) -> String {
    hints(error).fold(format!("{error:#}"), |text, hint| text + "\n  " + hint)
}

/// The hints of an error and of its causes.
pub fn hints(error: &anyhow::Error) -> impl Iterator<Item = &str> {
    let hinted = error.chain().filter_map(Hinted::of);
    hinted.flat_map(|hinted| hinted.hints.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn hints_and_kinds_are_found_below_contexts() {
        let lost = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = Err::<(), _>(lost)
            .with_hint(|| hinted("cannot read it", "fetch it"))
            .context("cannot build")
            .with_hint(|| hinted("cannot release", "look elsewhere"))
            .unwrap_err();
        assert_eq!(hints(&error).collect::<Vec<_>>(), ["look elsewhere", "fetch it"]);
        assert!(
            format!("{error:#}").starts_with("cannot release: cannot build: cannot read it: "),
            "{error:#}"
        );
        let within = hinted("cannot write", "free some");
        let within = anyhow!(std::io::Error::other(within)).context("cannot unpack");
        assert_eq!(hints(&within).collect::<Vec<_>>(), ["free some"]);
        let copy = anyhow!(Hinted::copy_of(&error));
        assert_eq!(copy.to_string(), format!("{error:#}"));
        assert!(hints(&copy).eq(hints(&error)));
        assert!(full_text(&error).ends_with("\n  look elsewhere\n  fetch it"));
        assert_eq!(find::<std::io::Error>(&error).unwrap().kind(), std::io::ErrorKind::NotFound);
        assert!(find::<Hinted>(&anyhow!("x")).is_none());
        let error = None::<()>.with_hint(|| hinted("nothing", "something")).unwrap_err();
        assert_eq!((error.to_string().as_str(), hints(&error).next()), ("nothing", Some("something")));
    }
}
