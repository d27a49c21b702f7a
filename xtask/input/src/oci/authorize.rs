//! How a registry is shown who asks: its challenge, and what answers it.

use super::{Credentials, Registry, credentials};
use crate::{
    client::{Address, Content, Method, Token},
    url::is_private,
};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};
use ureq::http::{HeaderMap, header};

/// The most that the answer of a token's server may have, in bytes.
const LARGEST_TOKEN: u64 = 64 << 10;

impl Registry {
    /// What answers a challenge (RFC 9110, 11.6.1), and for how long.
    pub(super) fn authorize(&self, refusal: &HeaderMap) -> Result<(Option<Token>, Duration)> {
        let text = refusal.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let (scheme, parameters) = challenge(text.unwrap_or_default()).context("it does not say how")?;
        let known = credentials::of_host(&self.reference.host)?;
        ensure!(known.is_none() || is_private(&self.server), "user and password would be sent without TLS");
        if scheme == "basic" {
            let Some(Credentials::Basic { user, password }) = known else {
                bail!("it wants a user and a password, and none are known")
            };
            return Ok((Some(Token::basic(&user, &password)), Duration::from_secs(3600)));
        }
        let realm = parameters.get("realm").context("it does not say who gives tokens")?;
        ensure!(is_private(realm) || known.is_none(), "its tokens are given without TLS");
        let service = parameters.get("service").map_or("", String::as_str);
        let scope = format!("repository:{}:{}", self.reference.name, self.actions);
        let answer = match known {
            Some(Credentials::Identity(token)) => {
                let form = format!(
                    "grant_type=refresh_token&service={}&client_id=mlc-repro&scope={}&refresh_token={}",
                    escaped(service),
                    escaped(&scope),
                    escaped(&token)
                );
                let kind = (header::CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned());
                let address = Address::from(realm.clone());
                self.ask(Method::Post, &address, &[kind], &Content::Bytes(form.as_bytes()))?
            }
            basic => {
                let mark = if realm.contains('?') { '&' } else { '?' };
                let url = format!("{realm}{mark}service={}&scope={}", escaped(service), escaped(&scope));
                let token = match basic {
                    Some(Credentials::Basic { user, password }) => Some(Token::basic(&user, &password)),
                    _ => None,
                };
                self.ask(Method::Get, &Address { url, token }, &[], &Content::Nothing)?
            }
        };
        ensure!(answer.status().is_success(), "who gives tokens answers {}", answer.status().as_u16());
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<u64>,
        }
        let bytes = self.bytes(answer, LARGEST_TOKEN)?;
        // serde's message may show a value.
        let Ok(answer) = serde_json::from_slice::<Answer>(&bytes) else { bail!("it gives no token") };
        let text = answer.token.or(answer.access_token).unwrap_or_default();
        let token = Token::new(&text).context("it gives no token")?;
        // A minute, where nothing is said; and some time before the end.
        let lifetime = answer.expires_in.unwrap_or(60).clamp(2, 3600);
        Ok((Some(token), Duration::from_secs(lifetime * 3 / 4)))
    }
}

/// `SCHEME name="value",…` of `WWW-Authenticate`, the scheme and names in lower case. The first challenge of a kind that we can
/// answer; quoted values may have commas.
pub(super) fn challenge(text: &str) -> Option<(String, BTreeMap<String, String>)> {
    let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "basic" | "bearer") {
        return None;
    }
    let mut parameters = BTreeMap::new();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, after) = match after.strip_prefix('"') {
            Some(after) => after.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.insert(name, value.to_owned());
        rest = after;
    }
    Some((scheme, parameters))
}

/// A value of a query or form.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let text = r#"Bearer realm="https://a.invalid/token",service="r,x",scope="repository:a:pull,push""#;
        let (scheme, parameters) = challenge(text).unwrap();
        assert_eq!(scheme, "bearer");
        assert_eq!(parameters["realm"], "https://a.invalid/token");
        assert_eq!(parameters["service"], "r,x");
        assert_eq!(challenge("basic realm=x").unwrap().0, "basic");
        assert_eq!(challenge("Negotiate abc"), None);
        assert_eq!(challenge(""), None);
        assert_eq!(challenge("Bearer realm=\"open"), None);
        assert_eq!(escaped("a b&c=ü"), "a%20b%26c%3D%C3%BC");
    }
}
