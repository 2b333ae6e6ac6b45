//! Finding the older files of a source, and knowing them again.

use super::backoff::Backoff;
use super::file::{FileSource, Moment, Start};
use super::filesystem::{FileSystem, Metadata};
use super::generation::{Generation, Phase, Reader, state};
use super::identity::{FINGERPRINT_BYTES, Identity};
use super::notice::{Notice, Progress};
use super::open::Refusal;
use super::rotation::{self, Rotated};
use crate::clock::UnixNanos;
use crate::decode::cri::parse_rfc3339_nanos;
use std::ffi::OsStr;
use std::path::PathBuf;

/// So many files that were found and not read yet are held open, so that nobody can delete them; others wait closed.
const HELD_MAX: usize = 8;

/// Files that are read to their ends are known, for as long as one that cannot be opened may be one of them: so many.
const KNOWN_MAX: usize = 64;

/// Names beside the current file that could not be opened at the last look.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// They may be later.
    pub refused: Vec<Box<OsStr>>,
    /// They must not be.
    planted: Vec<Box<OsStr>>,
    absent: Vec<Box<OsStr>>,
}

/// A file beside the current one.
struct Found {
    sibling: Rotated,
    path: PathBuf,
    metadata: Metadata,
    is: Which,
    /// A compressed file that a power loss may have left so, and nothing tells which one it was.
    damaged: bool,
}

/// Which generations were found, and how many unread files are held open.
struct Matched {
    seen: Vec<u32>,
    held: usize,
}

enum Which {
    Unknown,
    Known,
    /// With the time that its first line begins with.
    New(Box<Generation>, Option<UnixNanos>),
}

impl FileSource {
    /// Lists what stands beside the current file and fits it into the order of the known generations. The current file
    /// is opened before this: if it was rotated in between, it is found here under its new name.
    pub(super) fn find_older(&mut self, moment: Moment<'_>, progress: &mut Progress) {
        self.look = true;
        self.changes = 0;
        // Closed, it does not show whether it was truncated, and copied before that.
        match self.wake_current(moment) {
            Ok(()) => self.look = false,
            Err(refusal) => {
                progress.starved |= refusal.is_passing();
                return;
            }
        }
        let Some((siblings, home)) = self.list(moment, progress) else { return };
        let before = std::mem::take(&mut self.missed);
        let mut found = Vec::with_capacity(siblings.len());
        for sibling in siblings {
            let path = home.with_file_name(&sibling.name);
            match moment.fs.metadata(&path) {
                Ok(metadata) => found.push(Found { sibling, path, metadata, is: Which::Unknown, damaged: false }),
                Err(error) => self.missed(path, error.into(), &before, progress),
            }
        }
        // Before anything is compared: what was truncated unseen is not what its handle shows.
        while let Some(at) = self.generations.iter().position(Generation::is_rewritten) {
            self.rewritten(at, moment, progress);
        }
        let unread = |generation: &&Generation| generation.is_held() && generation.read_to.is_none();
        let held = self.generations.iter().filter(unread).count();
        let mut matched = Matched { seen: Vec::with_capacity(found.len()), held };
        self.find_sure(&mut found, &mut matched.seen);
        // Oldest first: of files that begin alike, the unknown ones are younger than the known ones. Damaged ones last:
        // they may be any that is left.
        for damaged in [false, true] {
            let unknown =
                found.iter_mut().filter(|entry| matches!(entry.is, Which::Unknown) && entry.damaged == damaged);
            for entry in unknown {
                match self.recognise(moment, entry, &mut matched, progress) {
                    Ok(is) => entry.is = is,
                    Err(refusal) => self.missed(entry.path.clone(), refusal, &before, progress),
                }
            }
        }
        if self.missed.refused.is_empty() {
            self.looking = Backoff::default();
        } else {
            self.look = true;
            self.looking.failed(moment.now);
        }
        // Where a file cannot be opened, it may be any that is known.
        let blocked = self.look || self.refusal().is_some();
        let is_packed = |entry: &Found| {
            entry.sibling.compressed && matches!(&entry.is, Which::New(new, _) if new.phase != Phase::Done)
        };
        let packed = found.iter().filter(|entry| is_packed(entry)).count();
        self.forget_unseen(moment, &matched.seen, packed, blocked, progress);
        (self.looked, self.moved) = (true, false);
        self.resumed &= blocked;
        self.insert_new(found);
        self.park();
    }

