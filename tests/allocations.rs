//! In its steady state the agent allocates nothing for a line: neither to read it nor to parse and count it.
//!
//! Each case writes the same lines to its logs again and again. The first passes make series, learn hosts and let
//! buffers grow; after them a pass of a thousand lines and one of three thousand must both cost nothing.

// An allocator is an unsafe trait; this one counts and hands everything on to the system's.
#![allow(unsafe_code)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support::corpus;
use support::kubelet::{D1_POD, D2_POD, DOCKER_ID, Node};
use support::shipped::{HOME_K8S, KUBERNETES, QUICKSTART, config, over};
use weir::app::Engine;
use weir::clock::ManualClock;
use weir::config::Config;
use weir::diagnostic::Diagnostics;
use weir::geoip::GeoIpSet;
use weir::labels::Labels;
use weir::metrics::Store;
use weir::pipeline::{Context, Origin, Output, Pipeline, Record};
use weir::sink::{ClientConfig, Collector, EntryLimits, Sealed};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// So many allocations more show where they are: `WEIR_ALLOCATIONS_SHOWN=3`.
    static SHOWN: Cell<u32> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
    let shown = SHOWN.replace(0);
    if shown > 0 {
        eprintln!("{}", Backtrace::force_capture());
        SHOWN.set(shown - 1);
    }
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a plain cell of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A key, and now and then room for more rows.
const ALLOCATIONS_OF_A_BIRTH: u64 = 8;

/// A log and the lines that are written to it in each pass.
type Log = (PathBuf, Vec<u8>);

/// An engine that follows some logs.
struct Following {
    engine: Engine,
    clock: Arc<ManualClock>,
    logs: Vec<(File, Vec<u8>)>,
}

impl Following {
    fn start(config: &Config, logs: Vec<Log>) -> Following {
        let clock = Arc::new(ManualClock::at(1_795_228_200_000_000_000));
        let mut engine = Engine::new(config, clock.clone());
        engine.check_geoip();
        if let Some(client) = config.active_clients().next() {
            engine.set_output(Box::new(Forwarder::new(client, &EntryLimits::default())));
        }
        let open = |(path, lines): Log| (File::options().append(true).open(path).expect("a log"), lines);
        let mut following = Following { engine, clock, logs: logs.into_iter().map(open).collect() };
        following.engine.refresh();
        following
    }

    /// Writes the lines this many times and reads them: the most that one turn cost, and the lines read by all jobs.
    fn pass(&mut self, times: usize) -> (u64, u64) {
        for (file, lines) in &mut self.logs {
            for _ in 0..times {
                file.write_all(lines).expect("room");
            }
        }
        let lines = self.lines();
        let mut most = 0;
        loop {
            // Every source is due.
            self.clock.advance(Duration::from_secs(3));
            let before = ALLOCATIONS.get();
            let more = self.engine.turn().more;
            most = most.max(ALLOCATIONS.get() - before);
            if !more {
                return (most, self.lines() - lines);
            }
        }
    }

    fn promoted(&mut self) -> u64 {
        self.engine.snapshot().stats().iter().map(|stats| stats.promoted).sum()
    }

    fn lines(&self) -> u64 {
        self.engine.books().iter().map(|books| books.read).sum()
    }
}

fn check(config: &Config, logs: Vec<Log>) {
    let mut following = Following::start(config, logs);
    let (first, lines) = following.pass(1);
    assert!(first > 10 && lines > 500, "{first} allocations for {lines} lines");
    following.pass(3);
    following.pass(1);
    // A look at a path costs some allocations, lines or not: where is it now, and is it the same file?
    let (look, none) = following.pass(0);
    assert!(none == 0 && look <= 4 * following.logs.len() as u64, "{look} allocations for {none} lines");
    SHOWN.set(std::env::var("WEIR_ALLOCATIONS_SHOWN").map_or(0, |shown| shown.parse().expect("a number")));
    for times in [1, 3] {
        let promoted = following.promoted();
        let (allocations, read) = following.pass(times);
        // A client that came so often past the cap that it gets a series of its own: the one thing that allocates.
        let births = ALLOCATIONS_OF_A_BIRTH * (following.promoted() - promoted);
        assert_eq!(read, times as u64 * lines);
        assert!(
            (look..=look + births).contains(&allocations),
            "{allocations} allocations in a turn; {look} for no line, and at most {births} for births"
        );
    }
    SHOWN.set(0);
    for books in following.engine.books() {
        assert!(books.balanced(), "{books}");
    }
}

fn country() -> PathBuf {
    corpus::excerpt("demo").join("country.mmdb")
}

/// The demo's two controllers with empty logs, and their lines.
fn demo() -> (Node, Vec<Log>) {
    let node = Node::new();
    let mut logs = Vec::new();
    for (pod, name) in [(D1_POD, "d1"), (D2_POD, "d2")] {
        node.log(pod, "0.log", b"");
        let lines = corpus::read(&corpus::excerpt("demo").join(format!("controller-{name}.cri.gz")));
        logs.push((node.pods().join(pod).join("controller/0.log"), lines));
    }
    (node, logs)
}

