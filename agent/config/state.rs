//! `state` and the keys of `metrics` that say how counters last.

use crate::diagnostic::Diagnostics;
use crate::units::parse_duration;
use crate::yaml::{Fields, FromNode, Node, Spanned};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The directory beside a positions file.
const BESIDE_POSITIONS: &str = "weir-state";

/// `state`, of ours: where cursors and counters are kept over a restart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateConfig {
    /// Default: `weir-state` beside `positions.filename`. Without either nothing is kept.
    pub directory: Option<PathBuf>,
    pub fsync: Fsync,
    /// What the target is called by its own labels (default: the name of the host and its machine id). When it
    /// changes, the counters begin at 0 for their scrapers.
    pub identity: Option<String>,
}

/// When a cut must have reached the disk. A killed process loses nothing either way: this is for lost power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before a scraper sees it.
    #[default]
    EveryCut,
    /// Once in so long; lost power can cost so much.
    Every(Duration),
    /// When the system does it.
    Never,
}

/// How long a newborn series is shown as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BirthHold {
    /// One and a half times the longest gap between two scrapes.
    #[default]
    Auto,
    /// So long; 0 shows the true value at once.
    Fixed(Duration),
}

/// How long the last cut waits for the scrapers when the agent ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinalScrapeWait {
    /// 20 s in a pod whose identity nobody has fixed, else not at all: with the same identity the next run goes on.
    #[default]
    Auto,
    Fixed(Duration),
}

impl StateConfig {
    pub(super) fn from_optional(node: Option<&Node>, d: &mut Diagnostics) -> Self {
        let mut config = StateConfig::default();
        if let Some(mut fields) = node.and_then(|node| Fields::new(node, "`state`", d)) {
            let directory = fields.optional::<Spanned<String>>("directory", d);
            if let Some(relative) = directory.as_ref().filter(|directory| !Path::new(&directory.value).is_absolute()) {
                d.error(relative.span, "`state.directory` must be an absolute path").help("such as /var/lib/weir");
            }
            config.directory = directory.map(|directory| directory.value.into());
            config.fsync = fields.or("fsync", config.fsync, d);
            // An empty one comes from a variable that is not set.
            config.identity = fields.optional::<String>("identity", d).filter(|identity| !identity.is_empty());
            fields.finish(d);
        }
        config
    }

    /// The directory, given the positions file; none where nothing is to be kept.
    pub fn directory(&self, positions: Option<&str>) -> Option<PathBuf> {
        self.directory.clone().or_else(|| Some(Path::new(positions?).with_file_name(BESIDE_POSITIONS)))
    }
}

impl FromNode for Fsync {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let text = String::from_node(node, d)?;
        match text.as_str() {
            "every-cut" => Some(Fsync::EveryCut),
            "none" => Some(Fsync::Never),
            _ => match parse_duration(&text) {
                Some(Duration::ZERO) => Some(Fsync::EveryCut),
                Some(every) => Some(Fsync::Every(every)),
                None => refuse(node, d, "fsync", &text, "`every-cut`, `none` or an interval such as `60s`"),
            },
        }
    }
}

impl FromNode for BirthHold {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let text = String::from_node(node, d)?;
        match text.as_str() {
            "auto" => Some(BirthHold::Auto),
            _ => match parse_duration(&text).filter(|hold| *hold <= HOLD_MAX) {
                Some(hold) => Some(BirthHold::Fixed(hold)),
                None => refuse(node, d, "birth_hold", &text, "`auto`, `0` or a duration of up to 10m, such as `65s`"),
            },
        }
    }
}

impl FromNode for FinalScrapeWait {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let text = String::from_node(node, d)?;
        match text.as_str() {
            "auto" => Some(FinalScrapeWait::Auto),
            _ => match parse_duration(&text).filter(|wait| *wait <= HOLD_MAX) {
                Some(wait) => Some(FinalScrapeWait::Fixed(wait)),
                None => refuse(node, d, "final_scrape_wait", &text, "`auto`, `0` or a duration of up to 10m"),
            },
        }
    }
}

const HOLD_MAX: Duration = Duration::from_secs(600);

fn refuse<T>(node: &Node, d: &mut Diagnostics, key: &str, text: &str, help: &str) -> Option<T> {
    d.error(node.span, format!("`{key}` cannot be `{text}`")).help(help);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> (Option<Config>, String) {
        let mut d = Diagnostics::new();
        let config = crate::config::read(&format!("scrape_configs: []\n{text}"), &mut d);
        let report = d.sorted().iter().map(|finding| finding.render("weir.yaml", text)).collect();
        (config, report)
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        let (config, _) = read("positions: {filename: /var/lib/promtail/positions.yaml}\n");
        let config = config.expect("a configuration");
        assert_eq!(config.state, StateConfig::default());
        assert_eq!(config.state_directory(), Some("/var/lib/promtail/weir-state".into()));
        assert_eq!(config.metrics.birth_hold, BirthHold::Auto);
        assert_eq!(read("").0.expect("a configuration").state_directory(), None);
    }

    #[test]
    fn every_key_is_read() {
        let (config, _) = read(
            "state: {directory: /var/lib/weir, fsync: 60s, identity: node-1}\n\
             metrics: {birth_hold: 65s, final_scrape_wait: 0, max_series: 10}\n",
        );
        let config = config.expect("a configuration");
        assert_eq!(config.state_directory(), Some("/var/lib/weir".into()));
        assert_eq!(config.state.fsync, Fsync::Every(Duration::from_secs(60)));
        assert_eq!(config.state.identity.as_deref(), Some("node-1"));
        assert_eq!(config.metrics.birth_hold, BirthHold::Fixed(Duration::from_secs(65)));
        assert_eq!(config.metrics.final_scrape_wait, FinalScrapeWait::Fixed(Duration::ZERO));
        assert_eq!(read("state: {fsync: none}\n").0.expect("a configuration").state.fsync, Fsync::Never);
        assert_eq!(
            read("metrics: {birth_hold: 0}\n").0.expect("one").metrics.birth_hold,
            BirthHold::Fixed(Duration::ZERO)
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_does() {
        for (text, help) in [
            ("state: {directory: weir}\n", "/var/lib/weir"),
            ("state: {fsync: sometimes}\n", "every-cut"),
            ("metrics: {birth_hold: 1d}\n", "up to 10m"),
            ("metrics: {final_scrape_wait: long}\n", "up to 10m"),
        ] {
            let (_, report) = read(text);
            assert!(report.contains("error") && report.contains(help), "{report}");
        }
    }
}
