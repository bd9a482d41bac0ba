//! Bodies for clients, in the format of Pomelo's demo with fields for newer clients beside. Each is
//! rendered and framed once.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::act::{MessageMeta, Profile, Rights, RuleKind};
use model::client_frame::{self, ErrorBody};
use model::ids::{Name, RoomId, Uid};
use model::permissions::Action;
use model::record::{Epoch, Refusal};
use model::rpc::messages::{HistoryMessage, HistoryPage, Unavailable};
use serde::Serialize;
use serde_json::Value;
use wire::{Dictionary, WireError, routes};

use crate::connector_state::ClientResponse;
use crate::room::{self, MissedMessages, Profiles, Push, RoomResponse};

/// Most bytes of names and missed messages in the response to `enter`. The rest of its 64 KiB is
/// for the other fields.
const USERS_BYTES: usize = 60 * 1024;

/// A message in a push or in a response.
// One struct with two optional members, not one flattened into the other: a flattened struct is
// written as a map of unknown length, which costs each message.
#[derive(Serialize)]
struct MessageBody<'a> {
    /// In pushes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    msg: &'a str,
    from: &'a Name,
    target: &'a str,
    /// In pushes only.
    #[serde(skip_serializing_if = "Option::is_none")]
    rid: Option<&'a RoomId>,
    seq: u64,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a Uid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// The `by` of a message that the application sent.
const BY_API: &str = "api";

impl<'a> MessageBody<'a> {
    /// A message without the members of pushes.
    fn new(
        (from, to, msg): (&'a Name, Option<&'a Name>, &'a str),
        (seq, time): (u64, u64),
        meta: Option<&'a MessageMeta>,
    ) -> Self {
        let uid = meta.and_then(|meta| meta.uid.as_ref());
        let by = meta.and_then(|meta| meta.by.as_ref()).map(|_| BY_API);
        let data = meta.and_then(|meta| meta.data.as_deref()).and_then(json);
        Self { route: None, msg, from, target: to.map_or("*", Name::as_str), rid: None, seq, time, uid, by, data }
    }
}

impl<'a> From<&'a HistoryMessage> for MessageBody<'a> {
    fn from(HistoryMessage { seq, time, from, to, content, meta }: &'a HistoryMessage) -> Self {
        Self::new((from, to.as_ref(), content), (*seq, *time), meta.as_deref())
    }
}

/// The claims of a member's token that clients get, where it has them.
#[derive(Default, Serialize)]
struct ProfileBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a Uid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Value>,
}

impl<'a> From<&'a Profile> for ProfileBody<'a> {
    fn from(Profile { uid, info, .. }: &'a Profile) -> Self {
        Self { uid: uid.as_ref(), info: info.as_deref().and_then(json) }
    }
}

/// The profiles of a page of members.
type ProfileBodies<'a> = BTreeMap<&'a Name, ProfileBody<'a>>;

/// Parses JSON of an entry; `None` if another release wrote something else there.
// Not passed on as it is: texts towards clients have escapes for all beyond ASCII.
fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

#[derive(Serialize)]
struct UserBody<'a> {
    route: &'a str,
    user: &'a Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a Uid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Value>,
}

/// A rule for the client's user.
#[derive(Serialize)]
struct RuleBody<'a> {
    route: &'a str,
    rid: &'a RoomId,
    kind: RuleKind,
    until: u64,
    time: u64,
}

#[derive(Serialize)]
struct ExpelBody<'a> {
    route: &'a str,
    rid: &'a RoomId,
    reason: &'a str,
}

#[derive(Serialize)]
struct RightsBody<'a> {
    route: &'a str,
    rid: &'a RoomId,
    rights: Vec<&'static str>,
}

/// Returns the actions that rights allow.
fn actions(rights: Rights) -> Vec<&'static str> {
    Action::ALL.into_iter().filter(|action| rights.allow(*action)).map(Action::name).collect()
}

#[derive(Serialize)]
struct GapBody<'a> {
    route: &'a str,
    rid: &'a RoomId,
    from: u64,
    to: u64,
    epoch: Epoch,
}

/// The member count.
#[derive(Serialize)]
struct TotalBody<'a> {
    route: &'a str,
    rid: &'a RoomId,
    total: usize,
    names: bool,
}

#[derive(Serialize)]
struct EnteredBody<'a> {
    code: u16,
    users: &'a [Name],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    profiles: ProfileBodies<'a>,
    /// Where they are not those of all members.
    #[serde(skip_serializing_if = "Option::is_none")]
    rights: Option<Vec<&'static str>>,
    total: usize,
    names: bool,
    rid: &'a RoomId,
    seq: u64,
    time: u64,
    epoch: Epoch,
    token: String,
    #[serde(flatten)]
    missed: Option<ResumedBody<'a>>,
}

/// Fields that only resuming clients get.
#[derive(Serialize)]
struct ResumedBody<'a> {
    missed: Vec<MessageBody<'a>>,
    recovered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<u64>,
}

#[derive(Serialize)]
struct HistoryBody<'a> {
    code: u16,
    rid: &'a RoomId,
    epoch: Epoch,
    messages: Vec<MessageBody<'a>>,
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<u64>,
}

