//! Rows AT1 to AT5 of the attack suite's design: forged tokens, each with the check that refuses it.

use super::*;

#[test]
fn at1_a_token_without_a_signature_is_none() {
    for alg in ["none", "None", "NONE", "nOnE", "", "HS255", "ES512", "RS1"] {
        for signed_by in ["", "HS256", "RS256"] {
            let token = token_with(&json!({"alg": alg}), &claims().to_string(), signed_by);
            assert_eq!(check(&token), Err(TokenError::Algorithm), "{alg} signed by {signed_by}");
        }
    }
    for alg in ["HS256", "RS256", "ES256", "EdDSA"] {
        let unsigned = token_with(&json!({"alg": alg}), &claims().to_string(), "");
        assert_eq!(check(&unsigned), Err(TokenError::Signature), "{alg}");
    }
}

#[test]
fn at1_a_token_has_three_parts() {
    let good = token("HS256", &claims());
    let (message, _) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        header.to_owned(),
        message.to_owned(),
        format!("{good}."),
        format!("{good}.{payload}"),
        format!("{good}.{payload}.{payload}"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
    ] {
        assert!(matches!(check(&bad), Err(TokenError::Malformed)), "{bad}: {:?}", check(&bad));
    }
}

#[test]
fn at1_headers_that_are_no_header() {
    for header in [
        json!([]),
        json!("HS256"),
        json!({"alg": 7}),
        json!({"alg": ["HS256"]}),
        json!({"alg": "HS256", "kid": 7}),
        json!({"alg": "HS256", "typ": []}),
    ] {
        let bad = token_with(&header, &claims().to_string(), "HS256");
        assert!(matches!(check(&bad), Err(TokenError::Malformed)), "{header}");
    }
    let none = token_with(&json!({"typ": "JWT"}), &claims().to_string(), "HS256");
    assert_eq!(check(&none), Err(TokenError::Algorithm));
}

#[test]
fn at2_a_public_key_is_no_secret() {
    let message = format!("{}.{}", encode(br#"{"alg":"HS256"}"#), encode(claims().to_string().as_bytes()));
    let mut public = KeySet::default();
    public.add_pem(RSA_PEM).unwrap();
    for secret in [RSA_PEM.as_bytes(), RSA_PEM.trim_end().as_bytes(), SECRET] {
        let signed = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), message.as_bytes());
        let token = format!("{message}.{}", encode(signed.as_ref()));
        assert_eq!(verify(&token, &public, &rules(), NOW), Err(TokenError::Algorithm));
    }
}

#[test]
fn at2_the_key_determines_the_algorithm() {
    let pairs = [
        ("RS256", "ES256"),
        ("ES256", "RS256"),
        ("ES384", "ES256"),
        ("ES256", "ES384"),
        ("EdDSA", "ES256"),
        ("HS256", "EdDSA"),
        ("RS256", "PS256"),
        ("HS256", "HS512"),
    ];
    for (named, signed_by) in pairs {
        let token = token_with(&json!({"alg": named}), &claims().to_string(), signed_by);
        assert_eq!(check(&token), Err(TokenError::Signature), "{named} signed by {signed_by}");
    }
    let mut one = KeySet::default();
    one.add_pem(P256_PEM).unwrap();
    for algorithm in ["RS256", "ES384", "EdDSA", "HS256"] {
        assert_eq!(
            verify(&token(algorithm, &claims()), &one, &rules(), NOW),
            Err(TokenError::Algorithm),
            "{algorithm}"
        );
    }
}

#[test]
fn at2_a_jwk_may_name_one_algorithm() {
    let mut keys = KeySet::default();
    keys.add_jwks(&jwks(&[vectors::rsa_jwk(json!({"kid": "a", "alg": "RS256"}))]));
    let with = |alg: &str| token_with(&json!({"alg": alg, "kid": "a"}), &claims().to_string(), alg);
    assert!(verify(&with("RS256"), &keys, &rules(), NOW).is_ok());
    for other in ["PS256", "RS384", "RS512"] {
        assert_eq!(verify(&with(other), &keys, &rules(), NOW), Err(TokenError::Algorithm), "{other}");
    }
}

#[test]
fn at3_a_kid_is_a_key_of_a_map_alone() {
    let long = "k".repeat(10 * 1024);
    for kid in ["../../etc/passwd", "/dev/null", "' OR 1=1 --", "a\u{0}b", "http://127.0.0.1/jwks", "", "a"] {
        // Without a key of that name the keys of files are tried.
        let good = token_with(&json!({"alg": "HS256", "kid": kid}), &claims().to_string(), "HS256");
        assert!(check(&good).is_ok(), "{kid:?}");
        let mut keys = KeySet::default();
        keys.add_jwks(&jwks(&[vectors::rsa_jwk(json!({"kid": "b"}))]));
        let unknown = token_with(&json!({"alg": "RS256", "kid": kid}), &claims().to_string(), "RS256");
        assert_eq!(verify(&unknown, &keys, &rules(), NOW), Err(TokenError::UnknownKey(kid.into())), "{kid:?}");
    }
    let huge = token_with(&json!({"alg": "HS256", "kid": long}), &claims().to_string(), "HS256");
    assert_eq!(check(&huge), Err(TokenError::TooLong), "of the whole token");
    let header = token_with(&json!({"alg": "HS256", "kid": "k".repeat(600)}), &claims().to_string(), "HS256");
    assert_eq!(check(&header), Err(TokenError::TooLong), "of the header");
}

