//! weir's expositions in the hands of Prometheus' own programs.

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use support::agent::{Agent, Page};
use support::http::{exchange, get};
use support::kubelet;
use support::process::{Process, eventually, finish, real_parts, weir};
use support::prometheus::Prometheus;
use tempfile::TempDir;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/kubernetes.yaml");

/// promtool's opinion of names that are Promtail's; nothing else may be said.
const KNOWN: [&str; 2] = [
    r#"promtail_files_active_total non-counter metrics should not have "_total" suffix"#,
    r#"promtail_targets_active_total non-counter metrics should not have "_total" suffix"#,
];

/// What promtool has to say about an exposition.
fn lint(exposition: &[u8]) -> BTreeSet<String> {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    let end = finish(promtool, exposition);
    let said: BTreeSet<String> = end.stderr.lines().chain(end.stdout.lines()).map(str::to_string).collect();
    // 0: nothing to say; 3: opinions; 1: no exposition at all.
    assert_eq!(end.code, Some(if said.is_empty() { 0 } else { 3 }), "{said:?}");
    said
}

#[test]
fn promtool_finds_nothing_wrong_with_a_one_shot_exposition() {
    if !real_parts("promtool on a one-shot exposition") {
        return;
    }
    let node = kubelet::Node::demo();
    let mut command = weir(&["-config.file", SHIPPED, "-config.expand-env", "-one-shot"]);
    command.env("WEIR_LOG_ROOT", node.pods());
    let end = finish(command, b"");
    end.assert_code(0);
    assert!(Page::of_text(end.stdout.as_bytes()).get("weir_http_requests_total", &[]) > 1000.0, "{}", end.stdout);
    assert_eq!(lint(end.stdout.as_bytes()), BTreeSet::new());
    assert!(!lint(b"# TYPE a_total gauge\na_total 1\n").is_empty(), "promtool would say something");
}

#[test]
fn promtool_finds_nothing_wrong_with_the_live_exposition_but_promtails_names() {
    if !real_parts("promtool on a live exposition") {
        return;
    }
    let demo = Process::start(weir(&["demo", "--rate=1000", "--listen=127.0.0.1:0"]));
    let address = eventually("the address", || {
        let output = demo.stdout();
        let address = output.split("metrics: http://").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
        address.ok_or(output)
    });
    let exposition = eventually("all metrics of the configuration", || {
        let body = get(address, "/metrics")?.body;
        let page = Page::of_text(&body);
        let all = page.get("weir_waf_blocked_requests_total", &[]) > 0.0
            && page.get("weir_http_auth_failures_total", &[]) > 0.0
            && page.get("weir_http_requests_total", &[]) > 500.0;
        if all { Ok(body) } else { Err(page.text) }
    });
    assert_eq!(lint(&exposition), KNOWN.map(str::to_string).into());
}

/// A pod's log that is written and rotated as on a node.
struct Controller {
    folder: PathBuf,
    log: File,
    written: u64,
    rotated: u64,
}

impl Controller {
    fn new(root: &Path) -> Controller {
        let pod = "ingress-nginx_ingress-nginx-controller-1_0d3e6f52-5f3e-4c7b-9d0f-2f6a1c0b7a11";
        let folder = root.join(pod).join("controller");
        fs::create_dir_all(&folder).expect("a folder");
        let log = Controller::open(&folder);
        Controller { folder, log, written: 0, rotated: 0 }
    }

    fn open(folder: &Path) -> File {
        File::options().create(true).append(true).open(folder.join("0.log")).expect("a log")
    }

    /// Writes access lines of some kinds.
    fn write(&mut self, lines: u64) {
        let mut text = String::new();
        for n in self.written..self.written + lines {
            let (status, host) = ([200, 404, 503][(n % 3) as usize], n % 7);
            text.push_str(&format!(
                "2026-11-21T02:26:02.000000000Z stdout F {{\"remote_address\": \"203.0.113.{}\", \"status\": {status}, \
                 \"method\": \"GET\", \"path\": \"/{n}\", \"host\": \"h{host}\", \"ingress_namespace\": \"shop\", \
                 \"ingress_name\": \"i{host}\", \"service_name\": \"s\\\"\\\\\", \"request_time\": 0.0{n}}}\n",
                n % 50
            ));
        }
        self.log.write_all(text.as_bytes()).expect("written");
        self.written += lines;
    }

    fn rotate(&mut self) {
        let name = format!("0.log.20261121-0226{:02}", self.rotated);
        fs::rename(self.folder.join("0.log"), self.folder.join(name)).expect("renamed");
        self.log = Controller::open(&self.folder);
        self.rotated += 1;
    }
}

/// Content types of answers, as a proxy saw them.
type Seen = Arc<Mutex<BTreeSet<String>>>;

