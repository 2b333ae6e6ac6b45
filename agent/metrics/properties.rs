//! What must hold of the store and its exposition whatever the logs say.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn family(name: &str, kind: Kind) -> Family {
    Family { name: name.into(), help: "Help with \\, \" and\na second line.".into(), kind, max_idle: None }
}

fn no_limit() -> Limit {
    Limit { series_max: usize::MAX, ..Limit::default() }
}

/// A store with one counter over some label names, and how to count into it.
struct Counting {
    store: Store,
    group: GroupId,
    names: Vec<LabelName>,
}

impl Counting {
    fn new(name: &str, labels: &[&str], limit: impl Fn(&[LabelName]) -> Limit) -> Counting {
        let mut store = Store::new();
        let family = store.define(family(name, Kind::Counter)).unwrap();
        let names: Vec<LabelName> = labels.iter().map(|label| store.label_name(label)).collect();
        let group = store.group(&[family], limit(&names));
        Counting { store, group, names }
    }

    fn inc(&mut self, values: &[&[u8]]) {
        self.inc_at(values, 1);
    }

    fn inc_at(&mut self, values: &[&[u8]], now: Seconds) {
        let mut key = LabelKey::new();
        self.names.iter().zip(values).for_each(|(name, value)| key.push(*name, value));
        let row = self.store.row(self.group, &mut key, now);
        self.store.cells(self.group, row).inc(0).unwrap();
    }

    fn shown(&mut self) -> Vec<String> {
        shown(&self.store.snapshot())
    }
}

fn shown(snapshot: &Snapshot) -> Vec<String> {
    lines(snapshot, Shown::ToPerson)
}

/// What a scraper gets.
fn scraped(snapshot: &Snapshot) -> Vec<String> {
    lines(snapshot, Shown::ToScraper)
}

fn lines(snapshot: &Snapshot, shown: Shown) -> Vec<String> {
    let line = |sample: Sample| format!("{}{} {}", sample.name, sample.labels, sample.value.as_f64());
    snapshot.samples(shown).map(line).collect()
}

fn total(snapshot: &Snapshot) -> f64 {
    snapshot.samples(Shown::ToPerson).map(|sample| sample.value.as_f64()).sum()
}

fn page(format: Format, snapshot: &Snapshot) -> Vec<u8> {
    let mut page = Vec::new();
    encode(format, snapshot, &[], &mut page, Shown::ToPerson).unwrap();
    page
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[ab]{0,2}".prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => r#"[\\"\n{},= \x00\r]{0,6}"#.prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 1000..1100),
    ]
}

