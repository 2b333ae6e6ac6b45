//! Finding the older files of a source, and knowing them again.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::file_source::{FileSource, Notice, Progress, Start, Told};
use super::filesystem::{FileSystem, Metadata, OpenError};
use super::generation::{FINGERPRINT_BYTES, Generation, Phase};
use super::rotation::{Shape, Sibling, older_generations};

/// A file beside the current one.
struct Found {
    sibling: Sibling,
    path: PathBuf,
    metadata: Metadata,
    is: Which,
}

enum Which {
    Unknown,
    /// The generation with this id.
    Known(u32),
    New(Generation),
}

impl FileSource {
    /// Lists what stands beside the current file and fits it into the order of the known generations. The current
    /// file is opened before this: if it was rotated in between, it is found here under its new name.
    pub(super) fn find_older(&mut self, fs: &dyn FileSystem, progress: &mut Progress) {
        self.look = false;
        self.changes = 0;
        let path = self.linked_to.as_deref().unwrap_or(&self.path).to_owned();
        let Some(mut found) = self.list(fs, &path, progress) else { return };
        // Before anything is compared: what was truncated unseen is not what its handle shows.
        while let Some(index) = self.generations.iter().position(Generation::is_rewritten) {
            self.rewritten(index, progress);
        }
        let mut seen: Vec<u32> = Vec::with_capacity(found.len());
        self.find_open(&mut found, &mut seen);
        // Oldest first: of files that begin alike, the unknown ones are younger than the known ones.
        for entry in &mut found {
            if matches!(entry.is, Which::Unknown) {
                match self.recognise(fs, entry, &mut seen) {
                    Ok(is) => entry.is = is,
                    Err(error) => self.not_opened(&entry.path, error, progress),
                }
            }
        }
        if !self.look {
            self.forget_unseen(&seen, progress);
            self.looked = true;
        }
        self.insert_new(found, &seen);
        self.park();
    }

