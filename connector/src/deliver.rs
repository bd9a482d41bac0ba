//! What clients get: bodies as Pomelo's demo sends them, with what newer clients use beside. Rendered and framed once.

use bytes::Bytes;
use serde::Serialize;
use shared::frontend::{self, ErrorBody, routes};
use shared::ids::{Name, RoomId};
use shared::record::Refusal;
use shared::rpc::messages::Unavailable;
use wire::Dictionary;

use crate::enter::EnterError;
use crate::hub::Told;
use crate::room::{Push, Reply};

/// Bytes that the names in the answer to `enter` may take; the rest of its 64 KiB is for what stands around them.
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
struct Entered<'a> {
    code: u16,
    users: &'a [Name],
    total: usize,
    rid: &'a RoomId,
    seq: u64,
    time: u64,
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
            let target = target.as_ref().map_or("*", Name::as_str);
            let (seq, time) = (*seq, *time);
            let body = Chat { route, msg: content, from, target, rid: room, seq, time };
            frontend::push(route, &body, dictionary)
        }
        Push::Add { name } => user(routes::ON_ADD, name, dictionary),
        Push::Leave { name } => user(routes::ON_LEAVE, name, dictionary),
    }
}

fn user(route: &str, user: &Name, dictionary: Option<&Dictionary>) -> Option<Bytes> {
    frontend::push(route, &User { route, user }, dictionary)
}

/// An answer, framed.
pub fn answer(id: u32, told: &Told) -> Bytes {
    match told {
        Told::Room(room, reply) => answer_of_room(id, room, reply),
        Told::BadEnter(error) => bad_enter(id, error),
        Told::Entering => error(id, 429, true, "entering: an enter of this session is still waiting"),
        Told::NotInRoom => refused(id, Refusal::NotMember, false),
        Told::TooMany => error(id, 429, false, "too-many-requests: as many requests wait as a session may have"),
        Told::NoServer => error(id, 500, true, "no-server: there is no chat server"),
    }
}

fn answer_of_room(id: u32, room: &RoomId, reply: &Reply) -> Bytes {
    match reply {
        Reply::Entered { users, seq, time } => {
            let page = users.get(..first_page(users)).unwrap_or(users);
            let (total, seq, time) = (users.len(), *seq, *time);
            frontend::response(id, &Entered { code: 200, users: page, total, rid: room, seq, time })
        }
        Reply::Sent { seq, time } => frontend::response(id, &Sent { code: 200, seq: *seq, time: *time }),
        Reply::Left => frontend::response(id, &Done { code: 200 }),
        Reply::Refused { refusal, enter } => refused(id, *refusal, *enter),
        Reply::Busy { enter } => error(id, 429, *enter, "room-busy: as many requests wait for the room as may"),
        Reply::Unknown { enter, because: Some(Unavailable::LogFull) } => {
            error(id, 507, *enter, "log-full: the room cannot take more messages now")
        }
        Reply::Unknown { enter, because: _ } => {
            error(id, 503, *enter, "unknown: the room's server did not answer in time; repeat the request")
        }
    }
}

/// How many names fit.
fn first_page(users: &[Name]) -> usize {
    let mut bytes = 0;
    let fits = |name: &&Name| {
        bytes += wire::json_len(name.as_str()) + 3;
        bytes <= USERS_BYTES
    };
    users.iter().take_while(fits).count()
}

fn bad_enter(id: u32, why: &EnterError) -> Bytes {
    error(id, 500, true, &why.to_string())
}

fn refused(id: u32, refusal: Refusal, enter: bool) -> Bytes {
    error(id, refusal.code(), enter, refusal.reason())
}

/// An error's body. Old clients look for `error` in answers to `enter`, and for nothing else.
fn error(id: u32, code: u16, enter: bool, reason: &str) -> Bytes {
    frontend::response(id, &ErrorBody { code, error: enter, reason })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wire::{Message, MessageKind, PackageKind};

    use super::*;

    fn body(framed: &Bytes) -> Value {
        let package = wire::decode_frame(framed, wire::MAX_BODY).unwrap().next().unwrap();
        assert_eq!(package.kind, PackageKind::Data);
        let message = Message::decode(&package.body).unwrap();
        assert!(matches!(message.kind(), MessageKind::Response | MessageKind::Push));
        serde_json::from_slice(message.body()).unwrap()
    }

    fn room() -> RoomId {
        RoomId::new("lobby").unwrap()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn pushes_are_the_demos_with_more_beside() {
        let chat = Push::Chat { from: name("ann"), content: "hi 😀".to_owned(), target: None, seq: 1_000, time: 7 };
        let wanted = json!({"route": "onChat", "msg": "hi 😀", "from": "ann", "target": "*", "rid": "lobby",
            "seq": 1000, "time": 7});
        assert_eq!(body(&push(&room(), &chat, None).unwrap()), wanted);
        let add = Push::Add { name: name("bob") };
        assert_eq!(body(&push(&room(), &add, None).unwrap()), json!({"route": "onAdd", "user": "bob"}));
        let leave = Push::Leave { name: name("bob") };
        assert_eq!(body(&push(&room(), &leave, None).unwrap()), json!({"route": "onLeave", "user": "bob"}));
    }

    #[test]
    fn the_longest_message_with_the_longest_names_can_be_sent() {
        let longest = "😀".repeat(64);
        let (from, target) = (name(&longest), Some(name(&longest)));
        let chat = Push::Chat { from, content: "x".repeat(60 * 1024), target, seq: u64::MAX, time: u64::MAX };
        assert!(push(&RoomId::new(&longest).unwrap(), &chat, None).is_some());
    }

    #[test]
    fn a_name_that_is_taken_is_the_demos_error() {
        let refused = Told::Room(room(), Reply::Refused { refusal: Refusal::NameTaken, enter: true });
        let body = body(&answer(1, &refused));
        assert_eq!((body["code"].as_u64(), body["error"].as_bool()), (Some(500), Some(true)));
    }

    #[test]
    fn the_answer_to_enter_stays_below_its_limit() {
        let users: Vec<Name> = (0..1_000).map(|i| name(&format!("{i}{}", "😀".repeat(60)))).collect();
        let framed = answer(1, &Told::Room(room(), Reply::Entered { users, seq: 1, time: 1 }));
        assert!(framed.len() <= wire::MAX_JSON_TO_CLIENT);
        let body = body(&framed);
        assert_eq!(body["total"], 1_000);
        assert!(body["users"].as_array().unwrap().len() > 50);
    }
}