#[test]
fn the_shipped_configuration_allocates_nothing_per_cri_line() {
    let (node, logs) = demo();
    check(&over(KUBERNETES, &node.pods(), &country()), logs);
}

#[test]
fn the_shipped_configuration_allocates_nothing_per_line_of_docker() {
    let node = Node::new();
    let folder = node.path("containers").join(DOCKER_ID);
    fs::create_dir_all(&folder).expect("docker's folder");
    let log = folder.join(format!("{DOCKER_ID}-json.log"));
    fs::write(&log, "").expect("a log");
    node.link(D1_POD, &log);
    let read = |name: &str| corpus::read(&corpus::excerpt("docker").join(format!("{DOCKER_ID}-json.log{name}")));
    check(&over(KUBERNETES, &node.pods(), &country()), vec![(log, [read(".1.gz"), read("")].concat())]);
}

#[test]
fn the_shipped_configuration_allocates_nothing_per_line_in_the_text_format() {
    let node = Node::new();
    node.log(D2_POD, "0.log", b"");
    let lines = corpus::read(&corpus::excerpt("text").join("controller.cri.gz"));
    let logs = vec![(node.pods().join(D2_POD).join("controller/0.log"), lines)];
    check(&over(KUBERNETES, &node.pods(), &country()), logs);
}

#[test]
fn a_configuration_of_promtail_allocates_nothing_per_line() {
    let (node, logs) = demo();
    check(&over(HOME_K8S, &node.pods(), &corpus::excerpt("geoip").join("city.mmdb")), logs);
}

#[test]
fn the_quickstart_allocates_nothing_per_line() {
    let node = Node::new();
    let log = node.path("access.log");
    fs::write(&log, "").expect("a log");
    let lines = corpus::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/nginx-text-excerpt.log")));
    let name = log.to_str().expect("a path in UTF-8").to_owned();
    check(&config(QUICKSTART, &[("WEIR_LOG_FILE", &name)]), vec![(log, lines.repeat(10))]);
}

#[test]
fn templates_and_redaction_allocate_nothing_per_line() {
    let (node, mut logs) = demo();
    for (_, lines) in &mut logs {
        let some = lines.split_inclusive(|byte| *byte == b'\n').take(500).map(<[u8]>::len).sum();
        lines.truncate(some);
    }
    let text = format!(
        r##"
scrape_configs:
  - job_name: rewritten
    pod_directory_sd_configs: [{{root: "{}"}}]
    pipeline_stages:
      - cri: {{}}
      - json: {{expressions: {{path: , status: , request: , ip: remote_address}}}}
      - replace: {{expression: '"(GET|POST) (?P<uri>[^" ]*)', replace: '{{{{ .Value | ToLower | trunc 20 }}}}'}}
      - template: {{source: class, template: '{{{{ if ge (int .status) 500 }}}}bad{{{{ else }}}}{{{{ trunc 1 .status }}}}xx{{{{ end }}}}'}}
      - template: {{source: first, template: '{{{{ $parts := split "/" .path }}}}{{{{ $parts._1 | default "-" | printf "%5.3s" | quote }}}}'}}
      - template: {{source: ip, template: '{{{{ Sha2Hash "salt" .Value }}}}{{{{ Hash "salt" .Value }}}}{{{{ float64 .status }}}}{{{{ int "0x1f" }}}}'}}
      - template: {{source: uri, template: '{{{{ regexReplaceAll "[0-9]+" .Value "<$0>" }}}}{{{{ splitList "/" .Value | join "|" | b64enc }}}}'}}
      - redact: {{addresses: {{mode: hash, hash_key: 0123456789abcdef}}, labels: [filename], values: [uri, request]}}
      - redact: {{query: [page], addresses: {{}}}}
"##,
        node.pods().to_str().expect("a path in UTF-8")
    );
    check(&config(&text, &[]), logs);
}

#[test]
fn reading_a_file_allocates_nothing_per_line() {
    let node = Node::new();
    let log = node.path("plain.log");
    fs::write(&log, "").expect("a log");
    let text = format!(
        "scrape_configs:\n- job_name: plain\n  static_configs:\n  - labels: {{__path__: {}}}\n",
        log.to_str().expect("a path in UTF-8")
    );
    // Short lines, empty ones, and some longer than a piece of what is read at once.
    let lines = [b"a line\n".repeat(100_000), b"\n".repeat(1_000), b"0123456789".repeat(30_000), b"\nend\n".to_vec()];
    check(&config(&text, &[]), vec![(log, lines.concat())]);
}

/// Entries of some sources on their way into batches, whose buffers come back at once.
struct Forwarder {
    collector: Collector,
    now: Duration,
    batches: u64,
    taken: Vec<Sealed>,
}

impl Forwarder {
    fn new(client: &ClientConfig, limits: &EntryLimits) -> Forwarder {
        Forwarder { collector: Collector::new(client, limits), now: Duration::ZERO, batches: 0, taken: Vec::new() }
    }

