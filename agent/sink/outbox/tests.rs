use super::*;
use crate::disk::SimDisk;
use crate::keep::Entries;
use crate::sink::spool::SpoolLimits;

const MEMORY_BYTES: usize = 1_000;
const LIMITS: SpoolLimits =
    SpoolLimits { bytes_max: 1 << 20, free_percent: 0, batches_max: 1_000, checked_bytes_max: 1 << 20 };

fn sealed(tenant: &str, lines: u64, text: &str) -> Sealed {
    let message = text.as_bytes().to_vec();
    Sealed {
        tenant: tenant.into(),
        lines,
        bytes: lines * 10,
        begun: Duration::from_secs(lines),
        repeatable: true,
        message,
    }
}

/// Bytes that do not get smaller by packing.
fn noise(bytes: usize) -> String {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        char::from(b' ' + (state >> 58) as u8)
    };
    (0..bytes).map(|_| next()).collect()
}

fn outbox() -> Outbox {
    Outbox::new("loki", MEMORY_BYTES, LIMITS.bytes_max, WhenFull::DropOldest)
}

fn attach(outbox: &Outbox, disk: &SimDisk, limits: SpoolLimits) -> u64 {
    let (spool, found) = Spool::open(disk.mount(), limits).expect("a disk that answers");
    outbox.attach(spool, &found)
}

fn accepted(entries: u64) -> Settled {
    Settled { acknowledged: entries, ..Settled::default() }
}

/// A cut of the outbox, as its slots.
fn cut(outbox: &Outbox) -> Entries {
    let mut entries = Entries::default();
    outbox.keep_books(3, &mut entries);
    outbox.keep_batches(3, &mut entries);
    entries
}

fn balanced(outbox: &Outbox) -> OutboxFacts {
    let facts = outbox.facts();
    assert_eq!(
        facts.books.entered,
        facts.books.acknowledged + facts.books.dropped_entries() + facts.pending_entries,
        "{facts:?}"
    );
    facts
}

#[test]
fn each_tenant_gets_its_batches_in_their_order() {
    let outbox = outbox();
    for (tenant, lines) in [("a", 1), ("b", 2), ("a", 3)] {
        outbox.put(sealed(tenant, lines, "x"));
    }
    assert_eq!(outbox.tenants(), ["a".into(), "b".into()]);
    let first = outbox.take("a").expect("one of a");
    assert_eq!(first.lines, 1);
    let second = outbox.take("a").expect("another one");
    assert_eq!((second.lines, outbox.take("a").is_none()), (3, true));
    // Broken off: it is the first again.
    outbox.give_back(second.id);
    outbox.give_back(first.id);
    assert_eq!(outbox.take("a").expect("again").id, first.id);
    outbox.settle(first.id, &accepted(1));
    outbox.give_back(first.id);
    assert_eq!(outbox.take("a").expect("the second").id, second.id);
    let facts = balanced(&outbox);
    assert_eq!((facts.books.acknowledged, facts.pending_entries, facts.pending_batches), (1, 5, 2));
    assert_eq!(outbox.tenants_unsettled(), 2);
}

fn aside(entries: u64, text: &str) -> Option<Aside> {
    Some(Aside::Part { packed: text.as_bytes().to_vec().into(), lot: Lot { entries, bytes: entries * 10 } })
}

#[test]
fn what_is_set_aside_lets_others_by_and_keeps_its_order() {
    let outbox = outbox();
    for lines in [3, 4, 5] {
        outbox.put(sealed("a", lines, "x"));
    }
    let (first, second) = (outbox.take("a").expect("one"), outbox.take("a").expect("one"));
    outbox.settle(first.id, &Settled { acknowledged: 1, aside: aside(2, "y"), ..Settled::default() });
    outbox.settle(second.id, &Settled { aside: Some(Aside::Whole), ..Settled::default() });
    // Whoever sent it has let go of it.
    outbox.give_back(second.id);
    let facts = balanced(&outbox);
    assert_eq!((facts.books.acknowledged, facts.pending_entries, facts.aside_entries), (1, 2 + 4 + 5, 2 + 4));
    let third = outbox.take("a").expect("the last one");
    assert_eq!((third.lines, outbox.take("a").is_none()), (5, true));
    assert_eq!((outbox.aside("a"), outbox.aside("b")), (2, 0));
    let part = outbox.take_aside("a").expect("a part");
    assert_eq!((part.lines, part.bytes, part.begun), (2, 20, first.begun));
    assert_eq!(outbox.packed(&part).as_deref(), Some(&b"y"[..]));
    assert_eq!(outbox.take_aside("a").map(|whole| whole.id), Some(second.id));
    assert!(outbox.take_aside("a").is_none());
    outbox.settle(part.id, &accepted(2));
    outbox.settle(second.id, &accepted(4));
    let facts = balanced(&outbox);
    assert_eq!((facts.books.acknowledged, facts.pending_entries, facts.aside_entries), (7, 5, 0));
}

