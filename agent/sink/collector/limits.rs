//! What a client takes of entries, and the books of what it did not take, or not as it was.

use crate::sink::Lot;
use std::sync::Arc;

/// Limits of what is sent, as the configuration says (`limits_config`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryLimits {
    /// Bytes of a line; 0: any. Counted as it is sent, which is what Loki counts.
    pub line_bytes_max: u64,
    /// Longer lines are cut, not dropped.
    pub truncate: bool,
    /// Streams in one batch; 0: any. Promtail counts them by batch too, which is why a stream more is welcome again in
    /// the next one.
    pub batch_streams_max: u64,
}

impl EntryLimits {
    /// The part of a line in UTF-8 that is short enough, up to the end of a character.
    #[inline]
    pub(super) fn cut<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        match usize::try_from(self.line_bytes_max) {
            Ok(max) if max > 0 && line.len() > max => {
                let goes_on = |at: &usize| line[*at] & 0xc0 == 0x80;
                &line[..(0..=max).rev().find(|at| !goes_on(at)).unwrap_or(0)]
            }
            _ => line,
        }
    }

    /// Whether a batch of so many streams takes no more.
    pub(super) fn refuse_stream(&self, streams: usize) -> bool {
        self.batch_streams_max > 0 && streams as u64 >= self.batch_streams_max
    }
}

/// Why an entry was dropped, or is not sent as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Longer than [`EntryLimits::line_bytes_max`]: dropped, or cut.
    LineTooLong,
    /// Of one stream more than [`EntryLimits::batch_streams_max`].
    StreamLimited,
    /// Of one tenant more than [`TENANTS_MAX`](super::TENANTS_MAX).
    TenantLimited,
    /// Bytes of the line or of structured metadata were no UTF-8, which protobuf demands of a text: each of them became
    /// U+FFFD, as Go reads such bytes.
    InvalidUtf8,
}

impl Reason {
    const ALL: [Reason; 4] = [Reason::LineTooLong, Reason::StreamLimited, Reason::TenantLimited, Reason::InvalidUtf8];

    /// As Promtail names it in its metrics; the last two are ours.
    pub fn name(self) -> &'static str {
        match self {
            Reason::LineTooLong => "line_too_long",
            Reason::StreamLimited => "stream_limited",
            Reason::TenantLimited => "tenant_limited",
            Reason::InvalidUtf8 => "invalid_utf8",
        }
    }
}

/// Entries of one tenant and one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tallied {
    pub tenant: Arc<str>,
    pub reason: &'static str,
    pub lot: Lot,
}

/// What happened to entries before they came into a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries that will not be sent, with the bytes of their lines.
    pub dropped: Vec<Tallied>,
    /// Entries that are sent changed, with the bytes that were taken from their lines or replaced.
    pub mutated: Vec<Tallied>,
}

/// The counts of one tenant.
#[derive(Debug, Default)]
pub(super) struct Counts {
    dropped: [Lot; Reason::ALL.len()],
    mutated: [Lot; Reason::ALL.len()],
}

impl Counts {
    #[cold]
    pub(super) fn drop(&mut self, reason: Reason, bytes: usize) {
        add(&mut self.dropped[reason as usize], bytes);
    }

    #[cold]
    pub(super) fn mutate(&mut self, reason: Reason, bytes: usize) {
        add(&mut self.mutated[reason as usize], bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.dropped.iter().chain(&self.mutated).all(|lot| *lot == Lot::default())
    }

    /// Moves the counts into a tally.
    pub(super) fn take(&mut self, tenant: &Arc<str>, tally: &mut Tally) {
        for (lots, tallied) in [(&mut self.dropped, &mut tally.dropped), (&mut self.mutated, &mut tally.mutated)] {
            for reason in Reason::ALL {
                let lot = std::mem::take(&mut lots[reason as usize]);
                if lot != Lot::default() {
                    tallied.push(Tallied { tenant: tenant.clone(), reason: reason.name(), lot });
                }
            }
        }
    }
}

fn add(lot: &mut Lot, bytes: usize) {
    lot.entries += 1;
    lot.bytes += bytes as u64;
}
