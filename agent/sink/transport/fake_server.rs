//! Small servers for the tests of the transport: they listen on 127.0.0.1, keep what they were sent, and answer by a
//! script, well or badly.

use super::Transport;
use crate::diagnostic::Diagnostics;
use crate::sink::{Answer, ClientConfig};
use crate::yaml::{FromNode, parse};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

pub(super) const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// What a server does once it has read a request.
#[derive(Clone)]
pub(super) enum Act {
    /// Answers, and waits for the next request.
    Answer(String),
    /// Answers, and closes the connection.
    AnswerAndClose(String),
    /// Answers, and takes the connection down with a reset.
    AnswerAndReset(String),
    /// Closes the connection.
    Close,
    /// Does nothing for ever.
    Silence,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The how manyth connection it came on, from 0.
    pub connection: usize,
    /// The lines before the body.
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        lines.filter_map(|line| line.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }
}

type Script = dyn Fn(&Seen) -> Act + Send + Sync;

/// It lives as long as the runtime of its test.
pub(super) struct FakeServer {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    tls: Arc<Mutex<Option<Arc<ServerConfig>>>>,
}

impl FakeServer {
    pub async fn new(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let server =
            FakeServer { address: listener.local_addr().expect("bound"), seen: Arc::default(), tls: Arc::default() };
        let (seen, tls, script) =
            (server.seen.clone(), server.tls.clone(), Arc::<Script>::from(Box::new(script) as Box<Script>));
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.expect("accepted");
                let (seen, script) = (seen.clone(), script.clone());
                let tls = tls.lock().expect("no panic").clone();
                tokio::spawn(async move {
                    match tls {
                        Some(config) => {
                            // Whoever does not like the certificate goes away.
                            if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                                serve(stream, connection, &seen, &*script).await;
                            }
                        }
                        None => {
                            let reset = serve(stream, connection, &seen, &*script).await;
                            if let Some(stream) = reset {
                                stream.set_zero_linger().expect("set");
                            }
                        }
                    }
                });
            }
        });
        server
    }

    /// One that always says the same.
    pub async fn saying(answer: &str) -> FakeServer {
        let answer = answer.to_string();
        FakeServer::new(move |_| Act::Answer(answer.clone())).await
    }

    /// The certificate and the demands of connections from now on.
    pub fn set_tls(&self, config: ServerConfig) {
        *self.tls.lock().expect("no panic") = Some(Arc::new(config));
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    pub fn url(&self) -> String {
        format!("http://{}/loki/api/v1/push", self.address)
    }

    /// By name: certificates of tests are for `localhost`.
    pub fn tls_url(&self) -> String {
        format!("https://localhost:{}/loki/api/v1/push", self.address.port())
    }
}

/// Serves a connection. What comes back is to be reset.
async fn serve<S>(mut stream: S, connection: usize, seen: &Mutex<Vec<Seen>>, script: &Script) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let (head, body) = read_request(&mut stream).await?;
        let request = Seen { connection, head, body };
        let act = script(&request);
        seen.lock().expect("no panic").push(request);
        match act {
            Act::Answer(answer) => stream.write_all(answer.as_bytes()).await.ok()?,
            Act::AnswerAndClose(answer) => {
                stream.write_all(answer.as_bytes()).await.ok()?;
                stream.shutdown().await.ok()?;
                return None;
            }
            Act::AnswerAndReset(answer) => {
                stream.write_all(answer.as_bytes()).await.ok()?;
                return Some(stream);
            }
            Act::Close => return None,
            Act::Silence => std::future::pending().await,
        }
    }
}

/// Head and body of the next request; nothing if the connection ends.
pub(super) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(head_end + 4);
    let head = String::from_utf8(bytes).expect("a head is text").trim_end().to_string();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().expect("a number"));
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, body))
}

/// A proxy that tunnels to wherever it is asked, and keeps what it was asked.
pub(super) async fn tunnelling_proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let heads = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let heads = heads.clone();
            tokio::spawn(async move {
                let Some((head, _)) = read_request(&mut stream).await else { return };
                let to = head.split_whitespace().nth(1).expect("a target").to_string();
                heads.lock().expect("no panic").push(head);
                let mut server = TcpStream::connect(to).await.expect("the server is there");
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.expect("written");
                tokio::io::copy_bidirectional(&mut stream, &mut server).await.ok();
            });
        }
    });
    (address, asked)
}

/// The configuration of a client: its URL, and more keys of YAML, one a line.
pub(super) fn config(url: &str, more: &str) -> ClientConfig {
    let text = format!("url: {url}\n{more}");
    let mut diagnostics = Diagnostics::new();
    let node = parse(&text, &mut diagnostics).expect("YAML");
    let config = ClientConfig::from_node(&node, &mut diagnostics).expect("a client");
    assert!(!diagnostics.has_errors(), "{:?}", diagnostics.sorted());
    config
}

/// Without an environment, whatever that of the test may be.
pub(super) fn transport(url: &str, more: &str) -> Transport {
    Transport::with_environment(&config(url, more), &|_| None).expect("a transport")
}

pub(super) async fn push(transport: &Transport) -> Answer {
    transport.push("", bytes::Bytes::from_static(b"block")).await
}

/// The status of a push that was answered.
pub(super) async fn push_status(transport: &Transport) -> u16 {
    match push(transport).await {
        Answer::Status { code, .. } => code,
        Answer::None(why) => panic!("{why}"),
    }
}

/// Why a push was not answered.
pub(super) async fn push_failure(transport: &Transport) -> String {
    match push(transport).await {
        Answer::None(why) => why,
        answer => panic!("{answer:?}"),
    }
}
