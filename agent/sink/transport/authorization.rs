//! Who we are: what the header `Authorization` says.

use super::file::read_secret;
use super::oauth2::OAuth2;
use crate::sink::client_config::ClientConfig;
use crate::sink::http_config::HttpClientConfig;
use crate::sink::http_url::HttpUrl;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{AUTHORIZATION, HeaderValue};

pub(super) enum Authorization {
    /// Nobody, or whom a header of the configuration names.
    None,
    /// Always the same.
    Fixed(HeaderValue),
    BasicFile {
        user: String,
        password_file: String,
    },
    /// A type such as `Bearer`, and what stands in a file.
    TokenFile {
        kind: String,
        file: String,
    },
    OAuth2(Box<OAuth2>),
}

impl Authorization {
    pub fn new(config: &ClientConfig, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        if config.headers.contains_key(AUTHORIZATION) {
            return Ok(Authorization::None);
        }
        Authorization::of(config.endpoint.as_ref(), &config.http, environment)
    }

    /// Whom the URL names, or else the options.
    pub fn of(
        url: Option<&HttpUrl>,
        http: &HttpClientConfig,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        if let Some((user, password)) = url.and_then(|url| url.user.as_ref()) {
            return Ok(Authorization::Fixed(basic(user, password.reveal())));
        }
        if let Some(config) = &http.basic_auth {
            let user = config.username.clone();
            return Ok(match (&config.password_file, &config.password) {
                (Some(file), _) => Authorization::BasicFile { user, password_file: file.clone() },
                (None, None) if user.is_empty() => Authorization::None,
                (None, password) => {
                    Authorization::Fixed(basic(&user, password.as_ref().map_or("", |secret| secret.reveal())))
                }
            });
        }
        if let Some(config) = &http.oauth2 {
            return Ok(Authorization::OAuth2(Box::new(OAuth2::new(config, environment)?)));
        }
        let (kind, secret, file) = match &http.authorization {
            Some(config) => (config.kind.as_str(), &config.credentials, &config.credentials_file),
            None => ("Bearer", &http.bearer_token, &http.bearer_token_file),
        };
        Ok(match (file, secret) {
            (Some(file), _) => Authorization::TokenFile { kind: kind.to_string(), file: file.clone() },
            (None, Some(secret)) if !secret.reveal().is_empty() => {
                let header = token(kind, secret.reveal());
                Authorization::Fixed(header.ok_or("the credentials hold a character that HTTP does not allow")?)
            }
            _ => Authorization::None,
        })
    }

    /// What the next request says; files are read for each.
    pub async fn header(&self) -> Result<Option<HeaderValue>, String> {
        Ok(Some(match self {
            Authorization::None => return Ok(None),
            Authorization::Fixed(header) => header.clone(),
            Authorization::BasicFile { user, password_file } => basic(user, &read_secret(password_file).await?),
            Authorization::TokenFile { kind, file } => token(kind, &read_secret(file).await?)
                .ok_or_else(|| format!("{file}: it holds a character that HTTP does not allow"))?,
            Authorization::OAuth2(oauth2) => oauth2.header().await?,
        }))
    }

    /// The server does not know who that is (status 401): do not say so again if there is a choice.
    pub async fn refused(&self, header: &HeaderValue) {
        if let Authorization::OAuth2(oauth2) = self {
            oauth2.forget(header).await;
        }
    }
}

/// `Basic …`, hidden in dumps.
pub(super) fn basic(user: &str, password: &str) -> HeaderValue {
    let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
    let mut header = HeaderValue::from_str(&format!("Basic {encoded}")).expect("base64 is visible ASCII");
    header.set_sensitive(true);
    header
}

/// `Bearer …`, hidden in dumps; nothing if HTTP does not allow it.
pub(super) fn token(kind: &str, token: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("{kind} {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
#[path = "authorization_tests.rs"]
mod tests;
