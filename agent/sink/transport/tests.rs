use super::fake_server::{Act, FakeServer, NO_CONTENT, push, push_failure, push_status, transport};
use super::*;
use tokio::time::{Instant, advance, pause, resume};

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_push_is_promtails() {
    let server = FakeServer::saying(NO_CONTENT).await;
    let url = format!("{}?x=1", server.url());
    let transport = transport(&url, "headers: {X-Key: hunter2, X-Scope-OrgID: fallback, User-Agent: other}");
    assert_eq!(transport.host(), server.address.to_string());
    for tenant in ["team-a", ""] {
        let answer = transport.push(tenant, Bytes::from_static(b"a \0block")).await;
        assert!(matches!(answer, Answer::Status { code: 204, .. }), "{answer:?}");
    }
    let seen = server.seen();
    let mut lines: Vec<&str> = seen[0].head.lines().collect();
    assert_eq!(lines.remove(0), "POST /loki/api/v1/push?x=1 HTTP/1.1");
    lines.sort_unstable();
    let expected = [
        "content-length: 8",
        "content-type: application/x-protobuf",
        &format!("host: {}", server.address),
        concat!("user-agent: weir/", env!("CARGO_PKG_VERSION")),
        "x-key: hunter2",
        "x-scope-orgid: team-a",
    ];
    assert_eq!(lines, expected);
    assert_eq!(seen[0].body, b"a \0block");
    assert_eq!(seen[1].header("x-scope-orgid"), Some("fallback"), "a push of no tenant goes by the header");
    assert_eq!(seen[1].connection, 0, "one connection serves both");
}

#[tokio::test]
async fn an_answer_is_brought_back_as_it_is() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let later = "Retry-After: Sun, 06 Nov 1994 08:49:47 GMT\r\n";
    let cases = [
        (answer("204 No Content", "", ""), 204, "", None, None),
        (answer("200 OK", date, "<html>"), 200, "<html>", None, Some(784_111_777)),
        (answer("260 Partial", "", "partly"), 260, "partly", None, None),
        (answer("400 Bad Request", "", "entry too old é"), 400, "entry too old é", None, None),
        (answer("429 Slow Down", "Retry-After: 7\r\n", ""), 429, "", Some(7), None),
        (answer("503 Wait", &format!("{later}{date}"), ""), 503, "", Some(10), Some(784_111_777)),
        ("HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n".to_string(), 500, "no", None, None),
    ];
    for (said, code, body, retry_after, date) in cases {
        let transport = transport(&FakeServer::saying(&said).await.url(), "");
        let retry_after = retry_after.map(Duration::from_secs);
        let expected = Answer::Status { code, retry_after, body: body.to_string(), date };
        assert_eq!(push(&transport).await, expected, "{said}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_takes_no_credentials_elsewhere() {
    let other = FakeServer::saying(NO_CONTENT).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let server = FakeServer::saying(&answer(status, &format!("Location: {}\r\n", other.url()), "")).await;
        let transport = transport(&server.url(), "bearer_token: hunter2");
        assert_eq!(push_status(&transport).await.to_string(), status[..3]);
        assert_eq!(server.seen()[0].header("authorization"), Some("Bearer hunter2"));
    }
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test]
async fn a_long_body_is_cut_and_its_connection_not_used_again() {
    let server = FakeServer::saying(&answer("400 Bad Request", "", &"x".repeat(1_000_000))).await;
    let transport = transport(&server.url(), "");
    for connection in 0..2 {
        let Answer::Status { code: 400, body, .. } = push(&transport).await else { panic!("a status") };
        assert_eq!(body.len(), 64 * 1024);
        assert_eq!(server.seen()[connection].connection, connection);
    }
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_whole() {
    let server = FakeServer::saying(&answer("400 Bad Request", "", &"x".repeat(64 * 1024))).await;
    let transport = transport(&server.url(), "");
    for _ in 0..2 {
        let Answer::Status { body, .. } = push(&transport).await else { panic!("a status") };
        assert_eq!(body.len(), 64 * 1024);
    }
    assert_eq!(server.seen()[1].connection, 0);
}

#[tokio::test]
async fn a_body_that_does_not_end_is_no_answer() {
    let begun = "HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nentry too old";
    let server = FakeServer::saying(begun).await;
    let transport = transport(&server.url(), "timeout: 100ms");
    for connection in 0..2 {
        let began = Instant::now();
        let Answer::None(why) = push(&transport).await else { panic!("half an answer") };
        assert!(began.elapsed() < Duration::from_secs(4));
        assert!(why.contains("status 400"), "{why}");
        assert_eq!(server.seen()[connection].connection, connection);
    }
    let patient = Transport { timeout: Duration::from_secs(60), ..transport };
    let began = Instant::now();
    let (answer, ()) = tokio::join!(push(&patient), async {
        while server.seen().len() < 3 {
            tokio::task::yield_now().await;
        }
        // The answer is underway, and whatever is waited for comes at once.
        pause();
    });
    assert!(matches!(answer, Answer::None(_)), "{answer:?}");
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_answer() {
    let begun = "HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nentry too old".to_string();
    for act in [Act::AnswerAndReset(begun.clone()), Act::AnswerAndClose(begun)] {
        let server = FakeServer::new(move |_| act.clone()).await;
        let why = push_failure(&transport(&server.url(), "")).await;
        assert!(why.starts_with("the answer (status 400) broke off: "), "{why}");
        assert_eq!(server.seen().len(), 1, "it is not sent again here");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let server = FakeServer::new(|_| Act::Silence).await;
    let transport = transport(&server.url(), "timeout: 100ms");
    assert_eq!(push_failure(&transport).await, "no answer within 100ms");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn tls_that_is_never_answered_is_given_up_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let transport = transport(&url, "timeout: 100ms\ntls_config: {insecure_skip_verify: true}");
    assert_eq!(push_failure(&transport).await, "no answer within 100ms");
}

#[tokio::test]
async fn nobody_there_is_told_with_the_address_and_without_the_password() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let transport = transport(&format!("http://me:hunter2@{address}/push"), "");
    let why = push_failure(&transport).await;
    assert!(why.contains(&format!("no connection to {address}: ")), "{why}");
    assert!(why.contains("refused") && !why.contains("hunter2"), "{why}");
}

#[tokio::test]
async fn what_is_no_http_is_no_answer() {
    for said in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1_000_000)),
    ] {
        let server = FakeServer::saying(said).await;
        push_failure(&transport(&server.url(), "timeout: 500ms")).await;
    }
}

