//! A proxy: of the configuration or the environment, and for which hosts.

use super::authorization::basic;
use super::dial::Stream;
use super::{USER_AGENT, sentence};
use crate::sink::http_config::{ProxyConfig, read_proxy_url};
use crate::sink::http_url::HttpUrl;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT as USER_AGENT_HEADER};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::net::IpAddr;

pub(super) struct Proxy {
    url: HttpUrl,
    authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy for a server, if there is one. As Go's `net/http` does it: the names of variables in capitals first,
    /// and with a list of exceptions this machine itself is one.
    pub fn choose(
        config: &ProxyConfig,
        server: &HttpUrl,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Proxy>, String> {
        let variable = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| Some((name, environment(name).filter(|value| !value.is_empty())?)))
        };
        let (origin, url, exceptions) = if let Some(url) = &config.url {
            ("proxy_url", url.reveal().to_string(), config.no_proxy.clone())
        } else if config.ignores_environment {
            return Ok(None);
        } else {
            let names = if server.https { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
            let Some((name, url)) = variable(names) else { return Ok(None) };
            let exceptions = variable(["NO_PROXY", "no_proxy"]).map(|(_, list)| list);
            (name, url, Some(exceptions.unwrap_or_default()))
        };
        if exceptions.is_some_and(|list| is_excepted(&list, server)) {
            return Ok(None);
        }
        let url = read_proxy_url(&url).map_err(|why| format!("the proxy of `{origin}` cannot be used: {why}"))?;
        let authorization = url.user.as_ref().map(|(user, password)| basic(user, password.reveal()));
        Ok(Some(Proxy { url, authorization }))
    }

    pub fn url(&self) -> &HttpUrl {
        &self.url
    }

    /// What `Proxy-Authorization` says.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Asks the proxy at the other end of the stream for a tunnel (CONNECT, RFC 9110, 9.3.6).
    pub async fn tunnel(&self, stream: Stream, server: &HttpUrl) -> Result<Stream, String> {
        let told = |error: hyper::Error| format!("the proxy: {}", sentence(&error));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        let address = server.host_and_port();
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(&address)
            .header(HOST, &address)
            .header(USER_AGENT_HEADER, USER_AGENT)
            .body(Empty::<Bytes>::new())
            .map_err(|_| format!("{address} is no address"))?;
        if let Some(value) = &self.authorization {
            request.headers_mut().insert(PROXY_AUTHORIZATION, value.clone());
        }
        let response = sender.send_request(request).await.map_err(told)?;
        if !response.status().is_success() {
            return Err(format!("the proxy opens no tunnel to {address}: status {}", response.status().as_u16()));
        }
        let tunnel = hyper::upgrade::on(response).await.map_err(told)?;
        Ok(Box::new(TokioIo::new(tunnel)))
    }
}

/// True if a list such as `10.0.0.0/8,.svc,loki:3100` or `*` names the server, or if that is this machine.
fn is_excepted(list: &str, server: &HttpUrl) -> bool {
    let host = server.host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok();
    host == "localhost"
        || address.is_some_and(|address| address.is_loopback())
        || list.split(',').map(str::trim).any(|entry| matches(entry, &host, address, server.port))
}

fn matches(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return address.is_some_and(|address| is_within(address, network, bits));
    }
    // `host:port` is for that port only; an address with more than one colon has no port unless in brackets.
    let (name, wanted) = match entry.rsplit_once(':') {
        Some((name, wanted)) if !name.contains(':') || name.ends_with(']') => (name, Some(wanted)),
        _ => (entry, None),
    };
    if wanted.is_some_and(|wanted| wanted.parse() != Ok(port)) {
        return false;
    }
    let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
    if let Ok(named) = name.parse::<IpAddr>() {
        return address == Some(named);
    }
    // `.svc` and `*.svc` are for what is below, `svc` is for itself as well.
    let below = name.trim_start_matches('*').trim_start_matches('.');
    let is_below = host.strip_suffix(below).is_some_and(|front| front.ends_with('.'));
    !below.is_empty() && (is_below || host == name)
}

fn is_within(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let same = |a: u128, b: u128, width: u32| bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
