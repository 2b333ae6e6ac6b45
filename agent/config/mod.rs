//! The configuration: a superset of Promtail's YAML. Each part owns its own configuration; here they are put together.

mod delivery;
pub mod expand;
mod file;
mod laid_over;
mod scrape;
mod secrets;
mod state;
mod top;

pub use delivery::DeliveryConfig;
pub use file::{FILE_BYTES_MAX, read_file};
pub use laid_over::LaidOver;
pub use scrape::ScrapeConfig;
pub use state::{BirthHold, FinalScrapeWait, Fsync, StateConfig};
pub use top::{Config, LimitsConfig, MetricsDefaults, PositionsConfig, TargetConfig};

use crate::diagnostic::Diagnostics;
use crate::yaml;

/// Reads a configuration from its text, the environment already expanded. What is wrong with it is in `diagnostics`;
/// the rest comes back all the same, so that it can be checked further. With an error it must not run.
pub fn read(text: &str, diagnostics: &mut Diagnostics) -> Option<Config> {
    read_laid_over(text, &LaidOver::default(), diagnostics)
}

/// The same, with what flags say in its place.
pub fn read_laid_over(text: &str, laid_over: &LaidOver, diagnostics: &mut Diagnostics) -> Option<Config> {
    let mut root = yaml::parse(text, diagnostics)?;
    laid_over.apply(&mut root);
    Config::from_root(&root, diagnostics)
}
