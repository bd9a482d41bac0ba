//! Bodies of clients' requests: the room to enter, the messages or the members to read, the user to
//! moderate.

use std::borrow::Cow;

use model::act::{MAX_REASON_BYTES, RuleKind, Target};
use model::ids::{IdError, Name, RoomId, Uid};
use model::membership::Token;
use model::names::{NameFault, NamePolicy};
use model::record::Epoch;
use model::rpc::messages::{Deed, HistoryRange};
use serde_json::{Map, Value};
use thiserror::Error;
use wire::{Body, value};

use crate::room::proposer::ClientPosition;
use crate::route::ClientRoute;

/// Messages in a response.
const MESSAGES_PER_PAGE: PageLimit = PageLimit { default: 50, most: 100 };

/// Names in a response.
const NAMES_PER_PAGE: PageLimit = PageLimit { default: 100, most: 500 };

/// Page size: the default, and the most that a request may ask for.
struct PageLimit {
    default: u16,
    most: u16,
}

/// A request to enter a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnterRequest {
    /// Name in the room.
    pub name: Name,
    /// The room.
    pub room: RoomId,
    /// The token of the membership to resume.
    pub token: Option<Token>,
    /// The position up to which the client knows the room.
    pub since: Option<ClientPosition>,
    /// The client will resume with its token if its connection ends.
    pub resumes: bool,
}

/// A request for messages of the session's room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryRequest {
    /// The messages asked for.
    pub span: HistoryRange,
    /// Most messages in the response.
    pub limit: u16,
}

/// A request for the member list of the session's room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersRequest {
    /// Only names after this one, which need not be in the room.
    pub after: Option<Name>,
    /// Most names in the response.
    pub limit: u16,
}

/// A request of a moderator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModerateRequest {
    /// The room that the body names, if it names one.
    pub room: Option<String>,
    /// The user whom it is about.
    pub target: Target,
    /// The action.
    pub deed: Deed,
}

