//! What is done about each answer of Loki: reliability.md §2, row by row.

use super::refusal::*;
use super::rig_tests::*;
use super::*;

const KNOWN: &str = "entry for stream '{a=\"b\"}' has timestamp too old: T, oldest acceptable timestamp is: T";

#[test]
fn row_204_acknowledges_all() {
    let mut rig = Rig::new(config());
    let lines = rig.take_lines(10, 8);
    let settled = rig.run(1, |_| accepted()).unwrap();
    assert_eq!(settled, Settled { acknowledged: lines, ..Settled::default() });
    assert_eq!(rig.seen.requests, [(Some(204), Outcome::Accepted)]);
    assert_eq!(rig.lane.next(rig.now), Step::Idle);
}

#[test]
fn rows_of_2xx_are_none_unless_they_are_allowed_and_never_with_a_page() {
    let page = "\n <!DOCTYPE html><html>Please log in</html>";
    let rows = [
        (false, 200, "", false),
        (false, 202, "{}", false),
        (true, 200, "", true),
        (true, 200, "ok", true),
        (true, 202, "{}", true),
        (true, 200, page, false),
        (true, 201, page, false),
    ];
    for (accept_200, code, body, taken) in rows {
        let mut rig = Rig::new(LaneConfig { accept_200, ..config() });
        rig.take_lines(10, 8);
        let settled = rig.run(3, |_| status(code, body));
        assert_eq!(settled.is_some(), taken, "{accept_200} {code} {body}");
        assert_eq!(rig.lane.trouble(), (!taken).then_some(Trouble::Foreign));
    }
}

/// Rows 260, 401/403/404/405, and whatever a proxy says: kept however often, slowly, and told at once.
#[test]
fn rows_that_no_line_can_cause_are_kept_and_tried_slowly() {
    let blocked = "ingestion blocked for user fake until '2030-01-01T00:00:00Z' with status code '456'";
    for (code, body, trouble) in [
        (260, "", Trouble::Blocked),
        (456, blocked, Trouble::Blocked),
        (400, blocked, Trouble::Blocked),
        (201, "", Trouble::Foreign),
        (101, "", Trouble::Foreign),
        (301, "", Trouble::Redirected),
        (308, "", Trouble::Redirected),
        (401, "no org id", Trouble::Unauthorized),
        (400, "no org id", Trouble::Unauthorized),
        (402, "", Trouble::Unauthorized),
        (403, "", Trouble::Unauthorized),
        (407, "", Trouble::Unauthorized),
        (404, "404 page not found", Trouble::WrongAddress),
        (405, "", Trouble::WrongAddress),
        (408, "", Trouble::Foreign),
        (400, "", Trouble::Foreign),
        (400, "<html>400 Bad Request</html>", Trouble::Foreign),
        (400, "Client sent an HTTP request to an HTTPS server.\n", Trouble::Foreign),
    ] {
        let mut rig = Rig::new(LaneConfig { max_retries: Some(2), drop_rate_limited: true, ..config() });
        let lines = rig.take_lines(10, 8);
        assert_eq!(rig.run(50, |_| status(code, body)), None, "{code} {body}");
        assert!(rig.seen.requests.iter().all(|request| *request == (Some(code), Outcome::Retried)));
        let slow = Duration::from_secs(24)..=Duration::from_secs(37);
        assert!(rig.pauses().iter().all(|pause| slow.contains(pause)), "{code} {body}: {:?}", rig.pauses());
        assert_eq!(rig.lane.trouble(), Some(trouble), "{code} {body}");
        assert_eq!(rig.seen.troubles, [(trouble, Some(code), body.to_owned())]);
        let settled = rig.run(1, |_| accepted()).unwrap();
        assert_eq!((settled.acknowledged, rig.seen.recovered.len()), (lines, 1));
        assert_eq!(rig.lane.trouble(), None);
    }
}

