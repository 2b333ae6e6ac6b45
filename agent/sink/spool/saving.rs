//! Puts batches and notes into segments: makes room, and goes on where the disk fails.

use super::chain::{BUFFER_BYTES, Place, is_full};
use super::ranges::Ranges;
use super::segment::{HEADER_BYTES, Kind, Record, SECTOR_BYTES, notes_of};
use super::{SETTLED_RANGES_MAX, Saved, Spool, Stored, StoredBatch};
use crate::sink::Batch;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::sync::Arc;

/// How often a save is tried where something can be done about what failed.
const TRIES_MAX: usize = 4;

/// One save, over all its tries.
struct Work<'b> {
    batches: &'b [Arc<Batch>],
    /// Batches that are stored now and were not before.
    fresh: BTreeSet<u64>,
    /// Ids of `evicted` and `lost`: not to be tried again.
    gone: BTreeSet<u64>,
    evicted: Vec<StoredBatch>,
    lost: Vec<StoredBatch>,
}

impl Spool {
    pub(super) fn store(&mut self, batches: &[Arc<Batch>], sync: bool) -> Saved {
        let (fresh, gone) = (BTreeSet::new(), BTreeSet::new());
        let mut work = Work { batches, fresh, gone, evicted: Vec::new(), lost: Vec::new() };
        let result = self.tries(&mut work, sync);
        if result.is_err() {
            for id in mem::take(&mut work.fresh) {
                self.unlist(id);
                self.doubtful.insert(id);
            }
        } else {
            self.remove_settled();
        }
        Saved { evicted: work.evicted, lost: work.lost, result }
    }

    fn tries(&mut self, work: &mut Work<'_>, sync: bool) -> io::Result<()> {
        self.keep_share(work)?;
        let mut tries = 1;
        loop {
            self.staged.clear();
            let Err(error) = self.once(work, sync) else { return Ok(()) };
            let goes_on = match error.kind() {
                _ if tries == TRIES_MAX => false,
                // Before anything goes: what a sync that failed left unsure is written once more.
                _ if tries == 1 && self.chain.segments.iter().any(|segment| segment.failed) => true,
                // What is left is not given for what may be no room at all.
                _ if is_full(&error) => self.chain.segments.len() > 1 && self.evict_oldest(work).unwrap_or(false),
                io::ErrorKind::NotFound => self.drop_removed(work).is_ok(),
                // Another segment is begun.
                _ => true,
            };
            if !goes_on {
                return Err(error);
            }
            tries += 1;
        }
    }

    fn once(&mut self, work: &mut Work<'_>, sync: bool) -> io::Result<()> {
        self.move_unsynced(work)?;
        for batch in work.batches {
            self.add(batch, work)?;
        }
        let noted = self.add_notes(work)?;
        self.commit()?;
        if noted {
            self.gone_unsynced.extend(&self.notes.gone);
            self.gone_unsynced.keep_highest(SETTLED_RANGES_MAX);
            self.notes = super::Notes::default();
        }
        if sync && !self.chain.segments.is_empty() {
            self.chain.sync()?;
            self.gone_unsynced = Ranges::default();
        }
        Ok(())
    }

    fn add(&mut self, batch: &Batch, work: &mut Work<'_>) -> io::Result<()> {
        let id = batch.id;
        if self.index.contains_key(&id) || self.settled.contains(id) || work.gone.contains(&id) {
            return Ok(());
        }
        let described = StoredBatch { id, tenant: batch.tenant.clone(), lines: batch.lines, bytes: batch.bytes };
        let Some(block) = batch.packed() else {
            work.gone.insert(id);
            work.lost.push(described);
            return Ok(());
        };
        let record = record_of(&described, &block);
        match record.stored_bytes().filter(|bytes| bytes.saturating_add(2 * HEADER_BYTES) <= self.limits.bytes_max) {
            Some(bytes) => {
                self.make_room(bytes, work)?;
                work.fresh.insert(id);
                self.append(&record, &described.tenant)
            }
            None => {
                work.gone.insert(id);
                work.evicted.push(described);
                Ok(())
            }
        }
    }

    /// Puts the record of a batch into the buffer.
    fn append(&mut self, record: &Record<'_>, tenant: &Arc<str>) -> io::Result<()> {
        let stored_bytes = record.stored_bytes().unwrap_or(u64::MAX);
        if !self.fits(stored_bytes) {
            self.begin()?;
        }
        let place = self.chain.append(record)?;
        let (tenant, lines, bytes) = (tenant.clone(), record.lines, record.bytes);
        self.staged.push((record.id, Stored { place, stored_bytes, tenant, lines, bytes }));
        self.next_id = self.next_id.max(record.id + 1);
        // Whatever became of it before: it is wanted.
        self.notes.gone.remove(record.id);
        self.gone_unsynced.remove(record.id);
        if self.chain.buffered() >= BUFFER_BYTES { self.commit() } else { Ok(()) }
    }

