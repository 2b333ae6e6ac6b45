//! Certificates for the tests of the transport.

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// Who signs certificates.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(super) struct Issued {
    pub certificate: String,
    pub key: String,
}

pub(super) fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_string()]).expect("a name")
}

pub(super) fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(super) fn expired(mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    params
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(authority_params("authority"), key).expect("signed"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn issue(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("a key");
        Issued::new(&params.signed_by(&key, &self.0).expect("signed"), &key)
    }
}

impl Issued {
    fn new(certificate: &Certificate, key: &KeyPair) -> Issued {
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    pub fn self_signed(params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("a key");
        Issued::new(&params.self_signed(&key).expect("signed"), &key)
    }

    pub fn server(&self) -> ServerConfig {
        self.server_of(&[&tokio_rustls::rustls::version::TLS13], None)
    }

    pub fn server_speaking(&self, version: &'static SupportedProtocolVersion) -> ServerConfig {
        self.server_of(&[version], None)
    }

    /// One that demands a certificate of this authority.
    pub fn server_for(&self, clients: &Authority) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(clients.0.der().clone()).expect("added");
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("built");
        self.server_of(&[&tokio_rustls::rustls::version::TLS13], Some(verifier))
    }

    fn server_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<Arc<dyn ClientCertVerifier>>,
    ) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions");
        let builder = match clients {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM");
        builder.with_single_cert(chain, key).expect("a certificate and its key")
    }
}
