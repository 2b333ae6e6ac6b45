//! Reading from a server: GETs with answers of any length.
//!
//! Each has a connection of its own, which ends with it. Whoever reads for minutes asks seldom, and a connection that a
//! proxy or a server has let die is never met again.

use super::authorization::Authorization;
use super::dial::Dial;
use super::proxy::Proxy;
use super::{USER_AGENT, sentence};
use crate::sink::http_config::HttpClientConfig;
use crate::sink::http_url::HttpUrl;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, AUTHORIZATION, HOST, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, RETRY_AFTER,
    USER_AGENT as USER_AGENT_HEADER,
};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::time::timeout;

/// The head of an answer is not longer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The way to one server from which JSON is read.
pub struct Getter {
    /// What stands before the path of each request.
    front: String,
    headers: HeaderMap,
    authorization: Authorization,
    dial: Dial,
}

impl Getter {
    /// Prepares what the configuration says, and reads none of the files that it names. `url`: its path comes before
    /// each path that is asked for. The environment's proxies are read here.
    ///
    /// # Errors
    ///
    /// A sentence for the operator.
    pub fn new(url: &HttpUrl, http: &HttpClientConfig) -> Result<Getter, String> {
        let environment = &|name: &str| std::env::var(name).ok();
        let proxy = Proxy::choose(&http.proxy, url, environment)?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(&url.authority).map_err(|_| "the host fits into no header")?);
        headers.insert(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let path = url.path.split('?').next().unwrap_or_default().trim_end_matches('/');
        // A proxy is told the whole URL, unless it only tunnels.
        let front = match &proxy {
            Some(proxy) if !url.https => {
                headers.extend(proxy.authorization().map(|value| (PROXY_AUTHORIZATION, value.clone())));
                format!("http://{}{path}", url.authority)
            }
            _ => path.to_string(),
        };
        let authorization = Authorization::of(Some(url), http, environment)?;
        Ok(Getter { front, headers, authorization, dial: Dial::new(url.clone(), proxy, http.tls.clone()) })
    }

    /// Asks for a path with its query; the answer's head is there within the time, or there is an error. Redirects are
    /// answers like others. A token that is refused (status 401) is not said again if there is a choice: files are read for each
    /// request anyway.
    pub async fn get(&self, path: &str, wait_max: Duration) -> Result<Reading, String> {
        timeout(wait_max, self.ask(path)).await.map_err(|_| format!("no answer within {wait_max:?}"))?
    }

    async fn ask(&self, path: &str) -> Result<Reading, String> {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() =
            format!("{}{path}", self.front).parse().map_err(|_| "the path fits into no request".to_string())?;
        *request.headers_mut() = self.headers.clone();
        let authorization = self.authorization.header().await?;
        if let Some(header) = &authorization {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(self.dial.open().await?))
            .await
            .map_err(|error| sentence(&error))?;
        // Its errors reach whoever reads. It ends when nobody does any more.
        tokio::spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await.map_err(|error| sentence(&error))?;
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        if status == 401
            && let Some(header) = &authorization
        {
            self.authorization.refused(header).await;
        }
        let seconds = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Ok(Reading { status, retry_after: seconds.map(Duration::from_secs), body, _sender: sender })
    }
}

/// An answer that is being read.
pub struct Reading {
    status: u16,
    retry_after: Option<Duration>,
    body: Incoming,
    /// As long as it lives, so does the connection.
    _sender: http1::SendRequest<Empty<Bytes>>,
}

impl Reading {
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What the server asks to be waited, where it says so in seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The next piece of the body; nothing at its end.
    ///
    /// # Errors
    ///
    /// The connection broke off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| format!("the answer broke off: {}", sentence(&error)))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}
