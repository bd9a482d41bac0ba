//! Keys of an identity provider: fetched now and then, and when a token names an unknown one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::auth::keys::{Jwks, JwksOrigin};
use http::Uri;
use model::settings::AuthSettings;
use runtime::lifecycle::Lifecycle;
use runtime::metrics::Metrics;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::fetch::fetch;
use super::{AuthFileError, Authenticator, now_secs};

/// Time between two fetches.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// Time after a failure, and least time between fetches for tokens with unknown keys.
// A fetch that was due does not count: the provider may change keys right after it, and tokens of
// the new key would be refused for as long.
const LEAST_GAP: Duration = Duration::from_secs(30);

/// Time after a failure before the first set, without which no token is accepted.
const FIRST_GAP: Duration = Duration::from_secs(1);

/// Time that a token with an unknown key waits for a fetch, a little more than that takes.
const WAIT: Duration = Duration::from_secs(6);

/// The place of the keys, and the state of fetching. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct JwksUrl(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: Uri,
    tls: Arc<ClientConfig>,
    attempts: Mutex<Attempts>,
    requested: Notify,
    /// Counts the fetches that ended.
    ended: watch::Sender<u64>,
    /// The fault until there is a first set.
    missing: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Attempts {
    /// The last fetch for a token with an unknown key, and the last one that failed.
    limiting: Option<Instant>,
    is_fetching: bool,
}

impl JwksUrl {
    /// Takes the place from the settings, if they name one.
    pub(super) fn new(settings: &AuthSettings) -> Result<Option<Self>, AuthFileError> {
        if settings.jwks_url.is_empty() {
            return Ok(None);
        }
        let url = settings.jwks_url.parse().map_err(|_| AuthFileError::Url)?;
        let roots = roots(&settings.jwks_ca_file)?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().map_err(|_| AuthFileError::Url)?;
        let tls = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let missing = Mutex::new(Some("the keys of auth.jwks_url were not fetched yet".to_owned()));
        let (attempts, requested, ended) = (Mutex::default(), Notify::new(), watch::Sender::new(0));
        Ok(Some(Self(Arc::new(Inner { url, tls, attempts, requested, ended, missing }))))
    }

    /// Returns the fault until there is a first set.
    pub(super) fn fault(&self) -> Option<String> {
        lock(&self.0.missing).clone()
    }

    /// Waits for a fetch because a token names an unknown key. Returns false if there was one for a
    /// token lately, or one that failed.
    pub(super) async fn wait_for_fetch(&self) -> bool {
        // Before the look at the attempts: a fetch that ends in between is seen.
        let mut ended = self.0.ended.subscribe();
        {
            let mut attempts = lock(&self.0.attempts);
            let is_recent = attempts.limiting.is_some_and(|last| last.elapsed() < LEAST_GAP);
            if is_recent && !attempts.is_fetching {
                return false;
            }
            if !attempts.is_fetching {
                *attempts = Attempts { limiting: Some(Instant::now()), is_fetching: true };
                self.0.requested.notify_one();
            }
        }
        timeout(WAIT, ended.changed()).await.is_ok()
    }

    /// Forgets the last fetch for a token, as if it were long ago.
    #[cfg(test)]
    pub(super) fn forget_last_attempt(&self) {
        lock(&self.0.attempts).limiting = None;
    }

    /// The configuration of TLS.
    #[cfg(test)]
    pub(super) fn tls(&self) -> &Arc<ClientConfig> {
        &self.0.tls
    }

    /// Fetches the keys until the process stops.
    pub(super) async fn run(self, auth: Authenticator, metrics: Arc<Metrics>, lifecycle: Lifecycle) {
        let stopping = lifecycle.stopping();
        tokio::pin!(stopping);
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = &mut stopping => return,
                () = sleep_until(next) => {}
                () = self.0.requested.notified() => {}
            }
            lock(&self.0.attempts).is_fetching = true;
            let gap = tokio::select! {
                () = &mut stopping => return,
                is_fetched = self.fetch(&auth, &metrics) => match is_fetched {
                    true => EVERY,
                    false if self.fault().is_some() => FIRST_GAP,
                    false => LEAST_GAP,
                },
            };
            {
                let mut attempts = lock(&self.0.attempts);
                attempts.is_fetching = false;
                if gap < EVERY {
                    attempts.limiting = Some(Instant::now());
                }
            }
            self.0.ended.send_modify(|ended| *ended += 1);
            next = Instant::now() + gap;
        }
    }

    /// Fetches the keys once; those of before stay if that fails.
    async fn fetch(&self, auth: &Authenticator, metrics: &Metrics) -> bool {
        let fetched = fetch(&self.0.url, &self.0.tls).await.map_err(|error| error.to_string());
        match fetched.and_then(|text| Jwks::parse(&text, JwksOrigin::Url).map_err(|fault| fault.to_string())) {
            Ok(jwks) => {
                if lock(&self.0.missing).take().is_some() {
                    info!(skipped = jwks.skipped(), "the keys of auth.jwks_url are here");
                }
                metrics.jwks_age_seconds.set(i64::try_from(now_secs()).unwrap_or(i64::MAX));
                // As a whole: a key that the provider withdrew is not accepted any more.
                auth.replace_fetched(jwks);
                true
            }
            Err(error) => {
                warn!(%error, "the keys of auth.jwks_url cannot be fetched, those of before stay");
                if let Some(missing) = &mut *lock(&self.0.missing) {
                    *missing = format!("the keys of auth.jwks_url were not fetched yet: {error}");
                }
                false
            }
        }
    }
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while holding a lock.
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The authorities of a file, or the system's.
fn roots(ca_file: &str) -> Result<RootCertStore, AuthFileError> {
    let mut roots = RootCertStore::empty();
    if ca_file.is_empty() {
        // Some of them may be of kinds that are not known here.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    }
    let path = PathBuf::from(ca_file);
    let unreadable = |error: io::Error| AuthFileError::Unreadable {
        setting: "jwks_ca_file",
        path: path.clone(),
        reason: error.into(),
    };
    let content = fs::read(Path::new(ca_file)).map_err(unreadable)?;
    for certificate in CertificateDer::pem_slice_iter(&content) {
        let certificate = certificate.map_err(|error| unreadable(io::Error::other(error.to_string())))?;
        roots.add(certificate).map_err(|error| unreadable(io::Error::other(error)))?;
    }
    if roots.is_empty() { Err(unreadable(io::Error::other("it has no certificate"))) } else { Ok(roots) }
}
