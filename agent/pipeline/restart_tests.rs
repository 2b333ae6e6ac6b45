//! Restarts at any moment, reloads, other configurations and damaged states.

use super::super::bench::{World, access, bind, cri, denial, docker};
use super::super::{CHAINS_BYTES_MAX, IngressHosts};
use super::*;
use crate::keep::{Keep, Slot, Table};
use proptest::prelude::*;

/// Every stage that holds something, nested and twice.
const STAGES: &str = r#"
- container: {}
- match:
    selector: '{source=~"nested.*"}'
    stages:
      - cri: {max_partial_lines: 2}
      - match: {selector: '{stream="stderr"}', stages: [{docker: {}}]}
- docker: {}
- match: {selector: '{stream="stdout"}', stages: [{ingress_nginx: {}}, {labels: {status: }}]}
- match:
    selector: '{stream="stderr"}'
    stages:
      - modsecurity: {other: pass}
      - labels: {blocked_transaction: , ingress: , rule_id: }
- regex: {expression: '"t":"(?P<t>[^"]*)"'}
- timestamp: {source: t, format: RFC3339Nano}
- match:
    selector: '{source=~".*b|nested-2"}'
    stages: [{structured_metadata: {flags: , stream: }}, {multiline: {firstline: 'x[0-9]*[05];', max_lines: 4}}]
- drop: {expression: unwanted}
- modsecurity: {}
"#;

/// The line that a number stands for.
fn line(kind: u8, number: u8) -> String {
    let stream = if number.is_multiple_of(2) { "stdout" } else { "stderr" };
    let text = format!("x{number};");
    match kind % 12 {
        0 => cri(stream, "P", &text),
        1 => cri(stream, "F", &text),
        2 => docker(stream, &text),
        3 => docker(stream, &format!("{text}\\n")),
        // Docker's records as what a runtime of the other kind wrote, in pieces of both.
        4 => cri(stream, "P", &docker(stream, &text)[..20]),
        5 => cri(stream, "F", &docker(stream, &format!("{text}\\n"))[20..]),
        6 => cri("stderr", "F", &denial(number % 8)),
        7 => cri("stdout", "F", &access(number % 4)),
        8 => cri("stdout", "F", r#"x "t":"2026-11-21T02:00:00Z""#),
        9 => cri("stdout", "F", r#"x "t":"no time""#),
        10 => cri(stream, "F", "unwanted"),
        _ => cri("stdout", "F", &cri(stream, "P", &text)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("WEIR_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
    ))]

    #[test]
    fn a_restart_at_any_moment_changes_nothing(
        steps in proptest::collection::vec((0usize..4, any::<u8>(), any::<u8>(), 0u64..40), 0..80),
    ) {
        let (mut straight, mut restarted) = (World::new(STAGES), World::new(STAGES));
        for (source, kind, number, restart) in steps {
            let line = line(kind, number);
            straight.line(source, line.as_bytes());
            restarted.line(source, line.as_bytes());
            if restart < 8 {
                prop_assert_eq!(restarted.restart(STAGES, restart), Restored::default());
                prop_assert_eq!(restarted.books(), straight.books());
            }
        }
        straight.end();
        restarted.end();
        prop_assert_eq!(&restarted.out.0, &straight.out.0);
        prop_assert_eq!(restarted.books(), straight.books());
        let hosts = |world: &World| {
            let mut entries = Entries::default();
            world.hosts.keep(&mut entries);
            entries
        };
        prop_assert_eq!(hosts(&restarted), hosts(&straight));
    }
}

/// Something in every stage that holds.
fn full() -> World {
    let mut world = World::new(STAGES);
    for number in 0..120u8 {
        world.line(usize::from(number) % 4, line(number, number / 3).as_bytes());
    }
    (0..5).for_each(|source| world.line(source % 4, cri("stderr", "P", &"y".repeat(20_000)).as_bytes()));
    world
}

/// Restores a state that may be anything, and goes on with it.
fn survives(slots: Vec<(Slot, Box<[u8]>)>) -> Restored {
    let mut world = World::new(STAGES);
    let entries = Entries::from_iter(slots);
    let ids = world.ids.clone();
    let restored = world.pipeline.restore(7, &entries, &|number| ids.get(number as usize).copied());
    world.hosts = IngressHosts::restore(&entries).0;
    world.assert_balanced();
    assert_eq!(world.refused(STATE_DISCARDED), restored.discarded_lines);
    assert!(world.kept().iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 200_000);
    for number in 0..60 {
        world.line(usize::from(number) % 4, line(number, number).as_bytes());
    }
    world.end();
    restored
}

#[test]
fn every_prefix_of_a_slot_and_every_lost_slot_are_survived() {
    let kept: Vec<(Slot, Box<[u8]>)> = full().kept().iter().map(|(slot, bytes)| (slot, bytes.into())).collect();
    assert_eq!(survives(kept.clone()), Restored::default());
    let mut given_up = 0;
    for at in 0..kept.len() {
        let ends = 0..kept[at].1.len();
        let step = match ends.len() {
            0..40 => 7,
            40..300 => 61,
            _ => 997,
        };
        for end in ends.step_by(step) {
            let mut slots = kept.clone();
            slots[at].1 = slots[at].1[..end].into();
            let restored = survives(slots);
            let ours = kept[at].0.table == Table::HELD && kept[at].0.index >> 32 == 7;
            // Blocks of hashes have no length: a shorter one has fewer.
            assert!(restored.damaged > 0 || !ours || end % 8 < 4, "{at} {end} {:?}", kept[at].0);
        }
        let mut slots = kept.clone();
        slots.remove(at);
        given_up += survives(slots).discarded_lines;
    }
    assert!(given_up > 10, "{given_up}");
}

#[test]
fn flipped_bits_and_strange_slots_are_survived() {
    let kept: Vec<(Slot, Box<[u8]>)> = full().kept().iter().map(|(slot, bytes)| (slot, bytes.into())).collect();
    let mut seed = 1u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..400 {
        let mut slots = kept.clone();
        for _ in 0..=random(4) {
            let at = random(slots.len());
            match random(5) {
                0 => slots[at].0.index ^= 1 << random(40),
                1 => slots[at].1 = (0..random(40)).map(|_| random(256) as u8).collect(),
                2 => slots[at].1 = [0xff; 64].into(),
                _ if slots[at].1.is_empty() => {}
                _ => {
                    let byte = random(slots[at].1.len().min(64));
                    slots[at].1[byte] ^= 1 << random(8);
                }
            }
        }
        survives(slots);
    }
    // Far more than memory holds, by what the slots say.
    let index = |stage: u64, number: u64| Slot { table: Table::HELD, index: 7 << 32 | stage << 20 | number };
    let huge = |slot| (slot, Box::from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]));
    survives(vec![huge(index(0, 0)), huge(index(0, 1)), huge(index(1, 0)), huge(index(4095, 0xf_ffff))]);
}

