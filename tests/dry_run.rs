//! `-dry-run` beside an agent at work: it shows what that one would send next, and leaves no trace.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use support::agent::{Agent, arguments};
use support::process::{Process, eventually, weir};

/// Names and contents of a directory.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).expect("a directory").map(|file| file.expect("an entry").path());
    files.map(|file| (file.display().to_string(), fs::read(&file).expect("readable"))).collect()
}

#[test]
fn a_dry_run_goes_on_where_the_agent_is_and_keeps_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, state) = (folder.path().join("app.log"), folder.path().join("state"));
    let config = folder.path().join("weir.yaml");
    let text = format!(
        "clients: [{{url: 'http://me:hunter2@127.0.0.1:9/push', tenant_id: team, external_labels: {{zone: a}}}}]
state: {{directory: {}}}
scrape_configs:
- job_name: app
  static_configs: [{{labels: {{__path__: {}}}}}]
  pipeline_stages:
  - multiline: {{firstline: '^S', max_wait_time: 1h}}
  - tenant: {{value: other}}
",
        state.display(),
        log.display()
    );
    fs::write(&config, text).expect("written");
    fs::write(&log, "S one\n  more of it\nS two\n").expect("written");
    let agent = Agent::start(&config, &[]);
    agent.until_read("app", 3);
    // The cut in which the lines are is on the disk once it is shown.
    let before = contents(&state);
    fs::write(&log, "S one\n  more of it\nS two\n  more of two\nS three\n").expect("written");

    let mut command = weir(&["-dry-run"]);
    command.args(arguments(&config, 0));
    let mut dry = Process::start(command);
    let shown = eventually("an entry", || {
        let shown = dry.stdout();
        if shown.contains("\tS two") { Ok(shown) } else { Err(shown) }
    });
    dry.signal(rustix::process::Signal::TERM);
    assert_eq!(dry.wait(), Some(0), "{}", dry.stderr());

    assert!(shown.starts_with("Clients configured:\n----------------------\nurl: http://<secret>@127.0.0.1:9/push\n"));
    // The block of which the first line was read before the agent's last cut.
    let labels = format!(r#"{{__tenant_id__="other", filename="{}"}}"#, log.display());
    assert!(shown.contains(&format!("Z\t{labels}\tS two\n  more of two\n")), "{shown}");
    assert!(!shown.contains("S one") && !shown.contains("hunter2") && !shown.contains("zone=\"a\""), "{shown}");
    agent.until_read("app", 5);
    agent.kill();
    let left: Vec<_> = contents(&state).into_keys().collect();
    assert_eq!(left, before.into_keys().collect::<Vec<_>>(), "no file is the dry run's");
}
