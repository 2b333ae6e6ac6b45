//! Faults of files, as docs/faults.md lists them, that need no more than a source.

use super::*;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// On whatever file system tests run on; ext4 gives the number of a deleted file to the next one.
#[test]
fn files_that_take_the_place_of_deleted_ones_are_all_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("0.log");
    let new = || FileSource::new(path.clone(), Opener::below([folder.path().to_path_buf()]), Start::Current);
    let (mut source, mut buffer, mut got) = (new(), LineBuffer::default(), Vec::new());
    let mut inodes = Vec::new();
    for life in 0..40 {
        let mut file = File::create_new(&path).expect("a new file");
        writeln!(file, "the same first line\n{life}").expect("written");
        inodes.push(RealFs.metadata(&path).expect("there").inode);
        if life % 2 == 1 {
            // Nobody holds the old one: its number is free.
            let known: Vec<Identity> = source.identities().cloned().collect();
            let real = source.real().cloned();
            drop(source);
            let opener = Opener::below([folder.path().to_path_buf()]);
            source = FileSource::resume(path.as_path(), opener, Start::Current, real, known, Resume::default());
        }
        let moment = Moment { fs: &RealFs, now: Duration::from_secs(life) };
        let mut take = |line: Line<'_>| got.push(String::from_utf8_lossy(line.bytes).into_owned());
        source.poll(moment, &mut buffer, u64::MAX, &mut take);
        if life % 2 == 0 {
            // Read and closed, so that the next file may have its number.
            source.sleep();
        }
        fs::remove_file(&path).expect("removed");
    }
    let used_again = inodes.windows(2).filter(|pair| pair[0] == pair[1]).count();
    println!("{used_again} of 39 files had the number of the one before");
    let want: Vec<String> = (0..40).flat_map(|life| ["the same first line".to_string(), life.to_string()]).collect();
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