/// The server takes the second request of its first connection, and closes it: it had given it up.
#[tokio::test]
async fn a_stale_connection_is_no_failure() {
    for close in [Act::Close, Act::AnswerAndReset(String::new())] {
        let requests = std::sync::atomic::AtomicUsize::new(0);
        let server = FakeServer::new(move |_| match requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            1 => close.clone(),
            _ => Act::Answer(NO_CONTENT.to_string()),
        })
        .await;
        let transport = transport(&server.url(), "");
        for _ in 0..2 {
            assert_eq!(push_status(&transport).await, 204);
        }
        let seen = server.seen();
        assert_eq!(seen.iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0, 0, 1]);
        assert_eq!((&seen[1].head, &seen[1].body), (&seen[2].head, &seen[2].body), "the same is sent again");
    }
}

#[tokio::test]
async fn connections_closed_between_requests_are_no_failure() {
    let server = FakeServer::new(|_| Act::AnswerAndClose(NO_CONTENT.to_string())).await;
    let transport = transport(&server.url(), "");
    for connection in 0..5 {
        assert_eq!(push_status(&transport).await, 204);
        assert_eq!(server.seen()[connection].connection, connection);
    }
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_new_connection_that_is_closed_is_a_failure() {
    let server = FakeServer::new(|_| Act::Close).await;
    push_failure(&transport(&server.url(), "")).await;
    assert_eq!(server.seen().len(), 1);
}

/// The second connection fails too: one more try, not more.
#[tokio::test]
async fn a_stale_connection_is_replaced_once() {
    let server = FakeServer::new(|seen| match seen.connection {
        0 if seen.header("x-scope-orgid") == Some("first") => Act::Answer(NO_CONTENT.to_string()),
        _ => Act::Close,
    })
    .await;
    let transport = transport(&server.url(), "");
    transport.push("first", Bytes::new()).await;
    push_failure(&transport).await;
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn pushes_at_one_time_have_connections_of_their_own() {
    let server = FakeServer::saying(NO_CONTENT).await;
    let transport = transport(&server.url(), "");
    let both = || async { tokio::join!(push_status(&transport), push_status(&transport)) };
    assert_eq!(both().await, (204, 204));
    assert_eq!(both().await, (204, 204));
    let mut connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    connections.sort_unstable();
    assert_eq!(connections, [0, 0, 1, 1]);
}

/// Time passes, and nothing else happens.
pub(super) async fn pass(seconds: u64) {
    pause();
    advance(Duration::from_secs(seconds)).await;
    resume();
}

#[tokio::test]
async fn a_connection_is_not_used_after_30_idle_seconds_nor_after_5_minutes() {
    let server = FakeServer::saying(NO_CONTENT).await;
    let transport = transport(&server.url(), "");
    let connection = async || {
        assert_eq!(push_status(&transport).await, 204);
        server.seen().last().unwrap().connection
    };
    assert_eq!(connection().await, 0);
    pass(29).await;
    assert_eq!(connection().await, 0);
    pass(31).await;
    assert_eq!(connection().await, 1);
    for _ in 0..11 {
        pass(27).await;
        assert_eq!(connection().await, 1);
    }
    pass(27).await;
    assert_eq!(connection().await, 2, "324 s after it was opened");
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_another_request() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let transport = transport(&format!("http://{}/", server.local_addr().unwrap()), "");
    let serve = async {
        let (mut stream, _) = server.accept().await.unwrap();
        super::fake_server::read_request(&mut stream).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, NO_CONTENT.as_bytes()).await.unwrap();
        stream
    };
    let (mut stream, code) = tokio::join!(serve, push_status(&transport));
    assert_eq!(code, 204);
    // The task that watches runs up to its first look at the time, then that time passes.
    tokio::task::yield_now().await;
    pass(31).await;
    let closed = timeout(Duration::from_secs(2), super::fake_server::read_request(&mut stream)).await;
    assert!(matches!(closed, Ok(None)), "it is closed");
}

/// The client's certificate may have been what was refused, and a new one is shown on a new connection only.
#[tokio::test]
async fn who_was_refused_comes_again_on_a_new_connection() {
    for (status, again) in [("401 No", 1), ("403 No", 1), ("407 No", 1), ("400 No", 0), ("503 No", 0)] {
        let server = FakeServer::saying(&answer(status, "", "")).await;
        let transport = transport(&server.url(), "");
        for _ in 0..2 {
            push_status(&transport).await;
        }
        assert_eq!(server.seen()[1].connection, again, "{status}");
    }
}

/// A server that finds a batch too big says so before it has read it, and may read no more.
#[tokio::test]
async fn an_answer_before_the_whole_request_is_an_answer() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let transport = transport(&format!("http://{}/", server.local_addr().unwrap()), "");
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = server.accept().await.unwrap();
            tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 100]).await.unwrap();
            let refusal = answer("413 Too Large", "", "");
            tokio::io::AsyncWriteExt::write_all(&mut stream, refusal.as_bytes()).await.unwrap();
            open.push(stream);
        }
    });
    for _ in 0..2 {
        let answer = transport.push("", vec![0; 20_000_000].into()).await;
        assert!(matches!(answer, Answer::Status { code: 413, .. }), "{answer:?}");
    }
}

#[tokio::test]
async fn a_tenant_that_no_header_can_hold_is_not_sent() {
    let server = FakeServer::saying(NO_CONTENT).await;
    let transport = transport(&server.url(), "");
    let answer = transport.push("a\nX-Evil: 1", Bytes::new()).await;
    assert_eq!(answer, Answer::None("no header of HTTP can hold the tenant".to_string()));
    assert_eq!(server.seen().len(), 0);
    assert!(is_valid_tenant("team-a|team-b") && !is_valid_tenant("a\0"));
}

#[test]
fn a_client_that_is_off_has_no_transport() {
    let config = super::fake_server::config("", "");
    assert!(Transport::new(&config).is_err());
}