    fn take(&mut self) {
        self.taken.extend(self.collector.sealed());
        for sealed in self.taken.drain(..) {
            self.batches += 1;
            self.collector.recycle(sealed.message);
        }
    }
}

impl Output for Forwarder {
    fn entry(&mut self, record: &Record<'_>, origin: Origin) {
        self.collector.entry(record, origin, self.now);
        self.take();
    }

    fn tick(&mut self, now: Duration) {
        self.now = now;
        self.collector.tick(now);
        self.take();
    }
}

#[test]
fn counting_and_forwarding_by_the_shipped_configuration_allocates_nothing_per_line() {
    let (node, logs) = demo();
    let (root, database) = (node.pods(), country());
    let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let config = config(
        KUBERNETES,
        &[
            ("WEIR_LOG_ROOT", &path(&root)),
            ("WEIR_GEOIP_DB", &path(&database)),
            ("LOKI_URL", "http://loki:3100/loki/api/v1/push"),
        ],
    );
    assert_eq!(config.active_clients().count(), 1);
    check(&config, logs);
}

#[test]
fn collecting_batches_allocates_nothing_per_line() {
    let config = config(
        "clients: [{url: http://loki, tenant_id: t, external_labels: {node: n1}, batchsize: 100000}]\n\
         scrape_configs:\n- job_name: j\n  static_configs: [{labels: {__path__: /x}}]\n  pipeline_stages: [{cri: {}}]\n",
        &[],
    );
    let (mut series, mut diagnostics) = (Store::new(), Diagnostics::new());
    let geoip = GeoIpSet::default();
    let stages = &config.scrape_configs[0].pipeline_stages;
    let mut pipeline = Pipeline::compile(stages, &mut series, &geoip, 10, &mut diagnostics).expect("a pipeline");
    let mut bind = |pod: usize| {
        let labels: Labels = [("pod", format!("pod-{pod}")), ("filename", "0.log".to_string())].into_iter().collect();
        pipeline.bind(&labels, &mut series)
    };
    let sources: Vec<_> = (0..20).map(&mut bind).collect();
    let limits = EntryLimits { line_bytes_max: 300, truncate: true, ..EntryLimits::default() };
    let mut output = Forwarder::new(&config.clients[0], &limits);
    let (mut hosts, mut lookups, mut rate) = (Default::default(), Default::default(), Default::default());
    let mut most = 0;
    for minute in 0..30 {
        // Twins of a coarse clock, bytes that are no UTF-8, lines that are too long; the time goes on.
        let line = |at: usize| {
            let time = format!("2026-11-21T02:{minute:02}:{:02}Z stdout F ", at / 100);
            let text = "0123456789".repeat(at % 41);
            [time.as_bytes(), text.as_bytes(), if at.is_multiple_of(9) { b"\xff" } else { b"" }].concat()
        };
        let lines: Vec<Vec<u8>> = (0..5_000).map(line).collect();
        if minute == 10 {
            SHOWN.set(std::env::var("WEIR_ALLOCATIONS_SHOWN").map_or(0, |shown| shown.parse().expect("a number")));
        }
        let before = ALLOCATIONS.get();
        for (at, line) in lines.iter().enumerate() {
            let mut context = Context {
                series: &mut series,
                now: 1,
                monotonic: output.now,
                rate: &mut rate,
                wall: 0,
                overdue: false,
                hosts: &mut hosts,
                geoip: &mut lookups,
            };
            pipeline.process(sources[at * 7 % 20], line, &mut context, &mut output);
            output.tick(output.now + Duration::from_millis(1));
        }
        if minute >= 10 {
            most = most.max(ALLOCATIONS.get() - before);
        }
    }
    assert!(output.batches > 200, "{} batches", output.batches);
    assert_eq!(most, 0, "allocations for 5000 lines");
}

#[test]
fn stages_that_hold_limit_and_rewrite_lines_allocate_nothing_per_line() {
    let node = Node::new();
    let log = node.path("traces.log");
    fs::write(&log, "").expect("a log");
    let text = format!(
        r"scrape_configs:
- job_name: traces
  static_configs: [{{labels: {{app: shop, __path__: {}}}}}]
  pipeline_stages:
  - decolorize: {{}}
  - regex: {{expression: '^(?P<level>[A-Z]+) '}}
  - multiline: {{firstline: '^[A-Z]+ '}}
  - labels: {{level: }}
  - structured_metadata: {{level: , where: app}}
  - limit: {{rate: 1000000, burst: 1000000, drop: true, by_label_name: filename}}
  - sampling: {{rate: 0.9}}
  - pack: {{labels: [app, level]}}
",
        log.to_str().expect("a path in UTF-8")
    );
    let trace = "\x1b[31mERROR it broke <here>\x1b[0m\n  at a\n  at b\n\nINFO fine\n".repeat(300);
    check(&config(&text, &[]), vec![(log, trace.into_bytes())]);
}
