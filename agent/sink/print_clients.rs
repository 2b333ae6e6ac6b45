//! The clients as Promtail's `-dry-run` shows them before the first entry: YAML, in its order of keys, secrets hidden.

use super::{ClientConfig, HttpClientConfig, Secret, TlsConfig};
use crate::units::write_duration;
use std::fmt::Write as _;
use std::time::Duration;

/// What stands in the place of a secret, as in Prometheus.
const HIDDEN: &str = "<secret>";

/// The text for these clients, which may be none.
pub fn clients_configured<'c>(clients: impl IntoIterator<Item = &'c ClientConfig>) -> String {
    let mut yaml = Yaml { out: "Clients configured:\n".to_string(), depth: 0 };
    for client in clients {
        yaml.out.push_str("----------------------\n");
        yaml.client(client);
        yaml.out.push('\n');
    }
    yaml.out
}

struct Yaml {
    out: String,
    depth: usize,
}

impl Yaml {
    fn client(&mut self, client: &ClientConfig) {
        self.optional("name", client.name.as_deref());
        self.text("url", &without_userinfo(&client.url.value));
        self.duration("batchwait", client.batch_wait);
        self.plain("batchsize", client.batch_bytes_max);
        self.http(&client.http);
        if !client.headers.is_empty() {
            let mut names: Vec<&str> = client.headers.keys().map(hyper::header::HeaderName::as_str).collect();
            names.sort_unstable();
            // Tokens are given this way, too.
            self.map("headers", |yaml| names.into_iter().for_each(|name| yaml.text(name, HIDDEN)));
        }
        self.map("backoff_config", |yaml| {
            yaml.duration("min_period", client.backoff.min_period);
            yaml.duration("max_period", client.backoff.max_period);
            // 0: as often as it takes, which is what is done where nothing is said.
            yaml.plain("max_retries", client.backoff.max_retries.unwrap_or(0));
        });
        if !client.external_labels.is_empty() {
            let mut labels: Vec<(&str, &str)> =
                client.external_labels.iter().map(|(name, value)| (&*name.value, &*value.value)).collect();
            labels.sort_unstable();
            // Promtail makes a text of them first.
            self.line("external_labels: |");
            self.below(|yaml| labels.into_iter().for_each(|(name, value)| yaml.text(name, value)));
        }
        self.duration("timeout", client.timeout);
        self.text("tenant_id", &client.tenant_id);
        self.plain("drop_rate_limited_batches", client.drop_rate_limited_batches);
    }

    fn http(&mut self, http: &HttpClientConfig) {
        if let Some(basic) = &http.basic_auth {
            self.map("basic_auth", |yaml| {
                yaml.optional("username", Some(&*basic.username).filter(|name| !name.is_empty()));
                yaml.secret("password", basic.password.as_ref());
                yaml.optional("password_file", basic.password_file.as_deref());
            });
        }
        // A bearer token is an authorization, for Promtail, too.
        let authorization = http.authorization.as_ref().map(|authorization| {
            let (secret, file) = (&authorization.credentials, &authorization.credentials_file);
            (&*authorization.kind, secret.as_ref(), file.as_deref())
        });
        let bearer = (http.bearer_token.is_some() || http.bearer_token_file.is_some()).then_some((
            "Bearer",
            http.bearer_token.as_ref(),
            http.bearer_token_file.as_deref(),
        ));
        if let Some((kind, credentials, file)) = authorization.or(bearer) {
            self.map("authorization", |yaml| {
                yaml.text("type", kind);
                yaml.secret("credentials", credentials);
                yaml.optional("credentials_file", file);
            });
        }
        if let Some(oauth2) = &http.oauth2 {
            self.map("oauth2", |yaml| {
                yaml.text("client_id", &oauth2.client_id);
                yaml.secret("client_secret", oauth2.client_secret.as_ref());
                yaml.optional("client_secret_file", oauth2.client_secret_file.as_deref());
                if !oauth2.scopes.is_empty() {
                    yaml.line("scopes:");
                    oauth2.scopes.iter().for_each(|scope| yaml.line(&format!("- {}", scalar(scope))));
                }
                yaml.text("token_url", &without_userinfo(oauth2.token_url.reveal()));
                if !oauth2.endpoint_params.is_empty() {
                    yaml.map("endpoint_params", |yaml| {
                        oauth2.endpoint_params.iter().for_each(|(name, _)| yaml.text(name, HIDDEN));
                    });
                }
            });
        }
        self.tls(&http.tls);
        self.optional("proxy_url", http.proxy.url.as_ref().map(|url| without_userinfo(url.reveal())).as_deref());
        self.optional("no_proxy", http.proxy.no_proxy.as_deref());
    }

    fn tls(&mut self, tls: &TlsConfig) {
        let texts = [&tls.ca_file, &tls.cert_file, &tls.key_file, &tls.server_name, &tls.min_version];
        if texts.iter().all(|text| text.is_none()) && !tls.insecure_skip_verify {
            return;
        }
        self.map("tls_config", |yaml| {
            yaml.optional("ca_file", tls.ca_file.as_deref());
            yaml.optional("cert_file", tls.cert_file.as_deref());
            yaml.optional("key_file", tls.key_file.as_deref());
            yaml.optional("server_name", tls.server_name.as_deref());
            yaml.plain("insecure_skip_verify", tls.insecure_skip_verify);
            yaml.optional("min_version", tls.min_version.as_deref());
        });
    }

