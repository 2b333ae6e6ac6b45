//! A Loki with room for some streams: what it has room for arrives, the rest waits for its turn.

use super::properties::cases;
use super::rig_tests::*;
use super::*;
use crate::sink::Aside;
use crate::sink::wire::{self, Message};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

/// Has room for so many streams, and tells as Loki does: what became of the last one.
struct Rooms {
    streams_max: usize,
    /// Lines by stream, as they came.
    stored: BTreeMap<String, Vec<String>>,
}

impl Rooms {
    fn for_streams(streams_max: usize) -> Self {
        Rooms { streams_max, stored: BTreeMap::new() }
    }

    fn push(&mut self, message: &Message) -> Answer {
        let mut told = accepted();
        for (labels, entries) in message.streams() {
            let has_room = self.stored.contains_key(labels) || self.stored.len() < self.streams_max;
            told = if has_room { accepted() } else { status(429, "Maximum active stream limit exceeded when trying") };
            if has_room {
                let stored = self.stored.entry(labels.to_string()).or_default();
                for entry in entries {
                    let line = String::from_utf8_lossy(message.entry(entry).unwrap().line).into_owned();
                    // One that came before is merged.
                    if !stored.contains(&line) {
                        stored.push(line);
                    }
                }
            }
        }
        told
    }

    /// How many lines it has; each of them once, and in the order of its stream.
    fn lines(&self) -> usize {
        let number = |line: &String| line.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
        assert!(
            self.stored.values().all(|lines| lines.iter().map(number).is_sorted_by(|a, b| a < b)),
            "{:?}",
            self.stored
        );
        self.stored.values().map(Vec::len).sum()
    }
}

/// What an outbox does.
struct Queue {
    waiting: VecDeque<(Bytes, Lot)>,
    aside: VecDeque<(Bytes, Lot)>,
    dropped: u64,
}

fn outbox() -> Queue {
    Queue { waiting: VecDeque::new(), aside: VecDeque::new(), dropped: 0 }
}

impl Queue {
    fn put(&mut self, streams: &[(&str, Vec<String>)]) -> u64 {
        let (message, entries, bytes) = message(streams);
        self.waiting.push_back((wire::pack(&message), Lot { entries, bytes }));
        entries
    }

    /// Sends until nothing can be sent at this time. How many requests that took.
    fn send(&mut self, rig: &mut Rig, loki: &mut Rooms) -> usize {
        let before = rig.pushes.len();
        loop {
            let again = rig.lane.wants_aside(rig.now, self.aside.len());
            let queue = if again { &mut self.aside } else { &mut self.waiting };
            let Some((packed, lot)) = queue.pop_front() else { break };
            let settled = match rig.take_packed(packed.clone(), lot) {
                Some(settled) => settled,
                None => rig.run(1000, |message| loki.push(message)).expect("an end"),
            };
            self.dropped += settled.dropped.iter().map(|(_, lot)| lot.entries).sum::<u64>();
            let aside = match settled.aside {
                None => 0,
                Some(Aside::Whole) => {
                    self.aside.push_back((packed, lot));
                    lot.entries
                }
                Some(Aside::Part { packed, lot: part }) => {
                    assert_eq!(Message::unpack(&packed).unwrap().len() as u64, part.entries);
                    self.aside.push_back((packed, part));
                    part.entries
                }
            };
            let dropped: u64 = settled.dropped.iter().map(|(_, lot)| lot.entries).sum();
            assert_eq!(settled.acknowledged + dropped + aside, lot.entries);
        }
        rig.pushes.len() - before
    }
}

fn lines(stream: &str, from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|number| format!("{stream} {number}")).collect()
}

