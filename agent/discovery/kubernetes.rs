//! `kubernetes_sd_configs`: read and checked; not run yet.

use crate::diagnostic::Diagnostics;
use crate::span::Span;
use crate::yaml::{Fields, FromNode, Node};

const ROLES: [&str; 6] = ["node", "pod", "service", "endpoints", "endpointslice", "ingress"];

/// One item of `kubernetes_sd_configs`.
#[derive(Clone, Debug)]
pub struct KubernetesConfig {
    pub span: Span,
    /// One of Prometheus' roles; Promtail's configurations use `pod`.
    pub role: String,
    /// Empty: the cluster that this runs in.
    pub api_server: String,
    pub kubeconfig_file: String,
    pub namespaces: Namespaces,
    pub selectors: Vec<Selector>,
    pub attach_metadata: AttachMetadata,
}

#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    pub own_namespace: bool,
    pub names: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Selector {
    pub role: String,
    pub label: String,
    pub field: String,
}

#[derive(Clone, Debug, Default)]
pub struct AttachMetadata {
    pub node: bool,
    pub namespace: bool,
    pub deployment: bool,
    pub job: bool,
    pub cronjob: bool,
}

/// Prometheus' HTTP client block, which stands inline here; checked by name until there is a client to give it to.
const HTTP_CLIENT_KEYS: [&str; 14] = [
    "basic_auth",
    "authorization",
    "oauth2",
    "bearer_token",
    "bearer_token_file",
    "tls_config",
    "follow_redirects",
    "enable_http2",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "http_headers",
    "refresh_interval",
];

impl FromNode for KubernetesConfig {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "a kubernetes_sd config", diagnostics)?;
        let before = diagnostics.errors();
        let role = fields.required("role", diagnostics).map(|role: String| role.to_lowercase());
        if let Some(role) = role.as_deref().filter(|role| !ROLES.contains(role)) {
            let span = fields.node("role").map_or(fields.span(), |node| node.span);
            diagnostics.error(span, format!("unknown role `{role}`")).help(format!("roles: {}", ROLES.join(", ")));
        }
        for key in HTTP_CLIENT_KEYS {
            fields.node(key);
        }
        let span = fields.span();
        let api_server = fields.or("api_server", String::new(), diagnostics);
        let kubeconfig_file = fields.or("kubeconfig_file", String::new(), diagnostics);
        let namespaces = fields.or("namespaces", Namespaces::default(), diagnostics);
        let selectors = fields.or("selectors", Vec::new(), diagnostics);
        let attach_metadata = fields.or("attach_metadata", AttachMetadata::default(), diagnostics);
        fields.finish(diagnostics);
        let role = role.filter(|_| diagnostics.errors() == before)?;
        Some(KubernetesConfig { span, role, api_server, kubeconfig_file, namespaces, selectors, attach_metadata })
    }
}

impl FromNode for Namespaces {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`namespaces`", diagnostics)?;
        let own_namespace = fields.or("own_namespace", false, diagnostics);
        let names = fields.or("names", Vec::new(), diagnostics);
        fields.finish(diagnostics);
        Some(Namespaces { own_namespace, names })
    }
}

impl FromNode for Selector {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "a selector of kubernetes_sd", diagnostics)?;
        let role = fields.or("role", String::new(), diagnostics);
        let label = fields.or("label", String::new(), diagnostics);
        let field = fields.or("field", String::new(), diagnostics);
        fields.finish(diagnostics);
        Some(Selector { role, label, field })
    }
}

impl FromNode for AttachMetadata {
    fn from_node(node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mut fields = Fields::new(node, "`attach_metadata`", diagnostics)?;
        let mut flag = |key| fields.or(key, false, diagnostics);
        let metadata = AttachMetadata {
            node: flag("node"),
            namespace: flag("namespace"),
            deployment: flag("deployment"),
            job: flag("job"),
            cronjob: flag("cronjob"),
        };
        fields.finish(diagnostics);
        Some(metadata)
    }
}

impl KubernetesConfig {
    /// What finds the same pods without the API: a line to put in its place.
    pub fn replacement(&self) -> String {
        match self.namespaces.names.as_slice() {
            [] => "pod_directory_sd_configs: [{root: /var/log/pods}]".into(),
            names => format!(
                "pod_directory_sd_configs: [{{root: /var/log/pods, namespaces: {{names: [{}]}}}}]",
                names.join(", ")
            ),
        }
    }
}
