//! TLS of client connections: one configuration for all servers of a process, whose certificate is
//! replaced while they run. Refuses a pair of files that clients would refuse.

mod certificate;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use model::settings::{PlainClients, TlsSettings, TlsVersion};
use runtime::clock;
use runtime::metrics::Metrics;
use rustls::crypto::ring;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ALL_VERSIONS, ServerConfig, SupportedProtocolVersion, version};

use self::certificate::Pair;
pub use self::certificate::{CertificateError, TlsError};

/// The only protocol that a client may name in its hello, if it names any.
const ALPN: &[u8] = b"http/1.1";

/// TLS of client connections. Clones have the same certificate.
#[derive(Debug, Clone, Default)]
pub struct ClientTls(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    config: Arc<ServerConfig>,
    plain: PlainClients,
}

impl ClientTls {
    /// For servers that take plain connections.
    pub fn off() -> Self {
        Self(None)
    }

    /// Returns the configuration of new connections, if servers have a certificate.
    pub fn config(&self) -> Option<&Arc<ServerConfig>> {
        self.0.as_ref().map(|inner| &inner.config)
    }

    /// Returns true if servers have a certificate.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns true if a client of this address may connect without TLS.
    pub fn allows_plain(&self, address: IpAddr) -> bool {
        match self.0.as_ref().map(|inner| inner.plain) {
            None | Some(PlainClients::Always) => true,
            Some(PlainClients::Loopback) => address.to_canonical().is_loopback(),
            Some(PlainClients::Never) => false,
        }
    }
}

/// The certificate of new connections.
#[derive(Debug)]
struct Resolver(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Nothing panics while holding the lock.
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Resolver {
    fn replace(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }
}

/// Replaces the certificate when its files change.
#[derive(Debug)]
pub struct CertificateReloader {
    settings: TlsSettings,
    metrics: Arc<Metrics>,
    /// None where nothing is read.
    served: Option<Served>,
    /// The reason why the files are not served now.
    refused: Option<CertificateError>,
}

#[derive(Debug)]
struct Served {
    resolver: Arc<Resolver>,
    /// Of the files' content.
    digest: [u8; 32],
}

impl CertificateReloader {
    /// Reads the certificate, if the settings name one.
    ///
    /// # Errors
    /// If the files cannot be read, do not fit, or are of another time.
    pub fn start(settings: &TlsSettings, metrics: &Arc<Metrics>) -> Result<(Self, ClientTls), TlsError> {
        let (settings, metrics) = (settings.clone(), metrics.clone());
        if !settings.is_on() {
            return Ok((Self { settings, metrics, served: None, refused: None }, ClientTls::off()));
        }
        let pair = Pair::read(&settings)?;
        let certificate = pair.certify(&settings, now())?;
        metrics.tls_expires_seconds.set(certificate.expires_at);
        let resolver = Arc::new(Resolver(RwLock::new(Arc::new(certificate.key))));
        let config = server_config(settings.min_version, resolver.clone())?;
        let tls = ClientTls(Some(Arc::new(Inner { config: Arc::new(config), plain: settings.plain })));
        let served = Some(Served { resolver, digest: pair.digest() });
        Ok((Self { settings, metrics, served, refused: None }, tls))
    }

    /// Returns true if there is a certificate to replace.
    pub fn is_on(&self) -> bool {
        self.served.is_some()
    }

    /// Reads the files, and serves their certificate to new connections if they changed. `None` if
    /// nothing changed.
    ///
    /// # Errors
    /// If they cannot be used. The certificate that is served stays; the same reason is returned once.
    pub fn reload_if_changed(&mut self) -> Option<Result<(), CertificateError>> {
        let served = self.served.as_mut()?;
        // The content decides, not the time of a file: two writes may have the same time, and a
        // mounted secret is a link that is exchanged.
        let pair = match Pair::read(&self.settings) {
            Ok(pair) if pair.digest() == served.digest => {
                self.refused = None;
                return None;
            }
            pair => pair,
        };
        // Files that were refused are judged again, since some will be valid later.
        match pair.and_then(|pair| Ok((pair.certify(&self.settings, now())?, pair.digest()))) {
            Ok((certificate, digest)) => {
                served.resolver.replace(certificate.key);
                served.digest = digest;
                self.metrics.tls_expires_seconds.set(certificate.expires_at);
                self.refused = None;
                Some(Ok(()))
            }
            Err(error) if self.refused.as_ref() == Some(&error) => None,
            Err(error) => Some(Err(self.refused.insert(error).clone())),
        }
    }
}

/// Unix time in seconds.
fn now() -> i64 {
    i64::try_from(clock::now_ms() / 1_000).unwrap_or(i64::MAX)
}

fn server_config(oldest: TlsVersion, resolver: Arc<Resolver>) -> Result<ServerConfig, rustls::Error> {
    let versions: &[&SupportedProtocolVersion] = match oldest {
        TlsVersion::V1_2 => ALL_VERSIONS,
        TlsVersion::V1_3 => &[&version::TLS13],
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    // Clients keep the state of a session, so a client that comes back costs no signature, and a
    // server keeps nothing for it. The keys of tickets are replaced every six hours.
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // Each connection of a client comes back as one.
    config.send_tls13_tickets = 1;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests;
