//! Logins of clients by tokens of the application: the keys that verify them, and the check of one
//! token. The rules are those of the crate `auth`.

mod fetch;
mod files;
mod issue;
mod jwks_url;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ::auth::keys::{Jwks, KeySet};
use ::auth::{ClaimRules, NameSource, TokenError};
use model::global_rules::GlobalRules;
use model::identity::{LoginRefusal, Principal};
use model::settings::{AuthMode, AuthSettings, TokenName};
use runtime::clock;
use runtime::lifecycle::Lifecycle;
use runtime::metrics::Metrics;
use tokio::sync::watch;
use tokio::time::timeout;

use jwks_url::JwksUrl;

pub use files::{AuthFileError, AuthKeyReloader};
pub use issue::{TokenRequest, issue};

const HOUR_SECS: u64 = 3_600;

/// Longest wait for the rules for all rooms.
// A connector has them as soon as it reaches a chat server. The deadline of a handshake is longer.
const RULES_WAIT: Duration = Duration::from_secs(3);

/// Verifies tokens for all servers of a process. Clones have the same keys.
#[derive(Debug, Clone, Default)]
pub struct Authenticator {
    inner: Option<Arc<Inner>>,
    /// Logins wait until the rules for all rooms are known.
    needs_rules: bool,
}

#[derive(Debug)]
struct Inner {
    keys: RwLock<Keys>,
    rules: ClaimRules,
    url: Option<JwksUrl>,
    /// The rules for all rooms; `None` until a connector has read them.
    global_rules: watch::Sender<Option<GlobalRules>>,
}

/// All keys, and those that are replaced apart from the others.
#[derive(Debug, Default)]
struct Keys {
    all: Arc<KeySet>,
    of_files: KeySet,
    fetched: Option<Jwks>,
}

impl Keys {
    fn combine(&mut self) {
        let mut all = self.of_files.clone();
        self.fetched.iter().for_each(|jwks| all.add_jwks(jwks));
        self.all = Arc::new(all);
    }
}

impl Authenticator {
    /// For servers that read no token.
    pub fn off() -> Self {
        Self::default()
    }

    /// Returns the same for a connector, which reads the rules for all rooms: its logins wait for
    /// them.
    #[must_use]
    pub fn with_global_rules(self) -> Self {
        Self { needs_rules: true, ..self }
    }

    /// Replaces the rules for all rooms.
    pub fn set_global_rules(&self, rules: GlobalRules) {
        // The connectors of a process read the same room, so it does not matter which of
        // them is the last.
        self.inner.iter().for_each(|inner| drop(inner.global_rules.send_replace(Some(rules.clone()))));
    }

    /// Checks a user whose token was verified.
    async fn check_rules(&self, user: &Principal) -> Result<(), LoginRefusal> {
        let Some(inner) = &self.inner else { return Ok(()) };
        if self.needs_rules {
            let mut rules = inner.global_rules.subscribe();
            let known = timeout(RULES_WAIT, rules.wait_for(Option::is_some)).await;
            known.map_err(|_| LoginRefusal::no_rules())?.map_err(|_| LoginRefusal::no_rules())?;
        }
        self.check_known_rules(user)
    }

    /// Checks a user against the rules for all rooms as they are known now.
    ///
    /// # Errors
    /// If the user is banned, or the token is void.
    pub fn check_known_rules(&self, user: &Principal) -> Result<(), LoginRefusal> {
        // Without waiting: the task of a connector calls it for each login, and must never
        // stand still.
        let Some(inner) = &self.inner else { return Ok(()) };
        let known = inner.global_rules.borrow();
        known.as_ref().map_or(Ok(()), |rules| rules.check(user, clock::now_ms()))
    }

    fn new(settings: &AuthSettings, of_files: KeySet, url: Option<JwksUrl>) -> Self {
        if settings.mode == AuthMode::Off {
            return Self::off();
        }
        let global_rules = watch::Sender::new(None);
        let inner = Inner { keys: RwLock::default(), rules: rules(settings), url, global_rules };
        let auth = Self { inner: Some(Arc::new(inner)), needs_rules: false };
        auth.replace(of_files);
        auth
    }

    /// Returns the task that fetches keys until the process stops, if there is a place to fetch
    /// them from.
    pub fn fetching(
        &self,
        metrics: Arc<Metrics>,
        lifecycle: Lifecycle,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        Some(self.url()?.clone().run(self.clone(), metrics, lifecycle))
    }

    /// Returns the reason for which no keys are known yet.
    pub fn fault(&self) -> Option<String> {
        self.url()?.fault()
    }

    fn url(&self) -> Option<&JwksUrl> {
        self.inner.as_ref()?.url.as_ref()
    }

    /// Returns true if clients may log in.
    pub fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// Verifies a token now. Without logins every token is refused.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        let Some(inner) = &self.inner else { return Err(TokenError::Algorithm) };
        ::auth::verify(token, &inner.keys(), &inner.rules, now_secs())
    }

    /// Verifies a client's token; the reason of a refusal is the client's to read.
    ///
    /// # Errors
    /// If the token is refused.
    pub async fn log_in(&self, token: &str) -> Result<Principal, LoginRefusal> {
        if !self.is_on() {
            return Err(LoginRefusal::off());
        }
        let mut verdict = self.verify(token);
        if let (Err(TokenError::UnknownKey(_)), Some(url)) = (&verdict, self.url())
            && url.wait_for_fetch().await
        {
            verdict = self.verify(token);
        }
        let user = verdict.map_err(|error| match error {
            TokenError::Expired => LoginRefusal::expired(),
            TokenError::UnknownKey(_) | TokenError::Algorithm | TokenError::Signature if self.fault().is_some() => {
                LoginRefusal::no_keys()
            }
            error => LoginRefusal::new("token-bad", &error),
        })?;
        self.check_rules(&user).await?;
        Ok(user)
    }

    fn replace(&self, of_files: KeySet) {
        self.change(|keys| keys.of_files = of_files);
    }

    fn replace_fetched(&self, fetched: Jwks) {
        self.change(|keys| keys.fetched = Some(fetched));
    }

    fn change(&self, change: impl FnOnce(&mut Keys)) {
        if let Some(inner) = &self.inner {
            let mut keys = inner.keys.write().unwrap_or_else(PoisonError::into_inner);
            change(&mut keys);
            keys.combine();
        }
    }
}

impl Inner {
    fn keys(&self) -> Arc<KeySet> {
        // Nothing panics while holding the lock.
        self.keys.read().unwrap_or_else(PoisonError::into_inner).all.clone()
    }
}

/// Unix time in seconds.
pub fn now_secs() -> u64 {
    clock::now_ms() / 1_000
}

fn rules(settings: &AuthSettings) -> ClaimRules {
    ClaimRules {
        max_token_bytes: settings.max_token_bytes,
        audience: settings.audience.clone(),
        issuer: settings.issuer.clone(),
        leeway_secs: settings.leeway_secs.into(),
        max_age_secs: u64::from(settings.max_age_hours) * HOUR_SECS,
        name: match settings.name {
            TokenName::Claim => NameSource::Claim,
            TokenName::Sub => NameSource::Sub,
            TokenName::Free => NameSource::Free,
        },
    }
}

#[cfg(test)]
mod tests;
