//! The authenticator of a connection: makes the proof of identity at each sign-in from the present
//! files. They may be replaced at any time, and credentials expire.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_nats::Auth;
use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde::Deserialize;

use model::settings::NatsSettings;
use runtime::config::sign_in::{self, Identity, SignIn, SignInError};
use runtime::log_rate_limit::LogRateLimit;

/// Seconds before the end of credentials from which on they are about to expire.
const SOON_SECS: u64 = 24 * 60 * 60;

/// The same as a part of their life, where that is less.
const SOON_PART: u64 = 4;

/// Makes proofs of identity for the broker.
pub(super) struct Authenticator {
    settings: NatsSettings,
    /// The last one that was fit, for the moment in which a file is being replaced.
    last: Mutex<Identity>,
    /// True if the identity comes from the URL, so that no file is read.
    is_fixed: bool,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proofs").finish_non_exhaustive()
    }
}

/// The end of credentials, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expiry {
    pub(super) at: u64,
    soon: u64,
}

impl Expiry {
    /// Returns true if they are about to expire, or have.
    pub(super) fn is_soon(self, now: u64) -> bool {
        now + self.soon >= self.at
    }

    pub(super) fn is_over(self, now: u64) -> bool {
        now >= self.at
    }
}

impl Authenticator {
    /// Of an identity from the files that the settings name, or from a URL.
    ///
    /// # Errors
    /// If a file does not hold what it should.
    pub(super) fn new(identity: Identity, settings: &NatsSettings, is_fixed: bool) -> Result<Self, SignInError> {
        // An empty nonce is enough to find an unusable file at the start.
        authenticate(&identity, settings, b"")?;
        Ok(Self { settings: settings.clone(), last: Mutex::new(identity), is_fixed })
    }

    /// The proof for a broker that sent this nonce.
    ///
    /// # Errors
    /// If what there is proves nothing; it did when it was read first.
    pub(super) fn authenticate(&self, nonce: &[u8]) -> Result<Auth, SignInError> {
        authenticate(&self.read(), &self.settings, nonce)
    }

    /// The end of the credentials that are in their file now.
    pub(super) fn expiry(&self) -> Option<Expiry> {
        match self.read() {
            Identity::Credentials(text) => expiry(jwt(text.reveal())?),
            Identity::Password(..) | Identity::Token(_) | Identity::Nkey(_) => None,
        }
    }

    /// The identity that the files give now.
    fn read(&self) -> Identity {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_fixed {
            return last.clone();
        }
        let read = SignIn::read(&self.settings).and_then(|SignIn { identity, .. }| {
            let fit = identity.map(|identity| authenticate(&identity, &self.settings, b"").map(|_| identity));
            fit.transpose()
        });
        match read {
            Ok(Some(identity)) => last.clone_from(&identity),
            Ok(None) => {}
            // Most likely the file is just being replaced: the last usable identity is kept.
            Err(error) => {
                static UNREADABLE: LogRateLimit = LogRateLimit::new();
                if let Some(suppressed) = UNREADABLE.pass() {
                    tracing::warn!(%error, suppressed, "credentials for NATS cannot be read, using the previous ones");
                }
            }
        }
        last.clone()
    }
}

fn authenticate(identity: &Identity, settings: &NatsSettings, nonce: &[u8]) -> Result<Auth, SignInError> {
    let mut auth = Auth::new();
    match identity {
        Identity::Password(user, password) => {
            auth.username = Some(user.clone());
            auth.password = Some(password.reveal().to_owned());
        }
        Identity::Token(token) => auth.token = Some(token.reveal().to_owned()),
        Identity::Credentials(text) => {
            // A library's error about a bad text might quote it.
            let unfit = || SignInError::unfit_credentials(&settings.credentials_file);
            let (jwt, seed) = jwt(text.reveal()).zip(sign_in::seed(text.reveal())).ok_or_else(unfit)?;
            auth.signature = Some(sign(seed, nonce).ok_or_else(unfit)?.1);
            auth.jwt = Some(jwt.to_owned());
        }
        Identity::Nkey(seed) => {
            let unfit = || SignInError::unfit_seed(&settings.nkey_file);
            let (key, signature) = sign(seed.reveal(), nonce).ok_or_else(unfit)?;
            (auth.nkey, auth.signature) = (Some(key), Some(signature));
        }
    }
    Ok(auth)
}

/// The public key of a seed, and its signature.
fn sign(seed: &str, nonce: &[u8]) -> Option<(String, Vec<u8>)> {
    let pair = KeyPair::from_seed(seed).ok()?;
    Some((pair.public_key(), pair.sign(nonce).ok()?))
}

/// The JWT in the text of a credentials file.
fn jwt(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| claims(line).is_some())
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iat: u64,
    /// 0, or left out: never.
    #[serde(default)]
    exp: u64,
}

fn claims(jwt: &str) -> Option<Claims> {
    let mut parts = jwt.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?).ok()
}

fn expiry(jwt: &str) -> Option<Expiry> {
    let Claims { iat, exp } = claims(jwt).filter(|claims| claims.exp > 0)?;
    Some(Expiry { at: exp, soon: SOON_SECS.min(exp.saturating_sub(iat) / SOON_PART) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt_of(claims: &str) -> String {
        format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(claims.as_bytes()))
    }

    #[test]
    fn credentials_end_at_the_time_of_their_claim() {
        let of = |claims: &str| {
            let jwt = jwt_of(claims);
            expiry(jwt.as_str()).map(|expiry| (expiry.at, expiry.soon))
        };
        assert_eq!(of(r#"{"iat":1000,"exp":1400}"#), Some((1_400, 100)));
        assert_eq!(of(r#"{"iat":1000,"exp":100000000}"#), Some((100_000_000, SOON_SECS)));
        assert_eq!(of(r#"{"exp":5}"#), Some((5, 1)));
        assert_eq!((of(r#"{"iat":1000}"#), of(r#"{"exp":0}"#), of("7")), (None, None, None));
        let expiry = Expiry { at: 1_400, soon: 100 };
        assert_eq!([1_299, 1_300, 1_500].map(|now| expiry.is_soon(now)), [false, true, true]);
        assert_eq!([1_399, 1_400].map(|now| expiry.is_over(now)), [false, true]);
    }

    #[test]
    fn a_jwt_is_found_among_other_lines() {
        let good = jwt_of("{}");
        let text = format!("-----BEGIN NATS USER JWT-----\n{good}\n------END NATS USER JWT------\n\na.b.c\n");
        assert_eq!(jwt(&text), Some(good.as_str()));
        for bad in ["", "a.b", "a.b.c", "e30.e30", &format!("{good}.x")] {
            assert_eq!(jwt(bad), None, "{bad}");
        }
    }
}
