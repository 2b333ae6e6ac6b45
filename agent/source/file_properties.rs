//! Any life of a log on a real file system: each line that was written is read once, in the order of its file. Only
//! what was destroyed while nobody had it open, or by a truncation, may be missing.

use super::*;
use crate::source::{RealFs, gzipped};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::time::SystemTime;
use tempfile::TempDir;

/// Few bytes, so that lines, buffers and budgets all end within one another.
const READ_BYTES: usize = 64;
const LINE_BYTES_MAX: usize = 48;

#[derive(Clone, Debug)]
enum Step {
    /// Lines to the current file; the last one perhaps without its newline.
    Append {
        lines: Vec<usize>,
        finished: bool,
    },
    /// As the kubelet: the newest generation may be compressed first; a new file may be there at once.
    Rotate {
        compress: bool,
        create: bool,
    },
    /// The kubelet's rotation failed: away and back.
    RenameBack {
        seen: bool,
    },
    /// Rewritten in place.
    Truncate {
        lines: usize,
    },
    /// Deleted and begun again.
    Recreate,
    /// A writer that does not know yet of the rotation.
    AppendLate,
    DeleteOldest,
    Poll {
        budget: u64,
    },
}

fn step(truncation: bool) -> impl Strategy<Value = Step> {
    let whole = prop_oneof![
        6 => (proptest::collection::vec(0usize..70, 0..5), prop::bool::weighted(0.7))
            .prop_map(|(lines, finished)| Step::Append { lines, finished }),
        4 => (any::<bool>(), prop::bool::weighted(0.8)).prop_map(|(compress, create)| Step::Rotate { compress, create }),
        1 => any::<bool>().prop_map(|seen| Step::RenameBack { seen }),
        1 => Just(Step::Recreate),
        2 => Just(Step::AppendLate),
        1 => Just(Step::DeleteOldest),
        5 => prop_oneof![1u64..200, Just(u64::MAX)].prop_map(|budget| Step::Poll { budget }),
    ];
    match truncation {
        false => whole.boxed(),
        true => prop_oneof![20 => whole, 3 => (0usize..6).prop_map(|lines| Step::Truncate { lines })].boxed(),
    }
}

/// What was written to one file, between truncations.
#[derive(Default)]
struct Written {
    text: String,
    /// Some of it may never be read.
    destroyed: bool,
}

/// A log as its writer and the kubelet see it.
struct World {
    folder: TempDir,
    /// Rotated as docker does, `.1` being the newest; else as the kubelet.
    numbered: bool,
    files: Vec<Written>,
    /// Which of `files` has the log's name.
    current: Option<usize>,
    /// The older generations that are there, oldest first: name, whether compressed, which file.
    rotated: Vec<(String, bool, usize)>,
    /// Files that the source has had open; a deletion destroys nothing of them.
    opened: Vec<usize>,
    /// Whether the runtime may still write to the newest generation.
    late: bool,
    lines: usize,
    seconds: u64,
}

