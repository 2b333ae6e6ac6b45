use super::*;
use crate::app::Report;
use crate::checkpoint::{Limits, Opened};
use crate::config::Fsync;
use crate::disk::{Fault, SimDisk};
use crate::keep::{Entries, Slot, Table};
use crate::metrics::{Family, GroupId, Kind, LabelKey, Limit, Store};

const SECOND: Duration = Duration::from_secs(1);
const SLOT: Slot = Slot { table: Table::JOBS, index: 0 };

/// A worker that counts one series.
struct Counting {
    series: Store,
    group: GroupId,
    now: Duration,
}

impl Counting {
    fn new() -> Self {
        let mut series = Store::new();
        let family = Family { name: "x_total".into(), help: String::new(), kind: Kind::Counter, max_idle: None };
        let id = series.define(family).expect("a good family");
        let group = series.group(&[id], Limit { series_max: 10, ..Limit::default() });
        Counting { series, group, now: Duration::ZERO }
    }

    fn count(&mut self, lines: u64) {
        let mut key = LabelKey::new();
        let row = self.series.row(self.group, &mut key, 0);
        for _ in 0..lines {
            self.series.cells(self.group, row).inc(0).expect("a counter counts");
        }
    }

    fn cut(&mut self, for_scrape: bool) -> Arc<Cut> {
        self.now += SECOND;
        let snapshot = self.series.cut(for_scrape, self.now);
        let mut kept = Entries::default();
        kept.put(SLOT, |writer| writer.number(snapshot.number()));
        let report = Report { snapshot, books: Vec::new(), facts: Default::default() };
        Arc::new(Cut { number: report.snapshot.number(), for_scrape, made: self.now, report, kept })
    }
}

fn open(disk: &SimDisk) -> Opened {
    Checkpoint::open(disk.mount(), Limits::default()).expect("a directory that answers")
}

fn committer(disk: &SimDisk) -> Committer {
    Committer::on(open(disk).checkpoint, Fsync::EveryCut, None)
}

/// The number of the cut that a restart would find.
fn found(disk: &SimDisk) -> Option<u64> {
    disk.crash();
    let opened = open(disk);
    opened.recovered.entries.get(SLOT).and_then(|bytes| crate::keep::Reader::new(bytes).number())
}

#[test]
fn what_is_shown_outlives_the_process_and_the_machine() {
    let disk = SimDisk::new(1);
    let (mut worker, mut committer) = (Counting::new(), committer(&disk));
    for lines in 1..50 {
        worker.count(lines);
        let cut = worker.cut(lines % 3 > 0);
        let verdict = committer.commit(&cut, worker.now, false);
        assert_eq!(verdict, Verdict { publish: true, ..Verdict::default() });
    }
    let shown = worker.cut(true);
    assert!(committer.commit(&shown, worker.now, false).publish);
    assert!(committer.facts().durable && committer.facts().commits == 50 && committer.facts().written_bytes > 0);
    disk.power_loss();
    assert_eq!(found(&disk), Some(shown.number));
}

#[test]
fn a_disk_that_fails_keeps_cuts_back_for_a_minute_and_is_taken_again_when_it_is_well() {
    let disk = SimDisk::new(2);
    let (mut worker, mut committer) = (Counting::new(), committer(&disk));
    let first = worker.cut(true);
    assert!(committer.commit(&first, worker.now, false).publish);
    disk.fail(Some(Fault::NoSpace));
    let mut volatile = Vec::new();
    for _ in 0..100 {
        worker.count(1);
        let cut = worker.cut(true);
        let verdict = committer.commit(&cut, worker.now, false);
        assert_eq!(verdict.trouble.is_some(), cut.made == 2 * SECOND, "told once");
        assert_eq!(verdict.broken, (cut.made == 62 * SECOND).then_some("volatile"), "broken once");
        if verdict.publish {
            volatile.push(cut.made.as_secs());
        }
        assert_eq!(committer.facts().durable, !verdict.publish, "what is shown is durable or said not to be");
    }
    assert_eq!(volatile, (63..=101).collect::<Vec<_>>(), "the first is the one that can tell of it");
    disk.fail(None);
    let cut = worker.cut(false);
    let verdict = committer.commit(&cut, worker.now, false);
    assert!(verdict.publish && verdict.recovered && committer.facts().durable);
    assert_eq!(found(&disk), Some(cut.number));
}

