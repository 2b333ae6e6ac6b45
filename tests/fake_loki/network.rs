//! The fake Loki over real connections, and the network in between.

use super::support::http::parse;
use super::support::loki::chaos::{ChaosProxy, Ending};
use super::support::loki::state::PATH;
use super::support::loki::{FakeLoki, Limits, LokiServer, Play};
use super::{NOW, STREAM, message, pack};
use prost::Message;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);
/// For what must not happen.
const A_MOMENT: Duration = Duration::from_millis(100);

fn server() -> LokiServer {
    LokiServer::start(FakeLoki::new(Limits::none()))
}

/// A push of one line, as bytes.
fn bytes(line: &str) -> Vec<u8> {
    let body = pack(&message(&[(STREAM, &[(NOW, line)])]).encode_to_vec());
    let length = body.len();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: loki\r\nContent-Type: application/x-protobuf\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.into_bytes(), body].concat()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a server");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    stream
}

/// Reads the head of an answer, which is all of one without a body.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// Pushes over a connection of its own, and everything that comes back until the end.
fn rest(address: SocketAddr, line: &str) -> (Vec<u8>, Option<ErrorKind>) {
    let mut stream = connect(address);
    let mut answer = Vec::new();
    let sent = stream.write_all(&bytes(line));
    let error = sent.and_then(|()| stream.read_to_end(&mut answer).map(drop)).err();
    (answer, error.map(|error| error.kind()))
}

fn held(server: &LokiServer) -> Vec<String> {
    server.with(|loki| loki.held().into_iter().map(|held| held.entry.line).collect())
}

#[test]
fn one_connection_carries_many_pushes() {
    let server = server();
    let mut stream = connect(server.address());
    for line in ["a", "b", "c"] {
        stream.write_all(&bytes(line)).expect("sent");
        let head = head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 204 No Content\r\ndate: ") && head.ends_with(" GMT\r\n\r\n"), "{head}");
    }
    assert_eq!((held(&server), server.connections()), (vec!["a".into(), "b".into(), "c".into()], 1));
    let same = server.with(|loki| {
        let bodies: Vec<_> = loki.requests.iter().map(|received| received.request.body.clone()).collect();
        bytes("a").ends_with(&bodies[0]) && bodies[0] != bodies[1]
    });
    assert!(same, "the bodies are kept as they came");
    assert_eq!(server.url(), format!("http://{}{PATH}", server.address()));
}

#[test]
fn a_push_in_chunks_is_read_and_a_broken_one_ends_the_connection() {
    let server = server();
    let whole = bytes("chunks");
    let body = whole.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let (first, second) = whole[body..].split_at(5);
    let mut stream = connect(server.address());
    let head_of = "POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head_of.as_bytes()).expect("sent");
    for chunk in [first, second, &[]] {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).expect("sent");
        stream.write_all(chunk).expect("sent");
        stream.write_all(b"\r\n").expect("sent");
    }
    assert!(head(&mut stream).starts_with("HTTP/1.1 204"));
    assert_eq!(held(&server), ["chunks"]);
    stream.write_all(b"nonsense\r\n").expect("sent");
    assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn it_stops_and_starts_again_where_it_was_with_what_it_had() {
    let mut server = server();
    let mut stream = connect(server.address());
    stream.write_all(&bytes("a")).expect("sent");
    head(&mut stream);
    let address = server.address();
    server.stop();
    assert_eq!(head(&mut stream), "", "the connection is closed");
    assert_eq!(TcpStream::connect(address).map(drop).expect_err("refused").kind(), ErrorKind::ConnectionRefused);
    server.start_again();
    let mut stream = connect(address);
    stream.write_all(&bytes("b")).expect("sent");
    assert!(head(&mut stream).starts_with("HTTP/1.1 204"));
    assert_eq!(held(&server), ["a", "b"]);
}

#[test]
fn waiting_ends_when_something_holds_or_in_time() {
    let server = server();
    assert!(!server.wait(Duration::from_millis(20), |loki| loki.count() > 0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = connect(server.address());
            stream.write_all(&bytes("a")).expect("sent");
            head(&mut stream);
        });
        server.wait_until("a line", SOON, |loki| loki.count() == 1);
    });
}

#[test]
fn answers_are_played_as_the_script_says() {
    let server = server();
    let play = |line: &str, play: Play| {
        server.with(|loki| loki.script.next(1, play));
        let (answer, error) = rest(server.address(), line);
        (String::from_utf8(answer).expect("text"), error)
    };
    assert_eq!(play("lost", Play::lost()), (String::new(), None));
    assert_eq!(play("dropped", Play::dropped()), (String::new(), None));
    assert_eq!(play("cut", Play::as_usual().cut(12)), ("HTTP/1.1 204".to_string(), None));
    assert_eq!(play("reset", Play::as_usual().reset(0)), (String::new(), Some(ErrorKind::ConnectionReset)));
    assert_eq!(held(&server), ["cut", "lost", "reset"]);
    let tell = |script: Play| {
        server.with(|loki| loki.script.next(1, script));
        let mut stream = connect(server.address());
        stream.write_all(&bytes("told")).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("a socket");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        parse(&answer).expect("an answer")
    };
    let html = tell(Play::html());
    assert_eq!((html.status, html.header("content-type")), (200, Some("text/html")));
    assert!(html.text().starts_with("<html>"));
    let redirect = tell(Play::redirect(307, "http://elsewhere/"));
    assert_eq!((redirect.status, redirect.header("location")), (307, Some("http://elsewhere/")));
    assert_eq!(tell(Play::says(260, "blocked")).status, 260);
    assert_eq!(held(&server).len(), 3);
}

