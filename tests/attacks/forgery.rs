//! Tokens as the application signs them, and as attackers forge them.

use std::collections::BTreeMap;

use runtime::clock;
use serde_json::{Value, json};
use testkit::{Scratch, SigningKey, signed_token};

/// The key that the application shares with the servers.
pub(crate) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Public keys of the application.
pub(crate) const RSA_PEM: &str = SigningKey::RSA_PEM;
pub(crate) const P256_PEM: &str = SigningKey::P256_PEM;

/// The name of the provider's key in its set.
pub(crate) const PROVIDED_KID: &str = "provided";

pub(crate) const AUDIENCE: &str = "chat";
pub(crate) const ISSUER: &str = "app";

/// The settings of servers that read tokens.
pub(crate) fn settings(scratch: &Scratch, jwks_url: &str) -> BTreeMap<&'static str, String> {
    let quoted = |text: &str| format!("{text:?}");
    let secret = scratch.file("auth.key", &String::from_utf8_lossy(SECRET));
    let public = scratch.file("auth.pem", &format!("{RSA_PEM}{P256_PEM}"));
    [
        // Innocent users are anonymous.
        ("auth.mode", quoted("optional")),
        ("auth.anonymous_prefix", quoted("")),
        ("auth.hmac_file", quoted(&secret)),
        ("auth.public_keys_file", quoted(&public)),
        ("auth.jwks_url", quoted(jwks_url)),
        ("auth.audience", quoted(AUDIENCE)),
        ("auth.issuer", quoted(ISSUER)),
    ]
    .into()
}

fn providers_key() -> SigningKey {
    SigningKey::ed25519([1; 32])
}

fn attackers_key() -> SigningKey {
    SigningKey::ed25519([7; 32])
}

/// The provider's set.
pub(crate) fn key_set() -> Value {
    json!({"keys": [providers_key().jwk(PROVIDED_KID)]})
}

/// A way to sign.
#[derive(Clone, Copy)]
pub(crate) enum By {
    /// HS256 with a key.
    Hmac(&'static [u8]),
    /// RS256 and ES256 with keys of the application.
    Rsa,
    P256,
    /// EdDSA with the provider's key.
    Provider,
    /// EdDSA with a key of the attacker.
    Attacker,
    /// So many bytes of zero.
    Zeros(usize),
}

impl By {
    fn sign(self, message: &[u8]) -> Vec<u8> {
        let key = match self {
            Self::Hmac(key) => SigningKey::hmac(key),
            Self::Rsa => SigningKey::rsa(),
            Self::P256 => SigningKey::p256(),
            Self::Provider => providers_key(),
            Self::Attacker => attackers_key(),
            Self::Zeros(length) => return vec![0; length],
        };
        key.sign(message)
    }
}

/// The attacker's public key, as a JWK.
pub(crate) fn attackers_jwk() -> Value {
    attackers_key().jwk("attacker")
}

/// The present time in Unix seconds.
pub(crate) fn now() -> u64 {
    clock::now_ms() / 1_000
}

/// Claims that servers accept, with changes; `null` removes a claim.
pub(crate) fn claims(changes: &Value) -> String {
    let mut claims = json!({"sub": "mallory", "aud": AUDIENCE, "iss": ISSUER, "iat": now(), "exp": now() + 3_600});
    for (claim, value) in changes.as_object().into_iter().flatten() {
        claims[claim] = value.clone();
    }
    if let Some(claims) = claims.as_object_mut() {
        claims.retain(|_, value| !value.is_null());
    }
    claims.to_string()
}

/// A token of any header and any claims.
pub(crate) fn token(header: &Value, claims: &str, by: By) -> String {
    signed_token(&header.to_string(), claims, |message| by.sign(message))
}

/// A token that servers accept.
pub(crate) fn good(changes: &Value) -> String {
    token(&json!({"alg": "HS256", "typ": "JWT"}), &claims(changes), By::Hmac(SECRET))
}
