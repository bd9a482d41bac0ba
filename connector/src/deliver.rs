//! What clients get: bodies as Pomelo's demo sends them, with what newer clients use beside. Rendered and framed once.

use bytes::Bytes;
use serde::Serialize;
use shared::frontend::{self, ErrorBody, routes};
use shared::ids::{Name, RoomId};
use shared::record::{Epoch, Refusal};
use shared::rpc::messages::{HistoryMessage, HistoryPage, Unavailable};
use wire::Dictionary;

use crate::hub::Told;
use crate::room::{self, Missed, Push, Reply};

/// Bytes that names and missed messages in the answer to `enter` may take; the rest of its 64 KiB is for what stands around
/// them.
const USERS_BYTES: usize = 60 * 1024;

#[derive(Serialize)]
struct Chat<'a> {
    route: &'a str,
    msg: &'a str,
    from: &'a Name,
    target: &'a str,
    rid: &'a RoomId,
    seq: u64,
    time: u64,
}

#[derive(Serialize)]
struct User<'a> {
    route: &'a str,
    user: &'a Name,
}

#[derive(Serialize)]
struct Gap<'a> {
    route: &'a str,
    rid: &'a RoomId,
    from: u64,
    to: u64,
    epoch: Epoch,
}

/// How many are here.
#[derive(Serialize)]
struct Total<'a> {
    route: &'a str,
    rid: &'a RoomId,
    total: usize,
    names: bool,
}

#[derive(Serialize)]
struct Entered<'a> {
    code: u16,
    users: &'a [Name],
    total: usize,
    names: bool,
    rid: &'a RoomId,
    seq: u64,
    time: u64,
    epoch: Epoch,
    token: String,
    #[serde(flatten)]
    missed: Option<CameBack<'a>>,
}

/// What only those are told who come back.
#[derive(Serialize)]
struct CameBack<'a> {
    missed: Vec<Message<'a>>,
    recovered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<u64>,
}

#[derive(Serialize)]
struct History<'a> {
    code: u16,
    rid: &'a RoomId,
    epoch: Epoch,
    messages: Vec<Message<'a>>,
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<u64>,
}

#[derive(Serialize)]
struct Members<'a> {
    code: u16,
    rid: &'a RoomId,
    users: &'a [Name],
    total: usize,
    seq: u64,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a Name>,
}

/// A message in an answer.
#[derive(Serialize)]
struct Message<'a> {
    msg: &'a str,
    from: &'a Name,
    target: &'a str,
    seq: u64,
    time: u64,
}

impl<'a> From<&'a HistoryMessage> for Message<'a> {
    fn from(said: &'a HistoryMessage) -> Self {
        let target = target(said.to.as_ref());
        Self { msg: &said.content, from: &said.from, target, seq: said.seq, time: said.time }
    }
}

/// What `target` says: a name, or `*` for all.
fn target(to: Option<&Name>) -> &str {
    to.map_or("*", Name::as_str)
}

#[derive(Serialize)]
struct Sent {
    code: u16,
    seq: u64,
    time: u64,
}

#[derive(Serialize)]
struct Done {
    code: u16,
}

/// A push, framed; none if it cannot be sent, which is logged.
pub fn push(room: &RoomId, push: &Push, dictionary: Option<&Dictionary>) -> Option<Bytes> {
    match push {
        Push::Chat { from, content, target, seq, time } => {
            let route = routes::ON_CHAT;
            let target = self::target(target.as_ref());
            let (seq, time) = (*seq, *time);
            let body = Chat { route, msg: content, from, target, rid: room, seq, time };
            frontend::push(route, &body, dictionary)
        }
        Push::Add { name } => user(routes::ON_ADD, name, dictionary),
        Push::Leave { name } => user(routes::ON_LEAVE, name, dictionary),
        Push::Gap { from, to, epoch } => {
            let body = Gap { route: routes::ON_GAP, rid: room, from: *from, to: *to, epoch: *epoch };
            frontend::push(routes::ON_GAP, &body, dictionary)
        }
        Push::Members { total, names } => {
            let body = Total { route: routes::ON_MEMBERS, rid: room, total: *total, names: *names };
            frontend::push(routes::ON_MEMBERS, &body, dictionary)
        }
    }
}

