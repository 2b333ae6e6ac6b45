//! Random entries over random ticks, cuts and restarts, against a model that remembers everything.

use super::loki::{Sent, read};
use super::tests::client;
use super::*;
use crate::keep::Entries;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

#[derive(Clone, Debug)]
enum Step {
    Entry {
        stream: usize,
        moment: usize,
        line: Vec<u8>,
        metadata: Vec<(String, Vec<u8>)>,
    },
    Tick,
    Seal,
    /// The process ends after a cut, and another one goes on.
    Restart,
}

type Labels = &'static [(&'static str, &'static str)];

/// Labels of entries with tenant and stream that they come to.
const STREAMS: [(Labels, &str, &str); 5] = [
    (&[], "usual", r#"{node="n"}"#),
    (&[("app", "a")], "usual", r#"{app="a", node="n"}"#),
    (&[("app", ""), ("node", "own")], "usual", r#"{app="", node="own"}"#),
    (&[("__tenant_id__", "t"), ("app", "a")], "t", r#"{app="a", node="n"}"#),
    (&[("__tenant_id__", ""), ("app", "\n")], "", r#"{app="\n", node="n"}"#),
];

fn step() -> impl Strategy<Value = Step> {
    let bytes = |most| prop::collection::vec(prop_oneof![3 => b'a'..b'd', 1 => any::<u8>()], 0..most);
    let pair = ("[a-z]{0,3}", bytes(5));
    let metadata = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(pair, 0..3)];
    let line = prop_oneof![1 => bytes(40), 3 => prop::sample::select(vec![b"".to_vec(), b"twin".to_vec(), vec![0xff]])];
    let entry = (0..STREAMS.len(), 0..4usize, line, metadata)
        .prop_map(|(stream, moment, line, metadata)| Step::Entry { stream, moment, line, metadata });
    prop_oneof![12 => entry, 1 => Just(Step::Tick), 1 => Just(Step::Seal), 1 => Just(Step::Restart)]
}

/// As Go reads bytes: a character, or U+FFFD for one byte.
fn as_go_reads(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while !bytes.is_empty() {
        let character = (1..=bytes.len().min(4)).find_map(|length| str::from_utf8(&bytes[..length]).ok());
        text.push_str(character.unwrap_or("\u{fffd}"));
        bytes = &bytes[character.map_or(1, str::len)..];
    }
    text
}

/// What is to be sent, by tenant and labels.
#[derive(Default)]
struct Model {
    sent: BTreeMap<(String, String), Vec<Sent>>,
    stamps: HashSet<(usize, UnixNanos, String)>,
    dropped: u64,
}

impl Model {
    fn add(
        &mut self,
        limits: &EntryLimits,
        stream: usize,
        stamp: UnixNanos,
        line: &[u8],
        metadata: &[(String, Vec<u8>)],
    ) {
        let mut line = as_go_reads(line);
        let most = limits.line_bytes_max as usize;
        if most > 0 && line.len() > most {
            if !limits.truncate {
                self.dropped += 1;
                return;
            }
            while line.len() > most {
                line.pop();
            }
        }
        let stamp = (stamp..).find(|stamp| self.stamps.insert((stream, *stamp, line.clone()))).expect("room");
        let metadata = metadata.iter().map(|(name, value)| (name.clone(), as_go_reads(value))).collect();
        let (_, tenant, labels) = STREAMS[stream];
        let entries = self.sent.entry((tenant.to_string(), labels.to_string())).or_default();
        entries.push(Sent { stamp, line, metadata });
    }
}

struct Run {
    config: ClientConfig,
    limits: EntryLimits,
    collector: Collector,
    sent: BTreeMap<(String, String), Vec<Sent>>,
    dropped: u64,
    now: Duration,
}

impl Run {
    fn new(batchsize: u64, limits: EntryLimits) -> Self {
        let lines = format!("tenant_id: usual\nexternal_labels: {{node: n}}\nbatchwait: 3s\nbatchsize: {batchsize}");
        let config = client(&lines);
        let collector = Collector::new(&config, &limits);
        Run { config, limits, collector, sent: BTreeMap::new(), dropped: 0, now: Duration::from_secs(1_000) }
    }

    /// Takes what was sealed and tallied.
    fn take(&mut self) {
        for sealed in self.collector.sealed().collect::<Vec<_>>() {
            assert!(sealed.bytes <= self.config.batch_bytes_max || sealed.lines == 1, "{sealed:?}");
            let read = read(&sealed);
            for (labels, entries) in read.streams {
                self.sent.entry((read.tenant.clone(), labels)).or_default().extend(entries);
            }
            self.collector.recycle(sealed.message);
        }
        self.dropped += self.collector.tally().dropped.iter().map(|tallied| tallied.lot.entries).sum::<u64>();
    }

    fn step(&mut self, step: &Step, stamps: &[UnixNanos; 4]) {
        self.now += Duration::from_secs(1);
        match step {
            Step::Entry { stream, moment, line, metadata } => {
                let labels = STREAMS[*stream].0.iter().map(|(name, value)| (*name, value.as_bytes()));
                let metadata = metadata.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
                self.collector.add_labelled(labels, stamps[*moment], line, metadata, self.now);
            }
            Step::Tick => self.collector.tick(self.now),
            Step::Seal => self.collector.seal(),
            Step::Restart => {
                self.collector.seal();
                self.take();
                let mut entries = Entries::default();
                self.collector.keep(&mut entries, 0);
                self.collector.keep(&mut entries, 7);
                self.collector = Collector::new(&self.config, &self.limits);
                assert_eq!(self.collector.restore(&entries, 7), 0);
            }
        }
        self.take();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
    ))]

    #[test]
    fn what_is_sent_is_what_came(
        steps in prop::collection::vec(step(), 0..80),
        // Whole microseconds, since and before 1970.
        stamps in [(); 4].map(|()| prop_oneof![any::<i64>(), -3..3i64].prop_map(|n| n / 4_000 * 1_000)),
        batchsize in prop_oneof![0..4u64, 30..400u64],
        line_bytes_max in prop_oneof![Just(0), 1..20u64],
        truncate in any::<bool>(),
    ) {
        let limits = EntryLimits { line_bytes_max, truncate, batch_streams_max: 0 };
        let (mut run, mut model) = (Run::new(batchsize, limits), Model::default());
        for step in &steps {
            run.step(step, &stamps);
            if let Step::Entry { stream, moment, line, metadata } = step {
                model.add(&limits, *stream, stamps[*moment], line, metadata);
            }
        }
        run.step(&Step::Seal, &stamps);
        prop_assert_eq!(run.sent, model.sent);
        prop_assert_eq!(run.dropped, model.dropped);
        prop_assert_eq!(run.collector.sealing.open_bytes, 0);
    }

    #[test]
    fn a_run_that_is_split_by_a_restart_sends_the_same(
        steps in prop::collection::vec(step(), 0..60),
        // Any clock.
        stamps in [(); 4].map(|()| prop_oneof![any::<i64>(), 0..5i64, (0..5i64).prop_map(|n| n * 1_000)]),
        at in any::<prop::sample::Index>(),
    ) {
        let limits = EntryLimits::default();
        let entries: Vec<Step> = steps.into_iter().filter(|step| matches!(step, Step::Entry { .. })).collect();
        let (mut whole, mut split) = (Run::new(100, limits), Run::new(100, limits));
        let cut = at.index(entries.len() + 1);
        for (number, step) in entries.iter().enumerate() {
            if number == cut {
                split.step(&Step::Restart, &stamps);
            }
            whole.step(step, &stamps);
            split.step(step, &stamps);
        }
        whole.step(&Step::Seal, &stamps);
        split.step(&Step::Seal, &stamps);
        prop_assert_eq!(whole.sent, split.sent);
    }
}