/// The reason for which a body cannot be acted on. The client is to blame.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    /// The body is not a JSON object.
    #[error("bad-body: the body must be a JSON object, with numbers that a double holds")]
    NotAnObject,
    /// A field is missing, or neither a string nor a whole number.
    #[error("bad-{0}: {0} must be a string or a whole number")]
    Missing(&'static str),
    /// A field is not a name.
    #[error("bad-{0}: {0} {1}")]
    Bad(&'static str, IdError),
    /// The name is none that a client may have.
    #[error("bad-name: username {0}")]
    BadName(NameFault),
    /// The name is not that of the user's token.
    #[error("not-allowed: username must be the name in the token")]
    NotOwnName,
    /// The name begins as those of the other kind of clients: with a token, or without.
    #[error("bad-name: names of clients without a token have a prefix of their own, auth.anonymous_prefix")]
    ForeignPrefix,
    /// The room's id is kept for the system.
    #[error("bad-rid: rid must not begin with ~")]
    ReservedRoom,
    /// A field is not a whole number from 0 up.
    #[error("bad-{0}: {0} must be a whole number from 0 up")]
    NotANumber(&'static str),
    /// The token has not the form of one that a response to `enter` gave.
    #[error("bad-token: token must be what an answer to enter gave")]
    BadToken,
    /// The limit is out of range.
    #[error("bad-limit: limit must be from 1 to {0}")]
    BadLimit(u16),
    /// Not one of both is given.
    #[error("bad-target: give uid or name of a user, one of them")]
    OneTarget,
    /// The reason is no short text.
    #[error("bad-reason: reason must be a string of at most {MAX_REASON_BYTES} bytes")]
    BadReason,
    /// The time is longer than a rule may hold.
    #[error("bad-secs: secs must be at most {MAX_RULE_SECS}; leave it out for a rule without an end")]
    BadSecs,
    /// Both ends are given.
    #[error("bad-span: give before or after, not both")]
    TwoSpans,
}

impl BodyError {
    /// The code of the response: 500 where Pomelo's demo has that.
    pub fn code(&self) -> u16 {
        if *self == Self::NotOwnName { 403 } else { 500 }
    }
}

impl EnterRequest {
    /// Parses the body of a request, with a name that `names` allow. A user whose token has a name
    /// may leave it out, and may have no other one.
    pub fn parse(body: &[u8], names: &NamePolicy, own: Option<&Name>) -> Result<Self, BodyError> {
        let body = Body::parse(body).into_members().ok_or(BodyError::NotAnObject)?;
        let text = |field| body.get(field).and_then(value::text).ok_or(BodyError::Missing(field));
        let name = match (own, body.get("username")) {
            (Some(own), None | Some(Value::Null)) => own.clone(),
            _ => Name::new(&text("username")?).map_err(|error| BodyError::Bad("username", error))?,
        };
        if own.is_some_and(|own| *own != name) {
            return Err(BodyError::NotOwnName);
        }
        names.check(&name).map_err(BodyError::BadName)?;
        let room = RoomId::new(&text("rid")?).map_err(|error| BodyError::Bad("rid", error))?;
        if room.is_reserved() {
            return Err(BodyError::ReservedRoom);
        }
        let token = match body.get("token") {
            None | Some(Value::Null) => None,
            Some(token) => Some(token.as_str().and_then(Token::parse).ok_or(BodyError::BadToken)?),
        };
        let (seq, epoch) = (number(&body, "since")?, number(&body, "epoch")?);
        let since = seq.map(|seq| ClientPosition { epoch: Epoch(epoch.unwrap_or_default()), seq });
        let resumes = token.is_some() || body.get("resume") == Some(&Value::Bool(true));
        Ok(Self { name, room, token, since, resumes })
    }
}

impl HistoryRequest {
    /// Parses the body of a request.
    pub fn parse(body: &[u8]) -> Result<Self, BodyError> {
        let body = Body::parse(body).into_members().ok_or(BodyError::NotAnObject)?;
        let span = match (number(&body, "before")?, number(&body, "after")?) {
            (None, None) => HistoryRange::Last,
            (Some(before), None) => HistoryRange::Before(before),
            (None, Some(after)) => HistoryRange::After(after),
            (Some(_), Some(_)) => return Err(BodyError::TwoSpans),
        };
        Ok(Self { span, limit: MESSAGES_PER_PAGE.read(&body)? })
    }
}

impl MembersRequest {
    /// Parses the body of a request.
    pub fn parse(body: &[u8]) -> Result<Self, BodyError> {
        let body = Body::parse(body).into_members().ok_or(BodyError::NotAnObject)?;
        let after = match body.get("after") {
            None | Some(Value::Null) => None,
            Some(after) => {
                let after = value::text(after).ok_or(BodyError::Missing("after"))?;
                Some(Name::new(&after).map_err(|error| BodyError::Bad("after", error))?)
            }
        };
        Ok(Self { after, limit: NAMES_PER_PAGE.read(&body)? })
    }
}

/// Longest time of a rule with an end, in seconds: ten years.
const MAX_RULE_SECS: u32 = 10 * 365 * 24 * 3_600;

impl ModerateRequest {
    /// Parses the body of a request on one of the routes of moderators; `None` for another route.
    pub fn parse(route: ClientRoute, body: &[u8]) -> Option<Result<Self, BodyError>> {
        let read = |deed: fn(&Map<String, Value>) -> Result<Deed, BodyError>| {
            let body = Body::parse(body).into_members().ok_or(BodyError::NotAnObject)?;
            let (target, deed) = (target(&body)?, deed(&body)?);
            let room = body.get("rid").filter(|rid| !rid.is_null());
            let room = room.map(|rid| value::text(rid).map(Cow::into_owned).ok_or(BodyError::Missing("rid")));
            Ok(Self { room: room.transpose()?, target, deed })
        };
        Some(match route {
            ClientRoute::Mute => read(|body| forbid(RuleKind::Mute, body)),
            ClientRoute::Ban => read(|body| forbid(RuleKind::Ban, body)),
            ClientRoute::Unmute => read(|_| Ok(Deed::Permit { kind: RuleKind::Mute })),
            ClientRoute::Unban => read(|_| Ok(Deed::Permit { kind: RuleKind::Ban })),
            ClientRoute::Expel => read(|body| Ok(Deed::Expel { reason: reason(body)? })),
            ClientRoute::Enter
            | ClientRoute::Send
            | ClientRoute::History
            | ClientRoute::Members
            | ClientRoute::Leave
            | ClientRoute::Refresh => return None,
        })
    }
}

fn target(body: &Map<String, Value>) -> Result<Target, BodyError> {
    let text = |field| body.get(field).filter(|value| !value.is_null());
    match (text("uid"), text("name")) {
        (Some(uid), None) => {
            let uid = value::text(uid).ok_or(BodyError::Missing("uid"))?;
            Uid::new(&uid).map(Target::Uid).map_err(|error| BodyError::Bad("uid", error))
        }
        (None, Some(name)) => {
            let name = value::text(name).ok_or(BodyError::Missing("name"))?;
            Name::new(&name).map(Target::Name).map_err(|error| BodyError::Bad("name", error))
        }
        (None, None) | (Some(_), Some(_)) => Err(BodyError::OneTarget),
    }
}

fn forbid(kind: RuleKind, body: &Map<String, Value>) -> Result<Deed, BodyError> {
    let secs = u32::try_from(number(body, "secs")?.unwrap_or(0)).ok().filter(|secs| *secs <= MAX_RULE_SECS);
    Ok(Deed::Forbid { kind, secs: secs.ok_or(BodyError::BadSecs)?, reason: reason(body)? })
}

fn reason(body: &Map<String, Value>) -> Result<String, BodyError> {
    match body.get("reason") {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(reason)) if reason.len() <= MAX_REASON_BYTES => Ok(reason.clone()),
        Some(_) => Err(BodyError::BadReason),
    }
}

impl PageLimit {
    /// Returns the requested page size if it is within bounds, or the default.
    fn read(&self, body: &Map<String, Value>) -> Result<u16, BodyError> {
        let Some(limit) = number(body, "limit")? else { return Ok(self.default) };
        let limit = u16::try_from(limit).ok().filter(|limit| (1..=self.most).contains(limit));
        limit.ok_or(BodyError::BadLimit(self.most))
    }
}

/// Returns a whole number that may be missing.
fn number(body: &Map<String, Value>, field: &'static str) -> Result<Option<u64>, BodyError> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value::whole(value).map(Some).ok_or(BodyError::NotANumber(field)),
    }
}