    fn list(&mut self, moment: Moment<'_>, progress: &mut Progress) -> Option<(Vec<Rotated>, PathBuf)> {
        let listed = self.home(moment.fs).and_then(|home| match home.parent() {
            Some(folder) => Ok((moment.fs.names(folder)?, home)),
            None => Ok((Vec::new(), home)),
        });
        match listed {
            Ok((names, home)) => {
                let siblings = rotation::generations(home.file_name()?, names.iter().map(OsStr::new));
                Some((siblings, home))
            }
            Err(refusal) if refusal.is_absence() => Some((Vec::new(), self.path().to_path_buf())),
            Err(refusal) => {
                if !self.looking.is_failing() {
                    let path = self.path().parent().unwrap_or(self.path()).to_path_buf();
                    progress.notices.push(Notice::NotOpened { path, refusal });
                }
                self.look = true;
                self.looking.failed(moment.now);
                None
            }
        }
    }

    /// A file that was listed could not be opened.
    fn missed(&mut self, path: PathBuf, refusal: Refusal, before: &Missed, progress: &mut Progress) {
        let Some(name) = path.file_name().map(Box::<OsStr>::from) else { return };
        if refusal.is_absence() {
            // It went away under our hands: renamed or compressed. Once: it may as well be a link that leads nowhere.
            self.look |= !before.absent.contains(&name);
            self.missed.absent.push(name);
            return;
        }
        progress.starved |= refusal.is_passing();
        let told = before.refused.contains(&name) || before.planted.contains(&name);
        match refusal {
            Refusal::Io(_) => self.missed.refused.push(name),
            _ => self.missed.planted.push(name),
        }
        if !told {
            progress.notices.push(Notice::NotOpened { path, refusal });
        }
    }

    /// Which closed generation stands at the path: after a restart, or when it was asleep. Others are known under a
    /// rotated name.
    pub(super) fn known_as(
        &self,
        fs: &dyn FileSystem,
        opened: &Generation,
        metadata: &Metadata,
        head: &[u8],
    ) -> Option<usize> {
        let may_be = |known: &Generation| {
            let closed = known.phase == Phase::Parked || (self.resumed && known.phase == Phase::Done);
            // The volume was mounted anew.
            let moved = known.is_held() && known.was_born_with(metadata);
            (closed || moved) && known.is_content_of(opened, metadata, head)
        };
        let born_so = |known: &Generation| known.identity.has_birth_of(metadata);
        let sure = self.generations.iter().rposition(|known| may_be(known) && born_so(known));
        // Files may begin alike: it is not the one that lies beside it.
        sure.or_else(|| {
            self.generations.iter().rposition(|known| may_be(known) && !self.lies_beside(fs, &known.identity))
        })
    }

    fn lies_beside(&self, fs: &dyn FileSystem, known: &Identity) -> bool {
        let Ok(home) = self.home(fs) else { return false };
        let (Some(folder), Some(base)) = (home.parent(), home.file_name()) else { return false };
        let names = fs.names(folder).unwrap_or_default();
        let siblings = rotation::generations(base, names.iter().map(OsStr::new));
        let metadata = |name| fs.metadata(&folder.join(name)).ok();
        siblings.into_iter().filter_map(|sibling| metadata(sibling.name)).any(|found| known.has_birth_of(&found))
    }

    /// Knows the files that are held open, by device and inode, and those that did not change since they were closed;
    /// and brings what is known of them up to date.
    fn find_sure(&mut self, found: &mut [Found], seen: &mut Vec<u32>) {
        for known in &mut self.generations {
            known.grow_fingerprint();
            let free = |entry: &&mut Found| matches!(entry.is, Which::Unknown) && known.is_surely(&entry.metadata);
            let Some(entry) = found.iter_mut().find(free) else { continue };
            entry.is = Which::Known;
            seen.push(known.id);
            if known.phase != Phase::Current {
                known.identity.name = Some(entry.sibling.name.clone().into_boxed_os_str());
            }
            known.identity.settled &= known.read_to == Some(state(&entry.metadata));
            // Its writer may not have noticed that it was renamed; `park` knows better.
            let slept = known.phase == Phase::Parked && !entry.sibling.compressed;
            if known.phase == Phase::Rotated || slept {
                known.phase = if entry.sibling.twin { Phase::Ending } else { Phase::Rotated };
            }
        }
    }

