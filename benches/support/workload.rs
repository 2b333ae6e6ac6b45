//! What is measured: configurations as they are shipped, and parts of them.

use super::lines::Format;
use std::path::Path;
use weir::cli::load::load_text;
use weir::config::Config;

const KUBERNETES: &str = include_str!("../../config/kubernetes.yaml");
const HOME_K8S: &str = include_str!("../../config/promtail-home-k8s.yaml");

pub struct Workload {
    pub name: &'static str,
    pub what: &'static str,
    pub format: Format,
    shipped: &'static str,
    /// Jobs, stages and metrics that are left out: the first words of their blocks.
    without: &'static [&'static str],
    /// Whether lines go to Loki.
    pub forwards: bool,
    city: bool,
}

/// With whatever has an address or a country as a label.
const ADDRESSES: &[&str] = &[
    "- job_name: pods",
    "- geoip:",
    "http_client_requests_total:",
    "http_client_ingress_requests_total:",
    "http_client_status_requests_total:",
    "http_country_requests_total:",
    "http_auth_failures_total:",
    "http_rate_limited_total:",
    "waf_client_events_total:",
    "waf_blocked_requests_total:",
];

const W2: Workload = Workload {
    name: "W2",
    what: "all counters of kubernetes.yaml, country database",
    format: Format::Json,
    shipped: KUBERNETES,
    without: &["- job_name: pods"],
    forwards: false,
    city: false,
};

pub const ALL: [Workload; 8] = [
    Workload { name: "W1", what: "its counters without addresses and GeoIP", without: ADDRESSES, ..W2 },
    W2,
    Workload { name: "W2-text", what: "W2, lines in nginx' text format", format: Format::Text, ..W2 },
    Workload { name: "W2-docker", what: "W2, lines as docker writes them", format: Format::Docker, ..W2 },
    Workload { name: "W2-whole", what: "W2 and the job `pods`, no Loki", without: &[], ..W2 },
    Workload {
        name: "W2p",
        what: "promtail-home-k8s.yaml, both jobs, no Loki, city database",
        shipped: HOME_K8S,
        without: &[],
        city: true,
        ..W2
    },
    Workload { name: "W3", what: "every line to Loki", without: &["- job_name: ingress-nginx"], forwards: true, ..W2 },
    Workload { name: "W4", what: "the whole of kubernetes.yaml: W2 + W3", without: &[], forwards: true, ..W2 },
];

impl Workload {
    pub fn named(name: &str) -> &'static Workload {
        ALL.iter().find(|workload| workload.name == name).unwrap_or_else(|| panic!("no workload {name}"))
    }

    /// The configuration over the logs and databases below a folder; `loki` is where lines go.
    pub fn config(&self, folder: &Path, loki: &str) -> Config {
        let path = |path: &Path| Some(path.to_str().expect("a path in UTF-8").to_owned());
        let database = if self.city { "city.mmdb" } else { "country.mmdb" };
        let variable = |name: &str| match name {
            "WEIR_LOG_ROOT" => path(&super::tree::root(folder, self.format)),
            "WEIR_GEOIP_DB" => path(&folder.join(database)),
            "LOKI_URL" if self.forwards => Some(loki.to_owned()),
            _ => None,
        };
        let text = self.without.iter().fold(self.shipped.to_owned(), |text, head| without(&text, head));
        let loaded = load_text(&text, Some(&variable));
        assert_eq!(loaded.errors(), 0, "{}", loaded.report(self.name));
        loaded.config.expect("a configuration without errors")
    }
}

/// YAML without the blocks that begin so.
fn without(text: &str, head: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let (mut left, mut inside, mut found) = (String::new(), None, false);
    for line in text.lines() {
        if inside.is_some_and(|outer| line.trim().is_empty() || indent(line) > outer) {
            continue;
        }
        inside = line.trim_start().starts_with(head).then(|| indent(line));
        found |= inside.is_some();
        if inside.is_none() {
            left.push_str(line);
            left.push('\n');
        }
    }
    assert!(found, "no block `{head}` in the shipped configuration");
    left
}
