use super::super::Transport;
use super::super::fake_authority::{Authority, Issued, authority_params, expired, params};
use super::super::fake_server::{Act, FakeServer, NO_CONTENT, push_failure, push_status, transport};
use super::*;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A server by TLS, whose connections end with each answer: each push sees the files anew.
async fn server(config: tokio_rustls::rustls::ServerConfig) -> FakeServer {
    let server = FakeServer::new(|_| Act::AnswerAndClose(NO_CONTENT.to_string())).await;
    server.set_tls(config);
    server
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> &Self {
        fs::write(self.path(name), content).unwrap();
        self
    }

    /// A transport whose `tls_config` names `ca`, and `more` keys. `DIR/` is this folder.
    fn transport(&self, server: &FakeServer, more: &str) -> Transport {
        let more = more.replace("DIR", &self.0.path().display().to_string());
        transport(&server.tls_url(), &format!("tls_config: {{ca_file: {}, {more}}}", self.path("ca").display()))
    }
}

fn holds(why: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| why.contains(part)), "{why}");
}

#[tokio::test]
async fn a_server_must_have_a_certificate_for_its_name_of_our_authority() {
    let (ours, other, folder) = (Authority::new(), Authority::new(), Folder::new());
    folder.write("ca", &ours.pem());
    let status = async |certificate: Issued, more: &str| {
        push_status(&folder.transport(&server(certificate.server()).await, more)).await
    };
    let failure = async |certificate: Issued, more: &str| {
        push_failure(&folder.transport(&server(certificate.server()).await, more)).await
    };
    assert_eq!(status(ours.issue(params("localhost")), "").await, 204);
    assert_eq!(status(ours.issue(params("loki.example")), "server_name: loki.example").await, 204);
    holds(&failure(ours.issue(params("loki.example")), "").await, &["no TLS with localhost:", "not valid for"]);
    holds(&failure(ours.issue(params("localhost")), "server_name: loki.example").await, &["not valid for"]);
    holds(&failure(ours.issue(expired(params("localhost"))), "").await, &["no TLS with localhost:", "expired"]);
    holds(
        &failure(other.issue(params("localhost")), "").await,
        &["no TLS with localhost:", "invalid peer certificate"],
    );
    assert_eq!(status(other.issue(expired(params("x"))), "insecure_skip_verify: true").await, 204);
}

