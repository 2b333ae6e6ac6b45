//! Pieces of many sources and streams, in any order: each line comes out once and whole, and the books balance.

use super::super::stage::read_stages;
use super::super::{BindingId, IngressHosts, LineRate, Origin, Output, Pipeline};
use super::*;
use crate::diagnostic::Diagnostics;
use crate::geoip::{GeoIpSet, LookupCounts};
use crate::labels::Labels;
use crate::metrics::Store;
use crate::yaml;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// A pipeline at work, with what came out of it: source, stream and line.
struct Bench {
    pipeline: Pipeline,
    series: Store,
    hosts: IngressHosts,
    lookups: LookupCounts,
    out: Entries,
}

#[derive(Default)]
struct Entries(Vec<(String, String, String)>);

impl Output for Entries {
    fn entry(&mut self, record: &Record<'_>, _origin: Origin) {
        let label = |name: &str| {
            let found = record.labels().find(|(known, _)| *known == name);
            found.map_or(String::new(), |(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        self.0.push((label("source"), label("stream"), String::from_utf8_lossy(record.line()).into_owned()));
    }
}

impl Bench {
    fn new(stages: &str) -> Self {
        let (mut series, mut d) = (Store::new(), Diagnostics::new());
        let configs = read_stages(&yaml::parse(stages, &mut d).expect("YAML"), &mut d);
        let pipeline = Pipeline::compile(&configs, &mut series, &GeoIpSet::default(), 100, &mut d).expect("a pipeline");
        Bench {
            pipeline,
            series,
            hosts: IngressHosts::default(),
            lookups: LookupCounts::default(),
            out: Entries::default(),
        }
    }

    fn bind(&mut self, source: usize) -> BindingId {
        let labels: Labels = [("source", source.to_string())].into_iter().collect();
        self.pipeline.bind(&labels, &mut self.series)
    }

    fn with(&mut self, run: impl FnOnce(&mut Pipeline, &mut Context<'_>, &mut dyn Output)) {
        let mut context = Context {
            series: &mut self.series,
            now: 1,
            monotonic: Duration::ZERO,
            wall: 0,
            overdue: false,
            hosts: &mut self.hosts,
            geoip: &mut self.lookups,
            rate: &mut LineRate::default(),
        };
        run(&mut self.pipeline, &mut context, &mut self.out);
        let counts = self.pipeline.counts();
        let sum = counts.counted + counts.joined + counts.refused_total() + self.pipeline.held();
        assert_eq!(counts.read, sum, "{counts:?}, held {}", self.pipeline.held());
    }

    fn line(&mut self, id: BindingId, line: &str) {
        self.with(|pipeline, context, output| pipeline.process(id, line.as_bytes(), context, output));
    }

    fn end(&mut self, id: BindingId) {
        self.with(|pipeline, context, output| pipeline.unbind(id, context, output));
    }
}

fn cri(stream: &str, flag: &str, text: &str) -> String {
    format!("2026-11-21T02:25:35.001526116Z {stream} {flag} {text}")
}

fn docker(stream: &str, text: &str) -> String {
    format!(r#"{{"log":"{text}","stream":"{stream}","time":"2026-11-21T02:25:35.001526116Z"}}"#)
}

#[test]
fn joined_lines_that_are_held_again_stay_in_the_books() {
    let mut bench = Bench::new("[{cri: {}}, {docker: {}}]");
    let id = bench.bind(0);
    let whole = docker("stdout", "x");
    for piece in [&whole[..20], &whole[20..40]] {
        bench.line(id, &cri("stdout", "P", piece));
    }
    bench.line(id, &cri("stdout", "F", &whole[40..]));
    assert_eq!(bench.pipeline.held(), 3);
    bench.line(id, &cri("stdout", "F", &docker("stdout", "y\\n")));
    assert_eq!((bench.pipeline.held(), bench.pipeline.counts().joined), (0, 3));
    assert_eq!(bench.out.0[0].2, "xy\n");
}

#[test]
fn streams_that_docker_does_not_know_are_not_joined() {
    let mut bench = Bench::new("[{docker: {}}]");
    let id = bench.bind(0);
    for stream in 0..1000 {
        bench.line(id, &docker(&stream.to_string(), "x"));
    }
    assert_eq!((bench.pipeline.held(), bench.out.0.len()), (0, 1000));
}

#[test]
fn past_the_bound_the_chain_that_waits_longest_leaves() {
    for stage in ["cri: {max_partial_lines: 2}", "docker: {}", "container: {}"] {
        let bound = if stage.starts_with("cri") { 2 } else { 100 };
        let mut bench = Bench::new(&format!("[{{{stage}}}]"));
        let piece = if stage.starts_with("docker") { docker("stderr", "x") } else { cri("stderr", "P", "x") };
        for source in 0..bound + 1 {
            let id = bench.bind(source);
            bench.line(id, &piece);
        }
        assert_eq!(bench.out.0, [("0".into(), "stderr".into(), "x".to_string())], "{stage}");
        assert_eq!(bench.pipeline.held(), bound as u64, "{stage}");
    }
}

/// Source, stream and whether it ends the line.
type Piece = (usize, bool, bool);

/// Feeds pieces with texts of their own, ends all sources and compares.
fn interleaved(stage: &str, pieces: &[Piece], write: impl Fn(usize, &str, bool, &str) -> String) {
    let mut bench = Bench::new(&format!("[{{{stage}: {{}}}}]"));
    let ids: Vec<BindingId> = (0..4).map(|source| bench.bind(source)).collect();
    let mut expected: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let mut open: BTreeMap<(String, String), String> = BTreeMap::new();
    for (number, (source, stderr, last)) in pieces.iter().enumerate() {
        let stream = if *stderr { "stderr" } else { "stdout" };
        let text = format!("{number};");
        bench.line(ids[*source], &write(*source, stream, *last, &text));
        let key = (source.to_string(), stream.to_string());
        let so_far = open.entry(key.clone()).or_default();
        so_far.push_str(&text);
        if *last {
            expected.entry(key.clone()).or_default().push(open.remove(&key).unwrap_or_default());
        }
    }
    ids.into_iter().for_each(|id| bench.end(id));
    for (key, unfinished) in open {
        expected.entry(key).or_default().push(unfinished);
    }
    let mut got: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (source, stream, line) in bench.out.0 {
        got.entry((source, stream)).or_default().push(line.trim_end().to_string());
    }
    assert_eq!(got, expected);
    assert_eq!((bench.pipeline.held(), bench.pipeline.counts().read), (0, pieces.len() as u64));
}

proptest! {
    #[test]
    fn pieces_come_together_by_source_and_stream(
        pieces in proptest::collection::vec((0usize..4, any::<bool>(), any::<bool>()), 0..60),
    ) {
        let as_cri = |_, stream: &str, last: bool, text: &str| cri(stream, if last { "F" } else { "P" }, text);
        let as_docker = |_, stream: &str, last: bool, text: &str| {
            docker(stream, &if last { format!("{text}\\n") } else { text.to_string() })
        };
        interleaved("cri", &pieces, as_cri);
        interleaved("docker", &pieces, as_docker);
        // A node in between runtimes has files of both kinds.
        interleaved("container", &pieces, |source, stream, last, text| match source % 2 {
            0 => as_cri(source, stream, last, text),
            _ => as_docker(source, stream, last, text),
        });
    }
}
