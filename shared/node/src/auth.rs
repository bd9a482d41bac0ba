//! Logins of clients by tokens of the application: the keys that verify them, and the check of one
//! token. The rules are those of the crate `auth`.

mod files;
mod issue;

use std::sync::{Arc, PoisonError, RwLock};

use ::auth::keys::KeySet;
use ::auth::{ClaimRules, NameSource, TokenError};
use model::identity::{LoginRefusal, Principal};
use model::settings::{AuthMode, AuthSettings, TokenName};
use runtime::clock;

pub use files::{AuthFileError, AuthKeyReloader};
pub use issue::{TokenRequest, issue};

const HOUR_SECS: u64 = 3_600;

/// Verifies tokens for all servers of a process. Clones have the same keys.
#[derive(Debug, Clone, Default)]
pub struct Authenticator(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    keys: RwLock<Arc<KeySet>>,
    rules: ClaimRules,
}

impl Authenticator {
    /// For servers that read no token.
    pub fn off() -> Self {
        Self(None)
    }

    fn new(settings: &AuthSettings, keys: KeySet) -> Self {
        if settings.mode == AuthMode::Off {
            return Self::off();
        }
        let rules = rules(settings);
        Self(Some(Arc::new(Inner { keys: RwLock::new(Arc::new(keys)), rules })))
    }

    /// Returns true if clients may log in.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Verifies a token now. Without logins every token is refused.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        let Some(inner) = &self.0 else { return Err(TokenError::Algorithm) };
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
        self.verify(token).map_err(|error| match error {
            TokenError::Expired => LoginRefusal::expired(),
            error => LoginRefusal::new("token-bad", &error),
        })
    }

    fn replace(&self, keys: KeySet) {
        if let Some(inner) = &self.0 {
            *inner.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        }
    }
}

impl Inner {
    fn keys(&self) -> Arc<KeySet> {
        // Nothing panics while holding the lock.
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
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