#[test]
fn streams_without_room_wait_aside_and_the_others_go_on() {
    let (mut rig, mut loki, mut outbox) = (Rig::new(config()), Rooms::for_streams(2), outbox());
    outbox.put(&[("{a}", lines("a", 0, 3)), ("{b}", lines("b", 0, 3)), ("{c}", lines("c", 0, 3))]);
    // Once together, and then each by itself.
    assert_eq!(outbox.send(&mut rig, &mut loki), 4);
    assert_eq!((loki.lines(), outbox.aside.len()), (6, 1));
    assert_eq!((rig.lane.trouble(), rig.seen.troubles.len()), (Some(Trouble::StreamLimit), 1));
    // Loki is not asked for what it has no room for, and is given what it has in one piece.
    outbox.put(&[("{c}", lines("c", 3, 2)), ("{a}", lines("a", 3, 2)), ("{b}", lines("b", 3, 2))]);
    assert_eq!(outbox.send(&mut rig, &mut loki), 1);
    outbox.put(&[("{c}", lines("c", 5, 2))]);
    assert_eq!(outbox.send(&mut rig, &mut loki), 0);
    assert_eq!((loki.lines(), outbox.aside.len()), (10, 3));
    // A stream that nobody has asked for goes by itself: among others Loki might not say that it refused it.
    outbox.put(&[("{d}", lines("d", 0, 1)), ("{a}", lines("a", 5, 1)), ("{b}", lines("b", 5, 1))]);
    assert_eq!(outbox.send(&mut rig, &mut loki), 2);
    assert_eq!((loki.lines(), outbox.aside.len()), (12, 4));
    assert_eq!((rig.seen.troubles.len(), rig.seen.recovered.len()), (1, 0));
}

#[test]
fn what_is_aside_is_tried_again_oldest_first_and_holds_nothing_up() {
    let (mut rig, mut loki, mut outbox) = (Rig::new(config()), Rooms::for_streams(1), outbox());
    outbox.put(&[("{a}", lines("a", 0, 1)), ("{b}", lines("b", 0, 1))]);
    outbox.send(&mut rig, &mut loki);
    outbox.put(&[("{b}", lines("b", 1, 1))]);
    outbox.send(&mut rig, &mut loki);
    let first = rig.lane.again_at().expect("b waits");
    assert!((24..=37).contains(&(first - rig.now).as_secs()), "{:?}", first - rig.now);
    // New lines do not put it off, and are not held up by it.
    for number in 1..20 {
        rig.now += Duration::from_secs(1);
        outbox.put(&[("{a}", lines("a", number, 1)), ("{b}", lines("b", number + 1, 1))]);
        assert_eq!(outbox.send(&mut rig, &mut loki), 1);
    }
    assert_eq!(rig.lane.again_at(), Some(first));
    rig.now = first;
    assert_eq!(outbox.send(&mut rig, &mut loki), 1, "once, in vain");
    assert!(rig.lane.again_at().expect("later") > first);
    assert_eq!((rig.lane.trouble(), outbox.aside.len()), (Some(Trouble::StreamLimit), 21));
    loki.streams_max = 2;
    rig.now = rig.lane.again_at().expect("later");
    assert_eq!(outbox.send(&mut rig, &mut loki), 21);
    assert_eq!((loki.lines(), outbox.aside.len(), rig.lane.again_at()), (20 + 21, 0, None));
    assert_eq!((rig.lane.trouble(), rig.seen.recovered.len()), (None, 1));
    outbox.put(&[("{a}", lines("a", 20, 1)), ("{b}", lines("b", 21, 1))]);
    assert_eq!(outbox.send(&mut rig, &mut loki), 1, "as ever");
}

#[test]
fn what_was_given_up_meanwhile_is_not_waited_for() {
    let (mut rig, mut loki, mut outbox) = (Rig::new(config()), Rooms::for_streams(1), outbox());
    outbox.put(&[("{a}", lines("a", 0, 1)), ("{b}", lines("b", 0, 1))]);
    outbox.send(&mut rig, &mut loki);
    outbox.aside.clear();
    rig.now = rig.lane.again_at().expect("b waits");
    outbox.put(&[("{a}", lines("a", 1, 1))]);
    outbox.send(&mut rig, &mut loki);
    assert_eq!(rig.lane.trouble(), None);
}

#[test]
fn where_retries_are_written_a_batch_without_room_is_dropped() {
    for limited in [LaneConfig { max_retries: Some(3), ..config() }, LaneConfig { drop_rate_limited: true, ..config() }]
    {
        let mut rig = Rig::new(limited);
        rig.take(&[("{a}", lines("a", 0, 1)), ("{b}", lines("b", 0, 1))]);
        let settled = rig.run(3, |_| status(429, "Maximum active stream limit exceeded")).expect("an end");
        assert_eq!((dropped(&settled), settled.aside), (vec![(RATE_LIMITED, 2)], None));
    }
}

