//! The pipeline of home-k8s, as its author runs it in Promtail, gives exactly Promtail's series.
//!
//! What they are is worked out here once more, from the CRI lines with serde_json and by the rules that Promtail's
//! users see: nothing of weir takes part in it.

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use support::corpus;
use support::exposition::{Family, parse_text};
use support::kube_api::KubeApi;
use support::kube_api::pods::pods_of_tree;
use support::kubelet::{D2_POD, Node};
use support::mmdb::{self, Mmdb, map};
use support::process::{Finished, finish, weir};
use support::shipped::{HOME_K8S, one_shot, over, whole};
use weir::metrics::LABEL_VALUE_BYTES_MAX;

/// A series' labels, empty ones included.
type Labels = BTreeMap<&'static str, String>;
type Series = BTreeMap<Labels, u64>;

/// Exposed name, HELP, and the labels beside `client_ip` and the place.
const METRICS: [(&str, &str, &[&str]); 5] = [
    (
        "promtail_custom_http_requests_total",
        "The total number of HTTP requests.",
        &["ingress_namespace", "path", "status"],
    ),
    ("promtail_custom_http_requests_total_ip", "The total number of HTTP requests by IP.", &[]),
    (
        "promtail_custom_http_requests_total_ip_namespace",
        "The total number of HTTP requests by IP and ingress namespace.",
        &["ingress_namespace"],
    ),
    (
        "promtail_custom_http_requests_total_ip_namespace_status",
        "The total number of HTTP requests by IP, namespace and status.",
        &["ingress_namespace", "status"],
    ),
    (
        "promtail_custom_http_requests_total_ip_status",
        "The total number of HTTP requests by IP and status.",
        &["status"],
    ),
];

/// Latitude and longitude, and how Go prints them.
type Place = (f64, f64, &'static str, &'static str);

/// Networks of the excerpt's clients, and where they are. The last one is known without a location.
const PLACES: [(&str, &str, Option<Place>); 6] = [
    ("2a0d:3344::", "32", Some((47.37, 8.54, "47.37", "8.54"))),
    ("161.63.254.0", "24", Some((51.75, -1.25, "51.75", "-1.25"))),
    ("34.116.0.0", "16", Some((-33.0, 151.0, "-33", "151"))),
    ("194.14.241.0", "24", Some((0.00001, 179.9999, "1e-05", "179.9999"))),
    ("7.52.101.0", "24", Some((37.751, -97.822, "37.751", "-97.822"))),
    ("180.95.81.0", "24", None),
];

fn database(file: &Path) {
    let mut city = Mmdb::new("GeoLite2-City");
    for (network, bits, place) in PLACES {
        let mut record = vec![("country".to_owned(), map([("names", mmdb::names("Somewhere"))]))];
        if let Some((latitude, longitude, ..)) = place {
            let numbers = [("latitude", latitude), ("longitude", longitude)];
            record.push(("location".to_owned(), map(numbers.map(|(key, number)| (key, mmdb::Value::Double(number))))));
        }
        city = city.insert(&format!("{network}/{bits}"), mmdb::Value::Map(record));
    }
    fs::write(file, city.bytes()).expect("a database");
}

fn place_of(client: &str) -> Option<(&'static str, &'static str)> {
    let bits_of = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, false),
        IpAddr::V6(v6) => (v6.to_bits(), true),
    };
    let client = bits_of(client.parse().ok()?);
    let (_, _, place) = PLACES.into_iter().find(|(network, bits, _)| {
        let network = bits_of(network.parse().expect("a network"));
        let shift = 128 - bits.parse::<u32>().expect("bits");
        network.1 == client.1 && network.0 >> shift == client.0 >> shift
    })?;
    place.map(|(.., latitude, longitude)| (latitude, longitude))
}

/// The series that Promtail would have after these CRI lines.
fn expected(cri: &[u8], series: &mut BTreeMap<&'static str, Series>) {
    let mut pieces: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for line in cri.split(|b| *b == b'\n') {
        let parts: Vec<&[u8]> = line.splitn(4, |b| *b == b' ').collect();
        let [_, stream, flag, content] = parts[..] else { continue };
        pieces.entry(stream.to_vec()).or_default().extend_from_slice(content);
        if flag == b"F" {
            let whole = pieces.remove(stream).unwrap_or_default();
            access(&whole, series);
        }
    }
}

