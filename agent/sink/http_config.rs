//! How to speak to a server of HTTP: who we are, whom we trust, by which way. Prometheus' HTTP client options.

use super::http_url::HttpUrl;
use super::secret::Secret;
use crate::diagnostic::Diagnostics;
use crate::span::Span;
use crate::yaml::{Fields, FromNode, Node, Spanned};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpClientConfig {
    pub basic_auth: Option<BasicAuthConfig>,
    pub authorization: Option<AuthorizationConfig>,
    pub bearer_token: Option<Secret>,
    pub bearer_token_file: Option<String>,
    pub oauth2: Option<OAuth2Config>,
    pub tls: TlsConfig,
    pub proxy: ProxyConfig,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuthConfig {
    pub username: String,
    pub password: Option<Secret>,
    pub password_file: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationConfig {
    /// Default `Bearer`.
    pub kind: String,
    pub credentials: Option<Secret>,
    pub credentials_file: Option<String>,
}

/// The client credentials grant of RFC 6749.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2Config {
    pub client_id: String,
    pub client_secret: Option<Secret>,
    pub client_secret_file: Option<String>,
    pub scopes: Vec<String>,
    /// May hold a user and password.
    pub token_url: Secret,
    pub endpoint_params: Vec<(String, Secret)>,
    /// For the server of tokens: what the client says of Loki's does not hold for it.
    pub tls: TlsConfig,
    pub proxy: ProxyConfig,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// In place of the system's certificates.
    pub ca_file: Option<String>,
    pub cert_file: Option<String>,
    pub key_file: Option<String>,
    /// In place of files; only a kubeconfig has them.
    pub inline: InlinePem,
    /// In place of the URL's host.
    pub server_name: Option<String>,
    pub insecure_skip_verify: bool,
    pub min_version: Option<String>,
}

/// Certificates and a key that stand in a configuration themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InlinePem {
    pub ca: Option<Secret>,
    pub cert: Option<Secret>,
    pub key: Option<Secret>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// May hold a user and password.
    pub url: Option<Secret>,
    /// Only beside `url`.
    pub no_proxy: Option<String>,
    /// `proxy_from_environment: false`: `HTTP_PROXY` and its like have no say. They have one only where there is no `url`.
    pub ignores_environment: bool,
}

impl HttpClientConfig {
    /// Reads the options among the keys of a map.
    pub fn read(fields: &mut Fields<'_>, d: &mut Diagnostics) -> Self {
        let bearer_token: Option<Spanned<Secret>> = fields.optional("bearer_token", d);
        check_credentials(bearer_token.as_ref(), "bearer_token", d);
        let config = HttpClientConfig {
            basic_auth: fields.optional("basic_auth", d),
            authorization: fields.optional("authorization", d),
            bearer_token: bearer_token.map(|token| token.value),
            bearer_token_file: fields.optional("bearer_token_file", d),
            oauth2: fields.optional("oauth2", d),
            tls: fields.optional("tls_config", d).unwrap_or_default(),
            proxy: ProxyConfig::read(fields, d),
        };
        fields.ignored(&["follow_redirects"], "redirects are never followed with credentials", d);
        fields.ignored(&["enable_http2"], "requests use HTTP/1.1, as Promtail's pushes do", d);
        if config.ways() > 1 {
            d.error(fields.span(), "a client takes one of `basic_auth`, `authorization`, `bearer_token` and `oauth2`");
        }
        if config.bearer_token.is_some() && config.bearer_token_file.is_some() {
            d.error(fields.span(), "a client takes `bearer_token` or `bearer_token_file`, not both");
        }
        config
    }

    /// How many ways of saying who we are stand in the file.
    pub fn ways(&self) -> usize {
        let ways = [
            self.basic_auth.is_some(),
            self.authorization.is_some(),
            self.bearer_token.is_some() || self.bearer_token_file.is_some(),
            self.oauth2.is_some(),
        ];
        ways.into_iter().filter(|given| *given).count()
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
        if config.username.contains(':') {
            d.error(fields.span(), "a `username` of `basic_auth` cannot hold a colon");
        }
        fields.finish(d);
        Some(config)
    }
}

impl FromNode for AuthorizationConfig {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`authorization`", d)?;
        let kind: Option<Spanned<String>> = fields.optional("type", d);
        let credentials: Option<Spanned<Secret>> = fields.optional("credentials", d);
        let config = AuthorizationConfig {
            kind: kind.as_ref().map_or("Bearer", |kind| kind.value.trim()).to_string(),
            credentials: credentials.as_ref().map(|credentials| credentials.value.clone()),
            credentials_file: fields.optional("credentials_file", d),
        };
        if config.credentials.is_some() && config.credentials_file.is_some() {
            d.error(fields.span(), "`authorization` takes `credentials` or `credentials_file`, not both");
        }
        if let Some(kind) = kind {
            if kind.value.trim().eq_ignore_ascii_case("basic") {
                d.error(kind.span, "`authorization` is not for the type `Basic`").help("write `basic_auth`");
            } else if !is_token(kind.value.trim()) {
                d.error(kind.span, format!("`{}` is no type of authorization", kind.value));
            }
        }
        check_credentials(credentials.as_ref(), "credentials", d);
        fields.finish(d);
        Some(config)
    }
}

