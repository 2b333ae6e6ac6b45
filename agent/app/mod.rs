//! Wiring, and nothing else: the one place that knows all parts.

mod engine;
mod events;
mod followed;
mod job;
mod kept_sources;
pub mod logging;
mod mem_tree;
mod pages;
mod publish;
mod reader;
mod rim;
mod running;
mod watch;
mod worker;

pub use engine::{Engine, Progress};
pub use job::check;
pub use running::{Reload, Running};
pub use worker::Report;
