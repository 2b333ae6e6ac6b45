//! What scrapers had seen of restored series: a rebase in the next run begins there.

use super::carry::stamp_of_both;
use super::cell;
use super::restore::{Kept, Restored};
use super::snapshot::Snapshot;
use super::store::Store;
use crate::keep::{Entries, Slot};

impl Store {
    /// The image of the series as scrapers were last sent them, in the rows that they have in this store, into which they
    /// came back by [`Store::restore`] a moment ago. `before` is as there. What was born since does not live in it.
    pub fn as_seen(&mut self, entries: &Entries, before: &[(Slot, Option<Box<[u8]>>)]) -> Snapshot {
        let mut seen = self.snapshot();
        seen.forget_values();
        let before = before.iter().map(|(slot, value)| (*slot, value.as_deref())).collect();
        let kept = Kept { entries, before };
        kept.each_cell(self, &mut Restored::default(), |store, place, key, cell| {
            key.sort_by_name(|name| store.name(name));
            let group = &store.groups[place.group.0 as usize];
            // A series that ended since needs no place: it was shown, and is over.
            if let Some(row) = group.find(&store.terms, key) {
                let into = seen.cell_mut(place.group.0 as usize, row, place.metric);
                let stamp = stamp_of_both(cell::stamp(into), cell::stamp(cell), store.now);
                cell::merge(&group.columns[place.metric].kind, into, cell);
                into[0] = stamp.0;
            }
        });
        seen
    }
}
