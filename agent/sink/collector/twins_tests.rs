use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

/// A stamp of a clock that counts nanoseconds.
const FINE: UnixNanos = 1_795_227_938_001_526_111;
/// One of a clock that counts seconds.
const COARSE: UnixNanos = 1_795_227_938_000_000_000;

/// Remembers everything.
#[derive(Default)]
struct Model(HashSet<(UnixNanos, Vec<u8>)>);

impl Model {
    fn place(&mut self, stamp: UnixNanos, line: &[u8]) -> UnixNanos {
        (stamp..).find(|given| self.0.insert((*given, line.to_vec()))).expect("room")
    }
}

/// Places entries given as times after `start`, and says what they got, as times after it.
fn placed(start: UnixNanos, entries: &[(i64, &str)]) -> Vec<i64> {
    let mut twins = Twins::default();
    entries.iter().map(|(after, line)| twins.place(start + after, line.as_bytes()) - start).collect()
}

/// Hashes a text only when it has to, as a collector does.
#[derive(Default)]
struct Late {
    twins: Twins,
    batch: Vec<u8>,
}

impl Late {
    fn place(&mut self, stamp: UnixNanos, line: &[u8]) -> UnixNanos {
        let start = self.batch.len();
        self.batch.extend_from_slice(line);
        if self.twins.begins_anew(stamp) {
            self.twins.begun_with(start..self.batch.len());
            return stamp;
        }
        self.twins.settle(&self.batch);
        self.twins.place(stamp, line)
    }

    fn seal(&mut self) {
        self.twins.settle(&self.batch);
        self.batch.clear();
    }
}

fn restarted(twins: &Twins) -> Twins {
    let mut bytes = Vec::new();
    twins.write(&mut Writer::new(&mut bytes));
    let mut reader = Reader::new(&bytes);
    let read = Twins::read(&mut reader).expect("as it was written");
    assert!(reader.is_empty() && read == *twins);
    read
}

#[test]
fn only_twins_are_moved() {
    assert_eq!(placed(FINE, &[(0, "a"), (0, "b"), (5, "a"), (5, "b"), (5, "")]), [0, 0, 5, 5, 5]);
    assert_eq!(placed(FINE, &[(0, "a"), (0, "a"), (0, "a"), (0, "b")]), [0, 1, 2, 0]);
    assert_eq!(placed(FINE, &[(0, "a"), (0, "b"), (0, "c"), (0, "b"), (0, "a"), (0, "a")]), [0, 0, 0, 1, 1, 2]);
}

#[test]
fn a_moved_twin_is_not_the_twin_of_the_next_nanosecond() {
    assert_eq!(placed(FINE, &[(0, "a"), (0, "a"), (1, "a"), (1, "a"), (4, "a")]), [0, 1, 2, 3, 4]);
    assert_eq!(placed(FINE, &[(0, "a"), (0, "a"), (0, "a"), (1, "b"), (2, "a"), (3, "a")]), [0, 1, 2, 1, 3, 4]);
    // The run of the first moment is known for as long as it reaches into the present.
    let mut entries = vec![(0, "a"); 10];
    entries.extend((1..9).map(|after| (after, "b")));
    entries.extend([(9, "a"), (9, "a")]);
    let wanted: Vec<i64> = (0..10).chain(1..9).chain([10, 11]).collect();
    assert_eq!(placed(FINE, &entries), wanted);
}

#[test]
fn a_coarse_clock_may_go_back_a_few_ticks() {
    const S: i64 = 1_000_000_000;
    let entries = [(0, "a"), (S, "a"), (0, "b"), (0, "a"), (2 * S, "a"), (S, "a"), (3 * S, "c"), (0, "b")];
    assert_eq!(placed(COARSE, &entries), [0, S, 0, 1, 2 * S, S + 1, 3 * S, 1]);
    // What came four moments ago is forgotten.
    let entries = [(0, "a"), (S, "a"), (2 * S, "a"), (3 * S, "a"), (4 * S, "a"), (S, "a"), (0, "a")];
    assert_eq!(placed(COARSE, &entries), [0, S, 2 * S, 3 * S, 4 * S, S + 1, 0]);
}

#[test]
fn of_a_fine_clock_one_moment_is_remembered() {
    let mut twins = Twins::default();
    for after in 0..100 {
        assert_eq!(twins.place(FINE + 7 * after, b"a"), FINE + 7 * after);
    }
    assert_eq!(twins.moments.len(), 1);
    twins.place(COARSE + 2_000_000_000, b"a");
    twins.place(COARSE + 3_000_000_000, b"a");
    assert_eq!(twins.moments.len(), 2 + 1);
    twins.place(FINE + 3_000_000_000, b"a");
    assert_eq!(twins.moments.len(), 1, "{twins:?}");
}