fn access(line: &[u8], series: &mut BTreeMap<&'static str, Series>) {
    // serde_json takes UTF-8 only, Promtail any bytes: each byte goes through it as one character.
    let characters: String = line.iter().map(|b| char::from(*b)).collect();
    // A status of 009 is no JSON: such a line is dropped, as are all that are no object.
    let Ok(Value::Object(object)) = serde_json::from_str(&characters) else { return };
    let text = |key: &str| match object.get(key)? {
        Value::String(text) => {
            let bytes =
                text.chars().map(|c| u8::try_from(u32::from(c)).expect("nginx escapes control characters only"));
            // What is no UTF-8 becomes no label.
            String::from_utf8(bytes.collect()).ok()
        }
        Value::Number(number) => Some(number.to_string()),
        other => panic!("{key} is {other}"),
    };
    let client = text("remote_address").expect("an address");
    let mut common = Labels::new();
    if let Some((latitude, longitude)) = place_of(&client) {
        common.insert("geoip_location_latitude", latitude.to_owned());
        common.insert("geoip_location_longitude", longitude.to_owned());
    }
    common.insert("client_ip", client);
    for (metric, _, more) in METRICS {
        let more = more.iter().filter_map(|label| Some((*label, text(label)?)));
        let labels = common.clone().into_iter().chain(more).collect();
        *series.entry(metric).or_default().entry(labels).or_insert(0) += 1;
    }
}

/// The one difference from Promtail: a value of more than 1,024 bytes is cut, and a hash of the whole stands behind
/// it. Here it is cut alike, and has a mark for a hash, which is another test's business.
fn cut(value: &str) -> String {
    const HASH: usize = 8;
    let kept = LABEL_VALUE_BYTES_MAX - '…'.len_utf8() - HASH;
    let cut = match value.len() {
        ..LABEL_VALUE_BYTES_MAX => return value.to_owned(),
        LABEL_VALUE_BYTES_MAX if value.get(kept..).is_none_or(|end| !end.starts_with('…')) => {
            return value.to_owned();
        }
        _ => value.get(..kept).expect("long values of the corpus are ASCII"),
    };
    format!("{cut}…")
}

/// The series of a family as they are shown, values cut.
fn exposed(family: &Family) -> Series {
    let known = |name: &str| LABELS.into_iter().find(|known| *known == name).unwrap_or_else(|| panic!("label {name}"));
    let labels = |labels: &[(String, String)]| labels.iter().map(|(name, value)| (known(name), cut(value))).collect();
    let mut series = Series::new();
    for sample in &family.samples {
        *series.entry(labels(&sample.labels)).or_insert(0) += whole(sample.value);
    }
    series
}

const LABELS: [&str; 6] =
    ["client_ip", "geoip_location_latitude", "geoip_location_longitude", "ingress_namespace", "path", "status"];

/// Holds the series of a tree against what its controllers' lines must give; returns these.
fn check(pods: &Path, node: &Node) -> BTreeMap<&'static str, Series> {
    let city = node.path("city.mmdb");
    database(&city);
    compare(&one_shot(&over(HOME_K8S, pods, &city)).families, pods)
}

/// Holds the families of a run over a tree against the same.
fn compare(families: &[Family], pods: &Path) -> BTreeMap<&'static str, Series> {
    let mut want = BTreeMap::new();
    for lines in controllers(pods) {
        expected(&lines, &mut want);
    }
    assert_eq!(families.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), METRICS.map(|(name, ..)| name));
    for (family, (name, help, _)) in families.iter().zip(METRICS) {
        assert_eq!((family.kind.as_str(), family.help.as_deref()), ("counter", Some(help)), "{name}");
        let got = exposed(family);
        let mut wanted = Series::new();
        for (labels, count) in &want[name] {
            let labels = labels.iter().map(|(label, value)| (*label, cut(value))).collect();
            *wanted.entry(labels).or_insert(0) += count;
        }
        let missing: Vec<_> = wanted.iter().filter(|(labels, n)| got.get(*labels) != Some(n)).take(5).collect();
        let wrong: Vec<_> = got.iter().filter(|(labels, n)| wanted.get(*labels) != Some(n)).take(5).collect();
        assert!(missing.is_empty() && wrong.is_empty(), "{name}\nmissing: {missing:#?}\nunwanted: {wrong:#?}");
        assert_eq!(family.samples.len(), want[name].len(), "{name}");
    }
    want
}

/// The lines of each container in the namespace, its generations in their order.
fn controllers(pods: &Path) -> Vec<Vec<u8>> {
    let of = |folder: &Path| -> Vec<PathBuf> {
        let mut entries: Vec<_> =
            fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
        // `0.log.20261121-022602.gz` stands before `0.log.20261121-022616`, and `0.log` comes after them.
        entries.sort_by_key(|path| (path.extension().is_some_and(|e| e == "log"), path.clone()));
        entries
    };
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ingress-nginx_"));
    let containers = of(pods).into_iter().filter(named).flat_map(|pod| of(&pod));
    containers.map(|container| of(&container).iter().flat_map(|file| corpus::read(file)).collect()).collect()
}

