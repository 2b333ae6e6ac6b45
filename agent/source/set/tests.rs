use super::*;
use crate::source::{FileSystem, MemFs};

fn set() -> Sources {
    Sources::new(Budget { source_bytes: 100, turn_bytes: 250 }, LineBuffer::new(64, 40))
}

fn wanted(paths: &[&str]) -> impl Iterator<Item = (PathBuf, Start)> {
    let paths: Vec<_> = paths.iter().map(|path| (PathBuf::from(path), Start::CurrentOnly)).collect();
    paths.into_iter()
}

const NOW: fn(u64) -> Duration = Duration::from_millis;

/// Polls at `now_ms`, and gives each line with the number of its source.
fn poll(sources: &mut Sources, fs: &MemFs, now_ms: u64) -> (Turn, Vec<(u32, String)>) {
    let mut got = Vec::new();
    let turn = sources.poll_all(fs, NOW(now_ms), &mut |id, line| {
        got.push((id.0, String::from_utf8_lossy(line.bytes).into_owned()));
    });
    (turn, got)
}

#[test]
fn sources_come_and_go_with_what_is_wanted() {
    let fs = MemFs::default();
    for path in ["/a", "/b", "/c"] {
        fs.append(path, format!("{path}\n"));
    }
    let mut sources = set();
    assert_eq!(sources.reconcile(wanted(&["/b", "/a"])), [SourceId(0), SourceId(1)]);
    assert_eq!(poll(&mut sources, &fs, 0).1, [(0, "/a".into()), (1, "/b".into())]);
    assert_eq!(sources.reconcile(wanted(&["/b", "/c"])), [SourceId(2)]);
    fs.append("/a", "more\n");
    let (turn, got) = poll(&mut sources, &fs, 5_000);
    assert_eq!(got, [(0, "more".into()), (2, "/c".into())], "missed once is not unwanted");
    assert_eq!(turn.finished, []);
    sources.reconcile(wanted(&["/b", "/c"]));
    fs.append("/a", "last");
    let (turn, got) = poll(&mut sources, &fs, 10_000);
    assert_eq!((got, turn.finished), (vec![(0, "last".into())], vec![SourceId(0)]));
    assert_eq!((sources.len(), sources.get(SourceId(0)).is_none()), (2, true));
    assert_eq!(sources.reconcile(wanted(&["/b", "/c", "/d"])), [SourceId(0)], "the place is used again");
    let turn = sources.finish_all(&fs, &mut |_, _| {});
    assert_eq!((turn.finished.len(), sources.is_empty()), (3, true));
}

#[test]
fn a_deleted_log_leaves_by_itself() {
    let fs = MemFs::default();
    fs.append("/a", "1\n");
    let mut sources = set();
    sources.reconcile(wanted(&["/a"]));
    poll(&mut sources, &fs, 0);
    fs.unlink("/a");
    let finished: Vec<_> = (1..4).flat_map(|n| poll(&mut sources, &fs, n * 5_000).0.finished).collect();
    assert_eq!((finished, sources.len()), (vec![SourceId(0)], 0));
}

#[test]
fn a_noisy_source_does_not_starve_the_others() {
    let fs = MemFs::default();
    fs.append("/noisy", "noise\n".repeat(1_000));
    for path in ["/q1", "/q2", "/q3"] {
        fs.append(path, "quiet line number one\n".repeat(4));
    }
    let mut sources = set();
    sources.reconcile(wanted(&["/noisy", "/q1", "/q2", "/q3"]));
    let (turn, first) = poll(&mut sources, &fs, 0);
    assert!(turn.bytes <= 250 + 100 + 128 && turn.wait.is_zero());
    let (_, second) = poll(&mut sources, &fs, 0);
    for id in 1..4 {
        assert!(first.iter().chain(&second).any(|(of, _)| *of == id), "source {id} had no turn");
    }
    let mut noise = 0;
    for _ in 0..200 {
        noise += poll(&mut sources, &fs, 0).1.len();
    }
    assert!(noise > 900, "{noise}");
    assert_eq!(sources.lag_bytes(SourceId(0)), 0);
}

#[test]
fn idle_sources_are_polled_less_and_a_hint_wakes_them() {
    let fs = MemFs::default();
    fs.append("/a", "1\n");
    let mut sources = set();
    sources.reconcile(wanted(&["/a"]));
    let mut now = Duration::ZERO;
    let mut waits = Vec::new();
    for _ in 0..6 {
        let turn = sources.poll_all(&fs, now, &mut |_, _| {});
        waits.push(turn.wait.as_millis());
        now += turn.wait;
    }
    assert_eq!(waits, [250, 500, 1000, 2000, 2000, 2000]);
    let calls = fs.calls();
    sources.poll_all(&fs, now - NOW(1), &mut |_, _| {});
    assert_eq!(fs.calls(), calls, "not due, not looked at");
    fs.append("/a", "2\n");
    sources.hint(Path::new("/a.20261121-120000"));
    let turn = sources.poll_all(&fs, now - NOW(1), &mut |_, _| {});
    assert_eq!((turn.lines, turn.wait), (1, NOW(250)));
    assert!(fs.metadata(Path::new("/a")).is_ok());
}

#[test]
fn older_generations_that_are_wanted_too_are_read_once() {
    let fs = MemFs::default();
    fs.append("/log/access.log.1", "old\n");
    fs.append("/log/access.log", "new\n");
    fs.append("/log/single.log.1", "alone\n");
    let mut sources = set();
    sources.reconcile(wanted(&["/log/access.log.1", "/log/access.log", "/log/single.log.1"]));
    let (_, got) = poll(&mut sources, &fs, 0);
    assert_eq!(got, [(0, "old".into()), (0, "new".into()), (1, "alone".into())]);
}
