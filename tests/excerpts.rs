//! The excerpts and their truth agree, and what compares them can tell a difference.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use support::corpus;
use support::truth::{Counts, Truth, client, compare, rename};

/// The text after a key up to a byte: no parser, so that this stays apart from what it is to check.
fn between<'a>(line: &'a [u8], before: &str, after: u8) -> Option<&'a str> {
    let start = line.windows(before.len()).position(|window| window == before.as_bytes())? + before.len();
    let length = line[start..].iter().position(|byte| *byte == after)?;
    std::str::from_utf8(&line[start..start + length]).ok()
}

#[test]
fn the_demo_holds_the_requests_of_its_truth() {
    let folder = corpus::excerpt("demo");
    let truth = Truth::load(&folder);
    for run in ["D1", "D2"] {
        let mut statuses = Counts::new();
        let lines = corpus::read(&folder.join(format!("controller-{}.cri.gz", run.to_lowercase())));
        for line in lines.split(|byte| *byte == b'\n') {
            // A whole line, and the first part of a split one, have the status; a later part does not begin with `{"time`.
            if between(line, " stdout F {\"time\": ", b',')
                .or_else(|| between(line, " stdout P {\"time\": ", b','))
                .is_some()
            {
                let status = between(line, "\"status\": ", b',');
                *statuses.entry(status.unwrap_or("later").to_owned()).or_insert(0) += 1;
            }
        }
        let want = truth.run(run).counts("access.by_status");
        // A request line of 16 KiB pushes the status into the next part: those only have to add up.
        let later = statuses.remove("later").unwrap_or(0);
        let (wanted, gotten): (u64, u64) = (want.values().sum(), statuses.values().sum());
        assert_eq!(wanted, gotten + later, "{run}");
        assert!(later < 8, "{run}: {later} of {wanted} without a status in their first part");
        let missing = |(status, count): (&String, &u64)| count - statuses.get(status).copied().unwrap_or(0);
        assert_eq!(want.iter().map(missing).sum::<u64>(), later, "{run}: {want:?} {statuses:?}");
    }
}

#[test]
fn every_kind_of_nasty_line_is_in_the_demo() {
    let truth = Truth::load(&corpus::excerpt("demo"));
    for (kind, count) in truth.run("D1").counts("nasty") {
        assert!(count > 0, "no line of D1 is: {kind}");
    }
}

#[test]
fn every_truth_adds_up() {
    for name in ["demo", "text", "docker"] {
        let truth = Truth::load(&corpus::excerpt(name));
        let sum = truth.sum();
        for dimension in ["by_status", "by_method", "by_host", "by_namespace", "by_ingress", "by_service", "by_client"]
        {
            let counts = sum.counts(&format!("access.{dimension}"));
            assert_eq!(counts.values().sum::<u64>(), sum.number("access.total"), "{name}: {dimension}");
        }
        for dimension in ["by_rule", "by_severity", "by_client"] {
            let counts = sum.counts(&format!("modsec.{dimension}"));
            assert_eq!(counts.values().sum::<u64>(), sum.number("modsec.lines"), "{name}: {dimension}");
        }
        assert_eq!(sum.number("modsec.lines"), sum.number("modsec.denied_lines") + sum.number("modsec.warning_lines"));
        let by_ingress = sum.counts_by("access.status_by_ingress");
        let requests: Counts = by_ingress.iter().map(|(key, inner)| (key.clone(), inner.values().sum())).collect();
        compare("access.by_ingress", &sum.counts("access.by_ingress"), &requests).unwrap();
    }
}

#[test]
fn the_demo_database_knows_most_clients_of_the_demo() {
    let folder = corpus::excerpt("demo");
    let database = maxminddb::Reader::from_source(corpus::read(&folder.join("country.mmdb"))).unwrap();
    let (mut known, mut unknown) = (0, 0);
    for (text, requests) in Truth::load(&folder).sum().counts("access.by_client") {
        let address: IpAddr = text.parse().unwrap();
        let found = database.lookup(address.to_canonical()).unwrap();
        let code: Option<String> = found.decode_path(&["country".into(), "iso_code".into()]).unwrap();
        let name: Option<String> = found.decode_path(&["country".into(), "names".into(), "en".into()]).unwrap();
        assert_eq!(code.is_some(), name.is_some(), "{text}");
        *(if code.is_some() { &mut known } else { &mut unknown }) += requests;
    }
    assert!(known > 20 * unknown, "{known} requests from known networks, {unknown} from unknown ones");
}

#[test]
fn the_whole_corpus_is_where_it_is_looked_for() {
    let Some(folder) = corpus::whole("the sums of the whole corpus") else { return };
    let truth = Truth::load(folder);
    let of_runs = ["D1", "D2"].map(|run| truth.run(run).number("access.total"));
    assert_eq!(of_runs.iter().sum::<u64>(), truth.sum().number("access.total"));
    for run in ["D1", "D2"] {
        let file = fs::read(folder.join("nginx").join(run).join("access.home.json")).unwrap();
        let lines = file.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(lines, truth.run(run).number("access.total"), "{run}");
    }
}

#[test]
fn a_client_is_its_ipv4_address_or_its_ipv6_network() {
    let table = [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8::1", "2001:db8::/64"),
        ("2001:db8:0:0:1::", "2001:db8::/64"),
        ("::1", "::/64"),
        ("::192.0.2.7", "::/64"),
        ("(truncated)", "(truncated)"),
        ("192.0.2.7:80", "192.0.2.7:80"),
        ("", ""),
    ];
    for (written, named) in table {
        assert_eq!(client(written), named, "{written}");
    }
}

#[test]
fn clients_of_one_network_add_up() {
    let counts = BTreeMap::from([("2001:db8::1".to_owned(), 2), ("2001:db8::2".to_owned(), 3), ("::1".to_owned(), 1)]);
    let want = BTreeMap::from([("2001:db8::/64".to_owned(), 5), ("::/64".to_owned(), 1)]);
    assert_eq!(rename(&counts, client), want);
}

#[test]
fn a_difference_names_its_values_the_largest_first() {
    let counts = |list: &[(&str, u64)]| list.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect::<Counts>();
    let want = counts(&[("200", 10), ("404", 1), ("500", 3)]);
    assert_eq!(compare("by_status", &want, &want), Ok(()));
    // A value counted as nothing is no difference: a series may be there at 0.
    assert_eq!(compare("by_status", &counts(&[]), &counts(&[("200", 0)])), Ok(()));
    let got = counts(&[("200", 10), ("404", 2), ("009", 7)]);
    let text = "by_status: 3 values differ; 14 in all wanted, 19 got\n  \"009\": want 0, got 7 (+7)\n  \"500\": want 3, got 0 (-3)\n  \"404\": want 1, got 2 (+1)\n";
    assert_eq!(compare("by_status", &want, &got), Err(text.to_owned()));
}
