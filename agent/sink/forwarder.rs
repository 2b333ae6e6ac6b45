//! The forwarder: entries of all pipelines, for each client into its collector, and batches from there to its outbox.

use super::collector::{Collector, Tallied};
use super::outbox::Outbox;
use crate::keep::Entries;
use crate::pipeline::{Origin, Output, Record};
use std::sync::Arc;
use std::time::Duration;

pub struct Forwarder {
    clients: Vec<Forwarded>,
    now: Duration,
}

struct Forwarded {
    collector: Collector,
    outbox: Arc<Outbox>,
}

impl Forwarder {
    /// For these clients; `now` by the clock that never goes back.
    pub fn new(clients: impl IntoIterator<Item = (Collector, Arc<Outbox>)>, now: Duration) -> Self {
        let clients = clients.into_iter().map(|(collector, outbox)| Forwarded { collector, outbox });
        Forwarder { clients: clients.collect(), now }
    }
}

impl Output for Forwarder {
    fn entry(&mut self, record: &Record<'_>, origin: Origin) {
        for client in &mut self.clients {
            client.collector.entry(record, origin, self.now);
            client.hand_over();
        }
    }

    fn tick(&mut self, now: Duration) {
        self.now = now;
        for client in &mut self.clients {
            client.collector.tick(now);
            client.hand_over();
        }
    }

    fn due(&self) -> Option<Duration> {
        self.clients.iter().filter_map(|client| client.collector.due()).min()
    }

    fn is_full(&self) -> bool {
        self.clients.iter().any(|client| client.outbox.is_full())
    }

    fn wants_cut(&self) -> bool {
        self.clients.iter().any(|client| client.outbox.wants_cut())
    }

    fn is_backed_up(&self) -> bool {
        // One that is dead for good must not keep the others from old logs.
        !self.clients.is_empty() && self.clients.iter().all(|client| client.outbox.is_backed_up())
    }

    fn keep(&mut self, entries: &mut Entries) {
        for client in &mut self.clients {
            client.collector.seal();
            client.hand_over();
            client.tell_tally();
        }
        for (number, client) in (0..).zip(&self.clients) {
            client.outbox.keep_books(number, entries);
        }
        for (number, client) in (0..).zip(&self.clients) {
            client.collector.keep(entries, number);
        }
        for (number, client) in (0..).zip(&self.clients) {
            client.outbox.keep_batches(number, entries);
        }
    }

    fn restore(&mut self, entries: &Entries) -> u64 {
        let restored = self.clients.iter_mut().map(|client| match client.outbox.number_in(entries) {
            Some(number) => client.collector.restore(entries, number),
            None => 0,
        });
        restored.sum()
    }
}

impl Forwarded {
    #[inline]
    fn hand_over(&mut self) {
        if self.collector.has_sealed() {
            self.put_sealed();
        }
    }

    fn put_sealed(&mut self) {
        for sealed in self.collector.sealed() {
            self.outbox.put(sealed);
        }
        while let Some(buffer) = self.outbox.spare() {
            self.collector.recycle(buffer);
        }
        self.tell_tally();
    }

    /// What did not come into a batch goes into the books.
    fn tell_tally(&mut self) {
        let tally = self.collector.tally();
        for Tallied { tenant, reason, lot } in &tally.dropped {
            self.outbox.refuse(tenant, reason, *lot);
        }
        for Tallied { tenant, reason, lot } in &tally.mutated {
            self.outbox.mutate(tenant, reason, *lot);
        }
    }
}