    /// Opens a file to see by its first bytes which generation it is.
    fn recognise(
        &mut self,
        moment: Moment<'_>,
        entry: &mut Found,
        matched: &mut Matched,
        progress: &mut Progress,
    ) -> Result<Which, Refusal> {
        let (mut opened, metadata) = Generation::open(moment.fs, &self.opener, &entry.path)?;
        let name = entry.sibling.name.clone().into_boxed_os_str();
        if let Some(open) = self.generations.iter_mut().find(|g| g.is_followed() && g.is_file(&metadata)) {
            // Renamed since it was listed.
            open.identity.name = Some(name).filter(|_| open.phase != Phase::Current);
            matched.seen.push(open.id);
            return Ok(Which::Known);
        }
        let mut space = [0; FINGERPRINT_BYTES];
        let head = opened.head(&mut space)?;
        // Compressed, or about to be: it does not grow any more.
        let phase = if opened.is_gz() || entry.sibling.twin { Phase::Ending } else { Phase::Rotated };
        opened.identity.name = Some(name);
        let begins = parse_rfc3339_nanos(head.split(|byte| *byte == b' ').next().unwrap_or_default());
        let free = |known: &&Generation| !matched.seen.contains(&known.id) && may_be(known, &metadata, &entry.sibling);
        let known = self
            .generations
            .iter()
            .filter(free)
            .filter(|known| known.is_content_of(&opened, &metadata, head))
            // Several where files begin alike: the same name or birth tells more, and then the oldest is meant.
            .min_by_key(|known| {
                let named_alike = known.lasting_name().is_some() && known.lasting_name() == opened.lasting_name();
                (!known.was_seen(), !named_alike, !known.identity.has_birth_of(&metadata))
            });
        let known = known.map(|known| known.id);
        // One that was seen under a name that stays with it is none of another name.
        let renamed =
            |known: &Generation| known.lasting_name().is_some() && known.lasting_name() != opened.lasting_name();
        let may_have_been = |known: &&Generation| {
            known.may_be_damaged_to(head) && opened.is_gz() && known.was_seen() && !renamed(known)
        };
        let missing = || self.generations.iter().filter(free).rfind(may_have_been).map(|known| known.id);
        let known = match known {
            None if !entry.damaged && missing().is_some() => {
                entry.damaged = true;
                return Ok(Which::Unknown);
            }
            None => missing(),
            known => known,
        };
        let known = self.generations.iter_mut().find(|generation| Some(generation.id) == known);
        let Some(known) = known else {
            opened.phase = phase;
            opened.identity.fingerprint.grow(0, head);
            return Ok(Which::New(Box::new(self.take_up(opened, &entry.sibling, matched)), begins));
        };
        matched.seen.push(known.id);
        known.find_damage(head);
        if entry.damaged {
            let offset = known.identity.cursor.offset;
            progress.notices.push(Notice::PowerLoss { path: entry.path.clone(), offset });
        }
        match known.phase {
            // The open file holds all that its compressed copy does, and perhaps more. Its lost name shows in its number
            // of links, too, but not on NFS.
            Phase::Rotated if opened.is_gz() => known.phase = Phase::Ending,
            Phase::Rotated if known.was_born_with(&metadata) => known.reopen(opened, phase),
            Phase::Current | Phase::Rotated | Phase::Ending => {}
            Phase::Done => {
                known.is_now(&opened.identity);
                known.identity.name = opened.identity.name.take();
                known.find_end(&opened, metadata.size_bytes);
            }
            Phase::Parked => {
                let at_cursor = metadata.size_bytes == known.identity.cursor.offset;
                let at_end = !opened.is_gz() && at_cursor && !known.identity.mending;
                known.read_to = at_end.then_some(state(&metadata));
                known.size_bytes = metadata.size_bytes;
                known.identity.name = opened.identity.name.clone();
                known.truncated = false;
                known.reopen(opened, phase);
            }
        }
        Ok(Which::Known)
    }

