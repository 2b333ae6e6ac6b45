use super::*;
use crate::keep::{Entries, Keep, Slot, Table};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Slots as the checkpoint keeps them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slots(pub BTreeMap<Slot, Vec<u8>>);

impl Keep for Slots {
    fn put(&mut self, slot: Slot, value: &[u8]) {
        self.0.insert(slot, value.to_vec());
    }

    fn delete(&mut self, slot: Slot) {
        assert!(self.0.remove(&slot).is_some(), "{slot:?} was not there");
    }
}

impl Slots {
    pub fn of(snapshot: &Snapshot) -> Slots {
        let mut slots = Slots::default();
        snapshot.changes_since(None, &mut slots);
        slots
    }

    pub fn entries(&self) -> Entries {
        self.0.iter().map(|(slot, value)| (*slot, value.clone().into())).collect()
    }

    /// What the slots that became these held.
    pub fn before(&self, before: &Slots) -> Vec<(Slot, Option<Box<[u8]>>)> {
        let all = self.0.keys().chain(before.0.keys()).collect::<std::collections::BTreeSet<_>>();
        let changed = all.into_iter().filter(|slot| self.0.get(slot) != before.0.get(slot));
        changed.map(|slot| (*slot, before.0.get(slot).map(|value| value.clone().into()))).collect()
    }
}

/// A store with a counter, a gauge and a histogram in one group, the counter in another, too.
struct Kinds {
    store: Store,
    groups: [GroupId; 2],
    names: [LabelName; 2],
}

impl Kinds {
    fn new(bounds: &[f64]) -> Kinds {
        let mut store = Store::new();
        store.set_hold(10 * SECOND);
        let mut define = |name: &str, kind| {
            store.define(Family { name: name.into(), help: String::new(), kind, max_idle: None }).unwrap()
        };
        let families = [define("c", Kind::Counter), define("g", Kind::Gauge), define("h", Kind::histogram(bounds))];
        let limit = || Limit { series_max: 1000, ..Limit::default() };
        let groups = [store.group(&families, limit()), store.group(&families[..1], limit())];
        let names = ["a", "b"].map(|name| store.label_name(name));
        Kinds { store, groups, names }
    }

    fn cells(&mut self, group: usize, values: [&str; 2]) -> Cells<'_> {
        let mut key = LabelKey::new();
        self.names.iter().zip(values).for_each(|(name, value)| key.push(*name, value.as_bytes()));
        let row = self.store.row(self.groups[group], &mut key, 1);
        self.store.cells(self.groups[group], row)
    }

    fn some(bounds: &[f64]) -> Kinds {
        let mut kinds = Kinds::new(bounds);
        kinds.cells(0, ["1", "x"]).add(0, 1e18).unwrap();
        kinds.cells(0, ["1", "x"]).set(1, f64::NEG_INFINITY).unwrap();
        kinds.cells(0, ["2", ""]).observe(2, 0.75).unwrap();
        let cut = kinds.store.cut(true, 5 * SECOND);
        kinds.store.served(cut.number(), 6 * SECOND);
        kinds.cells(0, ["3", "y"]).add(0, 2.25).unwrap();
        kinds.store.cut(true, 7 * SECOND);
        kinds.cells(1, ["1", "x"]).inc(0).unwrap();
        kinds.cells(1, ["", ""]).inc(0).unwrap();
        kinds
    }
}

fn page(snapshot: &Snapshot, shown: Shown) -> String {
    let mut page = Vec::new();
    encode(Format::Text004, snapshot, &[], &mut page, shown).unwrap();
    String::from_utf8(page).unwrap()
}

fn both(snapshot: &Snapshot) -> [String; 2] {
    [page(snapshot, Shown::ToScraper), page(snapshot, Shown::ToPerson)]
}

#[test]
fn what_was_kept_comes_back_as_it_was() {
    let old = Kinds::some(&[0.5, 1.0]).store.snapshot();
    let mut new = Kinds::new(&[0.5, 1.0]);
    let slots = Slots::of(&old);
    let restored = new.store.restore(&slots.entries(), &[], Restore::Continue, 9 * SECOND);
    assert_eq!(restored, Restored { series: 6, ..Restored::default() });
    assert_eq!(both(&new.store.snapshot()), both(&old));
    // Whole to the last digit, far past what a float could tell apart.
    assert!(page(&old, Shown::ToPerson).contains("c{a=\"1\",b=\"x\"} 1000000000000000001\n"));
    // Numbers of cuts go on, and what is held waits anew.
    let cut = new.store.cut(true, 1000 * SECOND);
    assert_eq!(cut.number(), 3);
    new.store.served(3, 1001 * SECOND);
    assert!(page(&new.store.cut(true, 1010 * SECOND), Shown::ToScraper).contains("h_count{a=\"2\",b=\"\"} 0\n"));
    assert!(page(&new.store.cut(true, 1011 * SECOND), Shown::ToScraper).contains("h_count{a=\"2\",b=\"\"} 1\n"));
}

