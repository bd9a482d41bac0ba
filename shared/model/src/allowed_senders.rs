//! The servers whose messages are accepted: those of `servers.json`, and those that were removed
//! from it lately. Pure.
//!
//! A message of another sender is refused, and requests a recheck of the file: a server that was
//! just added repeats its request, and is listed by then. So an unknown sender takes no memory.

use std::collections::BTreeMap;

use crate::ids::ServerId;
use crate::servers::Servers;

/// Least milliseconds between two reads of `servers.json` that unknown senders cause.
const RECHECK_MS: u64 = 200;

/// The types of servers, by their ids.
#[derive(Debug)]
pub struct AllowedSenders {
    listed: BTreeMap<ServerId, String>,
    /// Servers that are not in the list any more, and the ticks of their last messages.
    removed: BTreeMap<ServerId, (String, u64)>,
    lease_ms: u64,
    rechecked_at: Option<u64>,
}

impl AllowedSenders {
    /// The servers of this list. `lease_ms` is `room.lease_secs`.
    pub fn new(servers: &Servers, lease_ms: u64) -> Self {
        Self { listed: types(servers), removed: BTreeMap::new(), lease_ms, rechecked_at: None }
    }

    /// Replaces the list. A removed server stays allowed until it was silent for the lease.
    pub fn set_servers(&mut self, servers: &Servers, ticks: u64) {
        // A removed server still hands its rooms or sessions over.
        let before = std::mem::replace(&mut self.listed, types(servers));
        self.removed.extend(before.into_iter().map(|(id, kind)| (id, (kind, ticks))));
        let (listed, lease_ms) = (&self.listed, self.lease_ms);
        self.removed.retain(|id, (_, last_message_at)| {
            !listed.contains_key(id) && ticks.saturating_sub(*last_message_at) < lease_ms
        });
    }

    /// Notes a message and returns the type of its sender, a key of `servers.json`; `None` for an
    /// unknown sender.
    pub fn note_message(&mut self, id: &ServerId, ticks: u64) -> Option<&str> {
        if let Some(kind) = self.listed.get(id) {
            return Some(kind);
        }
        if let Some((_, last_message_at)) = self.removed.get_mut(id) {
            if ticks.saturating_sub(*last_message_at) < self.lease_ms {
                *last_message_at = ticks;
            } else {
                self.removed.remove(id);
            }
        }
        self.removed.get(id).map(|(kind, _)| kind.as_str())
    }

    /// Returns true if `servers.json` is to be read because of an unknown sender, and begins the
    /// time in which it is not read again.
    pub fn begin_recheck(&mut self, ticks: u64) -> bool {
        // A flood of messages from unknown senders must not become a flood of file reads.
        let is_due = self.rechecked_at.is_none_or(|at| ticks.saturating_sub(at) >= RECHECK_MS);
        if is_due {
            self.rechecked_at = Some(ticks);
        }
        is_due
    }
}

fn types(servers: &Servers) -> BTreeMap<ServerId, String> {
    servers.all().map(|(kind, server)| (server.id.clone(), kind.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{CHAT, CONNECTOR};
    use crate::servers::Server;

    fn id(text: &str) -> ServerId {
        ServerId::new(text).unwrap()
    }

    fn list(chats: &[&str]) -> Servers {
        let servers = |ids: &[&str]| ids.iter().map(|text| Server::new(id(text), "127.0.0.1")).collect();
        Servers::new([(CHAT.to_owned(), servers(chats)), (CONNECTOR.to_owned(), servers(&["c"]))])
    }

    #[test]
    fn servers_are_known_by_their_types_and_strangers_are_not_remembered() {
        let mut senders = AllowedSenders::new(&list(&["a"]), 10_000);
        assert_eq!(senders.note_message(&id("a"), 0), Some(CHAT));
        assert_eq!(senders.note_message(&id("c"), 0), Some(CONNECTOR));
        for number in 0..100 {
            assert_eq!(senders.note_message(&id(&format!("x{number}")), 0), None);
        }
        assert_eq!((senders.listed.len(), senders.removed.len()), (2, 0));
    }

    #[test]
    fn a_removed_server_counts_as_listed_until_it_was_silent_for_the_lease() {
        let mut senders = AllowedSenders::new(&list(&["a", "b"]), 10_000);
        senders.set_servers(&list(&["b"]), 1_000);
        let is_known = |senders: &mut AllowedSenders, ticks| senders.note_message(&id("a"), ticks).is_some();
        assert!(is_known(&mut senders, 10_999) && is_known(&mut senders, 20_998));
        assert!(!is_known(&mut senders, 30_998));
        assert!(!is_known(&mut senders, 30_999), "it is a stranger from then on");
        senders.set_servers(&list(&["a", "b"]), 31_000);
        assert!(is_known(&mut senders, 99_000));
    }

    #[test]
    fn many_strangers_do_not_make_for_many_looks() {
        let mut senders = AllowedSenders::new(&list(&[]), 10_000);
        let due = (0..1_000).filter(|ticks| senders.begin_recheck(*ticks)).count();
        assert_eq!(due, 5);
    }
}
