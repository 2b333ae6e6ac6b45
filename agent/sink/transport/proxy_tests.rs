use super::super::Transport;
use super::super::fake_authority::{Issued, params};
use super::super::fake_server::{
    Act, FakeServer, NO_CONTENT, config, push_failure, push_status, transport, tunnelling_proxy,
};
use super::*;

fn url(text: &str) -> HttpUrl {
    HttpUrl::parse(text).unwrap()
}

#[test]
fn exceptions_name_servers_as_in_go() {
    let cases = [
        ("", "http://loki:3100", false),
        ("*", "http://loki:3100", true),
        ("loki", "http://loki:3100", true),
        ("LOKI ", "http://Loki.:3100", true),
        ("loki:3100", "http://loki:3100", true),
        ("loki:3101", "http://loki:3100", false),
        ("loki:443", "https://loki", true),
        ("other, ,svc", "http://loki.ns.svc", true),
        (".svc", "http://loki.ns.svc", true),
        ("*.svc", "http://loki.ns.svc", true),
        ("vc", "http://loki.ns.svc", false),
        (".", "http://loki.ns.svc", false),
        ("10.0.0.0/8", "http://10.2.3.4", true),
        ("10.0.0.0/8", "http://11.2.3.4", false),
        ("0.0.0.0/0", "http://11.2.3.4", true),
        ("10.0.0.0/33", "http://10.0.0.0", false),
        ("10.0.0.0/x", "http://10.0.0.0", false),
        ("10.0.0.0/8", "http://[::a00:0]", false),
        ("10.2.3.4", "http://10.2.3.4", true),
        ("10.2.3.4:80", "http://10.2.3.4", true),
        ("fd00::/8", "http://[fd12::1]:3100", true),
        ("fd12::1", "http://[fd12::1]:3100", true),
        ("[fd12::1]:3100", "http://[fd12::1]:3100", true),
        ("[fd12::1]:1", "http://[fd12::1]:3100", false),
        ("", "http://localhost:3100", true),
        ("", "http://127.8.0.1:3100", true),
        ("", "http://[::1]", true),
    ];
    for (list, server, expected) in cases {
        assert_eq!(is_excepted(list, &url(server)), expected, "{list} {server}");
    }
}

fn chosen(more: &str, server: &str, environment: &[(&str, &str)]) -> Option<String> {
    let find = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string());
    let proxy = Proxy::choose(&config("http://x/", more).http.proxy, &url(server), &find).expect("a choice");
    proxy.map(|proxy| proxy.url.authority)
}

#[test]
fn the_configuration_goes_before_the_environment() {
    let all =
        [("HTTP_PROXY", "http://plain:1"), ("https_proxy", "secure:2"), ("NO_PROXY", "near"), ("no_proxy", "far")];
    let some = |proxy: &str| Some(proxy.to_string());
    assert_eq!(chosen("", "http://loki", &all), some("plain:1"));
    assert_eq!(chosen("", "https://loki", &all), some("secure:2"));
    assert_eq!(chosen("", "http://near", &all), None);
    assert_eq!(chosen("", "http://far", &all), some("plain:1"), "capitals go first");
    assert_eq!(chosen("", "http://localhost", &all), None);
    assert_eq!(chosen("", "http://loki", &all[1..]), None);
    assert_eq!(chosen("", "http://loki", &[("HTTP_PROXY", ""), ("http_proxy", "small:3")]), some("small:3"));
    assert_eq!(chosen("proxy_from_environment: false", "http://loki", &all), None);
    assert_eq!(chosen("proxy_from_environment: true", "http://loki", &all), some("plain:1"));
    assert_eq!(chosen("proxy_url: http://own:4", "http://near", &all), some("own:4"));
    assert_eq!(chosen("proxy_url: http://own:4", "http://localhost", &all), some("own:4"), "it has no exceptions");
    assert_eq!(chosen("proxy_url: http://own:4\nno_proxy: loki", "http://loki", &all), None);
    assert_eq!(chosen("proxy_url: ''", "http://loki", &all), some("plain:1"));
}

#[test]
fn a_proxy_of_the_environment_that_cannot_be_used_is_told_without_its_password() {
    let config = config("http://loki/", "");
    let environment = |name: &str| (name == "HTTP_PROXY").then(|| "socks5://me:hunter2@proxy".to_string());
    let why = Transport::with_environment(&config, &environment).err().expect("refused");
    assert!(why.contains("`HTTP_PROXY`") && !why.contains("hunter2"), "{why}");
}

#[tokio::test]
async fn a_plain_push_goes_to_the_proxy_whole() {
    let proxy = FakeServer::saying(NO_CONTENT).await;
    let more = format!("proxy_url: http://Aladdin:open%20sesame@{}\nbearer_token: hunter2", proxy.address);
    assert_eq!(push_status(&transport("http://loki.invalid:3100/push?x", &more)).await, 204);
    let seen = &proxy.seen()[0];
    assert!(seen.head.starts_with("POST http://loki.invalid:3100/push?x HTTP/1.1"), "{}", seen.head);
    assert_eq!(seen.header("host"), Some("loki.invalid:3100"));
    assert_eq!(seen.header("proxy-authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    assert_eq!(seen.header("authorization"), Some("Bearer hunter2"));
}

#[tokio::test]
async fn a_push_by_tls_goes_through_a_tunnel_that_sees_no_credentials() {
    let server = FakeServer::saying(NO_CONTENT).await;
    server.set_tls(Issued::self_signed(&params("localhost")).server());
    let (proxy, asked) = tunnelling_proxy().await;
    let more = format!(
        "proxy_url: http://Aladdin:open%20sesame@{proxy}\nbearer_token: hunter2\ntls_config: {{insecure_skip_verify: true}}"
    );
    let transport = transport(&server.tls_url(), &more);
    for _ in 0..2 {
        assert_eq!(push_status(&transport).await, 204);
    }
    let target = format!("localhost:{}", server.address.port());
    let seen = &server.seen()[0];
    assert!(seen.head.starts_with("POST /loki/api/v1/push HTTP/1.1"), "{}", seen.head);
    assert_eq!(seen.header("authorization"), Some("Bearer hunter2"));
    assert_eq!(seen.header("proxy-authorization"), None);
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1, "one tunnel serves both");
    assert!(asked[0].starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")), "{}", asked[0]);
    assert!(asked[0].contains("proxy-authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "{}", asked[0]);
    assert!(!asked[0].contains("hunter2"), "{}", asked[0]);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_with_its_status() {
    let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let proxy = FakeServer::saying(refusal).await;
    let why = push_failure(&transport("https://loki.invalid/", &format!("proxy_url: {}", proxy.address))).await;
    assert_eq!(why, "the proxy opens no tunnel to loki.invalid:443: status 407");
    let plain = push_status(&transport("http://loki.invalid/", &format!("proxy_url: {}", proxy.address))).await;
    assert_eq!(plain, 407);
    let closing = FakeServer::new(|_| Act::Close).await;
    let why = push_failure(&transport("https://loki.invalid/", &format!("proxy_url: {}", closing.address))).await;
    assert!(why.starts_with("the proxy: "), "{why}");
}