/// Rows 400 parse and 422: nobody says which entry; and other codes that may mean the same.
#[test]
fn rows_without_a_reason_are_searched_for_their_entries() {
    for (code, body) in [
        (400, "snappy: corrupt input"),
        (422, "error at least one valid stream is required for ingestion"),
        (415, "unsupported"),
        (409, ""),
    ] {
        let mut rig = Rig::new(config());
        let lines = rig.take_lines(100, 8);
        let bad = ["00000013", "00000014", "00000077"];
        let mut stored = Vec::new();
        let settled = rig.run(1000, |message| {
            let lines = lines_of(message);
            if lines.iter().any(|line| bad.contains(&line.as_str())) {
                return status(code, body);
            }
            stored.extend(lines);
            accepted()
        });
        let settled = settled.unwrap();
        assert_eq!((settled.acknowledged, settled.entries()), (lines - 3, lines));
        assert_eq!(settled.dropped, [(REJECTED, Lot { entries: 3, bytes: 24 })]);
        let good = (0..100).map(|number| format!("{number:08}")).filter(|line| !bad.contains(&line.as_str()));
        assert!(good.eq(stored), "each once and in order");
        let letters: Vec<_> = rig.seen.letters.iter().map(|letter| String::from_utf8_lossy(&letter.line)).collect();
        assert_eq!(letters, bad);
        let letter = &rig.seen.letters[0];
        assert_eq!((letter.labels.as_str(), letter.timestamp), ("{a=\"b\"}", (14, 0)));
        assert_eq!((letter.code, letter.answer.as_str(), letter.reason), (code, body, REJECTED));
        assert!(rig.pushes.len() <= 1 + 2 * 3 * 7, "{} requests", rig.pushes.len());
    }
}

#[test]
fn row_400_of_entries_acknowledges_the_rest_by_the_numbers_it_gives() {
    for (message, reason) in super::refusal::tests::entry_messages() {
        let mut rig = Rig::new(config());
        let lines = rig.take_lines(40, 10);
        let settled = rig.run(1, |_| status(400, &format!("3 errors like: {message}\n"))).unwrap();
        assert_eq!(settled.acknowledged, lines - 3, "{message}");
        assert_eq!(settled.dropped, [(reason, Lot { entries: 3, bytes: 30 })], "{message}");
        assert_eq!(rig.seen.requests, [(Some(400), Outcome::Refused)]);
        assert!(rig.seen.letters.is_empty() && rig.seen.troubles.is_empty());
    }
}

#[test]
fn the_bytes_of_what_was_refused_are_never_more_than_there_were() {
    let mut rig = Rig::new(config());
    rig.take(&[("{a=\"b\"}", vec!["x".to_owned(), "y".repeat(10), "z".repeat(100)])]);
    let new = "entry for stream '{a=\"b\"}' has timestamp too new: T";
    let settled = rig.run(1, |_| status(400, &format!("{KNOWN}; 2 errors like: {new}"))).unwrap();
    assert_eq!(settled.acknowledged, 0);
    assert_eq!(settled.dropped, [(TOO_OLD, Lot { entries: 1, bytes: 37 }), (TOO_NEW, Lot { entries: 2, bytes: 74 })]);
}

#[test]
fn a_label_can_not_talk_another_stream_away() {
    let mut rig = Rig::new(config());
    let long = "stream '{s=\"bad\"}' has label value too long: 'x; 2 errors like: has 16 label names; limit 15'";
    rig.take(&[("{s=\"bad\"}", vec!["bad".to_owned(); 10]), ("{s=\"good\"}", vec!["good".to_owned(); 10])]);
    let settled = rig.run(10, |part| match lines_of(part).iter().any(|line| line == "bad") {
        true => status(400, long),
        false => accepted(),
    });
    let settled = settled.unwrap();
    assert_eq!((settled.acknowledged, dropped(&settled)), (10, vec![(LABEL_LIMITS, 10)]));
}

#[test]
fn row_400_of_streams_costs_those_streams_alone() {
    for (message, reason, as_written) in super::refusal::tests::stream_messages() {
        let mut rig = Rig::new(config());
        let of = |name: &str, count| (0..count).map(|number| format!("{name}{number}")).collect::<Vec<_>>();
        rig.take(&[("{s=\"1\"}", of("x", 10)), ("{s=\"2\"}", of("bad", 20)), ("{s=\"3\"}", of("y", 30))]);
        let mut stored = std::collections::BTreeSet::new();
        let settled = rig.run(20, |part| {
            let lines = lines_of(part);
            let bad = lines.iter().any(|line| line.starts_with("bad"));
            stored.extend(lines.into_iter().filter(|line| !line.starts_with("bad")));
            if bad { status(400, &message) } else { accepted() }
        });
        let settled = settled.unwrap();
        assert_eq!((settled.acknowledged, stored.len()), (40, 40), "{message}");
        assert_eq!(dropped(&settled), [(reason, 20)], "{message}");
        assert!(rig.pushes.len() <= 5, "{} requests for {message}", rig.pushes.len());
        // All streams of a push, told apart by nothing but their number.
        rig.take(&[("{s=\"1\"}", of("x", 10)), ("{s=\"2\"}", of("y", 20))]);
        let before = rig.pushes.len();
        let all = |part: &crate::sink::wire::Message| match part.streams_of(0..part.len()) {
            2 => status(400, &format!("2 errors like: {message}")),
            _ => status(400, &message),
        };
        assert_eq!(dropped(&rig.run(3, all).unwrap()), [(reason, 30)], "{message}");
        assert_eq!(rig.pushes.len() - before, if as_written { 3 } else { 1 }, "{message}");
    }
}

