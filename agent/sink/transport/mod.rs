//! The transport: carries a batch to Loki by HTTP and brings the answer back.
//!
//! It knows nothing of delivery: it neither judges an answer nor waits before another attempt. Whatever the
//! configuration names by file (passwords, tokens, certificates) is read when it is needed, so that a rotated secret
//! holds from the next request on, or for TLS from the next connection.

mod authorization;
mod connections;
mod dial;
mod file;
mod get;
mod oauth2;
mod proxy;
mod reply;
mod request;
mod tls;
mod verifier;

#[cfg(test)]
mod fake_authority;
#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod tests;

use super::answer::Answer;
use super::client_config::ClientConfig;
use authorization::Authorization;
use bytes::Bytes;
use connections::Connections;
use dial::Dial;
pub use get::{Getter, Reading};
use hyper::header::AUTHORIZATION;
use proxy::Proxy;
use reply::Reply;
use request::Template;
use std::error::Error;
use std::time::Duration;
use tokio::time::timeout;

/// What `User-Agent` says.
const USER_AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));

/// The way to one Loki, for all tenants of a client of the configuration.
pub struct Transport {
    host: String,
    timeout: Duration,
    template: Template,
    authorization: Authorization,
    connections: Connections,
}

impl Transport {
    /// Prepares what the configuration says, and reads none of the files that it names. The environment's proxies are
    /// read here, once.
    ///
    /// # Errors
    ///
    /// A sentence for the operator; configurations without an error of their own give one only for a proxy of the
    /// environment that cannot be used, and for a client that is off.
    pub fn new(config: &ClientConfig) -> Result<Transport, String> {
        Transport::with_environment(config, &|name| std::env::var(name).ok())
    }

    fn with_environment(
        config: &ClientConfig,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Transport, String> {
        let url = config.endpoint.clone().ok_or("the client has no `url` that can be pushed to")?;
        let proxy = Proxy::choose(&config.http.proxy, &url, environment)?;
        let template = Template::push(&url, proxy.as_ref(), &config.headers)?;
        let authorization = Authorization::new(config, environment)?;
        Ok(Transport {
            host: url.authority.clone(),
            timeout: config.timeout,
            template,
            authorization,
            connections: Connections::new(Dial::new(url, proxy, config.http.tls.clone())),
        })
    }

    /// One push: a POST of a snappy block. It takes the client's `timeout` at most, and up to as long before that for a
    /// token of OAuth2 that has to be fetched. Redirects are answers like others and never followed: the credentials
    /// are for this host only.
    ///
    /// A connection on which an earlier request went well may have been closed meanwhile by the server. If a request
    /// on such a one gets no answer at all for a reason other than time, it is sent once more on a new connection. It
    /// may then arrive twice, which does no harm: Loki takes entries that are equal once.
    pub async fn push(&self, tenant: &str, body: Bytes) -> Answer {
        match self.request(tenant, body).await {
            Ok(reply) => reply.into_answer(),
            Err(reason) => Answer::None(reason),
        }
    }

    /// `host:port` as in the URL (the port only if it is written there), as Promtail's label `host` has it.
    pub fn host(&self) -> &str {
        &self.host
    }

    async fn request(&self, tenant: &str, body: Bytes) -> Result<Reply, String> {
        let authorization = timeout(self.timeout, self.authorization.header())
            .await
            .map_err(|_| format!("no credentials to send within {:?}", self.timeout))??;
        let mut request = self.template.request(tenant, body)?;
        if let Some(header) = &authorization {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        let reply = self.connections.exchange(request, self.timeout).await?;
        if reply.status() == 401
            && let Some(header) = &authorization
        {
            self.authorization.refused(header).await;
        }
        Ok(reply)
    }
}

/// True if HTTP can carry the tenant in a header. Pushes for another tenant are never answered.
pub fn is_valid_tenant(tenant: &str) -> bool {
    hyper::header::HeaderValue::from_str(tenant).is_ok()
}

/// An error with what caused it; libraries tend to tell the cause only when asked.
fn sentence(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !sentence.contains(&text) {
            sentence.push_str(": ");
            sentence.push_str(&text);
        }
        cause = error.source();
    }
    sentence
}