#[test]
fn what_is_set_aside_gives_way_like_any_other() {
    let outbox = outbox();
    outbox.put(sealed("a", 3, "x"));
    let first = outbox.take("a").expect("one");
    outbox.settle(first.id, &Settled { acknowledged: 1, aside: aside(2, &noise(600)), ..Settled::default() });
    for _ in 0..3 {
        outbox.put(sealed("a", 1, &noise(300)));
    }
    outbox.relieve();
    let facts = balanced(&outbox);
    assert_eq!((facts.books.dropped[BUFFER_FULL].entries, facts.aside_entries), (2, 0));
    assert!(outbox.take_aside("a").is_none());
}

#[test]
fn what_is_set_aside_is_there_once_over_a_kill() {
    let disk = SimDisk::new(1);
    let before = outbox();
    attach(&before, &disk, LIMITS);
    before.put(sealed("a", 5, "x"));
    let old = cut(&before);
    before.save(true).expect("a sound disk");
    let batch = before.take("a").expect("one");
    before.settle(batch.id, &Settled { acknowledged: 3, aside: aside(2, "y"), ..Settled::default() });
    before.save(true).expect("a sound disk");
    // Killed before a cut knows of the part: the whole is sent again, and the part is in it.
    disk.crash();
    let after = outbox();
    after.restore(&old);
    attach(&after, &disk, LIMITS);
    let facts = balanced(&after);
    assert_eq!((facts.pending_entries, facts.pending_batches, facts.books.acknowledged), (5, 1, 0));
    let batch = after.take("a").expect("the same");
    after.settle(batch.id, &Settled { acknowledged: 3, aside: aside(2, "y"), ..Settled::default() });
    let new = cut(&after);
    after.save(true).expect("a sound disk");
    disk.crash();
    let last = outbox();
    last.restore(&new);
    attach(&last, &disk, LIMITS);
    let facts = balanced(&last);
    assert_eq!((facts.pending_entries, facts.pending_batches, facts.books.acknowledged), (2, 1, 3));
    let part = last.take("a").expect("the part");
    assert_eq!(last.packed(&part).as_deref(), Some(&b"y"[..]));
}

#[test]
fn without_a_spool_the_oldest_batches_go_and_are_counted() {
    let outbox = outbox();
    for lines in 1..=5 {
        outbox.put(sealed("a", lines, &noise(300)));
        outbox.relieve();
    }
    let facts = balanced(&outbox);
    assert!(facts.memory_bytes <= MEMORY_BYTES as u64);
    let dropped = facts.books.dropped[BUFFER_FULL];
    assert_eq!((dropped.entries, dropped.bytes), (1 + 2, 30));
    assert_eq!(facts.dropped[&("a".into(), BUFFER_FULL.to_string())], dropped);
    assert_eq!(outbox.take("a").expect("what is left").lines, 3);
}

#[test]
fn one_that_waits_says_so_and_drops_nothing() {
    let outbox = Outbox::new("loki", MEMORY_BYTES, 0, WhenFull::Wait);
    for lines in 1..=5 {
        outbox.put(sealed("a", lines, &noise(300)));
        outbox.relieve();
    }
    assert!(outbox.is_full());
    let first = outbox.take("a").expect("one");
    outbox.settle(first.id, &accepted(1));
    let second = outbox.take("a").expect("one");
    outbox.settle(second.id, &accepted(2));
    assert!(!outbox.is_full());
    assert_eq!(balanced(&outbox).books.dropped_entries(), 0);
}

#[test]
fn pressure_is_told_once_until_room_was_made() {
    let outbox = Arc::new(outbox());
    let told = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counter = Arc::clone(&told);
    outbox.on_pressure(Box::new(move || {
        counter.fetch_add(1, Relaxed);
    }));
    for _ in 0..8 {
        outbox.put(sealed("a", 1, &noise(400)));
    }
    assert_eq!(told.load(Relaxed), 1);
    attach(&outbox, &SimDisk::new(1), LIMITS);
    outbox.relieve();
    assert_eq!(outbox.facts().memory_bytes, 0, "all of it is on disk");
    assert!(outbox.is_stored() && !outbox.is_full());
    for _ in 0..8 {
        outbox.put(sealed("a", 1, &noise(400)));
    }
    assert_eq!(told.load(Relaxed), 2);
}

