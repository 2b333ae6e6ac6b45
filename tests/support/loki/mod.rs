//! A Loki for tests, written from what Loki publishes and sharing nothing with the agent: it takes a push apart strictly,
//! keeps what Loki would keep, refuses what Loki would refuse with its words, and misbehaves as it is told.
// Each test crate uses some of it.
#![allow(unused_imports)]

pub mod agent_run;
pub mod chaos;
pub mod http_server;
pub mod labels;
pub mod limits;
pub mod proto;
pub mod refusal;
pub mod script;
pub mod server;
pub mod state;

pub use limits::Limits;
pub use proto::{Entry, Push};
pub use script::{Delivery, Play};
pub use server::LokiServer;
pub use state::{FakeLoki, Held, Reply, Request};
