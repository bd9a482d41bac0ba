//! Messages of chat servers, and pings of gates, that are not listed.

use model::placement::GATE;

use super::*;
use crate::event::Event;

fn list(chats: &[&str]) -> Arc<Servers> {
    let servers = |ids: &[&str]| ids.iter().map(|id| Server::new(ServerId::new(id).unwrap(), "127.0.0.1")).collect();
    Arc::new(Servers::new([(CHAT.to_owned(), servers(chats)), (GATE.to_owned(), servers(&["gate-server-1"]))]))
}

impl TestConnector {
    fn set_servers(&mut self, chats: &[&str]) {
        let now = self.now();
        self.state.set_servers(list(chats), now);
    }

    /// A chat server sends a message.
    fn receive_from(&mut self, chat: &str, response: RpcResponse) -> Vec<Effect> {
        let (v, chat, incarnation) = (rpc::VERSION, ServerId::new(chat).unwrap(), Incarnation(1));
        let message = FromChat { v, chat, incarnation, number: 1, stats: None, response };
        let (body, now) = (rpc::encode(&message).unwrap(), self.now());
        self.state.receive(&body, false, now).unwrap()
    }
}

#[test]
fn a_ping_is_answered_on_the_inbox_of_a_listed_gate_alone() {
    let mut connector = TestConnector::new();
    connector.set_servers(&["chat-server-1"]);
    let mut check = |gate: &str, reply: &str| {
        let now = connector.now();
        connector.state.check_ping(&ServerId::new(gate).unwrap(), reply, now)
    };
    let own = "_INBOX.gate-server-1.0a1b.7";
    assert_eq!(check("gate-server-1", own), Ok(()));
    assert_eq!(check("gate-server-1", "_INBOX.shaddock.0a1b.7"), Ok(()));
    for reply in [
        "log.51.lobby",
        "_INBOX.gate-server-2.0a1b.7",
        "_INBOX.chat-server-1.0a1b.7",
        "_INBOX.gate-server-1.>",
        "_INBOX.x",
    ] {
        assert!(matches!(check("gate-server-1", reply), Err(Event::ReplyRefused { .. })), "{reply}");
    }
    for stranger in ["gate-server-2", "chat-server-1"] {
        for reply in [own, "_INBOX.shaddock.0a1b.7", &format!("_INBOX.{stranger}.0a1b.7")] {
            assert!(matches!(check(stranger, reply), Err(Event::GateRefused { .. })), "{stranger} {reply}");
        }
    }
}

#[test]
fn a_message_of_a_stranger_requests_a_recheck_and_changes_nothing() {
    let mut connector = TestConnector::new();
    for _ in 0..3 {
        for response in [RpcResponse::Leaving, RpcResponse::Alive, RpcResponse::NotOwner { room: room(1) }] {
            let effects = connector.receive_from("chat-server-9", response);
            let refused = Effect::Report(Event::SenderRefused { sender: ServerId::new("chat-server-9").unwrap() });
            assert!(
                matches!(&effects[..], [first, Effect::RequestRecheck] | [first] if *first == refused),
                "{effects:?}"
            );
        }
    }
    let id = ServerId::new("chat-server-9").unwrap();
    assert!(!connector.state.chat_servers.is_down(&id) && connector.state.chat_servers.known(&id, 0).is_none());
    connector.set_servers(&["chat-server-1", "chat-server-9"]);
    assert!(connector.receive_from("chat-server-9", RpcResponse::Alive).is_empty());
    assert!(connector.state.chat_servers.known(&id, 0).is_some());
}

/// Its sender may have been added just now, and the record is missing then.
#[test]
fn a_record_of_a_stranger_is_read_from_the_rooms_owner() {
    let mut connector = followed(2);
    let record = Record {
        v: VERSION,
        prev: Position::NONE,
        prev_id: RecordId::NONE,
        id: RecordId(1),
        links: Vec::new(),
        time: 1,
        owner: ServerId::new("chat-server-9").unwrap(),
        proposals: Vec::new(),
        acts: Vec::new(),
        lasting: None,
        entries: vec![Entry::Open],
        notify_connectors: Vec::new(),
        checkpoint: None,
        part: None,
    };
    for (number, attached) in [(0, 1), (7, 0)] {
        let (epoch, position, record) = (Epoch(1), Position(1), Arc::new(record.clone()));
        let effects = connector.receive_from(
            "chat-server-9",
            RpcResponse::Record { room: room(number), epoch, position, record: record.into() },
        );
        assert_eq!(TestConnector::attaches_in(&effects).len(), attached, "{effects:?}");
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Push { .. })));
    }
    assert_eq!(connector.state.rooms(), 2);
}
