//! What a token costs a login: the storm of logins on one process, without tokens and with those of
//! each algorithm. No comparison, and no promise.

use data_encoding::BASE64URL_NOPAD;
use load::Report;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use runtime::clock;
use serde_json::json;
use testkit::Scratch;

use crate::results::{Algorithm, LoginRow};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const P256: &[u8] = include_bytes!("../../../shared/auth/tests/keys/prime256v1.pk8");
const P256_PEM: &str = include_str!("../../../shared/auth/tests/keys/prime256v1.pem");
const RSA: &[u8] = include_bytes!("../../../shared/auth/tests/keys/rsa2048.pk8");
const RSA_PEM: &str = include_str!("../../../shared/auth/tests/keys/rsa2048.pem");

/// Returns the settings of servers that verify tokens of an algorithm. Users choose their names, so
/// that one token is enough for all.
pub(crate) fn settings(algorithm: Algorithm, scratch: &Scratch) -> String {
    let key = match algorithm {
        Algorithm::None => return String::new(),
        Algorithm::Hs256 => ("hmac_file", scratch.file("key", SECRET)),
        Algorithm::Es256 => ("public_keys_file", scratch.file("key", P256_PEM)),
        Algorithm::Rs256 => ("public_keys_file", scratch.file("key", RSA_PEM)),
    };
    let (setting, file) = key;
    format!(
        "auth.mode = \"required\"\nauth.name = \"free\"\nauth.max_sessions_per_user = 0\nauth.{setting} = {file:?}\n"
    )
}

/// Returns a token of an hour, unless users have none.
pub(crate) fn token(algorithm: Algorithm) -> Option<String> {
    let name = algorithm.name()?;
    let now = clock::now_ms() / 1_000;
    let parts = [json!({"alg": name, "typ": "JWT"}), json!({"sub": "4711", "iat": now, "exp": now + 3_600})];
    let message = parts.map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes())).join(".");
    let signature = BASE64URL_NOPAD.encode(&sign(algorithm, message.as_bytes()));
    Some(format!("{message}.{signature}"))
}

fn sign(algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::None => Vec::new(),
        Algorithm::Hs256 => {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message).as_ref().to_vec()
        }
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, P256, &random).unwrap();
            pair.sign(&random, message).unwrap().as_ref().to_vec()
        }
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::from_pkcs8(RSA).unwrap();
            let mut signature = vec![0; pair.public().modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
            signature
        }
    }
}

/// Returns what a storm of logins with this algorithm found.
pub(crate) fn row(algorithm: Algorithm, report: &Report) -> Option<LoginRow> {
    let step = report.steps.first()?;
    let secs: f64 = step.cpu.iter().map(|process| process.secs).sum();
    Some(LoginRow { algorithm, per_sec: step.logins_per_sec, server_micros: secs * 1e6 / step.logins as f64 })
}
