//! Random lives of a log, with a reader that stops and starts: every line comes exactly once.

use super::life_tests::{LOG, OLD, Tail};
use super::*;
use crate::source::{MemFs, Notice};
use proptest::prelude::*;

/// What a node does to one log, and what we do meanwhile.
#[derive(Debug, Clone)]
enum Step {
    Append(u8),
    /// To the newest rotated file, while it is plain.
    AppendLate(u8),
    /// As kubelet does: compress what was rotated before, rename, let the container open a new file.
    Rotate,
    /// The container could not open a new file.
    RotateAndBack,
    /// As logrotate does for writers that cannot open a new file.
    CopyTruncate,
    Poll(u64),
    Restart,
    /// With the machine, which lost nothing.
    Reboot,
    /// Too many files are open.
    Sleep,
    /// There is no descriptor left for a poll.
    Starve,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..6).prop_map(Step::Append),
        1 => (1u8..3).prop_map(Step::AppendLate),
        2 => Just(Step::Rotate),
        1 => Just(Step::RotateAndBack),
        1 => Just(Step::CopyTruncate),
        4 => prop_oneof![Just(u64::MAX), 0u64..200].prop_map(Step::Poll),
        1 => Just(Step::Restart),
        1 => Just(Step::Reboot),
        2 => Just(Step::Sleep),
        1 => Just(Step::Starve),
    ]
}

/// Whether there is nothing to be told. That an empty file was compressed unseen, with what it then held, shows nowhere:
/// it is told as gone where no older one is there.
fn all_is_well(progress: &Progress) -> bool {
    progress.notices.iter().all(|notice| matches!(notice, Notice::Vanished { offset: 0, .. }))
}

/// More with `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { 300 };
    ProptestConfig { cases, failure_persistence: None, ..asked }
}

proptest! {
    #![proptest_config(config())]

    /// Files are never deleted here, so nothing may be lost, doubled, or told as trouble.
    #[test]
    fn every_line_comes_exactly_once(steps in prop::collection::vec(step(), 1..60), timestamps in any::<bool>()) {
        let mut tail = Tail::kubelet();
        let mut writer = Writer { fs: tail.fs.clone(), written: Vec::new(), timestamps };
        let mut hour = 0;
        let mut plain: Option<String> = None;
        writer.write(LOG, 0);
        for step in steps {
            match step {
                Step::Append(count) => writer.write(LOG, count),
                Step::AppendLate(count) => if let Some(path) = &plain { writer.write(path, count) },
                Step::Rotate => {
                    if let Some(path) = plain.take() {
                        tail.fs.compress(path);
                    }
                    hour += 1;
                    let name = format!("{LOG}.20261121-{hour:06}");
                    tail.rotate(&name);
                    plain = Some(name);
                }
                Step::RotateAndBack => {
                    tail.fs.rename(LOG, OLD);
                    let progress = tail.poll();
                    prop_assert!(all_is_well(&progress), "{:?}", progress.notices);
                    tail.fs.rename(OLD, LOG);
                }
                Step::CopyTruncate => {}
                Step::Poll(budget) => {
                    let progress = tail.poll_bytes(budget);
                    prop_assert!(all_is_well(&progress), "{:?}", progress.notices);
                }
                // Only times tell apart files that begin alike once they are closed.
                Step::Restart => if timestamps { tail.restart() },
                Step::Reboot => if timestamps { tail.resume(Resume { rebooted: true }) },
                // A file that was closed is known by what is in it only.
                Step::Sleep => if timestamps { tail.source.sleep() },
                Step::Starve => {
                    tail.fs.set_open_max(0);
                    tail.poll();
                    tail.fs.set_open_max(usize::MAX);
                }
            }
        }
        tail.poll();
        tail.poll();
        let mut got: Vec<String> = tail.got.clone();
        got.sort();
        writer.written.sort();
        prop_assert_eq!(got, writer.written);
    }

    /// The same with names that move up, with late compression, and with copytruncate in between.
    #[test]
    fn every_line_comes_exactly_once_with_numbered_files(
        steps in prop::collection::vec(step(), 1..60),
        compress in any::<bool>(),
    ) {
        let mut tail = Tail::new(LOG, Start::Current);
        let mut writer = Writer { fs: tail.fs.clone(), written: Vec::new(), timestamps: true };
        let (mut rotated, mut copied) = (0, false);
        writer.write(LOG, 0);
        // The first poll decides what was there before we watched.
        tail.poll();
        for step in steps {
            match step {
                Step::Append(count) => writer.write(LOG, count),
                Step::AppendLate(count) => if rotated > 0 && !copied { writer.write(&format!("{LOG}.1"), count) },
                Step::Rotate | Step::CopyTruncate => {
                    for number in (1..=rotated).rev() {
                        let gz = if compress && number > 1 { ".gz" } else { "" };
                        tail.fs.rename(format!("{LOG}.{number}{gz}"), format!("{LOG}.{}{gz}", number + 1));
                    }
                    if compress && rotated > 0 {
                        tail.fs.compress(format!("{LOG}.2"));
                    }
                    rotated += 1;
                    copied = matches!(step, Step::CopyTruncate);
                    if !copied {
                        tail.rotate(&format!("{LOG}.1"));
                    } else {
                        tail.fs.create(format!("{LOG}.1"), tail.fs.content(LOG));
                        tail.fs.resize(LOG, 0);
                    }
                }
                Step::RotateAndBack => {}
                Step::Poll(budget) => drop(tail.poll_bytes(budget)),
                Step::Restart => tail.restart(),
                Step::Reboot | Step::Starve => {}
                Step::Sleep => tail.source.sleep(),
            }
        }
        // What the hint does, or in time the number of polls.
        tail.source.look_again();
        for _ in 0..3 {
            tail.poll();
        }
        let mut got: Vec<String> = tail.got.clone();
        got.sort();
        writer.written.sort();
        prop_assert_eq!(got, writer.written);
    }
}

struct Writer {
    fs: MemFs,
    written: Vec<String>,
    /// Without times in the lines the files begin alike.
    timestamps: bool,
}

impl Writer {
    fn write(&mut self, path: &str, count: u8) {
        self.fs.append(path, "");
        for _ in 0..count {
            let number = self.written.len();
            let line = if self.timestamps { format!("{number:05} line") } else { format!("line {}", number % 7) };
            self.fs.append(path, format!("{line}\n"));
            self.written.push(line);
        }
    }
}
