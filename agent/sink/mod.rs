//! Where entries go: what a pipeline lets through, on its way to Loki, a terminal or a test.

mod answer;
mod batch;
mod client_config;
mod http_config;
mod http_url;
mod print;
mod secret;
pub mod transport;
pub mod wire;

pub use answer::{Answer, Lot, Settled};
pub use batch::Batch;
pub use client_config::{BackoffConfig, ClientConfig};
pub use http_config::{AuthorizationConfig, BasicAuthConfig, HttpClientConfig, OAuth2Config, ProxyConfig, TlsConfig};
pub use http_url::HttpUrl;
pub use print::Printer;
pub use secret::Secret;
