//! What the demo shows: a picture of what the agent counted so far.

use super::player::Player;
use crate::app::Report;
use crate::metrics::Shown;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Instant;

/// Rows of each table.
const ROWS: usize = 5;

pub struct Summary {
    terminal: bool,
    started: Instant,
    last: (Instant, f64),
    /// Lines of the last picture, to draw over.
    drawn: usize,
}

impl Summary {
    pub fn new(terminal: bool) -> Self {
        let now = Instant::now();
        Summary { terminal, started: now, last: (now, 0.0), drawn: 0 }
    }

    /// Shows the state: a picture on a terminal, a line elsewhere.
    pub fn show(&mut self, report: &Report, player: &Player) -> io::Result<()> {
        let requests = total(report, "weir_http_requests_total");
        let seconds = self.last.0.elapsed().as_secs_f64().max(0.001);
        let rate = (requests - self.last.1) / seconds;
        self.last = (Instant::now(), requests);
        let mut out = io::stdout().lock();
        if !self.terminal {
            let blocked = total(report, "weir_waf_blocked_requests_total");
            return writeln!(
                out,
                "{:>4.0}s  {rate:>5.0} requests/s  {requests:>7} requests  {blocked:>5} blocked  {} lines written, {} rotations",
                self.started.elapsed().as_secs_f64(),
                player.written(),
                player.rotations(),
            );
        }
        let picture = self.picture(report, player, rate);
        if self.drawn > 0 {
            // Back to where the last picture began, and clear from there.
            write!(out, "\x1b[{}A\x1b[J", self.drawn)?;
        }
        self.drawn = picture.lines().count();
        out.write_all(picture.as_bytes())?;
        out.flush()
    }

    /// The last picture, and whether the books balance.
    pub fn finish(&mut self, report: &Report, player: &Player) -> io::Result<()> {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let rate = total(report, "weir_http_requests_total") / seconds;
        let mut picture = self.picture(report, player, rate);
        for books in report.books.iter().filter(|books| books.job == "ingress-nginx") {
            let exact = books.read == player.written() && books.balanced();
            let verdict = if exact { "exact: every line written is accounted for" } else { "NOT EXACT" };
            let _ = writeln!(picture, "\nwritten {}, read {}: {verdict}", player.written(), books.read);
        }
        let mut out = io::stdout().lock();
        if self.drawn > 0 {
            write!(out, "\x1b[{}A\x1b[J", self.drawn)?;
        }
        out.write_all(picture.as_bytes())?;
        out.flush()
    }

    fn picture(&self, report: &Report, player: &Player, rate: f64) -> String {
        let mut out = String::new();
        let requests = total(report, "weir_http_requests_total");
        let _ = writeln!(
            out,
            "\n{requests} requests, {rate:.0}/s    {} lines written, {} rotations, {:.0} s",
            player.written(),
            player.rotations(),
            self.started.elapsed().as_secs_f64()
        );
        table(&mut out, "clients", &top(report, "weir_http_client_requests_total", &["client_ip", "country"]));
        table(&mut out, "statuses", &top(report, "weir_http_requests_total", &["status"]));
        table(&mut out, "WAF rules", &top(report, "weir_waf_events_total", &["rule_id", "rule_set", "action"]));
        let _ = writeln!(out, "\nbooks");
        for books in &report.books {
            let _ = writeln!(out, "  {books}");
        }
        out
    }
}

fn total(report: &Report, metric: &str) -> f64 {
    report.snapshot.samples(Shown::ToPerson).filter(|s| s.name == metric).map(|s| s.value.as_f64()).sum()
}

/// The label values with the largest sums.
fn top(report: &Report, metric: &str, labels: &[&str]) -> Vec<(String, f64)> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for sample in report.snapshot.samples(Shown::ToPerson).filter(|s| s.name == metric) {
        let values: Vec<&str> = labels
            .iter()
            .map(|label| Some(sample.labels.get(label)).filter(|value| !value.is_empty()).unwrap_or("-"))
            .collect();
        // What a stranger's client sent must not steer the terminal.
        let key: String = values.join("  ").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        *sums.entry(key).or_default() += sample.value.as_f64();
    }
    let mut rows: Vec<(String, f64)> = sums.into_iter().collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    rows.truncate(ROWS);
    rows
}

fn table(out: &mut String, title: &str, rows: &[(String, f64)]) {
    let _ = writeln!(out, "\n{title}");
    for (key, value) in rows {
        let _ = writeln!(out, "  {value:>8}  {key}");
    }
}
