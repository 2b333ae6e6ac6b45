use super::super::admission::{Limit, OTHER};
use super::super::group::GroupId;
use super::super::{Family, Kind, Shown, Store};
use super::*;
use proptest::prelude::*;
use std::time::Duration;

/// Values that meet: short and long, empty, not UTF-8, too long, `__other__`.
fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Vec::new())),
        1 => Just(Some(OTHER.as_bytes().to_vec())),
        6 => prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b')], 1..4).prop_map(Some),
        4 => (1usize..70, 0usize..70, any::<bool>()).prop_map(|(len, at, other)| {
            let mut text = vec![b'x'; len];
            text[at % len] = if other { b'y' } else { b'x' };
            Some(text)
        }),
        1 => prop::collection::vec(any::<u8>(), 1..12).prop_map(Some),
        1 => (1020usize..1030, any::<bool>()).prop_map(|(len, other)| {
            let mut text = vec![b'z'; len];
            text[len - 1] = if other { 0xff } else { b'z' };
            Some(text)
        }),
    ]
}

fn cases() -> u32 {
    std::env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(96)
}

/// A store with a metric of three labels.
struct Counting {
    store: Store,
    group: GroupId,
    names: [LabelName; 3],
    now: u32,
}

impl Counting {
    fn new(series_max: usize, overflow: &[usize], values_max: Option<usize>) -> Counting {
        Counting::with(None, series_max, overflow, values_max)
    }

    /// Without limits; series end when they are idle for so long.
    fn idle(max: Duration) -> Counting {
        let mut counting = Counting::with(Some(max), usize::MAX, &[], None);
        counting.store.set_hold(Duration::ZERO);
        counting
    }

    fn with(max_idle: Option<Duration>, series_max: usize, overflow: &[usize], values_max: Option<usize>) -> Counting {
        let mut store = Store::new();
        let family = Family { name: "lines_total".into(), help: String::new(), kind: Kind::Counter, max_idle };
        let family = store.define(family).unwrap();
        let names = ["a", "b", "c"].map(|name| store.label_name(name));
        let overflow = overflow.iter().map(|at| names[*at]).collect();
        let values_max = values_max.map(|max| (names[1], max)).into_iter().collect();
        let group = store.group(&[family], Limit { series_max, overflow, values_max });
        Counting { store, group, names, now: 1 }
    }

    /// By a key that is built: the plain way.
    fn by_key(&mut self, line: &[Option<Vec<u8>>; 3], order: [usize; 3]) {
        let mut key = LabelKey::new();
        for at in order {
            if let Some(value) = &line[at] {
                key.push(self.names[at], value);
            }
        }
        let row = self.store.row(self.group, &mut key, self.now);
        self.store.cells(self.group, row).inc(0).unwrap();
    }

    /// By labels that are made ready.
    fn by_values(&mut self, values: &mut [LabelValue], line: &[Option<Vec<u8>>; 3], order: [usize; 3]) {
        for (at, value) in line.iter().enumerate() {
            self.store.set_value(&mut values[at], self.names[at], value.as_deref());
        }
        let order = order.map(|at| at as u16);
        self.store.set_now(self.now);
        self.store.cells_of(self.group, LabelSet::new(values, &order, &mut Numbers::default())).inc(0).unwrap();
    }

