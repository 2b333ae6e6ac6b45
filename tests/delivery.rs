//! Every line reaches Loki: the real agent between containers that log and rotate and a Loki that fails in every way that
//! one can. In the end Loki holds the set of (labels, timestamp, line) that was written.
//!
//! `WEIR_CASES=200` lives so many random lives, `WEIR_SEED=17` that one alone.

mod support;

use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};
use support::agent::{Agent, Page};
use support::loki::agent_run::{Client, LINES, Run, Writer, expected};
use support::loki::chaos::{ChaosProxy, Ending};
use support::loki::limits::{DAY, HOUR, SECOND};
use support::loki::script::Manner;
use support::loki::state::Held;
use support::loki::{FakeLoki, Limits, LokiServer, Play};
use support::process::{PATIENCE, eventually, real_parts};

/// A Loki with its own limits, but for rates that a test on a fast machine could meet by chance.
fn loki() -> FakeLoki {
    FakeLoki::new(Limits { rate: None, stream_rate: None, ..Limits::default() })
}

fn limited(limits: Limits) -> FakeLoki {
    FakeLoki::new(Limits { stream_rate: None, ..limits })
}

fn now() -> i64 {
    jiff::Timestamp::now().as_nanosecond() as i64
}

/// Waits until a push came that the script played upon.
fn until_pushed(run: &Run, times: usize) {
    run.server.wait_until("a push", PATIENCE, |loki| loki.requests.len() >= times);
}

/// What was written but for the lines with such a text.
fn but_for(writers: &[&Writer], refused: impl Fn(&str) -> bool) -> BTreeSet<Held> {
    let written = writers.iter().flat_map(|writer| &writer.written);
    expected(written.filter(|written| !refused(&written.line)))
}

#[test]
fn everything_that_is_written_arrives_once_and_in_order() {
    let run = Run::new(loki());
    let (mut first, mut second) = (run.writer("first"), run.writer("second"));
    first.lines(300);
    let agent = run.start();
    for _ in 0..5 {
        first.lines(200);
        second.lines(200);
        first.rotate();
    }
    run.assert_delivered(&agent, &[&first, &second]);
    let (repeated, others) = run.server.with(|loki| (loki.repeated(), loki.requests.len() - loki.answered(204)));
    assert_eq!((repeated, others), (0, 0));
}

/// Fault 45, and rotations and deletions while nobody listens.
#[test]
fn an_outage_loses_nothing_though_logs_rotate_and_go() {
    let mut run = Run::new(loki());
    let mut writer = run.writer("web");
    let agent = run.start();
    writer.lines(500);
    run.assert_delivered(&agent, &[&writer]);
    run.server.stop();
    for _ in 0..6 {
        writer.lines(1000);
        writer.rotate();
        // Counting never waits for Loki.
        run.assert_counted(&agent, &[&writer]);
        writer.delete_rotated();
    }
    run.server.start_again();
    run.assert_delivered(&agent, &[&writer]);
}

/// Killed while pushes wait for their answers: some of them stored, some not.
#[test]
fn kill_9_in_the_middle_of_a_push_loses_and_doubles_nothing() {
    let run = Run::new(loki());
    let mut writer = run.writer("web");
    for round in 0..6 {
        let play = if round % 2 == 0 { Play::ignored() } else { Play::as_usual().manner(Manner::Never) };
        let seen = run.server.with(|loki| {
            loki.script.when(move |_| Some(play.clone()));
            loki.requests.len()
        });
        let agent = run.start();
        writer.lines(700);
        if round == 3 {
            writer.rotate();
        }
        until_pushed(&run, seen + 1);
        // A part of the lines is in a cut by now, another is not.
        if round > 2 {
            run.assert_counted(&agent, &[&writer]);
        }
        agent.kill();
        run.server.with(|loki| loki.script.clear());
    }
    let agent = run.start();
    writer.lines(10);
    run.assert_delivered(&agent, &[&writer]);
}

