//! `kubernetes_sd_configs`: what the user wrote.

use super::access::Access;
use crate::diagnostic::Diagnostics;
use crate::sink::{HttpClientConfig, HttpUrl};
use crate::yaml::{Fields, FromNode, Node, Spanned};
use std::path::PathBuf;
use std::sync::Arc;

const ROLES: [&str; 6] = ["node", "pod", "service", "endpoints", "endpointslice", "ingress"];
/// Prometheus' HTTP client options, which stand inline.
const HTTP_KEYS: [&str; 9] = [
    "basic_auth",
    "authorization",
    "oauth2",
    "bearer_token",
    "bearer_token_file",
    "tls_config",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
];

/// One item of `kubernetes_sd_configs`.
#[derive(Clone, Debug)]
pub struct KubernetesConfig {
    pub query: Arc<PodQuery>,
}

/// Which pods are asked for, and of whom. Jobs with the same query share what is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodQuery {
    pub(super) access: Access,
    /// All, if there are none and `own_namespace` is off.
    pub(super) namespaces: Vec<String>,
    pub(super) own_namespace: bool,
    /// As in the API's parameters; empty ones choose all.
    pub(super) label_selector: String,
    pub(super) field_selector: String,
    /// `attach_metadata: {node: true}`.
    pub(super) attach_node: bool,
}

impl PodQuery {
    /// Whether every pod of the node is asked for.
    pub(super) fn takes_all(&self) -> bool {
        let selected = !self.label_selector.is_empty() || !self.field_selector.is_empty();
        self.namespaces.is_empty() && !self.own_namespace && !selected
    }

    /// The pods of a node, among those that the configuration chooses. Promtail asks for no others either: their logs lie
    /// elsewhere.
    pub(super) fn field_selector_on(&self, node_name: &str) -> String {
        let own = format!("spec.nodeName={node_name}");
        if self.field_selector.is_empty() { own } else { format!("{},{own}", self.field_selector) }
    }
}

impl FromNode for KubernetesConfig {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "a kubernetes_sd config", d)?;
        let before = d.errors();
        read_role(&mut fields, d);
        let access = read_access(&mut fields, d);
        let namespaces: Option<Namespaces> = fields.optional("namespaces", d);
        let namespaces = namespaces.unwrap_or_default();
        if namespaces.own_namespace && access != Some(Access::InCluster) {
            let span = fields.key_span("namespaces").unwrap_or(fields.span());
            d.error(span, "only a pod of the cluster has an own namespace").help("write `namespaces: {names: [NAME]}`");
        }
        let selector = read_selectors(&mut fields, d);
        let attach: Option<AttachMetadata> = fields.optional("attach_metadata", d);
        fields.refused(&["http_headers", "proxy_connect_header"], "the API needs no headers of its own", d);
        fields.finish(d);
        let access = access.filter(|_| d.errors() == before)?;
        let query = PodQuery {
            access,
            namespaces: namespaces.names,
            own_namespace: namespaces.own_namespace,
            label_selector: selector.label,
            field_selector: selector.field,
            attach_node: attach.is_some_and(|attach| attach.node),
        };
        Some(KubernetesConfig { query: Arc::new(query) })
    }
}

fn read_role(fields: &mut Fields<'_>, d: &mut Diagnostics) {
    let Some(role) = fields.required::<Spanned<String>>("role", d) else { return };
    let name = role.value.to_lowercase();
    if name == "pod" {
        return;
    }
    if ROLES.contains(&name.as_str()) {
        d.error(role.span, format!("the role `{name}` finds nothing that has log files"))
            .help("write `role: pod`, which finds the pods of this node");
    } else {
        d.error(role.span, format!("unknown role `{}`", role.value)).help("write `role: pod`");
    }
}

