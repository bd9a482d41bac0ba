//! Tokens as applications and attackers make them, signed beside the crate.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod accepted;
mod key_files;
mod refused;
mod vectors;

use auth::keys::{HmacSecret, Jwks, JwksOrigin, KeySet};
use auth::{ClaimRules, NameSource, TokenError, verify};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::identity::Principal;
use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use serde_json::{Value, json};

/// The present time of all tests.
const NOW: u64 = 1_800_000_000;

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

const RSA: &[u8] = include_bytes!("../keys/rsa2048.pk8");
const P256: &[u8] = include_bytes!("../keys/prime256v1.pk8");
const P384: &[u8] = include_bytes!("../keys/secp384r1.pk8");
const ED25519: &[u8] = include_bytes!("../keys/ed25519.pk8");

const RSA_PEM: &str = include_str!("../keys/rsa2048.pem");
const P256_PEM: &str = include_str!("../keys/prime256v1.pem");
const P384_PEM: &str = include_str!("../keys/secp384r1.pem");
const ED25519_PEM: &str = include_str!("../keys/ed25519.pem");

fn rules() -> ClaimRules {
    ClaimRules {
        max_token_bytes: 3_072,
        audience: String::new(),
        issuer: String::new(),
        leeway_secs: 30,
        max_age_secs: 24 * 3_600,
        name: NameSource::Claim,
    }
}

/// The shared secret, and all public keys.
fn keys() -> KeySet {
    let mut keys = KeySet::default();
    keys.add_secrets(&[HmacSecret::new(SECRET).unwrap()]);
    keys.add_pem(&[RSA_PEM, P256_PEM, P384_PEM, ED25519_PEM].concat()).unwrap();
    keys
}

fn jwks(keys: &[Value]) -> Jwks {
    Jwks::parse(&json!({ "keys": keys }).to_string(), JwksOrigin::Url).unwrap()
}

fn check(token: &str) -> Result<Principal, TokenError> {
    verify(token, &keys(), &rules(), NOW)
}

/// Claims that are accepted.
fn claims() -> Value {
    json!({"sub": "ann", "exp": NOW + 60, "iat": NOW})
}

fn encode(part: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// Signs by the algorithm of that name; a name that is none signs nothing.
fn signature(algorithm: &str, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let hmac = |hash| ring::hmac::sign(&ring::hmac::Key::new(hash, SECRET), message).as_ref().to_vec();
    let rsa = |padding: &'static dyn signature::RsaEncoding| {
        let pair = RsaKeyPair::from_pkcs8(RSA).unwrap();
        let mut signed = vec![0; pair.public().modulus_len()];
        pair.sign(padding, &random, message, &mut signed).unwrap();
        signed
    };
    let curve = |algorithm, key| {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key, &random).unwrap();
        pair.sign(&random, message).unwrap().as_ref().to_vec()
    };
    match algorithm {
        "HS256" => hmac(ring::hmac::HMAC_SHA256),
        "HS384" => hmac(ring::hmac::HMAC_SHA384),
        "HS512" => hmac(ring::hmac::HMAC_SHA512),
        "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
        "RS384" => rsa(&signature::RSA_PKCS1_SHA384),
        "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
        "PS256" => rsa(&signature::RSA_PSS_SHA256),
        "PS384" => rsa(&signature::RSA_PSS_SHA384),
        "PS512" => rsa(&signature::RSA_PSS_SHA512),
        "ES256" => curve(&ECDSA_P256_SHA256_FIXED_SIGNING, P256),
        "ES384" => curve(&ECDSA_P384_SHA384_FIXED_SIGNING, P384),
        "EdDSA" => Ed25519KeyPair::from_pkcs8_maybe_unchecked(ED25519).unwrap().sign(message).as_ref().to_vec(),
        _ => Vec::new(),
    }
}

/// A token of any header and any claims, signed by one algorithm.
fn token_with(header: &Value, claims: &str, signed_by: &str) -> String {
    let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.as_bytes()));
    let signature = encode(&signature(signed_by, message.as_bytes()));
    format!("{message}.{signature}")
}

/// A token of these claims.
fn token(algorithm: &str, claims: &Value) -> String {
    token_with(&json!({"alg": algorithm, "typ": "JWT"}), &claims.to_string(), algorithm)
}

/// Claims like [`claims`], with some changed; `null` removes one.
fn changed(changes: Value) -> Value {
    let (mut claims, Value::Object(changes)) = (claims(), changes) else { panic!("no object") };
    for (claim, value) in changes {
        claims[&claim] = value;
    }
    let object = claims.as_object_mut().unwrap();
    object.retain(|_, value| !value.is_null());
    claims
}
