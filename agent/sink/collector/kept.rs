//! A collector over a restart: which streams it knew and what it sent in them last, so that lines that are read again
//! get the same timestamps.
//!
//! Two slots for each stream: its key, which stays, and its [`Twins`], which change with its entries. So a cut costs a
//! few bytes for each stream that was written to, and nothing for the others.

use super::Collector;
use super::streams::Stream;
use super::twins::Twins;
use crate::keep::{Entries, Reader, Slot, Table};
use std::time::Duration;

/// The parts of a stream, by the lowest bit of their slots' indexes.
const KEY: u64 = 0;
const TWINS: u64 = 1;

/// The client takes the upper half of the index.
fn slot(client: u64, stream: u32, part: u64) -> Slot {
    Slot { table: Table::STREAMS, index: client << 32 | u64::from(stream) << 1 | part }
}

impl Collector {
    /// Writes what [`restore`](Self::restore) reads. Everything has to be sealed before: entries of open batches are not
    /// kept. Clients have numbers of up to 32 bits, and come in their order.
    pub fn keep(&self, entries: &mut Entries, client: u64) {
        for (number, stream) in self.streams.iter() {
            entries.put(slot(client, number, KEY), |writer| writer.raw(&stream.key));
            entries.put(slot(client, number, TWINS), |writer| stream.twins.write(writer));
        }
    }

    /// Takes back what an earlier run kept, before the first entry. How many streams could not be read.
    pub fn restore(&mut self, entries: &Entries, client: u64) -> u64 {
        let mut damaged = 0;
        let of_client = entries.table(Table::STREAMS).filter(|(index, _)| index >> 32 == client);
        let mut slots = of_client.peekable();
        while let Some((index, key)) = slots.next() {
            let twins = slots.next_if(|(next, _)| index & 1 == KEY && *next == index | TWINS);
            let number = (index as u32) >> 1;
            let restored = twins.and_then(|(_, twins)| self.restore_stream(number, key, twins));
            damaged += u64::from(restored.is_none());
        }
        damaged
    }

    fn restore_stream(&mut self, number: u32, key: &[u8], twins: &[u8]) -> Option<()> {
        let mut reader = Reader::new(twins);
        let twins = Twins::read(&mut reader).filter(|_| reader.is_empty())?;
        let (tenant, labels) = self.labels.of(key)?;
        let tenant = self.tenant(tenant)?;
        let key = key.into();
        let stream = Stream { key, labels, tenant, chain: Default::default(), twins, used: Duration::MAX };
        self.streams.restore(number, stream).then(|| self.tenants[tenant as usize].streams += 1)
    }
}