#[test]
fn the_demos_lines_give_promtails_series() {
    let node = Node::demo();
    let want = check(&node.pods(), &node);
    // The excerpt has what this is about.
    let all = &want["promtail_custom_http_requests_total"];
    let some = |what: &str, is: &dyn Fn(&Labels) -> bool| assert!(all.keys().any(is), "no series {what}");
    some("of a known place", &|labels| labels.contains_key("geoip_location_latitude"));
    some("of a known network without a place", &|labels| {
        labels["client_ip"].starts_with("180.95.81.") && !labels.contains_key("geoip_location_latitude")
    });
    some("of a private address", &|labels| {
        labels["client_ip"].starts_with("127.") && !labels.contains_key("geoip_location_latitude")
    });
    some("with an empty path", &|labels| labels.get("path").is_some_and(String::is_empty));
    some("with an empty namespace", &|labels| labels["ingress_namespace"].is_empty());
    some("without a path, since it was no UTF-8", &|labels| !labels.contains_key("path"));
    assert!(all.keys().all(|labels| labels["status"] != "9" && labels["status"] != "009"));
}

#[test]
fn the_corpus_gives_promtails_series() {
    let Some(folder) = corpus::whole("the series of home-k8s") else { return };
    let node = Node::new();
    check(&folder.join("pods"), &node);
}

/// The author's own file, word for word but for three places: where the API, the logs and the database are. Inside his
/// cluster the first is known, and the others are as he writes them.
const AS_IT_STANDS: &str = include_str!("config/home-k8s-promtail.good.yaml");

fn as_it_stands(pods: &Path, node: &Node, flags: &[&str]) -> Finished {
    let api = KubeApi::with(pods_of_tree(
        pods,
        &json!({"app.kubernetes.io/name": "ingress-nginx", "app.kubernetes.io/managed-by": "Helm", "tier": "x"}),
    ));
    let (city, file) = (node.path("city.mmdb"), node.path("promtail.yaml"));
    database(&city);
    let text = AS_IT_STANDS
        .replace("- role: pod\n", &format!("- role: pod\n        api_server: {}\n", api.url()))
        .replace("/var/log/pods", pods.to_str().expect("a path in UTF-8"))
        .replace("/etc/maxmind/GeoLite2-City.mmdb", city.to_str().expect("a path in UTF-8"));
    fs::write(&file, text).expect("a configuration");
    let mut command = weir(&["-config.file", file.to_str().expect("a path in UTF-8"), "-one-shot"]);
    command.args(flags).env("HOSTNAME", "node-a");
    finish(command, b"")
}

#[test]
fn the_authors_own_file_finds_its_pods_by_the_api_and_gives_promtails_series() {
    let node = Node::demo();
    let run = as_it_stands(&node.pods(), &node, &[]);
    let families = parse_text(run.assert_code(0).stdout.as_bytes()).expect("an exposition");
    compare(&families, &node.pods());
    // What goes to Loki has the pods' labels but for those that he drops.
    let run = as_it_stands(&node.pods(), &node, &["-dry-run"]);
    let controller = "ingress-nginx-controller-6c4f9b7d5-x8k2p";
    let stream = format!(
        r#"{{app_kubernetes_io_name="ingress-nginx", container="controller", filename="{}", job="ingress-nginx/{controller}", namespace="ingress-nginx", pod="{controller}", stream="stdout", tier="x"}}"#,
        node.pods().join(D2_POD).join("controller/0.log").display()
    );
    assert!(run.assert_code(0).stdout.contains(&stream), "{}", run.stdout.lines().next().unwrap_or_default());
}

#[test]
fn the_authors_own_file_gives_promtails_series_of_the_corpus() {
    let Some(folder) = corpus::whole("the series of home-k8s by the API") else { return };
    let node = Node::new();
    let run = as_it_stands(&folder.join("pods"), &node, &[]);
    let families = parse_text(run.assert_code(0).stdout.as_bytes()).expect("an exposition");
    compare(&families, &folder.join("pods"));
}

#[test]
fn nothing_of_the_controllers_is_forwarded_by_the_job_of_metrics() {
    let node = Node::demo();
    let outcome = one_shot(&over(HOME_K8S, &node.pods(), &node.path("none.mmdb")));
    let books = outcome.job("ingress-nginx-metrics");
    let dropped: u64 = books.dropped.iter().map(|(_, lines)| lines).sum();
    assert_eq!(dropped, books.counted + books.refused_total(), "{books}");
    // Without a database there are no places, and the counts are the same.
    let family = outcome.family("promtail_custom_http_requests_total_ip");
    assert!(family.samples.iter().all(|sample| sample.labels.len() == 1));
    assert_eq!(
        outcome.sum("promtail_custom_http_requests_total_ip"),
        outcome.sum("promtail_custom_http_requests_total")
    );
}
