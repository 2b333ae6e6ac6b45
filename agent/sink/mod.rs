//! Where entries go: what a pipeline lets through, on its way to Loki, a terminal or a test.

mod client_config;
mod print;

pub use client_config::{BackoffConfig, BasicAuthConfig, ClientConfig, HttpClientConfig, TlsConfig};
pub use print::Printer;
