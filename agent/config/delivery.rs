//! `delivery`: what may wait for Loki, and where.

use crate::diagnostic::Diagnostics;
use crate::yaml::{ByteSize, Fields, Node};
use std::time::Duration;

/// `delivery`, of ours: bounds of what waits for the clients. All of it is for each client by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryConfig {
    /// Bytes of batches in memory (default 8 MiB); what is more goes to the spool.
    pub memory_bytes_max: u64,
    /// Bytes of the spool's files, below the state directory (default 512 MiB; 0: no spool). Beyond it the oldest
    /// batches are given up, and counted.
    pub spool_bytes_max: u64,
    /// How long the end waits for Loki to take what is left (default 20 s).
    pub shutdown_grace: Duration,
    /// Whether 200 and 202 acknowledge, too (default false: 204 alone, as Loki answers).
    pub accept_200: bool,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        DeliveryConfig {
            memory_bytes_max: 8 << 20,
            spool_bytes_max: 512 << 20,
            shutdown_grace: Duration::from_secs(20),
            accept_200: false,
        }
    }
}

impl DeliveryConfig {
    pub(super) fn from_optional(node: Option<&Node>, d: &mut Diagnostics) -> Self {
        let mut config = DeliveryConfig::default();
        if let Some(mut fields) = node.and_then(|node| Fields::new(node, "`delivery`", d)) {
            config.memory_bytes_max = fields.or("memory", ByteSize(config.memory_bytes_max), d).0;
            config.spool_bytes_max = fields.or("spool", ByteSize(config.spool_bytes_max), d).0;
            config.shutdown_grace = fields.or("shutdown_grace", config.shutdown_grace, d);
            config.accept_200 = fields.or("accept_200", config.accept_200, d);
            fields.finish(d);
        }
        config
    }
}
