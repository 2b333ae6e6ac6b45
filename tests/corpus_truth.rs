//! The shipped configuration over real logs: every sum that its series hold equals what nginx's own files say.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use support::corpus;
use support::exposition::Sample;
use support::kubelet::{D1_POD, DOCKER_ID, Node};
use support::shipped::{KUBERNETES, Outcome, label_of, one_shot, over, whole};
use support::truth::{Counts, Part, Truth, assert_all, client, compare, rename};

/// Series that one node may expose on this corpus.
const SERIES_MAX: usize = 6_000;
/// The agent's own series that `Outcome::exposed` does not see, since nothing touched them: those with a label `job`
/// (2 jobs, at most 8 reasons each), `file` (one database), `result` and `reason` (at most 8 each). Some 90 in all.
const OWN_SERIES_MORE: usize = 200;
/// Who speaks to nginx in the corpus, with the PROXY protocol or `X-Forwarded-For`.
const PEER: &str = "127.0.0.1";
/// Requests of D1 and D2 whose client nginx never learned, since it answered before it had read the headers.
const REFUSED: u64 = 242;
/// Their other requests from private addresses and Cloudflare's (invented clients among them), by Python's `ipaddress`.
const PRIVATE: f64 = 722.0;
/// What nginx knows as methods.
const METHODS: &str =
    "GET HEAD POST PUT DELETE MKCOL COPY MOVE OPTIONS PROPFIND PROPPATCH LOCK UNLOCK PATCH TRACE CONNECT";

/// D1 has five denied requests whose five clients all sent `X-Request-ID: ünicode-id`, which became their unique id.
const D1_SHARED_IDS: u64 = 4;

/// What the access lines are written in.
#[derive(Clone, Copy, PartialEq)]
enum Format {
    Json,
    /// Says neither namespace nor ingress, and the method of the request line where nginx goes on with another one
    /// (X-Accel-Redirect): so many lines more than the truth, and so many fewer.
    Text(&'static [(&'static str, i64)]),
}

fn run(root: &Path) -> Outcome {
    let outcome = one_shot(&over(KUBERNETES, root, &corpus::excerpt("demo").join("country.mmdb")));
    let series = outcome.exposed + OWN_SERIES_MORE;
    assert!(series < SERIES_MAX, "{series} series");
    // Whatever else a controller prints is a line that is no access line, or a line that is none of ModSecurity's.
    let refused: Vec<&str> = outcome.job("ingress-nginx").refused.iter().map(|(reason, _)| reason.as_str()).collect();
    assert!(refused.iter().all(|reason| ["not_access_line", "not_modsecurity"].contains(reason)), "{refused:?}");
    outcome
}

/// `shared_ids`: denied requests whose id is also that of another denied request.
fn check(truth: Part<'_>, format: Format, shared_ids: u64, got: &Outcome) {
    let mut results = access(truth, format, got);
    results.extend(modsecurity(truth, shared_ids, got));
    assert_all(results);
}

fn one(dimension: &str, want: f64, got: f64) -> Result<(), String> {
    if (want - got).abs() < 1e-6 { Ok(()) } else { Err(format!("{dimension}: want {want}, got {got}\n")) }
}