#[test]
fn what_no_stage_or_source_takes_back_is_refused_and_counted() {
    let held = || {
        let mut world = World::new("[{cri: {}}, {docker: {}}]");
        for source in 0..3 {
            (0..2).for_each(|_| world.line(source, cri("stdout", "P", "p").as_bytes()));
        }
        world.line(3, docker("stdout", "d").as_bytes());
        assert_eq!(world.pipeline.held(), 7);
        world
    };
    // The same stages among others.
    let mut world = held();
    let other = "[{drop: {expression: x}}, {cri: {}}, {drop: {expression: x}}, {docker: {}}, {cri: {}}]";
    assert_eq!(world.restart(other, 1), Restored::default());
    assert_eq!(world.pipeline.held(), 7);
    // One of them gone: what it held is known as lines of the file only.
    let mut world = held();
    assert_eq!(world.restart("[{docker: {}}]", 1), Restored { damaged: 0, discarded_lines: 6 });
    assert_eq!((world.pipeline.held(), world.refused(STATE_DISCARDED)), (1, 6));
    // A source gone: what it left would have been one line.
    let mut world = held();
    let (gone, kept) = (world.ids[0], world.kept());
    let mut new = World::new("[{cri: {}}, {docker: {}}]");
    let ids = new.ids.clone();
    let rebind = |number: u32| ids.get(number as usize).copied().filter(|_| number != gone.number());
    assert_eq!(new.pipeline.restore(7, &kept, &rebind), Restored { damaged: 0, discarded_lines: 1 });
    new.assert_balanced();
    assert_eq!((new.pipeline.held(), new.pipeline.counts().joined, new.refused(STATE_DISCARDED)), (5, 1, 1));
    // A binding that is not there counts as gone.
    let mut new = World::new("[{cri: {}}, {docker: {}}]");
    assert_eq!(new.pipeline.restore(7, &kept, &|_| Some(BindingId(99))).discarded_lines, 4);
    new.assert_balanced();
    world.end();
}

