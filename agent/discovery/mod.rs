//! Discovery: which files a scrape config reads, and under which labels.

pub mod glob;
pub mod tree;

pub use tree::{HostTree, Tree};
