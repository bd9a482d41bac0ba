//! A client of TLS that trusts one authority. Knows bytes, no protocol.

#![expect(clippy::expect_used, reason = "fails the test that needs TLS, saying why")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use model::settings::TlsVersion;
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection inside TLS.
pub type TlsConnection = TlsStream<TcpStream>;

/// A client that knows no earlier session. Clones are the same client.
#[derive(Debug, Clone)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// A client of every version that trusts the authority in this file.
    pub fn trusting(authority_file: &str) -> Self {
        Self::new(authority_file, ALL_VERSIONS)
    }

    /// The same with one version.
    pub fn of_version(authority_file: &str, version: TlsVersion) -> Self {
        let version = match version {
            TlsVersion::V1_2 => &version::TLS12,
            TlsVersion::V1_3 => &version::TLS13,
        };
        Self::new(authority_file, &[version])
    }

    fn new(authority_file: &str, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(authority_file).expect("a certificate");
        roots.add(authority).expect("an authority");
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("ring has versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Each connection gets the server's certificate.
        config.resumption = Resumption::disabled();
        Self(Arc::new(config))
    }

    /// The same, with sessions that are resumed by tickets.
    #[must_use]
    pub fn resuming(&self) -> Self {
        self.with(|config| config.resumption = Resumption::default())
    }

    /// The same, offering these protocols.
    #[must_use]
    pub fn offering(&self, protocols: &[&str]) -> Self {
        self.with(|config| config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect())
    }

    fn with(&self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        change(&mut config);
        Self(Arc::new(config))
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// If the server closes, or its certificate is not trusted.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<TlsConnection> {
        self.secure(TcpStream::connect(address).await?).await
    }

    /// Shakes hands on a connection to 127.0.0.1.
    ///
    /// # Errors
    /// If the server closes, or its certificate is not trusted.
    pub async fn secure(&self, stream: TcpStream) -> io::Result<TlsConnection> {
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        TlsConnector::from(self.0.clone()).connect(name, stream).await
    }
}
