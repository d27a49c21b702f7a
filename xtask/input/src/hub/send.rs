//! Sending large files to where a hub keeps them: whole, or in the parts that it asks for (those above 5 GB, at least).

use super::{
    Hub,
    file::PublishedFile,
    publish::{Action, LFS},
};
use crate::{
    client::{Address, Content, Failure, Method},
    url::{is_private, same_origin, without_credentials},
};
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{Seek, SeekFrom},
};
use store::{Progress, hinted};
use ureq::http::header;

/// How large the parts are, among what the hub says of an upload; keys that are numbers are the addresses of parts.
const CHUNK_SIZE: &str = "chunk_size";

impl Hub {
    /// Sends one file to where it is kept. The addresses are secrets themselves: they are not shown, and get no token, wherever
    /// they are.
    pub(super) fn send(&self, file: &PublishedFile, upload: &Action, progress: &dyn Progress) -> Result<()> {
        let send = || match upload.header.contains_key(CHUNK_SIZE) {
            false => {
                let address = self.storage(&upload.href)?;
                let put = || self.client.put(&address, file.open().map_err(Failure::local)?);
                self.client.persist(&address, progress, put).map_err(|failure| refused(&failure))
            }
            true => self.send_parts(file, upload, progress),
        };
        send().with_context(|| format!("cannot send `{}`", file.path))
    }

    fn storage(&self, href: &str) -> Result<Address> {
        ensure!(
            is_private(href),
            "{} names an address for it that is neither https:// nor this machine",
            self.shown()
        );
        Ok(Address::from(href.to_owned()))
    }

    /// Sends the parts one after the other, each again where it fails, and says then that these are all.
    fn send_parts(&self, file: &PublishedFile, upload: &Action, progress: &dyn Progress) -> Result<()> {
        let (chunk, parts) = parts(upload, file.digest.size)
            .with_context(|| format!("{} wants it in parts, and does not say how", self.shown()))?;
        let mut sent = Vec::new();
        for (number, href) in parts {
            let address = self.storage(href)?;
            let offset = chunk * (number - 1);
            let length = chunk.min(file.digest.size - offset);
            let put = || {
                let mut content = file.open().map_err(Failure::local)?;
                content.seek(SeekFrom::Start(offset)).map_err(Failure::local)?;
                let headers = [(header::CONTENT_LENGTH, length.to_string())];
                let content = Content::Part(content, length);
                let answer = self.client.exchange(Method::Put, &address, &headers, content)?;
                let tag = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
                match (answer.status().is_success(), tag.filter(|tag| !tag.is_empty())) {
                    (true, Some(tag)) => Ok(tag.to_owned()),
                    (true, None) => Err(Failure::wrong(anyhow!("it does not say what it took"))),
                    (false, _) => Err(self.client.refusal(&answer, &address)),
                }
            };
            let tag = self
                .client
                .persist(&address, progress, put)
                .map_err(|failure| refused(&failure))
                .with_context(|| {
                    format!("the part {number} of {} did not arrive", file.digest.size.div_ceil(chunk))
                })?;
            sent.push(json!({ "partNumber": number, "etag": tag }));
        }
        let address = self.storage(&upload.href)?;
        let body = json!({ "oid": file.digest.hex(), "parts": sent });
        self.post(&address, (LFS, &body), progress)
            .map(drop)
            .map_err(|failure| refused(&failure))
            .context("its parts were not put together")
    }

    /// Asks whether a file arrived. The token goes along only to the hub itself.
    pub(super) fn verify(
        &self,
        file: &PublishedFile,
        verify: &Action,
        progress: &dyn Progress,
    ) -> Result<()> {
        ensure!(
            is_private(&verify.href),
            "{} is neither https:// nor this machine",
            without_credentials(&verify.href)
        );
        let token = self.token.clone().filter(|_| same_origin(&self.endpoint, &verify.href));
        let address = Address { url: verify.href.clone(), token };
        let body = json!({ "oid": file.digest.hex(), "size": file.digest.size });
        self.post(&address, (LFS, &body), progress)
            .map_err(|failure| failure.error)
            .with_context(|| format!("the hub says that `{}` did not arrive", file.path))?;
        Ok(())
    }
}

/// How many bytes a part has, but for the last, and the address of each, by its number from 1.
fn parts(upload: &Action, size: u64) -> Result<(u64, BTreeMap<u64, &str>)> {
    let chunk = match upload.header.get(CHUNK_SIZE) {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
        None => None,
    };
    let chunk: u64 = chunk.filter(|chunk| *chunk > 0).context("their size is not a number")?;
    let mut parts = BTreeMap::new();
    for (key, value) in &upload.header {
        if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()) {
            let number: u64 = key.parse().context("a part has no number")?;
            let href = value.as_str().context("a part has no address")?;
            ensure!(parts.insert(number, href).is_none(), "the part {number} is named twice");
        }
    }
    let wanted = size.div_ceil(chunk);
    ensure!(
        parts.len() as u64 == wanted && parts.keys().copied().eq(1..=wanted),
        "{size} bytes are {wanted} parts of {chunk}, and it names {}",
        parts.len()
    );
    Ok((chunk, parts))
}

/// The address holds a signature: it is not shown.
fn refused(failure: &Failure) -> anyhow::Error {
    let status = failure.status().map_or_else(String::new, |status| format!(" (status {status})"));
    hinted(
        format!("the storage of the hub does not take it{status}"),
        "run it again; what arrived is not sent again",
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_all_of_a_file_and_each_once() {
        let action = |header: Value| Action {
            href: "https://a.invalid".to_owned(),
            header: serde_json::from_value(header).unwrap(),
        };
        for chunk in [json!("4"), json!(4)] {
            let three =
                action(json!({ "chunk_size": chunk, "00001": "a", "00002": "b", "3": "c", "x": "y" }));
            let (size, found) = parts(&three, 9).unwrap();
            assert_eq!(
                (size, found.into_iter().collect::<Vec<_>>()),
                (4, vec![(1, "a"), (2, "b"), (3, "c")])
            );
            // Too few, or too many.
            assert!(parts(&three, 13).is_err() && parts(&three, 8).is_err());
        }
        for header in [
            json!({}),
            json!({ "chunk_size": 0, "1": "a" }),
            json!({ "chunk_size": -1, "1": "a" }),
            json!({ "chunk_size": "many", "1": "a" }),
            json!({ "chunk_size": 4, "2": "a" }),
            json!({ "chunk_size": 4, "1": 1 }),
            json!({ "chunk_size": 4, "1": "a", "01": "a" }),
            json!({ "chunk_size": 4, "99999999999999999999999": "a" }),
        ] {
            assert!(parts(&action(header.clone()), 4).is_err(), "{header}");
        }
    }
}
