//! What must hold for any bytes: one function for each fuzz target, which panics when it does not.
//!
//! The targets of cargo-fuzz (`fuzz_targets/`) call these, and so does `tests/fuzz_seeds.rs`, which replays the seeds in
//! every run of the tests and can change them for as long as one likes, with no other tool.
#![allow(dead_code)]

// The tests' own: the strict reader of expositions, and the runs of shipped configurations.
#[path = "../../support/exposition.rs"]
pub mod exposition;
#[path = "../../support/shipped.rs"]
pub mod shipped;
#[path = "../../support/truth.rs"]
pub mod truth;

mod checkpoint;
mod config;
mod decoders;
mod json;
pub mod pipeline;

/// A target's name and what it checks.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 10] = [
    ("cri", decoders::cri),
    ("docker", decoders::docker),
    ("json", json::json),
    ("nginx", decoders::nginx),
    ("modsecurity", decoders::modsecurity),
    ("logfmt", decoders::logfmt),
    ("time_layout", decoders::time_layout),
    ("config", config::config),
    ("pipeline", pipeline::pipeline),
    ("checkpoint", checkpoint::checkpoint),
];

/// Runs the target of a name.
pub fn run(name: &str, data: &[u8]) {
    let (_, check) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of this name");
    check(data);
}
