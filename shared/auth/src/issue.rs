//! Makes a token with a shared key, for trying the server out.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Map, Value};

use crate::keys::HmacSecret;

/// Returns a token with these claims, signed by HS256.
pub fn issue(secret: &HmacSecret, claims: &Map<String, Value>) -> String {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let claims = Value::Object(claims.clone()).to_string();
    let signed = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(&claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.bytes()), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
