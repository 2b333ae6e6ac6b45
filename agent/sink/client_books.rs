//! The books of a client: every entry is acknowledged, dropped for a reason, or pending.

use super::answer::Lot;
use crate::keep::{Reader, Writer};
use std::collections::BTreeMap;

/// entered = acknowledged + dropped + pending, at every moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientBooks {
    pub entered: u64,
    pub acknowledged: u64,
    /// Entries that Loki will never have, by reason.
    pub dropped: BTreeMap<String, Lot>,
}

impl ClientBooks {
    pub fn drop(&mut self, reason: &str, lot: Lot) {
        let sum = match self.dropped.get_mut(reason) {
            Some(sum) => sum,
            None => self.dropped.entry(reason.to_string()).or_default(),
        };
        *sum += lot;
    }

    pub fn dropped_entries(&self) -> u64 {
        self.dropped.values().map(|lot| lot.entries).sum()
    }

    pub fn write(&self, to: &mut Writer<'_>) {
        to.number(self.entered);
        to.number(self.acknowledged);
        to.number(self.dropped.len() as u64);
        for (reason, lot) in &self.dropped {
            to.bytes(reason.as_bytes());
            to.number(lot.entries);
            to.number(lot.bytes);
        }
    }

    /// `None`: damaged.
    pub fn read(from: &mut Reader<'_>) -> Option<ClientBooks> {
        let mut books = ClientBooks { entered: from.number()?, acknowledged: from.number()?, dropped: BTreeMap::new() };
        for _ in 0..from.number()? {
            let reason = from.text()?.to_string();
            books.dropped.insert(reason, Lot { entries: from.number()?, bytes: from.number()? });
        }
        Some(books)
    }
}
