//! Every subject of the bus, and a room's name in subjects and headers. No other place spells one.

pub mod permissions;
mod prefix;

pub use prefix::SubjectPrefix;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode_byte, utf8_percent_encode};

use crate::ids::{RoomId, ServerId};
use crate::log_parts::{LogPart, LogParts, Slot};

/// The log subjects of all rooms.
pub const LOGS: &str = "log.*.*";

/// The log subjects of earlier versions, which had no slots.
pub const LOGS_WITHOUT_SLOTS: &str = "log.*";

/// The first part's stream; the names of the others begin with it.
const STREAM: &str = "ROOMS";

/// Name of a process that runs all servers of an environment, which receive responses on one inbox.
pub const PROCESS: &str = "shaddock";

/// Begins the subjects of commands of applications.
const API_COMMAND: &str = "api.v1.";

/// Prefix of the subjects on which a process receives responses.
const INBOX: &str = "_INBOX.";

/// Characters that stay in a token or a header; all others become `%XX`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Requests to a chat server.
pub fn chat(id: &ServerId) -> String {
    format!("chat.{id}")
}

/// The response to a connector's request `number`.
pub fn connector_reply(id: &ServerId, number: u64) -> String {
    format!("connector.{id}.reply.{number}")
}

/// Records for a connector.
pub fn connector_push(id: &ServerId) -> String {
    format!("connector.{id}.push")
}

/// Requests of gates, which ask if a connector takes users.
pub fn connector_ping(id: &ServerId) -> String {
    format!("connector.{id}.ping")
}

/// All subjects of a connector, as one subscription.
pub fn connector_all(id: &ServerId) -> String {
    format!("connector.{id}.>")
}

/// Commands of applications to the servers of the API.
pub const API_COMMANDS: &str = "api.v1.*";

/// The queue group of the servers of the API: one of them gets each command.
pub const API_GROUP: &str = "api";

/// A command of an application, by its name.
pub fn api_command(name: &str) -> String {
    format!("{API_COMMAND}{name}")
}

/// The name of the command that a subject is for.
pub fn api_command_name(subject: &str) -> Option<&str> {
    subject.strip_prefix(API_COMMAND)
}

/// Returns true if a response to an application may go to `subject`: to no subject of the servers
/// or of the broker.
// Else an application could have a server of the API write there, which may do more than it.
pub fn is_reply_to_application(subject: &str) -> bool {
    let first = subject.split('.').next().unwrap_or_default();
    !first.starts_with('$') && !SubjectPrefix::OWN.contains(&first)
}

/// The response to an api server's request `number`.
pub fn api_reply(id: &ServerId, number: u64) -> String {
    format!("api.{id}.reply.{number}")
}

/// All subjects of an api server, as one subscription.
pub fn api_all(id: &ServerId) -> String {
    format!("api.{id}.>")
}

/// A room's log: its slot, then its name.
pub fn log(room: &RoomId) -> String {
    format!("log.{}.{}", Slot::of(room), room_token(room))
}

/// Subject of the messages by which a chat server checks that a part of the log accepts records.
// It is the log of no room, since `room_token` writes no `$`.
pub fn log_probe(parts: LogParts, part: LogPart) -> String {
    format!("log.{}.$proof", parts.slots(part).start())
}

/// The log subjects of a part, as patterns: its stream's subjects.
// They end with `>`, so that logs of more tokens need no other subjects.
pub fn log_patterns(parts: LogParts, part: LogPart) -> Vec<String> {
    if parts == LogParts::ONE {
        return vec!["log.*.>".to_owned()];
    }
    parts.slots(part).map(|slot| format!("log.{slot}.>")).collect()
}

/// The name of a part's stream, without a prefix.
pub fn log_stream(parts: LogParts, part: LogPart) -> String {
    let path = parts.path(part);
    if path.is_empty() { STREAM.to_owned() } else { format!("{STREAM}-{path}") }
}

/// The request to a NATS server, by its own id, to read its configuration again.
pub fn broker_reload(broker: &str) -> String {
    format!("$SYS.REQ.SERVER.{broker}.RELOAD")
}

/// Prefix of the subjects on which a process receives responses; `name` is the id of its server, or
/// [`PROCESS`].
pub fn inbox(name: &str) -> String {
    format!("{INBOX}{name}.")
}

/// The name of the process that receives responses on `subject`; `None` if that is below no
/// [`inbox`].
pub fn inbox_name(subject: &str) -> Option<&str> {
    let (name, rest) = subject.strip_prefix(INBOX)?.split_once('.')?;
    // No wildcards: a response must go to a single subject.
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    (is_plain && !rest.is_empty()).then_some(name)
}

