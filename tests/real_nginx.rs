//! What nginx with ModSecurity and its Core Rule Set logs, against what a client saw: status by status, and every
//! request that was blocked.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::agent::{Agent, Page};
use support::http::{exchange, parse};
use support::kubelet;
use support::process::{Process, eventually, finish, free_port, real_parts, weir};
use tempfile::TempDir;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/kubernetes.yaml");

/// `FOLDER` and `PORT` are the test's own. The formats are home-k8s' and the controller's default; ingress-nginx sets
/// the variables in each location.
const NGINX: &str = r#"
daemon off;
# One process: nothing is left behind, whoever ends it.
master_process off;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log info;
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_modsecurity_module.so;
events { worker_connections 256; }
http {
  client_body_temp_path FOLDER/tmp; proxy_temp_path FOLDER/tmp; fastcgi_temp_path FOLDER/tmp;
  uwsgi_temp_path FOLDER/tmp; scgi_temp_path FOLDER/tmp;
  uninitialized_variable_warn off; default_type text/plain; large_client_header_buffers 4 8k; client_max_body_size 4k;
  log_format home escape=json '{"time": "$time_iso8601", "remote_address": "$remote_addr", "request": "$request", "status": $status, "http_user_agent": "$http_user_agent", "request_length": $request_length, "body_bytes_sent": "$body_bytes_sent", "http_referrer": "$http_referer", "request_time": $request_time, "host": "$host", "request_id": "$request_id", "x_forwarded_for": "$proxy_add_x_forwarded_for", "remote_user": "$remote_user", "ingress_namespace": "$namespace", "path": "$uri", "request_proto": "$server_protocol", "method": "$request_method", "request_query": "$args", "service_name": "$service_name", "service_port": "$service_port", "upstream_addr": "$upstream_addr","ingress_name": "$ingress_name"}';
  log_format upstreaminfo '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $request_id';
  access_log FOLDER/access.json home;
  access_log FOLDER/access.text upstreaminfo;
  server {
    listen 127.0.0.1:PORT;
    server_name shop.example;
    root FOLDER/www;
    set $namespace shop; set $ingress_name storefront; set $service_name web; set $service_port 80;
    set $proxy_upstream_name shop-web-80; set $proxy_alternative_upstream_name "";
    modsecurity on;
    modsecurity_rules '
      SecRuleEngine On
      SecRequestBodyAccess On
      SecAuditEngine Off
      SecTmpDir FOLDER/tmp
      SecDataDir FOLDER/tmp
      Include /etc/modsecurity/crs/crs-setup.conf
      Include /usr/share/modsecurity-crs/rules/*.conf
    ';
    location /private/ { auth_basic shop; auth_basic_user_file FOLDER/users; }
    location /own-403/ { deny all; }
    location /gone/ { return 410; }
    location /quiet/ { return 444; }
    location /moved/ { return 308 https://shop.example/; }
    location /dead/ { proxy_connect_timeout 1s; proxy_pass http://127.0.0.1:1; }
  }
}
"#;

/// All three files by themselves, as on a machine without Kubernetes.
const DIRECT: &str = r#"
scrape_configs:
  - job_name: json
    static_configs: [{labels: {__path__: FOLDER/access.json}}]
    pipeline_stages:
      - ingress_nginx: {format: json}
      - metrics:
          json_total: {type: Counter, prefix: t_, labels: {status: , method: , client: }, source: status, config: {action: inc}}
  - job_name: text
    static_configs: [{labels: {__path__: FOLDER/access.text}}]
    pipeline_stages:
      - ingress_nginx: {format: text}
      - metrics:
          text_total: {type: Counter, prefix: t_, labels: {status: , method: , client: }, source: status, config: {action: inc}}
  - job_name: waf
    static_configs: [{labels: {__path__: FOLDER/error.log}}]
    pipeline_stages:
      - modsecurity: {}
      - metrics:
          events_total: {type: Counter, prefix: t_, labels: {rule_id: , action: , code: }, source: action, config: {action: inc}}
          blocked_total: {type: Counter, prefix: t_, labels: {client: }, source: blocked_transaction, config: {action: inc}}
"#;

struct Nginx {
    process: Process,
    folder: TempDir,
    address: SocketAddr,
}

impl Nginx {
    fn start() -> Nginx {
        let folder = TempDir::new().expect("a folder");
        for name in ["tmp", "www", "www/private"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        fs::write(folder.path().join("www/index.html"), "hello\n").expect("written");
        fs::write(folder.path().join("users"), "").expect("written");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = fill(NGINX, folder.path()).replace("PORT", &address.port().to_string());
        fs::write(folder.path().join("nginx.conf"), config).expect("written");
        let mut command = Command::new("nginx");
        command.args(["-p", text(folder.path()), "-e", "stderr", "-c", text(&folder.path().join("nginx.conf"))]);
        let mut process = Process::start(command);
        eventually("nginx", || match std::net::TcpStream::connect(address) {
            // It is closed without a word, which nginx does not log as a request.
            Ok(_) => Ok(()),
            Err(error) if process.has_ended() => panic!("nginx ended: {error}\n{}", process.stderr()),
            Err(error) => Err(error.to_string()),
        });
        Nginx { process, folder, address }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends a request and says what came back; a connection that is closed without an answer is nginx's 444.
    fn status(&self, bytes: &[u8]) -> u16 {
        match exchange(self.address, bytes) {
            Ok(answer) if answer.is_empty() => 444,
            Ok(answer) => {
                parse(&answer).unwrap_or_else(|why| panic!("{why}: {:?}", String::from_utf8_lossy(bytes))).status
            }
            Err(why) => panic!("{why}: {:?}", String::from_utf8_lossy(bytes)),
        }
    }

    /// Ends nginx, so that its logs are complete; their folder stays.
    fn stop(mut self) -> TempDir {
        self.process.signal(rustix::process::Signal::TERM);
        assert_eq!(self.process.wait(), Some(0), "{}", self.process.stderr());
        self.folder
    }
}

fn fill(text: &str, folder: &Path) -> String {
    text.replace("FOLDER", self::text(folder))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

fn request(method: &str, target: &[u8], headers: &str, body: &str) -> Vec<u8> {
    let mut bytes = format!("{method} ").into_bytes();
    bytes.extend_from_slice(target);
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!(
        " HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 \"quoted\\\r\nAccept: */*\r\n\
         Connection: close\r\n{headers}{length}\r\n{body}"
    );
    bytes.extend_from_slice(head.as_bytes());
    bytes
}

