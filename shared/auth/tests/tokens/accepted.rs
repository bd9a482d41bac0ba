//! Tokens that are accepted, and the users that they name.

use model::permissions::Action;
use proptest::prelude::*;

use super::*;

const ALGORITHMS: [&str; 12] =
    ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

#[test]
fn every_algorithm_is_verified() {
    for algorithm in ALGORITHMS {
        let user = check(&token(algorithm, &claims())).unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        assert_eq!((user.uid.as_str(), user.expires_at), ("ann", NOW + 60));
        assert_eq!(user.name.unwrap().as_str(), "ann");
    }
}

#[test]
fn names_come_from_where_the_setting_says() {
    let named = changed(json!({"sub": "4711", "name": "Ann"}));
    let name = |name, claims: &Value| {
        let rules = ClaimRules { name, ..rules() };
        let name = verify(&token("HS256", claims), &keys(), &rules, NOW).map(|user| user.name);
        name.map(|name| name.map(|name| name.as_str().to_owned()))
    };
    assert_eq!(name(NameSource::Claim, &named), Ok(Some("Ann".to_owned())));
    assert_eq!(name(NameSource::Claim, &changed(json!({"sub": "4711"}))), Ok(Some("4711".to_owned())));
    assert_eq!(name(NameSource::Sub, &named), Ok(Some("4711".to_owned())));
    assert_eq!(name(NameSource::Free, &named), Ok(None));
    assert_eq!(name(NameSource::Claim, &changed(json!({"name": "*"}))), Err(TokenError::Claim("name")));
    assert_eq!(name(NameSource::Claim, &changed(json!({"name": 7}))), Err(TokenError::Claim("name")));
    assert_eq!(name(NameSource::Sub, &changed(json!({"sub": "x".repeat(65)}))), Err(TokenError::Claim("sub")));
    assert!(name(NameSource::Free, &changed(json!({"sub": "x".repeat(65)}))).is_ok());
}

