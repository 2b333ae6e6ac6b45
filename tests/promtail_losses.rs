//! Where Promtail was seen to lose lines, weir loses none; and it begins where Promtail's positions say.

mod support;

use rustix::process::Signal;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;
use support::agent::Agent;
use support::kubelet_writer::{Container, LINES, Node, assert_counted, assert_exact};
use support::prometheus::Scraper;

const HOLD: &str = "200ms";

/// A container, the agent that reads it and a scraper that watches.
struct Stage {
    node: Node,
    container: Container,
    scraper: Scraper,
    agent: Option<Agent>,
}

impl Stage {
    fn new() -> Stage {
        let node = Node::durable(HOLD);
        let (container, scraper) = (node.container(), node.scraper());
        let mut stage = Stage { node, container, scraper, agent: None };
        stage.container.lines(500, "first");
        stage.start();
        stage.all_read();
        stage
    }

    fn start(&mut self) {
        self.agent = Some(self.node.start());
    }

    fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("it runs")
    }

    fn kill(&mut self) {
        self.agent.take().expect("it runs").kill();
    }

    /// Waits until the agent knows every line and has told the scraper.
    fn all_read(&mut self) {
        let agent = self.agent.as_ref().expect("it runs");
        assert_exact(agent, &mut self.container, &mut self.scraper);
    }

    /// All is counted once, and no restart changes that.
    fn assert_exact_over_restarts(mut self) {
        self.all_read();
        self.kill();
        self.container.lines(10, "between");
        self.start();
        self.all_read();
        self.agent.take().expect("it runs").stop();
        self.container.lines(10, "between");
        self.start();
        self.container.lines(10, "after");
        self.all_read();
    }
}

#[test]
fn two_rotations_between_two_polls() {
    let mut stage = Stage::new();
    stage.agent().process.signal(Signal::STOP);
    stage.container.lines(200, "a");
    stage.container.rotate();
    stage.container.lines(500, "b");
    stage.container.rotate();
    stage.container.lines(100, "c");
    stage.agent().process.signal(Signal::CONT);
    stage.assert_exact_over_restarts();
}

#[test]
fn a_rotation_while_it_is_down_and_a_new_file_beyond_the_old_offset() {
    for new_lines in [10, 5000] {
        let mut stage = Stage::new();
        stage.kill();
        stage.container.lines(200, "e");
        stage.container.rotate();
        stage.container.lines(new_lines, "f");
        stage.start();
        stage.assert_exact_over_restarts();
    }
}

#[test]
fn three_rotations_with_compression_while_it_is_down() {
    let mut stage = Stage::new();
    stage.kill();
    for kind in ["a", "b", "c"] {
        stage.container.lines(300, kind);
        stage.container.rotate();
    }
    let gz = stage.container.rotated().iter().filter(|path| path.extension().is_some_and(|end| end == "gz")).count();
    assert_eq!(gz, 2, "{:?}", stage.container.rotated());
    stage.container.lines(50, "d");
    stage.start();
    stage.assert_exact_over_restarts();
}

/// The file that is read may be compressed at any moment, and the agent die at any moment of that.
#[test]
fn rotations_and_kills_in_turn() {
    let mut stage = Stage::new();
    for round in 0..12 {
        stage.container.lines(20, "usual");
        stage.container.rotate();
        stage.container.line("late");
        stage.container.flush();
        if round % 2 == 0 {
            stage.kill();
            stage.container.lines(3, "down");
            stage.start();
        }
        if round % 3 == 2 {
            stage.all_read();
        }
    }
    stage.assert_exact_over_restarts();
}

#[test]
fn lines_for_the_old_file_after_the_new_one_was_read() {
    let mut stage = Stage::new();
    let mut old = File::options().append(true).open(stage.container.path()).expect("a log");
    stage.container.rotate_cleanly();
    stage.container.lines(40, "new");
    stage.all_read();
    for kind in ["late-1", "late-2"] {
        let line = format!("2026-11-21T02:26:59.000000000Z stdout F {{\"kind\":\"{kind}\"}}\n");
        old.write_all(line.repeat(20).as_bytes()).expect("written");
        stage.container.lines += 20;
        stage.container.truth.insert(kind.into(), 20);
        stage.all_read();
        if kind == "late-1" {
            stage.kill();
            stage.start();
        }
    }
    stage.assert_exact_over_restarts();
}

/// Half a line at the end of a file that is renamed, and at the moment of a stop and a start.
#[test]
fn a_last_line_without_its_end() {
    for (rotate, restart) in [(true, false), (false, true), (true, true)] {
        let mut stage = Stage::new();
        let mut old = File::options().append(true).open(stage.container.path()).expect("a log");
        old.write_all(b"2026-11-21T02:26:59.000000000Z stdout F {\"kind\":").expect("written");
        if rotate {
            stage.container.rotate_cleanly();
            stage.container.lines(5, "new");
            stage.all_read();
        }
        if restart {
            stage.agent.take().expect("it runs").stop();
            stage.start();
        }
        old.write_all(b"\"whole\"}\n").expect("written");
        stage.container.lines += 1;
        stage.container.truth.insert("whole".into(), 1);
        println!("rotated: {rotate}, restarted: {restart}");
        stage.assert_exact_over_restarts();
    }
}

/// It never gets its end: once nobody can write it any more it is a line.
#[test]
fn a_last_line_that_never_ends() {
    let mut stage = Stage::new();
    let mut old = File::options().append(true).open(stage.container.path()).expect("a log");
    old.write_all(b"2026-11-21T02:26:59.000000000Z stdout F {\"kind\":\"endless\"}").expect("written");
    drop(old);
    stage.container.lines += 1;
    stage.container.truth.insert("endless".into(), 1);
    stage.container.rotate_cleanly();
    stage.container.lines(5, "new");
    // The kubelet compresses it with the next rotation.
    stage.container.rotate_cleanly();
    stage.assert_exact_over_restarts();
}

