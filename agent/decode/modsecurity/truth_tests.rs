//! The decoder against the corpus' own counts (`target/corpus/dev/truth.json`). Not run where no corpus is unpacked.

use super::*;
use crate::decode::cri;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Default)]
struct Counts {
    tables: BTreeMap<&'static str, BTreeMap<String, u64>>,
    numbers: BTreeMap<&'static str, u64>,
    unique_ids: BTreeSet<Vec<u8>>,
    denied_unique_ids: BTreeSet<Vec<u8>>,
    several_candidates: u64,
    ambiguous: u64,
}

impl Counts {
    fn add(&mut self, line: &[u8]) {
        let Some(event) = parse(line) else { return };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let or = |bytes: &[u8], missing: &str| if bytes.is_empty() { missing.to_owned() } else { text(bytes) };
        let denied = event.action == Action::Blocked;
        let rule = or(event.rule_id, "(truncated before id)");
        let client = or(event.client, "(truncated)");
        self.count("by_rule", rule.clone());
        self.count(if denied { "denied_by_rule" } else { "warning_by_rule" }, rule);
        self.count("by_severity", or(event.severity, "(truncated)"));
        self.count("by_client", client.clone());
        if denied {
            self.count("denied_by_client", client);
            self.count("denied_by_code", event.code.unwrap().to_string());
            self.count("denied_by_phase", event.phase.unwrap().to_string());
        }
        if !event.severity.is_empty() {
            self.count("by_ver", text(event.ver));
        }
        if !event.file.is_empty() {
            self.count("by_rule_file", text(event.file));
        }
        if !event.server.is_empty() {
            self.count("by_server_trailer", text(event.server));
        }
        event.tags().for_each(|tag| self.count("by_tag", text(tag)));
        if !event.unique_id.is_empty() {
            self.unique_ids.insert(event.unique_id.to_vec());
            if denied {
                self.denied_unique_ids.insert(event.unique_id.to_vec());
            }
        }
        let facts = [
            ("lines", true),
            ("denied_lines", denied),
            ("warning_lines", !denied),
            ("lines_at_length_limit", event.truncated),
            ("lines_truncated_before_id", event.rule_id.is_empty()),
            ("lines_without_unique_id", event.unique_id.is_empty()),
            ("lines_without_client_anywhere", event.client.is_empty()),
            ("lines_without_server_trailer", event.server.is_empty()),
        ];
        for (name, fact) in facts {
            *self.numbers.entry(name).or_default() += u64::from(fact);
        }
        self.several_candidates += u64::from(event.candidates > 1);
        self.ambiguous += u64::from(event.ambiguous);
    }

    fn count(&mut self, table: &'static str, key: String) {
        *self.tables.entry(table).or_default().entry(key).or_default() += 1;
    }

    /// What differs from the truth, as text.
    fn differences(&self, truth: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        for (name, table) in &self.tables {
            let truth = truth[*name].as_object().unwrap();
            let keys: BTreeSet<&String> = truth.keys().chain(table.keys()).collect();
            for key in keys {
                let expected = truth.get(key).map_or(0, |count| count.as_u64().unwrap());
                let got = table.get(key).copied().unwrap_or(0);
                if expected != got {
                    differences.push(format!("{name} {key}: truth {expected}, decoded {got}"));
                }
            }
        }
        let mut numbers = self.numbers.clone();
        numbers.insert("distinct_unique_ids", self.unique_ids.len() as u64);
        numbers.insert("denied_distinct_unique_ids", self.denied_unique_ids.len() as u64);
        let rules = self.tables["by_rule"].keys().filter(|rule| !rule.starts_with('(')).count();
        numbers.insert("distinct_rules", rules as u64);
        for (name, got) in numbers {
            let expected = truth[name].as_u64().unwrap();
            if expected != got {
                differences.push(format!("{name}: truth {expected}, decoded {got}"));
            }
        }
        differences
    }
}

/// The truth found nginx's trailer by its first `, server: `, which in these echoed lines is the client's text.
const FORGED_SERVERS: [(&str, u64); 2] = [("D1", 4), ("D2", 5)];

fn corpus() -> Option<(PathBuf, Value)> {
    let folder = std::env::var_os("WEIR_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/corpus/dev"), PathBuf::from);
    let truth = std::fs::read(folder.join("truth.json")).ok()?;
    Some((folder, serde_json::from_slice(&truth).unwrap()))
}

fn check(run: &str, counts: &Counts, truth: &Value) {
    let forged = FORGED_SERVERS.iter().find(|(name, _)| *name == run).unwrap().1;
    let mut truth = truth["runs"][run]["modsec"].clone();
    let servers = truth["by_server_trailer"].as_object_mut().unwrap();
    assert_eq!(servers.remove("evil").unwrap().as_u64(), Some(forged));
    let own = servers["rules.acme-demo.net"].as_u64().unwrap();
    servers["rules.acme-demo.net"] = (own + forged).into();
    assert_eq!(counts.differences(&truth), Vec::<String>::new(), "{run}");
    assert_eq!((counts.several_candidates, counts.ambiguous), (0, 0), "{run}");
}

#[test]
fn the_error_logs_count_as_the_truth_says() {
    let Some((folder, truth)) = corpus() else { return };
    for run in ["D1", "D2"] {
        let log = std::fs::read(folder.join("nginx").join(run).join("error.log")).unwrap();
        let mut counts = Counts::default();
        log.split(|byte| *byte == b'\n').for_each(|line| counts.add(line));
        check(run, &counts, &truth);
    }
}

#[test]
fn the_pods_standard_error_counts_as_the_truth_says() {
    let Some((folder, truth)) = corpus() else { return };
    for run in ["D1", "D2"] {
        let pod = &truth["runs"][run]["pod"];
        let part = |name: &str| pod[name].as_str().unwrap();
        let name = format!("{}_{}_{}", part("namespace"), part("pod"), part("uid"));
        let mut counts = Counts::default();
        for file in pod["files_oldest_first"].as_array().unwrap() {
            let path = folder.join("pods").join(&name).join(part("container")).join(file.as_str().unwrap());
            let mut log = std::fs::read(&path).unwrap();
            if path.extension().is_some_and(|extension| extension == "gz") {
                let packed = std::mem::take(&mut log);
                flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut log).unwrap();
            }
            for line in log.split(|byte| *byte == b'\n').filter_map(cri::parse) {
                if line.stream == cri::Stream::Stderr {
                    counts.add(line.content);
                }
            }
        }
        check(run, &counts, &truth);
    }
}