proptest! {
    #[test]
    fn any_label_bytes_make_a_strictly_valid_page(
        lines in proptest::collection::vec((values(), values(), values(), -3.0..3.0f64), 1..30),
    ) {
        let mut store = Store::new();
        let families = [
            store.define(family("c_total", Kind::Counter)).unwrap(),
            store.define(family("custom", Kind::Counter)).unwrap(),
            store.define(family("g", Kind::Gauge)).unwrap(),
            store.define(family("h", Kind::histogram(&[-1.0, 0.5, 1.0, 1e6]))).unwrap(),
        ];
        let names = ["a", "exported_le", "le"].map(|name| store.label_name(name));
        let group = store.group(&families, no_limit());
        let mut key = LabelKey::new();
        for (a, exported, le, number) in &lines {
            key.clear();
            for (name, value) in names.iter().zip([a, exported, le]) {
                key.push(*name, value);
            }
            let row = store.row(group, &mut key, 1);
            let mut cells = store.cells(group, row);
            cells.inc(0).unwrap();
            let _ = cells.add(1, *number);
            cells.set(2, 1.0 / number).unwrap();
            cells.observe(3, *number).unwrap();
        }
        let snapshot = store.snapshot();
        let text = strict::parse_text(&page(Format::Text004, &snapshot)).map_err(TestCaseError::fail)?;
        let open = strict::parse_open_metrics(&page(Format::OpenMetrics100, &snapshot)).map_err(TestCaseError::fail)?;
        let count = |families: &[strict::Family], name: &str| -> f64 {
            families.iter().flat_map(|f| &f.samples).filter(|s| s.name == name).map(|s| s.value).sum()
        };
        prop_assert_eq!(count(&text, "c_total"), lines.len() as f64);
        prop_assert_eq!(count(&open, "c_total"), lines.len() as f64);
        prop_assert_eq!(count(&open, "h_count"), lines.len() as f64);
        // The labels come back as they went in.
        let counter = text.iter().find(|f| f.name == "c_total").unwrap();
        for (a, ..) in lines.iter().filter(|line| !line.0.is_empty() && line.0.len() < 300) {
            let label = ("a".to_string(), String::from_utf8_lossy(a).into_owned());
            prop_assert!(counter.samples.iter().any(|sample| sample.labels.contains(&label)));
        }
    }

    #[test]
    fn the_sum_over_all_series_is_the_number_of_increments_whatever_the_cap(
        lines in proptest::collection::vec((0..40u8, 0..6u8), 0..200),
        series_max in 0..50usize,
        which in 0..3usize,
        expire_every in 1..50usize,
    ) {
        let mut counting = Counting::new("c", &["ip", "ns"], |names| Limit {
            series_max,
            overflow: names[..which].to_vec(),
            ..Limit::default()
        });
        for (n, (ip, ns)) in lines.iter().enumerate() {
            counting.inc(&[&[b'0' + ip], &[b'0' + ns]]);
            if n % expire_every == 0 {
                counting.store.cut(false, std::time::Duration::from_secs(1000));
            }
        }
        let snapshot = counting.store.snapshot();
        prop_assert_eq!(total(&snapshot), lines.len() as f64);
        prop_assert!(snapshot.samples(Shown::ToPerson).count() <= 2 * series_max + (series_max / 8).max(16) + 65);
        let distinct = lines.iter().collect::<std::collections::BTreeSet<_>>().len();
        prop_assert!(snapshot.samples(Shown::ToPerson).count() >= distinct.min(series_max));
        prop_assert_eq!(snapshot.stats()[0].limited > 0, distinct > series_max);
    }

    #[test]
    fn groups_and_workers_with_one_metric_show_the_sum_once(
        lines in proptest::collection::vec((0..2usize, 0..2usize, 0..5u8), 0..60),
    ) {
        // Two workers with two jobs each; the names are interned in different orders.
        let mut workers = Vec::new();
        for order in [["a", "b"], ["b", "a"]] {
            let mut store = Store::new();
            for name in order {
                store.label_name(name);
            }
            let family = store.define(family("c", Kind::Counter)).unwrap();
            let groups = [store.group(&[family], no_limit()), store.group(&[family], no_limit())];
            workers.push((store, groups));
        }
        let mut expected: BTreeMap<String, f64> = BTreeMap::new();
        for (worker, group, value) in &lines {
            let (store, groups) = &mut workers[*worker];
            let mut key = LabelKey::new();
            let value = [b'v', b'0' + value];
            for name in ["a", "b"] {
                key.push(store.label_name(name), &value);
            }
            let row = store.row(groups[*group], &mut key, 1);
            store.cells(groups[*group], row).inc(0).unwrap();
            let value = std::str::from_utf8(&value).unwrap();
            *expected.entry(format!("c{{a=\"{value}\", b=\"{value}\"}}")).or_default() += 1.0;
        }
        let snapshots = workers.iter_mut().map(|(store, _)| store.snapshot()).collect();
        let merged = Snapshot::merge(snapshots).unwrap();
        let expected: Vec<String> = expected.into_iter().map(|(series, n)| format!("{series} {n}")).collect();
        prop_assert_eq!(shown(&merged), expected);
        strict::parse_text(&page(Format::Text004, &merged)).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn adopt_carries_all_over_and_a_smaller_cap_keeps_the_sum(
        lines in proptest::collection::vec(values(), 0..40),
        series_max in 0..20usize,
    ) {
        let mut old = Counting::new("c", &["x", "a"], |_| no_limit());
        lines.iter().for_each(|value| old.inc(&[b"1", value]));
        let mut same = Counting::new("c", &["a", "other", "x"], |_| no_limit());
        same.store.adopt(&old.store);
        prop_assert_eq!(same.shown(), old.shown());
        let mut small = Counting::new("c", &["a"], |_| Limit { series_max, ..Limit::default() });
        small.store.adopt(&old.store);
        prop_assert_eq!(total(&small.store.snapshot()), lines.len() as f64);
    }
}

#[test]
fn an_empty_label_is_no_label_and_is_shown_as_it_was_first_set() {
    let mut counting = Counting::new("c", &["a", "b"], |_| no_limit());
    counting.inc(&[b"", b"1"]);
    counting.inc(&[b"", b"1"]);
    let mut key = LabelKey::new();
    key.push(counting.names[1], b"1");
    let row = counting.store.row(counting.group, &mut key, 1);
    counting.store.cells(counting.group, row).inc(0).unwrap();
    assert_eq!(counting.shown(), [r#"c{a="", b="1"} 3"#]);
    let text = String::from_utf8(page(Format::Text004, &counting.store.snapshot())).unwrap();
    assert!(text.contains("c{a=\"\",b=\"1\"} 3\n"), "{text}");
}

#[test]
fn the_order_of_pushing_makes_no_second_series() {
    let mut counting = Counting::new("c", &["b", "a"], |_| no_limit());
    counting.inc(&[b"1", b"2"]);
    counting.names.reverse();
    counting.inc(&[b"2", b"1"]);
    assert_eq!(counting.shown(), [r#"c{a="2", b="1"} 2"#]);
}

#[test]
fn past_the_cap_only_the_overflow_labels_give_way_and_the_living_stay() {
    let mut counting = Counting::new("c", &["ip", "ns"], |names| Limit {
        series_max: 2,
        overflow: vec![names[0]],
        ..Limit::default()
    });
    for (ip, ns) in [("1", "a"), ("2", "a"), ("3", "a"), ("4", "b"), ("5", "c"), ("6", "d"), ("1", "a")] {
        counting.inc(&[ip.as_bytes(), ns.as_bytes()]);
    }
    assert_eq!(
        counting.shown(),
        [
            r#"c{ip="1", ns="a"} 2"#,
            r#"c{ip="2", ns="a"} 1"#,
            r#"c{ip="__other__", ns="__other__"} 2"#,
            r#"c{ip="__other__", ns="a"} 1"#,
            r#"c{ip="__other__", ns="b"} 1"#,
        ]
    );
    assert_eq!(counting.store.snapshot().stats()[0].limited, 4);
}

#[test]
fn an_idle_series_is_forgotten_only_after_its_last_value_was_seen_by_all() {
    let second = std::time::Duration::from_secs(1);
    let mut store = Store::new();
    store.set_hold(10 * second);
    let id = store.define(Family { max_idle: Some(60 * second), ..family("c", Kind::Counter) }).unwrap();
    let names = vec![store.label_name("a")];
    let group = store.group(&[id], no_limit());
    let mut counting = Counting { store, group, names };
    counting.inc_at(&[b"1"], 100);
    for at in [1000, 2000] {
        counting.store.cut(false, at * second);
        assert_eq!(counting.shown(), [r#"c{a="1"} 1"#], "nobody scrapes");
    }
    // Held from the first cut that is sent, shown ten seconds later, and idle from there.
    let scrape = |counting: &mut Counting, at: u32| {
        let cut = counting.store.cut(true, at * second);
        counting.store.served(cut.number(), at * second);
        scraped(&cut)
    };
    for at in [2001, 2005, 2010] {
        assert_eq!(scrape(&mut counting, at), [r#"c{a="1"} 0"#], "at {at}");
    }
    for at in [2011, 2050, 2060, 2070] {
        assert_eq!(scrape(&mut counting, at), [r#"c{a="1"} 1"#], "at {at}");
    }
    assert!(scrape(&mut counting, 2071).is_empty());
    // It comes back from 0, in the same row.
    counting.inc_at(&[b"1"], 2072);
    assert_eq!(scrape(&mut counting, 2080), [r#"c{a="1"} 0"#]);
    assert_eq!(scrape(&mut counting, 2090), [r#"c{a="1"} 1"#]);
    counting.inc_at(&[b"1"], 2091);
    // Idle for long, but in no cut that was sent a hold ago.
    counting.store.cut(true, 2100 * second);
    counting.store.cut(true, 3000 * second);
    assert_eq!(scrape(&mut counting, 3001), [r#"c{a="1"} 2"#]);
    assert_eq!(scrape(&mut counting, 3010), [r#"c{a="1"} 2"#]);
    assert_eq!(scrape(&mut counting, 3011), [""; 0]);
    assert_eq!(counting.store.snapshot().stats()[0].series, 0);
}

#[test]
fn parts_of_one_series_are_forgotten_together() {
    let second = std::time::Duration::from_secs(1);
    let mut store = Store::new();
    let id = store.define(Family { max_idle: Some(60 * second), ..family("c", Kind::Counter) }).unwrap();
    let groups = [store.group(&[id], no_limit()), store.group(&[id], no_limit())];
    let inc = |store: &mut Store, group: usize, now: u32| {
        let row = store.row(groups[group], &mut LabelKey::new(), now);
        store.cells(groups[group], row).inc(0).unwrap();
    };
    let scrape = |store: &mut Store, at: u32| {
        let cut = store.cut(true, at * second);
        store.served(cut.number(), at * second);
        scraped(&cut)
    };
    inc(&mut store, 0, 1);
    inc(&mut store, 1, 2);
    scrape(&mut store, 10);
    inc(&mut store, 1, 50);
    scrape(&mut store, 60);
    scrape(&mut store, 70);
    assert_eq!(scrape(&mut store, 100), ["c{} 3"], "a sum that went down would be counted again");
    assert_eq!(scrape(&mut store, 110), [""; 0]);
}

#[test]
fn a_snapshot_does_not_change_with_its_store() {
    let mut counting = Counting::new("c", &["a"], |_| no_limit());
    for n in 0..200u8 {
        counting.inc(&[&[b'0' + n % 64, b'0' + n / 64]]);
    }
    let snapshot = counting.store.snapshot();
    let before = shown(&snapshot);
    for n in 0..=255u8 {
        counting.inc(&[&[b'0' + n % 64, b'0' + n / 64]]);
    }
    assert_eq!(shown(&snapshot), before);
    assert_eq!(total(&counting.store.snapshot()), 456.0);
}

#[test]
fn of_a_gauge_in_two_groups_the_value_touched_last_stands() {
    let mut store = Store::new();
    let gauge = store.define(family("g", Kind::Gauge)).unwrap();
    let groups = [store.group(&[gauge], no_limit()), store.group(&[gauge], no_limit())];
    for (group, now, value) in [(1, 5, 50.0), (0, 9, 90.0), (1, 7, 70.0)] {
        let row = store.row(groups[group], &mut LabelKey::new(), now);
        store.cells(groups[group], row).set(0, value).unwrap();
        store.snapshot();
    }
    // The clock never goes back: the third touch came last.
    assert_eq!(shown(&store.snapshot()), ["g{} 70"]);
}

#[test]
fn a_changed_family_starts_at_0_and_a_metric_without_updates_has_no_series() {
    let mut old = Store::new();
    let ids = [("c", Kind::Counter), ("h", Kind::histogram(&[1.0])), ("never", Kind::Counter)]
        .map(|(name, kind)| old.define(family(name, kind)).unwrap());
    let group = old.group(&ids, no_limit());
    let row = old.row(group, &mut LabelKey::new(), 1);
    old.cells(group, row).inc(0).unwrap();
    old.cells(group, row).observe(1, 0.5).unwrap();
    assert!(old.cells(group, row).add(0, -1.0).is_err());
    let names: Vec<String> = old.snapshot().samples(Shown::ToPerson).map(|sample| sample.name).collect();
    assert_eq!(names, ["c", "h_bucket", "h_bucket", "h_sum", "h_count"]);

    let mut new = Store::new();
    let ids = [("c", Kind::Counter), ("h", Kind::histogram(&[2.0]))]
        .map(|(name, kind)| new.define(family(name, kind)).unwrap());
    new.group(&ids, no_limit());
    new.adopt(&old);
    assert_eq!(shown(&new.snapshot()), ["c{} 1"]);
    assert_eq!(new.snapshot().stats()[0].refused, [1, 0, 0, 0]);
}

#[test]
fn a_counter_keeps_its_name_in_both_formats() {
    let mut store = Store::new();
    let names = ["a", "a_total", "b_total", "custom"];
    let ids = names.map(|name| {
        let kind = if name == "a" { Kind::Gauge } else { Kind::Counter };
        store.define(family(name, kind)).unwrap()
    });
    let group = store.group(&ids, no_limit());
    let row = store.row(group, &mut LabelKey::new(), 1);
    (0..4).for_each(|metric| store.cells(group, row).inc(metric).unwrap());
    let snapshot = store.snapshot();
    let open = strict::parse_open_metrics(&page(Format::OpenMetrics100, &snapshot)).unwrap();
    let titles: Vec<_> = open.iter().map(|f| (f.name.as_str(), f.kind.as_str(), f.samples[0].name.as_str())).collect();
    assert_eq!(
        titles,
        [
            ("a", "gauge", "a"),
            // The name without the suffix is taken by the gauge.
            ("a_total", "unknown", "a_total"),
            ("b", "counter", "b_total"),
            ("custom", "unknown", "custom"),
        ]
    );
    let text = strict::parse_text(&page(Format::Text004, &snapshot)).unwrap();
    assert!(text.iter().map(|f| f.name.as_str()).eq(names));
    assert_eq!(text[0].help.as_deref(), Some("Help with \\, \" and\na second line."));
}

#[test]
fn a_page_is_written_exactly_so() {
    let mut store = Store::new();
    let ids = [("c_total", Kind::Counter), ("h", Kind::histogram(&[1.0, 2.5, 1e6]))]
        .map(|(name, kind)| store.define(Family { help: String::new(), ..family(name, kind) }).unwrap());
    let group = store.group(&ids, no_limit());
    let mut key = LabelKey::new();
    key.push(store.label_name("a"), b"\"\\\n");
    let row = store.row(group, &mut key, 1);
    store.cells(group, row).inc(0).unwrap();
    store.cells(group, row).observe(1, 2.0).unwrap();
    let expected = r#"# TYPE c_total counter
c_total{a="\"\\\n"} 1
# TYPE h histogram
h_bucket{a="\"\\\n",le="1"} 0
h_bucket{a="\"\\\n",le="2.5"} 1
h_bucket{a="\"\\\n",le="1e+06"} 1
h_bucket{a="\"\\\n",le="+Inf"} 1
h_sum{a="\"\\\n"} 2
h_count{a="\"\\\n"} 1
"#;
    let snapshot = store.snapshot();
    assert_eq!(String::from_utf8(page(Format::Text004, &snapshot)).unwrap(), expected);
    let expected = expected
        .replace("# TYPE c_total", "# TYPE c")
        .replace("le=\"1\"", "le=\"1.0\"")
        .replace("h_sum{a=\"\\\"\\\\\\n\"} 2", "h_sum{a=\"\\\"\\\\\\n\"} 2.0")
        + "# EOF\n";
    assert_eq!(String::from_utf8(page(Format::OpenMetrics100, &snapshot)).unwrap(), expected);
}

#[test]
fn a_configured_metric_with_one_of_the_agents_own_names_is_an_error() {
    let mut counting = Counting::new("weir_scrapes_total", &[], |_| no_limit());
    counting.inc(&[]);
    let mut out = Vec::new();
    let error = encode(Format::Text004, &counting.store.snapshot(), &Own::new("1").gather(), &mut out, Shown::ToPerson)
        .unwrap_err();
    assert!(matches!(&error, EncodeError::Duplicate(name) if name == "weir_scrapes_total"), "{error}");
    assert!(out.is_empty());
}

#[test]
fn the_books_of_the_store_reach_the_agents_own_metrics() {
    let mut counting = Counting::new("c", &["a"], |_| Limit { series_max: 1, ..Limit::default() });
    counting.inc(&[b"1"]);
    counting.inc(&[b"2"]);
    let own = Own::new("1");
    own.record_series(&counting.store.snapshot());
    own.record_series(&counting.store.snapshot());
    assert_eq!(own.metric_series.with_label_values(&["c"]).get(), 2);
    assert_eq!(own.series_limited.with_label_values(&["c"]).get(), 1);
}