/// It may be under way for as long as Loki is away.
#[test]
fn a_batch_under_way_that_is_larger_than_the_memory_holds_up_nobody() {
    let outbox = outbox();
    attach(&outbox, &SimDisk::new(1), LIMITS);
    outbox.put(sealed("a", 1, &noise(10 * MEMORY_BYTES)));
    assert!(outbox.is_full());
    outbox.take("a").expect("it");
    assert!(!outbox.is_full());
    for _ in 0..50 {
        outbox.put(sealed("a", 1, &noise(MEMORY_BYTES / 2)));
        outbox.relieve();
        assert!(!outbox.is_full());
    }
    assert_eq!(balanced(&outbox).books.dropped_entries(), 0);
}

/// Batches come while others are stored: the spool has room for them too.
#[test]
fn what_comes_while_room_is_made_is_not_given_up() {
    let outbox = outbox();
    attach(&outbox, &SimDisk::new(1), SpoolLimits { bytes_max: 64 << 20, batches_max: 100_000, ..LIMITS });
    let text = noise(2 * MEMORY_BYTES);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..300 {
                outbox.put(sealed("a", 1, &text));
                while outbox.is_full() {
                    std::thread::yield_now();
                }
            }
        });
        while !reader.is_finished() {
            outbox.relieve();
        }
    });
    let facts = balanced(&outbox);
    assert_eq!((facts.books.dropped_entries(), facts.pending_batches), (0, 300));
}

#[test]
fn what_is_only_on_disk_is_pushed_as_it_was_packed() {
    let outbox = outbox();
    attach(&outbox, &SimDisk::new(1), LIMITS);
    outbox.put(sealed("a", 1, &noise(2_000)));
    let batch = outbox.take("a").expect("one");
    let packed = outbox.packed(&batch).expect("in memory");
    outbox.give_back(batch.id);
    outbox.relieve();
    assert!(batch.is_away());
    assert_eq!(outbox.packed(&batch), Some(packed));
    assert!(outbox.spare().is_some(), "the buffer is free again");
}

#[test]
fn after_a_kill_exactly_the_batches_of_the_cut_are_sent_again() {
    let disk = SimDisk::new(1);
    let before = outbox();
    attach(&before, &disk, LIMITS);
    for lines in [1, 2, 4] {
        before.put(sealed("a", lines, &format!("batch {lines}")));
    }
    let first = before.take("a").expect("one");
    before.settle(first.id, &accepted(1));
    let cut = cut(&before);
    before.save(true).expect("a sound disk");
    // After the cut: one more is taken, and one more is made and stored.
    let second = before.take("a").expect("one");
    before.settle(second.id, &accepted(2));
    before.put(sealed("a", 8, "after the cut"));
    before.save(false).expect("a sound disk");
    disk.crash();
    let after = outbox();
    assert_eq!(after.restore(&cut), 0);
    assert_eq!(attach(&after, &disk, LIMITS), 0);
    let facts = balanced(&after);
    assert_eq!((facts.books.entered, facts.books.acknowledged, facts.pending_entries), (7, 3, 4));
    let batch = after.take("a").expect("the third");
    let packed = after.packed(&batch).expect("stored");
    assert_eq!(snap::raw::Decoder::new().decompress_vec(&packed).expect("a block"), b"batch 4");
    after.settle(batch.id, &accepted(4));
    assert!(after.take("a").is_none(), "what came after the cut is read again");
    after.put(sealed("a", 8, "read again"));
    assert!(after.take("a").expect("the new one").id > 3);
}

#[test]
fn what_cannot_be_made_again_waits_for_a_cut_that_knows_it() {
    let outbox = outbox();
    let unrepeatable = || Sealed { repeatable: false, ..sealed("a", 1, "x") };
    // Where nothing is kept, nothing waits.
    outbox.put(unrepeatable());
    let first = outbox.take("a").expect("at once");
    outbox.settle(first.id, &accepted(1));
    attach(&outbox, &SimDisk::new(1), LIMITS);
    outbox.put(unrepeatable());
    outbox.put(sealed("a", 2, "behind it"));
    outbox.put(sealed("b", 3, "beside it"));
    assert!(outbox.wants_cut() && outbox.take("a").is_none(), "order stays");
    assert_eq!(outbox.take("b").expect("another tenant").lines, 3);
    cut(&outbox);
    outbox.put(unrepeatable());
    assert!(outbox.take("a").is_none(), "the cut is not durable yet");
    outbox.cut_is_durable();
    assert_eq!(outbox.take("a").expect("the first").lines, 1);
    assert_eq!(outbox.take("a").expect("the second").lines, 2);
    assert!(outbox.wants_cut() && outbox.take("a").is_none(), "it came after the cut");
    cut(&outbox);
    outbox.cut_is_durable();
    assert!(!outbox.wants_cut() && outbox.take("a").is_some());
}

