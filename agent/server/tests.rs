//! A real server on the loopback, and a client that is not hyper's.

use super::*;
use flate2::read::GzDecoder;
use std::io::{ErrorKind, Read, Write as _};
use std::sync::Mutex;

/// Far beyond what any wait here takes; a test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// A limit of the server that a test wants to see reached.
const SHORT: Duration = Duration::from_millis(40);

#[derive(Default)]
struct FakeAgent {
    /// The number of lines of the metrics, each 64 bytes long.
    lines: usize,
    hangs: bool,
    /// The metrics end amid the page.
    breaks: bool,
    unready: bool,
    reload: Option<String>,
    asked: Mutex<Vec<(Option<String>, Option<Duration>)>>,
}

impl Agent for FakeAgent {
    async fn scrape(&self, ask: Ask<'_>) -> Result<Scrape, String> {
        assert!(ask.peer.is_some_and(|peer| peer.ip().is_loopback()));
        self.asked.lock().unwrap().push((ask.accept.map(str::to_string), ask.timeout));
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let (lines, breaks, (mut writer, chunks)) = (self.lines, self.breaks, chunks());
        tokio::task::spawn_blocking(move || {
            (0..lines).try_for_each(|i| writeln!(writer, "lines_total{{n=\"{i:038}\"}} {i:07}"))?;
            if breaks { Ok(()) } else { writer.end() }
        });
        Ok(Scrape { content_type: "text/plain; version=0.0.4", chunks })
    }

    fn ready(&self) -> Result<(), String> {
        if self.unready { Err(NO_LOGS.to_string()) } else { Ok(()) }
    }

    async fn targets(&self) -> TargetsPage {
        TargetsPage { jobs: vec![JobTargets { job: "<pods>".into(), ..JobTargets::default() }] }
    }

    async fn service_discovery(&self) -> DiscoveryPage {
        DiscoveryPage::default()
    }

    fn config(&self) -> String {
        "password: <secret>\n".into()
    }

    async fn reload(&self) -> Result<(), String> {
        self.reload.clone().map_or(Ok(()), Err)
    }
}

struct Running {
    server: Server,
    agent: Arc<FakeAgent>,
    stats: Arc<Stats>,
}

async fn start(agent: FakeAgent, config: ServerConfig) -> Running {
    let config = ServerConfig { http_listen_address: "127.0.0.1".into(), http_listen_port: 0, ..config };
    let (agent, stats) = (Arc::new(agent), Arc::new(Stats::default()));
    let listener = bind(&config).await.unwrap();
    let server = serve(listener, &config, agent.clone(), stats.clone()).unwrap();
    Running { server, agent, stats }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.address()).await.unwrap()
    }

    /// One request on a connection of its own, which the server closes.
    async fn ask(&self, request: &str) -> Answer {
        let stream = self.connect().await;
        send(&stream, format!("{request} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n").as_bytes()).await;
        Answer::from(receive_all(&stream).await)
    }
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        stream.writable().await.unwrap();
        match stream.try_write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("sending: {error}"),
        }
    }
}

/// Until `enough` of what came, or the end. A reset ends it too: so a server closes that did not read all.
async fn receive(stream: &TcpStream, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut all = Vec::new();
    let reading = async {
        while !enough(&all) {
            stream.readable().await.unwrap();
            let mut buffer = [0; 4096];
            match stream.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    break;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the server answers or closes");
    all
}

async fn receive_all(stream: &TcpStream) -> Vec<u8> {
    receive(stream, |_| false).await
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(prefix.as_str()))
    }
}

impl From<Vec<u8>> for Answer {
    fn from(bytes: Vec<u8>) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: bytes[end..].to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") && !answer.body.is_empty() {
            answer.body = unchunk(&answer.body);
        }
        answer
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|w| w == b"\r\n").expect("the size of a chunk");
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[line + 2..line + 2 + size]);
        bytes = &bytes[line + 2 + size + 2..];
    }
}

