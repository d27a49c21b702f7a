//! Requests whose answers are looked at, whatever they are.

use super::{Address, Client, Failure, Headers, server};
use std::io::Read;
use ureq::{
    Body,
    http::{Response, header},
};

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Reads the headers.
    Head,
    /// Begins something.
    Post,
    /// Writes.
    Put,
}

/// What is sent along.
pub enum Content<'a> {
    /// No body, or an empty one.
    Nothing,
    /// These bytes.
    Bytes(&'a [u8]),
    /// A file from where it stands, with its length among the headers.
    File(std::fs::File),
    /// So many bytes of a file from where it stands, with their number among the headers.
    Part(std::fs::File, u64),
}

impl Client {
    /// One request, and whatever is answered: refusals and redirections as well. A token goes to the server of `address` alone.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn exchange(
        &self,
        method: Method,
        address: &Address,
        headers: &Headers,
        body: Content,
    ) -> Result<Response<Body>, Failure> {
        let mut all = headers.to_vec();
        all.extend(address.token.as_ref().map(|token| (header::AUTHORIZATION, token.value())));
        let with_body = |request: ureq::RequestBuilder<ureq::typestate::WithBody>| {
            let request = all.iter().fold(request, |request, (name, value)| request.header(name, value));
            let request = request.config().max_redirects(0).max_redirects_will_error(false).build();
            match body {
                Content::Nothing => request.send_empty(),
                Content::Bytes(bytes) => request.send(bytes),
                Content::File(file) => request.send(file),
                Content::Part(file, length) => {
                    request.send(ureq::SendBody::from_reader(&mut file.take(length)))
                }
            }
        };
        let answer = match method {
            Method::Post => with_body(self.agent.post(&address.url)),
            Method::Put => with_body(self.agent.put(&address.url)),
            Method::Get | Method::Head => {
                let request = match method {
                    Method::Head => self.agent.head(&address.url),
                    _ => self.agent.get(&address.url),
                };
                let request = all.iter().fold(request, |request, (name, value)| request.header(name, value));
                request.config().max_redirects(0).max_redirects_will_error(false).build().call()
            }
        };
        let response = answer.map_err(Failure::transport)?;
        if let (Some(server), true) = (server(&address.url), response.status().as_u16() < 400) {
            self.hosts.answered(&server);
        }
        Ok(response)
    }

    /// What a server's refusal means for the next try.
    pub fn refusal(&self, response: &Response<Body>, address: &Address) -> Failure {
        Failure::refused(response, address)
    }
}
