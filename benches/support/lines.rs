//! Lines of an ingress-nginx controller: access lines of about 830 bytes and some of ModSecurity's, as the container
//! runtime writes them. Of one seed they are always the same.

use super::random::{Random, Zipf};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

const CLIENTS: usize = 20_000;
const CLIENTS_IPV6_PERCENT: usize = 3;
const INGRESSES: usize = 40;
const NAMESPACES: [&str; 6] = ["shop", "blog", "grafana", "gitea", "photos", "auth"];
const ESCAPES_PERCENT: usize = 1;
const MODSECURITY_PERCENT: usize = 2;
/// 2026-11-21T02:25:48Z.
const BEGIN_SECONDS: u64 = 1_795_227_948;

const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "okhttp/4.12.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Go-http-client/2.0",
    "kube-probe/1.30",
];
/// As nginx escapes them in JSON.
const AGENTS_ESCAPED: [&str; 2] = [
    r#"Mozilla/5.0 (\"odd\"; C:\\Windows\\System32) AppleWebKit/537.36 (KHTML, like Gecko)\tChrome/126.0.0.0"#,
    r"caf\u00e9-fetcher/2.0 (\u001b[31m) libcurl/8.5.0 OpenSSL/3.0.13 zlib/1.3 brotli/1.1.0 nghttp2/1.59.0",
];
const SECTIONS: [&str; 8] = ["item", "list", "search", "cart", "account", "img", "api/v1/orders", "static/js"];
const STATUSES: [&str; 20] = [
    "200", "200", "200", "200", "200", "200", "200", "200", "200", "200", "200", "200", "200", "304", "304", "302",
    "404", "404", "401", "503",
];
const METHODS: [&str; 10] = ["GET", "GET", "GET", "GET", "GET", "GET", "GET", "POST", "POST", "HEAD"];

/// Which container runtime writes, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON of 25 keys in CRI lines.
    Json,
    /// The controller's own format, `upstreaminfo`, in CRI lines.
    Text,
    /// JSON of 25 keys in the lines of docker's json-file.
    Docker,
}

/// One request.
struct Access {
    address: String,
    ingress: usize,
    method: &'static str,
    status: &'static str,
    path: String,
    query: String,
    agent: &'static str,
    referrer: String,
    request_bytes: usize,
    response_bytes: usize,
    millis: usize,
    id: u128,
    port: usize,
}

pub struct Lines {
    format: Format,
    random: Random,
    clients: Zipf,
    ingresses: Zipf,
    paths: Zipf,
    nanos: u64,
    /// Of ModSecurity, beside those of requests.
    text: String,
}

impl Lines {
    pub fn new(format: Format, seed: u64) -> Self {
        Lines {
            format,
            random: Random::new(seed),
            clients: Zipf::new(CLIENTS),
            ingresses: Zipf::new(INGRESSES),
            paths: Zipf::new(1_000),
            nanos: 0,
            text: String::new(),
        }
    }

    /// Appends the next line.
    pub fn append(&mut self, out: &mut Vec<u8>) {
        let access = self.access();
        let seconds = BEGIN_SECONDS + self.nanos / 1_000_000_000;
        self.text.clear();
        let stream = if self.random.percent(MODSECURITY_PERCENT) {
            modsecurity(&mut self.text, &access, seconds);
            "stderr"
        } else {
            match self.format {
                Format::Text => upstreaminfo(&mut self.text, &access, seconds),
                Format::Json | Format::Docker => json(&mut self.text, &access, seconds),
            }
            "stdout"
        };
        // As Go prints RFC 3339: without zeros at the end.
        let fraction = format!("{:09}", self.nanos % 1_000_000_000);
        let time = format!("{}.{}Z", date_time(seconds), fraction.trim_end_matches('0'));
        if self.format == Format::Docker {
            out.extend_from_slice(b"{\"log\":\"");
            for byte in self.text.bytes() {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(byte);
            }
            out.extend_from_slice(format!("\\n\",\"stream\":\"{stream}\",\"time\":\"{time}\"}}\n").as_bytes());
        } else {
            out.extend_from_slice(format!("{time} {stream} F {}\n", self.text).as_bytes());
        }
    }

