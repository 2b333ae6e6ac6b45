//! Opening a connection: TCP, the tunnel of a proxy, TLS.

use super::proxy::Proxy;
use super::sentence;
use super::tls::Tls;
use crate::sink::http_config::TlsConfig;
use crate::sink::http_url::HttpUrl;
use hyper_util::client::legacy::connect::HttpConnector;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tower_service::Service;

/// For the name and TCP together.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(3);
/// What was sent and not acknowledged by the other machine for this long will not be.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);
/// Asks whether the other machine is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

pub(super) type Stream = Box<dyn Duplex>;

/// Bytes both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// How to reach one server.
pub(super) struct Dial {
    url: HttpUrl,
    proxy: Option<Proxy>,
    tls: Arc<Tls>,
    tcp: HttpConnector,
}

impl Dial {
    pub fn new(url: HttpUrl, proxy: Option<Proxy>, tls: TlsConfig) -> Dial {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_WAIT_MAX));
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
        Dial { url, proxy, tls: Arc::new(Tls::new(tls)), tcp }
    }

    /// Names are looked up anew each time.
    pub async fn open(&self) -> Result<Stream, String> {
        let Some(proxy) = &self.proxy else {
            let stream = self.connect(&self.url).await?;
            return if self.url.https { self.tls(stream, &self.url).await } else { Ok(stream) };
        };
        let mut stream = self.connect(proxy.url()).await.map_err(|why| format!("the proxy: {why}"))?;
        if proxy.url().https {
            stream = self.tls(stream, proxy.url()).await.map_err(|why| format!("the proxy: {why}"))?;
        }
        if !self.url.https {
            return Ok(stream);
        }
        let stream = proxy.tunnel(stream, &self.url).await?;
        self.tls(stream, &self.url).await
    }

    async fn connect(&self, url: &HttpUrl) -> Result<Stream, String> {
        let address = url.host_and_port();
        let uri = format!("http://{address}/").parse().map_err(|_| format!("{address} is no address"))?;
        match timeout(CONNECT_WAIT_MAX, self.tcp.clone().call(uri)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream.into_inner())),
            Ok(Err(error)) => Err(format!("no connection to {address}: {}", sentence(&error))),
            Err(_) => Err(format!("no connection to {address} within {CONNECT_WAIT_MAX:?}")),
        }
    }

    async fn tls(&self, stream: Stream, url: &HttpUrl) -> Result<Stream, String> {
        // It reads files, and hundreds of certificates after a change.
        let tls = self.tls.clone();
        let connector = tokio::task::spawn_blocking(move || tls.connector())
            .await
            .map_err(|_| "reading the certificates was given up".to_string())??;
        let name = self.tls.server_name(url)?;
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(format!("no TLS with {}: {}", url.host_and_port(), sentence(&error))),
        }
    }
}
