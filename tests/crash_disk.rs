//! State directories that fill up, cannot be written, vanish, are wanted twice or lose their power.

mod support;

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use support::agent::{Agent, Page};
use support::kubelet_writer::{Container, LINES, Node, POD, assert_counted, assert_exact};
use support::loop_device::{Mount, fill};
use support::process::{eventually, real_parts};

const HOLD: &str = "200ms";

/// Whether what is shown would survive a crash.
fn durable(page: &Page) -> f64 {
    page.get("weir_state_durable", &[])
}

fn failures(page: &Page) -> f64 {
    page.get("weir_state_commit_failures_total", &[])
}

fn full() -> bool {
    std::env::var_os("WEIR_FULL").is_some()
}

/// Lines that make many new series, so that the state has to grow.
fn many_births(container: &mut Container, births: u32) {
    for birth in 0..births {
        let series = container.lines;
        container.line(&format!("birth-{series}-{birth}-{}", "x".repeat(900)));
    }
    container.flush();
}

/// While it cannot write, scrapers see what they saw before; that it is so is told at once.
#[test]
fn a_full_disk_is_told_and_got_over() {
    let what = "a full disk";
    if !real_parts(what) {
        return;
    }
    let Some(disk) = Mount::tmpfs(256 << 10, what) else { return };
    let node = Node::durable_in(disk.path().join("state"), HOLD);
    let (mut container, mut scraper) = (node.container(), node.scraper());
    container.lines(100, "usual");
    let mut agent = node.start();
    scraper.until(100.0);
    let filler = if full() {
        let filler = fill(&disk.path());
        // The log has room of its own, which takes a while to be used up.
        eventually("a cut that finds no room", || {
            many_births(&mut container, 500);
            scraper.scrape()?;
            if failures(&agent.scrape()) > 0.0 {
                Ok(())
            } else {
                Err(format!("{} lines, all written", container.lines))
            }
        });
        println!("no room after {} lines", container.lines);
        filler
    } else {
        // A run begins with a log of its own.
        agent.kill();
        let filler = fill(&disk.path());
        agent = node.start();
        eventually("it says why", || {
            let log = agent.log();
            if log.contains("No space left on device") { Ok(()) } else { Err(log) }
        });
        filler
    };
    container.lines(100, "usual");
    fs::remove_file(filler).expect("removed");
    container.lines(100, "usual");
    assert_exact(&agent, &mut container, &mut scraper);
    agent.kill();
    container.lines(100, "usual");
    assert_exact(&node.start(), &mut container, &mut scraper);
}

/// The last run's counters may lie in a directory that cannot be opened: none are shown that could contradict them
/// until a minute has passed (`WEIR_FULL=1` waits for that).
#[test]
fn a_directory_that_cannot_be_written_is_told_and_lines_are_counted() {
    let what = "a read-only state directory";
    if !real_parts(what) {
        return;
    }
    let Some(disk) = Mount::tmpfs(32 << 10, what) else { return };
    let node = Node::durable_in(disk.path().join("state"), HOLD);
    let (mut container, mut scraper) = (node.container(), node.scraper());
    container.lines(100, "usual");
    disk.remount("ro").expect("remounted");
    let agent = node.start();
    eventually("it says why", || {
        let answer = agent.get("/metrics");
        let log = agent.log();
        if answer.status == 503 && log.contains("Read-only file system") { Ok(()) } else { Err(log) }
    });
    if full() {
        sleep(Duration::from_secs(60));
        assert_counted(&agent, &mut container);
        let page = agent.scrape();
        assert_eq!(durable(&page), 0.0);
        assert!(page.get("weir_breaks_total", &[]) > 0.0, "{}", page.text);
    }
    disk.remount("rw").expect("remounted");
    agent.until("durable", |page| durable(page) == 1.0);
    container.lines(100, "usual");
    assert_counted(&agent, &mut container);
    scraper.until(container.lines as f64);
    agent.kill();
    container.lines(100, "usual");
    let agent = node.start();
    assert_counted(&agent, &mut container);
    scraper.until(container.lines as f64);
}

