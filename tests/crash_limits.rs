//! Memory and CPU stay under their bounds whatever the logs hold. Figures are printed; run with `--nocapture`.
//!
//! `WEIR_FULL=1` with `--release` is what the bounds of the product are promised for.

mod support;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use support::agent::{Agent, arguments};
use support::kubelet_writer::{LINES, Node};
use support::process::{cpu_time, memory_kib, weir};
use support::prometheus::Scraper;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/kubernetes.yaml");

fn full() -> bool {
    std::env::var_os("WEIR_FULL").is_some()
}

/// An access line of ingress-nginx.
fn access(out: &mut impl Write, n: u64, client: &str, host: u64) {
    writeln!(
        out,
        "2026-11-21T02:26:02.000000000Z stdout F {{\"remote_address\": \"{client}\", \"status\": 200, \"method\": \"GET\", \
         \"path\": \"/{n}\", \"host\": \"h{host}.example\", \"ingress_namespace\": \"shop\", \"ingress_name\": \"web\", \
         \"service_name\": \"web\", \"request_time\": 0.012}}"
    )
    .expect("written");
}

/// A stranger: no two numbers have the same address.
fn stranger(n: u64) -> String {
    format!("{}.{}.{}.{}", 11 + (n >> 24), n >> 16 & 255, n >> 8 & 255, n & 255)
}

/// A million addresses and a hundred thousand hosts; then ten heavy clients that come when the cap is long full.
#[test]
fn a_million_addresses_stay_under_the_bound_and_heavy_clients_are_known() {
    const HEAVY: u64 = 10;
    const REQUESTS: u64 = 1000;
    const KIB_MAX: u64 = 64 << 10;
    let (strangers, hosts) = if full() { (1_000_000, 100_000) } else { (120_000, 12_000) };
    let node = Node::durable("200ms");
    let log = node
        .pods()
        .join("ingress-nginx_ingress-nginx-controller-1_0d3e6f52-5f3e-4c7b-9d0f-2f6a1c0b7a11/controller/0.log");
    fs::create_dir_all(log.parent().expect("a folder")).expect("a folder");
    let mut log = BufWriter::with_capacity(1 << 20, File::create(log).expect("a log"));

    let mut command = weir(&["-config.expand-env"]);
    command.args(arguments(Path::new(SHIPPED), node.port));
    command.env("WEIR_LOG_ROOT", node.pods()).env("WEIR_STATE", node.state());
    let agent = Agent::of(command);
    let mut scraper = Scraper::new(agent.address, "weir_http_client_requests_total", "client_ip");
    let mut lines = 0;
    while lines < strangers {
        access(&mut log, lines, &stranger(lines), lines % hosts);
        lines += 1;
        if lines % 20_000 == 0 {
            log.flush().expect("written");
            agent.until_read("ingress-nginx", lines);
            scraper.scrape().expect("a scrape");
        }
    }
    for request in 0..REQUESTS {
        for heavy in 0..HEAVY {
            access(&mut log, lines, &format!("203.0.113.{heavy}"), 0);
            access(&mut log, lines, &stranger(strangers + lines), 0);
            lines += 2;
        }
        if request % 100 == 0 {
            log.flush().expect("written");
        }
    }
    log.flush().expect("written");
    let page = agent.until("all requests", |page| page.get("weir_http_requests_total", &[]) >= lines as f64);
    let peak = memory_kib(agent.process.id(), "VmHWM");
    println!(
        "peak of {peak} KiB after {strangers} addresses and {hosts} hosts; {} bytes of exposition",
        page.text.len()
    );
    for metric in ["weir_http_requests_total", "weir_http_client_requests_total", "weir_http_country_requests_total"] {
        assert_eq!(page.get(metric, &[]), lines as f64, "{metric}");
    }
    page.assert_balanced();
    for heavy in 0..HEAVY {
        let client = format!("203.0.113.{heavy}");
        let known = page.get("weir_http_client_requests_total", &[("client_ip", &client)]);
        assert!(known >= (REQUESTS - 500) as f64, "{client}: {known} of {REQUESTS}");
    }
    assert!(peak <= KIB_MAX, "{peak} KiB");
}

#[test]
fn two_thousand_idle_files_cost_next_to_nothing() {
    const FILES: u64 = 2000;
    // Without optimisation, and beside other tests, it may take more: the program itself is five times the size.
    let seconds = Duration::from_secs;
    let (settles, time, share_max, kib_max) =
        if full() { (seconds(5), seconds(20), 0.005, 25 << 10) } else { (seconds(0), seconds(5), 0.05, 32 << 10) };
    let node = Node::durable("200ms");
    for pod in 0..FILES {
        let folder = node.pods().join(format!("shop_pod-{pod}_{pod:08}-1111-4111-8111-111111111111/app"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("0.log"), "2026-11-21T02:26:02.000000000Z stdout F {\"kind\":\"usual\"}\n")
            .expect("a log");
    }
    let agent = node.start();
    agent.until("all lines", |page| page.get(LINES, &[]) == FILES as f64);
    // What is measured is what it does while nothing happens: after a start the state is written, and the pauses between two
    // looks at a file still grow.
    std::thread::sleep(settles);
    let (started, before) = (Instant::now(), cpu_time(agent.process.id()));
    std::thread::sleep(time);
    let used = cpu_time(agent.process.id()) - before;
    let share = used.as_secs_f64() / started.elapsed().as_secs_f64();
    let (memory, peak) = (memory_kib(agent.process.id(), "VmRSS"), memory_kib(agent.process.id(), "VmHWM"));
    println!("{FILES} idle files: {memory} KiB, peak of {peak} KiB, {:.2} % of a core", share * 100.0);
    assert!(memory <= kib_max, "{memory} KiB");
    assert!(share <= share_max, "{:.2} % of a core", share * 100.0);
}