#[test]
fn a_batch_that_can_not_be_read_is_set_aside_whole() {
    let mut rig = Rig::new(config());
    assert_eq!(rig.take_packed(Bytes::from_static(b"\xff\xff"), Lot { entries: 3, bytes: 9 }), None);
    let Step::Push(_) = rig.lane.next(rig.now) else { panic!() };
    let settled = rig.lane.answered(status(429, "Maximum active stream limit exceeded"), rig.now, &mut rig.seen);
    assert_eq!(settled, Some(Settled { aside: Some(Aside::Whole), ..Settled::default() }));
}

#[test]
fn the_rest_of_a_stream_without_room_does_not_overtake_it() {
    let mut rig = Rig::new(config());
    rig.take_lines(100, 100);
    let mut answers = [status(413, ""), status(429, "Maximum active stream limit exceeded")].into_iter();
    let settled = rig.run(2, |_| answers.next().unwrap());
    assert_eq!(settled, Some(Settled { aside: Some(Aside::Whole), ..Settled::default() }));
}

#[test]
fn a_batch_that_is_given_up_counts_what_was_set_aside() {
    let mut rig = Rig::new(config());
    rig.take(&[("{a}", lines("a", 0, 2)), ("{b}", lines("b", 0, 3))]);
    rig.run(2, |_| status(429, "Maximum active stream limit exceeded"));
    let settled = rig.lane.abandon("spool_full").expect("it was under way");
    assert_eq!((dropped(&settled), settled.aside), (vec![("spool_full", 5)], None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(150)))]

    /// Whatever streams come and however much room there is: nothing is dropped, and when there is room for all, Loki has
    /// each line.
    #[test]
    fn with_room_in_the_end_each_line_arrives(
        batches in prop::collection::vec((prop::collection::btree_map(0..8_u8, 1..4_usize, 1..6), 0..40_u64), 1..12),
        rooms in prop::collection::vec(0..8_usize, 12),
    ) {
        let (mut rig, mut loki, mut outbox) = (Rig::new(config()), Rooms::for_streams(0), outbox());
        let (mut number, mut written) = (0, 0);
        // Loki tells of the last stream only: others of a first push that it refuses are nobody's to save.
        let silent = |stored: &BTreeMap<String, Vec<String>>, streams: &[(String, Vec<String>)], max: usize| {
            let known = streams.iter().filter(|(labels, _)| stored.contains_key(labels)).count();
            stored.len() + streams.len() - known > max
        };
        for ((streams, pause), room) in batches.iter().zip(&rooms) {
            loki.streams_max = loki.streams_max.max(*room);
            rig.now += Duration::from_secs(*pause);
            let streams: Vec<_> = streams.iter().map(|(stream, count)| {
                number += count;
                (format!("{{s=\"{stream}\"}}"), lines("x", number - count, *count))
            }).collect();
            if !rig.seen.requests.iter().any(|(code, _)| *code == Some(429)) && silent(&loki.stored, &streams, loki.streams_max) {
                // So that it is told: one that is refused stands last.
                loki.streams_max = loki.stored.len();
                if loki.stored.contains_key(&streams.last().unwrap().0) {
                    continue;
                }
            }
            let batch: Vec<_> = streams.iter().map(|(labels, lines)| (labels.as_str(), lines.clone())).collect();
            written += outbox.put(&batch);
            outbox.send(&mut rig, &mut loki);
        }
        loki.streams_max = 8;
        for _ in 0..2 {
            rig.now = rig.lane.again_at().unwrap_or(rig.now);
            outbox.send(&mut rig, &mut loki);
        }
        prop_assert_eq!((outbox.aside.len(), outbox.dropped), (0, 0));
        prop_assert_eq!(loki.lines() as u64, written);
        prop_assert_eq!((rig.lane.trouble(), rig.lane.again_at()), (None, None));
    }
}