/// The pauses are the script's: nothing of this waits for long.
#[test]
fn answers_come_late_in_drops_or_never() {
    let server = server();
    let pause = Duration::from_millis(30);
    let started = Instant::now();
    server.with(|loki| loki.script.next(1, Play::as_usual().late(pause)));
    server.with(|loki| loki.script.next(1, Play::as_usual().dripping(20, pause)));
    server.with(|loki| loki.script.next(1, Play::ignored()));
    let mut stream = connect(server.address());
    for (line, least) in [("late", pause), ("drops", 4 * pause)] {
        stream.write_all(&bytes(line)).expect("sent");
        assert!(head(&mut stream).starts_with("HTTP/1.1 204"));
        assert!(started.elapsed() >= least);
    }
    stream.write_all(&bytes("never")).expect("sent");
    stream.set_read_timeout(Some(A_MOMENT)).expect("a socket");
    assert_eq!(stream.read(&mut [0]).expect_err("nothing comes").kind(), ErrorKind::WouldBlock);
    // Stopping does not wait for it.
    drop(server);
    assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
}

/// A proxy before a server, with a connection through it that works.
fn through() -> (LokiServer, ChaosProxy, TcpStream) {
    let server = server();
    let proxy = ChaosProxy::start(server.address());
    let mut stream = connect(proxy.address());
    stream.write_all(&bytes("first")).expect("sent");
    assert!(head(&mut stream).starts_with("HTTP/1.1 204"));
    (server, proxy, stream)
}

#[test]
fn a_blackhole_swallows_and_gives_back() {
    for up in [true, false] {
        let (server, proxy, mut stream) = through();
        proxy.set(|chaos| (chaos.up.blackhole, chaos.down.blackhole) = (up, !up));
        stream.write_all(&bytes("second")).expect("sent");
        stream.set_read_timeout(Some(A_MOMENT)).expect("a socket");
        assert_eq!(stream.read(&mut [0]).expect_err("nothing comes").kind(), ErrorKind::WouldBlock);
        assert_eq!(server.with(|loki| loki.count()), if up { 1 } else { 2 });
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        proxy.heal();
        assert!(head(&mut stream).starts_with("HTTP/1.1 204"));
        assert_eq!(held(&server), ["first", "second"]);
    }
}

#[test]
fn connections_end_as_they_are_told_to() {
    let (server, proxy, mut stream) = through();
    proxy.end_all(Ending::Close);
    assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
    let mut stream = connect(proxy.address());
    stream.write_all(&bytes("second")).expect("sent");
    assert!(head(&mut stream).starts_with("HTTP/1.1 204"), "new ones are whole");
    proxy.end_all(Ending::Reset);
    assert_eq!(stream.read(&mut [0]).expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    proxy.set(|chaos| chaos.at_once = Some(Ending::Reset));
    assert_eq!(rest(proxy.address(), "third").1, Some(ErrorKind::ConnectionReset));
    proxy.heal();
    let (_, error) = {
        proxy.set(|chaos| chaos.up.cut_after = Some((150, Ending::Reset)));
        rest(proxy.address(), "in the middle of the body")
    };
    assert_eq!(error, Some(ErrorKind::ConnectionReset));
    assert_eq!(held(&server), ["first", "second"]);
    assert_eq!(proxy.connections(), 4);
}

#[test]
fn an_answer_is_cut_after_the_push_is_stored() {
    let (server, proxy, _) = through();
    proxy.set(|chaos| chaos.down.cut_every = Some((2, Ending::Close)));
    // The first answer of all came before.
    let (second, third) = (rest(proxy.address(), "second"), {
        let mut stream = connect(proxy.address());
        stream.write_all(&bytes("third")).expect("sent");
        head(&mut stream)
    });
    assert_eq!(second, (Vec::new(), None));
    assert!(third.starts_with("HTTP/1.1 204"), "{third}");
    proxy.set(|chaos| (chaos.down.cut_every, chaos.down.cut_after) = (None, Some((12, Ending::Close))));
    assert_eq!(rest(proxy.address(), "fourth"), (b"HTTP/1.1 204".to_vec(), None));
    assert_eq!(held(&server), ["first", "fourth", "second", "third"]);
}

#[test]
fn a_direction_is_closed_while_the_other_goes_on() {
    let (server, proxy, _) = through();
    let push = bytes("whole");
    proxy.set(|chaos| chaos.up.cut_after = Some((push.len(), Ending::HalfClose)));
    let (answer, error) = rest(proxy.address(), "whole");
    assert!(answer.starts_with(b"HTTP/1.1 204") && error.is_none(), "{error:?}");
    proxy.set(|chaos| chaos.up.cut_after = Some((push.len() - 1, Ending::HalfClose)));
    assert_eq!(rest(proxy.address(), "whole").0, b"", "the server saw half a push");
    assert_eq!(server.with(|loki| loki.requests.len()), 2);
}

#[test]
fn bytes_take_their_time() {
    let (server, proxy, mut stream) = through();
    let delay = Duration::from_millis(20);
    proxy.set(|chaos| (chaos.up.delay, chaos.down.drip) = (delay, Some((10, delay))));
    let started = Instant::now();
    stream.write_all(&bytes("slow")).expect("sent");
    assert!(head(&mut stream).starts_with("HTTP/1.1 204"));
    assert!(started.elapsed() >= 6 * delay, "{:?}", started.elapsed());
    assert_eq!(held(&server), ["first", "slow"]);
}

#[test]
fn a_proxy_before_nothing_ends_connections() {
    let (mut server, proxy, _) = through();
    server.stop();
    assert_eq!(rest(proxy.address(), "x").0, b"");
    server.start_again();
    let mut stream = connect(proxy.address());
    stream.write_all(&bytes("again")).expect("sent");
    assert!(head(&mut stream).starts_with("HTTP/1.1 204"));
}
