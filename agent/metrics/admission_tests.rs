use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Clients by their addresses, and paths; paths of at most three values.
struct Clients {
    store: Store,
    group: GroupId,
    names: [LabelName; 2],
    lines: u64,
}

impl Clients {
    fn new(series_max: usize, values_max: Option<usize>) -> Clients {
        let mut store = Store::new();
        let max_idle = Some(Duration::from_secs(60));
        let family = Family { name: "requests_total".into(), help: String::new(), kind: Kind::Counter, max_idle };
        let family = store.define(family).unwrap();
        let names = ["client", "path"].map(|name| store.label_name(name));
        let values_max = values_max.map(|max| (names[1], max)).into_iter().collect();
        let group = store.group(&[family], Limit { series_max, overflow: vec![names[0]], values_max });
        Clients { store, group, names, lines: 0 }
    }

    /// A request; says whether it was counted under a client of its own.
    fn request(&mut self, client: &str, path: &str, now: Seconds) -> bool {
        let mut key = LabelKey::new();
        self.names.iter().zip([client, path]).for_each(|(name, value)| key.push(*name, value.as_bytes()));
        let row = self.store.row(self.group, &mut key, now);
        self.store.cells(self.group, row).inc(0).unwrap();
        self.lines += 1;
        !row.is_limited()
    }

    fn series(&self) -> BTreeMap<String, u64> {
        let samples = self.store.snapshot();
        let samples = samples.samples(Shown::ToPerson);
        samples.map(|sample| (sample.labels.to_string(), sample.value.as_f64() as u64)).collect()
    }

    fn stats(&self) -> FamilyStats {
        self.store.snapshot().stats().remove(0)
    }
}

