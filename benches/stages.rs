//! What the parts of a line's way cost: `cargo bench --bench stages`. Decoders alone, then stages, each in a pipeline behind
//! those that it needs; of these the time of the pipeline without it is taken off.
//!
//! Lines are warm in the cache. Medians of `WEIR_ROUNDS` (31) rounds over 2,000 lines, all parts in turns.

mod support;

use std::hint::black_box;
use std::time::Duration;
use support::database;
use support::lines::{Format, Lines};
use support::measure::{median, number, thread_time};
use weir::clock::UnixNanos;
use weir::decode::json::{Field, Mode, Picker};
use weir::decode::time_layout::parse_rfc3339_nanos;
use weir::decode::{cri, docker, modsecurity, nginx};
use weir::diagnostic::Diagnostics;
use weir::geoip::{GeoIpSet, LookupCounts};
use weir::labels::Labels;
use weir::metrics::Store;
use weir::pipeline::stage::read_stages;
use weir::pipeline::{BindingId, Context, IngressHosts, LineRate, Pipeline};
use weir::sink::wire;
use weir::yaml;

const LINES: usize = 2_000;
/// What is measured, by its name: all lines once.
type Part = (&'static str, Box<dyn FnMut()>);

/// What the Promtail configuration asks for.
const FIELDS: [&str; 4] = ["remote_address", "ingress_namespace", "status", "path"];
/// Stages behind others: name, those before, and the stage itself, in YAML's short form.
const STAGES: [(&str, &str, &str, Format); 14] = [
    ("pipeline with no stage", "", "", Format::Json),
    ("cri", "", "{cri: {}}", Format::Json),
    ("docker", "", "{docker: {}}", Format::Docker),
    ("container (cri)", "", "{container: {}}", Format::Json),
    ("container (docker)", "", "{container: {}}", Format::Docker),
    ("ingress_nginx (JSON)", "{cri: {}}", "{ingress_nginx: {}}", Format::Json),
    ("ingress_nginx (text)", "{cri: {}}", "{ingress_nginx: {}}", Format::Text),
    (
        "json, 4 keys",
        "{cri: {}}",
        "{json: {expressions: {ip: remote_address, ns: ingress_namespace, s: status, p: path}}}",
        Format::Json,
    ),
    (
        "geoip",
        "{cri: {}}, {ingress_nginx: {}}",
        "{geoip: {db: DATABASE, db_type: country, source: client_ip}}",
        Format::Json,
    ),
    (
        "metrics: a counter, 2 labels",
        "{cri: {}}, {ingress_nginx: {}}",
        "{metrics: {c_total: {type: Counter, labels: {namespace: , ingress: }, source: status, config: {action: inc}}}}",
        Format::Json,
    ),
    (
        "metrics: a histogram, 2 labels",
        "{cri: {}}, {ingress_nginx: {}}",
        "{metrics: {d: {type: Histogram, labels: {namespace: , ingress: }, source: duration, config: {buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]}}}}",
        Format::Json,
    ),
    (
        "metrics: a counter by address",
        "{cri: {}}, {ingress_nginx: {}}",
        "{metrics: {a_total: {type: Counter, max_series: 100000, labels: {client_ip: }, source: status, config: {action: inc}}}}",
        Format::Json,
    ),
    (
        "regex, 3 groups",
        "{cri: {}}",
        "{regex: {expression: '\"status\": (?P<s>\\d+).*\"method\": \"(?P<m>\\w+)\".*\"ingress_name\": \"(?P<i>[^\"]*)\"'}}",
        Format::Json,
    ),
    ("match", "{cri: {}}", "{match: {selector: '{stream=\"none\"}', stages: [{decolorize: {}}]}}", Format::Json),
];

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let country = folder.path().join("country.mmdb");
    std::fs::write(&country, database::country()).expect("a database");
    let mut parts: Vec<Part> = decoders();
    let alone = parts.len();
    for (name, before, stage, format) in STAGES {
        let text = |stages: &str| format!("[{stages}]").replace("DATABASE", country.to_str().expect("UTF-8"));
        let with = if before.is_empty() { stage.to_owned() } else { format!("{before}, {stage}") };
        parts.push((name, pipeline(&text(before), format)));
        parts.push((name, pipeline(&text(&with), format)));
    }
    let rounds = number("WEIR_ROUNDS", 31);
    let mut times = vec![Vec::new(); parts.len()];
    for round in 0..rounds + 2 {
        for (times, (_, part)) in times.iter_mut().zip(&mut parts) {
            let began = thread_time();
            part();
            if round >= 2 {
                times.push((thread_time() - began).as_nanos() as f64 / LINES as f64);
            }
        }
    }
    println!("| decoder | ns/line |\n|---|---|");
    for (times, (name, _)) in times.iter().zip(&parts).take(alone) {
        println!("| {name} | {:.0} |", median(times.iter().copied()));
    }
    println!("\n| stage | ns/line | pipeline with it |\n|---|---|---|");
    for (pair, name) in times[alone..].chunks(2).zip(STAGES.iter().map(|stage| stage.0)) {
        let more = median(pair[0].iter().zip(&pair[1]).map(|(without, with)| with - without));
        println!("| {name} | {more:.0} | {:.0} |", median(pair[1].iter().copied()));
    }
}