/// A first run that is killed before anybody scraped it, and again: what its spool holds of lines that no cut knows, is read
/// again, and is neither sent nor counted beside that.
#[test]
fn killed_before_the_first_scrape_it_leaves_no_line_twice() {
    let mut run = Run::new(loki());
    run.delivery = "shutdown_grace: 2s, memory: 64KiB".to_string();
    let mut writer = run.writer("web");
    run.server.stop();
    for _ in 0..3 {
        writer.lines(3000);
        let agent = run.start();
        // More than fits into memory was read, and is stored.
        eventually("batches in the spool", || match spool_bytes(&run) {
            bytes if bytes > 16 << 10 => Ok(()),
            bytes => Err(format!("{bytes} bytes")),
        });
        agent.kill();
    }
    run.server.start_again();
    let agent = run.start();
    run.assert_delivered(&agent, &[&writer]);
    let entered = agent.until("all is acknowledged", |page| page.get("weir_client_pending_entries", &[]) == 0.0);
    assert_eq!(entered.get("weir_client_entries_total", &[]), writer.written.len() as f64, "{}", entered.text);
}

fn spool_bytes(run: &Run) -> u64 {
    let spools = fs::read_dir(run.path("state/spool")).into_iter().flatten().flatten();
    let files = spools.flat_map(|spool| fs::read_dir(spool.path()).into_iter().flatten().flatten());
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Fault 55.
#[test]
fn a_push_whose_answer_is_lost_comes_again_with_the_same_bytes() {
    let run = Run::new(loki());
    run.server.with(|loki| loki.script.when(|push| push.number.is_multiple_of(5).then(Play::lost)));
    let mut writer = run.writer("web");
    let agent = run.start();
    for round in 1..=25 {
        writer.lines(20);
        until_pushed(&run, round);
    }
    run.assert_delivered(&agent, &[&writer]);
    assert_resent_as_they_were(&run);
    assert!(run.server.with(|loki| loki.repeated()) > 0);
}

/// Every push that was not answered was sent again, byte by byte.
#[track_caller]
fn assert_resent_as_they_were(run: &Run) {
    let bodies: Vec<_> = run
        .server
        .with(|loki| loki.requests.iter().map(|received| (received.status, received.request.body.clone())).collect());
    let lost = bodies.iter().enumerate().filter(|(number, _)| number % 5 == 0 && number + 1 < bodies.len());
    for (number, (_, body)) in lost {
        assert!(bodies[number + 1..].iter().any(|(_, later)| later == body), "push {number} never came again");
    }
}

/// Faults 47 and 48: a batch that is larger than the burst never fits.
#[test]
fn a_rate_limit_slows_and_splits() {
    let limits = Limits { rate: Some(400_000.0), burst: 60_000.0, ..Limits::default() };
    let run = Run::new(limited(limits));
    let mut writer = run.writer("web");
    writer.padding = 200;
    writer.lines(2000);
    let agent = run.start();
    run.assert_counted(&agent, &[&writer]);
    run.assert_delivered(&agent, &[&writer]);
    assert!(run.server.with(|loki| loki.answered(429)) > 0, "the limit was never met");
}

/// Fault 49, by the distributor and by the ingester.
#[test]
fn what_loki_refuses_of_a_batch_takes_nothing_else_with_it() {
    let limits = Limits { line_bytes_max: Some(1000), rate: None, ..Limits::default() };
    let run = Run::new(limited(limits));
    let mut writer = run.writer("web");
    let agent = run.start();
    for _ in 0..5 {
        writer.lines(50);
        writer.line_at(now(), &"long".repeat(300));
        writer.lines(50);
    }
    run.assert_held(&agent, &but_for(&[&writer], |line| line.len() > 1000));
    run.assert_counted(&agent, &[&writer]);
    assert!(run.server.with(|loki| loki.answered(400)) > 0);
    // The refused ones are not sent for ever.
    let before = run.server.with(|loki| loki.requests.len());
    writer.lines(10);
    run.assert_held(&agent, &but_for(&[&writer], |line| line.len() > 1000));
    let after = run.server.with(|loki| loki.requests.len());
    assert!(after <= before + 5, "{} pushes for ten lines", after - before);
}

/// Loki has room for one stream, and another pod begins to write. The agent is killed meanwhile.
#[test]
fn streams_that_loki_has_no_room_for_hold_nobody_up() {
    let run = Run::new(loki());
    let (mut old, mut new) = (run.writer("old"), run.writer("new"));
    let agent = run.start();
    old.lines(100);
    run.assert_delivered(&agent, &[&old]);
    agent.kill();
    run.server.with(|loki| loki.limits.streams_max = Some(1));
    for kill in [true, false] {
        let agent = run.start();
        for _ in 0..5 {
            new.lines(20);
            old.lines(20);
            run.assert_counted(&agent, &[&old, &new]);
        }
        run.assert_held(&agent, &expected(&old.written));
        let waits = |page: &Page| page.get("weir_client_set_aside_entries", &[]) == new.written.len() as f64;
        agent.until("what has no room is set aside", waits);
        if kill {
            agent.kill();
        } else {
            run.server.with(|loki| loki.limits.streams_max = None);
            run.assert_delivered(&agent, &[&old, &new]);
            agent.until("nothing is aside", |page| page.get("weir_client_set_aside_entries", &[]) == 0.0);
        }
    }
}

/// Fault 50.
#[test]
fn what_loki_refuses_for_no_known_reason_is_found_and_left_out() {
    let run = Run::new(loki());
    run.server.with(|loki| {
        loki.script.when(|received| {
            let bad = received.push.as_ref().ok()?.lines().any(|line| line.contains("poison"));
            bad.then(|| Play::says(400, "the moon is in the wrong phase"))
        });
    });
    let mut writer = run.writer("web");
    writer.lines(100);
    writer.line_at(now(), "a line with poison");
    writer.lines(100);
    let agent = run.start();
    run.assert_held(&agent, &but_for(&[&writer], |line| line.contains("poison")));
}

/// Fault 51. After such an answer the agent waits for half a minute; a new life asks at once, with the same bytes.
#[test]
fn only_204_is_success() {
    let run = Run::new(loki());
    let mut writer = run.writer("web");
    writer.lines(50);
    let elsewhere = "http://127.0.0.1:1/loki/api/v1/push";
    for play in
        [Play::says(200, ""), Play::says(260, "ingestion blocked"), Play::html(), Play::redirect(307, elsewhere)]
    {
        let seen = run.server.with(|loki| {
            loki.script.next(1, play);
            loki.requests.len()
        });
        let agent = run.start();
        until_pushed(&run, seen + 1);
        run.assert_counted(&agent, &[&writer]);
        agent.stop();
    }
    run.server.with(|loki| {
        loki.script.next(1, Play::says(503, "not now").header("retry-after", "1"));
        loki.script.next(1, Play::says(500, "").after_storing());
    });
    let agent = run.start();
    run.assert_delivered(&agent, &[&writer]);
    let first = run.server.with(|loki| loki.requests[0].request.body.clone());
    let same = run.server.with(|loki| loki.requests.iter().all(|received| received.request.body == first));
    assert!(same, "every push has the same bytes");
}

/// Fault 52: the password was changed in Loki first.
#[test]
fn lines_wait_for_the_right_password() {
    let mut run = Run::new(loki());
    let password = run.path("password");
    fs::write(&password, "old\n").expect("written");
    run.clients[0].more = format!("basic_auth: {{username: u, password_file: {}}}", password.display());
    // `u:new`
    run.server.with(|loki| loki.authorization = Some("Basic dTpuZXc=".to_string()));
    let mut writer = run.writer("web");
    writer.lines(200);
    let mut agent = run.start();
    run.assert_counted(&agent, &[&writer]);
    run.server.wait_until("a refusal", PATIENCE, |loki| loki.answered(401) > 0);
    fs::write(&password, "new\n").expect("written");
    if !real_parts("waiting half a minute for the next attempt with a password") {
        agent.stop();
        agent = run.start();
    }
    run.assert_delivered(&agent, &[&writer]);
}

/// Fault 53: swallowed, reset in the middle of a body, cut before and in the middle of an answer.
#[test]
fn a_network_that_fails_in_every_way_loses_nothing() {
    let mut run = Run::new(loki());
    let proxy = ChaosProxy::start(run.server.address());
    run.clients = vec![Client::new(proxy.url())];
    let mut writer = run.writer("web");
    let agent = run.start();
    let cut = |bytes, ending| Some((bytes, ending));
    for fault in 0..7 {
        let before = proxy.connections();
        proxy.set(|chaos| match fault {
            0 => chaos.up.blackhole = true,
            1 => chaos.down.blackhole = true,
            2 => chaos.up.cut_after = cut(700, Ending::Reset),
            3 => chaos.down.cut_after = cut(0, Ending::Close),
            4 => chaos.down.cut_after = cut(10, Ending::Reset),
            5 => chaos.up.cut_after = cut(700, Ending::HalfClose),
            _ => chaos.at_once = Some(Ending::Reset),
        });
        proxy.end_all(if fault % 2 == 0 { Ending::Close } else { Ending::Reset });
        writer.lines(100);
        // It tried, and tried once more.
        eventually("two attempts", || match proxy.connections() - before {
            0 | 1 => Err(format!("fault {fault}\n{}", agent.log())),
            _ => Ok(()),
        });
        proxy.heal();
        proxy.end_all(Ending::Close);
        run.assert_delivered(&agent, &[&writer]);
    }
}

/// Fault 54: answers take their time, and the counters none.
#[test]
fn a_slow_loki_slows_no_counter() {
    let mut run = Run::new(loki());
    run.clients[0].timing = "batchwait: 50ms, timeout: 10s".to_string();
    run.server.with(|loki| {
        loki.script.next(2, Play::as_usual().late(Duration::from_secs(2)));
        loki.script.next(1, Play::as_usual().dripping(20, Duration::from_millis(500)));
    });
    let mut writer = run.writer("web");
    let agent = run.start();
    for round in 1..=3 {
        writer.lines(500);
        let wait = Instant::now();
        run.assert_counted(&agent, &[&writer]);
        assert!(wait.elapsed() < Duration::from_secs(2), "{:?} in round {round}", wait.elapsed());
    }
    run.assert_delivered(&agent, &[&writer]);
}

/// Fault 56: a container with hours to catch up on beside one that is live, and a Loki with a window of one.
#[test]
fn catching_up_stays_within_the_window_of_its_stream() {
    let run = Run::new(loki());
    let (mut behind, mut live) = (run.writer("behind"), run.writer("live"));
    for hour in (1..=5).rev() {
        behind.lines_since(300, now() - hour * HOUR);
        behind.rotate();
    }
    behind.lines(300);
    live.lines(300);
    let agent = run.start();
    run.assert_delivered(&agent, &[&behind, &live]);
    assert_eq!(run.server.with(|loki| loki.answered(400)), 0);
}

/// Fault 57: what Loki never takes is not sent for ever, and keeps nothing else from it.
#[test]
fn what_is_too_old_or_in_the_future_stops_nothing() {
    let run = Run::new(loki());
    let mut writer = run.writer("web");
    writer.line_at(now() - 8 * DAY, "old");
    writer.lines(50);
    writer.line_at(now() + HOUR, "future");
    let mut other = run.writer("other");
    other.lines(100);
    let agent = run.start();
    run.assert_held(&agent, &but_for(&[&writer, &other], |line| ["old", "future"].contains(&line)));
    run.assert_counted(&agent, &[&writer, &other]);
}

/// Fault 58: a twin has the same place in every life.
#[test]
fn lines_of_one_time_and_text_stay_as_many_through_kills() {
    let run = Run::new(loki());
    let mut writer = run.writer("web");
    let start = now();
    run.server.with(|loki| loki.script.when(|push| push.number.is_multiple_of(3).then(Play::lost)));
    for round in 0..4 {
        for line in 0..40 {
            writer.line_at(start + round * SECOND + line / 4, "the same");
        }
        let seen = run.server.with(|loki| loki.requests.len());
        let agent = run.start();
        until_pushed(&run, seen + 1);
        agent.kill();
    }
    let agent = run.start();
    run.assert_delivered(&agent, &[&writer]);
}

/// Entries with the time of their reading, in lives that end in the middle of it: each is there once all the same.
#[test]
fn what_time_has_made_comes_once_through_kills() {
    let mut run = Run::new(loki());
    run.stages = vec!["pack: {labels: [stream]}".to_string()];
    let mut writer = run.writer("web");
    for round in 0..5 {
        writer.lines(60);
        let agent = run.start();
        if round % 2 == 0 {
            // Some of them are in Loki, and the next cut may not be made.
            let before = run.server.with(|loki| loki.count());
            run.server.wait_until("an entry", PATIENCE, |loki| loki.count() > before);
        } else {
            run.assert_counted(&agent, &[&writer]);
        }
        agent.kill();
    }
    let agent = run.start();
    writer.lines(1);
    run.server.wait_until("all", PATIENCE, |loki| loki.count() >= writer.written.len());
    run.assert_counted(&agent, &[&writer]);
    // Times are the agent's own; of the texts each is there as often as it was written, and some were written twice.
    let held = run.server.with(|loki| loki.held());
    let mut texts: Vec<&str> = held.iter().map(|held| packed(&held.entry.line)).collect();
    let mut written: Vec<&str> = writer.written.iter().map(|written| written.line.as_str()).collect();
    texts.sort_unstable();
    written.sort_unstable();
    assert_eq!(texts, written);
}

/// The line in what `pack` made of it.
fn packed(object: &str) -> &str {
    let entry = object.split_once(r#""_entry":""#).and_then(|(_, rest)| rest.strip_suffix(r#""}"#));
    entry.unwrap_or_else(|| panic!("not packed: {object}"))
}

/// Fault 72.
#[test]
fn sigterm_with_a_dead_loki_ends_in_time_and_the_next_start_delivers() {
    let mut run = Run::new(loki());
    let mut writer = run.writer("web");
    writer.lines(100);
    let mut agent = run.start();
    run.assert_delivered(&agent, &[&writer]);
    for swallows in [false, true] {
        if swallows {
            run.server.with(|loki| loki.script.when(|_| Some(Play::ignored())));
        } else {
            run.server.stop();
        }
        writer.lines(2000);
        writer.rotate();
        run.assert_counted(&agent, &[&writer]);
        assert_stops_within(agent, Duration::from_secs(2));
        // What was read is nowhere else.
        writer.delete_rotated();
        if swallows {
            run.server.with(|loki| loki.script.clear());
        } else {
            run.server.start_again();
        }
        agent = run.start();
        run.assert_delivered(&agent, &[&writer]);
    }
}

/// The grace, and what a machine under load may take beside it.
fn assert_stops_within(mut agent: Agent, grace: Duration) {
    let started = Instant::now();
    agent.process.signal(Signal::TERM);
    assert_eq!(agent.process.wait(), Some(0), "{}", agent.log());
    assert!(started.elapsed() < grace + Duration::from_secs(3), "{:?}", started.elapsed());
}

/// Killed during an outage, with its logs gone since: what a cut has named is in the spool.
#[test]
fn an_outage_over_several_lives_loses_nothing() {
    let mut run = Run::new(loki());
    run.delivery = "shutdown_grace: 1s, memory: 64KiB".to_string();
    let mut writer = run.writer("web");
    run.server.stop();
    for life in 0..4 {
        let agent = run.start();
        writer.lines(1500);
        run.assert_counted(&agent, &[&writer]);
        writer.rotate();
        if life % 2 == 0 {
            // Its last cut names everything.
            agent.stop();
            writer.delete_rotated();
        } else {
            agent.kill();
        }
    }
    run.server.start_again();
    let agent = run.start();
    run.assert_delivered(&agent, &[&writer]);
}

/// Fault 46: beyond the spool the oldest go, and every one of them is counted.
#[test]
fn what_the_spool_cannot_hold_is_counted_exactly() {
    let mut run = Run::new(loki());
    run.delivery = "shutdown_grace: 1s, memory: 64KiB, spool: 256KiB".to_string();
    let mut writer = run.writer("web");
    run.server.stop();
    let agent = run.start();
    for _ in 0..20 {
        let start = now();
        for line in 0..400 {
            writer.line_at(start + line * 1000, &noise(start + line, 300));
        }
        writer.rotate();
        run.assert_counted(&agent, &[&writer]);
        writer.delete_rotated();
    }
    run.server.start_again();
    writer.lines(1);
    let all = expected(&writer.written);
    let last = all.iter().max_by_key(|held| held.entry.timestamp).cloned().expect("lines");
    run.server.wait_until("the last line", PATIENCE, |loki| loki.held().contains(&last));
    let held = run.server.with(|loki| loki.held());
    assert!(held.is_subset(&all) && held.len() < all.len());
    let lost = all.len() - held.len();
    let page =
        agent.until("what was dropped", |page| page.get("weir_client_dropped_entries_total", &[]) >= lost as f64);
    assert_eq!(page.get("weir_client_dropped_entries_total", &[]), lost as f64, "{}", page.text);
    assert_eq!(page.get(LINES, &[]), all.len() as f64);
    // The oldest went, but for the batch that was under way: it may be there already. What fits was kept.
    let by_age: BTreeSet<_> = all.iter().map(|written| (written.entry.timestamp, held.contains(written))).collect();
    let by_age: Vec<_> = by_age.into_iter().map(|(_, held)| held).collect();
    let runs: Vec<_> = by_age.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
    assert!(matches!(runs[..], [(false, _), (true, 400..)] | [(true, _), (false, _), (true, 400..)]), "{runs:?}");
}

/// Text that no compression makes small.
fn noise(seed: i64, length: usize) -> String {
    let mut state = seed as u64 | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state % 75) as u8).to_string().replace('\\', "/")
    };
    (0..length).map(|_| next()).collect()
}

