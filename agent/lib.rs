//! weir: a log-to-metrics edge agent.
//!
//! The modules stand in the order in which they may use each other: one imports only what stands above it, and
//! modules of one group do not see each other. `tests/architecture.rs` reads the imports and holds them to this.

// Foundations: no knowledge of logs.
pub mod clock;
pub mod diagnostic;
pub mod disk;
pub mod keep;
pub mod labels;
pub mod pattern;
pub mod span;
pub mod units;
pub mod words;
pub mod yaml;

// What a line says, where an address lives, what a series is.
pub mod decode;
pub mod geoip;
pub mod metrics;

// Choosing and renaming by labels, and rewriting texts.
pub mod relabel;
pub mod selector;
pub mod template;

// From a line to series and entries.
pub mod pipeline;

// Where entries go, the books kept of every line, and what outlives the process.
pub mod checkpoint;
pub mod ledger;
pub mod sink;

// Where lines come from.
pub mod discovery;
pub mod source;

// What others see of the agent.
pub mod server;

// What the user wrote.
pub mod config;

// Wiring, and nothing else.
pub mod app;

// The command line.
pub mod cli;
