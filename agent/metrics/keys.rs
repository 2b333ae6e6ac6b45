//! The label sets of a group, by row.

use std::sync::Arc;

/// Rows that share a piece of memory: a snapshot copies one word per chunk.
pub(super) const CHUNK: usize = 64;

/// The stored keys of a group by row, in chunks that snapshots share: a chunk is copied only when a series is born or
/// dies in it while a snapshot lives. A row without a key is free.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    chunks: Vec<Chunk>,
}

pub(super) type Chunk = Arc<[Option<Arc<[u8]>>]>;

impl Keys {
    /// The key of a row in use; of a free one the empty key.
    #[inline]
    pub fn get(&self, row: u32) -> &[u8] {
        self.of(row).unwrap_or_default()
    }

    #[inline]
    pub fn of(&self, row: u32) -> Option<&[u8]> {
        self.chunks.get(row as usize / CHUNK)?[row as usize % CHUNK].as_deref()
    }

    /// A row takes a key. Rows are added at the end, one after another.
    pub fn set(&mut self, row: u32, key: Arc<[u8]>) {
        *self.slot(row) = Some(key);
    }

    pub fn free(&mut self, row: u32) {
        *self.slot(row) = None;
    }

    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    fn slot(&mut self, row: u32) -> &mut Option<Arc<[u8]>> {
        let row = row as usize;
        if row / CHUNK == self.chunks.len() {
            self.chunks.push(vec![None; CHUNK].into());
        }
        &mut Arc::make_mut(&mut self.chunks[row / CHUNK])[row % CHUNK]
    }
}