#[cfg(test)]
mod tests {
    use model::settings::NameSettings;

    use super::*;

    fn parse(body: &[u8]) -> Result<EnterRequest, BodyError> {
        EnterRequest::parse(body, &NamePolicy::new(&NameSettings::default()), None)
    }

    #[test]
    fn a_name_and_a_room() {
        let enter = parse(br#"{"username":"ann","rid":"lobby"}"#).unwrap();
        assert_eq!((enter.name.as_str(), enter.room.as_str()), ("ann", "lobby"));
        assert_eq!((enter.token, enter.since), (None, None));
    }

    #[test]
    fn whole_numbers_are_names_and_rooms() {
        let enter = parse(br#"{"username":1001,"rid":1.0}"#).unwrap();
        assert_eq!((enter.name.as_str(), enter.room.as_str()), ("1001", "1"));
    }

    #[test]
    fn a_resuming_client_names_its_position() {
        let token = Token::new(7);
        let body = format!(r#"{{"username":"ann","rid":"lobby","token":"{token}","since":12000,"epoch":5}}"#);
        let enter = parse(body.as_bytes()).unwrap();
        assert_eq!((enter.token, enter.since), (Some(token), Some(ClientPosition { epoch: Epoch(5), seq: 12_000 })));
        let enter = parse(br#"{"username":"ann","rid":"a","since":2000.0,"epoch":1795874817241.0}"#).unwrap();
        assert_eq!(enter.since, Some(ClientPosition { epoch: Epoch(1_795_874_817_241), seq: 2_000 }));
    }

    #[test]
    fn spans_of_messages() {
        let read = |body: &str| HistoryRequest::parse(body.as_bytes());
        assert_eq!(read(""), Ok(HistoryRequest { span: HistoryRange::Last, limit: 50 }));
        assert_eq!(
            read(r#"{"before":7,"limit":100}"#),
            Ok(HistoryRequest { span: HistoryRange::Before(7), limit: 100 })
        );
        assert_eq!(read(r#"{"after":0,"limit":1}"#), Ok(HistoryRequest { span: HistoryRange::After(0), limit: 1 }));
        assert_eq!(read(r#"{"after":0,"before":1}"#), Err(BodyError::TwoSpans));
        assert_eq!(read(r#"{"after":-1}"#), Err(BodyError::NotANumber("after")));
        assert_eq!(read(r#"{"before":"7"}"#), Err(BodyError::NotANumber("before")));
        let floats = HistoryRequest { span: HistoryRange::Before(999_000), limit: 2 };
        assert_eq!(read(r#"{"before":999000.0,"limit":2.0}"#), Ok(floats));
        assert_eq!(read(r#"{"after":1.5}"#), Err(BodyError::NotANumber("after")));
        assert_eq!(read(r#"{"before":1e400}"#), Err(BodyError::NotAnObject));
        assert_eq!(read(r#"{"limit":1e300}"#), Err(BodyError::NotANumber("limit")));
        for limit in ["0", "101", "65586"] {
            assert_eq!(read(&format!(r#"{{"limit":{limit}}}"#)), Err(BodyError::BadLimit(100)), "{limit}");
        }
    }

    #[test]
    fn pages_of_names() {
        let read = |body: &str| MembersRequest::parse(body.as_bytes());
        let ann = Name::new("ann").unwrap();
        assert_eq!(read(""), Ok(MembersRequest { after: None, limit: 100 }));
        assert_eq!(read(r#"{"after":"ann","limit":500}"#), Ok(MembersRequest { after: Some(ann), limit: 500 }));
        assert_eq!(read(r#"{"after":null,"limit":null}"#), Ok(MembersRequest { after: None, limit: 100 }));
        let seven = Name::new("7").unwrap();
        assert_eq!(read(r#"{"after":7,"limit":2.0}"#), Ok(MembersRequest { after: Some(seven), limit: 2 }));
        assert_eq!(read(r#"{"after":[7]}"#), Err(BodyError::Missing("after")));
        assert_eq!(read(r#"{"after":""}"#), Err(BodyError::Bad("after", IdError::Empty)));
        assert_eq!(read(r#"{"limit":501}"#), Err(BodyError::BadLimit(500)));
        assert_eq!(read("[]"), Err(BodyError::NotAnObject));
    }

    #[test]
    fn moderators_name_one_user() {
        let read = |body: &str| ModerateRequest::parse(ClientRoute::Mute, body.as_bytes()).unwrap();
        let target = |body: &str| read(body).map(|request| request.target);
        let uid = |text: &str| Target::Uid(Uid::new(text).unwrap());
        assert_eq!((target(r#"{"uid":"u1"}"#), target(r#"{"uid":7}"#)), (Ok(uid("u1")), Ok(uid("7"))));
        assert_eq!(target(r#"{"name":7}"#), Ok(Target::Name(Name::new("7").unwrap())));
        for body in ["{}", r#"{"uid":"u1","name":"ann"}"#, r#"{"uid":null}"#] {
            assert_eq!(target(body), Err(BodyError::OneTarget), "{body}");
        }
        let deed = |body: &str| read(&format!(r#"{{"uid":"u1",{body}}}"#)).map(|request| request.deed);
        let forbid = |secs| Deed::Forbid { kind: RuleKind::Mute, secs, reason: "why".to_owned() };
        assert_eq!(deed(r#""reason":"why""#), Ok(forbid(0)));
        assert_eq!(deed(r#""reason":"why","secs":600.0"#), Ok(forbid(600)));
        assert_eq!(deed(r#""secs":-1"#), Err(BodyError::NotANumber("secs")));
        assert_eq!(deed(r#""secs":315360001"#), Err(BodyError::BadSecs));
        assert_eq!(deed(&format!(r#""reason":"{}""#, "x".repeat(257))), Err(BodyError::BadReason));
        assert_eq!(deed(r#""reason":7"#), Err(BodyError::BadReason));
        assert_eq!(ModerateRequest::parse(ClientRoute::Send, b"{}"), None);
    }

    #[test]
    fn errors_name_the_field() {
        let error = |body: &str| parse(body.as_bytes()).unwrap_err();
        assert_eq!(error(""), BodyError::Missing("username"));
        assert_eq!(error("[]"), BodyError::NotAnObject);
        assert_eq!(error(r#"{"username":"ann"}"#), BodyError::Missing("rid"));
        assert_eq!(error(r#"{"username":1.5,"rid":"lobby"}"#), BodyError::Missing("username"));
        assert_eq!(error(r#"{"username":"ann","rid":true}"#), BodyError::Missing("rid"));
        assert_eq!(error(r#"{"username":"*","rid":"lobby"}"#), BodyError::Bad("username", IdError::BadChar('*')));
        let invisible = BodyError::BadName(NameFault::Invisible(0x200b));
        assert_eq!(error("{\"username\":\"ann\u{200b}\",\"rid\":\"lobby\"}"), invisible);
        assert!(invisible.to_string().starts_with("bad-name: "));
        assert_eq!(error(r#"{"username":"ann","rid":""}"#), BodyError::Bad("rid", IdError::Empty));
        assert_eq!(error(r#"{"username":"ann","rid":"~all"}"#), BodyError::ReservedRoom);
        assert_eq!(error(r#"{"username":"ann","rid":"lobby","token":"x"}"#), BodyError::BadToken);
        assert_eq!(error(r#"{"username":"ann","rid":"lobby","since":1.5}"#), BodyError::NotANumber("since"));
    }
}
