//! The outboxes of all clients, as the worker, the committer and the senders share them.

use super::outbox::Outbox;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clones share one list.
#[derive(Clone, Default)]
pub struct Outboxes(Arc<Mutex<Vec<Arc<Outbox>>>>);

impl Outboxes {
    /// The outboxes as they are now.
    pub fn all(&self) -> Vec<Arc<Outbox>> {
        self.lock().clone()
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<Arc<Outbox>> {
        self.lock().iter().find(|outbox| outbox.name() == name).cloned()
    }

    /// From now on these.
    pub fn set(&self, outboxes: Vec<Arc<Outbox>>) {
        *self.lock() = outboxes;
    }

    /// Stores what is not settled, of all of them. The first error, after each was tried.
    pub fn save(&self, sync: bool) -> io::Result<()> {
        let saved: Vec<io::Result<()>> = self.all().iter().map(|outbox| outbox.save(sync)).collect();
        saved.into_iter().collect()
    }

    /// The last cut is durable, or never will be.
    pub fn cut_is_durable(&self) {
        self.all().iter().for_each(|outbox| outbox.cut_is_durable());
    }

    /// Makes room in memory.
    pub fn relieve(&self) {
        self.all().iter().for_each(|outbox| outbox.relieve());
    }

    /// A panic of another thread leaves nothing half-done behind this lock.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Outbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
