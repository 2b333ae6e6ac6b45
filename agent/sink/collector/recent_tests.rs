//! A collector that remembers where entries went makes the same batches as one that never does.

use super::super::tests::client;
use super::super::{Collector, EntryLimits, STREAM_IDLE, Sealed};
use crate::diagnostic::Diagnostics;
use crate::geoip::{GeoIpSet, LookupCounts};
use crate::labels::Labels;
use crate::metrics::Store;
use crate::pipeline::stage::read_stages;
use crate::pipeline::{BindingId, Context, IngressHosts, LineRate, Origin, Output, Pipeline, Record};
use crate::yaml;
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

/// Labels as constants, as parts of the line, and left out again.
const STAGES: [&str; 3] = [
    "[{cri: {}}]",
    "[{cri: {}}, {static_labels: {job: b, app: fixed}}, {match: {selector: '{stream=\"stderr\"}', stages: [{labeldrop: [x]}]}}]",
    "[{cri: {}}, {json: {expressions: {app: app}}}, {labels: {app: }}]",
];
const SOURCES: usize = 3;

/// Both at once.
struct Both {
    remembering: Collector,
    plain: Collector,
    now: Duration,
}

impl Both {
    fn new() -> Both {
        let config = client("tenant_id: t\nbatchsize: 300");
        let [remembering, plain] = [(); 2].map(|()| Collector::new(&config, &EntryLimits::default()));
        Both { remembering, plain, now: Duration::from_secs(1_000) }
    }

    fn go_on(&mut self, time: Duration) {
        self.now += time;
        self.remembering.tick(self.now);
        self.plain.tick(self.now);
    }

    fn sealed(&mut self) -> [Vec<Sealed>; 2] {
        [&mut self.remembering, &mut self.plain].map(|collector| {
            collector.seal();
            collector.sealed().collect()
        })
    }
}

impl Output for Both {
    fn entry(&mut self, record: &Record<'_>, origin: Origin) {
        self.remembering.entry(record, origin, self.now);
        // Past the memory: by its labels alone.
        self.plain.repeatable = record.is_repeatable();
        self.plain.add_labelled(record.labels(), record.timestamp(), record.line(), record.metadata(), self.now);
    }
}

/// Pipelines with sources that come and go.
struct World {
    series: Store,
    pipelines: Vec<(Pipeline, Vec<BindingId>)>,
    out: Both,
}

impl World {
    fn new() -> World {
        let (mut series, mut d) = (Store::new(), Diagnostics::new());
        let pipelines = STAGES.map(|stages| {
            let stages = read_stages(&yaml::parse(stages, &mut d).expect("YAML"), &mut d);
            let mut pipeline =
                Pipeline::compile(&stages, &mut series, &GeoIpSet::default(), 1, &mut d).expect("a pipeline");
            let sources = (0..SOURCES).map(|at| pipeline.bind(&labels(at), &mut series)).collect();
            (pipeline, sources)
        });
        World { series, pipelines: pipelines.into(), out: Both::new() }
    }

    fn step(&mut self, step: &Step) {
        let mut lookups = LookupCounts::default();
        let mut context = Context {
            series: &mut self.series,
            now: 1,
            monotonic: Duration::ZERO,
            wall: 0,
            overdue: false,
            hosts: &mut IngressHosts::default(),
            geoip: &mut lookups,
            rate: &mut LineRate::default(),
        };
        match step {
            Step::Line { pipeline, source, line } => {
                let (pipeline, sources) = &mut self.pipelines[*pipeline];
                pipeline.process(sources[*source], line.as_bytes(), &mut context, &mut self.out);
            }
            Step::Rebind { pipeline, source, labels: number } => {
                let (pipeline, sources) = &mut self.pipelines[*pipeline];
                pipeline.unbind(sources[*source], &mut context, &mut self.out);
                sources[*source] = pipeline.bind(&labels(*number), &mut self.series);
            }
            Step::Wait(time) => self.out.go_on(*time),
        }
    }
}

/// Of the same lengths under other names, and with other values.
fn labels(number: usize) -> Labels {
    let all: [&[(&str, &str)]; 5] = [
        &[("app", "a"), ("x", "1")],
        &[("app", "b"), ("x", "1")],
        &[("app", "a"), ("y", "1")],
        &[("ap", "pa"), ("x", "1")],
        &[],
    ];
    all[number].iter().copied().collect()
}

#[derive(Clone, Debug)]
enum Step {
    Line { pipeline: usize, source: usize, line: String },
    Rebind { pipeline: usize, source: usize, labels: usize },
    Wait(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    let line = r#"2026-11-21T02:25:3[0-9]\.[0-9]{9}Z (stdout|stderr) [FP] (text|\{"app":"[ab]"\}|\{"app":"\\u0061"\})"#;
    prop_oneof![
        20 => (0..STAGES.len(), 0..SOURCES, line)
            .prop_map(|(pipeline, source, line)| Step::Line { pipeline, source, line }),
        2 => (0..STAGES.len(), 0..SOURCES, 0..5_usize)
            .prop_map(|(pipeline, source, labels)| Step::Rebind { pipeline, source, labels }),
        1 => prop_oneof![Just(Duration::from_secs(1)), Just(STREAM_IDLE * 2)].prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_are_the_same_as_without_a_memory(steps in vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        let [remembering, plain] = world.out.sealed();
        prop_assert_eq!(remembering, plain);
    }
}

#[test]
fn streams_of_constant_labels_are_remembered_and_others_are_not() {
    let mut world = World::new();
    for (pipeline, line, remembered) in [
        (0, "2026-11-21T02:25:30Z stdout F text", 1),
        (0, "2026-11-21T02:25:30Z stderr F text", 2),
        (0, "2026-11-21T02:25:31Z stdout F text", 2),
        (2, r#"2026-11-21T02:25:31Z stdout F {"app":"b"}"#, 2),
        (1, "2026-11-21T02:25:31Z stdout F text", 3),
    ] {
        world.step(&Step::Line { pipeline, source: 0, line: line.to_string() });
        let known = world.out.remembering.recent.rows.iter().flatten().flatten().count();
        assert_eq!(known, remembered, "{line}");
    }
    world.step(&Step::Wait(STREAM_IDLE * 2));
    assert_eq!(world.out.remembering.recent.rows.iter().flatten().flatten().count(), 0, "their streams are forgotten");
}