fn access(truth: Part<'_>, format: Format, got: &Outcome) -> Vec<Result<(), String>> {
    const REQUESTS: &str = "weir_http_requests_total";
    for metric in [REQUESTS, "weir_http_client_requests_total", "weir_http_country_requests_total"] {
        assert_eq!(got.limited(metric), 0, "{metric}");
    }
    let total = truth.number("access.total");
    let mut methods = rename(&truth.counts("access.by_method"), |method| match method {
        "" => String::new(),
        known if METHODS.split(' ').any(|method| method == known) => known.to_owned(),
        _ => "__other__".to_owned(),
    });
    let services = |services: &Counts| rename(services, |s| s.split(':').next().unwrap_or_default().to_owned());
    let mut results = match format {
        Format::Json => vec![
            compare("by_namespace", &truth.counts("access.by_namespace"), &got.by(REQUESTS, "namespace")),
            compare("by_ingress", &truth.counts("access.by_ingress"), &got.by(REQUESTS, "ingress")),
            compare("by_service", &services(&truth.counts("access.by_service")), &got.by(REQUESTS, "service")),
            compare(
                "status_by_ingress",
                &flat(&truth.counts_by("access.status_by_ingress")),
                &pairs(got, REQUESTS, "ingress", "status"),
            ),
            compare(
                "body_bytes_by_ingress",
                &truth.counts("access.body_bytes_by_ingress"),
                &got.by("weir_http_response_bytes_total", "ingress"),
            ),
        ],
        Format::Text(differing) => {
            for (method, more) in differing {
                let count = methods.entry((*method).to_owned()).or_insert(0);
                *count = count.checked_add_signed(*more).expect("more lines than are taken away");
            }
            vec![
                compare("no namespace", &[(String::new(), total)].into(), &got.by(REQUESTS, "namespace")),
                compare("no ingress", &[(String::new(), total)].into(), &got.by(REQUESTS, "ingress")),
            ]
        }
    };
    let seconds = truth.number("access.request_time_ms_sum") as f64 / 1000.0;
    let request_bytes = truth.number("access.request_length");
    results.extend([
        one("requests", total as f64, got.sum(REQUESTS)),
        compare("by_status", &truth.counts("access.by_status"), &got.by(REQUESTS, "status")),
        compare("by_method", &methods, &got.by(REQUESTS, "method")),
        compare(
            "by_client",
            &without_peer(&truth.clients("access.by_client")),
            &without_peer(&got.by("weir_http_client_requests_total", "client_ip")),
        ),
        nobody(truth, &got.by("weir_http_client_requests_total", "client_ip")),
        compare(
            "by_class",
            &truth.counts("access.by_class"),
            &got.by("weir_http_client_status_requests_total", "status_class"),
        ),
        compare(
            "by_class of countries",
            &truth.counts("access.by_class"),
            &got.by("weir_http_country_requests_total", "status_class"),
        ),
        one("clients of ingresses", total as f64, got.sum("weir_http_client_ingress_requests_total")),
        one("request bytes", request_bytes as f64, got.sum("weir_http_request_bytes_total")),
        one("response bytes", truth.number("access.body_bytes_sent") as f64, got.sum("weir_http_response_bytes_total")),
        one("duration", seconds, got.sum("weir_http_request_duration_seconds_sum")),
        one("durations", total as f64, got.sum("weir_http_request_duration_seconds_count")),
    ]);
    for (status, metric) in [("401", "weir_http_auth_failures_total"), ("429", "weir_http_rate_limited_total")] {
        let want = truth.counts("access.by_status").get(status).copied().unwrap_or(0);
        results.push(one(metric, want as f64, got.sum(metric)));
    }
    results
}

/// The truth names clients as nginx did, and so the proxy where nginx never came to know the client.
fn without_peer(clients: &Counts) -> Counts {
    rename(clients, |client| if client == PEER { String::new() } else { client.to_owned() })
}

/// Requests that were refused before their method was read are nobody's, and so are some that were refused later.
fn nobody(truth: Part<'_>, clients: &Counts) -> Result<(), String> {
    let [unread, all] = ["access.by_method", "access.by_client"].map(|dimension| truth.counts(dimension));
    let [unread, all] = [unread.get(""), all.get(PEER)].map(|count| count.copied().unwrap_or(0));
    let nobodys = clients.get("").copied().unwrap_or(0);
    let holds = (unread..=all).contains(&nobodys);
    if holds { Ok(()) } else { Err(format!("of nobody: {nobodys}, not {unread} to {all}\n")) }
}

fn modsecurity(truth: Part<'_>, shared_ids: u64, got: &Outcome) -> Vec<Result<(), String>> {
    const EVENTS: &str = "weir_waf_events_total";
    const CLIENTS: &str = "weir_waf_client_events_total";
    assert_eq!(got.limited(CLIENTS), 0, "{CLIENTS}");
    let [denied, warned] = ["denied", "warning"].map(|kind| truth.number(&format!("modsec.{kind}_lines")));
    let actions = Counts::from([("blocked".to_owned(), denied), ("detected".to_owned(), warned)]);
    // What nginx cut off is not there.
    let cut = |counts: Counts| {
        rename(&counts, |key| if key.starts_with("(truncated") { String::new() } else { key.to_owned() })
    };
    let is = |action: &'static str| move |sample: &Sample| label_of(sample, "action") == action;
    vec![
        one("ModSecurity lines", truth.number("modsec.lines") as f64, got.sum(EVENTS)),
        compare("by_rule", &cut(truth.counts("modsec.by_rule")), &got.by(EVENTS, "rule_id")),
        compare(
            "denied_by_rule",
            &cut(truth.counts("modsec.denied_by_rule")),
            &got.by_where(EVENTS, "rule_id", is("blocked")),
        ),
        compare(
            "warning_by_rule",
            &cut(truth.counts("modsec.warning_by_rule")),
            &got.by_where(EVENTS, "rule_id", is("detected")),
        ),
        compare("by_severity", &cut(truth.counts("modsec.by_severity")), &got.by(EVENTS, "severity")),
        compare("by_rule_set", &rule_sets(truth), &got.by(EVENTS, "rule_set")),
        compare("by_action", &actions, &got.by(EVENTS, "action")),
        compare("by_client", &cut(truth.clients("modsec.by_client")), &got.by(CLIENTS, "client_ip")),
        compare(
            "denied_by_client",
            &cut(truth.clients("modsec.denied_by_client")),
            &got.by_where(CLIENTS, "client_ip", is("blocked")),
        ),
        compare("by_action of clients", &actions, &got.by(CLIENTS, "action")),
        one(
            "blocked",
            (truth.number("modsec.denied_distinct_unique_ids") + shared_ids) as f64,
            got.sum("weir_waf_blocked_requests_total"),
        ),
    ]
}

