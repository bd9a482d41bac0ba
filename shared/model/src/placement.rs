//! Placement of keys on servers: a formula without state and I/O, with the same result in every
//! process.

use thiserror::Error;

use crate::ids::ServerId;
use crate::servers::{Server, Servers};

pub use crate::servers::{API, CHAT, CONNECTOR, GATE};

/// There is no server of a type, so nothing can be sent to one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no server of type {server_type:?}: add one to servers.json, in the environment that runs")]
pub struct NoServer {
    /// The type that has no server.
    pub server_type: String,
}

/// The formula: the index of the key's server among `count`, which is the unsigned CRC-32 of the
/// key's UTF-8, modulo the number of servers; `None` if there are none.
pub fn index(key: &str, count: usize) -> Option<usize> {
    // Both sides of the modulo are taken as u64; the result is below `count` and fits again.
    let index = u64::from(crc32fast::hash(key.as_bytes())).checked_rem(u64::try_from(count).ok()?)?;
    usize::try_from(index).ok()
}

/// The server of `key`, in the order of the list; `None` if the list is empty.
pub fn place<'a>(key: &str, servers: &'a [Server]) -> Option<&'a Server> {
    servers.get(index(key, servers.len())?)
}

/// The server of `key` among those of `server_type`; a single server has every key.
pub fn route<'a>(server_type: &str, key: &str, servers: &'a Servers) -> Result<&'a Server, NoServer> {
    place(key, servers.of_type(server_type)).ok_or_else(|| NoServer { server_type: server_type.to_owned() })
}

/// The servers that may own `key` while some are down, in the order in which they are tried.
///
/// First the home, unless it is down; then the formula over the remaining servers that are up,
/// repeatedly.
pub fn candidates<'a>(key: &str, servers: &'a [Server], is_down: impl Fn(&ServerId) -> bool) -> Vec<&'a Server> {
    let mut rest: Vec<&Server> = servers.iter().filter(|server| !is_down(&server.id)).collect();
    let mut order = Vec::with_capacity(rest.len());
    // The home first: the formula over the servers that are up would also move keys of servers that
    // are not down.
    if let Some(home) = place(key, servers)
        && let Some(at) = rest.iter().position(|server| server.id == home.id)
    {
        order.push(rest.remove(at));
    }
    // One server after the other leaves the list, so that each is a candidate once.
    while let Some(at) = index(key, rest.len()) {
        order.push(rest.remove(at));
    }
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        key: String,
        crc32: u32,
        index: BTreeMap<String, usize>,
    }

    fn list(count: usize) -> Vec<Server> {
        let id = |n| ServerId::new(&format!("s-{n}")).unwrap();
        (0..count).map(|n| Server::new(id(n), "127.0.0.1")).collect()
    }

    fn up<'a>(key: &str, servers: &'a [Server], down: &[usize]) -> Vec<&'a str> {
        let is_down = |id: &ServerId| down.iter().any(|n| servers[*n].id == *id);
        candidates(key, servers, is_down).into_iter().map(|server| server.id.as_str()).collect()
    }

    #[test]
    fn keys_go_where_the_golden_vectors_say() {
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("../golden/placement.json")).unwrap();
        assert_eq!(vectors.len(), 16);
        for Vector { key, crc32, index } in vectors {
            assert_eq!(crc32fast::hash(key.as_bytes()), crc32, "{key}");
            assert_eq!(index.len(), 7);
            for (count, expected) in index {
                let servers = list(count.parse().unwrap());
                assert_eq!(place(&key, &servers), Some(&servers[expected]), "{key} of {count}");
            }
        }
    }

    #[test]
    fn only_keys_of_a_down_server_move() {
        let servers = list(3);
        for key in ["a", "bob", "lobby", "room2", "聊天室"] {
            let home = index(key, 3).unwrap();
            for down in (0..3).filter(|down| *down != home) {
                assert_eq!(up(key, &servers, &[down])[0], servers[home].id.as_str());
            }
        }
    }

    #[test]
    fn a_down_home_is_replaced_by_the_formula_over_the_rest() {
        // crc32("lobby") is 3437516279: index 2 of three, then 1 of the two left, then 0.
        let servers = list(3);
        assert_eq!(up("lobby", &servers, &[]), ["s-2", "s-1", "s-0"]);
        assert_eq!(up("lobby", &servers, &[2]), ["s-1", "s-0"]);
        assert_eq!(up("lobby", &servers, &[1, 2]), ["s-0"]);
        assert!(up("lobby", &servers, &[0, 1, 2]).is_empty());
    }

    #[test]
    fn any_type_can_be_routed_and_a_missing_one_is_named() {
        let servers = Servers::new([("area".to_owned(), list(1)), (CHAT.to_owned(), list(3))]);
        assert_eq!(route("area", "anything", &servers).unwrap().id.as_str(), "s-0");
        assert_eq!(route(CHAT, "lobby", &servers).unwrap().id.as_str(), "s-2");
        let missing = route(GATE, "lobby", &servers).unwrap_err();
        assert_eq!(missing, NoServer { server_type: GATE.to_owned() });
        assert_eq!(place("lobby", &[]), None);
    }
}