fn user(route: &str, user: &Name, dictionary: Option<&Dictionary>) -> Option<Bytes> {
    frontend::push(route, &User { route, user }, dictionary)
}

/// An answer, framed, with its code.
pub fn answer(id: u32, told: &Told) -> (u16, Bytes) {
    match told {
        Told::Room(room, reply) => answer_of_room(id, room, reply),
        Told::Bad { error: why, enter } => error(id, 500, *enter, &why.to_string()),
        Told::Entering => error(id, 429, true, "entering: an enter of this session is still waiting"),
        Told::NotInRoom => refused(id, Refusal::NotMember, false),
        Told::TooMany => error(id, 429, false, "too-many-requests: as many requests wait as a session may have"),
        Told::NoServer => error(id, 500, true, "no-server: there is no chat server"),
    }
}

fn answer_of_room(id: u32, room: &RoomId, reply: &Reply) -> (u16, Bytes) {
    match reply {
        Reply::Entered(entered) => good(id, &self::entered(room, entered)),
        Reply::History { epoch, page: HistoryPage { messages, cursor, complete } } => {
            let messages = messages.iter().map(Message::from).collect();
            let (epoch, complete, cursor) = (*epoch, *complete, *cursor);
            good(id, &History { code: 200, rid: room, epoch, messages, complete, cursor })
        }
        Reply::Members(members) => good(id, &self::members(room, members)),
        Reply::Sent { seq, time } => good(id, &Sent { code: 200, seq: *seq, time: *time }),
        Reply::Left => good(id, &Done { code: 200 }),
        Reply::Refused { refusal, enter } => refused(id, *refusal, *enter),
        Reply::Busy { enter } => error(id, 429, *enter, "room-busy: as many requests wait for the room as may"),
        Reply::Unknown { enter, because: Some(Unavailable::LogFull) } => {
            error(id, 507, *enter, "log-full: the room cannot take more messages now")
        }
        Reply::Unknown { enter, because: Some(Unavailable::LogAway) } => {
            error(id, 503, *enter, "log-away: the rooms' log does not answer; repeat the request with the same id")
        }
        Reply::Unknown { enter, because: None } => error(
            id,
            503,
            *enter,
            "unknown: the room's server did not answer in time; repeat the request with the same id",
        ),
    }
}

fn entered<'a>(room: &'a RoomId, entered: &'a room::Entered) -> Entered<'a> {
    let room::Entered { users, total, names, seq, time, epoch, token, missed } = entered;
    let taken = missed.iter().flat_map(|missed| &missed.messages).map(HistoryMessage::json_size).sum();
    let missed = missed.as_ref().map(|Missed { messages, cursor, recovered }| CameBack {
        missed: messages.iter().map(Message::from).collect(),
        recovered: *recovered,
        cursor: *cursor,
    });
    Entered {
        code: 200,
        users: first_page(users, USERS_BYTES.saturating_sub(taken)),
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

fn members<'a>(room: &'a RoomId, members: &'a room::Members) -> Members<'a> {
    let room::Members { users, more, total, seq, time } = members;
    let page = first_page(users, USERS_BYTES);
    let more = *more || page.len() < users.len();
    let cursor = page.last().filter(|_| more);
    Members { code: 200, rid: room, users: page, total: *total, seq: *seq, time: *time, cursor }
}

/// The first names, as many as fit into so many bytes.
fn first_page(users: &[Name], most: usize) -> &[Name] {
    let mut bytes = 0;
    let fits = |name: &&Name| {
        bytes += wire::json_len(name.as_str()) + 3;
        bytes <= most
    };
    let count = users.iter().take_while(fits).count();
    users.get(..count).unwrap_or(users)
}

fn good(id: u32, body: &impl Serialize) -> (u16, Bytes) {
    (200, frontend::response(id, body))
}

fn refused(id: u32, refusal: Refusal, enter: bool) -> (u16, Bytes) {
    error(id, refusal.code(), enter, refusal.reason())
}

/// An error's body. Old clients look for `error` in answers to `enter`, and for nothing else.
fn error(id: u32, code: u16, enter: bool, reason: &str) -> (u16, Bytes) {
    (code, frontend::response(id, &ErrorBody { code, error: enter, reason }))
}

#[cfg(test)]
mod tests;
