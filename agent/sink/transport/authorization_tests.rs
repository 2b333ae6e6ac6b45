use super::super::fake_server::{Act, FakeServer, NO_CONTENT, config, push_failure, push_status, transport};
use super::super::tests::pass;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What `Authorization` said in the last request of a push with this configuration.
async fn said(url_user: &str, more: &str) -> Option<String> {
    let server = FakeServer::saying(NO_CONTENT).await;
    let url = server.url().replace("http://", &format!("http://{url_user}"));
    assert_eq!(push_status(&transport(&url, more)).await, 204, "{more}");
    server.seen()[0].header("authorization").map(str::to_string)
}

#[tokio::test]
async fn who_we_are_is_said_in_each_of_its_ways() {
    let cases = [
        ("", "", None),
        ("", "basic_auth: {username: Aladdin, password: open sesame}", Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
        ("", "basic_auth: {username: me}", Some("Basic bWU6")),
        ("", "basic_auth: {}", None),
        ("", "bearer_token: hunter2", Some("Bearer hunter2")),
        ("", "authorization: {credentials: hunter2}", Some("Bearer hunter2")),
        ("", "authorization: {type: ' Token ', credentials: hunter2}", Some("Token hunter2")),
        ("", "authorization: {type: Token}", None),
        ("Aladdin:open%20sesame@", "", Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
        ("Aladdin:open%20sesame@", "bearer_token: hunter2", Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
        ("me:x@", "headers: {authorization: Own hunter2}\nbearer_token: x", Some("Own hunter2")),
    ];
    for (user, more, expected) in cases {
        assert_eq!(said(user, more).await.as_deref(), expected, "{user} {more}");
    }
}

#[tokio::test]
async fn files_of_secrets_are_trimmed_and_read_for_each_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let path = file.display();
    let ways = [
        (format!("basic_auth: {{username: me, password_file: {path}}}"), "Basic bWU6b25l", "Basic bWU6dHdv"),
        (format!("bearer_token_file: {path}"), "Bearer one", "Bearer two"),
        (format!("authorization: {{type: T, credentials_file: {path}}}"), "T one", "T two"),
    ];
    for (more, first, second) in ways {
        let server = FakeServer::saying(NO_CONTENT).await;
        fs::write(&file, " one\r\n\n").unwrap();
        let transport = transport(&server.url(), &more);
        assert_eq!(push_status(&transport).await, 204);
        // As kubelet does it: the same length, another file, within the same moment.
        let next = folder.path().join("next");
        fs::write(&next, " two\r\n\n").unwrap();
        fs::rename(&next, &file).unwrap();
        assert_eq!(push_status(&transport).await, 204);
        let said: Vec<_> = server.seen().iter().map(|seen| seen.header("authorization").map(str::to_string)).collect();
        assert_eq!(said, [Some(first.to_string()), Some(second.to_string())]);
        fs::remove_file(&file).unwrap();
        let why = push_failure(&transport).await;
        assert!(why.contains(&path.to_string()) && why.contains("No such file"), "{why}");
        assert_eq!(server.seen().len(), 2, "nothing is sent without it");
    }
}

#[tokio::test]
async fn a_file_that_holds_no_secret_is_told_without_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let server = FakeServer::saying(NO_CONTENT).await;
    let transport = transport(&server.url(), &format!("bearer_token_file: {}", file.display()));
    let long = vec![b'x'; 70_000];
    for content in [&b"hunter2\nhunter2"[..], b"hunter2\0", b"hunter2\xff", &long] {
        fs::write(&file, content).unwrap();
        let why = push_failure(&transport).await;
        assert!(why.contains(&file.display().to_string()) && !why.contains("hunter") && !why.contains("xx"), "{why}");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(push_failure(&transport).await.contains("no plain file"));
    fs::remove_dir(&file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(push_failure(&transport).await.contains("no plain file"), "a pipe is not waited for");
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn a_dump_of_the_configuration_shows_no_secret() {
    let more =
        "headers: {X-Key: hunter2}\nproxy_url: http://me:hunter2@proxy\nbasic_auth: {username: me, password: hunter2}";
    let oauth2 = "oauth2: {client_id: me, client_secret: hunter2, token_url: 'http://me:hunter2@t', endpoint_params: {a: hunter2}}";
    for more in [more, oauth2, "bearer_token: hunter2", "authorization: {credentials: hunter2}"] {
        let dump = format!("{:?}", config("http://me:hunter2@loki:3100/", more));
        assert!(!dump.contains("hunter2"), "{dump}");
        assert!(dump.contains("http://loki:3100/"), "{dump}");
    }
    let header = super::basic("me", "hunter2");
    assert!(!format!("{header:?}").contains("Basic"), "{header:?}");
}

fn token_answer(token: &str, life: &str) -> Act {
    let body = format!("{{\"access_token\": \"{token}\", \"token_type\": \"bearer\", \"expires_in\": {life}}}");
    Act::Answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

const FORBIDDEN: &str = "HTTP/1.1 401 No\r\nContent-Length: 27\r\n\r\n{\"error\": \"invalid_client\"}";

/// Tokens `t0`, `t1` and so on, good for so many seconds.
async fn token_server(life: &'static str) -> FakeServer {
    let given = AtomicUsize::new(0);
    FakeServer::new(move |_| token_answer(&format!("t{}", given.fetch_add(1, Ordering::Relaxed)), life)).await
}

fn oauth2(tokens: &FakeServer, more: &str) -> String {
    format!(
        "oauth2: {{client_id: m e, client_secret: 'hunter/2', token_url: 'http://{}/token', {more}}}",
        tokens.address
    )
}

fn tokens_said(server: &FakeServer) -> Vec<String> {
    server.seen().iter().map(|seen| seen.header("authorization").unwrap_or_default().to_string()).collect()
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_until_shortly_before_its_end() {
    let tokens = token_server("60").await;
    let server = FakeServer::saying(NO_CONTENT).await;
    let transport = transport(&server.url(), &oauth2(&tokens, "scopes: [a, b c], endpoint_params: {audience: 'x&y'}"));
    for _ in 0..2 {
        assert_eq!(push_status(&transport).await, 204);
    }
    pass(49).await;
    assert_eq!(push_status(&transport).await, 204);
    pass(2).await;
    assert_eq!(push_status(&transport).await, 204);
    assert_eq!(tokens_said(&server), ["Bearer t0", "Bearer t0", "Bearer t0", "Bearer t1"]);
    let asked = &tokens.seen()[0];
    assert!(asked.head.starts_with("POST /token HTTP/1.1"), "{}", asked.head);
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(asked.header("authorization"), Some("Basic bStlOmh1bnRlciUyRjI="), "encoded as in a form");
    let form = String::from_utf8(asked.body.clone()).unwrap();
    assert_eq!(form, "grant_type=client_credentials&scope=a+b+c&audience=x%26y");
}

#[tokio::test]
async fn a_token_that_loki_refuses_is_fetched_again() {
    let tokens = token_server("3600").await;
    let server = FakeServer::new(|seen| {
        Act::Answer(if seen.header("authorization") == Some("Bearer t0") { FORBIDDEN } else { NO_CONTENT }.to_string())
    })
    .await;
    let transport = transport(&server.url(), &oauth2(&tokens, ""));
    assert_eq!(push_status(&transport).await, 401);
    assert_eq!(push_status(&transport).await, 204);
    assert_eq!(push_status(&transport).await, 204);
    assert_eq!(tokens.seen().len(), 2);
}

#[tokio::test]
async fn a_server_that_wants_to_be_told_in_the_form_is() {
    let tokens = FakeServer::new(|seen| match String::from_utf8_lossy(&seen.body).contains("&client_id=m+e") {
        true => token_answer("t", "\"1\""),
        false => Act::Answer("HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n".to_string()),
    })
    .await;
    let server = FakeServer::saying(NO_CONTENT).await;
    let transport = transport(&server.url(), &oauth2(&tokens, ""));
    for _ in 0..2 {
        assert_eq!(push_status(&transport).await, 204);
    }
    let seen = tokens.seen();
    let in_header: Vec<bool> = seen.iter().map(|seen| seen.header("authorization").is_some()).collect();
    assert_eq!(in_header, [true, false, false], "what went well is tried first");
    assert!(String::from_utf8_lossy(&seen[1].body).ends_with("&client_id=m+e&client_secret=hunter%2F2"));
}

#[tokio::test]
async fn a_token_that_is_not_to_be_had_is_told_without_secrets() {
    let cases = [
        (FORBIDDEN, "no token of OAuth2: status 401, invalid_client"),
        ("HTTP/1.1 500 No\r\nContent-Length: 20\r\n\r\n{\"error\": \"hunter2\"}", "no token of OAuth2: status 500"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "no token of OAuth2: the answer holds no `access_token`"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhunter2",
            "no token of OAuth2: the answer holds no `access_token`",
        ),
    ];
    let server = FakeServer::saying(NO_CONTENT).await;
    for (said, why) in cases {
        let tokens = FakeServer::saying(said).await;
        assert_eq!(push_failure(&transport(&server.url(), &oauth2(&tokens, ""))).await, why);
    }
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn many_pushes_wait_for_one_token() {
    let tokens = token_server("60").await;
    let server = FakeServer::saying(NO_CONTENT).await;
    let good = transport(&server.url(), &oauth2(&tokens, ""));
    let pushes = tokio::join!(push_status(&good), push_status(&good), push_status(&good));
    assert_eq!(pushes, (204, 204, 204));
    assert_eq!(tokens.seen().len(), 1);
    let closed = FakeServer::new(|_| Act::Close).await;
    let bad = transport(&server.url(), &oauth2(&closed, ""));
    let (a, b, c) = tokio::join!(push_failure(&bad), push_failure(&bad), push_failure(&bad));
    assert!(a == b && b == c, "{a} {b} {c}");
    assert_eq!(closed.seen().len(), 1, "and have one failure together");
}

#[tokio::test]
async fn a_server_of_tokens_that_is_silent_does_not_hold_a_push_for_ever() {
    let silent = FakeServer::new(|_| Act::Silence).await;
    let server = FakeServer::saying(NO_CONTENT).await;
    let transport = transport(&server.url(), &format!("timeout: 100ms\n{}", oauth2(&silent, "")));
    assert_eq!(push_failure(&transport).await, "no credentials to send within 100ms");
}

#[tokio::test]
async fn the_secret_of_oauth2_may_stand_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let tokens = Arc::new(token_server("0.5").await);
    let server = FakeServer::saying(NO_CONTENT).await;
    let more = format!(
        "oauth2: {{client_id: me, client_secret_file: {}, token_url: 'http://{}/'}}",
        file.display(),
        tokens.address
    );
    let transport = transport(&server.url(), &more);
    assert!(push_failure(&transport).await.contains("No such file"));
    for secret in ["one\n", "two\n"] {
        fs::write(&file, secret).unwrap();
        assert_eq!(push_status(&transport).await, 204);
    }
    assert_eq!(tokens_said(&tokens), ["Basic bWU6b25l", "Basic bWU6dHdv"]);
}
