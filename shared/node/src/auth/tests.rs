mod jwks;

use std::fs;

use ::auth::TokenError;
use ::auth::keys::HmacSecret;
use runtime::clock;
use serde_json::{Map, json};
use testkit::Scratch;

use super::*;

const FIRST: &[u8] = b"first-first-first-first-first-first";
const SECOND: &[u8] = b"second-second-second-second-second";

fn token(secret: &[u8]) -> String {
    let now = clock::now_ms() / 1_000;
    let claims = json!({"sub": "ann", "iat": now, "exp": now + 60});
    let claims: Map<_, _> = claims.as_object().unwrap().clone();
    ::auth::issue(&HmacSecret::new(secret).unwrap(), &claims)
}

fn settings(hmac_file: String) -> AuthSettings {
    AuthSettings { mode: AuthMode::Required, hmac_file, ..AuthSettings::default() }
}

#[test]
fn a_changed_key_is_read_again_and_a_bad_one_changes_nothing() {
    let scratch = Scratch::new();
    let file = scratch.file("hmac", &String::from_utf8_lossy(FIRST));
    let previous = scratch.path_of("previous");
    let settings = AuthSettings { hmac_previous_file: previous.clone(), ..settings(file.clone()) };
    fs::write(&previous, SECOND).unwrap();
    let (mut reloader, auth) = AuthKeyReloader::start(&settings).unwrap();
    assert!(auth.verify(&token(FIRST)).is_ok() && auth.verify(&token(SECOND)).is_ok());
    assert!(reloader.reload_if_changed().is_none());
    fs::write(&previous, [9; 31]).unwrap();
    assert!(matches!(
        reloader.reload_if_changed(),
        Some(Err(AuthFileError::Keys { setting: "hmac_previous_file", .. }))
    ));
    assert!(reloader.reload_if_changed().is_none(), "the same fault is reported once");
    assert!(auth.verify(&token(SECOND)).is_ok(), "the keys of before stay");
    fs::write(&previous, [9; 32]).unwrap();
    assert!(matches!(reloader.reload_if_changed(), Some(Ok(()))));
    assert_eq!(auth.verify(&token(SECOND)), Err(TokenError::Signature));
    assert!(auth.verify(&token(FIRST)).is_ok());
}

#[test]
fn logins_need_a_key_that_can_be_read() {
    assert!(matches!(AuthKeyReloader::start(&settings(String::new())), Err(AuthFileError::NoKeys)));
    let missing = AuthKeyReloader::start(&settings("/nowhere/hmac".to_owned())).unwrap_err();
    assert!(missing.to_string().starts_with("auth.hmac_file: /nowhere/hmac cannot be read"), "{missing}");
    let (_, off) = AuthKeyReloader::start(&AuthSettings::default()).unwrap();
    assert!(!off.is_on() && off.verify(&token(FIRST)).is_err());
}