    fn list(&mut self, fs: &dyn FileSystem, path: &Path, progress: &mut Progress) -> Option<Vec<Found>> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Some(Vec::new()) };
        let names = match fs.names(directory) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                self.look = true;
                let path = directory.to_owned();
                self.tell(progress, Told::Io(error.kind()), Notice::NotRead { path, error });
                return None;
            }
        };
        let siblings = older_generations(name, names.iter().map(OsStr::new));
        let mut found = Vec::with_capacity(siblings.len());
        for sibling in siblings {
            let path = directory.join(&sibling.name);
            match fs.metadata(&path) {
                Ok(metadata) => found.push(Found { sibling, path, metadata, is: Which::Unknown }),
                Err(error) => self.not_opened(&path, error.into(), progress),
            }
        }
        Some(found)
    }

    /// Knows the files that are held open, by device and inode, and brings what is known of them up to date.
    fn find_open(&mut self, found: &mut [Found], seen: &mut Vec<u32>) {
        for known in &mut self.generations {
            known.grow_fingerprint();
            let Some(entry) = found.iter_mut().find(|entry| known.is_open() && known.is_file(&entry.metadata)) else {
                continue;
            };
            entry.is = Which::Known(known.id);
            seen.push(known.id);
            known.lasting_name = entry.sibling.lasting_name().map(Into::into);
            if entry.sibling.twin && known.phase == Phase::Rotated {
                known.phase = Phase::Ending;
            }
        }
    }

    /// Opens a file to see by its first bytes which generation it is.
    fn recognise(&mut self, fs: &dyn FileSystem, entry: &Found, seen: &mut Vec<u32>) -> Result<Which, OpenError> {
        let mut opened = Generation::open(fs, &entry.path)?;
        let mut space = [0; FINGERPRINT_BYTES];
        // A gzip file that is broken from the start is told when it is read.
        let head = opened.head(&mut space).or_else(|e| if opened.is_gz() { Ok(&[][..]) } else { Err(e) })?;
        let metadata = opened.metadata()?;
        if let Some(open) = self.generations.iter().find(|g| g.is_open() && g.is_file(&metadata)) {
            // Renamed since it was listed.
            seen.push(open.id);
            return Ok(Which::Known(open.id));
        }
        // Compressed, or about to be: it does not grow any more.
        let phase = if opened.is_gz() || entry.sibling.twin { Phase::Ending } else { Phase::Rotated };
        let lasting_name = entry.sibling.lasting_name();
        let known = self
            .generations
            .iter_mut()
            .filter(|known| {
                !seen.contains(&known.id) && may_be(known, &entry.sibling) && known.is_content_of(&opened, head)
            })
            // Several where files begin alike: the same name or inode tells more, and then the oldest is meant.
            .min_by_key(|known| {
                let named_alike = known.lasting_name.as_deref() == lasting_name && lasting_name.is_some();
                (!known.was_seen(), !named_alike, !known.is_file(&metadata))
            });
        let Some(known) = known else {
            opened.id = self.next_id();
            opened.phase = phase;
            opened.lasting_name = lasting_name.map(Into::into);
            if !self.looked && self.start == Start::CurrentOnly && entry.sibling.shape != Shape::Kubelet {
                opened.identity.fingerprint.grow(0, head);
                opened.close(Phase::Done);
            }
            seen.push(opened.id);
            return Ok(Which::New(opened));
        };
        seen.push(known.id);
        known.lasting_name = lasting_name.map(Into::into);
        match known.phase {
            // The open file holds all that its compressed copy does, and perhaps more. Its lost name shows in its
            // number of links, too, but not on NFS.
            Phase::Rotated if opened.is_gz() => known.phase = Phase::Ending,
            Phase::Current | Phase::Rotated | Phase::Ending | Phase::Done => {}
            Phase::Parked => {
                let at_end = !opened.is_gz() && metadata.size_bytes == known.identity.cursor.offset;
                known.read_to = at_end.then_some((metadata.size_bytes, metadata.modified));
                known.reopen(opened, phase);
            }
        }
        Ok(Which::Known(known.id))
    }

    /// Puts each new file before the next younger one that is known. Known ones keep the order they have: the names
    /// hold kubelet's local time, which may jump.
    fn insert_new(&mut self, found: Vec<Found>, seen: &[u32]) {
        let current = |g: &Generation| g.phase == Phase::Current && !seen.contains(&g.id);
        let mut before = self.generations.iter().position(current).unwrap_or(self.generations.len());
        for entry in found.into_iter().rev() {
            match entry.is {
                Which::Unknown => {}
                Which::Known(id) => {
                    let at = self.generations.iter().position(|known| known.id == id);
                    before = at.map_or(before, |at| at.min(before));
                }
                Which::New(new) => self.generations.insert(before, new),
            }
        }
    }

    /// A file that went away under our hands was renamed or compressed: it is looked for again at the next poll.
    fn not_opened(&mut self, path: &Path, error: OpenError, progress: &mut Progress) {
        let told = Told::of(&error);
        if told == Told::Io(io::ErrorKind::NotFound) {
            // Once: it may as well be a link that leads nowhere.
            self.look |= self.note(told);
            return;
        }
        self.look |= matches!(&error, OpenError::Io(_));
        self.tell(progress, told, Notice::NotOpened { path: path.to_owned(), error });
    }

    /// Closed files that are not there any more need not be known any more.
    fn forget_unseen(&mut self, seen: &[u32], progress: &mut Progress) {
        self.generations.retain(|generation| {
            let keep = generation.is_open() || seen.contains(&generation.id);
            // One that was empty may live on, with content, as a file that was not known again.
            let unfinished = generation.phase == Phase::Parked && generation.read_to.is_none();
            if !keep && unfinished && generation.was_seen() {
                progress.notices.push(Notice::Vanished { identity: generation.identity });
            }
            keep
        });
    }

    /// A writer that did not notice the rotation has the newest renamed file open, or, while a rotation is being
    /// undone, the one before. Others are closed once they are read, and opened again if they grew all the same.
    fn park(&mut self) {
        let renamed = self.generations.iter_mut().rev().filter(|generation| generation.phase == Phase::Rotated);
        for generation in renamed.skip(2) {
            let Ok(metadata) = generation.metadata() else { continue };
            if metadata.links == 0 {
                generation.phase = Phase::Ending;
            } else if generation.read_to == Some((generation.identity.cursor.offset, metadata.modified)) {
                generation.close(Phase::Parked);
            }
        }
    }
}

/// Whether a file that is none of the open ones can hold the content of this generation at all.
fn may_be(known: &Generation, sibling: &Sibling) -> bool {
    match sibling.compressed {
        true => known.phase != Phase::Current,
        // A copy, made before the original is truncated: logrotate does that, kubelet does not.
        false => !known.is_open() || sibling.shape != Shape::Kubelet,
    }
}