/// Everything at once: kills, ends, outages, resets, lost and bad answers, rotations, and logs that are deleted as soon as
/// a scrape has shown their lines: from then on they are the agent's to keep.
#[test]
fn random_lives_lose_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match number("WEIR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("WEIR_CASES").unwrap_or(2) + 1,
    };
    for seed in seeds {
        println!("life {seed}");
        random_life(seed);
    }
}

fn random_life(seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    let mut run = Run::new(loki());
    let proxy = ChaosProxy::start(run.server.address());
    run.clients = vec![Client::new(proxy.url())];
    run.clients[0].more = format!("batchsize: {}", [2_000, 20_000, 1_048_576][random(3)]);
    run.delivery = format!("shutdown_grace: 1s, memory: {}KiB", [16, 64, 8192][random(3)]);
    let mut writers = [run.writer("first"), run.writer("second")];
    let (mut agent, mut is_up) = (run.start(), true);
    for _ in 0..14 {
        for writer in &mut writers {
            writer.lines(random(600));
            if random(3) == 0 {
                writer.rotate();
            }
        }
        let what = random(8);
        println!("{what} after {:?} lines", writers.each_ref().map(|writer| writer.written.len()));
        match what {
            0 => {
                agent.kill();
                agent = run.start();
            }
            1 | 2 => {
                run.assert_counted(&agent, &[&writers[0], &writers[1]]);
                writers.iter_mut().for_each(Writer::delete_rotated);
                agent.kill();
                agent = run.start();
            }
            3 => {
                // It listens a moment before it knows of signals.
                agent.until("an answer", |_| true);
                agent.stop();
                agent = run.start();
            }
            4 if is_up => {
                run.server.stop();
                is_up = false;
            }
            4 => {
                run.server.start_again();
                is_up = true;
            }
            5 => proxy.end_all([Ending::Close, Ending::Reset][random(2)]),
            6 => proxy.set(|chaos| chaos.down.cut_every = Some((2 + random(4) as u64, Ending::Close))),
            _ => {
                let plays = [Play::lost(), Play::dropped(), Play::says(503, ""), Play::says(500, "").after_storing()];
                run.server.with(|loki| loki.script.next(1 + random(2), plays[random(4)].clone()));
            }
        }
    }
    proxy.heal();
    if !is_up {
        run.server.start_again();
    }
    run.assert_delivered(&agent, &[&writers[0], &writers[1]]);
}