#[test]
fn heavy_clients_that_come_late_are_promoted_among_a_million_strangers() {
    let mut clients = Clients::new(500, None);
    let heavy: Vec<String> = (0..10).map(|n| format!("heavy-{n}")).collect();
    let (mut requests, mut own) = ([0u32; 10], [None; 10]);
    for line in 0..1_000_000u32 {
        clients.request(&format!("{line:x}"), "/", line / 10_000);
        if line > 200_000 && line % 100 == 0 {
            let who = (line / 100 % 10) as usize;
            requests[who] += 1;
            match (clients.request(&heavy[who], "/", line / 10_000), own[who]) {
                (true, None) => own[who] = Some(requests[who]),
                (false, Some(_)) => panic!("{who} was pushed out"),
                _ => {}
            }
        }
    }
    assert!(own.iter().all(|at| at.is_some_and(|at| at <= 500)), "{own:?}");
    let series = clients.series();
    assert_eq!(series.values().sum::<u64>(), clients.lines);
    for who in 0..10 {
        // Exact from the promotion on.
        let counted = series[&format!(r#"{{client="heavy-{who}", path="/"}}"#)];
        assert_eq!(counted, u64::from(requests[who] + 1 - own[who].unwrap()));
    }
    assert_eq!(series.len(), 500 + 10 + 1);
    assert_eq!(clients.stats().promoted, 10, "and no stranger");
}

#[test]
fn the_last_places_of_the_reserve_are_for_the_very_heavy() {
    let mut clients = Clients::new(1, None);
    clients.request("first", "/", 1);
    let mut took = Vec::new();
    for who in 0..20 {
        let own = (1..3000).find(|_| clients.request(&format!("client-{who}"), "/", 1));
        took.push(own.unwrap_or(0));
    }
    assert_eq!(took[..9], [128; 9]);
    assert_eq!(took[9..], [146, 170, 204, 256, 341, 512, 1024, 0, 0, 0, 0]);
    assert_eq!(clients.series().values().sum::<u64>(), clients.lines);
    // Once the idle ones went, there is room again.
    let second = Duration::from_secs(1);
    for at in [10, 100] {
        let cut = clients.store.cut(true, at * second);
        clients.store.served(cut.number(), at * second);
    }
    assert!(clients.request("client-19", "/", 101));
}

#[test]
fn a_label_has_no_more_values_than_it_may() {
    let mut clients = Clients::new(1000, Some(2));
    for (client, path) in
        [("1", "/a"), ("1", "/b"), ("1", "/c"), ("2", "/c"), ("2", "/a"), ("2", ""), ("2", "__other__")]
    {
        assert!(clients.request(client, path, 1));
    }
    let series: Vec<String> = clients.series().into_iter().map(|(labels, n)| format!("{labels} {n}")).collect();
    assert_eq!(
        series,
        [
            r#"{client="1", path="/a"} 1"#,
            r#"{client="1", path="/b"} 1"#,
            r#"{client="1", path="__other__"} 1"#,
            r#"{client="2", path=""} 1"#,
            r#"{client="2", path="/a"} 1"#,
            r#"{client="2", path="__other__"} 2"#,
        ]
    );
    let stats = clients.stats();
    assert_eq!((stats.limited, &stats.capped), (0, &BTreeMap::from([("path".to_string(), 2)])));
    let own = Own::new("1");
    own.record_series(&clients.store.snapshot());
    assert_eq!(own.label_values_limited.with_label_values(&["requests_total", "path"]).get(), 2);

    // A value is free again when its last series went.
    let second = Duration::from_secs(1);
    let scrape = |clients: &mut Clients, at: u32| {
        let cut = clients.store.cut(true, at * second);
        clients.store.served(cut.number(), at * second);
    };
    scrape(&mut clients, 10);
    clients.request("2", "/a", 60);
    scrape(&mut clients, 70);
    assert_eq!(clients.series().len(), 1);
    clients.request("3", "/c", 71);
    clients.request("3", "/d", 71);
    assert!(clients.series().contains_key(r#"{client="3", path="/c"}"#));
    assert!(clients.series().contains_key(r#"{client="3", path="__other__"}"#));

    // A reload keeps what lives and what was counted.
    let mut smaller = Clients::new(1000, Some(1));
    smaller.store.adopt(&clients.store);
    smaller.request("4", "/e", 80);
    assert_eq!(smaller.stats().capped["path"], 4);
    assert!(smaller.series().contains_key(r#"{client="3", path="/c"}"#));
}

proptest! {
    #[test]
    fn limits_hold_whatever_comes_and_goes(
        lines in proptest::collection::vec((0..30u8, 0..6u8, 0..40u32), 0..300),
        series_max in 0..8usize,
        values_max in proptest::option::of(0..4usize),
        reload in proptest::option::of(0..300usize),
    ) {
        let mut clients = Clients::new(series_max, values_max);
        let mut now = 1;
        let mut lines_gone = 0;
        for (at, (client, path, pause)) in lines.iter().enumerate() {
            // Now and then a client is named like our own word.
            let client = if *client == 29 { OTHER.to_string() } else { client.to_string() };
            clients.request(&client, &path.to_string(), now);
            if *pause > 30 {
                now += pause;
                let before: u64 = clients.series().values().sum();
                let cut = clients.store.cut(true, Duration::from_secs(now.into()));
                clients.store.served(cut.number(), Duration::from_secs(now.into()));
                lines_gone += before - clients.series().values().sum::<u64>();
            }
            if Some(at) == reload {
                let mut new = Clients::new(series_max, values_max);
                new.store.adopt(&clients.store);
                new.lines = clients.lines;
                clients = new;
            }
        }
        let series = clients.series();
        prop_assert_eq!(series.values().sum::<u64>() + lines_gone, clients.lines);
        prop_assert!(series.len() <= 2 * series_max + (series_max / 8).max(16) + 65);
        let own = series.keys().filter(|labels| !labels.contains(r#"client="__other__""#) && *labels != "{}");
        prop_assert!(own.count() <= series_max);
        if let Some(max) = values_max {
            let paths: BTreeSet<&str> = series.keys().filter_map(|labels| labels.split("path=").nth(1)).collect();
            prop_assert!(paths.iter().filter(|path| !path.contains(OTHER)).count() <= max);
        }
    }
}
