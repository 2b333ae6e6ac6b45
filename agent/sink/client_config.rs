//! `clients`: where entries are to be sent. Read and checked here; delivery itself is not built in yet, and the agent
//! says so at start.

use crate::diagnostic::Diagnostics;
use crate::yaml::{Fields, FromNode, Node, Spanned};
use std::time::Duration;

/// One Loki endpoint, with Promtail's keys and defaults.
#[derive(Debug)]
pub struct ClientConfig {
    /// Empty after expansion of the environment: the client is off.
    pub url: Spanned<String>,
    pub name: Option<String>,
    pub tenant_id: String,
    /// A batch is sent when it is this old (default 1 s) …
    pub batch_wait: Duration,
    /// … or holds this many bytes of lines (default 1 MiB).
    pub batch_bytes_max: u64,
    /// For one request (default 10 s).
    pub timeout: Duration,
    pub backoff: BackoffConfig,
    pub external_labels: Vec<(Spanned<String>, Spanned<String>)>,
    pub headers: Vec<(Spanned<String>, Spanned<String>)>,
    pub drop_rate_limited_batches: bool,
    pub http: HttpClientConfig,
}

/// Waiting between attempts.
#[derive(Debug)]
pub struct BackoffConfig {
    /// Default 500 ms.
    pub min_period: Duration,
    /// Default 5 m.
    pub max_period: Duration,
    /// Attempts; `None` where the file doesn't say: weir then goes on for ever, Promtail gives up after 10.
    pub max_retries: Option<u64>,
}

/// Prometheus' HTTP client options.
#[derive(Debug, Default)]
pub struct HttpClientConfig {
    pub basic_auth: Option<BasicAuthConfig>,
    pub authorization: Option<AuthorizationConfig>,
    pub bearer_token: Option<String>,
    pub bearer_token_file: Option<String>,
    pub oauth2: Option<OAuth2Config>,
    pub tls: TlsConfig,
    pub proxy_url: Option<String>,
    pub no_proxy: Option<String>,
}

#[derive(Debug)]
pub struct BasicAuthConfig {
    pub username: String,
    pub password: Option<String>,
    pub password_file: Option<String>,
}

#[derive(Debug)]
pub struct AuthorizationConfig {
    /// Default `Bearer`.
    pub kind: String,
    pub credentials: Option<String>,
    pub credentials_file: Option<String>,
}

#[derive(Debug)]
pub struct OAuth2Config {
    pub client_id: String,
    pub client_secret: Option<String>,
    pub client_secret_file: Option<String>,
    pub scopes: Vec<String>,
    pub token_url: String,
    pub endpoint_params: Vec<(Spanned<String>, Spanned<String>)>,
}

#[derive(Debug, Default)]
pub struct TlsConfig {
    pub ca_file: Option<String>,
    pub cert_file: Option<String>,
    pub key_file: Option<String>,
    pub server_name: Option<String>,
    pub insecure_skip_verify: bool,
    pub min_version: Option<String>,
}

impl FromNode for ClientConfig {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "a client", d)?;
        // Under `${LOKI_URL}` an unset variable leaves nothing behind the colon: the client is there, and off.
        let url = match fields.node("url") {
            Some(node) if node.is_null() => Some(Spanned { value: String::new(), span: node.span }),
            Some(node) => Spanned::from_node(node, d),
            None => {
                d.error(fields.span(), "a client needs `url`").help("such as `http://loki:3100/loki/api/v1/push`");
                None
            }
        };
        if let Some(url) = &url {
            check_url(url, d);
        }
        let backoff_node = fields.node("backoff_config");
        let config = ClientConfig {
            url: url.unwrap_or(Spanned { value: String::new(), span: node.span }),
            name: fields.optional("name", d),
            tenant_id: fields.or("tenant_id", String::new(), d),
            batch_wait: fields.or("batchwait", Duration::from_secs(1), d),
            batch_bytes_max: fields.or("batchsize", 1_048_576, d),
            timeout: fields.or("timeout", Duration::from_secs(10), d),
            backoff: BackoffConfig::from_optional(backoff_node, d),
            external_labels: fields.optional("external_labels", d).unwrap_or_default(),
            headers: fields.optional("headers", d).unwrap_or_default(),
            drop_rate_limited_batches: fields.or("drop_rate_limited_batches", false, d),
            http: HttpClientConfig::read(&mut fields, d),
        };
        fields.finish(d);
        Some(config)
    }
}