/// ModSecurity lines by their rule file's name without folder and ending. Of rules in nginx's configuration no file is
/// known; of lines that were cut before it, neither.
fn rule_sets(truth: Part<'_>) -> Counts {
    let mut sets = rename(&truth.counts("modsec.by_rule_file"), |file| match file {
        "<<reference missing or not informed>>" | "(truncated)" => String::new(),
        _ => Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    });
    // The corpus' own truth leaves cut lines out.
    let rest = truth.number("modsec.lines") - sets.values().sum::<u64>();
    assert!(rest <= truth.number("modsec.lines_truncated_before_id"));
    *sets.entry(String::new()).or_insert(0) += rest;
    sets
}

/// Counts by two labels, joined with a space.
fn pairs(got: &Outcome, metric: &str, outer: &str, inner: &str) -> Counts {
    let mut counts = Counts::new();
    for sample in got.samples(metric) {
        *counts.entry(format!("{} {}", label_of(sample, outer), label_of(sample, inner))).or_insert(0) +=
            whole(sample.value);
    }
    counts
}

fn flat(counts: &BTreeMap<String, Counts>) -> Counts {
    let inner = |(outer, counts): (&String, &Counts)| -> Vec<_> {
        counts.iter().map(|(inner, count)| (format!("{outer} {inner}"), *count)).collect()
    };
    counts.iter().flat_map(inner).collect()
}

#[test]
fn the_demos_lines_give_their_truth() {
    let node = Node::demo();
    check(Truth::load(&corpus::excerpt("demo")).sum(), Format::Json, 0, &run(&node.pods()));
}

#[test]
fn lines_of_docker_give_their_truth_across_a_rotation() {
    let node = Node::docker();
    check(Truth::load(&corpus::excerpt("docker")).sum(), Format::Json, 0, &run(&node.pods()));
}

#[test]
fn lines_in_the_text_format_give_their_truth() {
    let node = Node::text();
    check(Truth::load(&corpus::excerpt("text")).sum(), Format::Text(&[]), 0, &run(&node.pods()));
}

#[test]
fn the_corpus_gives_its_truth() {
    let Some(folder) = corpus::whole("the kubelet's tree of the whole corpus") else { return };
    let got = run(&folder.join("pods"));
    check(Truth::load(folder).sum(), Format::Json, D1_SHARED_IDS, &got);
    println!("{} series exposed", got.exposed);
}

#[test]
fn the_corpus_of_docker_gives_its_truth() {
    let Some(folder) = corpus::whole("docker's tree of the whole corpus") else { return };
    let node = Node::new();
    let real = folder.canonicalize().expect("the corpus");
    node.link(D1_POD, &real.join(format!("docker/containers/{DOCKER_ID}/{DOCKER_ID}-json.log")));
    check(Truth::load(folder).run("D1"), Format::Json, D1_SHARED_IDS, &run(&node.pods()));
}

#[test]
fn the_corpus_in_the_text_format_gives_its_truth() {
    let Some(folder) = corpus::whole("the text format's tree of the whole corpus") else { return };
    let truth = Truth::load(folder);
    let got = run(&folder.join("pods-text"));
    check(truth.run("D2"), Format::Text(&[("GET", -3), ("POST", 2), ("OPTIONS", 1)]), 0, &got);
    upstreams(truth.run("D2"), &got);

    // D1 has no such tree, but nginx wrote the same format there: as CRI lines without ModSecurity's.
    let node = Node::new();
    node.log(D1_POD, "0.log", &cri("stdout", &fs::read(folder.join("nginx/D1/access.text.log")).expect("lines")));
    let got = run(&node.pods());
    assert_all(access(truth.run("D1"), Format::Text(&[("GET", -9), ("POST", 6), ("OPTIONS", 2), ("PATCH", 1)]), &got));
    upstreams(truth.run("D1"), &got);
}

