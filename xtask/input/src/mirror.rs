//! Where inputs are held by digest: static servers with the layout of a vendored directory, and repositories of registries.

use crate::{
    FetchOptions, Input,
    client::{Address, Client},
    oci::{Reference, Registry, SCHEME},
};
use anyhow::{Result, ensure};
use store::hinted;

/// A place that has inputs by their digests.
pub enum Mirror {
    /// `URL/sha256/HEX`.
    Server(String),
    /// The blobs of a repository.
    Registry(Box<Registry>),
}

impl Mirror {
    /// Those of the options.
    ///
    /// # Errors
    /// If one is neither an address nor a repository.
    pub fn all(options: &FetchOptions) -> Result<Vec<Self>> {
        let client = options.network.client(options.patience);
        options.mirrors.iter().map(|mirror| Self::parse(mirror, &client)).collect()
    }

    fn parse(text: &str, client: &Client) -> Result<Self> {
        if text.starts_with(SCHEME) {
            return Ok(Self::Registry(Box::new(Registry::new(client.clone(), &repository(text)?, false))));
        }
        ensure!(
            text.starts_with("https://") || text.starts_with("http://"),
            "the mirror `{}` is not an address that starts with https://, http:// or {SCHEME}",
            text.escape_debug()
        );
        Ok(Self::Server(text.to_owned()))
    }

    /// Where it has an input, if it does.
    ///
    /// # Errors
    /// If a registry does not let us in.
    pub fn address(&self, input: &Input) -> Result<Address> {
        let hex = input.digest.hex();
        match self {
            Self::Server(url) => Ok(format!("{url}/sha256/{hex}").into()),
            Self::Registry(registry) => registry.blob(&hex),
        }
    }
}

/// `oci://HOST/NAME` alone.
pub fn repository(text: &str) -> Result<Reference> {
    let reference = Reference::parse(text)?;
    ensure!(
        reference.tag.is_none() && reference.sha256.is_none(),
        hinted(
            format!("`{}` names more than a repository", text.escape_debug()),
            "inputs stand in one by their digests: oci://HOST/NAME"
        )
    );
    Ok(reference)
}
