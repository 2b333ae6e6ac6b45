//! A pipeline at work, for tests of this module: sources, lines, restarts, and what comes out.

use super::stage::{When, read_stages};
use super::{BindingId, Context, Counts, IngressHosts, LineRate, Origin, Output, Pipeline, Record, Restored};
use crate::diagnostic::Diagnostics;
use crate::geoip::{GeoIpSet, LookupCounts};
use crate::keep::Entries;
use crate::labels::Labels;
use crate::metrics::Store;
use crate::yaml;
use std::time::Duration;

const SOURCES: [&str; 4] = ["a", "b", "nested-1", "nested-2"];

/// Entries, and what stands beside each of them.
#[derive(Default)]
pub struct Entered(pub Vec<String>, pub Vec<String>);

impl Output for Entered {
    fn entry(&mut self, record: &Record<'_>, _origin: Origin) {
        let labels: Vec<String> =
            record.labels().map(|(name, value)| format!("{name}={}", value.escape_ascii())).collect();
        self.0.push(format!("{} {} {}", record.timestamp(), labels.join(","), record.line().escape_ascii()));
        let beside: Vec<String> = record
            .metadata()
            .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
            .collect();
        self.1.push(beside.join(" "));
    }
}

/// A pipeline at work, with its sources.
pub struct World {
    pub pipeline: Pipeline,
    pub series: Store,
    pub hosts: IngressHosts,
    pub lookups: LookupCounts,
    pub rate: LineRate,
    pub ids: Vec<BindingId>,
    pub out: Entered,
    pub now: i64,
}

pub fn compile(stages: &str, series: &mut Store) -> Pipeline {
    let mut d = Diagnostics::new();
    let configs = read_stages(&yaml::parse(stages, &mut d).expect("YAML"), &mut d);
    Pipeline::compile(&configs, series, &GeoIpSet::default(), 100, &mut d).expect("a pipeline")
}

pub fn bind(pipeline: &mut Pipeline, series: &mut Store, source: &str) -> BindingId {
    pipeline.bind(&[("source", source), ("filename", "0.log")].into_iter().collect::<Labels>(), series)
}

impl World {
    pub fn new(stages: &str) -> Self {
        let mut series = Store::new();
        let mut pipeline = compile(stages, &mut series);
        let ids = SOURCES.iter().map(|source| bind(&mut pipeline, &mut series, source)).collect();
        let (hosts, lookups, rate, out) = Default::default();
        World { pipeline, series, hosts, lookups, rate, ids, out, now: 0 }
    }

    pub fn with(&mut self, run: impl FnOnce(&mut Pipeline, &mut Context<'_>, &mut dyn Output)) {
        self.now += 1;
        let mut context = Context {
            series: &mut self.series,
            now: 1,
            monotonic: Duration::from_millis(self.now as u64),
            wall: self.now,
            overdue: false,
            hosts: &mut self.hosts,
            geoip: &mut self.lookups,
            rate: &mut self.rate,
        };
        run(&mut self.pipeline, &mut context, &mut self.out);
        self.assert_balanced();
    }

    pub fn assert_balanced(&self) {
        let (counts, held) = (self.pipeline.counts(), self.pipeline.held());
        assert_eq!(counts.read, counts.counted + counts.joined + counts.refused_total() + held, "{counts:?} {held}");
    }

    pub fn line(&mut self, source: usize, line: &[u8]) {
        let id = self.ids[source];
        self.with(|pipeline, context, output| pipeline.process(id, line, context, output));
    }

    pub fn end(&mut self) {
        self.with(|pipeline, context, output| pipeline.release(When::End, context, output));
        assert_eq!(self.pipeline.held(), 0);
    }

    pub fn kept(&self) -> Entries {
        let mut entries = Entries::default();
        self.pipeline.keep(7, &mut entries);
        // Another job, whose slots are none of ours.
        World::new("[{cri: {}}]").pipeline.keep(8, &mut entries);
        self.hosts.keep(&mut entries);
        entries
    }

    /// A new process: sources are found in another order.
    pub fn restart(&mut self, stages: &str, order: u64) -> Restored {
        let kept = self.kept();
        let mut new = World::new("[]");
        new.pipeline = compile(stages, &mut new.series);
        (0..order % 3).for_each(|extra| _ = bind(&mut new.pipeline, &mut new.series, &format!("new-{extra}")));
        new.ids = vec![BindingId(0); SOURCES.len()];
        for turn in 0..SOURCES.len() {
            let at = (turn * 3 + order as usize) % SOURCES.len();
            new.ids[at] = bind(&mut new.pipeline, &mut new.series, SOURCES[at]);
        }
        let (old, ids) = (self.ids.clone(), new.ids.clone());
        let rebind = |number| Some(ids[old.iter().position(|id| id.number() == number)?]);
        let restored = new.pipeline.restore(7, &kept, &rebind);
        let (hosts, damaged) = IngressHosts::restore(&kept);
        assert_eq!(damaged, 0);
        (new.hosts, new.now, new.out) = (hosts, self.now, std::mem::take(&mut self.out));
        *self = new;
        self.assert_balanced();
        restored
    }

    /// Books by reason, for comparison with those of a pipeline whose reasons have another order.
    pub fn books(&self) -> (Counts, u64, Vec<(String, u64)>) {
        let counts = self.pipeline.counts().clone();
        let by_reason = |kind: &str, counts: &[u64]| -> Vec<(String, u64)> {
            let named = self.pipeline.reasons().zip(counts.to_vec());
            named.filter(|(_, lines)| *lines > 0).map(|(reason, lines)| (format!("{kind} {reason}"), lines)).collect()
        };
        let mut named = by_reason("refused", &counts.refused);
        named.extend(by_reason("dropped", &counts.dropped));
        named.sort();
        (Counts { refused: Vec::new(), dropped: Vec::new(), ..counts }, self.pipeline.held(), named)
    }

    pub fn refused(&self, reason: &str) -> u64 {
        self.pipeline.reasons().position(|known| known == reason).map_or(0, |at| self.pipeline.counts().refused[at])
    }
}

pub fn cri(stream: &str, flags: &str, text: &str) -> String {
    format!("2026-11-21T02:25:35.001526116Z {stream} {flags} {text}")
}

pub fn docker(stream: &str, text: &str) -> String {
    format!(r#"{{"log":"{text}","stream":"{stream}","time":"2026-11-21T02:25:36Z"}}"#)
}

pub fn denial(transaction: u8) -> String {
    format!(
        r#"2026/11/21 02:26:08 [error] 15#15: *42 [client 192.0.2.7] ModSecurity: Access denied with code 403 (phase 2). Matched "Operator `Ge' with parameter `5' against variable `TX:ANOMALY_SCORE' (Value: `8' ) [file "a.conf"] [line "81"] [id "949110"] [rev ""] [msg "m"] [data ""] [severity "2"] [ver ""] [maturity "0"] [accuracy "0"] [hostname "10.0.0.1"] [uri "/x"] [unique_id "u{transaction}"] [ref ""], client: 192.0.2.7, server: h{}.example, request: "GET /x HTTP/1.1", host: "h.example""#,
        transaction % 3
    )
}

pub fn access(number: u8) -> String {
    let n = number % 3;
    format!(
        r#"{{"status":"200","remote_addr":"192.0.2.{number}","host":"h{n}.example","namespace":"n","ingress_name":"i{n}"}}"#
    )
}
