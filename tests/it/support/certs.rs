//! A CA and certificates made once for the whole run, and a TLS client that trusts them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

/// The run's CA, and the folder that holds its files.
pub struct Authority {
    pub issuer: CertifiedIssuer<'static, KeyPair>,
    pub folder: tempfile::TempDir,
}

/// Made when first asked for.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    })
}

/// A new pair for these names: paths of certificate and key.
pub fn pair(label: &str, names: &[&str]) -> (PathBuf, PathBuf) {
    let authority = authority();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &authority.issuer).unwrap();
    let path = |end| authority.folder.path().join(format!("{label}.{end}"));
    std::fs::write(path("crt"), leaf.pem()).unwrap();
    std::fs::write(path("key"), key.serialize_pem()).unwrap();
    (path("crt"), path("key"))
}

/// Puts the files of a certificate of localhost in the place of `{cert}` and `{key}`, and the CA
/// file in that of `{ca}`.
pub fn fill(yaml: &str) -> String {
    static PAIR: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    let (cert, key) =
        PAIR.get_or_init(|| pair("localhost", &["localhost", "127.0.0.1", "*.localhost"]));
    yaml.replace("{cert}", cert.to_str().unwrap())
        .replace("{key}", key.to_str().unwrap())
        .replace("{ca}", authority().folder.path().join("ca.crt").to_str().unwrap())
}

/// A client that trusts the run's CA and offers these protocols by ALPN.
pub fn client(alpn: &[&str]) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority().issuer.pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A TLS connection.
pub async fn connect(
    address: std::net::SocketAddr,
    name: &str,
    config: Arc<rustls::ClientConfig>,
) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let socket = tokio::net::TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(config).connect(name, socket).await
}
