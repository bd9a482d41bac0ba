//! Subjects that a server may publish to and subscribe to at the broker, and nothing else. Pure.
//!
//! `shaddock setup` writes them; a test compares them with `config/nats/production.conf`.

use crate::ids::ServerId;
use crate::log_parts::LogParts;
use crate::servers::Servers;
use crate::servers::{API, CHAT, CONNECTOR, GATE};

/// Requests to all chat servers.
const CHATS: &str = "chat.*";

/// Requests to JetStream that a chat server needs for each stream of the rooms' log, whose name
/// follows: it creates the stream, and can neither change, purge nor delete it.
// One by one: a wildcard of NATS is a whole token, so none has the streams of the log alone.
const LOG_REQUESTS: [&str; 4] =
    ["$JS.API.STREAM.INFO", "$JS.API.STREAM.CREATE", "$JS.API.STREAM.MSG.GET", "$JS.API.DIRECT.GET"];

/// Permissions of one server's user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Patterns that it may publish to.
    pub publish: Vec<String>,
    /// Patterns that it may subscribe to.
    pub subscribe: Vec<String>,
    /// May publish one response to each message that names a reply subject.
    pub responses: bool,
}

impl Permissions {
    /// The permissions of a server of this type, with a log of so many parts; none for a type that
    /// the program does not know.
    pub fn of(server_type: &str, id: &ServerId, servers: &Servers, parts: LogParts) -> Option<Self> {
        let own = inbox(id);
        let allow = |publish: Vec<String>, subscribe: Vec<String>| Self { publish, subscribe, responses: false };
        match server_type {
            GATE => Some(allow(vec!["connector.*.ping".to_owned(), own.clone()], vec![own])),
            // Only gates send requests to connectors.
            CONNECTOR => {
                let subscribe = vec![super::connector_all(id), own.clone()];
                Some(Self { responses: true, ..allow(vec![CHATS.to_owned(), own], subscribe) })
            }
            // The inboxes of other chat servers are named one by one: with `answers` the broker
            // would remember each request of a connector for the time that it expires in.
            CHAT => {
                let pushes = [CHATS, "connector.*.push", "connector.*.reply.*", "api.*.reply.*"].map(str::to_owned);
                let responses = servers.chat().iter().map(|chat| inbox(&chat.id));
                let publish = pushes.into_iter().chain(responses).chain([super::LOGS.to_owned()]);
                let publish =
                    publish.chain(parts.iter().flat_map(|part| log_requests(&super::log_stream(parts, part))));
                Some(allow(publish.collect(), vec![super::chat(id), own]))
            }
            // Applications receive the responses to their commands.
            API => {
                let subscribe = vec![super::api_all(id), super::API_COMMANDS.to_owned(), own.clone()];
                Some(Self { responses: true, ..allow(vec![CHATS.to_owned(), own], subscribe) })
            }
            _ => None,
        }
    }
}

/// The requests to JetStream for a stream of the log.
fn log_requests(stream: &str) -> Vec<String> {
    let direct = format!("$JS.API.DIRECT.GET.{stream}.{}", super::LOGS);
    LOG_REQUESTS.iter().map(|request| format!("{request}.{stream}")).chain([direct]).collect()
}

/// Responses to the requests of a server, and its messages to itself.
fn inbox(id: &ServerId) -> String {
    format!("_INBOX.{id}.>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::Server;

    #[test]
    fn only_chat_servers_use_the_log_and_servers_subscribe_to_their_own_subjects() {
        let id = |text: &str| ServerId::new(text).unwrap();
        let list = |kind: &str| (kind.to_owned(), vec![Server::new(id(&format!("{kind}-1")), "127.0.0.1")]);
        let servers = Servers::new([GATE, CONNECTOR, CHAT, API].map(list));
        let of = |kind: &str| Permissions::of(kind, &id(&format!("{kind}-1")), &servers, LogParts::ONE).unwrap();
        assert_eq!(of(GATE).subscribe, ["_INBOX.gate-1.>"]);
        assert_eq!(of(CONNECTOR).subscribe, ["connector.connector-1.>", "_INBOX.connector-1.>"]);
        assert_eq!(of(CHAT).subscribe, ["chat.chat-1", "_INBOX.chat-1.>"]);
        assert_eq!(of(API).subscribe, ["api.api-1.>", "api.v1.*", "_INBOX.api-1.>"]);
        assert_eq!(of(API).publish, ["chat.*", "_INBOX.api-1.>"]);
        let writes =
            |kind| of(kind).publish.iter().any(|subject| subject.starts_with("log.") || subject.contains("JS"));
        assert_eq!([GATE, CONNECTOR, CHAT, API].map(writes), [false, false, true, false]);
        assert_eq!([GATE, CONNECTOR, CHAT, API].map(|kind| of(kind).responses), [false, true, false, true]);
        assert_eq!(Permissions::of("area", &id("area-1"), &servers, LogParts::ONE), None);
    }

    #[test]
    fn each_stream_of_the_log_is_named() {
        let streams = |count| {
            let parts = LogParts::new(count).unwrap();
            let chat = Permissions::of(CHAT, &ServerId::new("chat-1").unwrap(), &Servers::default(), parts).unwrap();
            chat.publish.into_iter().filter(|subject| subject.starts_with("$JS")).collect::<Vec<_>>()
        };
        assert_eq!(
            streams(1),
            [
                "$JS.API.STREAM.INFO.ROOMS",
                "$JS.API.STREAM.CREATE.ROOMS",
                "$JS.API.STREAM.MSG.GET.ROOMS",
                "$JS.API.DIRECT.GET.ROOMS",
                "$JS.API.DIRECT.GET.ROOMS.log.*.*",
            ]
        );
        assert_eq!(streams(2)[..5], streams(1));
        assert!(streams(2)[5..].iter().all(|subject| subject.contains(".ROOMS-1")), "{:?}", streams(2));
        assert_eq!(streams(4).len(), 20);
    }
}
