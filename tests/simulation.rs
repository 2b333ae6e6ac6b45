//! Days on a node that everything fails on, played with the agent's own code and an oracle that knows every line: what
//! Prometheus adds up equals what was written, except where a break was counted.
//!
//! `WEIR_SIM_SEEDS=10000 cargo test --release --test simulation` plays so many days of each kind; `WEIR_SIM_SEED=17`
//! plays that one alone, and `WEIR_SIM_FROM=5000` begins with that seed. A day that fails is made as small as it gets, and printed. With `WEIR_SIM_KEEP_GOING=1` all
//! days are played and the failing ones listed; `WEIR_SIM_TRACE=1` tells what happens.

#[path = "support/sim/mod.rs"]
mod sim;

use sim::day::{Day, Failure};
use sim::plan::{Faults, Plan, shrunk};
use sim::stats::Stats;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text}")))
}

/// Plays days, as many as the environment asks for, each from its seed; stops at the first that fails.
fn play(days: u64, plan_of: impl Fn(u64) -> Plan) -> Stats {
    let seeds = match number("WEIR_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let from = number("WEIR_SIM_FROM").unwrap_or(0);
            from..from + number("WEIR_SIM_SEEDS").unwrap_or(days)
        }
    };
    let keep_going = std::env::var_os("WEIR_SIM_KEEP_GOING").is_some();
    let (mut all, mut failed) = (Stats::default(), 0);
    for seed in seeds {
        let plan = plan_of(seed);
        match Day::play(&plan) {
            Ok(judge) => all.add(&judge.stats),
            Err(failure) if keep_going => {
                println!("seed {seed} failed at {} ms: {}", failure.at_ms, failure.what);
                failed += 1;
            }
            Err(failure) => fail(&plan, &failure),
        }
    }
    println!("{all}");
    assert_eq!(failed, 0, "days that failed");
    all
}

fn fail(plan: &Plan, failure: &Failure) -> ! {
    println!("seed {} failed at {} ms: {}", plan.seed, failure.at_ms, failure.what);
    let small = shrunk(plan, |plan| Day::play(plan).is_err_and(|other| other.kind() == failure.kind()));
    let again = Day::play(&small);
    let failure = again.err().unwrap_or_else(|| failure.clone());
    panic!("at {} ms: {}\nin the day of\n{small}", failure.at_ms, failure.what)
}

#[test]
fn a_plain_counter_in_memory_shows_the_loss() {
    let stats = play(10, Plan::plain);
    // Mostly new series that nobody saw begin, and lines that are counted again.
    assert!(stats.error > stats.lines / 2 && stats.exact * 20 < stats.days, "{stats}");
}

#[test]
fn calm_days_are_exact() {
    let stats = play(20, |seed| Plan::of(seed, Faults::Calm));
    assert!(stats.breaks.is_empty() && stats.lost.is_empty(), "{stats}");
    assert_eq!(stats.exact, 2 * stats.days, "{stats}");
}

#[test]
fn what_harms_no_file_costs_nothing() {
    let stats = play(20, |seed| Plan::of(seed, Faults::Harmless));
    assert_eq!(stats.eras, stats.days, "{stats}");
}

#[test]
fn days_with_every_fault_are_exact_or_a_break_was_counted() {
    play(20, |seed| Plan::of(seed, Faults::All));
}
