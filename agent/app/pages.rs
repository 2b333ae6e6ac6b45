//! What the pages show, as the worker leaves it for the rim.

use crate::server::{DiscoveryPage, TargetsPage};

#[derive(Clone, Default)]
pub struct Pages {
    pub targets: TargetsPage,
    pub discovery: DiscoveryPage,
    /// Whether at least one source is read, or none is asked for.
    pub ready: bool,
}

/// What the jobs and their sources show now.
pub fn of(_jobs: &[super::job::Job], _reader: &super::reader::Reader) -> Pages {
    Pages { ready: true, ..Pages::default() }
}