#[test]
fn a_metric_that_changed_or_went_does_not_come_back() {
    let slots = Slots::of(&Kinds::some(&[0.5, 1.0]).store.snapshot());
    let mut other = Kinds::new(&[0.5]);
    let restored = other.store.restore(&slots.entries(), &[], Restore::Continue, SECOND);
    assert_eq!(restored, Restored { series: 5, changed: 1, ..Restored::default() });
    let mut none = Store::new();
    let restored = none.restore(&slots.entries(), &[], Restore::Rebase, SECOND);
    assert_eq!(restored, Restored { dropped: 6, ..Restored::default() });
}

#[test]
fn a_rebase_leaves_what_no_scraper_was_shown() {
    let mut old = Kinds::new(&[1.0]);
    old.cells(0, ["seen", ""]).add(0, 5.75).unwrap();
    old.cells(0, ["seen", ""]).observe(2, 0.5).unwrap();
    old.cells(0, ["quiet", ""]).add(0, 9e15).unwrap();
    old.cells(0, ["seen", ""]).set(1, 7.0).unwrap();
    let cut = old.store.cut(true, SECOND);
    old.store.served(cut.number(), SECOND);
    old.cells(0, ["held", ""]).add(0, 2.0).unwrap();
    let marked = Slots::of(&old.store.cut(true, 11 * SECOND));
    old.cells(0, ["seen", ""]).add(0, 1.5).unwrap();
    old.cells(0, ["seen", ""]).observe(2, 2.0).unwrap();
    old.cells(0, ["held", ""]).add(0, 1.0).unwrap();
    old.cells(1, ["seen", ""]).add(0, 1.0).unwrap();
    old.cells(1, ["new", ""]).add(0, 4.0).unwrap();
    let latest = Slots::of(&old.store.cut(false, 12 * SECOND));
    let mut new = Kinds::new(&[1.0]);
    new.store.restore(&latest.entries(), &latest.before(&marked), Restore::Rebase, SECOND);
    let values = |shown| {
        let page = page(&new.store.snapshot(), shown).replace(",b=\"\"", "").replace(['a', '=', '"', '{', '}'], " ");
        let samples = page.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
        samples.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        values(Shown::ToPerson),
        "c held 3 c new 4 c quiet 0 c seen 2.5 g seen 7 \
        h_bucket seen ,le 1 0 h_bucket seen ,le +Inf 1 h_sum seen 2 h_count seen 1"
    );
    assert_eq!(
        values(Shown::ToScraper),
        "c held 0 c new 0 c quiet 0 c seen 0 g seen 7 \
        h_bucket seen ,le 1 0 h_bucket seen ,le +Inf 0 h_sum seen 0 h_count seen 0"
    );
}

#[test]
fn an_untouched_image_changes_nothing_and_a_changed_one_only_what_it_must() {
    let mut kinds = Kinds::some(&[1.0]);
    let one = kinds.store.cut(false, 20 * SECOND);
    // Touched, not changed.
    kinds.cells(0, ["1", "x"]).add(0, 0.0).unwrap();
    let two = kinds.store.cut(false, 30 * SECOND);
    let mut changes = Slots::default();
    two.changes_since(Some(&one), &mut changes);
    assert_eq!(changes, Slots::default());
    kinds.cells(0, ["1", "x"]).inc(0).unwrap();
    kinds.store.cut(false, 40 * SECOND).changes_since(Some(&two), &mut changes);
    let tables: Vec<Table> = changes.0.keys().map(|slot| slot.table).collect();
    assert_eq!(tables, [Table::VALUES, Table::BIRTHS]);
}

proptest! {
    #[test]
    fn damaged_slots_are_skipped_and_counted(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        rebase in any::<bool>(),
    ) {
        let mut slots = Slots::of(&Kinds::some(&[1.0]).store.snapshot());
        let keys: Vec<Slot> = slots.0.keys().copied().collect();
        let before = slots.clone();
        for (slot, at, byte) in flips {
            let value = slots.0.get_mut(slot.get(&keys)).unwrap();
            if !value.is_empty() {
                let at = at.index(value.len());
                value[at] = byte;
            }
        }
        let value = slots.0.get_mut(cut.get(&keys)).unwrap();
        value.truncate(cut.index(value.len() + 1));
        let how = if rebase { Restore::Rebase } else { Restore::Continue };
        let mut kinds = Kinds::new(&[1.0]);
        let restored = kinds.store.restore(&slots.entries(), &slots.before(&before), how, SECOND);
        prop_assert!(restored.series <= 6);
        // The page stays valid, and life goes on.
        kinds.cells(0, ["1", "x"]).inc(0).unwrap();
        let snapshot = kinds.store.cut(true, 100 * SECOND);
        for page in both(&snapshot) {
            strict::parse_text(page.as_bytes()).map_err(TestCaseError::fail)?;
        }
        Slots::of(&snapshot);
    }
}
