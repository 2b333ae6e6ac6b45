//! The agent is ended, stopped, starved of files, watches and memory: every line is counted once.
//!
//! `WEIR_FULL=1` makes the long line 1 GB long.

mod support;

use rustix::fs::inotify;
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;
use support::kubelet_writer::{LINES, Node, assert_counted, assert_exact};
use support::loop_device::Mount;
use support::process::{eventually, memory_kib, real_parts};

const HOLD: &str = "200ms";

/// Each end makes a last cut, and the next life goes on from it.
#[test]
fn ended_in_the_middle_of_traffic_it_goes_on_exactly() {
    let node = Node::durable(HOLD);
    let (container, mut scraper) = (node.container(), node.scraper());
    let over = AtomicBool::new(false);
    let (mut container, agent) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut container = container;
            while !over.load(Ordering::Relaxed) {
                container.lines(50, "usual");
                let born = container.lines;
                container.lines(1, &format!("born-{born}"));
                if born % 40 == 0 {
                    container.rotate();
                }
                sleep(Duration::from_millis(5));
            }
            container
        });
        let mut agent = node.start();
        for _ in 0..5 {
            let before = agent.scrape().get(LINES, &[]);
            agent.until("traffic", |page| page.get(LINES, &[]) > before + 500.0);
            scraper.scrape().expect("a scrape");
            agent.stop();
            agent = node.start();
        }
        over.store(true, Ordering::Relaxed);
        (writer.join().expect("the writer does not panic"), agent)
    });
    assert_exact(&agent, &mut container, &mut scraper);
}

/// Ten seconds stand for ten minutes: timers, connections and files are as old as they get.
#[test]
fn stopped_for_long_while_logs_rotate_it_catches_up() {
    let node = Node::durable(HOLD);
    let (mut container, mut scraper) = (node.container(), node.scraper());
    let agent = node.start();
    container.lines(100, "usual");
    assert_exact(&agent, &mut container, &mut scraper);
    agent.process.signal(Signal::STOP);
    for kind in ["a", "b", "c", "d"] {
        container.lines(500, kind);
        container.rotate();
        sleep(Duration::from_millis(2500));
    }
    container.lines(10, "last");
    agent.process.signal(Signal::CONT);
    assert_exact(&agent, &mut container, &mut scraper);
}

/// 2,000 containers, 300 of which write and rotate, with far fewer file descriptors than files.
#[test]
fn more_files_than_descriptors() {
    const FILES: usize = 2000;
    const ACTIVE: usize = 300;
    let what = "few file descriptors";
    if !real_parts(what) {
        return;
    }
    let node = Node::durable(HOLD);
    let path = |pod: usize| node.pods().join(format!("shop_pod-{pod}_{pod:08}-1111-4111-8111-111111111111/app/0.log"));
    let write = |pod: usize, round: u32| append(&path(pod), &[format!("{{\"kind\":\"round-{round}\"}}"), "{}".into()]);
    (0..FILES).for_each(|pod| write(pod, 0));
    let mut scraper = node.scraper();
    let limited = ["prlimit", "--nofile=256:256"];
    let mut agent = node.start_by(&limited);
    let mut lines = 2 * FILES;
    for round in 1..=6 {
        (0..ACTIVE).for_each(|pod| write(pod * 6, round));
        lines += 2 * ACTIVE;
        scraper.until(lines as f64);
        if round % 2 == 0 {
            for pod in (0..ACTIVE).step_by(3) {
                let rotated = path(pod * 6).with_file_name(format!("0.log.20261121-00000{round}"));
                fs::rename(path(pod * 6), rotated).expect("renamed");
                write(pod * 6, round);
                lines += 2;
            }
        }
        if round == 3 {
            agent.kill();
            agent = node.start_by(&limited);
        }
    }
    scraper.until(lines as f64);
    let page = agent.scrape();
    assert_eq!(page.get(LINES, &[]), lines as f64);
    assert_eq!(page.get("weir_breaks_total", &[]), 0.0, "{}", page.text);
    page.assert_balanced();
}

/// Appends CRI lines with these contents.
fn append(path: &Path, contents: &[String]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let mut file = File::options().create(true).append(true).open(path).expect("a log");
    let lines: String =
        contents.iter().map(|content| format!("2026-11-21T02:26:02.000000000Z stdout F {content}\n")).collect();
    file.write_all(lines.as_bytes()).expect("written");
}

