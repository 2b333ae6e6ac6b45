//! Where entries go: what a pipeline lets through, on its way to Loki, a terminal or a test.

mod answer;
mod batch;
mod client_config;
mod print;
mod print_clients;
pub mod wire;

pub use answer::{Answer, Lot, Settled};
pub use batch::Batch;
pub use client_config::{BackoffConfig, BasicAuthConfig, ClientConfig, HttpClientConfig, TlsConfig};
pub use print::Printer;
pub use print_clients::clients_configured;
