//! TLS: whom we trust and who we are by certificate, read from files that others replace.

use super::file::read;
use super::sentence;
use super::verifier::{NoVerifier, PinningVerifier};
use crate::sink::http_config::TlsConfig;
use crate::sink::http_url::HttpUrl;
use crate::sink::secret::Secret;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing::{info, warn};

/// For a file of certificates or a key; a system's whole set has 250 KB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

pub(super) struct Tls {
    config: TlsConfig,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last files that could be used, and what came of them.
    good: Option<(Files, TlsConnector)>,
    /// What was said of files that cannot be used, so that it is said once.
    complaint: Option<String>,
}

/// The bytes of the files that are named.
#[derive(PartialEq, Eq)]
struct Files {
    ca: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl Tls {
    pub fn new(config: TlsConfig) -> Tls {
        Tls { config, state: Mutex::default() }
    }

    /// What makes TLS of a connection, by the files as they are now. While they cannot be used (a rotation is under
    /// way, say), by the last that could. It blocks.
    pub fn connector(&self) -> Result<TlsConnector, String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let files = Files::read(&self.config);
        if let (Ok(files), Some((known, connector))) = (&files, &state.good)
            && files == known
        {
            state.complaint = None;
            return Ok(connector.clone());
        }
        match files.and_then(|files| Ok((build(&self.config, &files)?, files))) {
            Ok((connector, files)) => {
                if state.good.is_some() {
                    info!("the certificates of a client have changed");
                }
                state.complaint = None;
                state.good = Some((files, connector.clone()));
                Ok(connector)
            }
            Err(why) => {
                let Some((_, connector)) = &state.good else { return Err(why) };
                if state.complaint.as_ref() != Some(&why) {
                    warn!(reason = why, "the certificates of a client cannot be used, the last ones stay in use");
                    state.complaint = Some(why);
                }
                Ok(connector.clone())
            }
        }
    }

    /// The name that a server's certificate must have.
    pub fn server_name(&self, url: &HttpUrl) -> Result<ServerName<'static>, String> {
        let name = self.config.server_name.as_ref().unwrap_or(&url.host);
        ServerName::try_from(name.clone()).map_err(|_| format!("`{name}` is no name that a certificate can have"))
    }
}

impl Files {
    fn read(config: &TlsConfig) -> Result<Files, String> {
        let content = |path: &Option<String>| path.as_ref().map(|path| read(path, FILE_BYTES_MAX)).transpose();
        let inline = |pem: &Option<Secret>| pem.as_ref().map(|pem| pem.reveal().as_bytes().to_vec());
        Ok(Files {
            ca: inline(&config.inline.ca).or(content(&config.ca_file)?),
            cert: inline(&config.inline.cert).or(content(&config.cert_file)?),
            key: inline(&config.inline.key).or(content(&config.key_file)?),
        })
    }
}

fn build(config: &TlsConfig, files: &Files) -> Result<TlsConnector, String> {
    let provider = Arc::new(ring::default_provider());
    let versions = if config.min_version.as_deref() == Some("TLS13") { &[&TLS13][..] } else { &[&TLS13, &TLS12] };
    let verifier: Arc<dyn ServerCertVerifier> = if config.insecure_skip_verify {
        Arc::new(NoVerifier::new(&provider))
    } else {
        verifier(config, files, &provider)?
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| sentence(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut tls = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let cert_file = config.cert_file.as_deref().unwrap_or("the client's certificate");
            let key_file = config.key_file.as_deref().unwrap_or("the client's key");
            let chain = certificates(cert, cert_file)?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| told(key_file, &error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| told(key_file, &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(tls)))
}

fn verifier(
    config: &TlsConfig,
    files: &Files,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let (trusted, origin) = match (&files.ca, &config.ca_file) {
        (Some(ca), path) => {
            let origin = path.as_deref().unwrap_or("the certificate authority");
            (certificates(ca, origin)?, origin)
        }
        // Those that cannot be read are left out: one bad file of the system's hundreds is no reason to send nothing.
        _ => (rustls_native_certs::load_native_certs().certs, "the system's certificates"),
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(trusted.iter().cloned());
    if added == 0 {
        return Err(format!("{origin}: there is none to trust"));
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| told(origin, &error))?;
    Ok(if files.ca.is_some() { Arc::new(PinningVerifier::new(inner, trusted)) } else { inner })
}

fn certificates(pem: &[u8], path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("{path}: it holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(told(path, &error)),
    }
}

fn told(path: &str, error: &dyn Error) -> String {
    format!("{path}: {}", sentence(error))
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
