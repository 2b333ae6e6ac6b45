//! What the pages show, as the worker leaves it for the rim.

use crate::server::{DiscoveryPage, TargetsPage};

#[derive(Clone, Default)]
pub struct Pages {
    pub targets: TargetsPage,
    pub discovery: DiscoveryPage,
    /// Whether at least one source is read, or none is asked for.
    pub ready: bool,
}
