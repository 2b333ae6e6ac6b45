//! A source as the reader follows it: whom its lines feed, and when it is looked at again.

use super::engine::Turning;
use super::events;
use super::pace::PIECE_BYTES;
use crate::labels::Labels;
use crate::pipeline::BindingId;
use crate::server::FileRow;
use crate::source::{FileSource, FileSystem, Line, Progress};
use std::collections::BTreeSet;
use std::time::Duration;

/// A source that just had lines is looked at again after this …
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// … and an idle one, after doubling, at the latest after this.
pub const PAUSE_MAX: Duration = Duration::from_secs(2);

pub struct Followed {
    pub source: FileSource,
    /// Where it is kept.
    pub slot: u64,
    /// None while nobody wants the lines; the source keeps its place.
    pub feeds: Vec<Feed>,
    /// How often in a row discovery did not find it.
    pub missed: u32,
    /// The round of its last turn.
    pub round: u64,
    /// When to look next, and after which pause.
    pub due: Duration,
    pause: Duration,
    /// The round of its job in which it was read last, where the job makes its sources wait, and until when it waits.
    pub paced_round: u64,
    pub waits_until: Duration,
    /// Bytes that it has read at once then.
    pub piece_bytes: usize,
    /// It could not open a file because there are too many open ones.
    pub starved: bool,
    /// When it last had lines.
    pub active: Duration,
    /// Since when there is something that was not read.
    pub behind_since: Option<Duration>,
    /// The refusal that was told last.
    told: Option<&'static str>,
}

pub struct Feed {
    pub job: usize,
    pub labels: Labels,
    pub binding: BindingId,
}

/// Numbers for sources, under which they are kept; one is given again when its source is gone.
#[derive(Default)]
pub struct Slots {
    free: BTreeSet<u64>,
    next: u64,
}

impl Slots {
    pub fn take(&mut self) -> u64 {
        self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    pub fn free(&mut self, slot: u64) {
        self.free.insert(slot);
    }
}

impl Followed {
    /// It is due now.
    pub fn new(source: FileSource, slot: u64, feeds: Vec<Feed>) -> Self {
        Followed {
            source,
            slot,
            feeds,
            missed: 0,
            round: 0,
            due: Duration::ZERO,
            pause: PAUSE_MIN,
            paced_round: 0,
            waits_until: Duration::ZERO,
            piece_bytes: PIECE_BYTES,
            starved: false,
            active: Duration::ZERO,
            behind_since: None,
            told: None,
        }
    }

    /// Ends the source for its jobs, with what their pipelines hold of it.
    pub fn unbind(&mut self, turning: &mut Turning<'_>) {
        self.feeds.drain(..).for_each(|feed| turning.unbind(feed.job, feed.binding));
    }

    /// Decides when to look again.
    pub fn rest(&mut self, now: Duration, progress: &Progress) {
        self.pause = if progress.bytes > 0 { PAUSE_MIN } else { (self.pause * 2).min(PAUSE_MAX) };
        self.due = if progress.more { now } else { now + self.pause };
        if progress.bytes > 0 {
            self.active = now;
        }
        // A line that is longer than a piece needs a larger one.
        let longer = progress.more && progress.bytes == 0;
        self.piece_bytes = if longer { self.piece_bytes.saturating_mul(4) } else { PIECE_BYTES };
        self.starved = progress.starved;
        self.behind_since = progress.more.then(|| self.behind_since.unwrap_or(now));
    }

    /// Why the file is not read, if that is news.
    pub fn newly_refused(&mut self) -> Option<&'static str> {
        let refusal = self.source.refusal().filter(|refusal| !refusal.is_absence());
        let reason = refusal.map(|refusal| refusal.reason());
        let news = reason.filter(|reason| self.told != Some(reason));
        if let (Some(refusal), Some(_)) = (refusal, news) {
            events::file_refused(self.source.path(), &refusal.to_string());
        }
        self.told = reason;
        news
    }

    /// Whether discovery has not found the log, nothing is left of it and all of it is read.
    pub fn is_over(&self, progress: &Progress, fs: &dyn FileSystem) -> bool {
        self.missed > 0 && progress.bytes == 0 && self.source.is_gone() && !self.source.has_rotated(fs)
    }

    pub fn row(&self) -> FileRow {
        let state = match self.source.refusal() {
            Some(refusal) => refusal.to_string(),
            None if self.source.is_gone() => "gone".to_string(),
            None => "reading".to_string(),
        };
        FileRow {
            path: self.source.path().display().to_string(),
            state,
            read_bytes: self.source.offset(),
            lag_bytes: self.source.lag_bytes(),
        }
    }
}

/// Runs `poll`, each line of it through the pipelines of all feeds: one read serves every job.
pub fn read(
    feeds: &[Feed],
    turning: &mut Turning<'_>,
    poll: impl FnOnce(&mut dyn FnMut(Line<'_>)) -> Progress,
) -> Progress {
    let (jobs, mut context, output) = turning.split();
    let progress = poll(&mut |line| {
        for feed in feeds {
            jobs[feed.job].pipeline.process(feed.binding, line.bytes, &mut context, output);
        }
    });
    for feed in feeds {
        if !progress.more {
            jobs[feed.job].pipeline.caught_up(feed.binding, context.monotonic);
        }
        jobs[feed.job].bytes += progress.bytes;
        jobs[feed.job].cut += progress.cut;
    }
    progress
}
