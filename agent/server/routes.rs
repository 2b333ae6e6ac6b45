//! From a request to its answer.

use super::body::{Body, accepts_gzip};
use super::config::ServerConfig;
use super::connection::Seat;
use super::{Agent, Ask, pages};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// By this header Prometheus says how long it will wait; no person sends it.
const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
/// No page needs anything but its own style.
const CONTENT_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Root,
    Metrics,
    Ready,
    Healthy,
    Targets,
    Discovery,
    Config,
    Reload,
}

/// All that the server answers with, shared by its connections.
pub(super) struct Routes<A> {
    agent: Arc<A>,
    /// Empty, or beginning with a slash and not ending with one.
    prefix: String,
    targets_url: HeaderValue,
    metrics: bool,
    reload: bool,
    ask_ready: bool,
    /// For a handler that does not come back.
    patience: Duration,
}

impl<A: Agent> Routes<A> {
    pub(super) fn new(config: &ServerConfig, agent: Arc<A>) -> Self {
        let prefix = path_of(&config.http_path_prefix);
        let targets_url = format!("{}{prefix}/targets", path_of(&config.external_url));
        Routes {
            agent,
            // A path that fits no header came past the checks of the configuration; then the short one has to do.
            targets_url: targets_url.parse().unwrap_or(HeaderValue::from_static("/targets")),
            prefix,
            metrics: config.register_instrumentation,
            reload: config.enable_runtime_reload,
            ask_ready: config.health_check_target,
            patience: config.write_timeout,
        }
    }

    /// Answers one request. hyper leaves the bodies out where the method is HEAD.
    pub(super) async fn answer<B>(
        &self,
        request: hyper::Request<B>,
        seat: Arc<Seat>,
        peer: Option<SocketAddr>,
    ) -> Result<Response<Body>, Infallible> {
        seat.working();
        let response = self.respond(request.method(), request.uri().path(), request.headers(), peer).await;
        let sending = seat.sending();
        Ok(response.map(|body| body.sent_by(sending)))
    }

    async fn respond(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Response<Body> {
        let Some(route) = self.route(path) else {
            return text(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        let (allowed, names): (&[Method], _) = match route {
            Route::Reload => (&[Method::GET, Method::HEAD, Method::POST], "GET, HEAD, POST"),
            _ => (&[Method::GET, Method::HEAD], "GET, HEAD"),
        };
        if !allowed.contains(method) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(names));
            return response;
        }
        match route {
            Route::Root => {
                let mut response = text(StatusCode::SEE_OTHER, "");
                response.headers_mut().insert(header::LOCATION, self.targets_url.clone());
                response
            }
            Route::Metrics => self.metrics(headers, peer).await,
            Route::Ready => self.ready(),
            Route::Healthy => text(StatusCode::OK, "Healthy"),
            Route::Targets => self.page(self.agent.targets(), pages::targets).await,
            Route::Discovery => self.page(self.agent.service_discovery(), pages::discovery).await,
            Route::Config => html(pages::config(&self.agent.config())),
            // A HEAD asks what a GET would say; it must not act.
            Route::Reload if *method == Method::HEAD => text(StatusCode::OK, ""),
            Route::Reload => self.reload().await,
        }
    }

    fn route(&self, path: &str) -> Option<Route> {
        match path.strip_prefix(self.prefix.as_str())? {
            "/" => Some(Route::Root),
            "" if !self.prefix.is_empty() => Some(Route::Root),
            "/metrics" if self.metrics => Some(Route::Metrics),
            "/ready" | "/-/ready" => Some(Route::Ready),
            "/healthz" | "/-/healthy" => Some(Route::Healthy),
            "/targets" => Some(Route::Targets),
            "/service-discovery" => Some(Route::Discovery),
            "/config" => Some(Route::Config),
            "/reload" | "/-/reload" if self.reload => Some(Route::Reload),
            _ => None,
        }
    }

    async fn metrics(&self, headers: &HeaderMap, peer: Option<SocketAddr>) -> Response<Body> {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let timeout = headers.get(SCRAPE_TIMEOUT).and_then(|value| seconds(value.to_str().ok()?));
        let patience = timeout.unwrap_or(self.patience).min(self.patience);
        let scrape = match tokio::time::timeout(patience, self.agent.scrape(Ask { accept, timeout, peer })).await {
            Ok(Ok(scrape)) => scrape,
            Ok(Err(why)) => return text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            Err(_) => return text(StatusCode::SERVICE_UNAVAILABLE, "the metrics were not ready in time\n"),
        };
        let encodings = headers.get_all(header::ACCEPT_ENCODING);
        let gzip = encodings.iter().any(|value| value.to_str().is_ok_and(accepts_gzip));
        let mut response = text(StatusCode::OK, "");
        *response.body_mut() = if gzip { Body::gzip(scrape.chunks) } else { Body::chunks(scrape.chunks) };
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(scrape.content_type));
        fields.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
        if gzip {
            fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    async fn page<P>(&self, asked: impl Future<Output = P>, show: impl FnOnce(&P) -> String) -> Response<Body> {
        match tokio::time::timeout(self.patience, asked).await {
            Ok(page) => html(show(&page)),
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the page was not ready in time\n"),
        }
    }

    fn ready(&self) -> Response<Body> {
        match self.agent.ready() {
            Err(reason) if self.ask_ready => text(StatusCode::INTERNAL_SERVER_ERROR, format!("Not ready: {reason}\n")),
            _ => text(StatusCode::OK, "Ready"),
        }
    }

    async fn reload(&self) -> Response<Body> {
        match tokio::time::timeout(self.patience, self.agent.reload()).await {
            Ok(Ok(())) => text(StatusCode::OK, ""),
            Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {error}\n")),
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the reload did not end in time\n"),
        }
    }
}

fn text(status: StatusCode, body: impl Into<bytes::Bytes>) -> Response<Body> {
    respond(status, TEXT, body.into())
}

fn html(body: String) -> Response<Body> {
    let mut response = respond(StatusCode::OK, HTML, body.into());
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: bytes::Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A wait as Prometheus writes it. What is no positive number counts as not sent.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero())
}

/// The path of a URL or of a prefix: empty, or with a slash before and none behind.
fn path_of(url: &str) -> String {
    let after_host = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => url,
    };
    let path = after_host.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    if path.is_empty() { String::new() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_of_an_address_counts() {
        for (url, path) in [
            ("", ""),
            ("/", ""),
            ("weir/", "/weir"),
            ("/a/b", "/a/b"),
            ("http://host:9080", ""),
            ("https://host/logs/?q=/x#y", "/logs"),
            ("//evil.example", "/evil.example"),
        ] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }

    #[test]
    fn a_scrape_timeout_is_a_positive_number_of_seconds() {
        assert_eq!(seconds("9.5"), Some(Duration::from_millis(9500)));
        for text in ["0", "-1", "NaN", "inf", "1e300", "10s", ""] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
