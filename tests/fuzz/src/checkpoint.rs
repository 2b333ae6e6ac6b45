//! A state directory with any file in it: it opens, and goes on from whatever was found.

use weir::checkpoint::{Checkpoint, Limits};
use weir::disk::SimDisk;
use weir::keep::{Entries, Keep};

const LIMITS: Limits = Limits { log_bytes_min: 4096, state_bytes_max: 1 << 20, slots_max: 10_000, asides_max: 2 };
const SECTOR_BYTES: usize = 512;

/// The bytes are the newest generation; then they are once more, with checksums as their writer would have made them.
pub fn checkpoint(data: &[u8]) {
    let mut sealed = data.to_vec();
    for (index, sector) in sealed.chunks_exact_mut(SECTOR_BYTES).enumerate() {
        if index == 0 {
            sector[12..16].fill(0);
            let check = crc(&[sector]);
            sector[12..16].copy_from_slice(&check.to_le_bytes());
        } else if sector.iter().any(|byte| *byte != 0) {
            let check = crc(&[&(index as u64).to_le_bytes(), &sector[4..]]);
            sector[..4].copy_from_slice(&check.to_le_bytes());
        }
    }
    for bytes in [data.to_vec(), sealed] {
        let disk = SimDisk::new(1);
        disk.set_file("state.7", Some(bytes));
        let opened = Checkpoint::open(disk.mount(), LIMITS).expect("a directory that can be listed");
        let (mut checkpoint, found) = (opened.checkpoint, opened.recovered.entries);
        if checkpoint.snapshot(&mut |keep| fill(&found, keep), &mut |_| {}).is_err() {
            // More than the limits allow comes from a log only.
            continue;
        }
        drop(checkpoint);
        let again = Checkpoint::open(disk.mount(), LIMITS).expect("a directory that can be listed");
        assert_eq!((again.recovered.entries, again.notices), (found, vec![]));
    }
}

fn fill(entries: &Entries, keep: &mut dyn Keep) {
    entries.iter().for_each(|(slot, value)| keep.put(slot, value));
}

/// The CRC-32 of gzip.
fn crc(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let crc = crc ^ u32::from(*byte);
        (0..8).fold(crc, |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1)))
    };
    !parts.iter().flat_map(|part| part.iter()).fold(u32::MAX, step)
}
