//! A configuration that is written, renamed, linked, spoiled and taken away; each look is the test's.

use super::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

const EVERY: Duration = Duration::from_secs(5);

/// A file `weir.yaml` of which every text is refused, with itself for a reason.
struct Stage {
    folder: TempDir,
    file: ConfigFile,
}

impl Stage {
    fn holding(text: &str) -> Stage {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("weir.yaml");
        fs::write(&path, text).expect("written");
        let file = ConfigFile::new(path, text, Box::new(|text| Err(text.to_string())), EVERY);
        Stage { folder, file }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, text: &str) {
        fs::write(self.path("weir.yaml"), text).expect("written");
    }

    /// What a look tries to run.
    fn look(&self) -> Option<String> {
        Some(self.file.look()?.expect_err("nothing runs here"))
    }

    /// What five looks try to run.
    fn looks(&self) -> Vec<String> {
        (0..5).filter_map(|_| self.look()).collect()
    }
}

#[test]
fn what_is_as_it_was_is_never_read_again() {
    let stage = Stage::holding("a");
    assert_eq!(stage.looks(), [""; 0]);
    stage.write("a");
    assert_eq!(stage.looks(), [""; 0], "written again with the same text");
}

#[test]
fn a_file_that_is_being_written_counts_when_it_is_done() {
    let stage = Stage::holding("a");
    for half in ["", "b", "bc"] {
        stage.write(half);
        assert_eq!(stage.look(), None, "{half:?} may be half of it");
    }
    assert_eq!(stage.look().as_deref(), Some("bc"));
    assert_eq!(stage.looks(), [""; 0]);
    stage.write("d");
    assert_eq!(stage.look(), None);
    stage.write("bc");
    assert_eq!(stage.looks(), [""; 0], "back before it counted");
}

#[test]
fn each_way_of_changing_it_is_seen() {
    let stage = Stage::holding("a");
    stage.write("in place");
    assert_eq!(stage.looks(), ["in place"]);

    fs::write(stage.path("new"), "renamed").expect("written");
    fs::rename(stage.path("new"), stage.path("weir.yaml")).expect("renamed");
    assert_eq!(stage.looks(), ["renamed"]);

    // As the kubelet does it: the folder's content is behind a link that it swaps.
    let volume = |name: &str, text: &str| {
        fs::create_dir(stage.path(name)).expect("a folder");
        fs::write(stage.path(name).join("weir.yaml"), text).expect("written");
        symlink(name, stage.path("..data_tmp")).expect("linked");
        fs::rename(stage.path("..data_tmp"), stage.path("..data")).expect("renamed");
    };
    volume("..2026_11_21_1", "linked");
    symlink("..data/weir.yaml", stage.path("link")).expect("linked");
    fs::rename(stage.path("link"), stage.path("weir.yaml")).expect("renamed");
    assert_eq!(stage.looks(), ["linked"]);
    volume("..2026_11_21_2", "swapped");
    fs::remove_dir_all(stage.path("..2026_11_21_1")).expect("removed");
    assert_eq!(stage.looks(), ["swapped"]);
}

#[test]
fn what_was_refused_is_tried_again_only_when_somebody_asks_or_it_changes() {
    let stage = Stage::holding("a");
    stage.write("bad");
    assert_eq!(stage.looks(), ["bad"]);
    assert_eq!(stage.file.read().expect_err("refused"), "bad");
    assert_eq!(stage.looks(), [""; 0], "somebody has tried it a moment ago");
    stage.write("a");
    assert_eq!(stage.looks(), ["a"], "the first one is news after a bad one");
    stage.write("b");
    assert_eq!(stage.file.read().expect_err("refused"), "b");
    assert_eq!(stage.looks(), [""; 0]);
}

#[test]
fn what_came_at_a_bad_time_is_tried_until_it_was_not() {
    let stage = Stage::holding("a");
    stage.write("b");
    assert_eq!((stage.look(), stage.look().as_deref()), (None, Some("b")));
    for _ in 0..3 {
        stage.file.find_again();
        assert_eq!(stage.look().as_deref(), Some("b"));
    }
    assert_eq!(stage.looks(), [""; 0]);
}

#[test]
fn a_file_that_is_gone_is_told_once_and_tried_when_it_is_back() {
    let stage = Stage::holding("a");
    let path = stage.path("weir.yaml");
    let told_once = |why: &str| {
        let told = stage.looks();
        assert!(told.len() == 1 && told[0].contains("weir.yaml") && told[0].contains(why), "{told:?}");
    };
    fs::remove_file(&path).expect("removed");
    told_once("No such file");
    // Opening it would wait for a writer for ever.
    pipe(&path);
    told_once("no regular file any more");
    fs::remove_file(&path).expect("removed");
    fs::write(&path, b"\xff").expect("written");
    told_once("UTF-8");
    stage.write(&"#".repeat(crate::config::FILE_BYTES_MAX as usize + 1));
    told_once("longer than 16777216 bytes");
    stage.write("a");
    assert_eq!(stage.looks(), ["a"]);
}

#[test]
fn a_pipe_is_not_looked_at_and_neither_is_a_file_with_an_interval_of_zero() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("weir.yaml");
    let look_every =
        |every| ConfigFile::new(path.clone(), "a", Box::new(|text| Err(text.to_string())), every).look_every();
    pipe(&path);
    assert_eq!(look_every(EVERY), None);
    fs::remove_file(&path).expect("removed");
    fs::write(&path, "a").expect("written");
    assert_eq!((look_every(EVERY), look_every(Duration::ZERO)), (Some(EVERY), None));
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
}