#[test]
fn row_400_of_the_ingester_acknowledges_all_but_its_sums() {
    for (why, reason) in
        [("entry too far behind, entry timestamp is: T", TOO_FAR_BEHIND), ("entry out of order", OUT_OF_ORDER)]
    {
        let mut rig = Rig::new(config());
        let lines = rig.take_lines(40, 10);
        let list = |count, of| {
            format!(
                "entry with timestamp T ignored, reason: '{why}',\nuser 'u', total ignored: {count} out of {of} for stream: {{a=\"b\"}}"
            )
        };
        let settled = rig.run(1, |_| status(400, &[list(12, 15), list(5, 6)].join("\n"))).unwrap();
        assert_eq!((settled.acknowledged, dropped(&settled)), (lines - 17, vec![(reason, 17)]));
    }
}

#[test]
fn a_400_that_does_not_tell_how_many_is_cut_until_it_does() {
    // More than the whole batch; a message nobody knows beside a known one; one that breaks off.
    for unclear in
        [&format!("41 errors like: {KNOWN}"), &format!("{KNOWN}; a new reason"), "total ignored: 0 timestamp too old"]
    {
        let mut rig = Rig::new(config());
        let lines = rig.take_lines(40, 8);
        let settled = rig.run(100, |message| match lines_of(message) {
            lines if lines == ["00000031"] => status(400, KNOWN),
            lines if lines.iter().any(|line| line == "00000031") => status(400, unclear),
            _ => accepted(),
        });
        let settled = settled.unwrap();
        assert_eq!((settled.acknowledged, dropped(&settled)), (lines - 1, vec![(TOO_OLD, 1)]), "{unclear}");
        assert!(rig.pushes.len() <= 1 + 2 * 6);
    }
}

#[test]
fn what_was_stored_at_the_first_attempt_is_not_lost_for_being_late_at_the_second() {
    let mut rig = Rig::new(config());
    let lines = rig.take_lines(40, 8);
    let behind = "entry with timestamp T ignored, reason: 'entry too far behind, entry timestamp is: T',\n\
                  user 'u', total ignored: 20 out of 20 for stream: {a=\"b\"}";
    let settled = rig.run(100, |message| match message.len() {
        40 => status(400, &format!("{KNOWN}; a new reason")),
        // The second half was stored before, and spans more than Loki's window.
        20 if lines_of(message)[0] == "00000000" => status(400, behind),
        20 => status(400, KNOWN),
        _ => panic!("no smaller part is needed"),
    });
    let settled = settled.unwrap();
    assert_eq!((settled.acknowledged, dropped(&settled)), (lines - 1, vec![(TOO_OLD, 1)]));
}

#[test]
fn a_tenant_that_can_not_be_costs_the_batch_and_no_search() {
    let mut rig = Rig::new(config());
    let lines = rig.take_lines(40, 8);
    let settled = rig.run(1, |_| status(400, "tenant ID 'a/b' contains unsupported character '/'\n")).unwrap();
    assert_eq!((settled.acknowledged, dropped(&settled)), (0, vec![(judge::INVALID_TENANT, lines)]));
}

#[test]
fn row_413_splits_down_to_the_entry_that_is_too_large_alone() {
    let mut rig = Rig::new(config());
    let mut lines: Vec<_> = (0..64).map(|number| format!("{number:01000}")).collect();
    lines[20] = "x".repeat(50_000);
    rig.take(&[("{a=\"b\"}", lines.clone())]);
    let mut stored = Vec::new();
    let answer = |stored: &mut Vec<String>, message: &crate::sink::wire::Message| {
        if message.bytes_of(0..message.len()) > 20_000 {
            return status(413, "request body too large");
        }
        stored.extend(lines_of(message));
        accepted()
    };
    let settled = rig.run(100, |message| answer(&mut stored, message)).unwrap();
    assert_eq!((settled.acknowledged, stored.len()), (63, 63));
    assert_eq!(settled.dropped, [(TOO_LARGE, Lot { entries: 1, bytes: 50_000 })]);
    let letter = &rig.seen.letters[0];
    assert_eq!((letter.line_bytes, letter.code, letter.reason), (50_000, 413, TOO_LARGE));
    assert!(rig.pauses().iter().all(|pause| *pause < Duration::from_secs(1)), "nothing to wait for");
    // What fits is remembered: the next batch is not tried whole.
    rig.take_lines(64, 1000);
    let before = rig.seen.requests.len();
    rig.run(100, |message| answer(&mut stored, message)).unwrap();
    let again = &rig.seen.requests[before..];
    let refused = again.iter().filter(|(code, _)| *code == Some(413)).count();
    assert!(refused <= 2, "{again:?}");
}