impl FromNode for OAuth2Config {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`oauth2`", d)?;
        let client_id = fields.required("client_id", d);
        let token_url: Option<Spanned<Secret>> = fields.required("token_url", d);
        if let Some(url) = &token_url
            && let Err(why) = HttpUrl::parse(url.value.reveal())
        {
            d.error(url.span, format!("this `token_url` cannot be asked: {why}"));
        }
        let params: Vec<(Spanned<String>, Spanned<String>)> = fields.optional("endpoint_params", d).unwrap_or_default();
        let config = OAuth2Config {
            client_id: client_id.unwrap_or_default(),
            client_secret: fields.optional("client_secret", d),
            client_secret_file: fields.optional("client_secret_file", d),
            scopes: fields.or("scopes", Vec::new(), d),
            token_url: token_url.map(|url| url.value).unwrap_or_default(),
            endpoint_params: params.into_iter().map(|(name, text)| (name.value, Secret::new(text.value))).collect(),
            tls: fields.optional("tls_config", d).unwrap_or_default(),
            proxy: ProxyConfig::read(&mut fields, d),
        };
        if config.client_secret.is_some() && config.client_secret_file.is_some() {
            d.error(fields.span(), "`oauth2` takes `client_secret` or `client_secret_file`, not both");
        }
        fields.finish(d);
        Some(config)
    }
}

impl FromNode for TlsConfig {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`tls_config`", d)?;
        let server_name: Option<Spanned<String>> = fields.optional("server_name", d);
        let min_version: Option<Spanned<String>> = fields.optional("min_version", d);
        let config = TlsConfig {
            ca_file: fields.optional("ca_file", d),
            cert_file: fields.optional("cert_file", d),
            key_file: fields.optional("key_file", d),
            inline: InlinePem::default(),
            server_name: server_name.as_ref().map(|name| name.value.clone()).filter(|name| !name.is_empty()),
            insecure_skip_verify: fields.or("insecure_skip_verify", false, d),
            min_version: min_version.as_ref().map(|version| version.value.clone()),
        };
        if config.cert_file.is_some() != config.key_file.is_some() {
            d.error(fields.span(), "`tls_config` needs `cert_file` and `key_file` together");
        }
        if let Some(name) = server_name.filter(|name| !name.value.is_empty())
            && tokio_rustls::rustls::pki_types::ServerName::try_from(name.value.as_str()).is_err()
        {
            d.error(name.span, format!("`{}` is no name that a certificate can have", name.value));
        }
        if let Some(version) = min_version {
            check_version(&version, d);
        }
        if config.insecure_skip_verify {
            let span = fields.key_span("insecure_skip_verify").unwrap_or(fields.span());
            d.warning(span, "`insecure_skip_verify`: whoever stands between can read what is sent, passwords too")
                .help("give the server's certificate in `ca_file`");
        }
        fields.finish(d);
        Some(config)
    }
}

fn check_version(version: &Spanned<String>, d: &mut Diagnostics) {
    match version.value.as_str() {
        "TLS12" | "TLS13" => {}
        "TLS10" | "TLS11" => {
            d.warning(version.span, format!("`{}` is too old: weir speaks TLS 1.2 and 1.3", version.value));
        }
        other => {
            d.error(version.span, format!("`{other}` is no version of TLS")).help("write `TLS12` or `TLS13`");
        }
    }
}

impl ProxyConfig {
    fn read(fields: &mut Fields<'_>, d: &mut Diagnostics) -> Self {
        let url: Option<Spanned<Secret>> = fields.optional("proxy_url", d);
        let no_proxy: Option<String> = fields.optional("no_proxy", d);
        let from_environment: Option<bool> = fields.optional("proxy_from_environment", d);
        let url = url.filter(|url| !url.value.reveal().is_empty());
        if let Some(url) = &url
            && let Err(why) = read_proxy_url(url.value.reveal())
        {
            d.error(url.span, format!("this `proxy_url` cannot be used: {why}"))
                .help("write `http://PROXY:PORT` or `https://PROXY:PORT`");
        }
        let key_span = |fields: &Fields<'_>, key| fields.key_span(key).unwrap_or(Span::FILE);
        if no_proxy.is_some() && url.is_none() {
            d.error(key_span(fields, "no_proxy"), "`no_proxy` stands beside a `proxy_url` only")
                .help("beside `HTTPS_PROXY` stands `NO_PROXY`, in the environment too");
        }
        if from_environment == Some(true) && url.is_some() {
            d.error(
                key_span(fields, "proxy_from_environment"),
                "a proxy is named by `proxy_url` or by the environment, not by both",
            );
        }
        ProxyConfig { url: url.map(|url| url.value), no_proxy, ignores_environment: from_environment == Some(false) }
    }
}

/// The URL of a proxy; one without a scheme is meant to be `http://`, as in Go.
pub(super) fn read_proxy_url(text: &str) -> Result<HttpUrl, &'static str> {
    let text = text.trim();
    if text.contains("://") {
        HttpUrl::parse(text)
    } else if text.contains('@') {
        // What hides passwords goes by the `://` before them.
        Err("it names a user and does not begin with `http://` or `https://`")
    } else {
        HttpUrl::parse(&format!("http://{text}"))
    }
}

/// A value that becomes part of a header.
fn check_credentials(secret: Option<&Spanned<Secret>>, key: &str, d: &mut Diagnostics) {
    let Some(secret) = secret else { return };
    if hyper::http::HeaderValue::from_str(secret.value.reveal()).is_err() {
        d.error(secret.span, format!("`{key}` holds a character that HTTP does not allow"));
    }
}

/// A token of RFC 9110.
fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(allowed)
}
