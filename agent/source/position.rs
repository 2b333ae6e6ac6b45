//! Taking over where Promtail was: it stores a path and a byte offset, and not which file it meant.

use super::file::{FileSource, Moment, Start};
use super::filesystem::Metadata;
use super::generation::Generation;
use super::identity::{Cursor, FINGERPRINT_BYTES, Hash};
use super::line_buffer::OVERLAP_BYTES;
use super::notice::{Notice, Progress};
use super::open::{Opener, Refusal};
use super::rotation;
use crate::clock::UnixNanos;
use crate::decode::cri::parse_rfc3339_nanos;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An offset that another program stored.
pub(super) struct Position {
    offset: u64,
    /// Nothing was stored after this.
    written_at: UnixNanos,
}

/// A file that may be the one meant.
struct Candidate {
    file: Generation,
    metadata: Metadata,
    /// When it was begun: what its first line says, else its birth.
    begun: Option<UnixNanos>,
}

impl FileSource {
    /// Goes on at a byte offset of Promtail's positions file, written last at `written_at`. The current file is meant,
    /// unless it was begun after that or is shorter: then it is the newest older one that was not. What is younger than
    /// the one meant is read from the front, what is older not at all. An offset inside a line leaves that line out.
    pub fn from_position(
        path: impl Into<Arc<Path>>,
        opener: Opener,
        start: Start,
        offset: u64,
        written_at: UnixNanos,
    ) -> Self {
        let mut source = FileSource::new(path, opener, start);
        source.position = Some(Box::new(Position { offset, written_at }));
        source
    }

    /// Decides which file was meant, at the first look. An error: not yet, for the current one cannot be opened.
    pub(super) fn take_over(
        &mut self,
        position: &Position,
        moment: Moment<'_>,
        progress: &mut Progress,
    ) -> Result<(), Refusal> {
        let (mut files, stands) = self.candidates(moment)?;
        let meant = position.meant(&files, stands);
        if meant.is_none() && !files.is_empty() && position.offset > 0 {
            let path = self.path().to_path_buf();
            progress.notices.push(Notice::Vanished { path, offset: position.offset });
        }
        let last = files.len().saturating_sub(1);
        for (at, candidate) in files.iter_mut().enumerate() {
            let begun_later = candidate.begun.is_some_and(|begun| begun > position.written_at);
            // With none meant, the current file was begun anew at least.
            let current = stands && at == last;
            if meant.map_or(begun_later || current, |meant| at > meant) {
                continue;
            }
            let mut identity = candidate.file.identity.clone();
            match meant == Some(at) {
                true => identity.cursor = candidate.file.cursor_at(position.offset),
                false => identity.done = true,
            }
            let id = self.next_id();
            self.generations.push(Generation { id, ..Generation::closed(identity) });
        }
        (self.looked, self.resumed) = (true, true);
        Ok(())
    }

    /// All files of the log, oldest first, and whether the last one stands at the path.
    fn candidates(&self, moment: Moment<'_>) -> Result<(Vec<Candidate>, bool), Refusal> {
        let current = self.opener.resolve(moment.fs, self.path()).and_then(|real| self.candidate(moment, real));
        let current = match current {
            Err(refusal) if refusal.is_absence() => None,
            current => Some(current?),
        };
        let home = match &current {
            Some((_, real)) => real.clone(),
            None => self.home(moment.fs).unwrap_or_else(|_| self.path().to_path_buf()),
        };
        let names = home.parent().and_then(|folder| moment.fs.names(folder).ok()).unwrap_or_default();
        let base = home.file_name().unwrap_or_default();
        let mut files = Vec::new();
        for sibling in rotation::generations(base, names.iter().map(OsStr::new)) {
            // What cannot be opened is looked at again with all others.
            let Ok((mut older, _)) = self.candidate(moment, home.with_file_name(&sibling.name)) else { continue };
            older.file.identity.name = Some(sibling.name.into_boxed_os_str());
            files.push(older);
        }
        let stands = current.is_some();
        files.extend(current.map(|(candidate, _)| candidate));
        Ok((files, stands))
    }

    fn candidate(&self, moment: Moment<'_>, real: PathBuf) -> Result<(Candidate, PathBuf), Refusal> {
        let (mut file, metadata) = Generation::open(moment.fs, &self.opener, &real)?;
        let mut space = [0; FINGERPRINT_BYTES];
        let head = file.head(&mut space)?;
        let said = parse_rfc3339_nanos(head.split(|byte| *byte == b' ').next().unwrap_or_default());
        file.identity.fingerprint.grow(0, head);
        let begun = said.or(metadata.born.filter(|_| !file.is_gz()));
        Ok((Candidate { file, metadata, begun }, real))
    }
}

impl Position {
    /// Which of the files the offset is of.
    fn meant(&self, files: &[Candidate], stands: bool) -> Option<usize> {
        let later = |file: &Candidate| file.begun.is_some_and(|begun| begun > self.written_at);
        let holds = |file: &Candidate| file.unpacked_bytes() >= self.offset;
        let mut older = files.len();
        if let Some(current) = files.last().filter(|_| stands) {
            older -= 1;
            if !later(current) {
                if holds(current) {
                    return Some(older);
                }
                // Truncated since, if it is known to be as old: then only a copy that was made since can be meant.
                if current.begun.is_some() {
                    let copied = |file: &Candidate| file.metadata.modified > self.written_at;
                    return older.checked_sub(1).filter(|at| copied(&files[*at]) && holds(&files[*at]));
                }
            }
        }
        let newest = files[..older].iter().rposition(|file| !later(file))?;
        holds(&files[newest]).then_some(newest)
    }
}

impl Candidate {
    fn unpacked_bytes(&self) -> u64 {
        self.file.unpacked_bytes(self.metadata.size_bytes)
    }
}

impl Generation {
    /// As its end says, if it is compressed: unknown is as much as can be.
    fn unpacked_bytes(&self, size_bytes: u64) -> u64 {
        match self.gz() {
            Some(gz) => gz.unpacked_bytes(size_bytes).unwrap_or(u64::MAX),
            None => size_bytes,
        }
    }

    /// A cursor at an offset of an open file, with the bytes before it noted; in the middle of a line, that is left out.
    fn cursor_at(&mut self, offset: u64) -> Cursor {
        let mut space = [0; OVERLAP_BYTES];
        let length = OVERLAP_BYTES.min(usize::try_from(offset).unwrap_or(OVERLAP_BYTES));
        let before = &mut space[..length];
        let mut filled = 0;
        while filled < length {
            match self.read_at(&mut before[filled..], offset - (length - filled) as u64) {
                Ok(count @ 1..) => filled += count,
                _ => return Cursor::at(offset, false),
            }
        }
        let skipping = before.last().is_some_and(|byte| *byte != b'\n');
        Cursor { marker_bytes: length as u8, marker: Hash::of(before), ..Cursor::at(offset, skipping) }
    }
}

#[cfg(test)]
#[path = "position_tests.rs"]
mod tests;
