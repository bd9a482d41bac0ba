//! The servers that a record names, each once; usual ids are abbreviated.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::stored::Error;
use crate::ids::{IdError, Incarnation, ServerId, SessionId};

/// Beginnings of usual ids, and the characters that stand for them. No id has such a character.
// A dictionary that never changes: it takes as few bytes as a table in the room's checkpoints would,
// and each record can be read alone. Other ids are written out.
const ABBREVIATIONS: [(&str, char); 3] =
    [("chat-server-", '\u{1}'), ("connector-server-", '\u{2}'), ("api-server-", '\u{3}')];

/// Index of the connector, its run, the number of the session.
pub(super) type StoredSession = (usize, Incarnation, u64);

/// A server's id as it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredServer(ServerId);

impl Serialize for StoredServer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let id = self.0.as_str();
        let short = ABBREVIATIONS.iter().find_map(|(start, mark)| Some((id.strip_prefix(start)?, mark)));
        match short {
            Some((rest, mark)) => serializer.collect_str(&format_args!("{mark}{rest}")),
            None => serializer.serialize_str(id),
        }
    }
}

impl<'de> Deserialize<'de> for StoredServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        expand(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

fn expand(text: &str) -> Result<ServerId, IdError> {
    match ABBREVIATIONS.iter().find_map(|(start, mark)| Some((start, text.strip_prefix(*mark)?))) {
        Some((start, rest)) => ServerId::new(&format!("{start}{rest}")),
        None => ServerId::new(text),
    }
}

/// The servers that a record names, in the order of their first use.
#[derive(Debug, Default)]
pub(super) struct ServerTable(Vec<StoredServer>);

impl ServerTable {
    /// Returns the index of a server, which it lists if it is not there.
    pub(super) fn index(&mut self, server: &ServerId) -> usize {
        // A record names few servers, most of them many times: the search is short.
        self.0.iter().position(|listed| listed.0 == *server).unwrap_or_else(|| {
            self.0.push(StoredServer(server.clone()));
            self.0.len() - 1
        })
    }

    pub(super) fn session(&mut self, SessionId { connector, incarnation, number }: &SessionId) -> StoredSession {
        (self.index(connector), *incarnation, *number)
    }

    pub(super) fn into_list(self) -> Vec<StoredServer> {
        self.0
    }
}

/// Returns the server at an index.
pub(super) fn server(servers: &[StoredServer], index: usize) -> Result<ServerId, Error> {
    let server = servers.get(index).map(|listed| listed.0.clone());
    server.ok_or_else(|| serde::de::Error::custom("a server that the record does not list"))
}

/// Returns the session of a connector at an index.
pub(super) fn session(
    servers: &[StoredServer],
    (connector, incarnation, number): StoredSession,
) -> Result<SessionId, Error> {
    Ok(SessionId { connector: server(servers, connector)?, incarnation, number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_ids_are_short_and_all_come_back() {
        for (id, bytes) in
            [("chat-server-1", 3), ("connector-server-12", 4), ("api-server-1", 3), ("chat-serve", 11), ("x", 2)]
        {
            let server = StoredServer(ServerId::new(id).unwrap());
            let written = rmp_serde::to_vec(&server).unwrap();
            assert_eq!(written.len(), bytes, "{id}");
            assert_eq!(rmp_serde::from_slice::<StoredServer>(&written).unwrap(), server);
        }
    }

    #[test]
    fn no_abbreviation_makes_an_id_that_may_not_be() {
        for text in ["", "\u{4}1", "\u{1}\u{1}1", "\u{1}.", &format!("\u{1}{}", "1".repeat(64))] {
            assert!(expand(text).is_err(), "{text:?}");
        }
        assert_eq!(expand("\u{2}").unwrap().as_str(), "connector-server-");
    }
}