#[tokio::test]
async fn every_route_answers_every_method_as_it_should() {
    let agent = FakeAgent { lines: 2, ..FakeAgent::default() };
    let server = start(agent, ServerConfig { enable_runtime_reload: true, ..ServerConfig::default() }).await;
    for (request, status, body) in [
        ("GET /metrics", 200, "lines_total{n="),
        ("GET /ready", 200, "Ready"),
        ("GET /-/ready", 200, "Ready"),
        ("GET /-/healthy", 200, ""),
        ("GET /healthz?verbose", 200, ""),
        ("GET /", 303, ""),
        ("GET /targets", 200, "&lt;pods&gt; (0 of 0 ready)"),
        ("GET /service-discovery", 200, "No jobs."),
        ("GET /config", 200, "password: &lt;secret&gt;"),
        ("GET /reload", 200, ""),
        ("POST /-/reload", 200, ""),
        ("GET /debug/pprof/", 404, ""),
        ("GET /targets/", 404, ""),
        ("GET /..%2fconfig", 404, ""),
        ("POST /nowhere", 404, ""),
        ("POST /metrics", 405, ""),
        ("DELETE /reload", 405, ""),
        ("OPTIONS /targets", 405, ""),
    ] {
        let answer = server.ask(request).await;
        assert_eq!(answer.status, status, "{request}");
        assert!(answer.text().contains(body), "{request}: {}", answer.text());
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{request}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{request}");
        if let Some(path) = request.strip_prefix("GET ") {
            let head = server.ask(&format!("HEAD {path}")).await;
            assert_eq!((head.status, head.body.len()), (status, 0), "HEAD {path}");
        }
    }
    assert_eq!(server.ask("GET /").await.header("location"), Some("/targets"));
}

#[tokio::test]
async fn what_is_switched_off_is_not_there() {
    let config = ServerConfig { register_instrumentation: false, ..ServerConfig::default() };
    let server = start(FakeAgent::default(), config).await;
    for request in ["GET /metrics", "GET /reload", "POST /reload", "GET /-/reload"] {
        assert_eq!(server.ask(request).await.status, 404, "{request}");
    }
}

#[tokio::test]
async fn readiness_says_what_promtail_says_unless_targets_are_not_to_be_checked() {
    let unready = || FakeAgent { unready: true, ..FakeAgent::default() };
    let server = start(unready(), ServerConfig::default()).await;
    let answer = server.ask("GET /ready").await;
    assert_eq!(answer.status, 500);
    assert_eq!(
        answer.text(),
        "Not ready: Unable to find any logs to tail. Please verify permissions, volumes, scrape_config, etc.\n"
    );
    let server = start(unready(), ServerConfig { health_check_target: false, ..ServerConfig::default() }).await;
    assert_eq!(server.ask("GET /ready").await.text(), "Ready");
}

#[tokio::test]
async fn a_failed_reload_says_why() {
    let agent = FakeAgent { reload: Some("config has not changed".into()), ..FakeAgent::default() };
    let server = start(agent, ServerConfig { enable_runtime_reload: true, ..ServerConfig::default() }).await;
    let answer = server.ask("POST /reload").await;
    assert_eq!((answer.status, answer.text().as_str()), (500, "failed to reload config: config has not changed\n"));
    assert_eq!(server.ask("HEAD /reload").await.status, 200, "a HEAD does not reload");
}

#[tokio::test]
async fn the_prefix_comes_before_every_path() {
    let config = ServerConfig {
        http_path_prefix: "/weir/".into(),
        external_url: "https://node.example/logs/".into(),
        ..ServerConfig::default()
    };
    let server = start(FakeAgent::default(), config).await;
    for (path, status) in
        [("/weir/ready", 200), ("/weir", 303), ("/weir/", 303), ("/ready", 404), ("/weirready", 404), ("/", 404)]
    {
        assert_eq!(server.ask(&format!("GET {path}")).await.status, status, "{path}");
    }
    assert_eq!(server.ask("GET /weir").await.header("location"), Some("/logs/weir/targets"));
}

#[tokio::test]
async fn metrics_arrive_whole_plain_and_compressed() {
    let lines = 20_000;
    let server = start(FakeAgent { lines, ..FakeAgent::default() }, ServerConfig::default()).await;
    let plain = server.ask("GET /metrics").await;
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4"));
    assert_eq!((plain.header("transfer-encoding"), plain.header("content-encoding")), (Some("chunked"), None));
    assert_eq!(plain.body.len(), lines * 64);
    let request = "GET /metrics HTTP/1.1\r\nAccept-Encoding: gzip\r\nAccept: application/openmetrics-text\r\n\
                   X-Prometheus-Scrape-Timeout-Seconds: 9.5\r\nX-Rest:";
    let compressed = server.ask(request).await;
    assert_eq!(compressed.header("content-encoding"), Some("gzip"));
    assert_eq!(compressed.header("vary"), Some("accept, accept-encoding"));
    assert!(compressed.body.len() < plain.body.len() / 8);
    let mut body = Vec::new();
    GzDecoder::new(compressed.body.as_slice()).read_to_end(&mut body).unwrap();
    assert_eq!(body, plain.body);
    let asked = server.agent.asked.lock().unwrap();
    assert_eq!(asked[0], (None, None), "who does not say how long it waits is no scraper");
    assert_eq!(asked[1], (Some("application/openmetrics-text".into()), Some(Duration::from_millis(9500))));
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = start(FakeAgent::default(), ServerConfig::default()).await;
    let stream = server.connect().await;
    for _ in 0..3 {
        send(&stream, b"GET /ready HTTP/1.1\r\nHost: weir\r\n\r\n").await;
        let answer = Answer::from(receive(&stream, |all| all.ends_with(b"Ready")).await);
        assert_eq!(answer.status, 200);
    }
    assert_eq!(server.stats.connections_served.load(Relaxed), 1);
}

