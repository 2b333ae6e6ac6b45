use super::*;
use crate::metrics::{Family, GroupId, Kind, LabelKey, Limit, Shown};
use crate::pipeline::Place;
use proptest::prelude::*;

/// A store with a counter, and so many labels in no order: with `hides`, each third one has a name that series do not have.
struct Counting {
    store: Store,
    group: GroupId,
    names: Vec<Box<str>>,
    order: Vec<u16>,
}

impl Counting {
    fn new(labels: usize, hides: bool) -> Counting {
        let mut store = Store::new();
        let family = Family { name: "lines_total".into(), help: String::new(), kind: Kind::Counter, max_idle: None };
        let family = store.define(family).unwrap();
        let group = store.group(&[family], Limit { series_max: usize::MAX, ..Limit::default() });
        let name = |n: usize| match n % 3 {
            2 if hides => format!("__hidden_{n}"),
            _ => format!("label_{:03}", n * 37 % 101),
        };
        let names: Vec<Box<str>> = (0..labels).map(|n| name(n).into()).collect();
        let mut order: Vec<u16> = (0..labels as u16).collect();
        order.sort_by_key(|label| &names[usize::from(*label)]);
        Counting { store, group, names, order }
    }

    /// The plain way: a key of all labels that are set.
    fn count_by_key(&mut self, labels: &[Option<Text>], bytes: &[u8]) {
        let mut key = LabelKey::new();
        for label in &self.order {
            let name = &self.names[usize::from(*label)];
            if let (false, Some(text)) = (name.starts_with("__"), labels[usize::from(*label)]) {
                key.push(self.store.label_name(name), &bytes[text.range()]);
            }
        }
        let row = self.store.row(self.group, &mut key, 1);
        self.store.cells(self.group, row).inc(0).unwrap();
    }

    fn shown(&self) -> String {
        format!("{:?}", self.store.snapshot().samples(Shown::ToPerson).collect::<Vec<_>>())
    }
}

fn text(value: u8) -> Option<Text> {
    let value = usize::from(value % 4);
    (value > 0).then(|| Text::new(Place::Input, value, value * 2))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Lines of one source or another, labels that are set and taken away between counts: more lists of them than are
    /// remembered, and each again and again.
    #[test]
    fn what_has_changed_is_enough_to_know(
        labels in prop_oneof![1usize..12, 60usize..100],
        hides in any::<bool>(),
        lines in prop::collection::vec(
            (any::<bool>(), prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>(), prop::bool::weighted(0.1)), 0..12)),
            1..60,
        ),
    ) {
        let [mut by_key, mut ready] = [(); 2].map(|()| Counting::new(labels, hides));
        let bytes = b"abcdefgh";
        let initial: [Vec<Option<Text>>; 2] = [0, 1].map(|source| (0..labels).map(|n| text((n * source) as u8)).collect());
        let (names, order) = (ready.names.clone(), ready.order.clone());
        let sources = [0, 1].map(|source| SeriesNames::new(&names, &initial[source], &order, &mut ready.store));
        let mut entry_labels = EntryLabels::default();
        for (source, changes) in lines {
            let source = usize::from(source);
            let (mut present, names) = (initial[source].clone(), &sources[source]);
            let mut marks = Marks::of_new_line(names);
            for (label, value, counts, retains) in changes {
                let label = LabelId(label.index(labels) as u16);
                let changed = &mut present[usize::from(label.0)];
                *changed = text(value);
                match changed {
                    Some(_) => marks.label_was_set(label, names),
                    None => marks.label_was_taken(label, names),
                }
                if retains {
                    let every = usize::from(value % 7) + 1;
                    let allowed: Vec<LabelId> = (0..labels).step_by(every).map(|label| LabelId(label as u16)).collect();
                    let wanted: Vec<_> = (0..).zip(&present).map(|(n, text)| text.filter(|_| n % every == 0)).collect();
                    marks.retain(&mut present, &allowed, names);
                    prop_assert_eq!(&present, &wanted);
                }
                if counts {
                    by_key.count_by_key(&present, bytes);
                    let get = |text: Text| &bytes[text.range()];
                    let set = entry_labels.make_ready(&present, &mut marks, names, get, &ready.store);
                    ready.store.cells_of(ready.group, set).inc(0).unwrap();
                }
            }
        }
        prop_assert_eq!(by_key.shown(), ready.shown());
    }
}