/// The text format names the upstream in place of the service.
fn upstreams(truth: Part<'_>, got: &Outcome) {
    let services = got.by("weir_http_requests_total", "service");
    assert_all([compare("by_service", &truth.counts("access.by_proxy_upstream_name"), &services)]);
}

fn cri(stream: &str, lines: &[u8]) -> Vec<u8> {
    let whole = |line: &[u8]| [format!("2026-11-21T02:25:48Z {stream} F ").as_bytes(), line].concat();
    lines.split_inclusive(|b| *b == b'\n').flat_map(whole).collect()
}

#[test]
fn the_series_of_clients_are_each_clients_own() {
    let Some(folder) = corpus::whole("status classes by client") else { return };
    let got = run(&folder.join("pods"));
    let want = oracle(folder, |row| format!("{} {}xx", sender(row), &row["status"][..1]));
    let refused: u64 = want.iter().filter(|(pair, _)| pair.starts_with(' ')).map(|(_, count)| count).sum();
    assert_eq!(refused, REFUSED);
    assert_eq!(got.sum("weir_http_private_clients_total"), PRIVATE);
    exact_or_limited(&got, "weir_http_client_status_requests_total", "status_class", &want);
    let want = oracle(folder, |row| format!("{} {}", sender(row), row["ingress_name"]));
    exact_or_limited(&got, "weir_http_client_ingress_requests_total", "ingress", &want);
}

/// The client of a row; nobody if nginx answered before it knew.
fn sender(row: &BTreeMap<&str, &str>) -> String {
    let unread = row["request_method"].is_empty();
    let went_nowhere = ["namespace", "upstream_addr", "proxy_upstream_name"].iter().all(|name| row[*name].is_empty());
    if unread || row["remote_addr"] == PEER && went_nowhere { String::new() } else { client(row["remote_addr"]) }
}

/// There may be more pairs than series: those that came too late stand together, and the others are exact. One that was
/// promoted later misses what stands there.
fn exact_or_limited(got: &Outcome, metric: &str, label: &str, want: &Counts) {
    let (mut others, mut promoted) = (0, 0);
    for (pair, count) in pairs(got, metric, "client_ip", label) {
        match (pair.strip_prefix("__other__ "), want.get(&pair)) {
            (Some(_), _) => others += count,
            (None, Some(true_count)) if *true_count != count => {
                assert!((count + 128..count + 500).contains(&(true_count + 1)), "{metric}: {pair}: {count}");
                promoted += 1;
            }
            (None, true_count) => assert_eq!(true_count, Some(&count), "{metric}: {pair}"),
        }
    }
    assert_eq!(others, got.limited(metric), "{metric}");
    let stats = got.stats.iter().find(|stats| stats.name == metric).expect("a metric");
    assert!(promoted <= stats.promoted, "{metric}");
}

/// The requests of both runs by a name that nginx's own rows give; `-` is empty.
fn oracle(folder: &Path, name: impl Fn(&BTreeMap<&str, &str>) -> String) -> Counts {
    let mut counts = Counts::new();
    for run in ["D1", "D2"] {
        let folder: PathBuf = folder.join("nginx").join(run);
        let fields = fs::read_to_string(folder.join("oracle.fields")).expect("fields");
        let rows = String::from_utf8_lossy(&fs::read(folder.join("oracle.tsv")).expect("rows")).into_owned();
        for row in rows.lines() {
            let row: BTreeMap<&str, &str> =
                fields.lines().zip(row.split('\t').map(|v| if v == "-" { "" } else { v })).collect();
            *counts.entry(name(&row)).or_insert(0) += 1;
        }
    }
    counts
}

#[test]
fn denied_requests_are_told_apart_by_connection_and_id() {
    let Some(folder) = corpus::whole("ids of denied requests") else { return };
    for (run, shared_ids) in [("D1", D1_SHARED_IDS), ("D2", 0)] {
        let log = fs::read(folder.join("nginx").join(run).join("error.log")).expect("an error log");
        let log = String::from_utf8_lossy(&log);
        let mut requests = BTreeSet::new();
        for line in log.lines() {
            let Some((head, tail)) = line.split_once("] ModSecurity: Access denied with code ") else { continue };
            // A client may print these words; nginx's own are at the beginning, after process and connection.
            let head: Vec<&str> = head.split(' ').collect();
            if let [_, _, "[error]", _, connection, "[client", _] = head[..] {
                let (_, id) = tail.rsplit_once("[unique_id \"").expect("no denied line was cut before its id");
                requests.insert((connection, id.split("\"] [ref ").next().unwrap_or_default()));
            }
        }
        let want = Truth::load(folder).run(run).number("modsec.denied_distinct_unique_ids") + shared_ids;
        assert_eq!(requests.len() as u64, want, "{run}");
    }
}
