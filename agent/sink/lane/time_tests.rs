//! When a lane does what it does, and how often it speaks of it.

use super::rig_tests::*;
use super::*;

#[test]
fn pauses_grow_while_it_fails_and_begin_anew_after_a_success() {
    let mut rig = Rig::new(config());
    rig.take_lines(10, 8);
    rig.run(15, |_| nobody());
    let pauses = rig.pauses();
    for (pause, ceiling) in pauses.iter().zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300]) {
        assert!(*pause <= Duration::from_secs(ceiling) + Duration::from_millis(1), "{pauses:?}");
        assert!(*pause >= Duration::from_millis(500), "{pauses:?}");
    }
    assert!(pauses.iter().max() > Some(&Duration::from_secs(30)), "{pauses:?}");
    rig.run(1, |_| accepted()).unwrap();
    rig.take_lines(10, 8);
    let before = rig.pushes.len();
    rig.run(2, |_| nobody());
    assert!(rig.pauses()[before] <= Duration::from_secs(1) + Duration::from_millis(1));
}

#[test]
fn retry_after_is_obeyed_within_bounds() {
    let asks = |code, seconds| Answer::Status {
        code,
        retry_after: Some(Duration::from_secs(seconds)),
        body: String::new(),
        date: Some(1_795_227_938),
    };
    for code in [429, 503, 403] {
        for (asked, pause) in [(120, 120), (86_400, 300)] {
            let mut rig = Rig::new(config());
            rig.take_lines(10, 8);
            rig.run(2, |_| asks(code, asked));
            assert_eq!(rig.pauses(), [Duration::from_secs(pause) + Duration::from_millis(1)], "{code}");
            assert_eq!(rig.seen.clocks, [1_795_227_938; 2]);
        }
    }
}

#[test]
fn a_single_failure_is_no_trouble_and_a_long_one_is_told_twice() {
    let mut rig = Rig::new(config());
    rig.take_lines(10, 8);
    rig.run(1, |_| nobody());
    rig.run(1, |_| accepted()).unwrap();
    assert!(rig.seen.troubles.is_empty() && rig.seen.recovered.is_empty());
    rig.take_lines(10, 8);
    let began = rig.now;
    rig.run(100, |_| nobody());
    assert_eq!(rig.seen.troubles, [(Trouble::Unreachable, None, "connection refused".to_owned())]);
    rig.run(1, |_| accepted()).unwrap();
    assert_eq!(rig.seen.recovered.len(), 1);
    let told = rig.seen.recovered[0];
    assert!(told <= rig.now - began && told + Duration::from_millis(10) > rig.now - began, "{told:?}");
}

#[test]
fn trouble_that_changes_to_and_fro_is_told_once_a_kind() {
    let mut rig = Rig::new(config());
    rig.take_lines(10, 8);
    let mut turn = 0;
    rig.run(100, |_| {
        turn += 1;
        [nobody(), status(503, ""), status(401, &"é".repeat(1000))][turn % 3].clone()
    });
    let kinds: Vec<_> = rig.seen.troubles.iter().map(|(trouble, _, _)| trouble.name()).collect();
    assert_eq!(kinds, ["unauthorized", "unreachable", "server_error"]);
    assert_eq!(rig.seen.troubles[0].2.len(), 512);
}

#[test]
fn a_search_begins_once_a_minute_at_most() {
    let mut rig = Rig::new(config());
    let mut whole = Vec::new();
    for _ in 0..4 {
        rig.take_lines(16, 8);
        rig.run(100, |message| {
            let bad = lines_of(message).iter().any(|line| line.ends_with('5'));
            if bad { status(400, "unknown") } else { accepted() }
        })
        .unwrap();
        whole.push(rig.now);
    }
    assert!(whole[0] < Duration::from_secs(1001), "the first at once");
    for two in whole.windows(2) {
        let between = two[1] - two[0];
        assert!(Duration::from_secs(59) < between && between < Duration::from_secs(61), "{whole:?}");
    }
    // An entry that travels alone needs no search.
    let now = rig.now;
    for _ in 0..4 {
        rig.take_lines(1, 8);
        rig.run(1, |_| status(400, "unknown")).unwrap();
    }
    assert!(rig.now - now < Duration::from_secs(1));
}

#[test]
fn a_server_that_refuses_everything_costs_few_lines() {
    for code in [400, 413] {
        let mut rig = Rig::new(config());
        let (mut lost, mut requests) = (0, 0);
        let until = rig.now + Duration::from_secs(3600);
        let taken = rig.take_lines(1000, 8);
        while rig.now < until {
            requests += 1;
            assert_eq!(rig.run(1, |_| status(code, "I am no Loki")), None);
            lost = rig.seen.letters.len();
        }
        assert!(lost < 200 && requests < 400, "{lost} of {taken} lines lost by {requests} requests in an hour");
        assert_eq!(rig.lane.trouble(), Some(Trouble::RefusesAll));
        assert_eq!(rig.seen.troubles.len(), 1);
        // Somebody has put it right.
        let settled = rig.run(100, |_| accepted()).unwrap();
        assert_eq!((settled.acknowledged + lost as u64, rig.seen.recovered.len()), (taken, 1));
    }
}

#[test]
fn many_bad_entries_among_good_ones_are_found_without_delay() {
    let mut rig = Rig::new(config());
    let lines = rig.take_lines(1000, 8);
    let began = rig.now;
    let settled = rig.run(10_000, |message| {
        let bad = lines_of(message).iter().any(|line| line.ends_with('5'));
        if bad { status(400, "unknown") } else { accepted() }
    });
    assert_eq!(settled.unwrap().acknowledged, lines - 100);
    assert!(rig.now - began < Duration::from_secs(2) && rig.seen.troubles.is_empty());
}

#[test]
fn nothing_is_pushed_while_it_waits() {
    let mut rig = Rig::new(config());
    rig.take_lines(10, 8);
    rig.run(1, |_| nobody());
    let Step::Wait(until) = rig.lane.next(rig.now) else { panic!("it waits") };
    assert_eq!(rig.lane.next(until - Duration::from_nanos(1)), Step::Wait(until));
    assert!(matches!(rig.lane.next(until), Step::Push(_)));
}