fn check_url(url: &Spanned<String>, d: &mut Diagnostics) {
    // An empty one is a client that is off: `${LOKI_URL:-}`.
    if url.value.is_empty() {
        return;
    }
    if !["http://", "https://"].iter().any(|scheme| url.value.starts_with(scheme)) {
        d.error(url.span, format!("`{}` is no URL that can be pushed to", url.value))
            .help("write `http://HOST:PORT/loki/api/v1/push`");
    } else if url.value.ends_with("/api/prom/push") {
        d.warning(url.span, "`/api/prom/push` is the push path of Loki before 1.0").help("write `/loki/api/v1/push`");
    }
}

impl BackoffConfig {
    fn from_optional(node: Option<&Node>, d: &mut Diagnostics) -> Self {
        let mut config = BackoffConfig {
            min_period: Duration::from_millis(500),
            max_period: Duration::from_secs(300),
            max_retries: None,
        };
        if let Some(mut fields) = node.and_then(|node| Fields::new(node, "`backoff_config`", d)) {
            config.min_period = fields.or("min_period", config.min_period, d);
            config.max_period = fields.or("max_period", config.max_period, d);
            config.max_retries = fields.optional("max_retries", d);
            fields.finish(d);
        }
        config
    }
}

impl HttpClientConfig {
    fn read(fields: &mut Fields<'_>, d: &mut Diagnostics) -> Self {
        let tls = fields.node("tls_config").and_then(|node| TlsConfig::from_node(node, d)).unwrap_or_default();
        let config = HttpClientConfig {
            basic_auth: fields.optional("basic_auth", d),
            authorization: fields.optional("authorization", d),
            bearer_token: fields.optional("bearer_token", d),
            bearer_token_file: fields.optional("bearer_token_file", d),
            oauth2: fields.optional("oauth2", d),
            tls,
            proxy_url: fields.optional("proxy_url", d),
            no_proxy: fields.optional("no_proxy", d),
        };
        fields.ignored(&["follow_redirects"], "redirects are never followed with credentials", d);
        fields.ignored(&["enable_http2"], "pushes use HTTP/1.1, as Promtail's do", d);
        let ways = [
            config.basic_auth.is_some(),
            config.authorization.is_some(),
            config.bearer_token.is_some() || config.bearer_token_file.is_some(),
            config.oauth2.is_some(),
        ];
        if ways.iter().filter(|given| **given).count() > 1 {
            d.error(fields.span(), "a client takes one of `basic_auth`, `authorization`, `bearer_token` and `oauth2`");
        }
        config
    }
}

impl FromNode for BasicAuthConfig {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`basic_auth`", d)?;
        let config = BasicAuthConfig {
            username: fields.or("username", String::new(), d),
            password: fields.optional("password", d),
            password_file: fields.optional("password_file", d),
        };
        if config.password.is_some() && config.password_file.is_some() {
            d.error(fields.span(), "`basic_auth` takes `password` or `password_file`, not both");
        }
        fields.finish(d);
        Some(config)
    }
}

impl FromNode for AuthorizationConfig {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`authorization`", d)?;
        let config = AuthorizationConfig {
            kind: fields.or("type", "Bearer".to_string(), d),
            credentials: fields.optional("credentials", d),
            credentials_file: fields.optional("credentials_file", d),
        };
        fields.finish(d);
        Some(config)
    }
}

impl FromNode for OAuth2Config {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`oauth2`", d)?;
        let (client_id, token_url) = (fields.required("client_id", d), fields.required("token_url", d));
        let config = OAuth2Config {
            client_id: client_id.unwrap_or_default(),
            client_secret: fields.optional("client_secret", d),
            client_secret_file: fields.optional("client_secret_file", d),
            scopes: fields.or("scopes", Vec::new(), d),
            token_url: token_url.unwrap_or_default(),
            endpoint_params: fields.optional("endpoint_params", d).unwrap_or_default(),
        };
        fields.finish(d);
        Some(config)
    }
}

impl FromNode for TlsConfig {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`tls_config`", d)?;
        let config = TlsConfig {
            ca_file: fields.optional("ca_file", d),
            cert_file: fields.optional("cert_file", d),
            key_file: fields.optional("key_file", d),
            server_name: fields.optional("server_name", d),
            insecure_skip_verify: fields.or("insecure_skip_verify", false, d),
            min_version: fields.optional("min_version", d),
        };
        if config.cert_file.is_some() != config.key_file.is_some() {
            d.error(fields.span(), "`tls_config` needs `cert_file` and `key_file` together");
        }
        fields.finish(d);
        Some(config)
    }
}
