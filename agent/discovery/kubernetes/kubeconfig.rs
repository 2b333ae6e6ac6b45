//! A kubeconfig: its current context says which cluster, and as whom.
//!
//! Programs that would tell a token (`exec`) are not run, and the plugins of old (`auth-provider`) are not there: an agent of
//! a node has a token or a certificate of its own.

use super::access::Endpoint;
use crate::diagnostic::Diagnostics;
use crate::sink::{BasicAuthConfig, HttpClientConfig, HttpUrl, InlinePem, Secret, TlsConfig};
use crate::yaml::{self, Node, Value};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::path::Path;

/// A file of some clusters has a few KB; one with many certificates a hundred.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a kubeconfig.
///
/// # Errors
///
/// A sentence for the operator, which begins with the file.
pub fn read(file: &Path) -> Result<Endpoint, String> {
    let told = |why: String| format!("{}: {why}", file.display());
    let metadata = std::fs::metadata(file).map_err(|error| told(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(told("it is no plain file of up to 1 MiB".into()));
    }
    let text = std::fs::read_to_string(file).map_err(|error| told(error.to_string()))?;
    take_apart(&text, file.parent().unwrap_or(Path::new("/"))).map_err(told)
}

fn take_apart(text: &str, folder: &Path) -> Result<Endpoint, String> {
    let mut diagnostics = Diagnostics::new();
    // What is wrong with it may stand beside a secret: no line of it is shown.
    let root = yaml::parse(text, &mut diagnostics).ok_or("it is no YAML")?;
    let current = text_of(&root, "current-context").ok_or("it has no `current-context`")?;
    let context = named(&root, "contexts", "context", current)?;
    let of_context = |key: &str| text_of(context, key).ok_or(format!("the context `{current}` has no `{key}`"));
    let cluster = named(&root, "clusters", "cluster", of_context("cluster")?)?;
    let user = named(&root, "users", "user", of_context("user")?)?;
    for key in ["exec", "auth-provider"] {
        if user.get(key).is_some_and(|node| !node.is_null()) {
            return Err(format!(
                "the user's `{key}` is not supported: give it a `token`, a `tokenFile` or a client certificate"
            ));
        }
    }
    let server = text_of(cluster, "server").ok_or("the cluster has no `server`")?;
    let url = HttpUrl::parse(server).map_err(|why| format!("its `server` cannot be asked: {why}"))?;
    let path = |node: &Node, key: &str| text_of(node, key).map(|path| folder.join(path).display().to_string());
    let mut http = HttpClientConfig {
        tls: TlsConfig {
            ca_file: path(cluster, "certificate-authority"),
            cert_file: path(user, "client-certificate"),
            key_file: path(user, "client-key"),
            inline: InlinePem {
                ca: data(cluster, "certificate-authority-data")?,
                cert: data(user, "client-certificate-data")?,
                key: data(user, "client-key-data")?,
            },
            server_name: text_of(cluster, "tls-server-name").map(str::to_string),
            insecure_skip_verify: text_of(cluster, "insecure-skip-tls-verify") == Some("true"),
            min_version: None,
        },
        ..HttpClientConfig::default()
    };
    http.proxy.url = text_of(cluster, "proxy-url").map(Secret::new);
    // A file is newer than what was copied beside it.
    http.bearer_token_file = path(user, "tokenFile");
    if http.bearer_token_file.is_none() {
        http.bearer_token = text_of(user, "token").map(Secret::new);
    }
    if let Some(name) = text_of(user, "username").filter(|_| http.ways() == 0) {
        let password = text_of(user, "password").map(Secret::new);
        http.basic_auth = Some(BasicAuthConfig { username: name.to_string(), password, password_file: None });
    }
    Ok(Endpoint { url, http })
}

/// What stands under `kind` in the item of a list that has this name.
fn named<'n>(root: &'n Node, list: &str, kind: &str, name: &str) -> Result<&'n Node, String> {
    let items = match root.get(list).map(|node| &node.value) {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    let item = items.iter().find(|item| text_of(item, "name") == Some(name));
    item.and_then(|item| item.get(kind)).ok_or(format!("its `{list}` have no `{name}`"))
}

fn text_of<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get(key)?.text().filter(|text| !text.is_empty())
}

fn data(node: &Node, key: &str) -> Result<Option<Secret>, String> {
    let Some(text) = text_of(node, key) else { return Ok(None) };
    let whole: String = text.split_whitespace().collect();
    let pem = BASE64_STANDARD.decode(whole).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    pem.map(|pem| Some(Secret::new(pem))).ok_or(format!("its `{key}` is no base64 of a text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
apiVersion: v1
kind: Config
current-context: there
contexts:
- {name: here, context: {cluster: a, user: b}}
- {name: there, context: {cluster: home, user: agent, namespace: x}}
clusters:
- name: home
  cluster: {server: 'https://10.0.0.1:6443', certificate-authority-data: UEVN, tls-server-name: api}
users:
- {name: agent, user: {client-certificate: certs/a.pem, client-key-data: S0VZ, token: t0ken}}
";

    #[test]
    fn the_current_context_says_where_and_who() {
        let endpoint = take_apart(FILE, Path::new("/etc/kube")).expect("a kubeconfig");
        assert_eq!(endpoint.url.host_and_port(), "10.0.0.1:6443");
        let tls = &endpoint.http.tls;
        assert_eq!(tls.inline.ca, Some(Secret::new("PEM")));
        assert_eq!(
            (tls.cert_file.as_deref(), &tls.inline.key),
            (Some("/etc/kube/certs/a.pem"), &Some(Secret::new("KEY")))
        );
        assert_eq!(tls.server_name.as_deref(), Some("api"));
        assert_eq!(endpoint.http.bearer_token, Some(Secret::new("t0ken")));
        let text = FILE.replace("token: t0ken", "tokenFile: token, token: old");
        let http = take_apart(&text, Path::new("/etc/kube")).expect("a kubeconfig").http;
        assert_eq!((http.bearer_token, http.bearer_token_file.as_deref()), (None, Some("/etc/kube/token")));
        let text = FILE.replace("token: t0ken", "username: me, password: pass");
        let http = take_apart(&text, Path::new("/")).expect("a kubeconfig").http;
        assert_eq!(http.basic_auth.map(|basic| basic.username).as_deref(), Some("me"));
    }

    #[test]
    fn what_cannot_be_used_is_said_without_its_secrets() {
        for (from, to, expected) in [
            ("current-context: there", "", "it has no `current-context`"),
            ("current-context: there", "current-context: nowhere", "its `contexts` have no `nowhere`"),
            ("current-context: there", "current-context: here", "its `clusters` have no `a`"),
            ("token: t0ken", "exec: {command: aws}", "the user's `exec` is not supported"),
            ("UEVN", "'%%'", "its `certificate-authority-data` is no base64 of a text"),
            ("https://10.0.0.1:6443", "10.0.0.1", "its `server` cannot be asked"),
            ("kind: Config", "kind: [", "it is no YAML"),
        ] {
            let why = take_apart(&FILE.replace(from, to), Path::new("/")).expect_err(to);
            assert!(why.contains(expected) && !why.contains("t0ken"), "{to}: {why}");
        }
    }
}