impl World {
    fn new(numbered: bool) -> Self {
        World {
            folder: tempfile::tempdir().expect("a folder"),
            numbered,
            files: Vec::new(),
            current: None,
            rotated: Vec::new(),
            opened: Vec::new(),
            late: false,
            lines: 0,
            seconds: 100_000,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn create(&mut self) -> usize {
        *self.current.get_or_insert_with(|| {
            self.files.push(Written::default());
            self.files.len() - 1
        })
    }

    fn write(&mut self, name: &str, file: usize, text: &str) {
        self.files[file].text.push_str(text);
        let mut on_disk = File::options().create(true).append(true).open(self.path(name)).expect("a log");
        on_disk.write_all(text.as_bytes()).expect("written");
        // Clocks of file systems are coarser than these tests are fast.
        self.seconds += 1;
        on_disk.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(self.seconds)).expect("touched");
    }

    /// A line that names its file, and of which there is one only.
    fn line(&mut self, file: usize, length: usize) -> String {
        self.lines += 1;
        let filling = format!("{}.", self.lines).repeat(length);
        format!("{file}:{}:{}", self.lines, &filling[..length])
    }

    fn append(&mut self, lengths: &[usize], finished: bool) {
        let file = self.create();
        let mut text = String::new();
        for (at, length) in lengths.iter().enumerate() {
            let unfinished = at == 0 && !self.files[file].text.is_empty() && !self.files[file].text.ends_with('\n');
            text.push_str(&if unfinished { "and on".to_string() } else { self.line(file, *length) });
            text.push_str(if finished || at + 1 < lengths.len() { "\n" } else { "" });
        }
        self.write("0.log", file, &text);
    }

    fn rotate(&mut self, compress: bool, create: bool) {
        // An empty file cannot be told from another one; docker rotates full ones.
        let full = |file: &mut usize| !self.numbered || !self.files[*file].text.is_empty();
        let Some(file) = self.current.take_if(full) else { return };
        if let Some(newest) = self.rotated.last().filter(|newest| compress && !newest.1).cloned() {
            let packed = gzipped(&fs::read(self.path(&newest.0)).expect("read"));
            fs::write(self.path(&format!("{}.gz", newest.0)), packed).expect("written");
            fs::remove_file(self.path(&newest.0)).expect("removed");
            self.rotated.last_mut().expect("it was there").1 = true;
        }
        self.seconds += 1;
        let name = if self.numbered { "0.log.1".to_string() } else { format!("0.log.20261121-{}", self.seconds) };
        if self.numbered {
            self.move_numbers();
        }
        fs::rename(self.path("0.log"), self.path(&name)).expect("renamed");
        self.rotated.push((name, false, file));
        self.late = true;
        if create {
            let file = self.create();
            self.write("0.log", file, "");
        }
    }

    /// `.1` becomes `.2`, the oldest first.
    fn move_numbers(&mut self) {
        let count = self.rotated.len();
        for (at, (name, compressed, _)) in self.rotated.iter_mut().enumerate() {
            let ending = if *compressed { ".gz" } else { "" };
            let next = format!("0.log.{}", count + 1 - at);
            let [from, to] = [&*name, &next].map(|name| self.folder.path().join(format!("{name}{ending}")));
            fs::rename(from, to).expect("renamed");
            *name = next;
        }
    }

    fn truncate(&mut self, lines: usize) {
        let Some(file) = self.current else { return };
        self.files[file].destroyed = true;
        File::options().write(true).truncate(true).open(self.path("0.log")).expect("truncated");
        self.current = None;
        let fresh = self.create();
        // It is the same inode, open or not.
        if self.opened.contains(&file) {
            self.opened.push(fresh);
        }
        self.append(&vec![9; lines], true);
    }

    fn recreate(&mut self) {
        // A number says nothing once the file that was read last is gone.
        let Some(file) = self.current.take_if(|_| !self.numbered) else { return };
        self.files[file].destroyed |= !self.opened.contains(&file);
        fs::remove_file(self.path("0.log")).expect("removed");
        // Who wrote to the file before the one that was deleted has long gone over.
        self.late = false;
        self.append(&[3], true);
    }

    fn append_late(&mut self) {
        let Some((name, false, file)) = self.rotated.last().filter(|_| self.late).cloned() else { return };
        let line = self.line(file, 5);
        self.write(&name, file, &format!("{line}\n"));
    }

    fn delete_oldest(&mut self) {
        if self.rotated.len() < 3 || self.numbered {
            return;
        }
        let (name, compressed, file) = self.rotated.remove(0);
        self.files[file].destroyed |= !self.opened.contains(&file);
        fs::remove_file(self.path(&if compressed { format!("{name}.gz") } else { name })).expect("removed");
    }

    /// What the reader must have seen of each file, given what it saw.
    fn check(&self, seen: &[String]) -> Result<(), TestCaseError> {
        let mut by_file: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for line in seen {
            let file = line.split(':').next().and_then(|file| file.parse().ok());
            by_file.entry(file.unwrap_or(usize::MAX)).or_default().push(line);
        }
        for (file, written) in self.files.iter().enumerate() {
            let lines: Vec<&str> = written.text.lines().map(|line| &line[..line.len().min(LINE_BYTES_MAX)]).collect();
            let read = by_file.remove(&file).unwrap_or_default();
            if written.destroyed {
                prop_assert!(lines.starts_with(&read), "file {file}: {read:?} of {lines:?}");
            } else {
                prop_assert_eq!(read, lines, "file {}", file);
            }
        }
        prop_assert!(by_file.is_empty(), "lines that nobody wrote: {:?}", by_file);
        Ok(())
    }
}

fn live(steps: &[Step], start: Start, numbered: bool) -> Result<(), TestCaseError> {
    let mut world = World::new(numbered);
    let root = world.folder.path().to_path_buf();
    let mut source = FileSource::new(root.join("0.log"), Opener::below([root]), start);
    let mut buffer = LineBuffer::new(READ_BYTES, LINE_BYTES_MAX);
    let mut seen: Vec<String> = Vec::new();
    let now = Moment { fs: &RealFs, now: Duration::ZERO };
    for step in steps {
        match step {
            Step::Append { lines, finished } => world.append(lines, *finished),
            Step::Rotate { compress, create } => world.rotate(*compress, *create),
            Step::RenameBack { seen: looked } => {
                if world.current.is_none() {
                    continue;
                }
                fs::rename(world.path("0.log"), world.path("0.log.20261121-999999")).expect("renamed");
                if *looked {
                    source.poll(now, &mut buffer, 1, &mut |line| seen.push(String::from_utf8_lossy(line.bytes).into()));
                    // A newer file was rotated away, as far as anyone can tell.
                    world.late = false;
                }
                fs::rename(world.path("0.log.20261121-999999"), world.path("0.log")).expect("renamed");
            }
            Step::Truncate { lines } => world.truncate(*lines),
            Step::Recreate => world.recreate(),
            Step::AppendLate => world.append_late(),
            Step::DeleteOldest => world.delete_oldest(),
            Step::Poll { budget } => {
                source
                    .poll(now, &mut buffer, *budget, &mut |line| seen.push(String::from_utf8_lossy(line.bytes).into()));
                world.opened.extend(world.current);
            }
        }
    }
    // A log that has no file by its name is nobody's find.
    world.append(&[], true);
    source.finish(now, &mut buffer, &mut |line| seen.push(String::from_utf8_lossy(line.bytes).into()));
    world.check(&seen)
}

/// More with `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { 200 };
    ProptestConfig { cases, ..asked }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_line_is_read_once(steps in proptest::collection::vec(step(false), 1..40)) {
        live(&steps, Start::Current, false)?;
    }

    #[test]
    fn every_line_is_read_once_though_numbers_move(steps in proptest::collection::vec(step(false), 1..40)) {
        live(&steps, Start::Everything, true)?;
    }

    #[test]
    fn a_truncation_loses_what_was_not_read_and_nothing_else(steps in proptest::collection::vec(step(true), 1..30)) {
        live(&steps, Start::Everything, false)?;
    }
}