#[test]
fn a_crowd_is_bounded_and_nothing_of_it_is_lost() {
    let mut twins = Twins::default();
    let mut sent = HashSet::new();
    let mut place = |twins: &mut Twins, stamp: UnixNanos, number: usize| {
        let line = format!("line {number}");
        let given = twins.place(stamp, line.as_bytes());
        assert!(given >= stamp && sent.insert((given, number)), "{number} at {stamp} got {given}");
        assert!(twins.texts() <= TEXTS_MAX);
        given > stamp
    };
    let mut moved = 0;
    for number in (0..3 * TEXTS_MAX).chain(0..3 * TEXTS_MAX) {
        moved += usize::from(place(&mut twins, COARSE, number));
        if number.is_multiple_of(1000) {
            twins = restarted(&twins);
        }
    }
    // Those that are remembered were moved once, the others each time but for the one that made it a crowd.
    assert_eq!(moved, TEXTS_MAX + 2 * 2 * TEXTS_MAX - 1);
    // The nanoseconds that they were moved to come for themselves.
    for after in 1..5_000 {
        place(&mut twins, COARSE + after, after as usize);
    }
    // And the next second has the room that the one before had.
    for number in 0..TEXTS_MAX {
        assert!(!place(&mut twins, COARSE + 1_000_000_000, number), "{number}");
    }
}

#[test]
fn the_end_of_time_is_no_trap() {
    let mut twins = Twins::default();
    // There is no nanosecond left.
    assert_eq!([(); 3].map(|()| twins.place(i64::MAX - 1, b"a")), [i64::MAX - 1, i64::MAX, i64::MAX - 1]);
    restarted(&twins);
    assert_eq!([(); 3].map(|()| twins.place(i64::MIN, b"a")), [i64::MIN, i64::MIN + 1, i64::MIN + 2]);
    restarted(&twins);
}

const HASHES: [u64; 6] = [
    11004098460460114563,
    18193989949871307231,
    4304314286045653964,
    17375962234213569823,
    16918091969645066108,
    13934164464325334111,
];

/// What is on disk is compared with what these give: they never change.
#[test]
fn hashes_are_those_of_every_release() {
    let text: Vec<u8> = (0..=255).collect();
    let of = |length: usize| hash_of(&text[..length]);
    assert_eq!([0, 1, 63, 64, 65, 256].map(of), HASHES);
    let distinct: HashSet<u64> = (0..=256).map(of).chain([hash_of(&[0; 2]), hash_of(&[0; 3])]).collect();
    assert_eq!(distinct.len(), 257 + 2);
}

/// Times as a clock of this resolution tells them to several threads: by how much each goes on, or back.
fn entries(tick: i64, steps: std::ops::RangeInclusive<i64>) -> impl Strategy<Value = Vec<(i64, Vec<u8>)>> {
    let texts = prop::sample::select(vec![b"".to_vec(), b"a".to_vec(), b"b".to_vec(), vec![7; 40], vec![7; 41]]);
    let step = (prop_oneof![3 => Just(0), 2 => steps], texts);
    prop::collection::vec(step, 0..60).prop_map(move |steps| {
        let place = |now: &mut i64, (step, text): (i64, Vec<u8>)| {
            *now += step;
            Some((*now * tick, text))
        };
        steps.into_iter().scan(0, place).collect()
    })
}

fn check(start: UnixNanos, entries: Vec<(i64, Vec<u8>)>, restarts: usize) {
    let (mut twins, mut late, mut model) = (Twins::default(), Late::default(), Model::default());
    for (number, (after, line)) in entries.iter().enumerate() {
        let wanted = model.place(start + after, line);
        assert_eq!(twins.place(start + after, line), wanted, "entry {number} of {entries:?}");
        assert_eq!(late.place(start + after, line), wanted, "entry {number} of {entries:?}");
        if number % 7 == restarts {
            late.seal();
            assert_eq!(late.twins, twins, "after entry {number} of {entries:?}");
            twins = restarted(&twins);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
    ))]

    #[test]
    fn in_order_nothing_is_forgotten_that_matters(entries in entries(1, 0..=3), restarts in 0..8usize) {
        check(FINE, entries, restarts);
    }

    #[test]
    fn in_order_of_a_coarse_clock_too(entries in entries(1_000_000, 0..=1), restarts in 0..8usize) {
        check(COARSE, entries, restarts);
    }

    #[test]
    fn between_two_ticks_order_does_not_matter(flips in prop::collection::vec((0..4i64, 0..3u8), 0..100)) {
        let entries = flips.into_iter().map(|(tick, text)| (tick * 1_000, vec![text])).collect();
        check(COARSE, entries, 3);
    }

    #[test]
    fn whatever_is_on_disk_is_read_or_refused(
        entries in entries(1, 0..=3),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut twins = Twins::default();
        for (after, line) in &entries {
            twins.place(FINE + after, line);
        }
        let mut bytes = Vec::new();
        twins.write(&mut Writer::new(&mut bytes));
        let place = at.index(bytes.len());
        bytes[place] = byte;
        bytes.truncate(1 + cut.index(bytes.len()));
        if let Some(mut twins) = Twins::read(&mut Reader::new(&bytes)) {
            restarted(&twins);
            for (after, line) in &entries {
                prop_assert!(twins.place(FINE + after, line) >= FINE + after);
            }
        }
    }
}
