//! What it costs to turn lines into batches: `cargo bench --bench collector`.
//!
//! CRI lines of 700 bytes over 100 streams go through a pipeline, with and without a collector behind it, in turns; the
//! difference is the collector's. Compressing is measured apart: it happens on another thread.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use weir::diagnostic::Diagnostics;
use weir::geoip::{GeoIpSet, LookupCounts};
use weir::labels::Labels;
use weir::metrics::Store;
use weir::pipeline::stage::read_stages;
use weir::pipeline::{BindingId, Context, IngressHosts, LineRate, Origin, Output, Pipeline, Record};
use weir::sink::{ClientConfig, Collector, EntryLimits, Sealed, wire};
use weir::yaml::{self, FromNode};

const STREAMS: usize = 100;
const LINE_BYTES: usize = 700;
/// As many as are warm in the cache, as they are when they have just been read.
const LINES: usize = 2_000;
const ROUNDS: usize = 300;

struct Forwarder {
    collector: Collector,
    now: Duration,
}

impl Output for Forwarder {
    fn entry(&mut self, record: &Record<'_>, origin: Origin) {
        self.collector.entry(record, origin, self.now);
    }
}

/// A pipeline with its sources.
struct Bench {
    series: Store,
    pipeline: Pipeline,
    sources: Vec<BindingId>,
    hosts: IngressHosts,
    lookups: LookupCounts,
    rate: LineRate,
}

impl Bench {
    fn new() -> Self {
        let (mut series, mut d) = (Store::new(), Diagnostics::new());
        let stages = read_stages(&yaml::parse("[{cri: {}}]", &mut d).expect("YAML"), &mut d);
        let mut pipeline =
            Pipeline::compile(&stages, &mut series, &GeoIpSet::default(), 1, &mut d).expect("a pipeline");
        let sources = (0..STREAMS).map(|at| pipeline.bind(&labels(at), &mut series)).collect();
        let (hosts, lookups, rate) = Default::default();
        Bench { series, pipeline, sources, hosts, lookups, rate }
    }

    fn line(&mut self, source: usize, line: &[u8], output: &mut dyn Output) {
        let mut context = Context {
            series: &mut self.series,
            now: 1,
            monotonic: Duration::ZERO,
            rate: &mut self.rate,
            wall: 0,
            overdue: false,
            hosts: &mut self.hosts,
            geoip: &mut self.lookups,
        };
        self.pipeline.process(self.sources[source], line, &mut context, output);
    }
}

/// What a pod's lines have in the shipped configuration.
fn labels(at: usize) -> Labels {
    let pod = format!("shop-6f7d8c9b5d-{at:05}");
    let file = format!("/var/log/pods/shop_{pod}_47e79a59-bda9-4fe7-a926-36174dbccb57/app/0.log");
    let labels = [("namespace", "shop"), ("pod", &pod), ("container", "app"), ("node", "n1"), ("filename", &file)];
    labels.into_iter().collect()
}

/// Lines of one round: a source and its bytes. A source is read some lines at a time.
fn lines(round: usize) -> Vec<(usize, Vec<u8>)> {
    let line = |at: usize| {
        let nanos = (round * LINES + at) * 1_237;
        let (second, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        let head = format!("2026-11-21T02:25:{second:02}.{fraction:09}Z stdout F ");
        let mut text = format!(r#"{head}{{"status":"200","request":"GET /item/{at} HTTP/1.1","agent":""#);
        while text.len() < LINE_BYTES {
            text.push_str(["Mozilla", "/5.0 (X11; ", "Linux x86_64) ", "Gecko "][text.len() % 4]);
        }
        text.truncate(LINE_BYTES);
        (at / 20 * 7 % STREAMS, text.into_bytes())
    };
    (0..LINES).map(line).collect()
}

/// Of this thread: others do not count.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn main() {
    let mut d = Diagnostics::new();
    let client = yaml::parse("{url: http://loki, external_labels: {cluster: c1}}", &mut d).expect("YAML");
    let client = ClientConfig::from_node(&client, &mut d).expect("a client");
    let (mut plain, mut forwarding) = (Bench::new(), Bench::new());
    let collector = Collector::new(&client, &EntryLimits::default());
    let mut forwarder = Forwarder { collector, now: Duration::ZERO };
    let mut sealed: Vec<Sealed> = Vec::new();
    let mut rounds: Vec<[f64; 3]> = Vec::new();
    for round in 0..ROUNDS {
        let lines = lines(round);
        let began = cpu_time();
        lines.iter().for_each(|(source, line)| plain.line(*source, line, &mut ()));
        let without = cpu_time() - began;
        let began = cpu_time();
        for (source, line) in &lines {
            forwarding.line(*source, line, &mut forwarder);
            sealed.extend(forwarder.collector.sealed());
            sealed.drain(..).for_each(|sealed| forwarder.collector.recycle(sealed.message));
        }
        let with = cpu_time() - began;
        lines.iter().for_each(|(source, line)| forwarding.line(*source, line, &mut forwarder));
        forwarder.collector.seal();
        sealed.extend(forwarder.collector.sealed());
        let began = cpu_time();
        let packed: usize = sealed.iter().map(|sealed| wire::pack(&sealed.message).len()).sum();
        let packing = cpu_time() - began;
        assert!(packed > 0 && sealed.iter().map(|sealed| sealed.lines).sum::<u64>() >= LINES as u64);
        sealed.drain(..).for_each(|sealed| forwarder.collector.recycle(sealed.message));
        rounds.push([without, with, packing].map(|time| time.as_nanos() as f64 / LINES as f64));
    }
    let median = |value: fn(&[f64; 3]) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "{LINES} CRI lines of {LINE_BYTES} bytes over {STREAMS} streams, medians of {ROUNDS} rounds, ns per line:"
    );
    println!(
        "pipeline {:.0}, collector {:.0}, snappy {:.0}",
        median(|r| r[0]),
        median(|r| r[1] - r[0]),
        median(|r| r[2])
    );
}
