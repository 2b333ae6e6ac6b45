//! The files of a state directory and their names.
//!
//! | name | |
//! |---|---|
//! | `state.G` | generation G; the two newest are kept |
//! | `next` | what the next generation is written into: an old one, or the rest of an attempt |
//! | `aside.N.state.G` | what could not be read, for someone to look at |

use super::notice::CheckpointError;
use super::sector::{FOLLOWED, Header, NUMBER_MAX, SECTOR_BYTES, Sector, foot, look};
use crate::disk::{Disk, DiskFile};
use std::io;

/// The file that has no number yet.
pub const NEXT: &str = "next";
const STATE: &str = "state.";
const ASIDE: &str = "aside.";

pub fn file_name(generation: u64) -> String {
    format!("{STATE}{generation}")
}

/// The generation that a file's name says.
fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix(STATE)?.parse().ok()?;
    // `state.+1` and `state.01` are not ours.
    (file_name(number) == name).then_some(number)
}

/// The generations that are there, the newest first.
pub fn listed(disk: &mut dyn Disk) -> Result<Vec<u64>, CheckpointError> {
    let names = disk.list().map_err(|error| CheckpointError::io("the directory cannot be read", error))?;
    let mut generations: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    generations.sort_unstable_by(|a, b| b.cmp(a));
    Ok(generations)
}

/// The number of the generation after these and `newest`. Numbers that no run of ours ever reached are somebody's joke.
pub fn after(generations: &[u64], newest: Option<u64>) -> u64 {
    let known = generations.iter().copied().chain(newest).filter(|number| *number < NUMBER_MAX);
    known.max().unwrap_or(0) + 1
}

/// A file to write the next generation into, and its size. An old one is overwritten, which spares the disk the work of
/// finding room and noting it down; unless it is larger than `reused_bytes_max`.
pub fn next_file(disk: &mut dyn Disk, reused_bytes_max: u64) -> Result<(Box<dyn DiskFile>, u64), CheckpointError> {
    let failed = |error| CheckpointError::io("no file for the new state", error);
    match disk.open(NEXT) {
        Ok(file) => {
            let size = file.size().map_err(failed)?;
            // With a second name it would be someone's backup that is overwritten.
            let is_ours = file.names().map_err(failed)? == 1;
            if is_ours && size <= reused_bytes_max && size.is_multiple_of(SECTOR_BYTES as u64) {
                return Ok((file, size));
            }
            disk.remove(NEXT).map_err(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // Whatever it is, it is not needed.
        Err(_) => disk.remove(NEXT).map_err(failed)?,
    }
    Ok((disk.create(NEXT).map_err(failed)?, 0))
}

/// Makes a log's room of what is behind an image: zeros up to a size in sectors, since a log that is overwritten within
/// its file costs the disk the least, and finds room when there is none left. What an old file holds there may stay if
/// it is whole; the rest would look like damage one day.
pub fn make_room(file: &mut dyn DiskFile, start: u64, old_end: u64, end: u64) -> io::Result<()> {
    const PIECE_SECTORS: u64 = 128;
    let mut piece = vec![0; PIECE_SECTORS as usize * SECTOR_BYTES];
    let mut at = start;
    while at < end {
        let sectors = PIECE_SECTORS.min(end - at);
        let offset = at * SECTOR_BYTES as u64;
        let piece = &mut piece[..sectors as usize * SECTOR_BYTES];
        let read = if at < old_end { file.read_at(offset, piece)? } else { 0 };
        let mut whole = piece[..read].chunks(SECTOR_BYTES).zip(at..);
        if read < piece.len() || whole.any(|(sector, index)| look(sector, index) == Sector::Bad) {
            piece.fill(0);
            file.write_at(offset, piece)?;
        }
        at += sectors;
    }
    Ok(())
}

/// Says in a generation that there is a newer one: it is not to be taken for the newest. For certain: whoever deletes
/// both before power is lost may find this one again.
pub fn follow(disk: &mut dyn Disk, generation: u64) -> io::Result<()> {
    let mut file = disk.open(&file_name(generation))?;
    let mut sector = [0; SECTOR_BYTES];
    file.read_at(0, &mut sector)?;
    let header = Header::read(&sector).map_err(|_| io::ErrorKind::InvalidData)?;
    let at = header.sectors.checked_sub(1).ok_or(io::ErrorKind::InvalidData)?;
    let foot = foot(at, FOLLOWED, header.life, 0);
    file.write_at(at * SECTOR_BYTES as u64, &foot)?;
    file.sync()
}

/// Renames files so that nobody takes them for the state, and removes the oldest of those that were renamed before.
pub fn set_aside(disk: &mut dyn Disk, files: &[String], asides_max: usize) -> io::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let number = |name: &str| name.strip_prefix(ASIDE)?.split('.').next()?.parse::<u64>().ok();
    let names = disk.list()?;
    let mut asides: Vec<(u64, String)> = names.iter().filter_map(|name| Some((number(name)?, name.clone()))).collect();
    asides.sort_unstable();
    let mut next = asides.last().map_or(1, |(number, _)| number.saturating_add(1));
    // The newest of them last: what there is no room for is the oldest.
    for file in files.iter().filter(|file| names.contains(file)).rev() {
        let aside = format!("{ASIDE}{next}.{file}");
        disk.rename(file, &aside)?;
        asides.push((next, aside));
        next = next.saturating_add(1);
    }
    let surplus = asides.len().saturating_sub(asides_max);
    for (_, aside) in &asides[..surplus] {
        disk.remove(aside)?;
    }
    disk.sync()
}

/// Takes the names from all generations but those that are kept. One of them becomes the next.
pub fn retire(disk: &mut dyn Disk, kept: [Option<u64>; 2]) -> io::Result<()> {
    let names = disk.list()?;
    let mut has_next = names.iter().any(|name| name == NEXT);
    for name in names.iter().filter(|name| number_of(name).is_some_and(|number| !kept.contains(&Some(number)))) {
        if has_next {
            disk.remove(name)?;
        } else {
            disk.rename(name, NEXT)?;
            has_next = true;
        }
    }
    Ok(())
}
