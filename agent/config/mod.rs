//! The configuration: a superset of Promtail's YAML. Each part owns its own configuration; here they are put together.

pub mod expand;
mod scrape;
mod secrets;
mod top;

pub use scrape::ScrapeConfig;
pub use top::{Config, LimitsConfig, MetricsDefaults, PositionsConfig, TargetConfig};

use crate::diagnostic::Diagnostics;
use crate::yaml;

/// Reads a configuration from its text, the environment already expanded. Everything wrong with it is in
/// `diagnostics`; a configuration comes back only when there is no error.
pub fn read(text: &str, diagnostics: &mut Diagnostics) -> Option<Config> {
    let root = yaml::parse(text, diagnostics)?;
    let config = Config::from_root(&root, diagnostics)?;
    (!diagnostics.has_errors()).then_some(config)
}
