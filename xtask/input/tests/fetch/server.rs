//! A small HTTP server on this machine, which answers as badly as it is told to.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

/// What a server does with one request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The file, or the part of it that was asked for.
    File(Vec<u8>),
    /// The whole file, whatever part was asked for.
    Whole(Vec<u8>),
    /// As [`Answer::File`], but the connection ends after this many bytes of the body.
    Cut(Vec<u8>, usize),
    /// A body without `Content-Length`, which ends with the connection.
    Unannounced(Vec<u8>),
    /// A status without a body.
    Status(u16),
    /// Another address.
    Redirect(String),
    /// Another address, and what a hub says of the file there: its SHA-256 and size.
    Linked(String, String, usize),
    /// Nothing, for this long.
    Silence(Duration),
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// `/…`.
    pub path: String,
    /// The value of `Range`.
    pub range: Option<String>,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
}

/// Answers requests, each in a thread of its own.
pub struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<Mutex<bool>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers in the order of a script; the last answer counts for all that follow.
    pub fn start(script: Vec<Answer>) -> Self {
        Self::answering(move |turn, _| script[turn.min(script.len() - 1)].clone())
    }

    /// Answers as `answer` says for the number of a request, from 0, and the request.
    pub fn answering(answer: impl Fn(usize, &Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(Mutex::new(false));
        let thread = std::thread::spawn({
            let (requests, stop) = (requests.clone(), stop.clone());
            move || {
                for stream in listener.incoming() {
                    if *stop.lock().unwrap() {
                        break;
                    }
                    let stream = stream.unwrap();
                    let Some(request) = read_request(&stream) else { continue };
                    let turn = {
                        let mut requests = requests.lock().unwrap();
                        requests.push(request.clone());
                        requests.len() - 1
                    };
                    let answer = answer(turn, &request);
                    // A client that gives up closes the connection; that is not a failure of the server.
                    std::thread::spawn(move || drop(answer_with(stream, &request, &answer)));
                }
            }
        });
        Self { address, requests, stop, thread: Some(thread) }
    }

    /// The address of a file on this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The `Range` of every request so far.
    pub fn ranges(&self) -> Vec<Option<String>> {
        self.requests().into_iter().map(|request| request.range).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        *self.stop.lock().unwrap() = true;
        // Wakes the thread up.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let line = lines.next()?;
    let (method, rest) = line.split_once(' ')?;
    let path = rest.split(' ').next()?.to_owned();
    let mut request = Request { method: method.to_owned(), path, range: None, authorization: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = Some(value.trim().to_owned());
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = value,
            "authorization" => request.authorization = value,
            _ => {}
        }
    }
    Some(request)
}

fn answer_with(mut stream: TcpStream, request: &Request, answer: &Answer) -> std::io::Result<()> {
    let head =
        |status: &str, headers: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    match answer {
        Answer::File(content) => send(&mut stream, request, content, usize::MAX),
        Answer::Cut(content, length) => send(&mut stream, request, content, *length),
        Answer::Whole(content) => {
            let length = format!("Content-Length: {}\r\n", content.len());
            stream.write_all(head("200 OK", &length).as_bytes())?;
            stream.write_all(content)
        }
        Answer::Unannounced(content) => {
            stream.write_all(head("200 OK", "").as_bytes())?;
            stream.write_all(content)
        }
        Answer::Status(status) => {
            stream.write_all(head(&format!("{status} Test"), "Content-Length: 0\r\n").as_bytes())
        }
        Answer::Redirect(to) => {
            let headers = format!("Location: {to}\r\nContent-Length: 0\r\n");
            stream.write_all(head("302 Found", &headers).as_bytes())
        }
        Answer::Linked(to, sha256, size) => {
            let linked = format!("X-Linked-Etag: \"{sha256}\"\r\nX-Linked-Size: {size}\r\n");
            let headers = format!("Location: {to}\r\n{linked}Content-Length: 0\r\n");
            stream.write_all(head("302 Found", &headers).as_bytes())
        }
        Answer::Silence(time) => {
            std::thread::sleep(*time);
            Ok(())
        }
    }
}

/// Sends a file from the byte that was asked for, at most `most` bytes of it.
fn send(stream: &mut TcpStream, request: &Request, content: &[u8], most: usize) -> std::io::Result<()> {
    let from = request.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    let from: usize = from.map_or(0, |from| from.parse().unwrap());
    let rest = &content[from.min(content.len())..];
    let status = match &request.range {
        Some(_) => {
            let last = content.len() - 1;
            format!("206 Partial Content\r\nContent-Range: bytes {from}-{last}/{}", content.len())
        }
        None => "200 OK".to_owned(),
    };
    let length = rest.len();
    // Parts of a file whose digest nobody knows are put together by this alone.
    let tag =
        content.iter().fold(content.len(), |tag, byte| tag.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let headers = format!("Connection: close\r\nETag: \"{tag:x}\"\r\nContent-Length: {length}\r\n");
    write!(stream, "HTTP/1.1 {status}\r\n{headers}\r\n")?;
    stream.write_all(&rest[..most.min(length)])
}