#[test]
fn a_directory_that_is_removed_while_it_runs_comes_back() {
    let node = Node::durable(HOLD);
    let (mut container, mut scraper) = (node.container(), node.scraper());
    container.lines(100, "usual");
    let agent = node.start();
    scraper.until(100.0);
    fs::remove_dir_all(node.state()).expect("removed");
    container.lines(100, "usual");
    scraper.until(200.0);
    eventually("a new state directory", || {
        container.lines(1, "usual");
        scraper.scrape()?;
        let files = fs::read_dir(node.state()).map_err(|error| error.to_string())?.count();
        let page = agent.scrape();
        if files > 0 && durable(&page) == 1.0 { Ok(()) } else { Err(format!("{files} files")) }
    });
    scraper.scrape().expect("a scrape");
    agent.kill();
    container.lines(100, "usual");
    let agent = node.start();
    assert_counted(&agent, &mut container);
    scraper.until(container.lines as f64);
}

/// The second one answers, counts nothing, and takes over when the first one dies.
#[test]
fn two_agents_never_count_at_once() {
    let node = Node::durable(HOLD);
    let (mut container, mut scraper) = (node.container(), node.scraper());
    container.lines(100, "usual");
    let first = node.start();
    scraper.until(100.0);

    let mut command = node.command();
    command.arg("-server.http-listen-port=0");
    let mut second = Agent::unless_it_ends(command).unwrap_or_else(|process| {
        panic!("the second one ends instead of waiting:\n{}", process.stderr());
    });
    container.lines(100, "usual");
    scraper.until(200.0);
    let answer = second.get("/metrics");
    if answer.status == 200 {
        assert_eq!(Page::of_text(&answer.body).get(LINES, &[]), 0.0, "{}", answer.text());
    }
    assert!(!second.process.has_ended(), "{}", second.log());

    first.kill();
    container.lines(100, "usual");
    // From now on the service leads to the other one.
    scraper.address = second.address;
    assert_exact(&second, &mut container, &mut scraper);
}

/// Runs the agent as if the machine had been booted once more.
fn after_a_boot(node: &Node) -> Agent {
    let boot_id = node.path("boot_id");
    fs::write(&boot_id, "0f5f3e4c-7b9d-4d2f-86a1-c0b7a1122334\n").expect("written");
    const BIND: &str = r#"mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@""#;
    node.start_by(&["unshare", "-m", "sh", "-c", BIND, boot_id.to_str().expect("ASCII")])
}

#[test]
fn lost_power_takes_no_counter_back() {
    let what = "lost power on a loop device";
    if !real_parts(what) {
        return;
    }
    for round in 0..4 {
        let Some(disk) = Mount::ext4(what) else { return };
        let node = Node::durable_on(&disk.path(), HOLD);
        assert!(Command::new("sync").status().expect("sync").success());
        let (mut container, mut scraper) = (node.container(), node.scraper());
        let agent = node.start();
        for cut in 0..4 + round {
            container.lines(20, "usual");
            container.lines(1, &format!("born-{cut}"));
            if cut == 2 {
                container.finish();
                scraper.until(container.lines as f64);
                // The system writes logs back when it likes: here once.
                container.log.sync_all().expect("synced");
            }
            if cut > 2 {
                // Cuts younger than a second are shared.
                sleep(Duration::from_millis(1050));
            }
            scraper.scrape().expect("a scrape");
        }
        container.finish();
        if let Err(why) = disk.lose_power() {
            println!("left out: {what} ({why})");
            return;
        }
        // The disk is gone under it; what it says now may be what it said before.
        let _ = scraper.scrape();
        let shown = scraper.increases.total();
        agent.kill();
        let written = container.lines as f64;
        drop(container);
        disk.after_lost_power();

        // A container that was started again has a log of its own.
        let mut container = Container::new(&node.pods(), POD, 1);
        container.lines(1, "last");
        let agent = after_a_boot(&node);
        let page = agent.until("the new log", |page| page.get(LINES, &[("kind", "last")]) == 1.0);
        let counted = page.get(LINES, &[]);
        println!(
            "round {round}: {written} written, {shown} shown before, {counted} counted after, breaks {}",
            page.get("weir_breaks_total", &[])
        );
        assert!(counted - 1.0 <= written && counted - 1.0 >= shown, "{}", page.text);
        container.lines(50, "usual");
        container.finish();
        agent.until("50 more", |page| page.get(LINES, &[]) == counted + 50.0);
        scraper.until(counted + 50.0);
    }
}