    /// Everything that is shown, and the books.
    fn shown(&self) -> String {
        let snapshot = self.store.snapshot();
        let samples: Vec<_> = snapshot.samples(Shown::ToPerson).collect();
        format!("{samples:?} {:?}", snapshot.stats())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn both_ways_to_a_row_count_the_same(
        lines in prop::collection::vec((prop::array::uniform3(value()), 1usize..200), 1..60),
        series_max in 1usize..12,
        overflow in prop::sample::subsequence(vec![0usize, 1, 2], 0..3),
        values_max in prop::option::of(1usize..4),
        order in prop_oneof![4 => Just([0, 1, 2]), 1 => Just([2, 0, 1])],
        mixed in any::<bool>(),
    ) {
        let (mut plain, mut ready) =
            (Counting::new(series_max, &overflow, values_max), Counting::new(series_max, &overflow, values_max));
        let mut values = vec![LabelValue::default(); 3];
        for (at, (line, times)) in lines.iter().enumerate() {
            // Often enough to be promoted.
            for _ in 0..*times {
                plain.by_key(line, order);
                if mixed && at % 2 == 0 {
                    ready.by_key(line, order);
                } else {
                    ready.by_values(&mut values, line, order);
                }
            }
        }
        prop_assert_eq!(plain.shown(), ready.shown());
    }

    #[test]
    fn a_value_is_what_a_key_makes_of_it(before in value(), after in value()) {
        let counting = Counting::new(1, &[], None);
        let (name, mut label) = (counting.names[1], LabelValue::default());
        for value in [before, after] {
            counting.store.set_value(&mut label, name, value.as_deref());
            let (mut built, mut pushed) = (LabelKey::new(), LabelKey::new());
            let mut numbers = Numbers::default();
            let labels = LabelSet::new(std::slice::from_ref(&label), &[0], &mut numbers);
            labels.write(&mut built, &counting.store.terms);
            if let Some(value) = &value {
                pushed.push(name, value);
            }
            prop_assert_eq!(built.to_stored(), pushed.to_stored());
            prop_assert_eq!(labels.hash(), row_hash(&counting.store.terms, pushed.identity()));
        }
    }

    /// Rows of all widths in one group, and label sets that are too many to stand side by side.
    #[test]
    fn any_number_of_labels_makes_the_series_of_its_key(
        lines in prop::collection::vec(prop::collection::vec(prop_oneof![
            6 => Just(Some("a")), 2 => Just(Some("b")), 1 => Just(Some("")), 1 => Just(None),
        ], 0..NUMBERS_MAX + 6), 1..40),
        series_max in prop_oneof![Just(2usize), Just(usize::MAX)],
    ) {
        let (mut plain, mut ready) = (Counting::new(series_max, &[], None), Counting::new(series_max, &[], None));
        let mut values = vec![LabelValue::default(); NUMBERS_MAX + 6];
        let name_of = |at: usize| format!("l{at:02}");
        for line in lines.iter().flat_map(|line| [line, line]) {
            let mut key = LabelKey::new();
            for (at, value) in line.iter().enumerate() {
                let name = plain.store.label_name(&name_of(at));
                prop_assert_eq!(name, ready.store.label_name(&name_of(at)));
                ready.store.set_value(&mut values[at], name, value.map(str::as_bytes));
                if let Some(value) = value {
                    key.push(name, value.as_bytes());
                }
            }
            let row = plain.store.row(plain.group, &mut key, 1);
            plain.store.cells(plain.group, row).inc(0).unwrap();
            let which: Vec<u16> = (0..line.len() as u16).collect();
            let mut numbers = Numbers::default();
            ready.store.set_now(1);
            ready.store.count(ready.group, LabelSet::in_order(&values, &which, &mut numbers));
            prop_assert_eq!(plain.shown(), ready.shown());
        }
    }

    /// Told by the numbers alone: the hash that is compared before would hide a mistake.
    #[test]
    fn numbers_are_those_of_a_row_or_not(
        theirs in prop::collection::vec(2..4u32, 0..NUMBERS_MAX + 6),
        cut in 0..6usize,
        other in prop::option::weighted(0.2, prop::collection::vec(2..4u32, 0..=NUMBERS_MAX)),
        room in 0..3usize,
    ) {
        // Mostly the first of them.
        let some = &theirs[..theirs.len().saturating_sub(cut).min(NUMBERS_MAX)];
        let ours = other.unwrap_or_else(|| some.to_vec());
        let mut row = vec![[NONE; 4]; theirs.len().div_ceil(4) + room];
        row.as_flattened_mut()[..theirs.len()].copy_from_slice(&theirs);
        let mut numbers = Numbers::default();
        numbers.take(ours.iter().map(|id| (*id, 1)));
        prop_assert_eq!(numbers.are(&row), ours == theirs, "{:?} {:?}", ours, row);
    }

    /// Series end, and what numbered their labels comes to mean others.
    #[test]
    fn a_number_that_was_given_up_means_nothing_any_more(
        lines in prop::collection::vec((prop::array::uniform3(value()), prop::option::of(1u32..200)), 1..80),
    ) {
        let idle = Duration::from_secs(60);
        let (mut plain, mut ready) = (Counting::idle(idle), Counting::idle(idle));
        let mut values = vec![LabelValue::default(); 3];
        let mut now = 100;
        for (line, pause) in &lines {
            now += pause.unwrap_or(0);
            for counting in [&mut plain, &mut ready] {
                counting.now = now;
                let at = Duration::from_secs(now.into());
                if pause.is_some() {
                    let cut = counting.store.cut(true, at).number();
                    counting.store.served(cut, at);
                }
            }
            plain.by_key(line, [0, 1, 2]);
            ready.by_values(&mut values, line, [0, 1, 2]);
            prop_assert_eq!(plain.shown(), ready.shown());
        }
    }
}