/// Returns true if a server may receive a response on `subject`: below its own [`inbox`], or below
/// that of a process that runs all servers.
pub fn is_inbox_of(id: &ServerId, subject: &str) -> bool {
    inbox_name(subject).is_some_and(|name| name == id.as_str() || name == PROCESS)
}

/// Returns true if a connector receives the response to one of its requests on `subject`.
pub fn is_reply_of(id: &ServerId, subject: &str) -> bool {
    reply("connector.", subject).is_some_and(|(connector, _)| connector == id.as_str())
}

/// Returns true if an api server receives the response to one of its requests on `subject`.
pub fn is_api_reply_of(id: &ServerId, subject: &str) -> bool {
    reply("api.", subject).is_some_and(|(api, _)| api == id.as_str())
}

/// The number of the request whose response goes to `subject`; `None` if it is no subject of
/// [`connector_reply`].
pub fn parse_reply(subject: &str) -> Option<u64> {
    reply("connector.", subject).map(|(_, number)| number)
}

/// The number of the request whose response goes to `subject`; `None` if it is no subject of
/// [`api_reply`].
pub fn parse_api_reply(subject: &str) -> Option<u64> {
    reply("api.", subject).map(|(_, number)| number)
}

fn reply<'a>(role: &str, subject: &'a str) -> Option<(&'a str, u64)> {
    let mut tokens = subject.strip_prefix(role)?.split('.');
    let (id, "reply", number, None) = (tokens.next()?, tokens.next()?, tokens.next()?, tokens.next()) else {
        return None;
    };
    // `parse` alone would take a sign.
    let number = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
    Some((id, number))
}

/// A room as one token of a subject.
///
/// ASCII letters, digits, `-`, `_` and every code point from U+0080 up stay, everything else is
/// percent-encoded.
pub fn room_token(room: &RoomId) -> String {
    let mut token = String::with_capacity(room.as_str().len());
    for c in room.as_str().chars() {
        match u8::try_from(c) {
            Ok(byte) if byte.is_ascii() && !byte.is_ascii_alphanumeric() && byte != b'-' && byte != b'_' => {
                token.push_str(percent_encode_byte(byte));
            }
            _ => token.push(c),
        }
    }
    token
}

/// The room whose log has this subject; `None` for any other subject, also for one of the room that
/// [`log`] would not write.
pub fn parse_log(subject: &str) -> Option<RoomId> {
    let (_, token) = subject.strip_prefix("log.")?.split_once('.')?;
    let name = percent_decode_str(token).decode_utf8().ok()?;
    // A program that may publish can spell subjects as it likes: only those of servers are rooms.
    RoomId::new(&name).ok().filter(|room| log(room) == subject)
}