#[test]
fn reasons_go_on_by_their_names() {
    let mut world = World::new("[{json: {expressions: {a: }, drop_malformed: true}}, {drop: {expression: b}}]");
    for line in ["no", r#"{"a":"b"}"#, "no", r#"{"a":"c"}"#] {
        world.line(0, line.as_bytes());
    }
    let before = world.books();
    world.restart("[{drop: {expression: c, drop_counter_reason: other}}]", 0);
    assert_eq!(world.books(), before);
    world.line(0, b"c");
    let names: Vec<_> = world.books().2.into_iter().map(|(name, lines)| format!("{name} {lines}")).collect();
    let drops = ["dropped drop_stage 1", "dropped malformed_json 2", "dropped other 1"];
    assert_eq!(names, [&drops[..], &["refused malformed_json 2"]].concat());
}

#[test]
fn a_reload_loses_nothing_that_is_held() {
    let mut old = World::new(STAGES);
    for line in [cri("stdout", "P", "one "), cri("stderr", "F", &denial(1)), cri("stdout", "P", "two ")] {
        old.line(0, line.as_bytes());
    }
    let mut new = World::new(&format!("- drop: {{expression: nothing}}{STAGES}"));
    let (from, to) = (old.ids.clone(), new.ids.clone());
    let rebind = |number| Some(to[from.iter().position(|id| id.number() == number)?]);
    assert_eq!(new.pipeline.adopt(&old.pipeline, &rebind), Restored::default());
    assert_eq!(new.books(), old.books());
    new.line(0, cri("stdout", "F", "three").as_bytes());
    assert!(new.out.0[0].ends_with(" one two three"), "{:?}", new.out.0);
    new.line(0, cri("stderr", "F", &denial(1)).as_bytes());
    assert!(!new.out.0[1].contains("blocked_transaction"), "{:?}", new.out.0);
    new.line(0, cri("stderr", "F", &denial(2)).as_bytes());
    assert!(new.out.0[2].contains("blocked_transaction=1"), "{:?}", new.out.0);
}

/// How many bytes of slots change.
#[derive(Default)]
struct Written(usize);

impl Keep for Written {
    fn put(&mut self, _: Slot, value: &[u8]) {
        self.0 += value.len();
    }

    fn delete(&mut self, _: Slot) {}
}

#[test]
fn a_piece_more_rewrites_little() {
    let mut world = World::new("[{cri: {}}, {modsecurity: {other: pass}}]");
    let mut before = world.kept();
    let mut written = |world: &World| {
        let now = world.kept();
        let mut written = Written::default();
        now.changes_since(&before, &mut written);
        before = now;
        written.0
    };
    let piece = cri("stdout", "P", &"p".repeat(10_000));
    for _ in 0..26 {
        world.line(0, piece.as_bytes());
        assert!(written(&world) < 28_000);
    }
    // Full: only its number of lines grows.
    world.line(0, piece.as_bytes());
    written(&world);
    world.line(0, piece.as_bytes());
    assert!(written(&world) < 100);
    // Nothing happened: nothing changes.
    assert_eq!(written(&world), 0);
    for transaction in 0..6_000 {
        let line = denial(0).replace("u0", &transaction.to_string());
        world.line(1, cri("stderr", "F", &line).as_bytes());
        assert!(written(&world) < 1_500, "{transaction}");
    }
}

#[test]
fn unfinished_lines_have_a_budget_together() {
    let mut world = World::new("[{cri: {max_partial_lines: 1000}}]");
    let piece = cri("stdout", "P", &"p".repeat(250_000));
    let many = CHAINS_BYTES_MAX / 250_000 + 10;
    let mut ids = Vec::new();
    for source in 0..many {
        ids.push(bind(&mut world.pipeline, &mut world.series, &source.to_string()));
        world.ids[0] = ids[source];
        world.line(0, piece.as_bytes());
    }
    let bytes: usize = world.kept().iter().map(|(_, bytes)| bytes.len()).sum();
    assert!((CHAINS_BYTES_MAX - 600_000..CHAINS_BYTES_MAX).contains(&bytes), "{bytes}");
    assert_eq!(world.pipeline.held() + world.out.0.len() as u64, many as u64);
    assert_eq!(world.pipeline.counts().unfinished, world.out.0.len() as u64);
    // The one that waited longest left first.
    assert!(world.out.0[0].contains("source=0,"));
    // One that grows past what a line may have is cut, and the books say so.
    world.ids[0] = ids[many - 1];
    world.line(0, piece.as_bytes());
    world.line(0, cri("stdout", "F", "end").as_bytes());
    assert_eq!(world.pipeline.counts().cut, 1);
}
