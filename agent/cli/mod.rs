//! The command line.

pub mod flags;
mod promtail_flags;
