//! The running agent: its pages, what it counts while files come, grow, rotate and go, reloads and its end.

mod support;

use rustix::process::Signal;
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::agent::{Agent, Page};
use support::mmdb::{Mmdb, map, text};
use support::process::{eventually, run};
use tempfile::TempDir;

const OPEN_METRICS: &str = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

/// Two jobs over one tree of pods; `web` counts by level, `all` counts lines. One metric has its name in both.
const PODS: &str = r#"
clients:
  - url: http://me:hunter2@loki.example/push
scrape_configs:
  - job_name: web
    pod_directory_sd_configs: [{root: FOLDER/pods, namespaces: {names: [shop]}}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
    pipeline_stages:
      - cri: {}
      - json: {expressions: {level: , who: }, drop_malformed: true}
      - metrics:
          levels_total: {type: Counter, prefix: t_, labels: {level: , pod: }, source: level, config: {action: inc}}
          both_total: {type: Counter, prefix: t_, labels: {}, config: {match_all: true, action: inc}}
          who_total: {type: Counter, prefix: t_, labels: {who: }, source: who, config: {action: inc}}
  - job_name: all
    pod_directory_sd_configs: [{root: FOLDER/pods}]
    pipeline_stages:
      - cri: {}
      - metrics:
          both_total: {type: Counter, prefix: t_, labels: {}, config: {match_all: true, action: inc}}
"#;

const WEB: &str = "shop_web-1_11111111-1111-4111-8111-111111111111";
const API: &str = "shop_api-1_22222222-2222-4222-8222-222222222222";

/// A folder with a configuration and a tree of pods.
struct Node {
    folder: TempDir,
}

impl Node {
    fn new() -> Node {
        let node = Node { folder: TempDir::new().expect("a folder") };
        fs::create_dir(node.path("pods")).expect("a folder");
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, config: &str) -> PathBuf {
        let path = self.path("weir.yaml");
        let folder = self.folder.path().to_str().expect("ASCII");
        fs::write(&path, config.replace("FOLDER", folder)).expect("written");
        path
    }

    /// The log of a pod's one container, opened as a runtime opens it.
    fn log(&self, pod: &str) -> File {
        append(&self.log_path(pod))
    }

    fn log_path(&self, pod: &str) -> PathBuf {
        self.path(&format!("pods/{pod}/app/0.log"))
    }
}

fn append(path: &Path) -> File {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    File::options().create(true).append(true).open(path).expect("opened")
}

/// Writes so many CRI lines, each with this content.
fn lines(file: &mut File, count: usize, content: &str) {
    let line = format!("2026-11-21T02:26:02.000000000Z stdout F {content}\n");
    file.write_all(line.repeat(count).as_bytes()).expect("written");
}

const INFO: &str = r#"{"level":"info"}"#;

#[test]
fn pages_answer_before_there_is_a_file_and_after() {
    let node = Node::new();
    let agent = Agent::start(&node.configure(PODS), &[]);
    let answer = agent.get("/ready");
    assert_eq!(answer.status, 500);
    assert!(answer.text().starts_with("Not ready: Unable to find any logs to tail."), "{}", answer.text());
    assert_eq!(agent.get("/-/healthy").status, 200);
    agent.scrape();
    assert_eq!(agent.get("/targets").status, 200);

    lines(&mut node.log(WEB), 3, INFO);
    eventually("ready", || match agent.get("/ready") {
        ready if ready.status == 200 && ready.text() == "Ready" => Ok(()),
        other => Err(other.text()),
    });
    let page = agent.until_read("web", 3);
    assert_eq!(page.exactly("weir_sources_active", &[("job", "web")]), Some(1.0));
    assert_eq!(page.get("weir_targets_active", &[]), 2.0, "one for each job");

    let targets = agent.get("/targets").text();
    assert!(targets.contains("web (1 of 1 ready)") && targets.contains(&format!("{WEB}/app/0.log")), "{targets}");
    assert!(targets.contains("<code>pod=&quot;web-1&quot;</code>") || targets.contains(r#"pod="web-1""#), "{targets}");
    let discovery = agent.get("/service-discovery").text();
    assert!(
        discovery.contains("__meta_kubernetes_pod_name") && discovery.contains("1 active, 0 dropped"),
        "{discovery}"
    );
    let root = agent.get("/");
    assert_eq!((root.status, root.header("location")), (303, Some("/targets")));
    assert_eq!(agent.get("/nowhere").status, 404);
    assert_eq!(agent.request("DELETE", "/metrics", &[]).status, 405);
}

#[test]
fn the_configuration_page_hides_secrets_and_escapes_html() {
    let node = Node::new();
    let agent = Agent::start(&node.configure(&format!("{PODS}      - labeldrop: ['<script>&']\n")), &[]);
    let page = agent.get("/config");
    assert_eq!(page.status, 200);
    let page = page.text();
    assert!(page.contains("url: http://&lt;secret&gt;@loki.example/push"), "{page}");
    assert!(page.contains("&lt;script&gt;&amp;") && !page.contains("<script>"), "{page}");
    assert!(!page.contains("hunter2"), "{page}");
    assert!(!agent.log().contains("hunter2"), "{}", agent.log());
}

#[test]
fn a_scrape_is_strictly_valid_in_each_format_packed_or_not_and_says_the_same() {
    let node = Node::new();
    lines(&mut node.log(WEB), 7, INFO);
    let agent = Agent::start(&node.configure(PODS), &[]);
    agent.until_read("web", 7);
    let ours = |page: &Page, name: &str| page.get(name, &[("level", "info"), ("pod", "web-1")]);
    for packed in ["Accept-Encoding: gzip", "Accept-Encoding: identity"] {
        let answer = agent.request("GET", "/metrics", &[packed]);
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(answer.header("content-encoding").is_some(), packed.contains("gzip"));
        let page = Page::of_text(&answer.body);
        assert_eq!(ours(&page, "t_levels_total"), 7.0, "{}", page.text);
        page.assert_balanced();

        let answer = agent.request("GET", "/metrics", &[OPEN_METRICS, packed]);
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert_eq!(answer.header("content-encoding").is_some(), packed.contains("gzip"));
        let page = Page::of_open_metrics(&answer.body);
        assert_eq!(ours(&page, "t_levels_total"), 7.0, "{}", page.text);
        page.assert_balanced();
    }
    // Prometheus 2.42 asks so; a person's browser otherwise.
    let accept = "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                  text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let answer = agent.request("GET", "/metrics", &[accept]);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    let answer = agent.request("GET", "/metrics", &["Accept: text/html,application/xhtml+xml,*/*;q=0.8"]);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
}

#[test]
fn every_line_is_counted_once_while_files_grow_rotate_come_and_go() {
    let node = Node::new();
    let mut web = node.log(WEB);
    lines(&mut web, 100, INFO);
    let agent = Agent::start(&node.configure(PODS), &[]);
    agent.until_read("web", 100);

    // Lines that come in two writes, and one that only a later piece completes.
    let line = format!("2026-11-21T02:26:02.000000000Z stdout F {INFO}\n");
    web.write_all(&line.as_bytes()[..30]).expect("written");
    web.write_all(&line.as_bytes()[30..]).expect("written");
    web.write_all(b"2026-11-21T02:26:02.000000000Z stdout P {\"level\":\n").expect("written");
    let page = agent.until_read("web", 102);
    assert_eq!(page.exactly("weir_lines_held", &[("job", "web")]), Some(1.0), "{}", page.text);
    page.assert_balanced();
    web.write_all(b"2026-11-21T02:26:02.000000000Z stdout F \"joined\"}\n").expect("written");
    let page = agent.until_read("web", 103);
    assert_eq!(page.get("t_levels_total", &[("level", "joined")]), 1.0, "{}", page.text);
    assert_eq!(page.exactly("weir_lines_joined_total", &[("job", "web")]), Some(1.0), "{}", page.text);

    // A rotation as the kubelet does it; the runtime still writes to the old file for a while.
    let log = node.log_path(WEB);
    fs::rename(&log, log.with_file_name("0.log.20261121-022602")).expect("renamed");
    let mut fresh = node.log(WEB);
    lines(&mut fresh, 10, INFO);
    lines(&mut web, 5, INFO);
    agent.until_read("web", 118);
    lines(&mut web, 2, INFO);
    agent.until_read("web", 120);

    // A second pod.
    let mut api = node.log(API);
    lines(&mut api, 20, INFO);
    let page = agent.until_read("web", 140);
    assert_eq!(page.get("t_levels_total", &[("pod", "api-1")]), 20.0, "{}", page.text);

    // It says its last words and is deleted at once.
    lines(&mut api, 50, INFO);
    fs::remove_dir_all(node.path(&format!("pods/{API}"))).expect("removed");
    agent.until_read("web", 190);
    let page = agent.until("one source left", |page| page.get("weir_sources_active", &[("job", "web")]) == 1.0);
    for (labels, value) in [
        (&[("level", "info"), ("pod", "web-1")][..], 118.0),
        (&[("level", "info"), ("pod", "api-1")], 70.0),
        (&[("level", "joined"), ("pod", "web-1")], 1.0),
    ] {
        assert_eq!(page.exactly("t_levels_total", labels), Some(value), "{labels:?}\n{}", page.text);
    }
    assert_eq!(page.exactly("weir_lines_read_total", &[("job", "web")]), Some(190.0), "{}", page.text);
    assert_eq!(page.exactly("weir_lines_read_total", &[("job", "all")]), Some(190.0), "{}", page.text);
    // 190 lines, two of which are the pieces of one: each of the two jobs counts under the one name.
    assert_eq!(page.exactly("t_both_total", &[]), Some(2.0 * 189.0), "{}", page.text);
    page.assert_balanced();
}

#[test]
fn no_bytes_in_a_line_break_a_scrape_or_the_books() {
    let node = Node::new();
    let mut web = node.log(WEB);
    let agent = Agent::start(&node.configure(PODS), &[]);
    let long = format!(r#"{{"level":"x","who":"{}"}}"#, "ä".repeat(200_000));
    let deep = format!(r#"{{"level":{}1"#, "[".repeat(50_000));
    let contents: &[&[u8]] = &[
        br#"{"level":"x","who":"a\"b\\c\nd\te"}"#,
        br#"{"level":"x","who":"\u0000\u001b[31m\u202e"}"#,
        br#"{"level":"x","who":"\ud800 \udc00"}"#,
        b"{\"level\":\"x\",\"who\":\"\xff\xfe\xc0\x80\xed\xa0\x80\"}",
        b"{\"level\":\"x\",\"who\":\"a\0b\"}",
        br#"{"level":"x","who":"} 5\n# EOF\n# TYPE t_who_total gauge\n"}"#,
        br#"{"level":"x","who":["a",{"b":"}"}]}"#,
        br#"{"level":"x","who":"__other__"}"#,
        long.as_bytes(),
        deep.as_bytes(),
        b"",
        b"\0\0\0",
        b"\xff",
    ];
    let mut count = 0;
    for content in contents {
        web.write_all(b"2026-11-21T02:26:02.000000000Z stdout F ").expect("written");
        web.write_all(content).expect("written");
        web.write_all(b"\n").expect("written");
        count += 1;
    }
    // Lines that are no CRI at all.
    for raw in [&b"\n"[..], b"\xff\xff \xff\n", b"2026-11-21T02:26:02Z stdout X y\n", b"a b c d\n"] {
        web.write_all(raw).expect("written");
        count += 1;
    }
    let page = agent.until_read("web", count);
    page.assert_balanced();
    assert_eq!(page.exactly("weir_lines_cut_total", &[("job", "web")]), Some(1.0), "{}", page.text.len());
    let whos: Vec<&str> = page.series("t_who_total", &[]).map(|(labels, _)| labels[0].1.as_str()).collect();
    for who in ["a\"b\\c\nd\te", "\0\u{1b}[31m\u{202e}", "} 5\n# EOF\n# TYPE t_who_total gauge\n"] {
        assert!(whos.contains(&who), "{who:?} in {whos:?}");
    }
    let answer = agent.request("GET", "/metrics", &[OPEN_METRICS]);
    let page = Page::of_open_metrics(&answer.body);
    // A bare control character in a string is no JSON; a line that was cut is none any more.
    assert_eq!(page.get("t_levels_total", &[("level", "x")]), 7.0, "{:?}", page.families);
}

/// One file, two metrics; `BUCKETS` are those of the second one.
const RELOADED: &str = r#"
scrape_configs:
  - job_name: app
    static_configs: [{labels: {__path__: FOLDER/app.log}}]
    pipeline_stages:
      - regex: {expression: 'n=(?P<n>\d+)'}
      - metrics:
          lines_total: {type: Counter, prefix: t_, labels: {}, config: {match_all: true, action: inc}}
          sizes: {type: Histogram, prefix: t_, labels: {}, source: n, config: {buckets: [BUCKETS]}}
"#;

/// The counter, and the count of the histogram.
fn counts(page: &Page) -> (f64, f64) {
    (page.get("t_lines_total", &[]), page.get("t_sizes_count", &[]))
}

#[test]
fn a_reload_keeps_what_is_unchanged_and_a_bad_file_changes_nothing() {
    let node = Node::new();
    let mut log = append(&node.path("app.log"));
    let config = node.configure(&RELOADED.replace("BUCKETS", "1, 2"));
    let agent = Agent::start(&config, &[]);
    let write = |log: &mut File, count: usize| log.write_all("n=1\n".repeat(count).as_bytes()).expect("written");
    write(&mut log, 10);
    assert_eq!(counts(&agent.until_read("app", 10)), (10.0, 10.0));
    let loaded_at = |page: &Page| page.get("weir_config_last_reload_success_timestamp_seconds", &[]);
    let first = loaded_at(&agent.scrape());

    node.configure(&RELOADED.replace("BUCKETS", "1, 2, 3"));
    agent.process.signal(Signal::HUP);
    let page = agent.until("a reload", |page| page.get("promtail_config_reload_success_total", &[]) == 1.0);
    assert_eq!(counts(&page), (10.0, 0.0), "unchanged series go on, changed ones begin anew\n{}", page.text);
    assert!(loaded_at(&page) > first, "{}", page.text);
    write(&mut log, 5);
    let page = agent.until_read("app", 15);
    assert_eq!(counts(&page), (15.0, 5.0), "no line is read twice\n{}", page.text);
    page.assert_balanced();
    assert_eq!(page.get("t_sizes_bucket", &[("le", "3")]), 5.0, "{}", page.text);

    node.configure(&RELOADED.replace("BUCKETS", "1, 2").replace("regex:", "regexp:"));
    agent.process.signal(Signal::HUP);
    let page = agent.until("a failed reload", |page| page.get("promtail_config_reload_fail_total", &[]) == 1.0);
    assert_eq!(page.exactly("weir_config_last_reload_successful", &[]), Some(0.0), "{}", page.text);
    assert!(agent.log().contains("configuration not reloaded; the old one stays"), "{}", agent.log());
    assert!(agent.log().contains("regexp"), "the log says why: {}", agent.log());
    write(&mut log, 5);
    assert_eq!(counts(&agent.until_read("app", 20)), (20.0, 10.0));

    fs::remove_file(&config).expect("removed");
    agent.process.signal(Signal::HUP);
    agent.until("a failed reload", |page| page.get("promtail_config_reload_fail_total", &[]) == 2.0);
    node.configure(&RELOADED.replace("BUCKETS", "1, 2, 3"));
    agent.process.signal(Signal::HUP);
    let page = agent.until("a reload", |page| page.get("promtail_config_reload_success_total", &[]) == 2.0);
    assert_eq!(page.exactly("weir_config_last_reload_successful", &[]), Some(1.0), "{}", page.text);
    assert_eq!(counts(&page), (20.0, 10.0), "{}", page.text);
}

#[test]
fn a_reload_over_http_is_there_only_where_it_was_enabled() {
    let node = Node::new();
    let config = node.configure(&RELOADED.replace("BUCKETS", "1, 2"));
    let closed = Agent::start(&config, &[]);
    for method in ["POST", "GET"] {
        assert_eq!(closed.request(method, "/-/reload", &[]).status, 404);
    }
    let open = Agent::start(&config, &["-server.enable-runtime-reload"]);
    assert_eq!(open.request("POST", "/-/reload", &[]).status, 200);
    node.configure("nonsense: 1\n");
    let answer = open.request("POST", "/-/reload", &[]);
    assert_eq!(answer.status, 500);
    let text = answer.text();
    assert!(text.starts_with("failed to reload config: ") && text.contains("nonsense"), "{text}");
    let page = open.scrape();
    assert_eq!(page.get("promtail_config_reload_success_total", &[]), 1.0);
    assert_eq!(page.get("promtail_config_reload_fail_total", &[]), 1.0);
    assert_eq!(page.get("weir_config_last_reload_successful", &[]), 0.0);
    assert_eq!(closed.scrape().get("promtail_config_reload_success_total", &[]), 0.0);
}

/// With nowhere to send to, and with a Loki that is not there, which it waits for no longer than it is told.
#[test]
fn a_signal_ends_it_with_0_and_at_once() {
    let alone = PODS.replace("clients:\n  - url: http://me:hunter2@loki.example/push\n", "");
    assert_ne!(alone, PODS);
    let waiting = format!("delivery: {{shutdown_grace: 100ms}}\n{PODS}");
    for (signal, config) in [Signal::TERM, Signal::INT].into_iter().flat_map(|s| [(s, &alone), (s, &waiting)]) {
        let node = Node::new();
        lines(&mut node.log(WEB), 1000, INFO);
        let mut agent = Agent::start(&node.configure(config), &[]);
        agent.until_read("web", 1000);
        // A client that says nothing keeps it no longer.
        let _silent = std::net::TcpStream::connect(agent.address).expect("connected");
        let started = Instant::now();
        agent.process.signal(signal);
        assert_eq!(agent.process.wait(), Some(0), "{}", agent.log());
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
}

#[test]
fn a_port_that_is_taken_is_told_and_ends_it_with_1() {
    let node = Node::new();
    let config = node.configure(PODS);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let end = run(&[
        "-config.file",
        config.to_str().expect("ASCII"),
        "-server.http-listen-address=127.0.0.1",
        "-server.http-listen-port",
        &port,
    ]);
    end.assert_code(1);
    assert!(end.stderr.contains(&format!("weir: cannot listen on 127.0.0.1:{port}: ")), "{}", end.stderr);
}

/// It reloads by itself, whichever way the file changes; the environment is the one that it started with.
#[test]
fn a_changed_file_is_taken_up_by_itself_and_a_bad_one_is_told_once() {
    let node = Node::new();
    let mut log = append(&node.path("app.log"));
    let with = |buckets: &str| {
        let folder = node.path("").display().to_string();
        RELOADED.replace("BUCKETS", buckets).replace("FOLDER/", &folder)
    };
    let config = node.path("weir.yaml");
    fs::write(&config, with("1, ${TOP}")).expect("written");
    let flags = ["-config.auto-reload-interval=100ms", "-config.expand-env"];
    let agent = Agent::start_with(&config, &flags, &[("TOP", "7")]);
    let mut write = |count: usize| log.write_all("n=1\n".repeat(count).as_bytes()).expect("written");
    write(10);
    let page = agent.until_read("app", 10);
    assert_eq!((counts(&page), page.get("t_sizes_bucket", &[("le", "7")])), ((10.0, 10.0), 10.0), "{}", page.text);
    let reloads = |page: &Page| page.get("promtail_config_reload_success_total", &[]);
    let failures = |page: &Page| page.get("promtail_config_reload_fail_total", &[]);
    let successful = |page: &Page| page.get("weir_config_last_reload_successful", &[]);

    fs::write(&config, with("2, ${TOP}")).expect("written");
    agent.until("a reload of a file written in place", |page| reloads(page) == 1.0);
    fs::write(node.path("new"), with("3, ${TOP}")).expect("written");
    fs::rename(node.path("new"), &config).expect("renamed");
    agent.until("a reload of a renamed file", |page| reloads(page) == 2.0);
    write(5);
    let page = agent.until_read("app", 15);
    assert_eq!((counts(&page), page.get("t_sizes_bucket", &[("le", "7")])), ((15.0, 5.0), 5.0), "{}", page.text);

    fs::write(&config, with("3, ${TOP}").replace("regex:", "regexp:")).expect("written");
    let page = agent.until("a failed reload", |page| failures(page) == 1.0);
    assert_eq!(successful(&page), 0.0, "{}", page.text);
    write(5);
    let page = agent.until_read("app", 20);
    assert_eq!((counts(&page), successful(&page)), ((20.0, 10.0), 0.0), "the old one goes on\n{}", page.text);
    fs::write(&config, with("3, ${TOP}")).expect("written");
    let page = agent.until("a reload of the one before", |page| reloads(page) == 3.0);
    assert_eq!((counts(&page), successful(&page)), ((20.0, 10.0), 1.0), "{}", page.text);
    assert_eq!(failures(&page), 1.0, "{}", page.text);
    assert_eq!(agent.log().matches("configuration not reloaded").count(), 1, "{}", agent.log());

    // Not everything is followed, which the log says.
    fs::write(&config, format!("{}\nserver: {{http_server_idle_timeout: 7s}}\n", with("3, ${TOP}"))).expect("written");
    agent.until("a reload", |page| reloads(page) == 4.0);
    let log = agent.log();
    assert_eq!(log.matches("counts from the next start on").count(), 1, "{log}");
    assert!(log.contains("key=server"), "{log}");
}

const COUNTRIES: &str = r#"
scrape_configs:
  - job_name: app
    static_configs: [{labels: {__path__: FOLDER/app.log}}]
    pipeline_stages:
      - regex: {expression: '(?P<ip>\S+)'}
      - geoip: {db: FOLDER/country.mmdb, db_type: country, source: ip}
      - metrics:
          requests_total: {type: Counter, prefix: t_, labels: {country: geoip_country_code}, config: {match_all: true, action: inc}}
"#;

fn country(code: &str) -> Vec<u8> {
    let record = map([("country", map([("iso_code", text(code))]))]);
    Mmdb::new("GeoLite2-Country").insert("81.2.69.0/24", record).bytes()
}

#[test]
fn a_geoip_database_may_come_later_and_a_bad_one_replaces_nothing() {
    let node = Node::new();
    let mut log = append(&node.path("app.log"));
    let mut lines = |count: usize| log.write_all("81.2.69.160\n".repeat(count).as_bytes()).expect("written");
    let database = node.path("country.mmdb");
    let replace = |bytes: &[u8]| {
        let half = node.path("half");
        fs::write(&half, bytes).expect("written");
        fs::rename(&half, &database).expect("renamed");
    };
    let agent = Agent::start(&node.configure(COUNTRIES), &[]);
    let loaded = |page: &Page| page.get("weir_geoip_database_loaded", &[]);
    let of = |page: &Page, code: &str| page.get("t_requests_total", &[("country", code)]);

    lines(3);
    let page = agent.until_read("app", 3);
    assert_eq!((loaded(&page), page.exactly("t_requests_total", &[])), (0.0, Some(3.0)), "{}", page.text);
    assert!(agent.log().contains("no GeoIP database"), "{}", agent.log());

    replace(&country("GB"));
    agent.until("the database", |page| loaded(page) == 1.0);
    lines(4);
    let page = agent.until_read("app", 7);
    assert_eq!((of(&page, "GB"), page.exactly("t_requests_total", &[])), (4.0, Some(3.0)), "{}", page.text);

    replace(b"no database at all");
    let failures = |page: &Page| page.get("weir_geoip_reloads_total", &[("result", "failure")]);
    agent.until("a refused database", |page| failures(page) == 1.0);
    lines(5);
    let page = agent.until_read("app", 12);
    assert_eq!((of(&page, "GB"), loaded(&page)), (9.0, 1.0), "the old one stays in use\n{}", page.text);
    assert!(agent.log().contains("GeoIP database refused"), "{}", agent.log());

    replace(&country("NL"));
    agent.until("the next database", |page| page.get("weir_geoip_reloads_total", &[("result", "success")]) == 2.0);
    lines(6);
    let page = agent.until_read("app", 18);
    assert_eq!((of(&page, "GB"), of(&page, "NL")), (9.0, 6.0), "{}", page.text);
}