    fn access(&mut self) -> Access {
        let r = &mut self.random;
        self.nanos += 1 + r.below(1_900_000) as u64;
        let (ingress, page) = (self.ingresses.rank(r), self.paths.rank(r));
        let host = format!("{}-{ingress}.example.org", NAMESPACES[ingress % NAMESPACES.len()]);
        let section = SECTIONS[page % SECTIONS.len()];
        let query = match r.below(3) {
            0 => String::new(),
            1 => format!("page={}&sort=price", r.below(50)),
            _ => format!("v={:08x}", r.below(1 << 28)),
        };
        Access {
            address: address(self.clients.rank(r)),
            ingress,
            method: r.pick(&METHODS),
            status: if r.below(200) == 0 { "429" } else { r.pick(&STATUSES) },
            path: format!("/{}/{section}/{page}", NAMESPACES[ingress % NAMESPACES.len()]),
            query,
            agent: if r.percent(ESCAPES_PERCENT) { r.pick(&AGENTS_ESCAPED) } else { r.pick(&AGENTS) },
            referrer: if r.percent(20) { format!("https://{host}/") } else { String::new() },
            request_bytes: 200 + r.below(900),
            response_bytes: r.below(100_000),
            millis: r.below(40) * r.below(40),
            id: (u128::from(r.next()) << 64) | u128::from(r.next()),
            port: 1024 + r.below(60_000),
        }
    }
}

/// The address of a client by its rank.
pub fn address(rank: usize) -> String {
    let mut random = Random::new(rank as u64 ^ 0x5eed);
    if random.percent(CLIENTS_IPV6_PERCENT) {
        let (high, low) = (random.next(), random.next());
        let prefix = 0x2001_0000 | (high as u128 & 0xfff) << 4;
        return Ipv6Addr::from(prefix << 96 | u128::from(high >> 32) << 64 | u128::from(low)).to_string();
    }
    let [a, b, c, d, ..] = random.next().to_le_bytes();
    // Public addresses: no lookup ends before the tree's leaves.
    let a = if matches!(a, 0 | 10 | 100 | 127 | 169 | 172 | 192 | 198 | 203 | 224..) { 80 + a % 16 } else { a };
    Ipv4Addr::new(a, b, c, d).to_string()
}

fn request(access: &Access) -> String {
    let mark = if access.query.is_empty() { "" } else { "?" };
    format!("{} {}{mark}{} HTTP/2.0", access.method, access.path, access.query)
}

fn json(out: &mut String, access: &Access, seconds: u64) {
    let Access { address, ingress, method, status, path, query, agent, referrer, .. } = access;
    let namespace = NAMESPACES[ingress % NAMESPACES.len()];
    let _ = write!(
        out,
        "{{\"time\": \"{time}+00:00\", \"remote_address\": \"{address}\", \"request\": \"{request}\", \"status\": {status}, \
         \"http_user_agent\": \"{agent}\", \"request_length\": {length}, \"body_bytes_sent\": \"{sent}\", \
         \"http_referrer\": \"{referrer}\", \"request_time\": {seconds:.3}, \
         \"host\": \"{namespace}-{ingress}.example.org\", \"request_id\": \"{id:032x}\", \"x_forwarded_for\": \"{address}\", \
         \"remote_user\": \"\", \"ingress_namespace\": \"{namespace}\", \"path\": \"{path}\", \"request_proto\": \"HTTP/2.0\", \
         \"method\": \"{method}\", \"request_query\": \"{query}\", \"service_name\": \"web-{ingress}\", \
         \"service_port\": \"80\", \"upstream_addr\": \"10.42.{pod}.17:8080\", \"upstream_status\": \"{status}\", \
         \"upstream_response_time\": \"{seconds:.3}\", \"proxy_upstream_name\": \"{namespace}-web-{ingress}-80\", \
         \"ingress_name\": \"{namespace}-{ingress}\"}}",
        time = date_time(seconds),
        request = request(access),
        length = access.request_bytes,
        sent = access.response_bytes,
        seconds = access.millis as f64 / 1000.0,
        id = access.id,
        pod = access.port % 250,
    );
}

