//! A registry of a test's own, with the habits of registries that Debian's docker-registry does not have: it keeps account of
//! referrers and says nothing of it (no `OCI-Subject`), does not filter them, asks for a token, or lies.

use crate::http::{Reply, Request, Server};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use store::Digest;

/// What it holds, by path below `/v2/NAME/`.
type Held = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

pub struct Registry {
    pub server: Server,
    pub held: Held,
}

/// How it is asked for a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Open,
    /// Whoever shows this gets a token (`Authorization` of the token's server), and each token is good for so many requests.
    Token(&'static str, usize),
}

impl Registry {
    pub fn start(access: Access) -> Self {
        let held = Held::default();
        let kept = held.clone();
        // Requests that the last token is good for.
        let good = Mutex::new((0_usize, 0_usize));
        let server = Server::start(move |_, request| {
            let host = &request.headers["host"];
            if let Access::Token(wanted, uses) = access {
                let shown = request.headers.get("authorization").map_or("", String::as_str);
                let mut good = good.lock().unwrap();
                if request.path.starts_with("/token?") {
                    if shown != wanted {
                        return Reply::status(401);
                    }
                    *good = (good.0 + 1, uses);
                    return Reply::file(
                        format!("{{\"token\": \"t{}\", \"expires_in\": 3600}}", good.0).as_bytes(),
                    );
                }
                if shown != format!("Bearer t{}", good.0) || good.1 == 0 {
                    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
                    return Reply::status(401).with("WWW-Authenticate", challenge);
                }
                good.1 -= 1;
            }
            answer(&kept, request)
        });
        Self { server, held }
    }

    /// What it holds now.
    pub fn held(&self) -> BTreeMap<String, Vec<u8>> {
        self.held.lock().unwrap().clone()
    }

    pub fn address(&self) -> &str {
        self.server.address.strip_prefix("http://").unwrap()
    }
}

fn hex(bytes: &[u8]) -> String {
    Digest::of(bytes).hex()
}

fn answer(held: &Held, request: &Request) -> Reply {
    let mut held = held.lock().unwrap();
    let Some(path) = request.path.strip_prefix("/v2/a/b/") else { return Reply::status(200) };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    match request.method.as_str() {
        "POST" => Reply::status(202).with("Location", "/v2/a/b/upload/1?state=x"),
        "PUT" if path == "upload/1" => {
            let digest = query.rsplit("digest=").next().unwrap();
            if digest != format!("sha256:{}", hex(&request.body)) {
                return Reply::status(400);
            }
            held.insert(format!("blobs/{digest}"), request.body.clone());
            Reply::status(201)
        }
        "PUT" => {
            held.insert(format!("manifests/sha256:{}", hex(&request.body)), request.body.clone());
            held.insert(path.to_owned(), request.body.clone());
            Reply::status(201)
        }
        _ => match (path.strip_prefix("referrers/"), held.get(path)) {
            (Some(subject), _) => Reply::file(referrers(&held, subject).as_bytes()),
            (None, Some(content)) => Reply::file(content),
            (None, None) => Reply::status(404),
        },
    }
}

/// All manifests that name the subject, with the type of their configuration for their own, as one registry does it.
fn referrers(held: &BTreeMap<String, Vec<u8>>, subject: &str) -> String {
    let manifests: Vec<_> = held
        .iter()
        .filter(|(path, _)| path.starts_with("manifests/sha256:"))
        .filter_map(|(_, bytes)| Some((bytes, serde_json::from_slice::<serde_json::Value>(bytes).ok()?)))
        .filter(|(_, json)| json["subject"]["digest"] == subject)
        .map(|(bytes, json)| {
            serde_json::json!({
                "mediaType": json["mediaType"], "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len(),
                "artifactType": json["config"]["mediaType"],
            })
        })
        .collect();
    serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests,
    })
    .to_string()
}