/// Requests, each with the status that it must have; 0 is any, as nginx and the rules decide.
fn requests() -> Vec<(Vec<u8>, u16)> {
    let get = |target: &str| request("GET", target.as_bytes(), "", "");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let login = "Authorization: Basic YWRtaW46d3Jvbmc=\r\n";
    let mut list = Vec::new();
    for n in 0..40 {
        list.push((get(&format!("/?page={n}")), 200));
        list.push((get(&format!("/missing/{n}")), 404));
        list.push((get(&format!("/private/{n}")), 401));
    }
    for n in 0..10 {
        for attack in [
            format!("/?q=%3Cscript%3Ealert({n})%3C/script%3E"),
            format!("/?id={n}%20UNION%20SELECT%20password%20FROM%20users--"),
            format!("/?file=../../../../etc/passwd&n={n}"),
            format!("/?run=;cat%20/etc/passwd;{n}"),
            // Keys of ModSecurity's own lines, forged.
            format!("/?x=%22]%20[id%20%22{n}%22]%20[msg%20%22%3Cscript%3Ealert(1)%3C/script%3E%22]"),
        ] {
            list.push((get(&attack), 403));
        }
        list.push((request("POST", b"/", form, &format!("a=1%27%20or%20%271%27%3D%271&n={n}")), 403));
        list.push((get(&format!("/own-403/{n}")), 403));
        list.push((get(&format!("/gone/{n}")), 410));
        list.push((get(&format!("/quiet/{n}")), 444));
        list.push((get(&format!("/moved/{n}")), 308));
        list.push((get(&format!("/dead/{n}")), 502));
        list.push((request("HEAD", format!("/?{n}").as_bytes(), "", ""), 200));
        list.push((request("GET", format!("/private/login{n}").as_bytes(), login, ""), 0));
        list.push((request("POST", b"/", form, &"a".repeat(5000 + n)), 413));
        for method in ["PUT", "DELETE", "PROPFIND", "TRACE", "OPTIONS", "GARBAGE", "G-T", "get"] {
            list.push((request(method, format!("/?{n}").as_bytes(), "", ""), 0));
        }
        let mut broken = format!("/caf\u{e9}/{n}/").into_bytes();
        broken.extend_from_slice(b"\xff\xfe\xc0\x80");
        list.push((request("GET", &broken, "", ""), 0));
        list.push((get(&format!("/caf%E9/%FF%C0%80/{n}")), 0));
        list.push((get(&format!("/%00{n}")), 400));
        list.push((get(&format!("/{}", "long/".repeat(500 + n))), 0));
        list.push((get(&format!("/?{}", "q".repeat(10_000 + n))), 414));
        list.push((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400));
        list.push((format!("GET /{n} HTTP/9.9\r\n\r\n").into_bytes(), 505));
        list.push((b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400));
        list.push((b"\"quoted\\ \xff\xff\r\n\r\n".to_vec(), 400));
        list.push((request("GET", b"/", &format!("X-Big: {}\r\n", "h".repeat(9000)), ""), 400));
        list.push((request("GET", b"/", "Content-Length: none\r\n", ""), 400));
    }
    list
}

type ByStatus = BTreeMap<String, u64>;

