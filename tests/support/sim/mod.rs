//! A simulator of days on a node, with the agent's own code in the middle: what is written is known, what fails is
//! planned, time is a number. One seed is one day; what it shows is the same on every machine.
//!
//! ```text
//! plan ── events ──► day ──► node (containers, runtime, kubelet) ──► files ──► agent ──► pages ──► two Prometheis
//!                     │                    │                                     │                     │
//!                     │                    └── oracle: every part of every line ─┴──────► judge ◄──────┘
//!                     └── faults: of processes, disks, clocks, networks
//! ```

pub mod agent;
mod breaks;
pub mod clock;
pub mod day;
pub mod fs;
mod incidents;
pub mod judge;
pub mod node;
pub mod oracle;
pub mod plan;
pub mod prometheus;
pub mod random;
mod reading;
mod restarts;
mod serving;
pub mod stats;
