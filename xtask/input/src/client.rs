//! The HTTP client.
//!
//! TLS by rustls with the system's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` add or replace them); proxies from
//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

use std::time::Duration;
use ureq::{
    Agent,
    tls::{RootCerts, TlsConfig},
};

/// How long a server may say nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A client that gives up on a server that says nothing for as long as `patience`, never on a long download.
pub fn agent(patience: Duration) -> Agent {
    Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .timeout_connect(Some(patience))
        .timeout_recv_response(Some(patience))
        .timeout_per_read(Some(patience))
        .user_agent(concat!("mlc-repro/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(true)
        .build()
        .new_agent()
}

/// An address without user and password, for messages.
pub fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
            let host = host.rsplit('@').next().unwrap_or(host);
            match path {
                Some(path) => format!("{scheme}://{host}/{path}"),
                None => format!("{scheme}://{host}"),
            }
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(without_credentials("https://u:p@x.invalid/a@b"), "https://x.invalid/a@b");
        assert_eq!(without_credentials("https://x.invalid"), "https://x.invalid");
    }
}