#[test]
fn row_429_of_the_tenant_is_retried_and_goes_in_halves_that_fit_the_burst() {
    let mut rig = Rig::new(config());
    let lines = rig.take_lines(1000, 1000);
    let mut stored = Vec::new();
    let settled = rig.run(1000, |message| {
        if message.bytes_of(0..message.len()) > 100_000 {
            return status(
                429,
                "Ingestion rate limit exceeded for user fake (limit: 100000 bytes/sec) while attempting to ingest …",
            );
        }
        stored.extend(lines_of(message));
        accepted()
    });
    assert_eq!(settled.unwrap().acknowledged, lines);
    assert_eq!(stored.len(), 1000);
    assert!(rig.pushes.len() < 60, "{} requests", rig.pushes.len());
    let took = rig.now - Duration::from_secs(1000);
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert_eq!(rig.seen.troubles[0].0, Trouble::RateLimited);
}

#[test]
fn row_429_by_a_token_bucket_comes_down_to_its_rate() {
    let mut rig = Rig::new(config());
    let (mut tokens, mut filled, mut refused, mut pushed) = (300_000_f64, rig.now, 0, 0);
    let began = rig.now;
    for _ in 0..200 {
        rig.take_lines(100, 1000);
        // The bucket fills while the lane waits: its time is the time of the push.
        loop {
            match rig.lane.next(rig.now) {
                Step::Wait(until) => rig.now = until,
                Step::Push(push) => {
                    tokens = (tokens + (rig.now - filled).as_secs_f64() * 200_000.0).min(300_000.0);
                    filled = rig.now;
                    pushed += 1;
                    let bytes = push.lot.bytes as f64;
                    let answer =
                        if bytes <= tokens { accepted() } else { status(429, "ingestion rate limit exceeded") };
                    if bytes <= tokens {
                        tokens -= bytes
                    } else {
                        refused += 1
                    }
                    if rig.lane.answered(answer, rig.now, &mut rig.seen).is_some() {
                        break;
                    }
                }
                Step::Idle => panic!("nothing to do"),
            }
        }
    }
    let took = (rig.now - began).as_secs_f64();
    // 20 MB at 200 kB/s are 100 s.
    assert!((98.0..150.0).contains(&took), "{took} s");
    assert!(refused * 3 < pushed, "{refused} of {pushed} refused");
}

#[test]
fn row_429_of_a_stream_is_retried_whole() {
    let body = "entry with timestamp T ignored, reason: 'Per stream rate limit exceeded (limit: 3MB/sec)',\n\
                user 'u', total ignored: 10 out of 10 for stream: {a=\"b\"}";
    // The code is 400 where the last of the refused entries was late.
    for code in [429, 400] {
        let mut rig = Rig::new(config());
        let lines = rig.take_lines(10, 8);
        assert_eq!(rig.run(5, |_| status(code, body)), None);
        assert!(rig.pushes.iter().all(|(_, sent)| *sent == rig.pushes[0].1));
        assert_eq!(rig.run(1, |_| accepted()).unwrap().acknowledged, lines);
    }
}

#[test]
fn row_429_of_too_many_streams_is_told_by_its_own_name() {
    let mut rig = Rig::new(config());
    for _ in 0..10 {
        rig.take_lines(1000, 1000);
        let settled = rig.run(1, |_| status(429, "Maximum active stream limit exceeded when trying to create stream"));
        assert_eq!(settled, Some(Settled { aside: Some(crate::sink::Aside::Whole), ..Settled::default() }));
        rig.now += Duration::from_secs(60);
        assert!(!rig.lane.wants_aside(rig.now, 0), "it was given up");
    }
    assert_eq!(rig.lane.trouble(), Some(Trouble::StreamLimit));
    assert_eq!(rig.seen.troubles.len(), 1);
    assert!(rig.seen.requests.iter().all(|(_, outcome)| *outcome == Outcome::Aside));
}