#[derive(Serialize)]
struct MembersBody<'a> {
    code: u16,
    rid: &'a RoomId,
    users: &'a [Name],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    profiles: ProfileBodies<'a>,
    total: usize,
    seq: u64,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a Name>,
}

#[derive(Serialize)]
struct SentBody {
    code: u16,
    seq: u64,
    time: u64,
}

#[derive(Serialize)]
struct DoneBody {
    code: u16,
}

#[derive(Serialize)]
struct RefreshedBody {
    code: u16,
    exp: u64,
}

#[derive(Serialize)]
struct ExpireBody {
    route: &'static str,
    r#in: u64,
}

/// Renders and frames the push that asks for a new token.
///
/// # Errors
/// If it cannot be sent.
pub fn render_expiry(secs: u64) -> Result<Bytes, WireError> {
    client_frame::push(routes::ON_EXPIRE, &ExpireBody { route: routes::ON_EXPIRE, r#in: secs }, None)
}

/// Renders and frames a push.
///
/// # Errors
/// If it cannot be sent.
pub fn render_push(room: &RoomId, push: &Push, dictionary: Option<&Dictionary>) -> Result<Bytes, WireError> {
    match push {
        Push::Chat { from, content, target, seq, time, meta } => {
            let message = MessageBody::new((from, target.as_ref(), content), (*seq, *time), meta.as_deref());
            let body = MessageBody { route: Some(routes::ON_CHAT), rid: Some(room), ..message };
            client_frame::push(routes::ON_CHAT, &body, dictionary)
        }
        Push::Add { name, profile } => user(routes::ON_ADD, name, profile.as_deref(), dictionary),
        Push::Leave { name } => user(routes::ON_LEAVE, name, None, dictionary),
        Push::Gap { from, to, epoch } => {
            let body = GapBody { route: routes::ON_GAP, rid: room, from: *from, to: *to, epoch: *epoch };
            client_frame::push(routes::ON_GAP, &body, dictionary)
        }
        Push::Rule { kind, until, time } => {
            let (kind, until, time) = (*kind, *until, *time);
            let body = RuleBody { route: routes::ON_RULE, rid: room, kind, until, time };
            client_frame::push(routes::ON_RULE, &body, dictionary)
        }
        Push::Expel { reason } => {
            let body = ExpelBody { route: routes::ON_EXPEL, rid: room, reason };
            client_frame::push(routes::ON_EXPEL, &body, dictionary)
        }
        Push::Rights(rights) => {
            let body = RightsBody { route: routes::ON_RIGHTS, rid: room, rights: actions(*rights) };
            client_frame::push(routes::ON_RIGHTS, &body, dictionary)
        }
        Push::Members { total, names } => {
            let body = TotalBody { route: routes::ON_MEMBERS, rid: room, total: *total, names: *names };
            client_frame::push(routes::ON_MEMBERS, &body, dictionary)
        }
    }
}

fn user(
    route: &str,
    user: &Name,
    profile: Option<&Profile>,
    dictionary: Option<&Dictionary>,
) -> Result<Bytes, WireError> {
    let ProfileBody { uid, info } = profile.map(ProfileBody::from).unwrap_or_default();
    client_frame::push(route, &UserBody { route, user, uid, info }, dictionary)
}

/// A response to a client: its code, and its frame unless it cannot be sent.
pub type RenderedResponse = (u16, Result<Bytes, WireError>);

/// Renders and frames a response, and returns its code.
pub fn render_response(id: u32, response: &ClientResponse) -> RenderedResponse {
    match response {
        ClientResponse::Room(room, reply) => render_room_response(id, room, reply),
        ClientResponse::BadBody { error: why, enter } => error_response(id, why.code(), *enter, &why.to_string()),
        ClientResponse::EnterPending => {
            error_response(id, 429, true, "entering: an enter of this session is still waiting")
        }
        ClientResponse::NotInRoom => refusal_response(id, Refusal::NotMember, false),
        ClientResponse::TooManyRequests => {
            error_response(id, 429, false, "too-many-requests: as many requests wait as a session may have")
        }
        ClientResponse::LoginRefused { refusal, enter } => error_response(id, refusal.code(), *enter, refusal.reason()),
        ClientResponse::NotAllowed { enter } => {
            error_response(id, 403, *enter, "not-allowed: the session is of another user, or of none")
        }
        ClientResponse::Refreshed { exp } => ok_response(id, &RefreshedBody { code: 200, exp: *exp }),
        ClientResponse::MayNotEnter => error_response(id, 403, true, "not-allowed: this client may not enter the room"),
        ClientResponse::EnterRefused(limit) => error_response(id, limit.code(), true, limit.reason()),
        ClientResponse::NoChatServer => error_response(id, 500, true, "no-server: there is no chat server"),
    }
}

fn render_room_response(id: u32, room: &RoomId, reply: &RoomResponse) -> RenderedResponse {
    match reply {
        RoomResponse::Entered(entered) => ok_response(id, &self::entered(room, entered)),
        RoomResponse::History { epoch, page: HistoryPage { messages, cursor, complete } } => {
            let messages = messages.iter().map(MessageBody::from).collect();
            let (epoch, complete, cursor) = (*epoch, *complete, *cursor);
            ok_response(id, &HistoryBody { code: 200, rid: room, epoch, messages, complete, cursor })
        }
        RoomResponse::Members(members) => ok_response(id, &self::members(room, members)),
        RoomResponse::Refreshed { exp } => ok_response(id, &RefreshedBody { code: 200, exp: *exp }),
        RoomResponse::Sent { seq, time } => ok_response(id, &SentBody { code: 200, seq: *seq, time: *time }),
        RoomResponse::Left => ok_response(id, &DoneBody { code: 200 }),
        RoomResponse::Refused { refusal, enter } => refusal_response(id, *refusal, *enter),
        RoomResponse::QueueFull { enter } => {
            error_response(id, 429, *enter, "room-busy: as many requests wait for the room as may")
        }
        RoomResponse::QuotaRefused(limit) => error_response(id, limit.code(), false, limit.reason()),
        RoomResponse::Unknown { enter, because: Some(Unavailable::LogFull) } => {
            error_response(id, 507, *enter, "log-full: the room cannot take more messages now")
        }
        RoomResponse::Unknown { enter, because: Some(Unavailable::LogAway) } => error_response(
            id,
            503,
            *enter,
            "log-away: the rooms' log does not answer; repeat the request with the same id",
        ),
        RoomResponse::Unknown { enter, because: None } => error_response(
            id,
            503,
            *enter,
            "unknown: the room's server did not answer in time; repeat the request with the same id",
        ),
    }
}

fn entered<'a>(room: &'a RoomId, entered: &'a room::Entered) -> EnteredBody<'a> {
    let room::Entered { users, profiles, rights, total, names, seq, time, epoch, token, missed } = entered;
    // Missed messages first: names can be read page by page, and the client waits for what it missed.
    let taken = missed.iter().flat_map(|missed| &missed.messages).map(HistoryMessage::json_size).sum();
    let missed = missed.as_ref().map(|MissedMessages { messages, cursor, recovered }| ResumedBody {
        missed: messages.iter().map(MessageBody::from).collect(),
        recovered: *recovered,
        cursor: *cursor,
    });
    let users = first_page(users, profiles, USERS_BYTES.saturating_sub(taken));
    EnteredBody {
        code: 200,
        users,
        profiles: profile_bodies(users, profiles),
        rights: rights.stored().map(actions),
        total: *total,
        names: *names,
        rid: room,
        seq: *seq,
        time: *time,
        epoch: *epoch,
        token: token.to_string(),
        missed,
    }
}

fn members<'a>(room: &'a RoomId, members: &'a room::MembersPage) -> MembersBody<'a> {
    let room::MembersPage { users, profiles, more, total, seq, time } = members;
    let page = first_page(users, profiles, USERS_BYTES);
    let more = *more || page.len() < users.len();
    let cursor = page.last().filter(|_| more);
    MembersBody {
        code: 200,
        rid: room,
        users: page,
        profiles: profile_bodies(page, profiles),
        total: *total,
        seq: *seq,
        time: *time,
        cursor,
    }
}

/// Returns the first names, as many as fit into `most` bytes.
fn first_page<'a>(users: &'a [Name], profiles: &Profiles, most: usize) -> &'a [Name] {
    let mut bytes = 0;
    let fits = |name: &&Name| {
        // Two quotes and a comma beside the name.
        bytes += wire::json_len(name.as_str()) + 3;
        // The name once more, and two braces.
        bytes += profiles.get(*name).map_or(0, |profile| wire::json_len(name.as_str()) + 6 + profile.json_size());
        bytes <= most
    };
    // In order, without gaps: the last name on the page is where the next page begins.
    let count = users.iter().take_while(fits).count();
    users.get(..count).unwrap_or(users)
}

/// Returns the profiles of these users.
fn profile_bodies<'a>(users: &'a [Name], profiles: &'a Profiles) -> ProfileBodies<'a> {
    if profiles.is_empty() {
        return BTreeMap::new();
    }
    users.iter().filter_map(|name| Some((name, ProfileBody::from(&**profiles.get(name)?)))).collect()
}

fn ok_response(id: u32, body: &impl Serialize) -> RenderedResponse {
    (200, client_frame::response(id, body))
}

fn refusal_response(id: u32, refusal: Refusal, enter: bool) -> RenderedResponse {
    let body = ErrorBody {
        until: refusal.until(),
        retry: refusal.retry(),
        ..ErrorBody::new(refusal.code(), enter, refusal.reason())
    };
    (body.code, client_frame::response(id, &body))
}

/// Renders an error.
// Old clients look for `error` in responses to `enter` and for nothing else, so that field must be
// there.
fn error_response(id: u32, code: u16, enter: bool, reason: &str) -> RenderedResponse {
    (code, client_frame::response(id, &ErrorBody::new(code, enter, reason)))
}

#[cfg(test)]
mod tests;