    fn map(&mut self, key: &str, members: impl FnOnce(&mut Self)) {
        self.line(&format!("{}:", scalar(key)));
        self.below(members);
    }

    fn below(&mut self, members: impl FnOnce(&mut Self)) {
        self.depth += 1;
        members(self);
        self.depth -= 1;
    }

    fn text(&mut self, key: &str, value: &str) {
        self.line(&format!("{}: {}", scalar(key), scalar(value)));
    }

    fn plain(&mut self, key: &str, value: impl std::fmt::Display) {
        self.line(&format!("{key}: {value}"));
    }

    fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn secret(&mut self, key: &str, value: Option<&Secret>) {
        self.optional(key, value.map(|_| HIDDEN));
    }

    fn duration(&mut self, key: &str, duration: Duration) {
        let mut text = String::new();
        write_duration(duration, &mut text);
        self.plain(key, text);
    }

    fn line(&mut self, line: &str) {
        // Writing into memory does not fail.
        let _ = writeln!(self.out, "{:indent$}{line}", "", indent = 2 * self.depth);
    }
}

/// Plain where that reads as the same text, else as JSON's string, which is YAML's too.
fn scalar(text: &str) -> String {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@%+<>{}=&?~,".contains(&byte);
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || b"_/<".contains(&byte));
    let word = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let plain = begins && text.bytes().all(letters) && !text.ends_with(':');
    if plain && !word.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_string();
    }
    serde_json::Value::from(text).to_string()
}

/// `https://user:password@host` → `https://<secret>@host`: a token may stand alone there.
fn without_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_string() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://{HIDDEN}{}", &rest[at..]),
        None => url.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::yaml::{self, FromNode};

    fn shown(clients: &str) -> String {
        let mut d = Diagnostics::new();
        let tree = yaml::parse(clients, &mut d).expect("YAML");
        let clients = Vec::<ClientConfig>::from_node(&tree, &mut d).expect("clients");
        clients_configured(&clients)
    }

    /// As Promtail 3.6 prints a client of which only the URL is given, but for what has no effect here
    /// (`follow_redirects`, `enable_http2`) and the back-off, whose defaults are others.
    #[test]
    fn a_plain_client_is_shown_as_promtail_shows_it() {
        let wanted = "Clients configured:
----------------------
url: http://loki:3100/loki/api/v1/push
batchwait: 1s
batchsize: 1048576
backoff_config:
  min_period: 500ms
  max_period: 30s
  max_retries: 0
timeout: 10s
tenant_id: \"\"
drop_rate_limited_batches: false

";
        assert_eq!(shown("[{url: http://loki:3100/loki/api/v1/push}]"), wanted);
        assert_eq!(shown("[]"), "Clients configured:\n");
    }

    #[test]
    fn no_secret_is_shown_and_all_of_it_is_yaml() {
        let text = shown(
            "
- name: one
  url: https://me:hunter2@loki/push?x=1
  tenant_id: 'a: b'
  basic_auth: {username: me, password: hunter2}
  headers: {X-Token: hunter2}
  external_labels: {zone: 'on', cluster: a}
  tls_config: {ca_file: /ca.pem, insecure_skip_verify: true}
  proxy_url: http://proxy:hunter2@proxy:3128
  backoff_config: {max_retries: 3}
- {url: 'https://hunter2@loki', bearer_token: hunter2}
- url: https://loki
  oauth2: {client_id: '5', client_secret: hunter2, token_url: https://idp/token, scopes: [a, b],
           endpoint_params: {secret: hunter2}}
",
        );
        assert!(!text.contains("hunter2"), "{text}");
        let documents: Vec<&str> = text.split("----------------------\n").skip(1).collect();
        assert_eq!(documents.len(), 3);
        for document in &documents {
            let mut d = Diagnostics::new();
            let tree = yaml::parse(document, &mut d).unwrap_or_else(|| panic!("no YAML:\n{document}"));
            assert!(tree.get("url").is_some() && !d.has_errors(), "{document}");
        }
        for part in [
            "name: one\nurl: https://loki/push?x=1\n",
            "basic_auth:\n  username: me\n  password: <secret>\ntls_config:\n  ca_file: /ca.pem\n  insecure_skip_verify: true\n",
            "proxy_url: http://<secret>@proxy:3128\nheaders:\n  x-token: <secret>\n",
            "  max_retries: 3\nexternal_labels: |\n  cluster: a\n  zone: \"on\"\n",
            "tenant_id: \"a: b\"\n",
            "authorization:\n  type: Bearer\n  credentials: <secret>\n",
            "oauth2:\n  client_id: \"5\"\n  client_secret: <secret>\n  scopes:\n  - a\n  - b\n",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }
}