fn upstreaminfo(out: &mut String, access: &Access, seconds: u64) {
    let Access { address, ingress, status, agent, .. } = access;
    let namespace = NAMESPACES[ingress % NAMESPACES.len()];
    let time = date_time(seconds);
    let _ = write!(
        out,
        "{address} - - [{day}/Nov/2026:{clock} +0000] \"{request}\" {status} {sent} \
         \"{referrer}\" \"{agent}\" {length} {seconds:.3} \
         [{namespace}-web-{ingress}-80] [] 10.42.{pod}.17:8080 {sent} {seconds:.3} {status} {id:032x}",
        day = &time[8..10],
        clock = &time[11..],
        request = request(access),
        sent = access.response_bytes,
        length = access.request_bytes,
        seconds = access.millis as f64 / 1000.0,
        referrer = if access.referrer.is_empty() { "-" } else { &access.referrer },
        pod = access.port % 250,
        id = access.id,
    );
}

/// A rule that matched, or the one that blocks.
fn modsecurity(out: &mut String, access: &Access, seconds: u64) {
    let Access { address, ingress, path, method, .. } = access;
    let namespace = NAMESPACES[ingress % NAMESPACES.len()];
    let time = date_time(seconds).replace('-', "/").replace('T', " ");
    let unique = format!("{}.{:06}", access.id % 1_000_000_000_000, access.port);
    let (what, rule) = if access.port.is_multiple_of(4) {
        (
            "Access denied with code 403 (phase 2). Matched \"Operator `Ge' with parameter `5' against variable \
             `TX:BLOCKING_INBOUND_ANOMALY_SCORE' (Value: `10' )",
            "[file \"/etc/nginx/owasp-modsecurity-crs/rules/REQUEST-949-BLOCKING-EVALUATION.conf\"] [line \"222\"] \
             [id \"949110\"] [rev \"\"] [msg \"Inbound Anomaly Score Exceeded (Total Score: 10)\"] [data \"\"] \
             [severity \"0\"] [ver \"OWASP_CRS/4.22.0\"] [maturity \"0\"] [accuracy \"0\"] [tag \"anomaly-evaluation\"]",
        )
    } else {
        (
            "Warning. Matched \"Operator `PmFromFile' with parameter `java-classes.data' against variable \
             `REQUEST_HEADERS:Cookie' (Value: `test=java.io.FilterInputStream' )",
            "[file \"/etc/nginx/owasp-modsecurity-crs/rules/REQUEST-944-APPLICATION-ATTACK-JAVA.conf\"] [line \"120\"] \
             [id \"944130\"] [rev \"\"] [msg \"Suspicious Java class detected\"] [data \"Matched Data: test=java.io\"] \
             [severity \"2\"] [ver \"OWASP_CRS/4.22.0\"] [maturity \"0\"] [accuracy \"0\"] [tag \"language-java\"] \
             [tag \"attack-rce\"] [tag \"paranoia-level/1\"] [tag \"OWASP_CRS\"] [tag \"OWASP_CRS/ATTACK-JAVA\"]",
        )
    };
    let _ = write!(
        out,
        "{time} [error] 31#31: *{port} [client {address}] ModSecurity: {what} {rule} [hostname \"{namespace}-{ingress}.example.org\"] \
         [uri \"{path}\"] [unique_id \"{unique}\"] [ref \"\"], client: {address}, server: {namespace}-{ingress}.example.org, \
         request: \"{method} {path} HTTP/2.0\", host: \"{namespace}-{ingress}.example.org\"",
        port = access.port,
    );
}

/// `2026-11-21T02:25:48` of a time in November 2026.
fn date_time(seconds: u64) -> String {
    const DAY_21: u64 = 1_795_219_200;
    let since = seconds - DAY_21;
    let (day, of_day) = (21 + since / 86_400, since % 86_400);
    format!("2026-11-{day:02}T{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}
