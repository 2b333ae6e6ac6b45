//! The seeds of the fuzz targets, replayed; and changed at random for as long as `WEIR_FUZZ_SECONDS` says, each target
//! in its turn. `WEIR_FUZZ_TARGET` chooses one, `WEIR_FUZZ_SEED` another sequence. Real fuzzing is `tests/fuzz`.

#[path = "fuzz/src/lib.rs"]
mod fuzz;
#[path = "support/mutate.rs"]
mod mutate;

use mutate::Numbers;
use std::env;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes that an input may grow to.
const INPUT_BYTES_MAX: usize = 8 * 1024;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed")).collect()
}

/// Runs a check, and says which input it was when it panics.
fn run(target: &str, check: fn(&[u8]), input: &[u8]) {
    if panic::catch_unwind(AssertUnwindSafe(|| check(input))).is_err() {
        let file = env::temp_dir().join(format!("weir-{target}-{}", std::process::id()));
        fs::write(&file, input).expect("room for the input");
        panic!("target {target}: the input is in {}; as text: {}", file.display(), input.escape_ascii());
    }
}

fn setting(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

#[test]
fn every_seed_holds() {
    for (target, check) in fuzz::TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 3, "{target} has {} seeds", seeds.len());
        seeds.iter().for_each(|seed| run(target, check, seed));
    }
}

#[test]
fn changed_seeds_hold() {
    let number = |name: &str| setting(name).map(|value| value.parse::<u64>().expect("a number"));
    let seconds = number("WEIR_FUZZ_SECONDS");
    let chosen = setting("WEIR_FUZZ_TARGET");
    for (target, check) in fuzz::TARGETS.iter().filter(|(target, _)| chosen.as_deref().is_none_or(|c| c == *target)) {
        let seeds = seeds(target);
        let mut numbers = Numbers::new(number("WEIR_FUZZ_SEED").unwrap_or(1));
        let (started, mut runs) = (Instant::now(), 0u64);
        // Without a time there is a number of runs: a test takes as long on every machine as it does.
        while seconds.map_or(runs < 500, |seconds| started.elapsed() < Duration::from_secs(seconds)) {
            let mut input = seeds[numbers.next() % seeds.len()].clone();
            for _ in 0..=numbers.next() % 6 {
                numbers.edit().apply(&mut input, &seeds);
            }
            input.truncate(INPUT_BYTES_MAX);
            run(target, *check, &input);
            runs += 1;
        }
        println!("{target}: {runs} inputs in {:.1} s", started.elapsed().as_secs_f64());
    }
}
