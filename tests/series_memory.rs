//! What series take of memory, whoever makes them up.

// An allocator is an unsafe trait; this one counts and hands everything on to the system's.
#![allow(unsafe_code)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use support::corpus;
use support::kubelet::{D1_POD, Node};
use support::shipped::{KUBERNETES, over};
use weir::app::Engine;
use weir::clock::ManualClock;
use weir::metrics::{Family, Kind, LabelKey, Limit, Shown, Store};

struct Counting;

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static MOST: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    LIVE.set(LIVE.get() + bytes);
    MOST.set(MOST.get().max(LIVE.get()));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches plain cells of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MB: i64 = 1_000_000;

/// What is held after `run`, and the most that was held meanwhile, in bytes.
fn held<T>(run: impl FnOnce() -> T) -> (T, i64, i64) {
    let before = LIVE.get();
    MOST.set(before);
    let result = run();
    (result, LIVE.get() - before, MOST.get() - before)
}

#[test]
fn a_hundred_thousand_series_fit_into_20_megabytes() {
    let (mut store, alone, _) = held(|| {
        let mut store = Store::new();
        store.set_hold(Duration::from_secs(65));
        let family = Family { name: "c_total".into(), help: String::new(), kind: Kind::Counter, max_idle: None };
        let family = store.define(family).expect("a family");
        let names = ["client_ip", "country", "namespace"].map(|name| store.label_name(name));
        let group = store.group(&[family], Limit { series_max: 100_000, ..Limit::default() });
        let mut key = LabelKey::new();
        // Addresses past the cap, too.
        for address in 0..120_000u32 {
            key.clear();
            for (name, value) in
                names.iter().zip([std::net::Ipv4Addr::from(address << 7).to_string().as_str(), "DE", "shop"])
            {
                key.push(*name, value.as_bytes());
            }
            let row = store.row(group, &mut key, 1);
            store.cells(group, row).inc(0).expect("a counter");
        }
        store
    });
    assert!(alone < 20 * MB, "{alone}");
    // The image that is shown, and the one that is being kept: values, and chunks of keys that the store has, too.
    let (images, with_images, most) = held(|| {
        let images = (0..2).map(|at| store.cut(true, Duration::from_secs(at))).collect::<Vec<_>>();
        assert_eq!(images[1].samples(Shown::ToPerson).map(|s| s.value.as_f64()).sum::<f64>(), 120_000.0);
        drop(images);
        (2..4).map(|at| store.cut(true, Duration::from_secs(at))).collect::<Vec<_>>()
    });
    println!(
        "100,000 series: {alone} bytes; two images of them: {with_images}, {most} at most while a test reads all samples"
    );
    assert!(with_images < 6 * MB, "{with_images}");
    drop((store, images));
}

/// `WEIR_LINES` asks for another number.
#[test]
fn addresses_made_up_do_not_fill_the_memory_of_the_shipped_configuration() {
    let lines: u32 = std::env::var("WEIR_LINES").map_or(100_000, |lines| lines.parse().expect("a number"));
    let node = Node::new();
    node.log(D1_POD, "0.log", b"");
    let log = node.pods().join(D1_POD).join("controller/0.log");
    let mut file = File::options().append(true).open(log).expect("a log");
    let demo = corpus::excerpt("demo");
    let bytes = corpus::read(&demo.join("controller-d1.cri.gz"));
    let lines_of_demo = String::from_utf8_lossy(&bytes);
    let template = lines_of_demo.lines().find(|line| line.contains("191.189.125.20")).expect("a line of it");
    let config = over(KUBERNETES, &node.pods(), &demo.join("country.mmdb"));
    let clock = Arc::new(ManualClock::at(1_795_228_200_000_000_000));
    let mut engine = Engine::new(&config, clock.clone());
    engine.check_geoip();
    engine.refresh();
    let mut feed = |engine: &mut Engine, from: u32, to: u32| {
        let mut block = String::new();
        for line in from..to {
            let address = std::net::Ipv4Addr::from(0x0b00_0000 + line.wrapping_mul(2_654_435_761) % 0x6000_0000);
            let status = [200, 401, 429, 503][line as usize % 4];
            let text = template.replace("191.189.125.20", &address.to_string());
            block += &text.replace("\"status\": 200", &format!("\"status\": {status}"));
            block.push('\n');
        }
        file.write_all(block.as_bytes()).expect("room");
        drop(block);
        loop {
            clock.advance(Duration::from_secs(3));
            if !engine.turn().more {
                return;
            }
        }
    };
    // Buffers grow with the first lines.
    feed(&mut engine, 0, 10);
    let ((), held, most) = held(|| {
        for from in (10..lines).step_by(1000) {
            feed(&mut engine, from, lines.min(from + 1000));
        }
    });
    let snapshot = engine.snapshot();
    let requests = snapshot.samples(Shown::ToPerson).filter(|sample| sample.name == "weir_http_requests_total");
    assert_eq!(requests.map(|sample| sample.value.as_f64()).sum::<f64>(), f64::from(lines));
    let series = snapshot.samples(Shown::ToPerson).count();
    println!("{lines} addresses: {series} samples, {held} bytes held, {most} at most");
    assert!(held < 3 * MB, "{held}");
}
