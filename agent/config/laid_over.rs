//! What flags of Promtail's say in place of the file.
//!
//! Such a flag is the same as its key: it is written into the tree before anything is read from it, and is checked as
//! if it stood in the file. A flag wins over the file.

use crate::span::Span;
use crate::yaml::{Node, Scalar, Value};

/// Keys from the top level down, and the text that flags put there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaidOver {
    values: Vec<(&'static [&'static str], String)>,
    /// Of every client that does not say them itself.
    external_labels: Vec<(String, String)>,
}

impl LaidOver {
    /// A value; a later one at the same place wins.
    pub fn set(&mut self, path: &'static [&'static str], text: &str) {
        self.values.push((path, text.to_string()));
    }

    /// A label that all clients send, but for those whose own configuration gives it another value.
    pub fn external_label(&mut self, name: &str, value: &str) {
        self.external_labels.push((name.to_string(), value.to_string()));
    }

    /// Writes all of it into a configuration.
    pub(super) fn apply(&self, root: &mut Node) {
        // Without an address nothing of the single client counts: each of `clients` says for itself how it sends.
        let addressed = root.get("client").is_some_and(|client| !client.is_null())
            || self.values.iter().any(|(path, _)| *path == ["client", "url"]);
        for (path, text) in self.values.iter().filter(|(path, _)| addressed || path[0] != "client") {
            let place = path.iter().fold(&mut *root, |node, key| below(node, key));
            place.value = scalar(text);
        }
        if self.external_labels.is_empty() {
            return;
        }
        let clients = match &mut root.value {
            Value::Map(entries) => entries.iter_mut(),
            _ => return,
        };
        for (key, clients) in clients {
            match (key.text(), &mut clients.value) {
                (Some("clients"), Value::List(clients)) => clients.iter_mut().for_each(|client| self.label(client)),
                (Some("client"), Value::Map(_)) => self.label(clients),
                _ => {}
            }
        }
    }

    fn label(&self, client: &mut Node) {
        if !matches!(client.value, Value::Map(_)) {
            return;
        }
        let labels = below(client, "external_labels");
        let written: Vec<String> = match &labels.value {
            Value::Map(entries) => entries.iter().filter_map(|(name, _)| name.text().map(str::to_string)).collect(),
            _ => Vec::new(),
        };
        for (name, value) in self.external_labels.iter().filter(|(name, _)| !written.contains(name)) {
            below(labels, name).value = scalar(value);
        }
    }
}

/// The value below a key, which is made if it is not there. A list, or a scalar, is left to whoever reads it: what is
/// written below it is lost with it, and the reader reports it.
fn below<'n>(node: &'n mut Node, key: &str) -> &'n mut Node {
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else { unreachable!("it was made a map") };
    let at = entries.iter().position(|(name, _)| name.text() == Some(key)).unwrap_or_else(|| {
        let name = Node { span: Span::FILE, value: scalar(key) };
        entries.push((name, Node { span: Span::FILE, value: Value::Null }));
        entries.len() - 1
    });
    &mut entries[at].1
}

fn scalar(text: &str) -> Value {
    Value::Scalar(Scalar { text: text.to_string(), plain: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, read_laid_over};
    use crate::diagnostic::Diagnostics;

    fn read(text: &str, over: &[(&'static [&'static str], &str)], labels: &[(&str, &str)]) -> (Config, String) {
        let mut laid_over = LaidOver::default();
        over.iter().for_each(|(path, text)| laid_over.set(path, text));
        labels.iter().for_each(|(name, value)| laid_over.external_label(name, value));
        let mut d = Diagnostics::new();
        let config = read_laid_over(text, &laid_over, &mut d).expect("a tree");
        (config, d.sorted().iter().map(|finding| finding.render("f", text)).collect())
    }

    #[test]
    fn a_flag_is_its_key_and_wins_over_the_file() {
        let text = "scrape_configs: []\nlimits_config: {max_streams: 3, max_line_size: 1kb}\n";
        let (config, _) =
            read(text, &[(&["limits_config", "max_streams"], "9"), (&["positions", "filename"], "/p")], &[]);
        assert_eq!((config.limits.max_streams, config.limits.max_line_size), (Some(9), Some(1024)));
        assert_eq!(config.positions.filename.as_deref(), Some("/p"));
    }

    /// The chart of Promtail before 3.0 has the address among the arguments and the rest in the file.
    #[test]
    fn a_client_of_flags_comes_after_those_of_the_file() {
        let url: (&'static [&'static str], &str) = (&["client", "url"], "http://flag:3100/push");
        let clients = |text: &str, over: &[(&'static [&'static str], &str)]| {
            let (config, findings) = read(text, over, &[]);
            let clients = config.clients.iter();
            let seen = clients.map(|c| format!("{} {}", c.url.value, c.batch_wait.as_secs())).collect::<Vec<_>>();
            (seen.join(", "), findings.contains("error"))
        };
        let old = "client: {batchwait: 7s, external_labels: {}}\nscrape_configs: []\n";
        assert_eq!(clients(old, &[url]), ("http://flag:3100/push 7".into(), false));
        assert!(clients(old, &[]).1, "a client needs an address");
        let new = "clients: [{url: http://file:3100/push}]\nscrape_configs: []\n";
        let wait: (&'static [&'static str], &str) = (&["client", "batchwait"], "9s");
        assert_eq!(clients(new, &[url, wait]), ("http://file:3100/push 1, http://flag:3100/push 9".into(), false));
        assert_eq!(clients(new, &[wait]), ("http://file:3100/push 1".into(), false), "as in Promtail");
    }

    #[test]
    fn external_labels_of_flags_go_to_every_client_and_the_file_wins() {
        let text = "clients:\n- {url: 'http://a/', external_labels: {host: mine}}\n- url: http://b/\n  external_labels:\n\
                    - url: http://c/\nscrape_configs: []\n";
        let (config, findings) = read(text, &[], &[("host", "h"), ("zone", "1")]);
        assert_eq!(findings.matches("error").count(), 0, "{findings}");
        let labels = |at: usize| {
            let labels = config.clients[at].external_labels.iter();
            labels.map(|(name, value)| format!("{}={} ", name.value, value.value)).collect::<String>()
        };
        assert_eq!(labels(0), "host=mine zone=1 ");
        assert_eq!((labels(1), labels(2)), ("host=h zone=1 ".into(), "host=h zone=1 ".into()));
    }

    #[test]
    fn labels_of_the_single_client_go_to_every_client_and_without_an_address_it_is_no_more() {
        for (url, clients) in [("url: http://c/, ", 3), ("", 2)] {
            let text = format!(
                "client: {{{url}batchwait: 7s, external_labels: {{host: c, zone: 1}}}}\nscrape_configs: []\n\
                 clients: [{{url: 'http://a/', external_labels: {{host: mine}}}}, {{url: http://b/}}]\n"
            );
            let (config, findings) = read(&text, &[], &[]);
            assert!(!findings.contains("error"), "{findings}");
            assert_eq!(findings.contains("`client` has no `url`"), url.is_empty(), "{findings}");
            let labels = config.clients.iter().map(|client| {
                let labels = client.external_labels.iter();
                labels.map(|(name, value)| format!("{}={} ", name.value, value.value)).collect::<String>()
            });
            let labels: Vec<String> = labels.collect();
            assert_eq!(labels, ["host=mine zone=1 ", "host=c zone=1 ", "host=c zone=1 "][..clients]);
        }
    }
}
