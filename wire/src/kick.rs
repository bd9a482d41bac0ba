//! The body of a kick, `{"reason":"..."}`. Does not know the reasons.

use serde::Serialize;
use serde_json::Value;

use crate::body::parse_json;
use crate::error::WireError;
use crate::package::{Package, PackageKind};
use crate::text::to_json;

/// The body of a kick, by which the server closes a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kick {
    /// Shown to the application; `kick` and `attack` are Pomelo's own.
    pub reason: String,
}

impl Kick {
    /// The package to send before the connection is closed.
    ///
    /// # Errors
    /// None in practice: a text always has a JSON form.
    pub fn to_package(&self) -> Result<Package, WireError> {
        Ok(Package::new(PackageKind::Kick, to_json(self)?))
    }

    /// Reads the body of a kick.
    ///
    /// # Errors
    /// [`WireError::Kick`]; the connection is over all the same.
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        let mut body = parse_json(body).map_err(|_| WireError::Kick)?;
        match body.get_mut("reason").map(Value::take) {
            Some(Value::String(reason)) => Ok(Self { reason }),
            _ => Err(WireError::Kick),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_comes_back() {
        let kick = Kick { reason: "too slow \u{1F600}".to_owned() };
        let package = kick.to_package().unwrap();
        assert!(package.body.is_ascii());
        assert_eq!(Kick::parse(&package.body), Ok(kick));
    }

    #[test]
    fn a_kick_without_a_reason_is_an_error() {
        for body in ["", "[]", "{}", "{\"reason\":1}"] {
            assert_eq!(Kick::parse(body.as_bytes()), Err(WireError::Kick));
        }
    }
}