    /// Puts what is to be noted into the buffer. False: nothing that is urgent.
    fn add_notes(&mut self, work: &mut Work<'_>) -> io::Result<bool> {
        if !self.notes.urgent {
            return Ok(false);
        }
        // Nothing that waits is given up where nothing more will be stored.
        if self.limits.bytes_max > 0 {
            self.make_room(SECTOR_BYTES, work)?;
        }
        let (settled, gone) = (notes_of(&self.notes.settled), notes_of(&self.notes.gone));
        self.append_notes(Kind::Settled, &settled)?;
        self.append_notes(Kind::Gone, &gone)?;
        Ok(true)
    }

    /// Puts records that name ids into the buffer.
    fn append_notes(&mut self, kind: Kind, bodies: &[Vec<u8>]) -> io::Result<()> {
        for body in bodies {
            let record = Record::note(kind, body);
            if !self.fits(record.stored_bytes().unwrap_or(u64::MAX)) {
                self.begin()?;
            }
            self.chain.append(&record)?;
        }
        Ok(())
    }

    /// Writes what is buffered: now it counts.
    fn commit(&mut self) -> io::Result<()> {
        self.chain.flush().inspect_err(|_| self.staged.clear())?;
        for (id, stored) in mem::take(&mut self.staged) {
            self.unlist(id);
            if let Some(segment) = self.chain.segment(stored.place.sequence) {
                segment.batches += 1;
            }
            self.doubtful.remove(&id);
            self.damaged.remove(&id);
            self.index.insert(id, stored);
        }
        Ok(())
    }

    /// Begins a segment, with all that is known to be settled as its first record.
    fn begin(&mut self) -> io::Result<()> {
        self.commit()?;
        let settled_below = self.oldest_id().unwrap_or(self.next_id);
        self.chain.begin(settled_below, self.next_id)?;
        let body = notes_of(&self.settled).pop().unwrap_or_default();
        self.chain.append(&Record::note(Kind::Settled, &body)).map(|_| ())
    }

    /// There is a segment that is written to, and so many bytes more fit into it.
    fn fits(&self, bytes: u64) -> bool {
        self.chain.active().is_some_and(|active| active.end.saturating_add(bytes) <= self.limits.segment_bytes())
    }

    /// Evicts until a record can be added within the limits.
    fn make_room(&mut self, bytes: u64, work: &mut Work<'_>) -> io::Result<()> {
        loop {
            // Each write ends with a sector.
            let mut wanted = bytes + SECTOR_BYTES;
            if !self.fits(bytes) {
                let body = notes_of(&self.settled).pop().unwrap_or_default();
                wanted += SECTOR_BYTES + HEADER_BYTES + Record::note(Kind::Settled, &body).stored_bytes().unwrap_or(0);
            }
            let few = self.index.len() + self.staged.len() < self.limits.batches_max;
            let fits = self.chain.bytes().saturating_add(wanted) <= self.limits.bytes_max;
            if (few && fits) || !self.evict_oldest(work)? {
                return Ok(());
            }
        }
    }

