//! `clients`: where entries are to be sent, with Promtail's keys and defaults.

use super::http_config::HttpClientConfig;
use super::http_url::HttpUrl;
use super::transport::is_valid_tenant;
use crate::diagnostic::Diagnostics;
use crate::yaml::{Fields, FromNode, Node, Spanned};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// Headers that make up the request itself.
const OWN_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
/// Loki's header for the tenant.
pub(super) const TENANT_HEADER: &str = "x-scope-orgid";

/// One Loki endpoint, with Promtail's keys and defaults.
#[derive(Debug)]
pub struct ClientConfig {
    /// As written, but for the user and password before an `@`. Empty after expansion of the environment: the client is
    /// off.
    pub url: Spanned<String>,
    /// The URL taken apart; `None`: the client is off.
    pub endpoint: Option<HttpUrl>,
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
    /// Without those that weir sets itself; their values are hidden in dumps.
    pub headers: HeaderMap,
    pub drop_rate_limited_batches: bool,
    pub http: HttpClientConfig,
}

/// Waiting between attempts.
#[derive(Debug)]
pub struct BackoffConfig {
    /// Default 500 ms.
    pub min_period: Duration,
    /// Default 30 s; Promtail's is 5 m, after which it gives up: who goes on for ever should notice soon that Loki is back.
    pub max_period: Duration,
    /// Attempts; `None` where the file doesn't say: weir then goes on for ever, Promtail gives up after 10.
    pub max_retries: Option<u64>,
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
        let mut url = url.unwrap_or(Spanned { value: String::new(), span: node.span });
        let endpoint = read_endpoint(&mut url, d);
        let tenant_id = read_tenant(&mut fields, d);
        let backoff_node = fields.node("backoff_config");
        let config = ClientConfig {
            url,
            endpoint,
            headers: read_headers(&mut fields, &tenant_id, d),
            name: fields.optional("name", d),
            tenant_id,
            batch_wait: fields.or("batchwait", Duration::from_secs(1), d),
            batch_bytes_max: fields.or("batchsize", 1_048_576, d),
            timeout: read_timeout(&mut fields, d),
            backoff: BackoffConfig::from_optional(backoff_node, d),
            external_labels: fields.optional("external_labels", d).unwrap_or_default(),
            drop_rate_limited_batches: fields.or("drop_rate_limited_batches", false, d),
            http: HttpClientConfig::read(&mut fields, d),
        };
        fields.finish(d);
        config.check_identity(d);
        Some(config)
    }
}

impl ClientConfig {
    /// A header `Authorization`, a user in the URL and the other ways go by this order, as in Promtail.
    fn check_identity(&self, d: &mut Diagnostics) {
        let mut ways = Vec::new();
        if self.headers.contains_key("authorization") {
            ways.push("the header `Authorization`");
        }
        if self.endpoint.as_ref().is_some_and(|endpoint| endpoint.user.is_some()) {
            ways.push("the user in the URL");
        }
        if self.http.ways() > 0 {
            ways.push("the client's authentication");
        }
        if let [used, unused, ..] = ways[..] {
            d.warning(self.url.span, format!("{used} is sent; {unused} is not used"));
        }
    }
}

/// Takes the URL apart, and whoever stands before its `@` out of its text.
fn read_endpoint(url: &mut Spanned<String>, d: &mut Diagnostics) -> Option<HttpUrl> {
    // An empty one is a client that is off: `${LOKI_URL:-}`.
    if url.value.is_empty() {
        return None;
    }
    let parsed = HttpUrl::parse(&url.value);
    if let Some(at) = url.value.rfind('@') {
        let begin = url.value.find("://").map_or(0, |scheme| scheme + 3);
        if begin < at && parsed.as_ref().map_or(true, |parsed| parsed.user.is_some()) {
            url.value.replace_range(begin..=at, "");
        }
    }
    match parsed {
        Ok(parsed) => {
            if parsed.path.ends_with("/api/prom/push") {
                d.warning(url.span, "`/api/prom/push` is the push path of Loki before 1.0")
                    .help("write `/loki/api/v1/push`");
            }
            Some(parsed)
        }
        Err(why) => {
            d.error(url.span, format!("`{}` is no URL that can be pushed to: {why}", url.value))
                .help("write `http://HOST:PORT/loki/api/v1/push`");
            None
        }
    }
}

fn read_tenant(fields: &mut Fields<'_>, d: &mut Diagnostics) -> String {
    let Some(tenant) = fields.optional::<Spanned<String>>("tenant_id", d) else { return String::new() };
    if !is_valid_tenant(&tenant.value) {
        d.error(tenant.span, "no header of HTTP can hold this tenant");
    }
    tenant.value
}

fn read_timeout(fields: &mut Fields<'_>, d: &mut Diagnostics) -> Duration {
    let timeout: Option<Spanned<Duration>> = fields.optional("timeout", d);
    if let Some(timeout) = timeout.as_ref().filter(|timeout| timeout.value.is_zero()) {
        d.error(timeout.span, "no push ends within no time");
    }
    timeout.map_or(Duration::from_secs(10), |timeout| timeout.value)
}

/// What is wrong is told at `headers`, not at the header: the line of a finding is shown, and may hold a secret.
fn read_headers(fields: &mut Fields<'_>, tenant_id: &str, d: &mut Diagnostics) -> HeaderMap {
    let span = fields.key_span("headers").unwrap_or(fields.span());
    let written: Vec<(Spanned<String>, Spanned<String>)> = fields.optional("headers", d).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, text) in written {
        let name = name.value;
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            d.error(span, format!("`{name}` is no name of a header"));
            continue;
        };
        let Ok(mut value) = HeaderValue::from_bytes(text.value.as_bytes()) else {
            d.error(span, format!("the value of the header `{name}` holds a character that HTTP does not allow"));
            continue;
        };
        if OWN_HEADERS.contains(&header.as_str()) {
            d.warning(span, format!("the header `{name}` is left out: weir sets it itself"));
        } else if header == TENANT_HEADER && !tenant_id.is_empty() {
            d.warning(span, format!("the header `{name}` is left out: `tenant_id` says the tenant"));
        } else {
            value.set_sensitive(true);
            if headers.insert(header, value).is_some() {
                d.error(span, format!("the header `{name}` is written twice"));
            }
        }
    }
    headers
}

impl BackoffConfig {
    fn from_optional(node: Option<&Node>, d: &mut Diagnostics) -> Self {
        let mut config = BackoffConfig {
            min_period: Duration::from_millis(500),
            max_period: Duration::from_secs(30),
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
