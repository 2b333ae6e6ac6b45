//! More logs than the process may have files open: all are read, and none is lost. A program of its own, because the
//! limit is lowered for good.

mod support;

use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::{self, File};
use std::io::Write;
use support::agent::{Agent, Page};
use tempfile::TempDir;

const FILES: usize = 2000;
const OPEN_MAX: u64 = 256;

const LOGS: &str = r"
scrape_configs:
  - job_name: app
    static_configs: [{labels: {__path__: FOLDER/*.log}}]
    pipeline_stages:
      - metrics:
          lines_total: {type: Counter, prefix: t_, labels: {}, config: {match_all: true, action: inc}}
";

#[test]
fn two_thousand_files_with_a_limit_of_256_lose_nothing() {
    let limit = Some(OPEN_MAX);
    setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_MAX / 2), maximum: limit }).expect("a lower limit");
    let folder = TempDir::new().expect("a folder");
    let path = |at: usize| folder.path().join(format!("{at:04}.log"));
    let append = |at: usize, text: &str| {
        let mut file = File::options().create(true).append(true).open(path(at)).expect("a log");
        file.write_all(text.as_bytes()).expect("written");
    };
    (0..FILES).for_each(|at| append(at, "1\n2\n3\n"));
    let config = folder.path().join("weir.yaml");
    fs::write(&config, LOGS.replace("FOLDER", folder.path().to_str().expect("ASCII"))).expect("written");
    let agent = Agent::start(&config, &[]);
    let mut written = 3 * FILES as u64;
    agent.until_read("app", written);
    for round in 0..3 {
        for at in 0..FILES {
            if at % 5 == round {
                let rotated = folder.path().join(format!("{at:04}.log.20261121-02260{round}"));
                append(at, "a last line\n");
                fs::rename(path(at), rotated).expect("renamed");
                written += 1;
            }
            append(at, "another line\n");
            written += 1;
        }
        agent.until_read("app", written);
    }
    let page = agent.scrape();
    let value = |page: &Page, name: &str| page.get(name, &[]);
    assert_eq!(value(&page, "t_lines_total"), written as f64, "{}", page.text);
    assert_eq!(value(&page, "weir_files_broken_total"), 0.0, "{}", page.text);
    assert_eq!(value(&page, "weir_files_unreadable"), 0.0, "{}", page.text);
    assert!(value(&page, "weir_files_asleep") > 1500.0, "{}", page.text);
    assert!(value(&page, "weir_files_open_max") <= 192.0, "{}", page.text);
    page.assert_balanced();
}