/// They are one user's on the whole machine: another program may have taken them all.
#[test]
fn without_inotify_it_looks_for_itself() {
    let mut taken = Vec::new();
    while let Ok(instance) = inotify::init(inotify::CreateFlags::CLOEXEC) {
        taken.push(instance);
    }
    let node = Node::durable(HOLD);
    let (mut container, mut scraper) = (node.container(), node.scraper());
    let agent = node.start();
    for _ in 0..3 {
        container.lines(100, "usual");
        assert_exact(&agent, &mut container, &mut scraper);
        container.rotate();
    }
    assert_exact(&agent, &mut container, &mut scraper);
    println!("{} instances taken; the agent says:\n{}", taken.len(), agent.log());
}

/// A control group with little memory; removed when dropped.
struct Cage {
    path: PathBuf,
    limit: PathBuf,
}

impl Cage {
    fn new(what: &str) -> Option<Cage> {
        let name = format!("weir-test-{}", std::process::id());
        for (root, limit) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
            let path = Path::new(root).join(&name);
            if fs::create_dir(&path).is_ok() {
                let limit = path.join(limit);
                if limit.exists() {
                    return Some(Cage { path, limit });
                }
                let _ = fs::remove_dir(&path);
            }
        }
        println!("left out: {what} (no control group for memory here)");
        None
    }

    fn limit(&self, bytes: u64) {
        fs::write(&self.limit, bytes.to_string()).expect("a limit");
    }

    /// A wrapper that runs a command inside.
    fn wrapper(&self) -> [String; 4] {
        let procs = self.path.join("cgroup.procs").display().to_string();
        ["sh".into(), "-c".into(), r#"echo $$ >"$0" && exec "$@""#.into(), procs]
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

#[test]
fn killed_for_its_memory_it_goes_on_exactly() {
    let what = "out of memory";
    if !real_parts(what) {
        return;
    }
    let Some(cage) = Cage::new(what) else { return };
    let node = Node::durable(HOLD);
    let (mut container, mut scraper) = (node.container(), node.scraper());
    container.lines(1000, "usual");
    let mut agent = node.start_by(&cage.wrapper());
    scraper.until(1000.0);
    // So much that it lives, and so little that new series kill it.
    cage.limit(memory_kib(agent.process.id(), "VmRSS") * 1024 + (2 << 20));
    eventually("it is killed", || {
        for birth in 0..500 {
            let series = container.lines;
            container.line(&format!("born-{series}-{birth}-{}", "x".repeat(200)));
        }
        container.flush();
        let scraped = scraper.scrape().map(drop);
        if agent.process.has_ended() { Ok(()) } else { Err(format!("{} lines, {scraped:?}", container.lines)) }
    });
    assert_eq!(agent.process.wait(), None, "a signal ended it");
    println!("killed after {} lines", container.lines);
    let agent = node.start();
    assert_exact(&agent, &mut container, &mut scraper);
}

/// A line without an end takes no more memory than any other, and is one line.
#[test]
fn a_line_of_a_gigabyte_is_one_line() {
    const KIB_MAX: u64 = 40 << 10;
    let mib = if std::env::var_os("WEIR_FULL").is_some() { 1024 } else { 64 };
    let node = Node::durable(HOLD);
    let (mut container, mut scraper) = (node.container(), node.scraper());
    container.lines(10, "usual");
    container.finish();
    let agent = node.start();
    container.log.write_all(b"2026-11-21T02:26:02.000000000Z stdout F ").expect("written");
    for _ in 0..mib {
        container.log.write_all(&[b'x'; 1 << 20]).expect("written");
    }
    container.log.write_all(b"\n").expect("written");
    container.lines += 1;
    container.lines(10, "usual");
    container.finish();
    let page = agent.until("all lines", |page| page.get(LINES, &[]) >= container.lines as f64);
    assert_eq!(page.get(LINES, &[]), container.lines as f64);
    assert_eq!(page.get("weir_lines_cut_total", &[]), 1.0, "{}", page.text);
    scraper.until(container.lines as f64);
    let peak = memory_kib(agent.process.id(), "VmHWM");
    println!("peak of {peak} KiB with a line of {mib} MiB");
    assert!(peak <= KIB_MAX, "{peak} KiB");
}

#[test]
fn a_state_directory_in_memory_is_told() {
    let what = "a state directory in memory";
    if !real_parts(what) {
        return;
    }
    let Some(disk) = Mount::tmpfs(8 << 10, what) else { return };
    let node = Node::durable_in(disk.path().join("state"), HOLD);
    let mut container = node.container();
    container.lines(10, "usual");
    let agent = node.start();
    assert_counted(&agent, &mut container);
    let log = agent.log();
    assert!(log.lines().any(|line| line.contains("level=warn") && line.contains("lies in memory")), "{log}");
}
