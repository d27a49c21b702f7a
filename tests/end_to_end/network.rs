//! What stands between this machine and a server: a proxy, an own certificate authority, a mirror that lies.
//! No registry is asked.

use crate::project::{Project, text};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivatePkcs8KeyDer};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
};

const CONTENT: &[u8] = b"a file behind a proxy";

/// Takes connections and hands each to `answer` until the test ends.
fn listen(answer: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that gives up closes the connection; that is not a failure of the server.
            let _ = answer(stream);
        }
    });
    address
}

/// The first line of a request; its headers are read and dropped.
fn request_line(stream: impl Read) -> std::io::Result<String> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    Ok(first)
}

fn respond(mut stream: impl Write, content: &[u8]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", content.len())?;
    stream.write_all(content)?;
    stream.flush()
}

/// A certificate authority in `project`, and a server that it vouches for as `host`.
fn authority(project: &Project, host: &str) -> (PathBuf, Arc<ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new([]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let path = project.directory.path().join("authority.pem");
    std::fs::write(&path, parameters.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(parameters, key);
    let server_key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new([host.to_owned()]).unwrap().signed_by(&server_key, &issuer).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(server_key.serialize_der()).into(),
        )
        .unwrap();
    (path, Arc::new(config))
}

/// A project whose only input of recipes is `CONTENT` at `url`; fetching it asks `url` and nothing else.
fn project_with(url: &str) -> Project {
    let project = Project::new();
    let content = store::Digest::of(CONTENT);
    project.write("recipes/inputs.lock", &format!(
        "version = 1\n\n[[input]]\nname = \"thing\"\nkind = \"https\"\nurls = [\"{url}\"]\nsize = {}\nsha256 = \"{}\"\n",
        content.size,
        content.hex()
    ));
    project
}

fn fetch(project: &Project) -> (tempfile::TempDir, Command) {
    let store = tempfile::tempdir().unwrap();
    let mut command = project.command(store.path(), &["fetch", "thing"]);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    (store, command)
}

#[test]
fn a_proxy_is_used_and_its_certificate_authority_is_believed_when_it_is_named() {
    let project = project_with("https://thing.invalid/file");
    let (authority, tls) = authority(&project, "thing.invalid");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let proxy = listen({
        let asked = asked.clone();
        move |stream| {
            let line = request_line(&stream)?;
            asked.lock().unwrap().push(line);
            (&stream).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            let connection = ServerConnection::new(tls.clone()).map_err(std::io::Error::other)?;
            let mut stream = StreamOwned::new(connection, stream);
            let line = request_line(&mut stream)?;
            asked.lock().unwrap().push(line);
            respond(&mut stream, CONTENT)?;
            stream.conn.send_close_notify();
            stream.flush()
        }
    });

    let (_store, mut command) = fetch(&project);
    let output = command.env("HTTPS_PROXY", format!("http://{proxy}")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("certificate"), "{}", text(&output));

    asked.lock().unwrap().clear();
    let (store, mut command) = fetch(&project);
    command.env("HTTPS_PROXY", format!("http://{proxy}")).env("SSL_CERT_FILE", authority);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(*asked.lock().unwrap(), ["CONNECT thing.invalid:443 HTTP/1.1", "GET /file HTTP/1.1"]);
    let store = store::Store::open(store.path()).unwrap();
    assert_eq!(store.read(&store::Digest::of(CONTENT)).unwrap(), CONTENT);
}

#[test]
fn a_mirror_that_serves_other_bytes_is_refused() {
    let project = Project::new();
    let lock = std::fs::read_to_string(project.directory.path().join("containers/sandbox.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let sizes: HashMap<String, usize> = lock["input"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| {
            (input["pool"].as_str().unwrap().to_owned(), input["size"].as_integer().unwrap() as usize)
        })
        .collect();
    let mirror = listen(move |stream| {
        let line = request_line(&stream)?;
        let path = line.split(' ').nth(1).unwrap_or_default();
        respond(&stream, &vec![0; sizes[path.trim_start_matches("/debian/")]])
    });
    let store = tempfile::tempdir().unwrap();
    let output = project
        .command(store.path(), &["environment", "build", "sandbox"])
        .env("MLC_REPRO_DEBIAN_MIRROR", format!("http://{mirror}/debian"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(said.contains("cannot fetch `bubblewrap`"), "{said}");
    assert!(said.contains(&format!("http://{mirror}/debian/pool/")), "{said}");
    assert!(
        said.contains("not that of the lock: the lock is wrong, or the server sends something else"),
        "{said}"
    );
}
