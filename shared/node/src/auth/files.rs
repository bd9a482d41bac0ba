//! The files that keys of tokens are in. Errors name setting, file and remedy, and show no secret.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::auth::keys::{HmacSecret, Jwks, JwksOrigin, KeyFault, KeySet};
use model::settings::{AuthMode, AuthSettings};
use runtime::text_file::{self, TextError};
use thiserror::Error;

use super::Authenticator;
use super::jwks_url::JwksUrl;
use crate::fingerprint;

/// Failure to read keys. The operator's matter.
#[derive(Debug, Error)]
pub enum AuthFileError {
    /// A file cannot be read.
    #[error("auth.{setting}: {path} cannot be read ({reason})", path = path.display())]
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason, with its remedy.
        reason: TextError,
    },
    /// A file has keys that cannot be used.
    #[error("auth.{setting}: {path} {fault}", path = path.display())]
    Keys {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Its fault.
        fault: KeyFault,
    },
    /// Logins are on, and no key is named.
    #[error(
        "auth.mode is not \"off\", and no key is named: set auth.hmac_file, auth.public_keys_file, auth.jwks_file or auth.jwks_url"
    )]
    NoKeys,
    /// The place of keys cannot be requested.
    #[error("auth.jwks_url cannot be requested: give an https URL")]
    Url,
    /// A token is to be made, and there is no shared key.
    #[error("auth.hmac_file is empty: `shaddock token` signs with the shared key alone")]
    NoSharedKey,
}

/// Reads the files of keys again when they change.
#[derive(Debug)]
pub struct AuthKeyReloader {
    settings: AuthSettings,
    authenticator: Authenticator,
    /// Of the files' content.
    seen: [u8; 32],
}

impl AuthKeyReloader {
    /// Reads the keys, if clients may log in.
    ///
    /// # Errors
    /// If a file cannot be read, or has a key that cannot be used.
    pub fn start(settings: &AuthSettings) -> Result<(Self, Authenticator), AuthFileError> {
        let settings = settings.clone();
        if settings.mode == AuthMode::Off {
            return Ok((Self { settings, authenticator: Authenticator::off(), seen: [0; 32] }, Authenticator::off()));
        }
        let seen = fingerprint(&settings);
        let authenticator = Authenticator::new(&settings, read(&settings)?, JwksUrl::new(&settings)?);
        Ok((Self { settings, authenticator: authenticator.clone(), seen }, authenticator))
    }

    /// Reads the files again if they changed since the last call. `None` if nothing changed.
    ///
    /// # Errors
    /// If they cannot be used. The previous keys stay; the same content is not reported again.
    pub fn reload_if_changed(&mut self) -> Option<Result<(), AuthFileError>> {
        if !self.authenticator.is_on() {
            return None;
        }
        let now = fingerprint(&self.settings);
        if now == self.seen {
            return None;
        }
        // Noted before the read, so that the same bad content is reported once.
        self.seen = now;
        Some(read(&self.settings).map(|keys| self.authenticator.replace(keys)))
    }
}

/// The settings that name files, and the files.
fn files(settings: &AuthSettings) -> [(&'static str, &str); 4] {
    [
        ("hmac_file", &settings.hmac_file),
        ("hmac_previous_file", &settings.hmac_previous_file),
        ("public_keys_file", &settings.public_keys_file),
        ("jwks_file", &settings.jwks_file),
    ]
}

fn fingerprint(settings: &AuthSettings) -> [u8; 32] {
    // A file that cannot be read differs from an empty one.
    fingerprint::of(files(settings).into_iter().flat_map(|(_, path)| match fs::read(path) {
        Ok(content) => [content, Vec::new()],
        Err(error) => [Vec::new(), error.kind().to_string().into_bytes()],
    }))
}

fn read(settings: &AuthSettings) -> Result<KeySet, AuthFileError> {
    let mut keys = KeySet::default();
    for (setting, path) in files(settings).into_iter().filter(|(_, path)| !path.is_empty()) {
        let path = Path::new(path);
        let unreadable = |reason| AuthFileError::Unreadable { setting, path: path.to_owned(), reason };
        let added = if setting.starts_with("hmac") {
            // A secret is any bytes, and no text.
            let content = fs::read(path).map_err(|error: io::Error| unreadable(error.into()))?;
            HmacSecret::new(&content).map(|secret| keys.add_secrets(&[secret]))
        } else {
            let text = text_file::read(path).map_err(unreadable)?;
            match setting {
                "jwks_file" => Jwks::parse(&text, JwksOrigin::File).map(|jwks| keys.add_jwks(&jwks)),
                _ => keys.add_pem(&text),
            }
        };
        added.map_err(|fault| AuthFileError::Keys { setting, path: path.to_owned(), fault })?;
    }
    if keys.is_empty() && settings.jwks_url.is_empty() { Err(AuthFileError::NoKeys) } else { Ok(keys) }
}
