//! The sources that a scrape config may name.

use super::kubernetes::KubernetesConfig;
use super::pod_directory::PodDirectoryConfig;
use super::static_config::StaticConfig;
use crate::diagnostic::Diagnostics;
use crate::span::Span;
use crate::yaml::{Fields, Value};

/// One item of one of the lists.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    Static(StaticConfig),
    PodDirectory(PodDirectoryConfig),
    Kubernetes(KubernetesConfig),
}

/// Promtail's other sources, and what to use instead.
const UNSUPPORTED: [(&str, &str); 25] = [
    ("file_sd_configs", STATIC),
    ("docker_sd_configs", DOCKER),
    ("journal", "have journald forward to a syslog daemon that writes files, and name these in `static_configs`"),
    ("syslog", "have a syslog daemon write files, and name these in `static_configs`"),
    ("loki_push_api", "have the senders push to Loki itself"),
    ("kafka", QUEUE),
    ("gelf", QUEUE),
    ("gcplog", QUEUE),
    ("cloudflare", QUEUE),
    ("heroku_drain", QUEUE),
    ("azure_event_hubs", QUEUE),
    ("windows_events", "weir runs on Linux; keep an agent of Windows' own there"),
    ("dockerswarm_sd_configs", DOCKER),
    ("consul_sd_configs", STATIC),
    ("consulagent_sd_configs", STATIC),
    ("digitalocean_sd_configs", STATIC),
    ("dns_sd_configs", STATIC),
    ("ec2_sd_configs", STATIC),
    ("openstack_sd_configs", STATIC),
    ("gce_sd_configs", STATIC),
    ("azure_sd_configs", STATIC),
    ("marathon_sd_configs", STATIC),
    ("nerve_sd_configs", STATIC),
    ("serverset_sd_configs", STATIC),
    ("triton_sd_configs", STATIC),
];
const STATIC: &str = "name the files in `static_configs`, with globs in `__path__`";
const DOCKER: &str =
    "name the files in `static_configs`: `__path__: /var/lib/docker/containers/*/*-json.log`, and a `docker` stage";
const QUEUE: &str = "weir reads files: keep another agent for this source";

impl SourceConfig {
    /// Reads the sources among the keys of a scrape config. Several may stand there; none is an error, and so is one
    /// that is not supported.
    pub fn read(fields: &mut Fields<'_>, diagnostics: &mut Diagnostics) -> Vec<SourceConfig> {
        let mut sources = Vec::new();
        let mut named = false;
        let list: Option<Vec<_>> = fields.optional("static_configs", diagnostics);
        sources.extend(list.into_iter().flatten().map(SourceConfig::Static));
        let list: Option<Vec<_>> = fields.optional("pod_directory_sd_configs", diagnostics);
        sources.extend(list.into_iter().flatten().map(SourceConfig::PodDirectory));
        let list: Option<Vec<KubernetesConfig>> = fields.optional("kubernetes_sd_configs", diagnostics);
        sources.extend(list.into_iter().flatten().map(SourceConfig::Kubernetes));
        for key in ["static_configs", "pod_directory_sd_configs", "kubernetes_sd_configs"] {
            named |= fields.key_span(key).is_some();
        }
        for (key, instead) in UNSUPPORTED {
            // Nothing at all, and a list of nothing, is no source to Promtail either.
            if fields
                .node(key)
                .is_some_and(|node| !node.is_null() && !matches!(&node.value, Value::List(items) if items.is_empty()))
            {
                named = true;
                diagnostics.error(place(fields, key), format!("`{key}` is not supported")).help(instead);
            }
        }
        if !named {
            diagnostics
                .error(fields.span(), "a scrape config needs a source")
                .help("add `static_configs`, `pod_directory_sd_configs` or `kubernetes_sd_configs`");
        }
        sources
    }
}

