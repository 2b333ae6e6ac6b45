use super::*;
use crate::diagnostic::Diagnostics;
use crate::yaml::{self, FromNode};

/// A client with these lines in its configuration.
pub fn client(lines: &str) -> ClientConfig {
    let mut d = Diagnostics::new();
    let node = yaml::parse(&format!("url: http://loki/loki/api/v1/push\n{lines}"), &mut d).expect("YAML");
    let config = ClientConfig::from_node(&node, &mut d).expect("a client");
    assert!(!d.has_errors());
    config
}
