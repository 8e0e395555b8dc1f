//! How an upstream's certificate is judged: system roots or a CA file, a pinned key, or, with a
//! warning that cannot be overlooked, not at all.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use super::plan::{Address, EndpointPlan, TlsPlan};
use super::transport::Tls;

/// Why TLS toward a cluster cannot be set up.
#[derive(Debug)]
pub struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// TLS toward one endpoint; reads the plan's files.
///
/// # Errors
/// A file that cannot be read or holds no certificate or key, or a server name that is none.
pub fn client(plan: &TlsPlan, endpoint: &EndpointPlan) -> Result<Tls, Fault> {
    let host = match (&plan.server_name, &endpoint.address) {
        (Some(name), _) => name.to_string(),
        (None, Address::Tcp { host, .. } | Address::Dns { host, .. }) => host.to_string(),
        // Whoever is found there has a name of its own.
        (None, Address::Srv(_) | Address::File(_)) => "localhost".to_owned(),
        (None, Address::Unix(_)) => {
            return Err(Fault(format!(
                "{}: TLS over a unix socket needs tls.server_name",
                endpoint.name
            )));
        }
    };
    let server_name = ServerName::try_from(host.clone())
        .map_err(|error| Fault(format!("{host:?} is no server name: {error}")))?;
    let h2 = config(plan, b"h2")?;
    let http = config(plan, b"http/1.1")?;
    Ok(Tls { h2: Arc::new(h2), http: Arc::new(http), server_name })
}

fn config(plan: &TlsPlan, alpn: &[u8]) -> Result<rustls::ClientConfig, Fault> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| Fault(error.to_string()))?;
    let builder =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier(plan, &provider)?));
    let mut config = match &plan.client_certificate {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| Fault(format!("{}: {error}", cert.display())))?,
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(config)
}

fn verifier(plan: &TlsPlan, provider: &Arc<CryptoProvider>) -> Result<Verifier, Fault> {
    // With pins alone the key itself is trusted, as self-signed certificates inside need.
    let chain = if plan.insecure_skip_verify || (!plan.pins.is_empty() && plan.ca.is_none()) {
        None
    } else {
        let roots = Arc::new(roots(plan)?);
        let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
            .build()
            .map_err(|error| Fault(format!("trust roots: {error}")))?;
        Some(chain)
    };
    Ok(Verifier {
        chain,
        pins: plan.pins.clone(),
        algorithms: provider.signature_verification_algorithms,
    })
}

fn roots(plan: &TlsPlan) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &plan.ca {
        for certificate in certificates(path)? {
            roots
                .add(certificate)
                .map_err(|error| Fault(format!("{}: {error}", path.display())))?;
        }
        return Ok(roots);
    }
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let fault = |error: &dyn fmt::Display| Fault(format!("{}: {error}", path.display()));
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| fault(&error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fault(&error))?;
    if certificates.is_empty() {
        return Err(fault(&"holds no PEM certificate"));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| Fault(format!("{}: {error}", path.display())))
}

/// The chain, then the pins.
#[derive(Debug)]
struct Verifier {
    /// `None`: the chain is not verified.
    chain: Option<Arc<WebPkiServerVerifier>>,
    pins: Vec<[u8; 32]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(chain) = &self.chain {
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        }
        if !self.pins.is_empty() {
            let pin = key_pin(end_entity).ok_or(CertificateError::BadEncoding)?;
            if !self.pins.contains(&pin) {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469 §2.4), or `None` for no certificate.
pub fn key_pin(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let digest = suite.tls13()?.common.hash_provider.hash(parsed.public_key().raw);
    digest.as_ref().try_into().ok()
}