    /// A file that was never seen.
    fn take_up(&mut self, mut new: Generation, sibling: &Rotated, matched: &mut Matched) -> Generation {
        new.id = self.next_id();
        matched.seen.push(new.id);
        let belongs = match self.looked {
            true => !self.moved,
            false => self.start == Start::Everything || sibling.is_kubelets(),
        };
        if !belongs {
            new.close(Phase::Done);
        } else if matched.held >= HELD_MAX {
            new.reader = Reader::Closed;
        } else {
            matched.held += 1;
        }
        new
    }

    /// New files are younger than all that were known before, but for the current one. Known ones keep the order they
    /// have; new ones come by their names, unless their first lines know better: the names hold local time, which may
    /// jump.
    fn insert_new(&mut self, found: Vec<Found>) {
        let mut new: Vec<(Box<Generation>, Option<UnixNanos>)> = Vec::new();
        for entry in found {
            if let Which::New(generation, begins) = entry.is {
                new.push((generation, begins));
            }
        }
        if new.iter().all(|(_, begins)| begins.is_some()) {
            new.sort_by_key(|(_, begins)| *begins);
        }
        let current = self.generations.iter().position(|g| g.phase == Phase::Current);
        let at = current.unwrap_or(self.generations.len());
        self.generations.splice(at..at, new.into_iter().map(|(generation, _)| *generation));
    }

    /// Files that are not there any more need not be known any more. `packed`: so many compressed ones are new.
    fn forget_unseen(
        &mut self,
        moment: Moment<'_>,
        seen: &[u32],
        mut packed: usize,
        blocked: bool,
        progress: &mut Progress,
    ) {
        let home = self.home(moment.fs).unwrap_or_else(|_| self.path().to_path_buf());
        let few = self.generations.len() <= KNOWN_MAX;
        let mut older_is_there = false;
        self.generations.retain(|generation| {
            let held = generation.is_held() || generation.phase == Phase::Current;
            let identity = &generation.identity;
            let keep = held || seen.contains(&generation.id) || (blocked && (few || !identity.done));
            // One that was empty, and has no birth that is known, may live on, with content, as a file that was not known
            // again.
            let known = generation.was_seen() || identity.born.is_some();
            let mut gone = !keep && !identity.settled && !identity.done && known;
            // What was empty and is compressed now has nothing by which it is known: it is new, and read from its
            // beginning. It was not deleted, or an older one would have been before it.
            if gone && !generation.was_seen() && older_is_there && packed > 0 {
                packed -= 1;
                gone = false;
            }
            older_is_there |= seen.contains(&generation.id);
            if gone {
                let path = identity.name.as_ref().map_or(home.clone(), |name| home.with_file_name(name));
                let offset = identity.cursor.offset;
                progress.notices.push(match generation.truncated {
                    true => Notice::Truncated { path, offset },
                    false => Notice::Vanished { path, offset },
                });
            }
            keep
        });
    }

    /// A writer that did not notice the rotation has the newest renamed file open, or, while a rotation is being undone,
    /// the one before. Others are closed once they are read, and opened again if they grew all the same.
    fn park(&mut self) {
        let renamed = self.generations.iter_mut().rev().filter(|generation| generation.phase == Phase::Rotated);
        for generation in renamed.skip(2) {
            if !generation.is_held() && generation.identity.settled {
                generation.close(Phase::Parked);
            }
            let Ok(metadata) = generation.metadata() else { continue };
            let at_end = (generation.identity.cursor.offset, metadata.modified);
            if metadata.links == 0 {
                generation.phase = Phase::Ending;
            } else if generation.identity.name.is_some() && generation.read_to == Some(at_end) {
                generation.close(Phase::Parked);
            }
        }
    }
}

/// Whether a file that is none of the open ones can hold the content of this generation at all.
fn may_be(known: &Generation, metadata: &Metadata, sibling: &Rotated) -> bool {
    match sibling.compressed {
        true => known.phase != Phase::Current,
        // A copy, made before the original is truncated: logrotate does that, the kubelet does not. Or the volume was
        // mounted anew.
        false => !known.is_followed() || !sibling.is_kubelets() || known.was_born_with(metadata),
    }
}
