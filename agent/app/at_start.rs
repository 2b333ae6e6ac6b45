//! What an agent reads from its configuration at its start only, so that a reload can say that it is not followed.

use crate::config::{Config, DeliveryConfig, FinalScrapeWait, StateConfig};
use crate::server::ServerConfig;

pub struct AtStart {
    server: ServerConfig,
    state: StateConfig,
    delivery: DeliveryConfig,
    final_scrape_wait: FinalScrapeWait,
}

impl AtStart {
    pub fn of(config: &Config) -> Self {
        AtStart {
            server: config.server.clone(),
            state: config.state.clone(),
            delivery: config.delivery.clone(),
            final_scrape_wait: config.metrics.final_scrape_wait,
        }
    }

    /// The keys that say something else in another configuration.
    pub fn differences(&self, config: &Config) -> impl Iterator<Item = &'static str> + use<> {
        let differs = [
            ("server", self.server != config.server),
            ("state", self.state != config.state),
            ("delivery", self.delivery != config.delivery),
            ("metrics.final_scrape_wait", self.final_scrape_wait != config.metrics.final_scrape_wait),
        ];
        differs.into_iter().filter_map(|(key, differs)| differs.then_some(key))
    }
}
