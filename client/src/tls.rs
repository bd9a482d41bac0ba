//! TLS of connections: the authorities that a client trusts.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::stream::ByteStream;

/// The authorities whose certificates a client takes. Clones share the tickets of earlier
/// connections.
#[derive(Debug, Clone)]
pub struct Tls(Arc<ClientConfig>);

/// The reason why no authority is known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlsError {
    /// A file cannot be read, or has no certificate.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// The cause.
        reason: String,
    },
    /// The system has no authorities.
    #[error("this system has no certificates of authorities ({0}); name a file with them")]
    NoAuthorities(String),
    /// The cryptography library refused its own versions of TLS.
    #[error("no TLS: {0}")]
    Unsupported(String),
}

impl Tls {
    /// Trusts the authorities of this system, or those in the file that the environment variable
    /// `SSL_CERT_FILE` names.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn platform() -> Result<Self, TlsError> {
        // Read once: a system has a hundred authorities, and each connection would parse them.
        static PLATFORM: OnceLock<Result<Tls, TlsError>> = OnceLock::new();
        PLATFORM
            .get_or_init(|| {
                let found = rustls_native_certs::load_native_certs();
                let mut roots = RootCertStore::empty();
                // Systems keep certificates that no library of today reads; the others serve.
                let (added, _ignored) = roots.add_parsable_certificates(found.certs);
                if added == 0 {
                    let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
                    return Err(TlsError::NoAuthorities(reasons.join(", ")));
                }
                Self::trusting(roots)
            })
            .clone()
    }

    /// Trusts the authorities in this PEM file, and no others. A certificate that signs itself is
    /// its own authority.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has no certificate.
    pub fn trusting_file(path: impl AsRef<Path>) -> Result<Self, TlsError> {
        let path = path.as_ref();
        let refused =
            |reason: &dyn ToString| TlsError::File { path: path.display().to_string(), reason: reason.to_string() };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| refused(&error))? {
            let certificate = certificate.map_err(|error| refused(&error))?;
            roots.add(certificate).map_err(|error| refused(&error))?;
        }
        if roots.is_empty() {
            return Err(refused(&"it has no certificate"));
        }
        Self::trusting(roots)
    }

    fn trusting(roots: RootCertStore) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Unsupported(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Returns the same authorities for clients that do not know each other: each connection has a
    /// whole handshake.
    // A load generator is many clients in one process. Tickets that they shared would make the
    // handshakes cheaper than those of the clients that it stands for.
    #[must_use]
    pub fn without_resumption(&self) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.resumption = Resumption::disabled();
        Self(Arc::new(config))
    }

    /// Shakes hands as a client of this host.
    pub(crate) async fn connect(&self, host: &str, tcp: TcpStream) -> std::io::Result<ByteStream> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(std::io::Error::other)?;
        let stream = TlsConnector::from(self.0.clone()).connect(name, tcp).await?;
        Ok(ByteStream::Tls(Box::new(stream)))
    }
}
