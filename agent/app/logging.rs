//! The agent's own log, on standard error: logfmt as Promtail writes it, or JSON.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging; called twice, the first call stays.
pub fn start(level: &str, format: &str) {
    let level = match level {
        "debug" => LevelFilter::DEBUG,
        "warn" | "warning" => LevelFilter::WARN,
        "error" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    let layer = match format {
        "json" => tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).boxed(),
        _ => tracing_logfmt::builder().with_target(false).layer().with_writer(std::io::stderr).boxed(),
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(level)).try_init();
}