#[test]
fn without_a_cut_everything_that_is_stored_is_sent() {
    let disk = SimDisk::new(1);
    let before = outbox();
    attach(&before, &disk, LIMITS);
    before.put(sealed("a", 2, "x"));
    before.save(true).expect("a sound disk");
    disk.crash();
    let after = outbox();
    assert_eq!(after.restore(&Entries::default()), 0);
    assert_eq!(attach(&after, &disk, LIMITS), 0);
    assert_eq!(balanced(&after).pending_entries, 2);
}

#[test]
fn a_spool_that_was_taken_away_is_counted() {
    let disk = SimDisk::new(1);
    let before = outbox();
    attach(&before, &disk, LIMITS);
    before.put(sealed("a", 2, "x"));
    let cut = cut(&before);
    before.save(true).expect("a sound disk");
    let after = outbox();
    after.restore(&cut);
    attach(&after, &SimDisk::new(2), LIMITS);
    let facts = balanced(&after);
    assert_eq!((facts.pending_entries, facts.books.dropped_entries()), (0, 2));
}

#[test]
fn a_full_spool_gives_up_the_oldest_with_their_exact_number() {
    let disk = SimDisk::new(1);
    let outbox = outbox();
    let limits = SpoolLimits { bytes_max: 300_000, ..LIMITS };
    attach(&outbox, &disk, limits);
    for _ in 0..20 {
        outbox.put(sealed("a", 3, &noise(40_000)));
        outbox.relieve();
    }
    let facts = balanced(&outbox);
    assert!(facts.spool_bytes <= limits.bytes_max + 100_000, "{facts:?}");
    assert!(facts.books.dropped[BUFFER_FULL].entries >= 30, "{facts:?}");
    assert_eq!(facts.pending_entries, 60 - facts.books.dropped[BUFFER_FULL].entries);
    // The newest are there.
    let mut newest = None;
    while let Some(batch) = outbox.take("a") {
        assert!(outbox.packed(&batch).is_some());
        newest = Some(batch.id);
    }
    assert_eq!(newest, Some(19));
}

#[test]
fn entries_that_were_refused_are_counted_once_over_a_kill() {
    let disk = SimDisk::new(1);
    let before = outbox();
    attach(&before, &disk, LIMITS);
    before.put(sealed("a", 5, "x"));
    let old = cut(&before);
    before.save(true).expect("a sound disk");
    let refused = Settled { acknowledged: 3, dropped: vec![("too_old", Lot { entries: 2, bytes: 20 })], aside: None };
    let batch = before.take("a").expect("one");
    before.settle(batch.id, &refused);
    before.save(true).expect("a sound disk");
    // Killed before a cut has counted them: Loki is asked again.
    disk.crash();
    let after = outbox();
    after.restore(&old);
    attach(&after, &disk, LIMITS);
    assert_eq!(balanced(&after).pending_entries, 5);
    let batch = after.take("a").expect("the same");
    after.settle(batch.id, &refused);
    // Two cuts later it is over.
    let counted = cut(&after);
    after.save(true).expect("a sound disk");
    cut(&after);
    after.save(true).expect("a sound disk");
    disk.crash();
    let last = outbox();
    last.restore(&counted);
    attach(&last, &disk, LIMITS);
    let facts = balanced(&last);
    assert_eq!((facts.pending_entries, facts.books.acknowledged, facts.books.dropped["too_old"].entries), (0, 3, 2));
}

#[test]
fn damaged_slots_are_counted_and_harmless() {
    let before = outbox();
    before.put(sealed("a", 2, "x"));
    let whole = cut(&before);
    for (slot, bytes) in whole.iter() {
        for end in 0..bytes.len() {
            let mut damaged = Entries::default();
            for (other, value) in whole.iter() {
                let value = if other == slot { &value[..end] } else { value };
                damaged.put(other, |writer| writer.raw(value));
            }
            let after = outbox();
            after.restore(&damaged);
            balanced(&after);
        }
    }
}
