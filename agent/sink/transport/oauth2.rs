//! The client credentials grant of OAuth2 (RFC 6749, 4.4): a token from another server, kept while it is good.

use super::authorization::{basic, token};
use super::connections::Connections;
use super::dial::Dial;
use super::file::read_secret;
use super::proxy::Proxy;
use super::reply::Reply;
use super::request::Template;
use crate::sink::http_config::OAuth2Config;
use crate::sink::http_url::HttpUrl;
use crate::sink::secret::Secret;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderValue};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// For one request to the server of tokens.
const FETCH_WAIT_MAX: Duration = Duration::from_secs(5);
/// A token is fetched again this long before it ends, as in Go.
const EARLY: Duration = Duration::from_secs(10);
/// No token is believed to be good for longer.
const LIFE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(super) struct OAuth2 {
    client_id: String,
    secret: ClientSecret,
    /// All of the form but what says who we are.
    form: String,
    url_user: Option<(String, Secret)>,
    template: Template,
    connections: Connections,
    state: Mutex<State>,
}

enum ClientSecret {
    Known(Secret),
    File(String),
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// When the last fetch failed, and why. Whoever waited for it has the same answer.
    failure: Option<(Instant, String)>,
    /// The server wants to be told who we are in the form, not in a header.
    in_form: bool,
}

struct Token {
    header: HeaderValue,
    /// `None`: the server names no end.
    ends: Option<Instant>,
}

impl OAuth2 {
    pub fn new(config: &OAuth2Config, environment: &dyn Fn(&str) -> Option<String>) -> Result<OAuth2, String> {
        let url = HttpUrl::parse(config.token_url.reveal())
            .map_err(|why| format!("the `token_url` of `oauth2` cannot be asked: {why}"))?;
        let proxy = Proxy::choose(&config.proxy, &url, environment)?;
        let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let template = Template::post(&url, proxy.as_ref(), content_type)?;
        let mut form = "grant_type=client_credentials".to_string();
        if !config.scopes.is_empty() {
            append(&mut form, "scope", &config.scopes.join(" "));
        }
        for (name, value) in &config.endpoint_params {
            append(&mut form, name, value.reveal());
        }
        let secret = match &config.client_secret_file {
            Some(file) => ClientSecret::File(file.clone()),
            None => ClientSecret::Known(config.client_secret.clone().unwrap_or_default()),
        };
        Ok(OAuth2 {
            client_id: config.client_id.clone(),
            secret,
            form,
            url_user: url.user.clone(),
            template,
            connections: Connections::new(Dial::new(url, proxy, config.tls.clone())),
            state: Mutex::default(),
        })
    }

    /// The header with a token that is good, fetched if there is none. Only one fetch goes on at a time.
    pub async fn header(&self) -> Result<HeaderValue, String> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.as_ref().filter(|token| token.ends.is_none_or(|ends| ends > Instant::now())) {
            return Ok(token.header.clone());
        }
        state.token = None;
        if let Some((_, why)) = state.failure.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(why.clone());
        }
        match self.fetch(&mut state.in_form).await {
            Ok(token) => Ok(state.token.insert(token).header.clone()),
            Err(why) => {
                let why = format!("no token of OAuth2: {why}");
                state.failure = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    /// Takes a token out of use, unless there is another by now.
    pub async fn forget(&self, header: &HeaderValue) {
        let mut state = self.state.lock().await;
        if state.token.as_ref().is_some_and(|token| token.header == *header) {
            state.token = None;
        }
    }

    /// Servers differ in where they look for who we are, and in how they refuse the other place; so both are tried,
    /// and what went well is tried first from then on. Go does so too.
    async fn fetch(&self, in_form: &mut bool) -> Result<Token, String> {
        let secret = match &self.secret {
            ClientSecret::Known(secret) => secret.clone(),
            ClientSecret::File(path) => Secret::new(read_secret(path).await?),
        };
        let reply = self.ask(&secret, *in_form).await?;
        if (200..300).contains(&reply.status()) {
            return read_token(&reply);
        }
        let other = self.ask(&secret, !*in_form).await?;
        if (200..300).contains(&other.status()) {
            *in_form = !*in_form;
            return read_token(&other);
        }
        Err(refusal(&reply))
    }

    async fn ask(&self, secret: &Secret, in_form: bool) -> Result<Reply, String> {
        let mut form = self.form.clone();
        let mut who = self.url_user.as_ref().map(|(user, password)| basic(user, password.reveal()));
        if in_form {
            append(&mut form, "client_id", &self.client_id);
            if !secret.reveal().is_empty() {
                append(&mut form, "client_secret", secret.reveal());
            }
        } else {
            // RFC 6749, 2.3.1: both are encoded as in a form.
            who = Some(basic(&encode(&self.client_id), &encode(secret.reveal())));
        }
        let mut request = self.template.request("", Bytes::from(form))?;
        if let Some(header) = who {
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        self.connections.exchange(request, FETCH_WAIT_MAX).await
    }
}

fn read_token(reply: &Reply) -> Result<Token, String> {
    let unreadable = || "the answer holds no `access_token`".to_string();
    let answer: serde_json::Value = serde_json::from_slice(reply.body()).map_err(|_| unreadable())?;
    let access = answer["access_token"].as_str().filter(|token| !token.is_empty()).ok_or_else(unreadable)?;
    let kind = match answer["token_type"].as_str() {
        Some(kind) if !kind.is_empty() && !kind.eq_ignore_ascii_case("bearer") => kind,
        _ => "Bearer",
    };
    let header = token(kind, access).ok_or("the token holds a character that HTTP does not allow")?;
    // Some servers write the number as a text.
    let life = &answer["expires_in"];
    let seconds = life.as_f64().or_else(|| life.as_str()?.parse().ok()).filter(|seconds| *seconds > 0.0);
    let life = seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(LIFE_MAX).min(LIFE_MAX));
    // One that ends sooner than early is used for the request that it was fetched for.
    Ok(Token { header, ends: life.map(|life| Instant::now() + life.saturating_sub(EARLY)) })
}

/// The status, and the error's name by RFC 6749, 5.2. More of the answer is not told: it may repeat secrets.
fn refusal(reply: &Reply) -> String {
    let answer = serde_json::from_slice::<serde_json::Value>(reply.body()).unwrap_or_default();
    let is_name = |text: &&str| text.len() <= 40 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    match answer["error"].as_str().filter(is_name) {
        Some(name) => format!("status {}, {name}", reply.status()),
        None => format!("status {}", reply.status()),
    }
}

fn append(form: &mut String, name: &str, value: &str) {
    form.push('&');
    form.push_str(&encode(name));
    form.push('=');
    form.push_str(&encode(value));
}

/// As in forms.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