    /// Makes room on a file system of which a share is to stay free. Evicts nothing where that would not suffice.
    fn keep_share(&mut self, work: &mut Work<'_>) -> io::Result<()> {
        let news = work.batches.iter().filter(|batch| !self.index.contains_key(&batch.id));
        let wanted: u64 = news.filter_map(|batch| batch.packed()).map(|block| block.len() as u64).sum();
        if wanted == 0 || self.limits.bytes_max == 0 || self.limits.free_percent == 0 {
            return Ok(());
        }
        let Ok(Some((free, total))) = self.chain.disk().free_bytes() else { return Ok(()) };
        let kept = total / 100 * u64::from(self.limits.free_percent);
        let all = self.chain.bytes();
        let short = (kept + wanted.min(self.limits.bytes_max)).saturating_sub(free);
        let newest = self.chain.segments.back().map_or(0, |segment| segment.size);
        if short > all - newest {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "too little of the file system is free"));
        }
        while all.saturating_sub(self.chain.bytes()) < short {
            if self.chain.segments.len() < 2 || !self.evict_oldest(work)? {
                break;
            }
        }
        Ok(())
    }

    /// False: there is nothing more that could go.
    fn evict_oldest(&mut self, work: &mut Work<'_>) -> io::Result<bool> {
        if self.chain.remove_aside() {
            return Ok(true);
        }
        self.commit()?;
        let segments = &self.chain.segments;
        if segments.iter().all(|segment| segment.batches == 0) && segments.len() < 2 {
            return Ok(false);
        }
        // What is known of its batches and others is in another segment, and durable, before it goes. A disk that has no
        // room for that gets it so.
        if segments.len() < 2 || self.chain.active().is_none() {
            match self.begin().and_then(|()| self.commit()) {
                Err(error) if !is_full(&error) => return Err(error),
                _ => {}
            }
        }
        self.chain.sync_others()?;
        let Some(segment) = self.chain.remove_oldest()? else { return Ok(false) };
        let evicted = self.drop_batches(|place| place.sequence == segment.owner.sequence, work);
        work.evicted.extend(evicted);
        Ok(true)
    }

    /// Lists no longer what was in files that someone took away.
    fn drop_removed(&mut self, work: &mut Work<'_>) -> io::Result<()> {
        let removed = self.chain.removed()?;
        let lost = self.drop_batches(|place| removed.contains(&place.sequence), work);
        for batch in lost {
            // What is in memory is written anew.
            if work.batches.iter().any(|given| given.id == batch.id && given.packed().is_some()) {
                work.gone.remove(&batch.id);
            } else {
                work.lost.push(batch);
            }
        }
        self.chain.drop_removed(&removed);
        Ok(())
    }

    /// The batches in the order in which they were stored.
    fn drop_batches(&mut self, is_dropped: impl Fn(Place) -> bool, work: &mut Work<'_>) -> Vec<StoredBatch> {
        let dropped = self.index.iter().filter(|(_, stored)| is_dropped(stored.place));
        let mut dropped: Vec<(Place, StoredBatch)> =
            dropped.map(|(id, stored)| (stored.place, stored.described(*id))).collect();
        dropped.sort_unstable_by_key(|(place, _)| *place);
        for (_, batch) in &dropped {
            self.unlist(batch.id);
            self.notes.gone.insert(batch.id);
            self.notes.urgent = true;
            work.gone.insert(batch.id);
        }
        dropped.into_iter().map(|(_, batch)| batch).collect()
    }

    /// Where a sync failed, what was to be durable never will be: it is written once more, into another segment.
    fn move_unsynced(&mut self, work: &mut Work<'_>) -> io::Result<()> {
        while let Some(segment) = self.chain.segments.iter().find(|segment| segment.failed) {
            let (sequence, durable) = (segment.owner.sequence, segment.durable);
            if !self.fits(0) {
                self.begin()?;
            }
            // So are notes, before the file may go: of settled batches at the beginning of each segment, of those that were
            // given up here. And a batch whose save failed may stand there: a restart must not find it, because it would
            // sync the file with success, and that would not make it durable.
            let mut gone: Ranges = self.doubtful.iter().copied().collect();
            gone.extend(&self.gone_unsynced);
            self.append_notes(Kind::Gone, &notes_of(&gone))?;
            let is_unsynced = |stored: &Stored| stored.place.sequence == sequence && stored.place.offset >= durable;
            let ids: Vec<u64> =
                self.index.iter().filter(|(_, stored)| is_unsynced(stored)).map(|(id, _)| *id).collect();
            for id in ids {
                let Some(bytes) = self.index.get(&id).map(|stored| stored.stored_bytes) else { continue };
                self.make_room(bytes, work)?;
                // That may have taken it.
                let Some(described) = self.index.get(&id).map(|stored| stored.described(id)) else { continue };
                let in_memory = work.batches.iter().find(|batch| batch.id == id).and_then(|batch| batch.packed());
                // What cannot be read again stays where it is.
                let Some(block) = in_memory.or_else(|| self.load(id).ok()) else { continue };
                self.append(&record_of(&described, &block), &described.tenant)?;
            }
            self.commit()?;
            self.chain.give_up(sequence);
        }
        Ok(())
    }

    /// Removes the oldest segments while nothing in them is wanted. The notes that say so are durable before; what fails
    /// here is done the next time.
    fn remove_settled(&mut self) {
        while self.chain.segments.len() > 1 && self.chain.segments.front().is_some_and(|oldest| oldest.batches == 0) {
            if self.chain.sync().and_then(|()| self.chain.remove_oldest()).is_err() {
                return;
            }
        }
    }
}

fn record_of<'b>(batch: &'b StoredBatch, block: &'b Bytes) -> Record<'b> {
    let StoredBatch { id, tenant, lines, bytes } = batch;
    Record { kind: Kind::Batch, id: *id, lines: *lines, bytes: *bytes, tenant, body: block }
}
