//! The header of a token: `alg` and `kid`. All that names keys elsewhere stays unread.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::TokenError;

/// Most bytes of a header.
const MOST_BYTES: usize = 512;

/// Members of a header that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<Arc<str>>,
}

impl Header {
    /// Reads the header of a token in three parts.
    pub(crate) fn read(token: &str) -> Result<Self, TokenError> {
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(TokenError::Malformed);
        };
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
        if header.len() > MOST_BYTES {
            return Err(TokenError::TooLong);
        }
        let header: Map<String, Value> = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
        if header.contains_key("crit") {
            return Err(TokenError::Critical);
        }
        let text = |member: &str| match header.get(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(TokenError::Malformed),
        };
        text("typ")?;
        let algorithm = text("alg")?.and_then(|name| name.parse().ok()).ok_or(TokenError::Algorithm)?;
        Ok(Self { algorithm, kid: text("kid")?.map(Arc::from) })
    }
}