const STATIC: &str = r#"
scrape_configs:
  - job_name: app
    static_configs: [{labels: {__path__: FOLDER/logs/app.log}}]
    pipeline_stages:
      - json: {expressions: {kind: }}
      - metrics:
          lines_total: {type: Counter, prefix: t_, labels: {kind: }, config: {match_all: true, action: inc}}
"#;

/// A node with one log of its own, without a runtime's notation.
fn node_with_a_log(keys: &str) -> Node {
    let node = Node::durable(HOLD);
    fs::create_dir(node.path("logs")).expect("a folder");
    let state = node.state().display();
    node.configure(&format!("state: {{directory: {state}}}\nmetrics: {{birth_hold: {HOLD}}}\n{keys}{STATIC}"));
    node
}

fn numbered(kind: &str, numbers: std::ops::Range<u32>) -> String {
    numbers.map(|n| format!("{{\"kind\":\"{kind}\",\"n\":{n}}}\n")).collect()
}

#[track_caller]
fn assert_kinds(agent: &Agent, kinds: &[(&str, f64)]) {
    let total: f64 = kinds.iter().map(|(_, lines)| lines).sum();
    let page = agent.until(&format!("{kinds:?}"), |page| page.get(LINES, &[]) >= total);
    for (kind, lines) in kinds {
        assert_eq!(page.get(LINES, &[("kind", kind)]), *lines, "{kind}\n{}", page.text);
    }
    page.assert_balanced();
    assert_eq!(page.get("weir_breaks_total", &[]), 0.0, "{}", page.text);
}

/// Copied aside, cut to nothing and grown beyond its old size before the agent looks again.
#[test]
fn copytruncate_regrown_within_a_poll() {
    for restart in [false, true] {
        let node = node_with_a_log("");
        let path = node.path("logs/app.log");
        let mut log = File::options().create(true).append(true).open(&path).expect("a log");
        log.write_all(numbered("old", 0..50).as_bytes()).expect("written");
        let agent = node.start();
        assert_kinds(&agent, &[("old", 50.0)]);
        let agent = if restart {
            agent.kill();
            copytruncate(&path, &mut log);
            node.start()
        } else {
            agent.process.signal(Signal::STOP);
            copytruncate(&path, &mut log);
            agent.process.signal(Signal::CONT);
            agent
        };
        assert_kinds(&agent, &[("old", 50.0), ("new", 80.0)]);
        agent.kill();
        assert_kinds(&node.start(), &[("old", 50.0), ("new", 80.0)]);
    }
}

fn copytruncate(path: &Path, log: &mut File) {
    fs::copy(path, path.with_file_name("app.log.1")).expect("copied");
    log.set_len(0).expect("cut");
    log.write_all(numbered("new", 0..80).as_bytes()).expect("written");
}

/// What Promtail had written down when it was stopped.
fn positions(node: &Node, path: &Path, offset: usize, stopped: SystemTime) {
    let file = node.path("positions.yaml");
    fs::write(&file, format!("positions:\n  {}: \"{offset}\"\n", path.display())).expect("written");
    File::options().append(true).open(file).and_then(|file| file.set_modified(stopped)).expect("dated");
}

#[test]
fn a_first_start_goes_on_where_promtail_stopped() {
    let node = node_with_a_log("positions: {filename: FOLDER/positions.yaml}\n");
    let path = node.path("logs/app.log");
    fs::write(&path, numbered("read", 0..60) + &numbered("unread", 0..40)).expect("written");
    positions(&node, &path, numbered("read", 0..60).len(), SystemTime::now());
    let agent = node.start();
    assert_kinds(&agent, &[("read", 0.0), ("unread", 40.0)]);
    let mut log = File::options().append(true).open(&path).expect("a log");
    log.write_all(numbered("more", 0..10).as_bytes()).expect("written");
    assert_kinds(&agent, &[("read", 0.0), ("unread", 40.0), ("more", 10.0)]);
    agent.kill();
    // From now on its own cursors hold, whatever the positions say.
    positions(&node, &path, 0, SystemTime::now());
    let agent = node.start();
    log.write_all(numbered("more", 0..10).as_bytes()).expect("written");
    assert_kinds(&agent, &[("read", 0.0), ("unread", 40.0), ("more", 20.0)]);
}

/// Promtail's position is that of a file which has another name by now; the new file is shorter or longer than it.
#[test]
fn a_first_start_after_a_rotation_neither_repeats_nor_skips() {
    for new_lines in [5, 500] {
        let node = Node::durable(HOLD);
        let state = node.state().display();
        node.configure_with(&format!(
            "positions: {{filename: FOLDER/positions.yaml}}\nstate: {{directory: {state}}}\nmetrics: {{birth_hold: {HOLD}}}\n"
        ));
        let mut container = node.container();
        container.lines(60, "read");
        container.finish();
        let offset = fs::metadata(container.path()).expect("a log").len();
        container.lines(40, "unread");
        container.finish();
        positions(&node, container.path(), offset as usize, SystemTime::now());
        container.rotate();
        container.lines(new_lines, "new");
        // Promtail counted these.
        container.lines -= 60;
        container.truth.insert("read".into(), 0);
        let agent = node.start();
        assert_counted(&agent, &mut container);
        agent.kill();
        container.lines(10, "more");
        let agent = node.start();
        assert_counted(&agent, &mut container);
    }
}