/// A room as a header's value: as [`room_token`], but all ASCII.
pub fn room_header(room: &RoomId) -> String {
    // Values of headers are ASCII.
    utf8_percent_encode(room.as_str(), ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room(text: &str) -> RoomId {
        RoomId::new(text).unwrap()
    }

    fn decode(text: &str) -> RoomId {
        room(&percent_decode_str(text).decode_utf8().unwrap())
    }

    #[test]
    fn subjects_are_those_of_the_contract() {
        let id = ServerId::new("chat-server-1").unwrap();
        assert_eq!(chat(&id), "chat.chat-server-1");
        assert_eq!(connector_push(&id), "connector.chat-server-1.push");
        assert_eq!(connector_ping(&id), "connector.chat-server-1.ping");
        assert_eq!(connector_all(&id), "connector.chat-server-1.>");
        assert_eq!(
            (api_reply(&id, 7), api_all(&id)),
            ("api.chat-server-1.reply.7".into(), "api.chat-server-1.>".into())
        );
        assert_eq!(log(&room("a.b c")), "log.10.a%2Eb%20c");
    }

    #[test]
    fn a_command_of_an_application_has_a_name() {
        assert_eq!(api_command("publish"), "api.v1.publish");
        assert_eq!(api_command_name(&api_command("publish")), Some("publish"));
        assert_eq!(api_command_name("api.v2.publish"), None);
        for (reply, may) in [("_INBOX.app.1", true), ("app.7", true), ("chat.a", false), ("api.v1.publish", false)] {
            assert_eq!(is_reply_to_application(reply), may, "{reply}");
        }
        assert!(!is_reply_to_application("$JS.API.STREAM.DELETE.ROOMS") && !is_reply_to_application("log.1.a"));
    }

    #[test]
    fn each_part_of_the_log_has_a_stream_with_its_slots() {
        let one = LogParts::ONE;
        let first = one.of(&room("lobby"));
        assert_eq!((log_stream(one, first), log_patterns(one, first)), ("ROOMS".into(), vec!["log.*.>".to_owned()]));
        let four = LogParts::new(4).unwrap();
        let names: Vec<_> = four.iter().map(|part| log_stream(four, part)).collect();
        assert_eq!(names, ["ROOMS", "ROOMS-01", "ROOMS-1", "ROOMS-11"]);
        let lobby = four.of(&room("lobby"));
        assert_eq!((log(&room("lobby")), log_stream(four, lobby)), ("log.51.lobby".into(), "ROOMS-11".into()));
        let patterns = log_patterns(four, lobby);
        assert_eq!((patterns.len(), &*patterns[0], &*patterns[15]), (16, "log.48.>", "log.63.>"));
        assert_eq!(log_probe(four, lobby), "log.48.$proof");
    }

    #[test]
    fn only_necessary_characters_are_encoded() {
        assert_eq!(room_token(&room("Room-1_x")), "Room-1_x");
        assert_eq!(room_token(&room("聊天室 100%.>")), "聊天室%20100%25%2E%3E");
        assert_eq!(room_header(&room("é ~")), "%C3%A9%20%7E");
    }

    #[test]
    fn a_log_is_named_as_servers_name_it() {
        assert_eq!(parse_log("log.10.a%2Eb%20c"), Some(room("a.b c")));
        for other in ["log.11.a%2Eb%20c", "log.10.a%2eb%20c", "log.48.$proof", "log.51.lob%62y", "log.51", "log.51."] {
            assert_eq!(parse_log(other), None, "{other}");
        }
    }

    #[test]
    fn only_replies_are_replies() {
        let id = ServerId::new("connector-server-1").unwrap();
        assert_eq!(parse_reply(&connector_reply(&id, u64::MAX)), Some(u64::MAX));
        assert_eq!(parse_reply(&connector_push(&id)), None);
        for foreign in ["connector.a.reply", "connector.a.reply.", "connector.a.reply.+1", "connector.a.reply.1.2", ""]
        {
            assert_eq!(parse_reply(foreign), None, "{foreign}");
        }
        assert_eq!(parse_reply("connector.a.reply.18446744073709551616"), None);
        let (reply, api) = (connector_reply(&id, 7), api_reply(&id, 7));
        assert_eq!((parse_api_reply(&api), parse_api_reply(&reply), parse_reply(&api)), (Some(7), None, None));
        assert!(is_api_reply_of(&id, &api) && !is_api_reply_of(&id, &reply) && !is_reply_of(&id, &api));
        assert!(!is_api_reply_of(&ServerId::new("api-server-1").unwrap(), &api));
    }

    #[test]
    fn a_response_goes_to_a_subject_of_its_requester_alone() {
        let [id, other] = ["gate-server-1", "gate-server-2"].map(|text| ServerId::new(text).unwrap());
        assert!(is_reply_of(&id, &connector_reply(&id, 7)) && !is_reply_of(&other, &connector_reply(&id, 7)));
        for own in [inbox(id.as_str()), inbox(PROCESS)] {
            assert!(is_inbox_of(&id, &format!("{own}0123456789abcdef.17")), "{own}");
        }
        let inbox = inbox(id.as_str());
        for foreign in
            [&inbox, &format!("{inbox}>"), &format!("{inbox}*.1"), "_INBOX.gate-server-2.a.1", "_INBOX.a", "log.a"]
        {
            assert!(!is_inbox_of(&id, foreign), "{foreign}");
            assert!(!is_reply_of(&id, foreign), "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn every_room_is_one_token_and_comes_back(text in any::<[char; 8]>(), ascii in "[ -~]{0,8}") {
            let text: String = text.into_iter().chain(ascii.chars()).filter(|c| !c.is_control() && *c != '*').collect();
            prop_assume!(!text.is_empty());
            let room = room(&text);
            let token = room_token(&room);
            prop_assert!(!token.contains(|c: char| ".*>".contains(c) || c.is_ascii_whitespace()), "{}", token);
            prop_assert_eq!(&decode(&token), &room);
            let header = room_header(&room);
            prop_assert!(header.is_ascii() && header.trim() == header, "{}", header);
            prop_assert_eq!(parse_log(&log(&room)), Some(room.clone()));
            prop_assert_eq!(decode(&header), room);
        }
    }
}
