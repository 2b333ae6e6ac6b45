//! The configuration as the `/config` page shows it: what runs, without what nobody may read.

use crate::yaml::{Node, Value};
use std::fmt::Write as _;

/// Keys whose values are secrets, wherever they stand.
const SECRET_KEYS: &[&str] = &["password", "credentials", "bearer_token", "client_secret", "license_key", "hash_key"];
/// Maps whose values may hold secrets.
const SECRET_MAPS: &[&str] = &["headers", "endpoint_params"];
/// What stands in their place, as in Prometheus.
const HIDDEN: &str = "<secret>";

/// The tree as YAML again, secrets hidden; comments and layout are gone.
pub fn without_secrets(root: &Node) -> String {
    let mut out = String::new();
    write_node(root, 0, false, &mut out);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn write_node(node: &Node, depth: usize, hide: bool, out: &mut String) {
    match &node.value {
        Value::Null => out.push('\n'),
        Value::Scalar(scalar) => {
            let text = if hide { HIDDEN.to_string() } else { hide_userinfo(&scalar.text) };
            // JSON's strings are YAML's; a plain scalar stays plain, so that numbers read as numbers.
            if scalar.plain && !hide && !text.contains(['\n', '#']) && !text.contains(": ") {
                out.push_str(&text);
            } else {
                let _ = write!(out, "{}", serde_json::Value::from(text));
            }
            out.push('\n');
        }
        Value::List(items) if items.is_empty() => out.push_str("[]\n"),
        Value::List(items) => {
            out.push('\n');
            for item in items {
                let _ = write!(out, "{:indent$}- ", "", indent = 2 * depth);
                let mut below = String::new();
                write_node(item, depth + 1, hide, &mut below);
                // The first line of a map or list stands behind the dash.
                out.push_str(below.trim_start_matches([' ', '\n']));
            }
        }
        Value::Map(entries) if entries.is_empty() => out.push_str("{}\n"),
        Value::Map(entries) => {
            out.push('\n');
            for (key, value) in entries {
                let name = key.text().unwrap_or_default();
                let _ = write!(out, "{:indent$}{}:", "", plain_or_quoted(name), indent = 2 * depth);
                let hide = hide || SECRET_KEYS.contains(&name) || SECRET_MAPS.contains(&name);
                if matches!(value.value, Value::Scalar(_))
                    || matches!(&value.value, Value::List(items) if items.is_empty())
                    || matches!(&value.value, Value::Map(entries) if entries.is_empty())
                {
                    out.push(' ');
                }
                write_node(value, depth + 1, hide, out);
            }
        }
    }
}

fn plain_or_quoted(name: &str) -> String {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b));
    if plain { name.to_string() } else { serde_json::Value::from(name).to_string() }
}

/// `https://user:password@host` → `https://<secret>@host`.
fn hide_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_string() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            format!("{scheme}://{HIDDEN}{}", &rest[at..])
        }
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::yaml::parse;

    #[test]
    fn secrets_are_hidden_and_the_rest_reads_as_before() {
        let text = "clients:\n  - url: https://me:hunter2@loki/push\n    basic_auth: {username: me, password: hunter2}\n    headers: {X-Key: hunter2}\nlist: []\nname: 'a: b'\nn: 5\nstages:\n  - json: {expressions: {a: }}\n  - cri: {}\n";
        let mut diagnostics = Diagnostics::new();
        let shown = without_secrets(&parse(text, &mut diagnostics).expect("a tree"));
        assert!(!shown.contains("hunter2"), "{shown}");
        let again = parse(&shown, &mut diagnostics).unwrap_or_else(|| panic!("not YAML any more:\n{shown}"));
        assert_eq!(again.get("name").and_then(|n| n.text()), Some("a: b"));
        assert_eq!(again.get("n").and_then(|n| n.text()), Some("5"));
        assert_eq!(without_secrets(&again), shown);
        assert!(shown.contains("url: https://<secret>@loki/push"), "{shown}");
    }
}