#[test]
fn at3_a_kid_selects_its_key() {
    let mut keys = keys();
    keys.add_jwks(&jwks(&[vectors::foreign_rsa_jwk(json!({"kid": "theirs"}))]));
    let signed = |kid: &str| token_with(&json!({"alg": "RS256", "kid": kid}), &claims().to_string(), "RS256");
    assert_eq!(
        verify(&signed("theirs"), &keys, &rules(), NOW),
        Err(TokenError::Signature),
        "the file's key is not tried"
    );
    assert!(verify(&signed("other"), &keys, &rules(), NOW).is_ok());
}

#[test]
fn at3_few_keys_are_tried() {
    let other = |number: u8| HmacSecret::new(&[number; 32]).unwrap();
    let tried = |before: u8| {
        let mut keys = KeySet::default();
        keys.add_secrets(&(0..before).map(other).collect::<Vec<_>>());
        keys.add_secrets(&[HmacSecret::new(SECRET).unwrap()]);
        verify(&token("HS256", &claims()), &keys, &rules(), NOW).map(drop)
    };
    assert_eq!((tried(3), tried(4)), (Ok(()), Err(TokenError::Signature)));
}

#[test]
fn at4_what_names_keys_elsewhere_is_not_read() {
    let foreign = vectors::foreign_rsa_jwk(json!({}));
    for (member, value) in [
        ("jku", json!("http://127.0.0.1:1/jwks")),
        ("x5u", json!("http://127.0.0.1:1/cert")),
        ("x5c", json!(["MIIB"])),
        ("jwk", foreign),
    ] {
        let mut header = json!({"alg": "RS256"});
        header[member] = value;
        // Signed by our key: it is verified by our key.
        assert!(check(&token_with(&header, &claims().to_string(), "RS256")).is_ok(), "{member}");
        // Signed by a key that the header brings: it is not verified.
        let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims().to_string().as_bytes()));
        let forged = format!("{message}.{}", encode(&[7; 256]));
        assert_eq!(check(&forged), Err(TokenError::Signature), "{member}");
    }
}

#[test]
fn at4_extensions_that_must_be_understood_are_refused() {
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!("b64"), Value::Null] {
        for b64 in [json!(false), json!(true), Value::Null] {
            let header = json!({"alg": "HS256", "crit": crit, "b64": b64});
            assert_eq!(
                check(&token_with(&header, &claims().to_string(), "HS256")),
                Err(TokenError::Critical),
                "{header}"
            );
        }
    }
    let unencoded = token_with(&json!({"alg": "HS256", "b64": false}), &claims().to_string(), "HS256");
    assert_eq!(check(&unencoded), Err(TokenError::Malformed));
}

#[test]
fn at5_claims_are_what_they_should_be() {
    let bad = |changes: Value| check(&token("HS256", &changed(changes.clone()))).expect_err(&changes.to_string());
    for exp in [json!(null), json!("1800000060"), json!(true), json!(1_u64 << 63), json!(1e300), json!(-1)] {
        assert_eq!(bad(json!({"exp": exp})), TokenError::Claim("exp"), "{exp}");
    }
    assert_eq!(bad(json!({"exp": NOW - 3_600})), TokenError::Expired);
    assert_eq!(bad(json!({"exp": 0})), TokenError::Expired);
    for (claim, value) in
        [("nbf", json!("0")), ("nbf", json!(-1)), ("iat", json!("1800000000")), ("iat", json!(1_u64 << 63))]
    {
        assert_eq!(bad(json!({claim: value})), TokenError::Claim(claim), "{claim}");
    }
    for sub in [json!(null), json!(""), json!("x".repeat(129)), json!("a\nb"), json!("a\u{0}"), json!(4711)] {
        assert_eq!(bad(json!({"sub": sub})), TokenError::Claim("sub"), "{sub}");
    }
    // The library does not read on behind some of these.
    for claims in [json!({"exp": [NOW + 60]}), json!({"exp": {}}), json!({"sub": ["ann"]}), json!({"sub": {}})] {
        let refusal = bad(claims.clone());
        assert!(matches!(refusal, TokenError::Malformed | TokenError::Claim(_)), "{claims}: {refusal}");
    }
    for sub in ["a.b.>", "😀", "ann lee", "~"] {
        let user = check(&token("HS256", &changed(json!({"sub": sub})))).unwrap();
        assert_eq!(user.uid.as_str(), sub);
    }
}

#[test]
fn at5_claims_are_one_object() {
    for claims in [
        "",
        "[]",
        "null",
        "7",
        "{\"sub\":\"ann\"",
        "{\"sub\":\"ann\",\"sub\":\"bob\",\"exp\":1800000060,\"iat\":1800000000}",
    ] {
        let token = token_with(&json!({"alg": "HS256"}), claims, "HS256");
        assert_eq!(check(&token), Err(TokenError::Malformed), "{claims}");
    }
}

#[test]
fn a_long_token_is_not_read() {
    let long = token("HS256", &changed(json!({"x": "x".repeat(3_000)})));
    assert_eq!(check(&long), Err(TokenError::TooLong));
    let broken = format!("{}.x.y", "A".repeat(4_000));
    assert_eq!(check(&broken), Err(TokenError::TooLong));
}

#[test]
fn without_a_key_every_token_is_refused() {
    assert_eq!(verify(&token("HS256", &claims()), &KeySet::default(), &rules(), NOW), Err(TokenError::Algorithm));
}
