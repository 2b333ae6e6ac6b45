//! `-dry-run` beside an agent at work: it shows what that one would send next, and leaves no trace.

mod support;

use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use support::agent::{Agent, arguments};
use support::process::{Process, eventually, weir};

/// Names and contents of all files below a directory.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(folder).expect("a directory").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let files = files.into_iter().map(|file| (file.clone(), fs::read(&file).expect("readable")));
    files.chain(folders.iter().flat_map(|folder| contents(folder))).collect()
}

/// Stops a process, and waits until each of its threads has stopped: it changes nothing any more.
fn pause(process: &Process) {
    process.signal(Signal::STOP);
    eventually("all threads to stop", || {
        let threads = fs::read_dir(format!("/proc/{}/task", process.id())).expect("a process");
        let status = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let running = threads.flatten().map(status).find(|status| !status.contains("State:\tT"));
        running.map_or(Ok(()), Err)
    });
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
    pause(&agent.process);
    let before = contents(&state);
    fs::write(&log, "S one\n  more of it\nS two\n  more of two\nS three\n").expect("written");

    let mut command = weir(&["-dry-run"]);
    command.args(arguments(&config, 0));
    let mut dry = Process::start(command);
    let shown = eventually("an entry", || {
        let shown = dry.stdout();
        if shown.contains("\tS two") { Ok(shown) } else { Err(shown) }
    });
    dry.signal(Signal::TERM);
    assert_eq!(dry.wait(), Some(0), "{}", dry.stderr());

    let clients = "Clients configured:\n----------------------\nurl: http://127.0.0.1:9/push\n";
    assert!(shown.starts_with(clients), "{shown}");
    // The block of which the first line was read before the agent's last cut.
    let labels = format!(r#"{{__tenant_id__="other", filename="{}"}}"#, log.display());
    assert!(shown.contains(&format!("Z\t{labels}\tS two\n  more of two\n")), "{shown}");
    assert!(!shown.contains("S one") && !shown.contains("hunter2") && !shown.contains("zone=\"a\""), "{shown}");
    assert!(contents(&state) == before, "{:?}, before {:?}", contents(&state).keys(), before.keys());
    agent.process.signal(Signal::CONT);
    agent.until_read("app", 5);
}