fn decoders() -> Vec<Part> {
    let (json, text, of_docker) = (lines(Format::Json), lines(Format::Text), lines(Format::Docker));
    let content = |lines: &[Vec<u8>], stream: &str| -> Vec<Vec<u8>> {
        let of = |line: &Vec<u8>| cri::parse(line).filter(|l| l.stream.as_str() == stream).map(|l| l.content.to_vec());
        let some: Vec<Vec<u8>> = lines.iter().filter_map(of).collect();
        some.iter().cycle().take(LINES).cloned().collect()
    };
    let (access, in_text, waf) = (content(&json, "stdout"), content(&text, "stdout"), content(&json, "stderr"));
    let times: Vec<Vec<u8>> =
        json.iter().filter_map(|line| line.split(|b| *b == b' ').next().map(<[u8]>::to_vec)).collect();
    let picker = Picker::new(&FIELDS.map(|name| vec![name.to_owned()]));
    let messages: Vec<Vec<u8>> = json.chunks(1_000).map(<[Vec<u8>]>::concat).collect();
    vec![
        ("CRI", each(json, |line| _ = black_box(cri::parse(line)))),
        ("docker", each(of_docker, |line| _ = black_box(docker::parse(line)))),
        ("RFC 3339", each(times, |line| _ = black_box::<Option<UnixNanos>>(parse_rfc3339_nanos(line)))),
        (
            "JSON, 4 of 25 keys",
            each(access, move |line| {
                let mut fields = [Field::Missing; FIELDS.len()];
                let _ = black_box(picker.pick(line, Mode::Strict, &mut fields));
                black_box(&fields);
            }),
        ),
        ("nginx' text", each(in_text, |line| _ = black_box(nginx::parse_upstreaminfo(line)))),
        ("ModSecurity", each(waf, |line| _ = black_box(modsecurity::parse(line)))),
        ("snappy, per line of a batch", each(messages, |message| _ = black_box(wire::pack(message)))),
    ]
}

fn each(lines: Vec<Vec<u8>>, mut work: impl FnMut(&[u8]) + 'static) -> Box<dyn FnMut()> {
    Box::new(move || lines.iter().for_each(|line| work(black_box(line))))
}

fn lines(format: Format) -> Vec<Vec<u8>> {
    let mut lines = Lines::new(format, 3);
    let mut line = || {
        let mut line = Vec::new();
        lines.append(&mut line);
        line.pop();
        line
    };
    (0..LINES).map(|_| line()).collect()
}

fn pipeline(stages: &str, format: Format) -> Box<dyn FnMut()> {
    let (mut series, mut d, geoip) = (Store::new(), Diagnostics::new(), GeoIpSet::default());
    let stages = read_stages(&yaml::parse(stages, &mut d).expect("YAML"), &mut d);
    let mut pipeline = Pipeline::compile(&stages, &mut series, &geoip, 1, &mut d)
        .unwrap_or_else(|| panic!("{stages:?}: {:?}", d.sorted()));
    geoip.check();
    let labels: Labels = [("namespace", "ingress-nginx"), ("filename", "0.log")].into_iter().collect();
    let source: BindingId = pipeline.bind(&labels, &mut series);
    let (mut hosts, mut lookups, mut rate) = (IngressHosts::default(), LookupCounts::default(), LineRate::default());
    each(lines(format), move |line| {
        let mut context = Context {
            series: &mut series,
            now: 1,
            monotonic: Duration::ZERO,
            rate: &mut rate,
            wall: 0,
            overdue: false,
            hosts: &mut hosts,
            geoip: &mut lookups,
        };
        pipeline.process(source, line, &mut context, &mut ());
    })
}
