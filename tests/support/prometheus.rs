//! What Prometheus adds up: its rule for counters, a model that scrapes as it does, and the program itself.

use super::agent::Page;
use super::http::{get, request};
use super::process::{Process, eventually, free_port};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use tempfile::TempDir;

/// Samples of counters, added up as `increase()` does before it extrapolates: what a series gained between two
/// samples; after a step down, the value that it came up to. The first sample of a series is worth nothing.
#[derive(Clone, Debug, Default)]
pub struct Increases {
    series: BTreeMap<String, Increase>,
}

#[derive(Clone, Debug)]
struct Increase {
    last: f64,
    sum: f64,
    resets: u32,
}

impl Increases {
    pub fn sample(&mut self, series: &str, value: f64) {
        let Some(known) = self.series.get_mut(series) else {
            self.series.insert(series.to_string(), Increase { last: value, sum: 0.0, resets: 0 });
            return;
        };
        if value < known.last {
            known.resets += 1;
            known.sum += value;
        } else {
            known.sum += value - known.last;
        }
        known.last = value;
    }

    /// Everything that was counted, as far as a scraper can know.
    pub fn total(&self) -> f64 {
        self.series.values().map(|series| series.sum).sum()
    }

    pub fn of(&self, series: &str) -> f64 {
        self.series.get(series).map_or(0.0, |series| series.sum)
    }

    pub fn len(&self) -> usize {
        self.series.len()
    }

    pub fn resets(&self) -> u32 {
        self.series.values().map(|series| series.resets).sum()
    }
}

/// Asks as Prometheus asks and adds up one metric, whose series differ in one label.
#[derive(Debug)]
pub struct Scraper {
    pub address: SocketAddr,
    metric: &'static str,
    /// What tells its series apart.
    label: &'static str,
    /// How long it waits for an answer, in seconds; an agent is told.
    pub timeout: u32,
    pub increases: Increases,
}

impl Scraper {
    pub fn new(address: SocketAddr, metric: &'static str, label: &'static str) -> Scraper {
        Scraper { address, metric, label, timeout: 5, increases: Increases::default() }
    }

    /// One scrape; a failed one is a gap, as for Prometheus.
    pub fn scrape(&mut self) -> Result<Page, String> {
        let timeout = format!("X-Prometheus-Scrape-Timeout-Seconds: {}", self.timeout);
        let answer = request(self.address, "GET", "/metrics", &[&timeout, "Accept: text/plain;version=0.0.4"])?;
        if answer.status != 200 {
            return Err(format!("status {}: {}", answer.status, answer.text()));
        }
        let page = Page::of_text(&answer.body);
        for (labels, value) in page.series(self.metric, &[]) {
            let own = labels.iter().find(|(name, _)| name == self.label);
            self.increases.sample(own.map_or("", |(_, value)| value), value);
        }
        Ok(page)
    }

    /// Scrapes until what it added up is this.
    #[track_caller]
    pub fn until(&mut self, total: f64) {
        eventually(&format!("{total} added up by a scraper"), || {
            self.scrape()?;
            let found = self.increases.total();
            if found == total {
                Ok(())
            } else {
                Err(format!("{found}, not {total}; {} resets", self.increases.resets()))
            }
        });
        assert_eq!(self.increases.resets(), 0, "a counter went back");
    }
}

/// The real program, which scrapes every second.
pub struct Prometheus {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Prometheus {
    pub fn start(jobs: &[(&str, SocketAddr)]) -> Prometheus {
        let folder = TempDir::new().expect("a folder");
        let mut config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n".to_string();
        for (job, target) in jobs {
            config.push_str(&format!("  - {{job_name: {job}, static_configs: [{{targets: ['{target}']}}]}}\n"));
        }
        fs::write(folder.path().join("prometheus.yml"), config).expect("written");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new("prometheus");
        command.current_dir(folder.path()).args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            &format!("--web.listen-address={address}"),
        ]);
        let mut process = Process::start(command);
        eventually("Prometheus", || match get(address, "/-/ready") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other if process.has_ended() => panic!("Prometheus ended: {other:?}\n{}", process.stderr()),
            other => Err(format!("{other:?}")),
        });
        Prometheus { _process: process, _folder: folder, address }
    }

    pub fn api(&self, path: &str) -> Result<serde_json::Value, String> {
        let answer = get(self.address, path)?;
        serde_json::from_slice(&answer.body).map_err(|error| format!("{error}: {}", answer.text()))
    }

    /// The one value of an instant query.
    pub fn query(&self, query: &str) -> Result<f64, String> {
        let escaped: String = query.bytes().map(|b| format!("%{b:02X}")).collect();
        let answer = self.api(&format!("/api/v1/query?query={escaped}"))?;
        let value = answer.pointer("/data/result/0/value/1").and_then(|value| value.as_str()?.parse().ok());
        value.ok_or_else(|| format!("{query}: {answer}"))
    }

    /// Waits until a query has this value.
    pub fn until(&self, query: &str, value: f64) {
        eventually(query, || match self.query(query)? {
            found if found == value => Ok(()),
            found => Err(format!("{found}, not {value}")),
        });
    }

    /// The raw samples of a metric of the last hour, added up by series; each is known by one label.
    pub fn increases(&self, metric: &str, label: &str) -> Increases {
        let answer = self.api(&format!("/api/v1/query?query={metric}%5B1h%5D")).expect("an answer");
        let result = answer.pointer("/data/result").and_then(|result| result.as_array()).expect("series");
        let mut increases = Increases::default();
        for series in result {
            for sample in series["values"].as_array().expect("samples") {
                let value = sample[1].as_str().and_then(|value| value.parse().ok()).expect("a number");
                increases.sample(series["metric"][label].as_str().unwrap_or_default(), value);
            }
        }
        increases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(samples: &[f64]) -> f64 {
        let mut increases = Increases::default();
        samples.iter().for_each(|sample| increases.sample("a", *sample));
        increases.total()
    }

    #[test]
    fn it_adds_up_as_prometheus_does() {
        assert_eq!(total(&[5.0]), 0.0, "the first sample is worth nothing");
        assert_eq!(total(&[0.0, 5.0, 5.0, 7.0]), 7.0);
        assert_eq!(total(&[5.0, 4.0]), 4.0, "a step down is a restart from 0");
        assert_eq!(total(&[5.0, 0.0, 3.0]), 3.0);
    }
}