#[test]
fn a_directory_that_cannot_be_opened_is_tried_again() {
    let disk = SimDisk::new(3);
    let (again, mut tries) = (disk.clone(), 0);
    let reopen: Reopen = Box::new(move || {
        tries += 1;
        match tries {
            1..3 => Err("no such directory".to_string()),
            _ => Ok(Checkpoint::open(again.mount(), Limits::default()).expect("a directory that answers").checkpoint),
        }
    });
    let mut worker = Counting::new();
    let mut committer = Committer::waiting(reopen, Fsync::EveryCut, "no such directory".to_string());
    let mut published = Vec::new();
    for _ in 0..12 {
        let cut = worker.cut(true);
        if committer.commit(&cut, worker.now, false).publish {
            published.push(cut.made.as_secs());
        }
    }
    // Tried at 1, 6 and 11 seconds.
    assert_eq!(published, [11, 12]);
    assert_eq!(found(&disk), Some(12));
}

#[test]
fn many_cuts_take_little_room() {
    let disk = SimDisk::new(4);
    let (mut worker, mut committer) = (Counting::new(), committer(&disk));
    for _ in 0..20_000 {
        worker.count(1);
        let cut = worker.cut(false);
        assert!(committer.commit(&cut, worker.now, false).publish);
    }
    assert!(committer.facts().snapshots > 1, "the log began anew");
    let bytes: usize = disk.files().values().map(Vec::len).sum();
    assert!(bytes < 32 << 20, "{bytes}");
    assert_eq!(found(&disk), Some(20_000));
}

#[test]
fn the_log_knows_what_scrapers_saw_even_when_it_begins_with_a_cut_for_nobody() {
    let disk = SimDisk::new(5);
    let (mut worker, mut committer) = (Counting::new(), committer(&disk));
    worker.count(5);
    let seen = worker.cut(true);
    committer.commit(&seen, worker.now, false);
    worker.count(2);
    // A failure lets the log begin anew with a cut that no scraper sees.
    disk.fail_at(1, Fault::Io);
    let lost = worker.cut(false);
    assert!(!committer.commit(&lost, worker.now, false).publish);
    let unseen = worker.cut(false);
    assert!(committer.commit(&unseen, worker.now, false).publish);
    disk.crash();
    let recovered = open(&disk).recovered;
    let value = |bytes: Option<&[u8]>| bytes.map(|bytes| bytes[1]);
    let (slot, before) = recovered.before.iter().find(|(slot, _)| slot.table == Table::VALUES).expect("it grew since");
    assert_eq!((value(before.as_deref()), value(recovered.entries.get(*slot))), (Some(5), Some(7)));
}

#[test]
fn the_end_is_said_in_order() {
    let disk = SimDisk::new(6);
    let (mut worker, mut committer) = (Counting::new(), committer(&disk));
    worker.count(3);
    let last = worker.cut(true);
    assert!(committer.commit(&last, worker.now, true).publish);
    disk.power_loss();
    let recovered = open(&disk).recovered;
    assert!(recovered.clean);
    assert_eq!(found(&disk), Some(last.number));
}

#[test]
fn without_a_directory_all_is_shown_and_nothing_is_durable() {
    let (mut worker, mut committer) = (Counting::new(), Committer::without_state());
    let cut = worker.cut(true);
    assert_eq!(committer.commit(&cut, worker.now, true), Verdict { publish: true, ..Verdict::default() });
    assert!(!committer.facts().durable && !committer.keeps_state());
}
