//! The file of keys, read at the start and when it changes.

use std::path::{Path, PathBuf};

use model::settings::ApiSettings;
use runtime::text_file::{self, TextError};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{KeyFault, KeyRing, Keys};

/// Failure to read the keys of the API. The operator's matter.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The setting is empty, and a server needs keys.
    #[error(
        "api.keys_file is empty, and servers.json has an api server: name a file of keys; `shaddock key ID` prints an entry for it"
    )]
    Unset,
    /// The file cannot be read.
    #[error("api.keys_file: {path} cannot be read ({reason})", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason, with its remedy.
        reason: TextError,
    },
    /// The file has something else.
    #[error("api.keys_file: {path} {fault}", path = path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Its fault, with the remedy.
        fault: KeyFault,
    },
}

/// Reads the keys again when their file changes.
#[derive(Debug)]
pub struct KeyReloader {
    path: PathBuf,
    keys: Keys,
    /// Of the file's content; `None` while it cannot be read.
    seen: Option<[u8; 32]>,
}

impl KeyReloader {
    /// Reads the keys.
    ///
    /// # Errors
    /// If there is no file of keys, or it cannot be used.
    pub fn start(settings: &ApiSettings) -> Result<(Self, Keys), KeyFileError> {
        if settings.keys_file.is_empty() {
            return Err(KeyFileError::Unset);
        }
        let path = PathBuf::from(&settings.keys_file);
        let text = read(&path)?;
        let keys = Keys::new(parse(&path, &text)?);
        Ok((Self { path, keys: keys.clone(), seen: Some(fingerprint(&text)) }, keys))
    }

    /// Reads the file again if it changed since the last call. `None` if nothing changed.
    ///
    /// # Errors
    /// If it cannot be used. The keys of before stay; the same content is not reported again.
    pub fn reload_if_changed(&mut self) -> Option<Result<(), KeyFileError>> {
        let text = read(&self.path);
        let now = text.as_ref().ok().map(|text| fingerprint(text));
        if now == self.seen {
            return None;
        }
        // Noted before the parse, so that the same bad content is reported once.
        self.seen = now;
        Some(text.and_then(|text| parse(&self.path, &text)).map(|ring| self.keys.replace(ring)))
    }
}

fn read(path: &Path) -> Result<String, KeyFileError> {
    text_file::read(path).map_err(|reason| KeyFileError::Unreadable { path: path.to_owned(), reason })
}

fn parse(path: &Path, text: &str) -> Result<KeyRing, KeyFileError> {
    KeyRing::parse(text).map_err(|fault| KeyFileError::Keys { path: path.to_owned(), fault })
}

fn fingerprint(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}