#[test]
fn info_is_any_short_json() {
    let info = |info: Value| check(&token("HS256", &changed(json!({"info": info})))).map(|user| user.info);
    let of = |length: usize| json!("x".repeat(length - 2));
    assert_eq!(info(json!({"level": 3, "a": [1]})).unwrap().as_deref(), Some(r#"{"a":[1],"level":3}"#));
    assert_eq!(info(Value::Null), Ok(None));
    assert!(info(of(512)).is_ok());
    assert_eq!(info(of(513)), Err(TokenError::Claim("info")));
}

#[test]
fn times_have_a_leeway() {
    let ok = |changes| check(&token("HS256", &changed(changes)));
    assert!(ok(json!({"exp": NOW - 29, "nbf": NOW + 30, "iat": NOW + 30})).is_ok());
    assert_eq!(ok(json!({"exp": NOW - 30})), Err(TokenError::Expired));
    assert_eq!(ok(json!({"nbf": NOW + 31})), Err(TokenError::NotYet));
    assert_eq!(ok(json!({"iat": NOW + 31})), Err(TokenError::NotYet));
    assert!(ok(json!({"exp": NOW as f64 + 0.5})).is_ok(), "RFC 7519 allows fractions");
}

#[test]
fn a_token_has_an_age() {
    let day = 24 * 3_600;
    let aged = |max_age_secs, changes| {
        verify(&token("HS256", &changed(changes)), &keys(), &ClaimRules { max_age_secs, ..rules() }, NOW).map(drop)
    };
    assert_eq!(aged(day, json!({"iat": NOW - day - 29})), Ok(()));
    assert_eq!(aged(day, json!({"iat": NOW - day - 30})), Err(TokenError::Expired));
    assert_eq!(aged(day, json!({"iat": null})), Err(TokenError::Claim("iat")));
    assert_eq!((aged(0, json!({"iat": null})), aged(0, json!({"iat": 0}))), (Ok(()), Ok(())));
}

#[test]
fn issuer_and_audience_are_checked_where_they_are_set() {
    let rules = ClaimRules { audience: "chat".to_owned(), issuer: "https://id.example".to_owned(), ..rules() };
    let checked = |aud: Value, iss: Value| {
        verify(&token("HS256", &changed(json!({"aud": aud, "iss": iss}))), &keys(), &rules, NOW).map(drop)
    };
    let iss = json!("https://id.example");
    assert_eq!(checked(json!("chat"), iss.clone()), Ok(()));
    assert_eq!(checked(json!(["shop", "chat"]), iss.clone()), Ok(()));
    for aud in
        [json!("shop"), json!(["shop"]), json!([]), json!(["chat", 7]), json!(7), json!({"chat": 1}), Value::Null]
    {
        assert_eq!(checked(aud.clone(), iss.clone()), Err(TokenError::Claim("aud")), "{aud}");
    }
    for iss in [json!("https://id.example/"), json!(["https://id.example"]), Value::Null] {
        assert_eq!(checked(json!("chat"), iss.clone()), Err(TokenError::Claim("iss")), "{iss}");
    }
    let anything = changed(json!({"aud": {"x": 1}, "iss": 7}));
    assert!(check(&token("HS256", &anything)).is_ok(), "not set, not checked");
}

#[test]
fn a_token_that_we_issue_is_accepted() {
    let secret = HmacSecret::new(SECRET).unwrap();
    let Value::Object(claims) = claims() else { panic!("no object") };
    assert_eq!(check(&auth::issue(&secret, &claims)).unwrap().uid.as_str(), "ann");
}

proptest! {
    #[test]
    fn a_changed_byte_makes_a_token_wrong(at in 0_usize..1_000, to in "[a-zA-Z0-9_.-]") {
        let good = token("HS256", &claims());
        let at = at % good.len();
        let bad = format!("{}{to}{}", &good[..at], &good[at + 1..]);
        // The last character of a part has bits that mean nothing, which must be zero.
        prop_assert!(bad == good || check(&bad).is_err(), "{}", bad);
    }

    #[test]
    fn any_text_is_refused_without_a_panic(token in ".{0,200}") {
        prop_assert!(check(&token).is_err());
    }

    #[test]
    fn any_claims_are_read(claims in "\\PC{0,80}") {
        let token = token_with(&json!({"alg": "HS256"}), &claims, "HS256");
        prop_assert!(check(&token).is_err());
    }
}

#[test]
fn grants_are_patterns_with_actions_and_roles_are_names() {
    let granted = check(&token(
        "HS256",
        &changed(json!({"rooms": [{"match": "guild-*", "allow": ["enter", "send"]}], "roles": ["moderator", 7]})),
    ));
    let principal = granted.unwrap();
    let grants = principal.grants();
    assert_eq!((grants.rooms.len(), grants.rooms[0].rooms.as_str()), (1, "guild-*"));
    assert!(grants.rooms[0].rights.allow(Action::Send) && !grants.rooms[0].rights.allow(Action::Moderate));
    assert_eq!(grants.roles.iter().map(|role| &**role).collect::<Vec<_>>(), ["moderator"]);
    for none in [json!({}), json!({"rooms": null}), json!({"rooms": []}), json!({"roles": {"realm": []}})] {
        assert_eq!(check(&token("HS256", &changed(none.clone()))).unwrap().grants, None, "{none}");
    }
    let one = check(&token("HS256", &changed(json!({"roles": "moderator"})))).unwrap();
    assert_eq!(one.grants().roles.len(), 1);
}

#[test]
fn grants_that_are_none_are_refused() {
    let grant = |json: Value| check(&token("HS256", &changed(json!({"rooms": json})))).unwrap_err();
    let many = vec![json!({"match": "a", "allow": ["send"]}); 65];
    for bad in [
        json!("guild-*"),
        json!(["guild-*"]),
        json!([{"allow": ["send"]}]),
        json!([{"match": "", "allow": ["send"]}]),
        json!([{"match": "a"}]),
        json!([{"match": "a", "allow": "send"}]),
        json!([{"match": "a", "allow": ["sent"]}]),
        json!(many),
    ] {
        assert_eq!(grant(bad.clone()), TokenError::Claim("rooms"), "{bad}");
    }
}
