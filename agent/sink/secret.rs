//! A text that stands in no log, error or dump.

use crate::diagnostic::Diagnostics;
use crate::yaml::{FromNode, Node};
use std::fmt;

#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl FromNode for Secret {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        String::from_node(node, diagnostics).map(Secret)
    }
}
