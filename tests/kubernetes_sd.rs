//! `kubernetes_sd_configs` against an API server over real HTTP: what is found, and what changes, breaks and comes back.

mod support;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use support::agent::Agent;
use support::kube_api::pods::pod;
use support::kube_api::tls::Identity;
use support::kube_api::{KubeApi, Mood};
use support::process::{eventually, finish, weir};
use support::shipped;
use weir::clock::SystemClock;
use weir::config::Config;
use weir::diagnostic::Diagnostics;
use weir::discovery::kubernetes::{PodQuery, Surroundings, watch};
use weir::discovery::{Discovery, Found, HostTree, PodLists, SourceConfig};
use weir::relabel::Rules;

/// The watches of a configuration, on a thread of their own.
struct Watching {
    config: Config,
    lists: PodLists,
}

impl Watching {
    fn start(text: &str) -> Watching {
        let config = shipped::config(text, &[]);
        let watching = Watching { config, lists: PodLists::default() };
        let queries: Vec<Arc<PodQuery>> = watching.queries();
        let around = Surroundings {
            node_name: "node-a".into(),
            lists: watching.lists.clone(),
            clock: Arc::new(SystemClock),
            wake: Arc::new(|| ()),
            tell: |_| (),
        };
        watching.lists.watch(&queries);
        for query in queries {
            let around = around.clone();
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(watch(query, around));
            });
        }
        watching
    }

    fn queries(&self) -> Vec<Arc<PodQuery>> {
        let sources = self.config.scrape_configs.iter().flat_map(|job| &job.sources);
        let queries = sources.filter_map(|source| match source {
            SourceConfig::Kubernetes(config) => Some(Arc::clone(&config.query)),
            _ => None,
        });
        queries.collect()
    }

    /// What a job finds now.
    fn found(&self, job: usize) -> Arc<Found> {
        let job = &self.config.scrape_configs[job];
        let rules = Rules::compile(&job.relabel_configs, &mut Diagnostics::new()).expect("rules");
        Discovery::new(job.sources.clone(), rules, "node-a").refresh(&HostTree, &self.lists)
    }

    /// The labels of a job's targets, once they are these.
    #[track_caller]
    fn until(&self, job: usize, wanted: &[&str]) -> Arc<Found> {
        eventually("these targets", || {
            let found = self.found(job);
            let labels: Vec<String> = found.targets.iter().map(|target| target.labels.to_string()).collect();
            if labels == wanted && !found.partial { Ok(found) } else { Err(format!("{labels:#?}")) }
        })
    }
}

