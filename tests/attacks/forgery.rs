//! Tokens as the application signs them, and as attackers forge them.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use runtime::clock;
use serde_json::{Value, json};
use testkit::Scratch;

/// The key that the application shares with the servers.
pub(crate) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Public keys of the application, and the keys that sign for them.
pub(crate) const RSA_PEM: &str = include_str!("../../shared/auth/tests/keys/rsa2048.pem");
pub(crate) const P256_PEM: &str = include_str!("../../shared/auth/tests/keys/prime256v1.pem");
const RSA: &[u8] = include_bytes!("../../shared/auth/tests/keys/rsa2048.pk8");
const P256: &[u8] = include_bytes!("../../shared/auth/tests/keys/prime256v1.pk8");

/// The key of the provider, and its name in the provider's set.
const PROVIDED: &[u8] = include_bytes!("../../shared/auth/tests/keys/ed25519.pk8");
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

/// The provider's set.
pub(crate) fn key_set() -> Value {
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(PROVIDED).unwrap();
    let x = BASE64URL_NOPAD.encode(key.public_key().as_ref());
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": PROVIDED_KID, "use": "sig", "x": x}]})
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
        let random = SystemRandom::new();
        match self {
            Self::Hmac(key) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec(),
            Self::Rsa => {
                let pair = RsaKeyPair::from_pkcs8(RSA).unwrap();
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::P256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, P256, &random).unwrap();
                pair.sign(&random, message).unwrap().as_ref().to_vec()
            }
            Self::Provider => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(PROVIDED).unwrap();
                pair.sign(message).as_ref().to_vec()
            }
            Self::Attacker => Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap().sign(message).as_ref().to_vec(),
            Self::Zeros(length) => vec![0; length],
        }
    }
}

/// The attacker's public key, as a JWK.
pub(crate) fn attackers_jwk() -> Value {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    json!({"kty": "OKP", "crv": "Ed25519", "kid": "attacker", "x": BASE64URL_NOPAD.encode(key.public_key().as_ref())})
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
    let part = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let message = format!("{}.{}", part(header.to_string().as_bytes()), part(claims.as_bytes()));
    let signature = part(&by.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// A token that servers accept.
pub(crate) fn good(changes: &Value) -> String {
    token(&json!({"alg": "HS256", "typ": "JWT"}), &claims(changes), By::Hmac(SECRET))
}