#[test]
fn rows_5xx_and_no_answer_are_retried_for_ever_with_the_same_bytes() {
    for answer in [status(500, ""), status(503, "x"), status(599, ""), status(499, ""), nobody()] {
        for max_retries in [None, Some(0)] {
            let mut rig = Rig::new(LaneConfig { max_retries, drop_rate_limited: true, ..config() });
            let lines = rig.take_lines(10, 8);
            assert_eq!(rig.run(100, |_| answer.clone()), None);
            assert!(rig.pushes.iter().all(|(_, sent)| *sent == rig.pushes[0].1));
            assert_eq!(rig.run(1, |_| accepted()).unwrap().acknowledged, lines);
        }
    }
}

#[test]
fn retries_that_are_written_count_attempts_as_promtail_does() {
    for (answer, reason) in
        [(status(503, ""), INGESTER_ERROR), (nobody(), INGESTER_ERROR), (status(429, ""), RATE_LIMITED)]
    {
        for max in [1, 2, 10] {
            let mut rig = Rig::new(LaneConfig { max_retries: Some(max), ..config() });
            let lines = rig.take_lines(10, 8);
            let settled = rig.run(100, |_| answer.clone()).unwrap();
            assert_eq!((settled.acknowledged, settled.dropped), (0, vec![(reason, Lot { entries: lines, bytes: 80 })]));
            assert_eq!(rig.pushes.len() as u64, max);
            assert_eq!(rig.seen.requests.last(), Some(&(answer.code(), Outcome::Dropped)));
        }
    }
}

#[test]
fn halves_have_no_more_attempts_than_their_whole() {
    let mut rig = Rig::new(LaneConfig { max_retries: Some(4), ..config() });
    let lines = rig.take_lines(1000, 1000);
    let settled = rig.run(100, |_| status(429, "")).unwrap();
    assert_eq!((settled.acknowledged, dropped(&settled)), (0, vec![(RATE_LIMITED, lines)]));
    assert_eq!(rig.pushes.len(), 2 + 2 + 2);
}

#[test]
fn rate_limited_batches_are_dropped_at_once_where_that_is_written() {
    let mut rig = Rig::new(LaneConfig { drop_rate_limited: true, ..config() });
    let lines = rig.take_lines(10, 8);
    let settled = rig.run(1, |_| status(429, "")).unwrap();
    assert_eq!((settled.acknowledged, dropped(&settled)), (0, vec![(RATE_LIMITED, lines)]));
    assert!(rig.seen.troubles.is_empty());
}

#[test]
fn a_batch_that_can_not_be_read_is_sent_and_judged_as_a_whole() {
    let answers = [
        (accepted(), 10, vec![]),
        (status(400, "unknown"), 0, vec![(REJECTED, 10)]),
        (status(413, ""), 0, vec![(TOO_LARGE, 10)]),
        (status(400, &format!("{KNOWN}; a new reason")), 9, vec![(TOO_OLD, 1)]),
        (status(400, &format!("99 errors like: {KNOWN}")), 0, vec![(TOO_OLD, 10)]),
    ];
    for (answer, acknowledged, expected) in answers {
        // No block at all; and one of fewer lines than the batch should have.
        for packed in [Bytes::from_static(b"\xff\xff\xff\xff\xff\xff"), crate::sink::wire::pack(&message(&[]).0)] {
            let mut rig = Rig::new(config());
            assert_eq!(rig.take_packed(packed.clone(), Lot { entries: 10, bytes: 100 }), None);
            let Step::Push(push) = rig.lane.next(rig.now) else { panic!() };
            assert_eq!(push.body, packed);
            let settled = rig.lane.answered(answer.clone(), rig.now, &mut rig.seen).unwrap();
            assert_eq!((settled.acknowledged, dropped(&settled)), (acknowledged, expected.clone()), "{answer:?}");
        }
    }
}

#[test]
fn a_batch_without_entries_has_an_end_too() {
    for answer in [accepted(), status(400, "unknown"), status(422, ""), status(413, ""), status(400, KNOWN)] {
        let mut rig = Rig::new(config());
        rig.take(&[]);
        let settled = rig.run(1, |_| answer.clone()).unwrap();
        assert_eq!(settled, Settled::default());
    }
}

#[test]
fn a_batch_that_is_given_up_counts_what_is_left_of_it() {
    let mut rig = Rig::new(config());
    rig.take_lines(64, 1000);
    let mut first = true;
    rig.run(2, |_| match std::mem::take(&mut first) {
        true => status(413, ""),
        false => accepted(),
    });
    let settled = rig.lane.abandon("spool_full").unwrap();
    assert_eq!((settled.acknowledged, settled.dropped), (32, vec![("spool_full", Lot { entries: 32, bytes: 32_000 })]));
    assert!(rig.lane.is_idle() && rig.lane.abandon("spool_full").is_none());
    assert_eq!(rig.lane.answered(accepted(), rig.now, &mut rig.seen), None);
}
