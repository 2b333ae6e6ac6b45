//! Faults of files, as docs/faults.md lists them, that need no more than a source.

use super::*;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// A new file with this inode number, if the file system gives it to one of the next ones.
fn file_with(inode: Option<u64>, path: &Path) -> File {
    let name = |n: u32| path.with_extension(n.to_string());
    for n in 0..64 {
        let file = File::create_new(name(n)).expect("a new file");
        if n == 63 || inode.is_none_or(|inode| RealFs.metadata(&name(n)).is_ok_and(|found| found.inode == inode)) {
            fs::rename(name(n), path).expect("renamed");
            (0..n).for_each(|n| fs::remove_file(name(n)).expect("removed"));
            return file;
        }
    }
    unreachable!("the last one is taken as it is")
}

/// On whatever file system tests run on; ext4 gives the number of a deleted file to one of the next ones.
#[test]
fn files_that_take_the_place_of_deleted_ones_are_all_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("0.log");
    let opener = || Opener::below([folder.path().to_path_buf()]);
    let (mut source, mut buffer) = (FileSource::new(path.clone(), opener(), Start::Current), LineBuffer::default());
    let (mut got, mut want) = (Vec::new(), Vec::new());
    let (mut inode, mut born, mut used_again) = (None, None, 0);
    for life in 0..30 {
        let (mut file, found) = loop {
            let file = file_with(inode, &path);
            let found = RealFs.metadata(&path).expect("there");
            if found.born.is_none() {
                // Then nothing tells two files apart that hold the same.
                return;
            }
            // Nor does a birth in the same tick of the kernel's clock, some four milliseconds.
            if found.born != born {
                break (file, found);
            }
            fs::remove_file(&path).expect("removed");
        };
        born = found.born;
        writeln!(file, "the same in each").expect("written");
        want.push("the same in each");
        used_again += u32::from(inode == Some(found.inode));
        inode = Some(found.inode);
        let moment = Moment { fs: &RealFs, now: Duration::from_secs(life) };
        let mut take = |line: Line<'_>| got.push(String::from_utf8_lossy(line.bytes).into_owned());
        source.poll(moment, &mut buffer, u64::MAX, &mut take);
        // The agent stops: nobody holds the file, so its number is free when it is deleted.
        let known: Vec<Identity> = source.identities().cloned().collect();
        let real = source.real().cloned();
        drop((source, file));
        fs::remove_file(&path).expect("removed");
        source = FileSource::resume(path.as_path(), opener(), Start::Current, real, known, Resume::default());
    }
    println!("{used_again} of 29 files had the number of the one before");
    assert_eq!(got, want);
}

/// 16 MiB of one byte in less than 100 KiB: it is read as any other file, a budget at a time, and its line is one line.
#[test]
fn a_compressed_bomb_costs_a_budget_at_a_time_and_is_one_line() {
    const MIB: usize = 1 << 20;
    for byte in [b'x', 0] {
        let fs = MemFs::default();
        let bomb = gzipped(&[&vec![byte; 16 * MIB][..], b"\nend\n"].concat());
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        fs.create("/pods/a/0.log.20261121-100000.gz", &bomb);
        fs.append("/pods/a/0.log", "after\n");
        let mut source = FileSource::new(Path::new("/pods/a/0.log"), Opener::anywhere(), Start::Current);
        let mut buffer = LineBuffer::new(64 << 10, 1000);
        let (mut lines, mut polls) = (Vec::new(), 0);
        loop {
            polls += 1;
            let moment = Moment { fs: &fs, now: Duration::from_secs(polls) };
            let mut take = |line: Line<'_>| lines.push((line.bytes.len(), line.cut));
            let progress = source.poll(moment, &mut buffer, MIB as u64, &mut take);
            assert!(progress.bytes <= (MIB + (128 << 10)) as u64, "{} bytes", progress.bytes);
            assert!(progress.notices.is_empty(), "{:?}", progress.notices);
            if !progress.more {
                break;
            }
        }
        assert!(polls >= 15, "{polls} polls");
        // NULs in front of a line are none of it.
        let first = if byte == 0 { (0, false) } else { (1000, true) };
        assert_eq!(lines, [first, (3, false), (5, false)]);
    }
}