fn read_access(fields: &mut Fields<'_>, d: &mut Diagnostics) -> Option<Access> {
    let http_key = HTTP_KEYS.iter().find_map(|key| fields.key_span(key));
    let server = fields.optional::<Spanned<String>>("api_server", d).filter(|server| !server.value.is_empty());
    let kubeconfig = fields.optional::<Spanned<String>>("kubeconfig_file", d).filter(|file| !file.value.is_empty());
    let http = HttpClientConfig::read(fields, d);
    match (server, kubeconfig) {
        (Some(server), Some(_)) => {
            d.error(server.span, "either `api_server` or `kubeconfig_file` says where the API is, not both");
            None
        }
        (Some(server), None) => match HttpUrl::parse(&server.value) {
            Ok(url) => Some(Access::Server { url, http: Box::new(http) }),
            Err(why) => {
                d.error(server.span, format!("this `api_server` cannot be asked: {why}"))
                    .help("write `https://HOST:6443`; leave it out inside the cluster");
                None
            }
        },
        (None, kubeconfig) => {
            if let Some(span) = http_key {
                d.error(span, "options of the HTTP client need `api_server`").help(
                    "inside the cluster, and with a kubeconfig, it is known who we are and whom we trust: leave it out",
                );
            }
            Some(match kubeconfig {
                Some(file) => Access::Kubeconfig(PathBuf::from(file.value)),
                None => Access::InCluster,
            })
        }
    }
}

#[derive(Default)]
struct Namespaces {
    own_namespace: bool,
    names: Vec<String>,
}

impl FromNode for Namespaces {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`namespaces`", d)?;
        let own_namespace = fields.or("own_namespace", false, d);
        let names: Vec<Spanned<String>> = fields.or("names", Vec::new(), d);
        fields.finish(d);
        let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        for name in &names {
            if name.value.is_empty() || name.value.len() > 63 || !name.value.bytes().all(valid) {
                d.error(name.span, format!("`{}` is no name of a namespace", name.value))
                    .help("names of namespaces have small letters, digits and `-`; leave `names` out for all of them");
            }
        }
        let mut names: Vec<String> = names.into_iter().map(|name| name.value).collect();
        names.sort();
        names.dedup();
        Some(Namespaces { own_namespace, names })
    }
}

#[derive(Default)]
struct Selector {
    label: String,
    field: String,
}

impl FromNode for Selector {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "a selector of kubernetes_sd", d)?;
        let role: Option<Spanned<String>> = fields.required("role", d);
        if let Some(role) = role.filter(|role| !role.value.eq_ignore_ascii_case("pod")) {
            d.error(role.span, format!("a selector for the role `{}` chooses no pods", role.value))
                .help("write `role: pod`");
        }
        let label = fields.or("label", String::new(), d);
        let field = fields.or("field", String::new(), d);
        fields.finish(d);
        Some(Selector { label, field })
    }
}

fn read_selectors(fields: &mut Fields<'_>, d: &mut Diagnostics) -> Selector {
    let mut selectors: Vec<Selector> = fields.list("selectors", d);
    if selectors.len() > 1 {
        let span = fields.key_span("selectors").unwrap_or(fields.span());
        d.error(span, "one selector for the role `pod` is enough")
            .help("join conditions with a comma: `label: app=web,tier!=cache`");
    }
    selectors.pop().unwrap_or_default()
}

#[derive(Default)]
struct AttachMetadata {
    node: bool,
}

impl FromNode for AttachMetadata {
    fn from_node(node: &Node, d: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`attach_metadata`", d)?;
        let metadata = AttachMetadata { node: fields.or("node", false, d) };
        for (key, instead) in [
            ("namespace", "`__meta_kubernetes_namespace` is the namespace's name; its labels are not asked for"),
            ("deployment", "take it from `__meta_kubernetes_pod_controller_name`: regex `(.+)-[^-]+`"),
            ("job", "take it from `__meta_kubernetes_pod_controller_name`, where the kind is `Job`"),
            ("cronjob", r"take it from `__meta_kubernetes_pod_controller_name`: regex `(.+)-\d+`"),
        ] {
            if fields.or(key, false, d) {
                let span = fields.key_span(key).unwrap_or(fields.span());
                d.error(span, format!("`attach_metadata: {{{key}: true}}` is not supported")).help(instead);
            }
        }
        fields.finish(d);
        Some(metadata)
    }
}
