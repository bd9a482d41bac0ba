//! The body of `connector.entryHandler.enter`: who wants to enter which room.

use serde_json::Value;
use shared::ids::{IdError, Name, RoomId};
use thiserror::Error;
use wire::Body;

/// A client's wish to enter a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enter {
    /// Under which name.
    pub name: Name,
    /// Which room.
    pub room: RoomId,
}

/// Why nobody can enter so. The client is to blame.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum EnterError {
    /// The body is not a JSON object.
    #[error("bad-body: the body must be a JSON object")]
    NotAnObject,
    /// A field is missing or not a string.
    #[error("bad-{0}: {0} must be a string")]
    Missing(&'static str),
    /// A field is not a name.
    #[error("bad-{0}: {0} {1}")]
    Bad(&'static str, IdError),
}

impl Enter {
    /// Reads the body of a request.
    pub fn read(body: &[u8]) -> Result<Self, EnterError> {
        let body = Body::parse(body).into_members().ok_or(EnterError::NotAnObject)?;
        let text = |field| body.get(field).and_then(Value::as_str).ok_or(EnterError::Missing(field));
        let name = Name::new(text("username")?).map_err(|error| EnterError::Bad("username", error))?;
        let room = RoomId::new(text("rid")?).map_err(|error| EnterError::Bad("rid", error))?;
        Ok(Self { name, room })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_room() {
        let enter = Enter::read(r#"{"username":"ann","rid":"lobby"}"#.as_bytes()).unwrap();
        assert_eq!((enter.name.as_str(), enter.room.as_str()), ("ann", "lobby"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |body: &str| Enter::read(body.as_bytes()).unwrap_err();
        assert_eq!(error(""), EnterError::Missing("username"));
        assert_eq!(error("[]"), EnterError::NotAnObject);
        assert_eq!(error(r#"{"username":"ann"}"#), EnterError::Missing("rid"));
        assert_eq!(error(r#"{"username":7,"rid":"lobby"}"#), EnterError::Missing("username"));
        assert_eq!(error(r#"{"username":"*","rid":"lobby"}"#), EnterError::Bad("username", IdError::BadChar('*')));
        assert_eq!(error(r#"{"username":"ann","rid":""}"#), EnterError::Bad("rid", IdError::Empty));
    }
}