/// A job `pods` over an API server, with these rules beside a path.
fn config(api: &KubeApi, more: &str, rules: &str) -> String {
    format!(
        "scrape_configs:
- job_name: pods
  kubernetes_sd_configs:
  - role: pod
    api_server: {}
{more}
  relabel_configs:
  - {{source_labels: [__meta_kubernetes_pod_uid], replacement: /none/*$1/*.log, target_label: __path__}}
{rules}
",
        api.url()
    )
}

const NAME_AND_VERSION: &str = "
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
  - {source_labels: [__meta_kubernetes_pod_label_v], target_label: v}
";

fn simple(name: &str, version: &str) -> Value {
    pod("shop", name, &format!("uid-{name}"), &json!({ "v": version }), &["c"])
}

/// The service account's way: a certificate in a file that vouches for the server, and a token in another one.
#[test]
fn behind_tls_the_server_is_known_by_its_authority_and_we_by_our_token() {
    let server = Identity::of("127.0.0.1");
    let api = KubeApi::start_tls(server.server(None));
    api.set_token("first");
    api.put(simple("web", "1"));
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (ca, token) = (file("ca.crt", &server.certificate), file("token", "first\n"));
    let http = |ca: &str| format!("    bearer_token_file: {token}\n    tls_config: {{ca_file: {ca}}}");

    // Another server's word is not enough, and it is told nothing.
    let other = file("other.crt", &Identity::of("127.0.0.1").certificate);
    let stranger = Watching::start(&config(&api, &http(&other), NAME_AND_VERSION));
    let watching = Watching::start(&config(&api, &http(&ca), NAME_AND_VERSION));
    watching.until(0, &[r#"{pod="web", v="1"}"#]);
    assert!(stranger.found(0).targets.is_empty(), "{:?}", api.requests());

    // The kubelet gives a new token, and the old one expires.
    file("token", "second\n");
    api.set_token("second");
    api.reset();
    api.put(simple("web", "2"));
    watching.until(0, &[r#"{pod="web", v="2"}"#]);
}

#[test]
fn a_kubeconfig_may_hold_the_certificates_itself() {
    let (server, agent) = (Identity::of("127.0.0.1"), Identity::of("agent"));
    let api = KubeApi::start_tls(server.server(Some(&agent)));
    api.put(simple("web", "1"));
    let data = |pem: &str| BASE64_STANDARD.encode(pem);
    let kubeconfig = format!(
        "apiVersion: v1
kind: Config
current-context: there
contexts: [{{name: there, context: {{cluster: home, user: agent}}}}]
clusters: [{{name: home, cluster: {{server: '{}', certificate-authority-data: {}}}}}]
users: [{{name: agent, user: {{client-certificate-data: {}, client-key-data: {}}}}}]
",
        api.url(),
        data(&server.certificate),
        data(&agent.certificate),
        data(&agent.key)
    );
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("kubeconfig");
    fs::write(&file, kubeconfig).expect("written");
    let text = config(&api, "", NAME_AND_VERSION);
    let text = text.replace(&format!("api_server: {}", api.url()), &format!("kubeconfig_file: {}", file.display()));
    let watching = Watching::start(&text);
    watching.until(0, &[r#"{pod="web", v="1"}"#]);
}

#[test]
fn every_meta_label_that_promtail_knows_can_be_relabelled() {
    let mut whole = pod("shop", "web-0", "5f0c", &json!({"app.kubernetes.io/name": "web"}), &["app", "side"]);
    whole["metadata"]["annotations"] = json!({"prometheus.io/scrape": "true"});
    whole["metadata"]["ownerReferences"] = json!([{"kind": "StatefulSet", "name": "web", "controller": true}]);
    whole["spec"]["containers"][0]["ports"] = json!([{"name": "http", "containerPort": 8080, "protocol": "TCP"}]);
    whole["spec"]["initContainers"] = json!([{"name": "init", "image": "init:1"}]);
    whole["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "busybox"}]);
    let mut pending = simple("pending", "1");
    pending["status"] = json!({"phase": "Pending"});
    let mut elsewhere = simple("elsewhere", "1");
    elsewhere["spec"]["nodeName"] = json!("node-b");
    let api = KubeApi::with([whole, pending, elsewhere]);
    api.put_node(json!({"metadata": {"name": "node-a", "labels": {"zone": "z1"}}}));
    api.put_node(json!({"metadata": {"name": "node-b", "labels": {"zone": "z2"}}}));
    api.set_page_max(1);
    api.set_mood(Mood::Slow);
    let rules = "
  - {action: labelmap, regex: __meta_kubernetes_(.+)}
  - {source_labels: [__address__], target_label: address}
  - {source_labels: [__meta_kubernetes_pod_node_name], target_label: __host__}
";
    let watching = Watching::start(&config(&api, "    attach_metadata: {node: true}", rules));
    let node = r#"node_label_zone="z1", node_labelpresent_zone="true", node_name="node-a""#;
    let of_web = r#"pod_controller_kind="StatefulSet", pod_controller_name="web", pod_host_ip="192.168.1.2", pod_ip="10.42.0.7", pod_label_app_kubernetes_io_name="web", pod_labelpresent_app_kubernetes_io_name="true", pod_name="web-0", pod_node_name="node-a", pod_phase="Running", pod_ready="true", pod_uid="5f0c""#;
    let web = |address: &str, container: &str| {
        format!(
            r#"{{address="{address}", namespace="shop", {node}, pod_annotation_prometheus_io_scrape="true", pod_annotationpresent_prometheus_io_scrape="true", {container}, {of_web}}}"#
        )
    };
    let wanted = [
        web(
            "10.42.0.7:8080",
            r#"pod_container_id="containerd://app", pod_container_image="app:1", pod_container_init="false", pod_container_name="app", pod_container_port_name="http", pod_container_port_number="8080", pod_container_port_protocol="TCP""#,
        ),
        web(
            "10.42.0.7",
            r#"pod_container_id="containerd://side", pod_container_image="side:1", pod_container_init="false", pod_container_name="side""#,
        ),
        web("10.42.0.7", r#"pod_container_image="init:1", pod_container_init="true", pod_container_name="init""#),
        web("10.42.0.7", r#"pod_container_image="busybox", pod_container_init="false", pod_container_name="debug""#),
        format!(
            r#"{{namespace="shop", {node}, pod_container_image="c:1", pod_container_init="false", pod_container_name="c", pod_label_v="1", pod_labelpresent_v="true", pod_name="pending", pod_node_name="node-a", pod_phase="Pending", pod_ready="unknown", pod_uid="uid-pending"}}"#
        ),
    ];
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let found = watching.until(0, &wanted);
    assert_eq!(found.targets[0].path.as_str(), "/none/*5f0c/*.log");
    // No other node's pods are asked for, and they come in pages.
    let requests = api.requests();
    let pods: Vec<_> = requests.iter().filter(|request| request.starts_with("/api/v1/pods?")).collect();
    assert!(pods.iter().all(|request| request.contains("fieldSelector=spec.nodeName%3Dnode-a")), "{pods:#?}");
    assert!(pods[1].contains("&continue="), "{pods:#?}");
}

#[test]
fn what_changes_is_known_through_resets_ends_and_forgotten_versions() {
    let api = KubeApi::with([simple("a", "1")]);
    let watching = Watching::start(&config(&api, "", NAME_AND_VERSION));
    watching.until(0, &[r#"{pod="a", v="1"}"#]);
    api.put(simple("b", "1"));
    watching.until(0, &[r#"{pod="a", v="1"}"#, r#"{pod="b", v="1"}"#]);
    api.put(simple("a", "2"));
    watching.until(0, &[r#"{pod="a", v="2"}"#, r#"{pod="b", v="1"}"#]);
    api.bookmark();
    api.reset();
    api.put(simple("a", "3"));
    watching.until(0, &[r#"{pod="a", v="3"}"#, r#"{pod="b", v="1"}"#]);
    // Its files are still to be read.
    api.delete("uid-b");
    api.end_watches();
    for (version, in_line) in [("4", true), ("5", false)] {
        api.put(simple("a", version));
        api.forget(in_line);
        watching.until(0, &[&format!(r#"{{pod="a", v="{version}"}}"#), r#"{pod="b", v="1"}"#]);
    }
    api.set_mood(Mood::Garbage);
    api.reset();
    let asked = api.requests().len();
    eventually("a request that is answered by nonsense", || {
        if api.requests().len() > asked { Ok(()) } else { Err(String::new()) }
    });
    watching.until(0, &[r#"{pod="a", v="5"}"#, r#"{pod="b", v="1"}"#]);
    api.set_mood(Mood::Well);
    api.put(simple("a", "6"));
    watching.until(0, &[r#"{pod="a", v="6"}"#, r#"{pod="b", v="1"}"#]);
}

#[test]
fn a_token_that_expires_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = KubeApi::with([simple("a", "1")]);
    api.set_token("first");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write("token", "first\n");
    write(
        "kubeconfig",
        &format!(
            "current-context: x\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: '{}'}}}}]\nusers: [{{name: u, user: {{tokenFile: token}}}}]\n",
            api.url()
        ),
    );
    let kubeconfig = format!("kubeconfig_file: {}", folder.path().join("kubeconfig").display());
    let text = config(&api, "", NAME_AND_VERSION).replace(&format!("api_server: {}", api.url()), &kubeconfig);
    let watching = Watching::start(&text);
    watching.until(0, &[r#"{pod="a", v="1"}"#]);
    api.set_token("second");
    api.end_watches();
    api.put(simple("a", "2"));
    let refused = api.requests().len();
    eventually("a request with the old token", || {
        if api.requests().len() > refused { Ok(()) } else { Err(String::new()) }
    });
    write("token", "second\n");
    watching.until(0, &[r#"{pod="a", v="2"}"#]);
}

#[test]
fn namespaces_and_selectors_are_the_servers_business() {
    let other = pod("other", "o", "uid-o", &json!({"v": "1"}), &["c"]);
    let third = pod("third", "t", "uid-t", &json!({"v": "1"}), &["c"]);
    let api = KubeApi::with([simple("a", "1"), simple("b", "2"), other, third]);
    let more = "    namespaces: {names: [shop, other]}
    selectors: [{role: pod, label: v=1, field: status.phase=Running}]";
    let watching = Watching::start(&config(&api, more, NAME_AND_VERSION));
    watching.until(0, &[r#"{pod="o", v="1"}"#, r#"{pod="a", v="1"}"#]);
    let asked = "/api/v1/namespaces/shop/pods?limit=250&resourceVersion=0&labelSelector=v%3D1\
        &fieldSelector=status.phase%3DRunning%2Cspec.nodeName%3Dnode-a";
    assert!(api.requests().iter().any(|request| request == asked), "{:#?}", api.requests());
}

#[test]
fn a_pod_says_by_annotations_that_it_is_ignored_or_which_parser_it_wants() {
    let annotated = |name: &str, annotation: &str, value: &str| {
        let mut pod = simple(name, "1");
        pod["metadata"]["annotations"] = json!({ annotation: value });
        pod
    };
    let api = KubeApi::with([
        simple("plain", "1"),
        annotated("quiet", "weir.dev/ignore", "true"),
        annotated("web", "weir.dev/parser", "nginx"),
    ]);
    let job = |parser: &str, action: &str| {
        let rule = format!("  - {{source_labels: [{PARSER}], regex: {parser}, action: {action}}}");
        config(&api, "", &format!("{NAME_AND_VERSION}{rule}"))
    };
    let second = job("nginx", "keep").replace("scrape_configs:\n", "").replace("job_name: pods", "job_name: nginx");
    let watching = Watching::start(&(job(".+", "drop") + &second));
    let found = watching.until(0, &[r#"{pod="plain", v="1"}"#]);
    let reasons: Vec<&str> = found.dropped.iter().map(|dropped| dropped.reason.as_str()).collect();
    assert_eq!(reasons, ["ignored", "dropped"]);
    watching.until(1, &[r#"{pod="web", v="1"}"#]);
}

const PARSER: &str = "__meta_kubernetes_pod_annotation_weir_dev_parser";

/// A running agent over a tree of logs and an API server.
const AGENT: &str = "
state: {directory: STATE}
scrape_configs:
- job_name: pods
  kubernetes_sd_configs:
  - role: pod
    api_server: API
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_label_v], target_label: v}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
  - source_labels: [__meta_kubernetes_pod_uid, __meta_kubernetes_pod_container_name]
    separator: /
    target_label: __path__
    replacement: LOGS/*$1/*.log
  pipeline_stages:
  - cri: {}
  - metrics: {lines_total: {type: Counter, labels: {pod: , v: }, config: {match_all: true, action: inc}}}
";

struct Machine {
    folder: tempfile::TempDir,
    api: KubeApi,
}

impl Machine {
    fn new() -> Machine {
        let machine = Machine { folder: tempfile::tempdir().expect("a folder"), api: KubeApi::start() };
        machine.write_config("");
        machine
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write_config(&self, more: &str) {
        let text = AGENT.replace("STATE", &self.path("state")).replace("API", &self.api.url());
        fs::write(self.path("weir.yaml"), text.replace("LOGS", &self.path("pods")) + more).expect("a configuration");
    }

    /// More lines of a pod's container.
    fn log(&self, pod: &str, lines: usize) {
        let folder = self.path(&format!("pods/shop_{pod}_uid-{pod}/c"));
        fs::create_dir_all(&folder).expect("a folder");
        let file = Path::new(&folder).join("0.log");
        let before = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, before + &"2026-11-21T00:00:00Z stdout F line\n".repeat(lines)).expect("a log");
    }

    fn start(&self) -> Agent {
        Agent::start_with(Path::new(&self.path("weir.yaml")), &[], &[("HOSTNAME", "a-pod"), ("NODE_NAME", "node-a")])
    }
}

const LINES: &str = "promtail_custom_lines_total";

#[track_caller]
fn until_counted(agent: &Agent, pod: &str, version: &str, lines: u64) {
    agent.until(&format!("{lines} lines of {pod}, version {version}"), |page| {
        page.get(LINES, &[("pod", pod), ("v", version)]) == lines as f64
    });
}

#[test]
fn an_agent_reads_on_while_the_api_is_down_and_takes_up_what_changed() {
    let machine = Machine::new();
    machine.api.put(simple("a", "1"));
    machine.log("a", 3);
    let agent = machine.start();
    until_counted(&agent, "a", "1", 3);
    // Other labels hold for new lines; nothing is read twice, and nothing that was counted changes.
    machine.api.put(simple("a", "2"));
    agent.until("the new label", |_| {
        agent.get("/service-discovery").text().contains("v=&#34;2&#34;")
            || agent.get("/service-discovery").text().contains("v=\"2\"")
    });
    machine.log("a", 2);
    until_counted(&agent, "a", "2", 2);
    until_counted(&agent, "a", "1", 3);
    // Gone from the API, its last lines are still read.
    machine.api.delete("uid-a");
    machine.log("a", 1);
    until_counted(&agent, "a", "2", 3);
    machine.api.put(simple("a", "2"));
    machine.api.put(simple("b", "1"));
    machine.log("b", 4);
    until_counted(&agent, "b", "1", 4);
    agent.stop();

    // A start without the API: what was known goes on.
    machine.api.set_mood(Mood::Down);
    machine.log("a", 5);
    let agent = machine.start();
    until_counted(&agent, "a", "2", 8);
    machine.write_config("limits_config: {max_line_size: 1000}\n");
    agent.process.signal(rustix::process::Signal::HUP);
    agent.until("a reload", |_| agent.log().contains("configuration reloaded"));
    machine.log("b", 1);
    until_counted(&agent, "b", "1", 5);
    let page = agent.until("attempts", |page| {
        page.get("weir_discovery_kubernetes_restarts_total", &[("reason", "unreachable")]) >= 2.0
    });
    assert_eq!(page.get("weir_discovery_kubernetes_pods", &[]), 0.0, "none is known by the API yet");
    let warnings = agent.log().lines().filter(|line| line.contains("Kubernetes API")).count();
    assert_eq!(warnings, 1, "{}", agent.log());

    machine.api.put(simple("c", "1"));
    machine.log("c", 6);
    machine.api.set_mood(Mood::Well);
    until_counted(&agent, "c", "1", 6);
    until_counted(&agent, "a", "2", 8);
    until_counted(&agent, "b", "1", 5);
    let page = agent.scrape();
    assert_eq!(page.get("weir_discovery_kubernetes_pods", &[]), 3.0);
    assert!(page.get("weir_discovery_kubernetes_last_sync_age_seconds", &[]) < 60.0);
    assert!(agent.log().contains("tells of pods again"), "{}", agent.log());
    agent.stop();
}

#[test]
fn a_run_that_ends_waits_for_the_pods() {
    let machine = Machine::new();
    machine.api.put(simple("a", "1"));
    machine.log("a", 3);
    for (flags, expected) in [
        (&["-one-shot"][..], "promtail_custom_lines_total{pod=\"a\",v=\"1\"} 3"),
        (&["-one-shot", "-dry-run"], "pod=\"a\""),
    ] {
        let mut command = weir(&["-config.file", &machine.path("weir.yaml")]);
        command.args(flags).env("HOSTNAME", "node-a");
        let finished = finish(command, b"");
        finished.assert_code(0);
        assert!(finished.stdout.contains(expected), "{flags:?}: {}", finished.stdout);
    }
}
