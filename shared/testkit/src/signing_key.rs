//! Keys of an application or an identity provider, which sign tokens for tests.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

/// A key that signs tokens, by `ring` alone: nothing of the crate that verifies them.
#[derive(Debug)]
pub struct SigningKey(Kind);

#[derive(Debug)]
enum Kind {
    Hmac(hmac::Key),
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

#[expect(clippy::expect_used, clippy::panic, reason = "fails the test that needs a key")]
impl SigningKey {
    /// The public key of [`SigningKey::rsa`].
    pub const RSA_PEM: &str = include_str!("../../auth/tests/keys/rsa2048.pem");
    /// The public key of [`SigningKey::p256`].
    pub const P256_PEM: &str = include_str!("../../auth/tests/keys/prime256v1.pem");

    /// Signs HS256 with a shared key.
    pub fn hmac(secret: &[u8]) -> Self {
        Self(Kind::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// Signs RS256, always with the same key of 2,048 bits.
    pub fn rsa() -> Self {
        let key = include_bytes!("../../auth/tests/keys/rsa2048.pk8");
        Self(Kind::Rsa(RsaKeyPair::from_pkcs8(key).expect("the file has a key")))
    }

    /// Signs ES256, always with the same key.
    pub fn p256() -> Self {
        let (key, random) = (include_bytes!("../../auth/tests/keys/prime256v1.pk8"), SystemRandom::new());
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key, &random);
        Self(Kind::P256(pair.expect("the file has a key")))
    }

    /// Signs EdDSA with the key of a seed.
    pub fn ed25519(seed: [u8; 32]) -> Self {
        Self(Kind::Ed25519(Ed25519KeyPair::from_seed_unchecked(&seed).expect("every seed is a key")))
    }

    /// Returns the signature of a message.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.0 {
            Kind::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
            Kind::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("the length is right");
                signature
            }
            Kind::P256(pair) => pair.sign(&random, message).expect("the system has randomness").as_ref().to_vec(),
            Kind::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// Returns the public key as a member of a JWK set, by this name.
    ///
    /// # Panics
    /// If it is no key for EdDSA.
    pub fn jwk(&self, kid: &str) -> Value {
        let Kind::Ed25519(pair) = &self.0 else { panic!("{self:?} is not for EdDSA") };
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": BASE64URL_NOPAD.encode(pair.public_key().as_ref())})
    }

    /// Returns a token with these claims; the header names the key, if it has a name.
    pub fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        let algorithm = match self.0 {
            Kind::Hmac(_) => "HS256",
            Kind::Rsa(_) => "RS256",
            Kind::P256(_) => "ES256",
            Kind::Ed25519(_) => "EdDSA",
        };
        let mut header = json!({"alg": algorithm, "typ": "JWT"});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        signed_token(&header.to_string(), &claims.to_string(), |message| self.sign(message))
    }
}

/// Returns a token of any header and claims, with any signature.
pub fn signed_token(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.as_bytes()));
    let message = format!("{header}.{claims}");
    let signature = BASE64URL_NOPAD.encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}