fn place(fields: &Fields<'_>, key: &str) -> Span {
    fields.key_span(key).unwrap_or(fields.span())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn read(text: &str) -> (usize, String) {
        let mut diagnostics = Diagnostics::new();
        let node = parse(text, &mut diagnostics).unwrap();
        let mut fields = Fields::new(&node, "a scrape config", &mut diagnostics).unwrap();
        let sources = SourceConfig::read(&mut fields, &mut diagnostics);
        fields.finish(&mut diagnostics);
        (sources.len(), diagnostics.sorted().iter().map(|d| d.render("f", text)).collect())
    }

    #[test]
    fn several_sources_may_stand_in_one_job() {
        let text = "static_configs: [{labels: {__path__: /a}}, {targets: [b]}]\npod_directory_sd_configs: [{}]\n";
        assert_eq!(read(text), (3, String::new()));
    }

    #[test]
    fn what_does_not_run_is_an_error_that_says_what_does() {
        for (text, expected) in [
            ("kubernetes_sd_configs: [{role: pods}]\n", "f:1:32: error: unknown role `pods`"),
            ("kubernetes_sd_configs: [{role: node}]\n", "the role `node` finds nothing that has log files"),
            (
                "kubernetes_sd_configs: [{role: pod, api_server: 'kube:6443'}]\n",
                "this `api_server` cannot be asked: it begins",
            ),
            ("kubernetes_sd_configs: [{role: pod, bearer_token: x}]\n", "options of the HTTP client need `api_server`"),
            (
                "kubernetes_sd_configs: [{role: pod, api_server: 'http://a', kubeconfig_file: /b}]\n",
                "either `api_server` or `kubeconfig_file` says where the API is, not both",
            ),
            (
                "kubernetes_sd_configs: [{role: pod, kubeconfig_file: /b, namespaces: {own_namespace: true}}]\n",
                "f:1:58: error: only a pod of the cluster has an own namespace",
            ),
            (
                "kubernetes_sd_configs: [{role: pod, namespaces: {names: [a/b]}}]\n",
                "f:1:58: error: `a/b` is no name of a namespace",
            ),
            (
                "kubernetes_sd_configs: [{role: pod, selectors: [{role: node, label: a=b}]}]\n",
                "a selector for the role `node` chooses no pods",
            ),
            (
                "kubernetes_sd_configs: [{role: pod, selectors: [{role: pod}, {role: pod}]}]\n",
                "help: join conditions with a comma",
            ),
            (
                "kubernetes_sd_configs: [{role: pod, attach_metadata: {job: true}}]\n",
                "`attach_metadata: {job: true}` is not supported",
            ),
            (
                "kubernetes_sd_configs: [{role: pod, api_server: 'http://a', http_headers: {}}]\n",
                "`http_headers` is not supported",
            ),
            ("kubernetes_sd_configs: [{}]\n", "a kubernetes_sd config needs `role`"),
            ("kubernetes_sd_configs: [{role: pod, selector: []}]\n", "did you mean `selectors`?"),
            ("docker_sd_configs: [{host: x}]\n", "f:1:1: error: `docker_sd_configs` is not supported"),
            ("journal: {}\n", "`journal` is not supported"),
            ("static_config: [{targets: [b]}]\n", "did you mean `static_configs`?"),
            ("{}\n", "f:1:1: error: a scrape config needs a source"),
            ("pod_directory_sd_configs: [{rot: /x}]\n", "did you mean `root`?"),
        ] {
            let (_, report) = read(text);
            assert!(report.contains(expected), "{text}: {report}");
        }
    }

    #[test]
    fn every_key_of_kubernetes_sd_is_known() {
        let text = "kubernetes_sd_configs:
- role: Pod
  api_server: https://x
  kubeconfig_file: ''
  namespaces: {own_namespace: no, names: []}
  selectors: [{role: pod, label: a=b, field: c=d}]
  attach_metadata: {node: true, namespace: false, deployment: false, job: false, cronjob: false}
  tls_config: {ca_file: x}
  bearer_token_file: x
  proxy_url: http://proxy:3128
- role: pod
  namespaces: {own_namespace: yes, names: [a]}
";
        let (sources, report) = read(text);
        assert_eq!((sources, report.as_str()), (2, ""));
    }
}
