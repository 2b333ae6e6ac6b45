//! A running agent, asked over HTTP as its users ask it.

use super::exposition::{Family, parse_open_metrics, parse_text};
use super::http::{self, Answer};
use super::process::{Process, eventually, weir};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

pub struct Agent {
    pub process: Process,
    pub address: SocketAddr,
}

impl Agent {
    /// Starts the agent on a free port of the loopback and waits for its server.
    pub fn start(config: &Path, flags: &[&str]) -> Agent {
        Agent::start_with(config, flags, &[])
    }

    pub fn start_with(config: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Agent {
        let mut command = weir(&[]);
        command.args(arguments(config, 0)).args(flags).envs(environment.iter().copied());
        Agent::of(command)
    }

    /// Starts this command, which runs the agent in the end, and waits for its server.
    pub fn of(command: Command) -> Agent {
        Agent::unless_it_ends(command).unwrap_or_else(|process| panic!("the agent ended:\n{}", process.stderr()))
    }

    /// The same for an agent that may end before it listens.
    pub fn unless_it_ends(command: Command) -> Result<Agent, Process> {
        let mut process = Process::start(command);
        let address = eventually("the agent's address", || {
            let ended = process.has_ended();
            let log = process.stderr();
            let line = log.lines().find(|line| line.contains("server listening"));
            match line.and_then(|line| line.split("address=").nth(1)?.split_whitespace().next()?.parse().ok()) {
                Some(address) => Ok(Some(address)),
                None if ended => Ok(None),
                None => Err(log),
            }
        });
        match address {
            Some(address) => Ok(Agent { process, address }),
            None => Err(process),
        }
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait();
    }

    /// Ends it as an operator does, and waits for that.
    pub fn stop(mut self) {
        self.process.signal(Signal::TERM);
        assert_eq!(self.process.wait(), Some(0), "{}", self.log());
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[])
    }

    #[track_caller]
    pub fn request(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        http::request(self.address, method, path, headers).unwrap_or_else(|why| panic!("{method} {path}: {why}"))
    }

    /// A scrape in the text format, read strictly.
    #[track_caller]
    pub fn scrape(&self) -> Page {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        Page::of_text(&answer.body)
    }

    /// Scrapes until the job has read at least this many lines.
    #[track_caller]
    pub fn until_read(&self, job: &str, lines: u64) -> Page {
        self.until(&format!("{lines} lines read by {job}"), |page| {
            page.get("weir_lines_read_total", &[("job", job)]) >= lines as f64
        })
    }

    /// Scrapes until the page is as it should be.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&Page) -> bool) -> Page {
        eventually(what, || {
            let answer = http::get(self.address, "/metrics")?;
            // While it starts there is nothing to show yet.
            if answer.status != 200 {
                return Err(format!("status {}: {}", answer.status, answer.text()));
            }
            let page = Page::of_text(&answer.body);
            if holds(&page) { Ok(page) } else { Err(page.text.clone()) }
        })
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.stderr()
    }
}

/// The flags of an agent on the loopback; port 0 is any.
pub fn arguments(config: &Path, port: u16) -> [String; 4] {
    let config = config.to_str().expect("a path of the test").to_string();
    let [address, port] = ["address=127.0.0.1".to_string(), format!("port={port}")];
    ["-config.file".into(), config, format!("-server.http-listen-{address}"), format!("-server.http-listen-{port}")]
}

/// An exposition.
#[derive(Debug)]
pub struct Page {
    pub text: String,
    pub families: Vec<Family>,
}

impl Page {
    /// Reads the text format strictly.
    #[track_caller]
    pub fn of_text(page: &[u8]) -> Page {
        Page::read(page, parse_text)
    }

    /// Reads OpenMetrics strictly.
    #[track_caller]
    pub fn of_open_metrics(page: &[u8]) -> Page {
        Page::read(page, parse_open_metrics)
    }

    #[track_caller]
    fn read(page: &[u8], parse: impl Fn(&[u8]) -> Result<Vec<Family>, String>) -> Page {
        let text = String::from_utf8_lossy(page).into_owned();
        let families = parse(page).unwrap_or_else(|why| panic!("{why}\n{text}"));
        Page { text, families }
    }

    /// The series of a metric with these labels among its own, each with its labels and value.
    pub fn series<'p>(
        &'p self,
        name: &'p str,
        labels: &'p [(&'p str, &'p str)],
    ) -> impl Iterator<Item = (&'p [(String, String)], f64)> {
        let has = |sample: &[(String, String)], (name, value): (&str, &str)| {
            sample.iter().any(|(n, v)| (n.as_str(), v.as_str()) == (name, value))
        };
        let samples = self.families.iter().flat_map(|family| &family.samples).filter(move |s| s.name == name);
        samples
            .filter(move |sample| labels.iter().all(|label| has(&sample.labels, *label)))
            .map(|sample| (sample.labels.as_slice(), sample.value))
    }

    /// The sum of the series of a metric with these labels among its own; 0 if there is none.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name, labels).map(|(_, value)| value).sum()
    }

    /// The value of the one series with exactly these labels.
    pub fn exactly(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.series(name, labels).find(|(own, _)| own.len() == labels.len()).map(|(_, value)| value)
    }

    /// Every job's books balance: read = counted + joined + refused + held.
    #[track_caller]
    pub fn assert_balanced(&self) {
        let mut jobs = 0;
        for (labels, read) in self.series("weir_lines_read_total", &[]) {
            let job = [("job", labels[0].1.as_str())];
            let parts = ["weir_lines_counted_total", "weir_lines_joined_total", "weir_lines_refused_total"];
            let held = self.get("weir_lines_held", &job);
            let sum: f64 = held + parts.iter().map(|part| self.get(part, &job)).sum::<f64>();
            assert_eq!(read, sum, "the books of {job:?}\n{}", self.text);
            jobs += 1;
        }
        assert!(jobs > 0, "no books\n{}", self.text);
    }
}