#[tokio::test]
async fn an_oversized_head_is_refused_and_nothing_else_suffers() {
    let server = start(FakeAgent::default(), ServerConfig::default()).await;
    for (bytes, status) in [(HEAD_BYTES_MAX - 200, 200), (HEAD_BYTES_MAX + 1, 431)] {
        let answer = server.ask(&format!("GET /ready HTTP/1.1\r\nX-Fill: {}\r\nX-Rest:", "a".repeat(bytes))).await;
        assert_eq!(answer.status, status, "{bytes}");
    }
    let answer = server.ask(&format!("GET /ready HTTP/1.1\r\n{}X-Rest:", "A: b\r\n".repeat(200))).await;
    assert_eq!(answer.status, 431, "too many headers");
    let stream = server.connect().await;
    send(&stream, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP at all\r\n\r\n").await;
    assert_eq!(Answer::from(receive_all(&stream).await).status, 400);
    assert_eq!(server.ask("GET /ready").await.status, 200);
}

#[tokio::test]
async fn a_body_of_a_request_is_not_waited_for() {
    let server = start(FakeAgent::default(), ServerConfig { enable_runtime_reload: true, ..Default::default() }).await;
    let stream = server.connect().await;
    send(&stream, b"POST /reload HTTP/1.1\r\nHost: weir\r\nContent-Length: 1000000\r\n\r\nabc").await;
    assert_eq!(Answer::from(receive_all(&stream).await).status, 200);
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let config = ServerConfig { read_timeout: SHORT, ..ServerConfig::default() };
    let server = start(FakeAgent::default(), config).await;
    for head in [&b""[..], b"GET /ready HTT", b"GET /ready HTTP/1.1\r\nHost: weir\r\n"] {
        let stream = server.connect().await;
        send(&stream, head).await;
        assert_eq!(receive_all(&stream).await, b"");
    }
    // Trickling does not help: the limit is one of the whole head. Pauses between the bytes are the test's matter.
    let stream = server.connect().await;
    let began = tokio::time::Instant::now();
    let mut trickle = tokio::time::interval(SHORT / 8);
    while stream.try_write(b"G").is_ok() {
        trickle.tick().await;
        assert!(began.elapsed() < PATIENCE, "a trickling client is never closed");
    }
    assert_eq!(server.stats.connections_timed_out.load(Relaxed), 4);

    let server = start(FakeAgent::default(), ServerConfig { idle_timeout: SHORT, ..Default::default() }).await;
    let stream = server.connect().await;
    send(&stream, b"GET /ready HTTP/1.1\r\nHost: weir\r\n\r\n").await;
    assert!(receive_all(&stream).await.ends_with(b"Ready"));
    assert_eq!(server.stats.connections_timed_out.load(Relaxed), 1);
}

#[tokio::test]
async fn a_client_that_takes_its_answer_too_slowly_is_closed() {
    // With the beginning of a next request there, hyper has nothing to read: the write itself must give up.
    for next in ["", "GET"] {
        let agent = FakeAgent { lines: 1_000_000, ..FakeAgent::default() };
        let server = start(agent, ServerConfig { write_timeout: SHORT, ..ServerConfig::default() }).await;
        let stream = server.connect().await;
        send(&stream, format!("GET /metrics HTTP/1.1\r\nHost: weir\r\n\r\n{next}").as_bytes()).await;
        let closed = async {
            while server.stats.connections_timed_out.load(Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.expect("the server gives up");
        assert!(receive_all(&stream).await.len() < 64_000_000, "not all of it was sent");
    }
}

#[tokio::test]
async fn half_a_page_does_not_pass_for_a_whole_one() {
    let agent = FakeAgent { lines: 10_000, breaks: true, ..FakeAgent::default() };
    let server = start(agent, ServerConfig::default()).await;
    for encoding in ["identity", "gzip"] {
        let stream = server.connect().await;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: weir\r\nAccept-Encoding: {encoding}\r\n\r\n");
        send(&stream, request.as_bytes()).await;
        let answer = receive_all(&stream).await;
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "it had begun");
        assert!(!answer.ends_with(b"\r\n0\r\n\r\n"), "the connection ends without the last chunk");
    }
}

#[tokio::test]
async fn an_agent_that_does_not_answer_makes_503_of_it() {
    let agent = || FakeAgent { hangs: true, ..FakeAgent::default() };
    let server = start(agent(), ServerConfig { write_timeout: SHORT, ..ServerConfig::default() }).await;
    assert_eq!(server.ask("GET /metrics").await.status, 503);
    let server = start(agent(), ServerConfig::default()).await;
    let request = "GET /metrics HTTP/1.1\r\nX-Prometheus-Scrape-Timeout-Seconds: 0.04\r\nX-Rest:";
    assert_eq!(server.ask(request).await.status, 503, "the scraper's patience counts if it is shorter");
}

#[tokio::test]
async fn a_flood_of_silent_connections_keeps_nobody_out() {
    let server = start(FakeAgent::default(), ServerConfig { connections_max: 4, ..ServerConfig::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(server.connect().await);
    }
    assert_eq!(server.ask("GET /ready").await.status, 200);
    assert_eq!(receive_all(&silent[0]).await, b"", "the longest silent one made room");
    assert_eq!(server.stats.connections_displaced.load(Relaxed), 9);
    assert_eq!(server.stats.connections_refused.load(Relaxed), 0);
}

#[tokio::test]
async fn when_every_place_is_answering_one_more_gets_503() {
    let agent = FakeAgent { hangs: true, ..FakeAgent::default() };
    let server = start(agent, ServerConfig { connections_max: 2, ..ServerConfig::default() }).await;
    let busy = [server.connect().await, server.connect().await];
    for stream in &busy {
        send(stream, b"GET /metrics HTTP/1.1\r\nHost: weir\r\n\r\n").await;
    }
    until_asked(&server, 2).await;
    let refused = server.connect().await;
    assert_eq!(Answer::from(receive_all(&refused).await).status, 503);
    assert_eq!(server.stats.connections_refused.load(Relaxed), 1);
    drop(busy);
    let answered = async { while server.ask("GET /ready").await.status != 200 {} };
    tokio::time::timeout(PATIENCE, answered).await.expect("places are free again when their clients are gone");
}

async fn until_asked(server: &Running, times: usize) {
    let asked = async {
        while server.agent.asked.lock().unwrap().len() < times {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("the requests arrive");
}

#[tokio::test]
async fn shutdown_closes_waiting_connections_at_once() {
    let server = start(FakeAgent::default(), ServerConfig::default()).await;
    let (silent, idle) = (server.connect().await, server.connect().await);
    send(&idle, b"GET /ready HTTP/1.1\r\nHost: weir\r\n\r\n").await;
    receive(&idle, |all| all.ends_with(b"Ready")).await;
    let address = server.server.address();
    tokio::time::timeout(PATIENCE, server.server.shutdown()).await.expect("nothing is waited for");
    assert_eq!((receive_all(&silent).await, receive_all(&idle).await), (vec![], vec![]));
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn shutdown_lets_an_answer_end_but_not_for_ever() {
    let agent = FakeAgent { lines: 100_000, ..FakeAgent::default() };
    let server = start(agent, ServerConfig::default()).await;
    let stream = server.connect().await;
    send(&stream, b"GET /metrics HTTP/1.1\r\nHost: weir\r\n\r\n").await;
    until_asked(&server, 1).await;
    let (answer, ()) = tokio::join!(receive_all(&stream), server.server.shutdown());
    assert_eq!(Answer::from(answer).body.len(), 100_000 * 64);

    let agent = FakeAgent { hangs: true, ..FakeAgent::default() };
    let server = start(agent, ServerConfig { graceful_shutdown_timeout: SHORT, ..ServerConfig::default() }).await;
    let stream = server.connect().await;
    send(&stream, b"GET /metrics HTTP/1.1\r\nHost: weir\r\n\r\n").await;
    until_asked(&server, 1).await;
    tokio::time::timeout(PATIENCE, server.server.shutdown()).await.expect("the grace is a limit");
    assert_eq!(receive_all(&stream).await, b"");
}