#[tokio::test]
async fn without_an_authority_of_ours_the_systems_are_asked() {
    let server = server(Authority::new().issue(params("localhost")).server()).await;
    let why = push_failure(&transport(&server.tls_url(), "")).await;
    // A machine without any says so.
    assert!(why.contains("UnknownIssuer") || why == "the system's certificates: there is none to trust", "{why}");
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_its_own_authority() {
    let folder = Folder::new();
    for (params, name, expected) in [
        (params("localhost"), "localhost", Ok(204)),
        (authority_params("localhost"), "localhost", Ok(204)),
        (authority_params("localhost"), "loki.example", Err("not valid for")),
        (expired(authority_params("localhost")), "localhost", Err("expired")),
    ] {
        let certificate = Issued::self_signed(&params);
        folder.write("ca", &certificate.certificate);
        let transport = folder.transport(&server(certificate.server()).await, &format!("server_name: {name}"));
        match expected {
            Ok(code) => assert_eq!(push_status(&transport).await, code),
            Err(part) => holds(&push_failure(&transport).await, &[part]),
        }
    }
    let stranger = Issued::self_signed(&authority_params("localhost"));
    holds(&push_failure(&folder.transport(&server(stranger.server()).await, "")).await, &["no TLS with"]);
}

#[tokio::test]
async fn versions_before_the_least_are_not_spoken() {
    use tokio_rustls::rustls::version::{TLS12, TLS13};
    let (authority, folder) = (Authority::new(), Folder::new());
    folder.write("ca", &authority.pem());
    for (spoken, min, expected) in [
        (&TLS12, "TLS10", true),
        (&TLS12, "TLS12", true),
        (&TLS13, "TLS12", true),
        (&TLS13, "TLS13", true),
        (&TLS12, "TLS13", false),
    ] {
        let server = server(authority.issue(params("localhost")).server_speaking(spoken)).await;
        let transport = folder.transport(&server, &format!("min_version: {min}"));
        if expected {
            assert_eq!(push_status(&transport).await, 204, "{min}");
        } else {
            holds(&push_failure(&transport).await, &["no TLS with"]);
        }
    }
}

/// Fault row 60: what expired or was replaced is taken from the files, without a restart.
#[tokio::test]
async fn an_authority_is_replaced_under_way() {
    let (old, new, folder) = (Authority::new(), Authority::new(), Folder::new());
    let server = server(old.issue(params("localhost")).server()).await;
    let transport = folder.transport(&server, "");
    holds(&push_failure(&transport).await, &[&folder.path("ca").display().to_string(), "No such file"]);
    folder.write("ca", &old.pem());
    assert_eq!(push_status(&transport).await, 204);

    server.set_tls(new.issue(params("localhost")).server());
    holds(&push_failure(&transport).await, &["invalid peer certificate"]);
    // Half of it is no reason to forget the old one.
    let pem = new.pem();
    for half in [&pem[..pem.len() / 2], "", "no certificate"] {
        folder.write("ca", half);
        holds(&push_failure(&transport).await, &["invalid peer certificate"]);
    }
    folder.write("ca", &pem);
    assert_eq!(push_status(&transport).await, 204);
    fs::remove_file(folder.path("ca")).unwrap();
    assert_eq!(push_status(&transport).await, 204, "the last one stays in use");
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_replaced_under_way() {
    let (authority, old, new, folder) = (Authority::new(), Authority::new(), Authority::new(), Folder::new());
    let server_certificate = authority.issue(params("localhost"));
    let server = server(server_certificate.server_for(&old)).await;
    folder.write("ca", &authority.pem());
    push_failure(&folder.transport(&server, "")).await;

    let write = |client: &Issued| folder.write("cert", &client.certificate).write("key", &client.key).path("key");
    write(&old.issue(params("edge")));
    let transport = folder.transport(&server, "cert_file: DIR/cert, key_file: DIR/key");
    assert_eq!(push_status(&transport).await, 204);

    // The certificate is new, the key not yet.
    let renewed = new.issue(params("edge"));
    folder.write("cert", &renewed.certificate);
    assert_eq!(push_status(&transport).await, 204, "the old pair stays in use");
    server.set_tls(server_certificate.server_for(&new));
    push_failure(&transport).await;
    write(&renewed);
    assert_eq!(push_status(&transport).await, 204);
}

#[test]
fn files_that_cannot_be_used_are_told_by_name_and_without_content() {
    let folder = Folder::new();
    let (authority, other) = (Authority::new(), Authority::new());
    let (issued, another) = (authority.issue(params("edge")), other.issue(params("edge")));
    let path = |name: &str| Some(folder.path(name).display().to_string());
    let tls = Tls::new(TlsConfig {
        ca_file: path("ca"),
        cert_file: path("cert"),
        key_file: path("key"),
        ..TlsConfig::default()
    });
    let why = || tls.connector().err().expect("refused");
    let named = |name: &str| folder.path(name).display().to_string();
    let fill = |ca: &str, cert: &str, key: &str| {
        folder.write("ca", ca).write("cert", cert).write("key", key);
    };
    for (ca, cert, key, wrong) in [
        ("", issued.certificate.as_str(), issued.key.as_str(), "ca"),
        (&authority.pem(), "-----BEGIN CERTIFICATE-----\nhunter2", &issued.key, "cert"),
        (&authority.pem(), &issued.certificate, "hunter2", "key"),
        (&authority.pem(), &issued.certificate, &issued.certificate, "key"),
        (&authority.pem(), &issued.certificate, &another.key, "key"),
    ] {
        fill(ca, cert, key);
        let why = why();
        assert!(why.starts_with(&named(wrong)) && !why.contains("hunter2"), "{why}");
    }
    fill(&authority.pem(), &issued.certificate, &issued.key);
    assert!(tls.connector().is_ok());
    fs::remove_file(folder.path("key")).unwrap();
    assert!(tls.connector().is_ok());
    let complaint = || tls.state.lock().unwrap().complaint.clone();
    assert!(complaint().is_some_and(|why| why.contains("No such file")));
    folder.write("key", &issued.key);
    assert!(tls.connector().is_ok());
    assert_eq!(complaint(), None, "it is over, and would be told again");
}

/// Same files, same connector: sessions are resumed, and nothing is parsed again.
#[test]
fn files_that_do_not_change_are_not_built_again() {
    let folder = Folder::new();
    folder.write("ca", &Authority::new().pem());
    let path: &Path = &folder.path("ca");
    let tls = Tls::new(TlsConfig { ca_file: Some(path.display().to_string()), ..TlsConfig::default() });
    let config = || Arc::as_ptr(tls.connector().unwrap().config());
    let first = config();
    assert_eq!(config(), first);
    folder.write("ca", &Authority::new().pem());
    assert_ne!(config(), first);
}