fn by_status(page: &Page, metric: &str) -> ByStatus {
    let mut sums = ByStatus::new();
    for (labels, value) in page.series(metric, &[]) {
        let status = labels.iter().find(|(name, _)| name == "status").map_or("", |(_, value)| value.as_str());
        *sums.entry(status.to_string()).or_default() += value as u64;
    }
    sums
}

fn line_count(path: &Path) -> u64 {
    let bytes = fs::read(path).expect("a log");
    assert!(bytes.ends_with(b"\n"), "{} ends in a line", path.display());
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

/// Lines as containerd writes them: in pieces of at most 16 KiB.
fn as_cri(log: &[u8], stream: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in log.strip_suffix(b"\n").unwrap_or(log).split(|b| *b == b'\n') {
        let mut pieces = line.chunks(16 * 1024).peekable();
        if line.is_empty() {
            out.extend_from_slice(format!("2026-11-21T02:26:02.000000000Z {stream} F \n").as_bytes());
        }
        while let Some(piece) = pieces.next() {
            let tag = if pieces.peek().is_some() { 'P' } else { 'F' };
            out.extend_from_slice(format!("2026-11-21T02:26:02.000000000Z {stream} {tag} ").as_bytes());
            out.extend_from_slice(piece);
            out.push(b'\n');
        }
    }
    out
}

#[test]
fn counts_are_what_the_client_saw() {
    if !real_parts("nginx with ModSecurity") {
        return;
    }
    let nginx = Nginx::start();
    let config = nginx.path("weir.yaml");
    fs::write(&config, fill(DIRECT, nginx.folder.path())).expect("written");
    let agent = Agent::start(&config, &[]);

    let (mut seen, mut own_403, mut refused, mut total) = (ByStatus::new(), 0, 0, 0);
    for (bytes, wanted) in requests() {
        let status = nginx.status(&bytes);
        let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        assert!(wanted == 0 || status == wanted, "{status}, not {wanted}: {:?}", shown());
        *seen.entry(status.to_string()).or_default() += 1;
        own_403 += u64::from(bytes.starts_with(b"GET /own-403/"));
        // Answered before all headers were read: a proxy would not have been asked for its client yet.
        refused += u64::from(matches!(status, 400 | 414 | 505) || bytes.starts_with(b"TRACE "));
        total += 1;
    }
    let folder = nginx.stop();
    let path = |name: &str| folder.path().join(name);
    assert_eq!(line_count(&path("access.json")), total);
    let blocked = seen["403"] - own_403;
    assert!(blocked >= 60, "{seen:?}");

    // Live, each file by itself.
    agent.until_read("json", total);
    agent.until_read("text", total);
    let page = agent.until_read("waf", line_count(&path("error.log")));
    page.assert_balanced();
    for metric in ["t_json_total", "t_text_total"] {
        assert_eq!(by_status(&page, metric), seen, "{metric}");
        assert_eq!(page.get(metric, &[("client", "127.0.0.1")]), (total - refused) as f64, "{metric}");
        assert_eq!(page.get(metric, &[]), total as f64, "{metric}");
        assert_eq!(page.get(metric, &[("method", "PROPFIND")]), 10.0, "{metric}");
        assert_eq!(page.get(metric, &[("method", "__other__")]), 20.0, "GARBAGE and G-T; {metric}\n{}", page.text);
    }
    assert_eq!(page.get("t_blocked_total", &[("client", "127.0.0.1")]), blocked as f64, "{}", page.text);
    let denied = [("rule_id", "949110"), ("action", "blocked"), ("code", "403")];
    assert_eq!(page.get("t_events_total", &denied), blocked as f64, "{}", page.text);
    for rule in ["941100", "942100", "930100", "932160", "911100"] {
        assert!(
            page.get("t_events_total", &[("rule_id", rule), ("action", "detected")]) >= 10.0,
            "{rule}: {}",
            page.text
        );
    }

    // As a pod's log, by the shipped configuration, in each format.
    for format in ["access.json", "access.text"] {
        let node = kubelet::Node::new();
        let mut log = as_cri(&fs::read(path(format)).expect("a log"), "stdout");
        log.extend(as_cri(&fs::read(path("error.log")).expect("a log"), "stderr"));
        node.log(kubelet::D1_POD, "0.log", &log);
        let mut command = weir(&["-config.file", SHIPPED, "-config.expand-env", "-one-shot"]);
        command.env("WEIR_LOG_ROOT", node.pods());
        let end = finish(command, b"");
        end.assert_code(0);
        let page = Page::of_text(end.stdout.as_bytes());
        assert_eq!(by_status(&page, "weir_http_requests_total"), seen, "{format}: {}", end.stderr);
        assert_eq!(page.get("weir_waf_blocked_requests_total", &[]), blocked as f64, "{format}");
        let denied = [("rule_id", "949110"), ("action", "blocked")];
        assert_eq!(page.get("weir_waf_events_total", &denied), blocked as f64, "{format}");
        let failures = page.get("weir_http_auth_failures_total", &[]);
        assert_eq!(failures, seen["401"] as f64, "{format}");
    }
}
