//! Where the API server is, and who we are there.

use super::kubeconfig;
use crate::sink::{HttpClientConfig, HttpUrl, TlsConfig};
use std::path::{Path, PathBuf};

/// What the kubelet mounts into each pod that may ask the API.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What the configuration says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// By the pod's service account.
    InCluster,
    Kubeconfig(PathBuf),
    Server {
        url: HttpUrl,
        http: Box<HttpClientConfig>,
    },
}

/// What came of it.
#[derive(Debug)]
pub struct Endpoint {
    pub url: HttpUrl,
    pub http: HttpClientConfig,
}

impl Access {
    /// Reads what there is to be read: the environment, a kubeconfig. It blocks.
    ///
    /// # Errors
    ///
    /// A sentence for the operator.
    pub fn resolve(&self) -> Result<Endpoint, String> {
        match self {
            Access::InCluster => in_cluster(&|name| std::env::var(name).ok(), Path::new(SERVICE_ACCOUNT)),
            Access::Kubeconfig(file) => kubeconfig::read(file),
            Access::Server { url, http } => Ok(Endpoint { url: url.clone(), http: HttpClientConfig::clone(http) }),
        }
    }
}

/// The token is read for each request and the certificate at each connection: both are replaced while we run.
fn in_cluster(environment: &dyn Fn(&str) -> Option<String>, account: &Path) -> Result<Endpoint, String> {
    let variable = |name| environment(name).filter(|value| !value.is_empty());
    let (Some(host), Some(port)) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT")) else {
        return Err("this is no pod of a cluster (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set): \
                    write `api_server` or `kubeconfig_file`"
            .into());
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let url = HttpUrl::parse(&format!("https://{host}:{port}")).map_err(|why| format!("{host}:{port}: {why}"))?;
    let file = |name: &str| account.join(name).display().to_string();
    let http = HttpClientConfig {
        bearer_token_file: Some(file("token")),
        tls: TlsConfig { ca_file: Some(file("ca.crt")), ..TlsConfig::default() },
        ..HttpClientConfig::default()
    };
    Ok(Endpoint { url, http })
}

/// The namespace of the pod that we are.
pub fn own_namespace() -> Result<String, String> {
    let file = Path::new(SERVICE_ACCOUNT).join("namespace");
    match std::fs::read_to_string(&file) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_string()),
        Ok(_) => Err(format!("{}: it is empty", file.display())),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_cluster_the_service_account_says_who_we_are() {
        let environment = |name: &str| match name {
            "KUBERNETES_SERVICE_HOST" => Some("fd00::1".to_string()),
            "KUBERNETES_SERVICE_PORT" => Some("443".to_string()),
            _ => None,
        };
        let endpoint = in_cluster(&environment, Path::new("/account")).expect("in a cluster");
        assert_eq!((endpoint.url.https, endpoint.url.host_and_port().as_str()), (true, "[fd00::1]:443"));
        assert_eq!(endpoint.http.bearer_token_file.as_deref(), Some("/account/token"));
        assert_eq!(endpoint.http.tls.ca_file.as_deref(), Some("/account/ca.crt"));
        let why = in_cluster(&|_| None, Path::new("/account")).expect_err("no cluster");
        assert!(why.contains("write `api_server` or `kubeconfig_file`"), "{why}");
    }
}
