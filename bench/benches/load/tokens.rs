//! What a token costs a login: the storm of logins on one process, without tokens and with those of
//! each algorithm. No comparison, and no promise.

use load::Report;
use runtime::clock;
use serde_json::json;
use testkit::{Scratch, SigningKey};

use crate::results::{Algorithm, LoginRow};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Returns the settings of servers that verify tokens of an algorithm. Users choose their names, so
/// that one token is enough for all.
pub(crate) fn settings(algorithm: Algorithm, scratch: &Scratch) -> String {
    let key = match algorithm {
        Algorithm::None => return String::new(),
        Algorithm::Hs256 => ("hmac_file", scratch.file("key", SECRET)),
        Algorithm::Es256 => ("public_keys_file", scratch.file("key", SigningKey::P256_PEM)),
        Algorithm::Rs256 => ("public_keys_file", scratch.file("key", SigningKey::RSA_PEM)),
    };
    let (setting, file) = key;
    format!(
        "auth.mode = \"required\"\nauth.name = \"free\"\nauth.max_sessions_per_user = 0\nauth.{setting} = {file:?}\n"
    )
}

/// Returns a token of an hour, unless users have none.
pub(crate) fn token(algorithm: Algorithm) -> Option<String> {
    let key = match algorithm {
        Algorithm::None => return None,
        Algorithm::Hs256 => SigningKey::hmac(SECRET.as_bytes()),
        Algorithm::Es256 => SigningKey::p256(),
        Algorithm::Rs256 => SigningKey::rsa(),
    };
    let now = clock::now_ms() / 1_000;
    Some(key.token(None, &json!({"sub": "4711", "iat": now, "exp": now + 3_600})))
}

/// Returns what a storm of logins with this algorithm found.
pub(crate) fn row(algorithm: Algorithm, report: &Report) -> Option<LoginRow> {
    let step = report.steps.first()?;
    let secs: f64 = step.cpu.iter().map(|process| process.secs).sum();
    Some(LoginRow { algorithm, per_sec: step.logins_per_sec, server_micros: secs * 1e6 / step.logins as f64 })
}
