use super::loki::{Sent, read};
use super::*;
use crate::diagnostic::Diagnostics;
use crate::keep::{Entries, Slot, Table};
use crate::yaml::{self, FromNode};
use std::collections::BTreeMap;

const SECOND: Duration = Duration::from_secs(1);
/// A time that no clock of these tests tells twice.
const T: UnixNanos = 1_795_227_938_001_526_111;

/// A client with these lines in its configuration.
pub fn client(lines: &str) -> ClientConfig {
    let mut d = Diagnostics::new();
    let node = yaml::parse(&format!("url: http://loki/loki/api/v1/push\n{lines}"), &mut d).expect("YAML");
    let config = ClientConfig::from_node(&node, &mut d).expect("a client");
    assert!(!d.has_errors());
    config
}

fn collector(lines: &str) -> Collector {
    Collector::new(&client(lines), &EntryLimits::default())
}

impl Collector {
    /// An entry with these labels.
    pub fn add_labelled<'e>(
        &mut self,
        labels: impl Iterator<Item = (&'e str, &'e [u8])>,
        stamp: UnixNanos,
        line: &[u8],
        metadata: impl Iterator<Item = (&'e [u8], &'e [u8])>,
        now: Duration,
    ) {
        let stream = self.stream_of(labels, now);
        self.add(stream, stamp, line, metadata, now);
    }

    /// An entry of the stream `{app="…"}`.
    fn line(&mut self, app: &str, stamp: UnixNanos, line: &str) {
        self.line_at(SECOND, app, stamp, line);
    }

    fn line_at(&mut self, now: Duration, app: &str, stamp: UnixNanos, line: &str) {
        self.add_labelled([("app", app.as_bytes())].into_iter(), stamp, line.as_bytes(), [].into_iter(), now);
    }

    fn line_of(&mut self, tenant: &str, line: &str) {
        let labels = [("__tenant_id__", tenant.as_bytes()), ("app", b"a")];
        self.add_labelled(labels.into_iter(), T, line.as_bytes(), [].into_iter(), SECOND);
    }

    /// The batches that were sealed, as `tenant{labels}: line line | {labels}: line`.
    fn shown(&mut self) -> Vec<String> {
        let show = |sealed: Sealed| {
            let read = read(&sealed);
            let stream = |(labels, entries): &(String, Vec<Sent>)| {
                let lines: Vec<&str> = entries.iter().map(|sent| sent.line.as_str()).collect();
                format!("{labels}: {}", lines.join(" "))
            };
            format!("{}{}", read.tenant, read.streams.iter().map(stream).collect::<Vec<_>>().join(" | "))
        };
        self.sealed().map(show).collect()
    }

    /// What was dropped and changed, as `tenant reason entries bytes`.
    fn told(&mut self) -> (Vec<String>, Vec<String>) {
        let Tally { dropped, mutated } = self.tally();
        let show = |tallied: Tallied| {
            format!("{} {} {} {}", tallied.tenant, tallied.reason, tallied.lot.entries, tallied.lot.bytes)
        };
        (dropped.into_iter().map(show).collect(), mutated.into_iter().map(show).collect())
    }

    fn kept(&self, client: u64) -> Entries {
        let mut entries = Entries::default();
        self.keep(&mut entries, client);
        entries
    }
}

