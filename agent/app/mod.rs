//! Wiring, and nothing else: the one place that knows all parts.

mod at_start;
mod committer;
mod config_file;
mod cut;
mod delivery;
mod engine;
mod events;
mod followed;
mod job;
mod kept_sources;
pub mod logging;
mod look;
mod mem_tree;
mod pace;
mod pages;
mod pods;
mod publish;
mod reader;
mod reload;
mod resume;
mod rim;
mod run;
mod running;
mod state;
mod watch;
mod worker;

pub use committer::{CommitFacts, Committer, Reopen, VOLATILE_AFTER, Verdict};
pub use config_file::{Compile, ConfigFile};
pub use cut::{Cut, Cuts};
pub use delivery::Deliveries;
pub use engine::{Engine, Progress};
pub use job::check;
pub use pods::list_pods;
pub use resume::Breaks;
pub use run::{Resumption, Run};
pub use running::Running;
pub use state::take_up;
pub use worker::Report;

#[cfg(test)]
mod engine_fault_tests;