/// Stands before the agent; with `accept`, every request asks for that. It ends with the test's process.
fn proxy(agent: SocketAddr, accept: Option<&'static str>) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if let Err(why) = pass_on(client, agent, accept, &noted) {
                noted.lock().expect("nobody panics with it").insert(format!("failed: {why}"));
            }
        }
    });
    (address, seen)
}

fn pass_on(mut client: TcpStream, agent: SocketAddr, accept: Option<&str>, seen: &Seen) -> Result<(), String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match client.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            // A connection that was kept for later and is not needed any more.
            _ if head.is_empty() => return Ok(()),
            _ => return Err("the head ends early".to_string()),
        }
    }
    let head = String::from_utf8(head).map_err(|error| error.to_string())?;
    let mut request = String::new();
    for line in head.trim_end().split("\r\n") {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        match (name.as_str(), accept) {
            ("connection", _) => {}
            ("accept", Some(accept)) => request.push_str(&format!("Accept: {accept}\r\n")),
            _ => request.push_str(&format!("{line}\r\n")),
        }
    }
    request.push_str("Connection: close\r\n\r\n");
    let answer = exchange(agent, request.as_bytes())?;
    let content_type = support::http::parse(&answer)?.header("content-type").unwrap_or("none").to_string();
    seen.lock().expect("nobody panics with it").insert(content_type);
    client.write_all(&answer).map_err(|error| error.to_string())
}

#[test]
fn prometheus_counts_every_line_in_each_format_over_rotations() {
    if !real_parts("Prometheus scraping a live agent") {
        return;
    }
    let root = TempDir::new().expect("a folder");
    let mut controller = Controller::new(root.path());
    let log_root = root.path().to_str().expect("ASCII");
    // Sums of values are asked for at once, so births are not held; `exact_over_kills` holds them.
    let config = fs::read_to_string(SHIPPED).expect("the shipped configuration") + "metrics: {birth_hold: 0}\n";
    let (file, state) = (root.path().join("weir.yaml"), TempDir::new().expect("a folder"));
    fs::write(&file, config).expect("a configuration");
    let state = state.path().to_str().expect("ASCII").to_string();
    let environment = [("WEIR_LOG_ROOT", log_root), ("WEIR_STATE", state.as_str())];
    let agent = Agent::start_with(&file, &["-config.expand-env"], &environment);
    let (negotiated, its_types) = proxy(agent.address, None);
    let (text, text_types) = proxy(agent.address, Some("text/plain;version=0.0.4"));
    let prometheus = Prometheus::start(&[("negotiated", negotiated), ("text", text)]);
    let jobs = ["negotiated", "text"];
    let requests = |job: &str| format!("sum(weir_http_requests_total{{job=\"{job}\"}})");

    for round in 1..=4 {
        controller.write(250 * round);
        if round < 4 {
            controller.rotate();
        }
        controller.write(7);
        prometheus.until(&requests("negotiated"), controller.written as f64);
    }
    // And a burst that nobody waits for between its rotations.
    for _ in 0..3 {
        controller.write(1000);
        controller.rotate();
    }
    controller.write(1);
    for job in jobs {
        prometheus.until(&requests(job), controller.written as f64);
        let thirds = controller.written.div_ceil(3) as f64;
        prometheus.until(&format!("sum(weir_http_requests_total{{job=\"{job}\",status=\"200\"}})"), thirds);
        prometheus.until(&format!("sum(weir_http_client_requests_total{{job=\"{job}\"}})"), controller.written as f64);
        let durations = format!("sum(weir_http_request_duration_seconds_bucket{{job=\"{job}\",le=\"+Inf\"}})");
        prometheus.until(&durations, controller.written as f64);
        prometheus.until(&format!("count(count by (service) (weir_http_requests_total{{job=\"{job}\"}}))"), 1.0);
        // No scrape failed, and no counter ever went back.
        prometheus.until(&format!("min_over_time(up{{job=\"{job}\"}}[5m])"), 1.0);
        prometheus.until(&format!("sum(resets(weir_http_requests_total{{job=\"{job}\"}}[5m]))"), 0.0);
    }
    let types = |seen: &Seen| seen.lock().expect("nobody panics with it").iter().cloned().collect::<Vec<_>>();
    assert_eq!(types(&its_types), ["application/openmetrics-text; version=1.0.0; charset=utf-8"]);
    assert_eq!(types(&text_types), ["text/plain; version=0.0.4; charset=utf-8"]);

    let metadata = prometheus.api("/api/v1/metadata?metric=weir_http_request_duration_seconds").expect("an answer");
    let kind = metadata.pointer("/data/weir_http_request_duration_seconds/0/type").and_then(|kind| kind.as_str());
    assert_eq!(kind, Some("histogram"), "{metadata}");
    agent.scrape().assert_balanced();
}
