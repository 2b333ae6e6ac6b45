//! Whole agents: lines in, expositions and books out.

use super::shipped::{HOME_K8S, KUBERNETES, Outcome, QUICKSTART, config, engine, whole};
use std::cell::RefCell;
use std::sync::LazyLock;
use weir::app::Engine;
use weir::config::Config;
use weir::labels::Labels;
use weir::ledger::JobBooks;

const EVERY: &str = include_str!("../every-stage.yaml");

/// Lines after which an agent begins anew: its expositions grow with what it has seen.
const LINES_MAX: u64 = 2_000;

/// The shipped configurations, the Kubernetes one once more with limits that are soon reached, and every stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Agent {
    Kubernetes,
    Limited,
    HomeK8s,
    Quickstart,
    Every,
}

static CONFIGS: LazyLock<[Config; 5]> = LazyLock::new(|| {
    let manifest = env!("CARGO_MANIFEST_DIR");
    let repository = manifest.strip_suffix("/tests/fuzz").unwrap_or(manifest);
    let database = |name: &str| format!("{repository}/tests/corpus/{name}.mmdb");
    let country = [("WEIR_GEOIP_DB", database("demo/country"))];
    let city = [("WEIR_GEOIP_DB", database("geoip/city"))];
    let limited = KUBERNETES.lines().map(|line| match line.split_once("max_series: ") {
        Some((indent, _)) => format!("{indent}max_series: 2\n"),
        None => format!("{line}\n"),
    });
    let read = |text: &str, [(name, file)]: &[(&str, String); 1]| {
        config(text, &[(name, file.as_str()), ("WEIR_LOG_ROOT", "/nowhere"), ("WEIR_LOG_FILE", "/nowhere")])
    };
    [
        read(KUBERNETES, &country),
        read(&limited.collect::<String>(), &country),
        read(HOME_K8S, &city),
        read(QUICKSTART, &country),
        read(EVERY, &country),
    ]
});

impl Agent {
    pub const ALL: [Agent; 5] = [Agent::Kubernetes, Agent::Limited, Agent::HomeK8s, Agent::Quickstart, Agent::Every];

    pub fn start(self) -> Engine {
        engine(&CONFIGS[self as usize])
    }

    /// Gives the lines of a text to every job, and checks what must then hold.
    pub fn feed(self, engine: &mut Engine, text: &[u8]) {
        let jobs: Vec<String> =
            CONFIGS[self as usize].scrape_configs.iter().map(|job| job.job_name.value.clone()).collect();
        let labels: Labels = [("app", "web"), ("filename", "/a.log")].into_iter().collect();
        let lines = text.split(|b| *b == b'\n').count() as u64 - u64::from(text.is_empty() || text.ends_with(b"\n"));
        for (at, job) in jobs.iter().enumerate() {
            let before = newlines(&engine.books()[at]);
            // Lines as they are, and as `-stdin` reads them.
            engine.feed_job(job, "/var/log/pods/a_b_c/d/0.log", text);
            assert_eq!(newlines(&engine.books()[at]) - before, lines, "{job}");
            engine.feed_lines(job, &labels, text);
        }
        self.check(engine);
    }

    /// Books balance, both expositions are valid and agree, and sums do not depend on labels.
    pub fn check(self, engine: &mut Engine) {
        let outcome = Outcome::of(engine);
        match self {
            Agent::Kubernetes | Agent::Limited => accepted(&outcome),
            Agent::Quickstart => {
                let counted = outcome.job("nginx").counted;
                for metric in ["weir_http_requests_total", "weir_http_client_requests_total"] {
                    assert_eq!(whole(outcome.sum(metric)), counted, "{metric}");
                }
            }
            Agent::HomeK8s => {
                let totals = outcome.families.iter().map(|family| outcome.sum(&family.name));
                let totals: Vec<f64> = totals.collect();
                assert!(totals.windows(2).all(|pair| pair[0] == pair[1]), "{totals:?}");
                let counted = outcome.job("ingress-nginx-metrics").counted;
                assert_eq!(whole(totals.first().copied().unwrap_or(0.0)), counted);
            }
            Agent::Every => {}
        }
    }
}

/// Lines read, but for those that were found behind torn ones.
fn newlines(books: &JobBooks) -> u64 {
    books.read - books.refused.iter().filter(|(reason, _)| reason == "torn").map(|(_, lines)| lines).sum::<u64>()
}

/// Every line that the books call counted is an access line or one of ModSecurity's, and is in each metric that counts
/// such lines, whatever its labels are.
fn accepted(outcome: &Outcome) {
    let requests = whole(outcome.sum("weir_http_requests_total"));
    for metric in [
        "weir_http_client_requests_total",
        "weir_http_client_ingress_requests_total",
        "weir_http_client_status_requests_total",
        "weir_http_country_requests_total",
    ] {
        assert_eq!(whole(outcome.sum(metric)), requests, "{metric}");
    }
    let events = whole(outcome.sum("weir_waf_events_total"));
    assert_eq!(whole(outcome.sum("weir_waf_client_events_total")), events);
    assert!(whole(outcome.sum("weir_waf_blocked_requests_total")) <= events);
    assert_eq!(outcome.job("ingress-nginx").counted, requests + events, "{}", outcome.job("ingress-nginx"));
}

thread_local! {
    static ENGINES: RefCell<[Option<Engine>; 5]> = const { RefCell::new([const { None }; 5]) };
}

/// The first byte chooses the agent; the rest are lines. Agents live on over many inputs.
pub fn pipeline(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    let agent = Agent::ALL[usize::from(*first) % Agent::ALL.len()];
    ENGINES.with_borrow_mut(|engines| {
        // What panicked does not stay.
        let mut engine = engines[agent as usize].take().unwrap_or_else(|| agent.start());
        agent.feed(&mut engine, text);
        let lines: u64 = engine.books().iter().map(|books| books.read).sum();
        if lines < LINES_MAX {
            engines[agent as usize] = Some(engine);
        } else {
            engine.finish();
            agent.check(&mut engine);
        }
    });
}
