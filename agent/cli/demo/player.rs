//! Plays real lines into a tree of files like the kubelet's, with its rotation.

use crate::clock::UnixNanos;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Lines of real ingress-nginx controllers with ModSecurity, as containerd wrote them (tests/corpus/README.md).
const STREAMS: [&[u8]; 2] = [
    include_bytes!("../../../tests/corpus/demo/controller-d1.cri.gz"),
    include_bytes!("../../../tests/corpus/demo/controller-d2.cri.gz"),
];

/// Rotated files that are kept, as the kubelet's `containerLogMaxFiles: 5` does.
const ROTATED_MAX: usize = 4;

/// Writes the stream over and over, with fresh timestamps.
pub struct Player {
    folder: PathBuf,
    file: File,
    lines: Vec<u8>,
    at: usize,
    written: u64,
    rotations: u64,
}

impl Player {
    /// Lays the tree below `root` and opens the first file.
    pub fn new(root: &Path) -> io::Result<Self> {
        let mut lines = Vec::new();
        for stream in STREAMS {
            GzDecoder::new(stream).read_to_end(&mut lines)?;
        }
        let folder = root
            .join("ingress-nginx_ingress-nginx-controller-demo_0d3e6f52-5f3e-4c7b-9d0f-2f6a1c0b7a11")
            .join("controller");
        fs::create_dir_all(&folder)?;
        let file = append(&folder.join("0.log"))?;
        Ok(Player { folder, file, lines, at: 0, written: 0, rotations: 0 })
    }

    /// Lines written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Rotations so far.
    pub fn rotations(&self) -> u64 {
        self.rotations
    }

    /// Writes the next lines of the stream with the time `now`.
    pub fn write(&mut self, lines: usize, now: UnixNanos) -> io::Result<()> {
        let stamp = Timestamp::from_nanosecond(i128::from(now)).unwrap_or(Timestamp::UNIX_EPOCH);
        let stamp = format!("{stamp:.9}");
        let mut out = Vec::new();
        for _ in 0..lines {
            let rest = &self.lines[self.at..];
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, length) = (&rest[..end], end);
            // Everything behind the runtime's own timestamp is as it was.
            let content = memchr::memchr(b' ', line).map_or(line, |at| &line[at..]);
            out.extend_from_slice(stamp.as_bytes());
            out.extend_from_slice(content);
            self.at = if self.at + length >= self.lines.len() { 0 } else { self.at + length };
            self.written += 1;
        }
        self.file.write_all(&out)
    }

    /// Rotates as the kubelet does: compress what was rotated before, rename, let the runtime open a new file.
    pub fn rotate(&mut self, now: UnixNanos) -> io::Result<()> {
        let mut rotated: Vec<PathBuf> = fs::read_dir(&self.folder)?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.file_name().is_some_and(|name| name != "0.log"))
            .collect();
        rotated.sort();
        let excess = rotated.len().saturating_sub(ROTATED_MAX - 1);
        for old in rotated.drain(..excess) {
            fs::remove_file(old)?;
        }
        for plain in rotated.iter().filter(|path| path.extension().is_none_or(|e| e != "gz")) {
            compress(plain)?;
        }
        let stamp = Timestamp::from_nanosecond(i128::from(now)).unwrap_or(Timestamp::UNIX_EPOCH);
        let name = format!("0.log.{}", stamp.strftime("%Y%m%d-%H%M%S"));
        fs::rename(self.folder.join("0.log"), self.folder.join(name))?;
        self.file = append(&self.folder.join("0.log"))?;
        self.rotations += 1;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

/// `X` becomes `X.gz` by way of `X.tmp`.
fn compress(plain: &Path) -> io::Result<()> {
    let named = |ending: &str| {
        let mut name = plain.as_os_str().to_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    let mut encoder = GzEncoder::new(File::create(named(".tmp"))?, Compression::fast());
    io::copy(&mut File::open(plain)?, &mut encoder)?;
    encoder.finish()?;
    fs::rename(named(".tmp"), named(".gz"))?;
    fs::remove_file(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of the tree, oldest file first.
    fn lines_of(player: &Player) -> usize {
        let count = |path: &Path| {
            let mut bytes = Vec::new();
            let mut file = File::open(path).expect("a file of the tree");
            if path.extension().is_some_and(|e| e == "gz") {
                GzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
            } else {
                file.read_to_end(&mut bytes).expect("readable");
            }
            bytes.iter().filter(|b| **b == b'\n').count()
        };
        let entries = fs::read_dir(&player.folder).expect("the folder");
        entries.flatten().map(|entry| count(&entry.path())).sum()
    }

    #[test]
    fn no_line_is_lost_while_few_files_are_rotated() {
        let root = tempfile::tempdir().expect("a folder");
        let mut player = Player::new(root.path()).expect("a tree");
        let second = 1_000_000_000;
        for i in 0..ROTATED_MAX as i64 - 1 {
            player.write(500, i * second).expect("written");
            player.rotate(i * second).expect("rotated");
        }
        player.write(1, 9 * second).expect("written");
        assert_eq!(lines_of(&player) as u64, player.written());
        assert_eq!(player.rotations(), ROTATED_MAX as u64 - 1);
    }
}