#[test]
fn entries_of_a_stream_stand_together_in_their_order() {
    let mut collector = collector("tenant_id: t");
    for (number, app) in ["b", "a", "a", "b", "a", "c", "b"].into_iter().enumerate() {
        collector.line(app, T + number as i64, &number.to_string());
    }
    assert_eq!(collector.shown(), [""; 0]);
    collector.seal();
    assert_eq!(collector.shown(), [r#"t{app="b"}: 0 3 6 | {app="a"}: 1 2 4 | {app="c"}: 5"#]);
    collector.seal();
    assert_eq!(collector.shown(), [""; 0]);
}

#[test]
fn a_batch_is_sealed_before_the_entry_that_would_exceed_it() {
    let mut collector = collector("batchsize: 10");
    for line in ["12345", "67890", "x", "a line longer than ten", "y", "", "z"] {
        collector.line("a", T, line);
    }
    let a = |lines: &str| format!(r#"{{app="a"}}: {lines}"#);
    assert_eq!(collector.shown(), [a("12345 67890"), a("x"), a("a line longer than ten")]);
    // Structured metadata counts.
    let pairs = [(&b"1234"[..], &b"5678"[..])];
    collector.add_labelled([("app", &b"a"[..])].into_iter(), T, b"0", pairs.into_iter(), SECOND);
    assert_eq!(collector.shown(), [a("y  z")]);
    collector.seal();
    assert_eq!(collector.shown(), [a("0")]);
}

#[test]
fn a_batch_of_lines_without_bytes_ends_too() {
    let mut collector = collector("batchsize: 100000");
    let most = 4 * 100_000;
    for number in 0..100_000 {
        collector.line("a", T + number, "");
    }
    let lengths: Vec<usize> = collector.sealed().map(|sealed| sealed.message.len()).collect();
    assert!(!lengths.is_empty() && lengths.iter().all(|length| (most / 2..=most).contains(length)), "{lengths:?}");
}

#[test]
fn a_batch_waits_no_longer_than_batchwait() {
    let mut collector = collector("batchwait: 5s");
    assert_eq!(collector.due(), None);
    collector.line_at(10 * SECOND, "a", T, "1");
    collector.line_at(12 * SECOND, "a", T, "2");
    assert_eq!(collector.due(), Some(15 * SECOND));
    collector.tick(15 * SECOND - Duration::from_nanos(1));
    assert_eq!(collector.sealed().count(), 0);
    collector.tick(15 * SECOND);
    assert_eq!(collector.sealed().map(|sealed| (sealed.begun, sealed.lines)).collect::<Vec<_>>(), [(10 * SECOND, 2)]);
    assert_eq!(collector.due(), None);
}

#[test]
fn each_tenant_has_batches_of_its_own() {
    let mut collector = collector("tenant_id: usual\nbatchsize: 4");
    collector.line_of("x", "1");
    collector.line("a", T, "2");
    collector.line_of("", "3");
    collector.line_of("x", "four");
    assert_eq!(collector.shown(), [r#"x{app="a"}: 1"#]);
    collector.seal();
    assert_eq!(collector.shown(), [r#"x{app="a"}: four"#, r#"usual{app="a"}: 2"#, r#"{app="a"}: 3"#]);
}

#[test]
fn lines_that_are_too_long_are_dropped_or_cut() {
    let limits = EntryLimits { line_bytes_max: 4, ..EntryLimits::default() };
    let lines = ["1234", "12345", "äö", "xäö", "123ä"];
    let mut dropping = Collector::new(&client("tenant_id: t"), &limits);
    let mut cutting = Collector::new(&client("tenant_id: t"), &EntryLimits { truncate: true, ..limits });
    for line in lines {
        dropping.line("a", T, line);
        cutting.line("a", T, line);
    }
    dropping.seal();
    cutting.seal();
    assert_eq!(dropping.shown(), [r#"t{app="a"}: 1234 äö"#]);
    assert_eq!(cutting.shown(), [r#"t{app="a"}: 1234 1234 äö xä 123"#]);
    assert_eq!(dropping.told(), (vec!["t line_too_long 3 15".to_string()], vec![]));
    assert_eq!(cutting.told(), (vec![], vec!["t line_too_long 3 5".to_string()]));
    assert_eq!(cutting.told(), (vec![], vec![]));
}

#[test]
fn a_line_that_was_cut_may_be_a_twin_of_another() {
    let limits = EntryLimits { line_bytes_max: 2, truncate: true, ..EntryLimits::default() };
    let mut collector = Collector::new(&client(""), &limits);
    for line in [&b"abc"[..], b"abd", b"\xff", b"\xfe"] {
        collector.add_labelled([].into_iter(), T, line, [].into_iter(), SECOND);
    }
    collector.seal();
    let stamps: Vec<i64> =
        collector.sealed().flat_map(|sealed| read(&sealed).streams.remove(0).1).map(|sent| sent.stamp - T).collect();
    // What Loki sees of the last two is U+FFFD, which is longer than two bytes: nothing.
    assert_eq!(stamps, [0, 1, 0, 1]);
}

#[test]
fn bytes_that_are_no_utf8_are_replaced_and_told() {
    let mut collector = collector("");
    let labels = [("bad", &b"a\xff"[..]), ("good", "ä".as_bytes())];
    let pairs = [(&b"k"[..], &b"v\xfe\xfd"[..])];
    collector.add_labelled(labels.into_iter(), T, b"x\xe2\x82y", pairs.into_iter(), SECOND);
    collector.add_labelled(labels.into_iter(), T, b"fine", [].into_iter(), SECOND);
    collector.seal();
    let mut read = read(&collector.sealed().next().expect("a batch"));
    let (labels, entries) = read.streams.remove(0);
    assert_eq!(labels, r#"{bad="a\xff", good="ä"}"#);
    let metadata = vec![("k".to_string(), "v\u{fffd}\u{fffd}".to_string())];
    assert_eq!(entries[0], Sent { stamp: T, line: "x\u{fffd}\u{fffd}y".to_string(), metadata });
    assert_eq!(collector.told(), (vec![], vec![" invalid_utf8 1 4".to_string()]));
}

#[test]
fn a_stream_too_many_is_left_out_of_its_batch_only() {
    let limits = EntryLimits { batch_streams_max: 2, ..EntryLimits::default() };
    let mut collector = Collector::new(&client(""), &limits);
    for app in ["a", "b", "c", "a", "c"] {
        collector.line(app, T, app);
    }
    collector.seal();
    collector.line("c", T, "welcome");
    collector.seal();
    assert_eq!(collector.shown(), [r#"{app="a"}: a a | {app="b"}: b"#, r#"{app="c"}: welcome"#]);
    assert_eq!(collector.told(), (vec![" stream_limited 2 2".to_string()], vec![]));
}

#[test]
fn streams_that_are_still_are_forgotten() {
    let mut collector = collector("batchwait: 1s");
    collector.line_at(SECOND, "still", T, "1");
    collector.line_at(SECOND, "busy", T, "1");
    collector.tick(300 * SECOND);
    collector.line_at(300 * SECOND, "busy", T, "2");
    collector.tick(600 * SECOND);
    assert_eq!(collector.streams.len(), 2);
    collector.tick(661 * SECOND);
    assert_eq!(collector.streams.len(), 1);
    // What has entries in an open batch is never forgotten.
    collector.line_at(662 * SECOND, "busy", T, "3");
    collector.batch_wait = 9_999 * SECOND;
    collector.tick(5_000 * SECOND);
    assert_eq!(collector.streams.len(), 1);
    collector.seal();
    collector.tick(6_000 * SECOND);
    assert_eq!((collector.streams.len(), collector.tenants.iter().all(Tenant::is_gone)), (0, true));
}

#[test]
fn more_streams_than_can_be_known_are_sent_all_the_same() {
    let mut collector = collector("batchsize: 1000000000");
    let all = STREAMS_MAX + 500;
    for number in 0..all {
        collector.line(&number.to_string(), T, "x");
        assert!(collector.streams.len() <= STREAMS_MAX);
        if number == 20 {
            collector.seal();
        }
    }
    collector.seal();
    assert_eq!(collector.sealed().map(|sealed| read(&sealed).streams.len()).sum::<usize>(), all);
    assert_eq!(collector.streams.iter().count(), STREAMS_MAX);
    assert_eq!(collector.tally(), Tally::default());
}

#[test]
fn a_tenant_too_many_is_counted_until_another_is_gone() {
    let mut collector = collector("");
    for number in 0..=TENANTS_MAX {
        collector.line_of(&number.to_string(), "four");
    }
    assert_eq!(collector.told(), (vec!["__other__ tenant_limited 1 4".to_string()], vec![]));
    collector.seal();
    assert_eq!(collector.sealed().count(), TENANTS_MAX);
    collector.tick(700 * SECOND);
    collector.line_of("new", "four");
    collector.seal();
    assert_eq!(collector.shown(), [r#"new{app="a"}: four"#]);
    assert_eq!(collector.told(), (vec![], vec![]));
}

#[test]
fn open_batches_are_bounded_together() {
    let mut collector = collector("batchsize: 100000000\nbatchwait: 1h");
    let line = "x".repeat(1 << 20);
    for number in 0..80 {
        collector.line_of(&(number % 3).to_string(), &line);
        assert!(collector.sealing.open_bytes <= OPEN_BYTES_MAX);
    }
    assert_eq!(collector.sealed().map(|sealed| sealed.lines).collect::<Vec<_>>(), [22, 21, 21]);
    collector.seal();
    assert_eq!((collector.sealed().map(|sealed| sealed.lines).sum::<u64>(), collector.sealing.open_bytes), (16, 0));
}

#[test]
fn memory_of_messages_is_used_again_and_bounded() {
    let mut collector = collector("");
    collector.line("a", T, "a line");
    collector.seal();
    let message = collector.sealed().next().expect("a batch").message;
    let (place, capacity) = (message.as_ptr(), message.capacity());
    collector.recycle(message);
    collector.line("a", T, "b line");
    collector.seal();
    let again = collector.sealed().next().expect("a batch").message;
    assert_eq!((again.as_ptr(), again.capacity()), (place, capacity));
    assert!(again.ends_with(b"b line"));
    // Not for a message that needs little of it.
    collector.recycle(Vec::with_capacity(1 << 20));
    collector.line("a", T, "c line");
    collector.seal();
    assert!(collector.sealed().next().expect("a batch").message.capacity() < 200);
    collector.line("a", T, &"d".repeat(1 << 19));
    collector.seal();
    assert_eq!(collector.sealed().next().expect("a batch").message.capacity(), 1 << 20);
    collector.sealing = Sealing::new(2 << 20);
    (0..100).for_each(|_| collector.recycle(Vec::with_capacity(10)));
    collector.recycle(Vec::with_capacity(100 << 20));
    assert!(collector.sealing.spare_bytes() < 200, "{}", collector.sealing.spare_bytes());
}

#[test]
fn damaged_slots_are_counted_and_the_others_taken() {
    let mut old = collector("");
    for app in ["a", "b", "c", "d", "e"] {
        old.line(app, T, "x");
    }
    old.seal();
    let mut slots: BTreeMap<Slot, Box<[u8]>> = old.kept(3).iter().map(|(slot, bytes)| (slot, bytes.into())).collect();
    let slot = |index: u64| Slot { table: Table::STREAMS, index: 3 << 32 | index };
    assert_eq!(slots.len(), 10);
    slots.insert(slot(0), b"\x09app".as_slice().into());
    slots.insert(slot(3), b"\x01".as_slice().into());
    slots.remove(&slot(4));
    let twice = slots[&slot(8)].clone();
    slots.insert(slot(6), twice);
    // A number that no stream has, and another client's slot.
    slots.insert(slot((STREAMS_MAX as u64) << 1), b"".as_slice().into());
    slots.insert(slot((STREAMS_MAX as u64) << 1 | 1), b"\0".as_slice().into());
    slots.insert(Slot { table: Table::STREAMS, index: 4 << 32 }, b"".as_slice().into());
    let mut new = collector("");
    // Of two with the same labels the first is taken.
    assert_eq!(new.restore(&slots.into_iter().collect(), 3), 5);
    let known: Vec<(u32, &str)> = new.streams.iter().map(|(number, stream)| (number, &*stream.labels)).collect();
    assert_eq!(known, [(3, r#"{app="e"}"#)]);
    // Numbers that were not taken are used again.
    for app in ["f", "g", "h", "i", "j"] {
        new.line(app, T, "x");
    }
    assert_eq!(new.streams.iter().map(|(number, _)| number).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_restored_stream_is_not_forgotten_at_once() {
    let mut old = collector("");
    old.line("a", T, "x");
    old.seal();
    let mut new = collector("");
    assert_eq!(new.restore(&old.kept(0), 0), 0);
    new.tick(100_000 * SECOND);
    assert_eq!(new.streams.len(), 1);
    new.tick(100_700 * SECOND);
    assert_eq!(new.streams.len(), 0);
}

#[test]
fn a_cut_changes_only_slots_of_streams_that_were_written_to() {
    let mut collector = collector("");
    for number in 0..100 {
        collector.line(&number.to_string(), T, "x");
    }
    collector.seal();
    let before = collector.kept(1);
    collector.line("7", T + 1, "y");
    collector.seal();
    let mut changed = Changes::default();
    collector.kept(1).changes_since(&before, &mut changed);
    assert_eq!(changed.0.len(), 1);
    assert!(changed.0[0].1 < 24, "{changed:?}");
}

#[derive(Debug, Default)]
struct Changes(Vec<(Slot, usize)>);

impl crate::keep::Keep for Changes {
    fn put(&mut self, slot: Slot, value: &[u8]) {
        self.0.push((slot, value.len()));
    }

    fn delete(&mut self, slot: Slot) {
        self.0.push((slot, 0));
    }
}
