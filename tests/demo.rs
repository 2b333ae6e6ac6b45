//! `weir demo`: the whole job on real logs, to its end.

mod support;

use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};
use support::agent::Page;
use support::http::{get, request};
use support::process::{Finished, Process, eventually, run, weir};

/// The part of the last picture below a title.
fn section<'o>(output: &'o str, title: &str) -> Vec<&'o str> {
    let start = output.find(&format!("\n{title}\n")).unwrap_or_else(|| panic!("no {title} in {output}"));
    let rows = output[start..].trim_start().lines().skip(1);
    rows.take_while(|row| row.starts_with("  ")).map(str::trim).collect()
}

/// Where the demo says that its pages are.
fn address(output: &str) -> Option<SocketAddr> {
    output.split("metrics: http://").nth(1)?.split('/').next()?.parse().ok()
}

#[track_caller]
fn assert_exact(end: &Finished) {
    end.assert_code(0);
    let last = end.stdout.lines().last().expect("a last line");
    let numbers: Vec<u64> = last.split([' ', ',', ':']).filter_map(|word| word.parse().ok()).collect();
    assert!(last.ends_with("exact: every line written is accounted for"), "{}", end.stdout);
    assert!(numbers.len() == 2 && numbers[0] == numbers[1] && numbers[0] > 0, "{last}");
}

#[test]
fn it_ends_with_a_summary_whose_books_are_exact() {
    let started = Instant::now();
    // Long enough for one rotation, which comes after 4 s.
    let end = run(&["demo", "--for", "6s", "--rate=1000", "--listen", "127.0.0.1:0"]);
    assert!(started.elapsed() >= Duration::from_secs(6));
    assert_exact(&end);
    let output = &end.stdout;
    assert!(!output.contains(['\x1b', '\r']), "plain lines without a terminal: {output:?}");
    assert!(output.lines().filter(|line| line.contains(" requests/s ")).count() >= 3, "{output}");
    assert!(output.contains(" lines written, 1 rotations, "), "{output}");

    let clients = section(output, "clients");
    assert_eq!(clients.len(), 5, "{output}");
    let has_country = |row: &&str| {
        let country = row.split("  ").nth(2).unwrap_or_default();
        country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase())
    };
    assert!(clients.iter().any(has_country), "no country: {output}");
    let statuses = section(output, "statuses");
    assert!(statuses.iter().any(|row| row.ends_with("  200")), "{output}");
    assert!(statuses.iter().any(|row| row.ends_with("  403")), "{output}");
    let rules = section(output, "WAF rules");
    assert!(rules.iter().any(|row| row.contains("949110") && row.ends_with("  blocked")), "{output}");
    for books in section(output, "books") {
        let (read, parts) = books.split_once(" lines = ").expect("an equation");
        let read: u64 = read.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        let sum: u64 = parts.split(" + ").filter_map(|part| part.split(' ').next()?.parse::<u64>().ok()).sum();
        assert_eq!(read, sum, "{books}");
    }
    assert_eq!(end.stderr.lines().filter(|line| line.starts_with("weir")).count(), 0, "{}", end.stderr);
}

#[test]
fn its_pages_are_served_meanwhile_and_ctrl_c_ends_it_with_the_summary() {
    let mut demo = Process::start(weir(&["demo", "--listen=127.0.0.1:0"]));
    let address = eventually("the address", || address(&demo.stdout()).ok_or(demo.stdout()));
    let page = eventually("requests", || {
        let page = Page::of_text(&get(address, "/metrics")?.body);
        if page.get("weir_http_requests_total", &[]) >= 100.0 { Ok(page) } else { Err(page.text) }
    });
    page.assert_balanced();
    let accept = ["Accept: application/openmetrics-text;version=1.0.0"];
    Page::of_open_metrics(&request(address, "GET", "/metrics", &accept).expect("an answer").body);
    let targets = get(address, "/targets").expect("an answer").text();
    assert!(targets.contains("ingress-nginx (1 of 1 ready)"), "{targets}");
    let folder = demo.stdout().split("playing real ingress-nginx logs into ").nth(1).map(str::to_string);
    let folder = folder.and_then(|rest| rest.lines().next().map(str::to_string)).expect("a folder");
    assert!(std::path::Path::new(&folder).is_dir(), "{folder}");

    demo.signal(Signal::INT);
    assert_eq!(demo.wait(), Some(0), "{}", demo.stderr());
    let output = eventually("the summary", || match demo.stdout() {
        output if output.contains("exact: every line") => Ok(output),
        output => Err(output),
    });
    assert!(!section(&output, "books").is_empty());
    assert!(!std::path::Path::new(&folder).exists(), "the folder goes with the demo: {folder}");
}

#[test]
fn another_port_is_taken_when_the_usual_one_is_not_free() {
    // Whoever has it, this test or somebody else on the machine: it is not free.
    let _usual = TcpListener::bind("127.0.0.1:9080");
    let end = run(&["demo", "--for=1s"]);
    assert_exact(&end);
    let address = address(&end.stdout).expect("an address");
    assert!(address.ip().is_loopback() && address.port() != 9080 && address.port() != 0, "{address}");
}

#[test]
fn a_port_that_was_asked_for_and_is_not_free_ends_it_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let end = run(&["demo", "--for", "1s", "--listen", &address]);
    end.assert_code(1);
    assert!(end.stderr.contains(&format!("weir demo: cannot listen on {address}")), "{}", end.stderr);
}
