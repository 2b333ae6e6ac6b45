//! Where entries go: what a pipeline lets through, on its way to Loki, a terminal or a test.

mod answer;
mod batch;
mod client_books;
mod client_config;
pub mod collector;
mod forwarder;
mod http_config;
mod http_url;
pub mod lane;
mod outbox;
mod outboxes;
mod print;
mod print_clients;
mod secret;
mod sender;
mod sender_metrics;
pub mod spool;
pub mod transport;
pub mod wire;

pub use answer::{Answer, Aside, Lot, Settled};
pub use batch::Batch;
pub use client_books::ClientBooks;
pub use client_config::{BackoffConfig, ClientConfig};
pub use collector::{Collector, EntryLimits, Sealed};
pub use forwarder::Forwarder;
pub use http_config::{
    AuthorizationConfig, BasicAuthConfig, HttpClientConfig, InlinePem, OAuth2Config, ProxyConfig, TlsConfig,
};
pub use http_url::HttpUrl;
pub use lane::LaneConfig;
pub use outbox::{BUFFER_FULL, Outbox, OutboxFacts, SPOOL_DAMAGED, WhenFull};
pub use outboxes::Outboxes;
pub use print::Printer;
pub use print_clients::clients_configured;
pub use secret::Secret;
pub use sender::{Sender, SenderEvent};
pub use sender_metrics::SenderMetrics;
pub use spool::{Spool, SpoolLimits};
pub use transport::{Getter, Reading, Transport};
