//! Files of keys, and the weak keys that are refused.

use auth::keys::KeyFault;

use super::*;

fn pem(text: &str) -> Result<usize, KeyFault> {
    let mut keys = KeySet::default();
    keys.add_pem(text).map(|()| keys.len())
}

#[test]
fn a_file_has_several_keys() {
    assert_eq!(pem(P256_PEM), Ok(1));
    assert_eq!(pem(&format!("The next key\n{P256_PEM}\n# and the last one\n{RSA_PEM}{ED25519_PEM}")), Ok(3));
}

#[test]
fn weak_and_foreign_keys_are_refused() {
    let faults = [
        (include_str!("../keys/rsa1024.pem"), KeyFault::RsaBits { number: 1, bits: 1_024 }),
        (include_str!("../keys/secp256k1.pem"), KeyFault::Unsupported(1)),
        (include_str!("../keys/secp521r1.pem"), KeyFault::Unsupported(1)),
        (include_str!("../keys/ed448.pem"), KeyFault::Unsupported(1)),
    ];
    for (text, fault) in faults {
        assert_eq!(pem(text), Err(fault.clone()), "{fault}");
    }
    let second = format!("{P256_PEM}{}", include_str!("../keys/rsa1024.pem"));
    assert_eq!(pem(&second), Err(KeyFault::RsaBits { number: 2, bits: 1_024 }));
}

#[test]
fn files_that_are_no_public_keys_are_refused() {
    assert_eq!(pem(""), Err(KeyFault::NoKey));
    assert_eq!(pem("0123456789abcdef0123456789abcdef"), Err(KeyFault::NoKey));
    let private = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    assert_eq!(pem(&format!("{P256_PEM}{private}")), Err(KeyFault::OtherSection));
    assert_eq!(pem("-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n"), Err(KeyFault::Unreadable(1)));
}

#[test]
fn a_secret_is_long_and_no_public_key() {
    assert_eq!(HmacSecret::new(&[7; 31]).unwrap_err(), KeyFault::ShortSecret(31));
    assert_eq!(HmacSecret::new(b"").unwrap_err(), KeyFault::ShortSecret(0));
    assert_eq!(HmacSecret::new(RSA_PEM.as_bytes()).unwrap_err(), KeyFault::PemSecret);
    for end in ["", "\n", "\r\n"] {
        let mut keys = KeySet::default();
        keys.add_secrets(&[HmacSecret::new(&[SECRET, end.as_bytes()].concat()).unwrap()]);
        assert!(verify(&token("HS256", &claims()), &keys, &rules(), NOW).is_ok(), "{end:?}");
    }
    assert_eq!(format!("{:?}", HmacSecret::new(SECRET).unwrap()), "HmacSecret(..)");
}

#[test]
fn a_set_has_the_keys_that_are_for_us() {
    let set = json!({"keys": [
        vectors::rsa_jwk(json!({"kid": "a", "use": "sig"})),
        vectors::rsa_jwk(json!({"kid": "b", "use": "enc"})),
        vectors::rsa_jwk(json!({"kid": "c", "key_ops": ["encrypt"]})),
        vectors::rsa_jwk(json!({"kid": "d", "alg": "RSA-OAEP"})),
        vectors::rsa_jwk(json!({"kid": "e", "alg": "ES256"})),
        {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "oct", "k": encode(SECRET)},
        {"kty": "new"},
        7,
    ]});
    let set = set.to_string();
    let parsed = |origin| {
        let jwks = Jwks::parse(&set, origin).unwrap();
        let mut keys = KeySet::default();
        keys.add_jwks(&jwks);
        (keys.len(), jwks.skipped(), keys.has_shared_key())
    };
    assert_eq!(parsed(JwksOrigin::Url), (1, 11, false), "a secret that others get is none");
    assert_eq!(parsed(JwksOrigin::File), (2, 10, true));
}

/// A file has a line break at its end, the member of a set is the key as it is.
#[test]
fn a_shared_key_of_a_set_may_end_in_any_byte() {
    let secret = [&SECRET[..], b"\n"].concat();
    let set = json!({"keys": [{"kty": "oct", "k": encode(&secret)}]}).to_string();
    let mut keys = KeySet::default();
    keys.add_jwks(&Jwks::parse(&set, JwksOrigin::File).unwrap());
    let token = auth::issue(&HmacSecret::new(&[&secret[..], b"\n"].concat()).unwrap(), claims().as_object().unwrap());
    assert!(verify(&token, &keys, &rules(), NOW).is_ok());
}

#[test]
fn texts_that_are_no_set_are_refused() {
    let fault = |text: &str| Jwks::parse(text, JwksOrigin::Url).unwrap_err();
    assert!(matches!(fault("<html>"), KeyFault::Syntax(_)));
    assert!(matches!(fault("{}"), KeyFault::Syntax(_)));
    assert!(matches!(fault("[]"), KeyFault::Syntax(_)));
    assert!(matches!(fault(r#"{"keys":{}}"#), KeyFault::Syntax(_)));
    assert!(matches!(fault(r#"{"keys":[]}"#), KeyFault::NoneUsable(_)));
    assert!(matches!(fault(r#"{"keys":[{"kty":"oct","k":"AA"}]}"#), KeyFault::NoneUsable(_)));
    let many = vec![vectors::rsa_jwk(json!({})); 65];
    assert_eq!(fault(&json!({ "keys": many }).to_string()), KeyFault::TooMany(64));
}

#[test]
fn an_exponent_of_one_is_no_key() {
    let mut key = vectors::rsa_jwk(json!({}));
    key["e"] = json!("AQ");
    assert!(Jwks::parse(&json!({"keys": [key]}).to_string(), JwksOrigin::Url).is_err());
}
