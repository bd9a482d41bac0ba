//! Tokens for trying logins out, from the shared key.

use std::fs;
use std::io;
use std::path::Path;

use ::auth::keys::HmacSecret;
use model::settings::AuthSettings;
use serde_json::{Map, Value};

use super::{AuthFileError, now_secs};

/// Content of a token that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct TokenRequest<'a> {
    /// The user's id.
    pub sub: &'a str,
    /// The name in rooms.
    pub name: Option<&'a str>,
    /// Seconds until it expires.
    pub secs: u64,
    /// The user's roles.
    pub roles: &'a [String],
}

/// Returns a token that servers with these settings accept now.
///
/// # Errors
/// If there is no shared key, or it cannot be used.
pub fn issue(settings: &AuthSettings, request: &TokenRequest<'_>) -> Result<String, AuthFileError> {
    let (setting, path) = ("hmac_file", Path::new(&settings.hmac_file));
    if settings.hmac_file.is_empty() {
        return Err(AuthFileError::NoSharedKey);
    }
    let content = fs::read(path).map_err(|error: io::Error| AuthFileError::Unreadable {
        setting,
        path: path.to_owned(),
        reason: error.into(),
    })?;
    let secret = HmacSecret::new(&content);
    let secret = secret.map_err(|fault| AuthFileError::Keys { setting, path: path.to_owned(), fault })?;
    let (now, mut claims) = (now_secs(), Map::new());
    claims.insert("sub".to_owned(), request.sub.into());
    claims.insert("iat".to_owned(), now.into());
    claims.insert("exp".to_owned(), now.saturating_add(request.secs).into());
    let texts = [("name", request.name), ("aud", Some(settings.audience.as_str())), ("iss", Some(&settings.issuer))];
    for (claim, text) in texts {
        claims.extend(text.filter(|text| !text.is_empty()).map(|text| (claim.to_owned(), Value::from(text))));
    }
    if !request.roles.is_empty() {
        claims.insert("roles".to_owned(), request.roles.into());
    }
    Ok(::auth::issue(&secret, &claims))
}