/// One client's Loki is dead, another's answers never: the third one's is served as if it were alone.
#[test]
fn a_dead_client_delays_no_other() {
    let mut run = Run::new(loki());
    let mut dead = LokiServer::start(loki());
    let mute = LokiServer::start(loki());
    dead.stop();
    mute.with(|loki| loki.script.when(|_| Some(Play::ignored())));
    run.clients.insert(0, Client::new(dead.url()));
    run.clients.push(Client::new(mute.url()));
    let mut writer = run.writer("web");
    let agent = run.start();
    for _ in 0..5 {
        writer.lines(300);
        let written = Instant::now();
        let all = writer.written.len();
        run.server.wait_until("all lines", PATIENCE, |loki| loki.count() >= all);
        assert!(written.elapsed() < Duration::from_secs(2), "{:?}", written.elapsed());
    }
    run.assert_delivered(&agent, &[&writer]);
    // The others get theirs when they come back.
    dead.start_again();
    mute.with(|loki| loki.script.clear());
    let wanted = expected(&writer.written);
    for server in [&dead, &mute] {
        server.wait_until("the others' lines", PATIENCE, |loki| loki.held() == wanted);
    }
}

/// Each tenant has a lane of its own.
#[test]
fn a_refused_tenant_delays_no_other() {
    let mut run = Run::new(FakeLoki::new(Limits { multi_tenant: true, rate: None, ..Limits::default() }));
    run.stages = vec![
        "match: {selector: '{filename=~\".*refused.*\"}', stages: [{tenant: {value: refused}}]}".to_string(),
        "match: {selector: '{filename!~\".*refused.*\"}', stages: [{tenant: {value: welcome}}]}".to_string(),
    ];
    run.server.with(|loki| {
        loki.script.when(|push| {
            let whose = push.request.header("x-scope-orgid");
            (whose == Some("refused")).then(|| Play::says(429, "Ingestion rate limit exceeded for user refused"))
        });
    });
    let (mut refused, mut welcome) = (run.writer("refused"), run.writer("web"));
    refused.tenant = "refused".to_string();
    welcome.tenant = "welcome".to_string();
    let agent = run.start();
    for _ in 0..5 {
        refused.lines(300);
        welcome.lines(300);
        let (written, all) = (Instant::now(), welcome.written.len());
        run.server.wait_until("all lines of the other", PATIENCE, |loki| loki.count() >= all);
        assert!(written.elapsed() < Duration::from_secs(2), "{:?}", written.elapsed());
    }
    run.server.with(|loki| loki.script.clear());
    run.assert_delivered(&agent, &[&refused, &welcome]);
}
