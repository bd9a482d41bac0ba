//! The leaders of the log's streams in a NATS cluster, and the moves that spread them. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A stream, by its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamServers {
    /// Its name.
    pub stream: String,
    /// The server that leads it.
    pub leader: String,
    /// The other servers that have all of its messages, and may lead it.
    pub followers: Vec<String>,
}

/// A change of a stream's leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderMove {
    /// The stream.
    pub stream: String,
    /// The leader before.
    pub from: String,
    /// The leader afterwards.
    pub to: String,
}

/// Returns the changes after which no server leads two streams more than another that could lead
/// one of them, directly or by way of other servers.
pub fn moves(streams: &[StreamServers]) -> Vec<LeaderMove> {
    let mut leaders: Vec<&str> = streams.iter().map(|servers| servers.leader.as_str()).collect();
    // Each chain lowers the sum of the squares of the counts, so this ends.
    while let Some(chain) = next_chain(streams, &leaders) {
        for (stream, to) in chain {
            if let Some(leader) = leaders.get_mut(stream) {
                *leader = to;
            }
        }
    }
    let changed = streams.iter().zip(leaders).filter(|(servers, leader)| servers.leader != *leader);
    let change = |(servers, to): (&StreamServers, &str)| LeaderMove {
        stream: servers.stream.clone(),
        from: servers.leader.clone(),
        to: to.to_owned(),
    };
    changed.map(change).collect()
}

/// A chain of moves: the numbers of streams, and their new leaders.
type Chain<'a> = Vec<(usize, &'a str)>;

/// Returns the shortest chain of moves from a server to one that leads two streams fewer.
fn next_chain<'a>(streams: &'a [StreamServers], leaders: &[&'a str]) -> Option<Chain<'a>> {
    let counts = counts(streams, leaders);
    let mut servers: Vec<_> = counts.iter().map(|(server, count)| (*count, *server)).collect();
    servers.sort_by(|(count, server), (other, name)| other.cmp(count).then(server.cmp(name)));
    servers.into_iter().find_map(|(count, from)| {
        let is_lower = |server: &str| counts.get(server).is_some_and(|other| other + 2 <= count);
        chain_from(from, streams, leaders, is_lower)
    })
}

/// Returns the number of streams that each server leads.
fn counts<'a>(streams: &'a [StreamServers], leaders: &[&'a str]) -> BTreeMap<&'a str, usize> {
    let followers = streams.iter().flat_map(|servers| &servers.followers).map(|server| (server.as_str(), 0));
    let mut counts: BTreeMap<&str, usize> = followers.collect();
    leaders.iter().for_each(|leader| *counts.entry(leader).or_default() += 1);
    counts
}

/// Searches breadth first along the streams that a server leads, to the servers that may lead them.
fn chain_from<'a>(
    from: &'a str,
    streams: &'a [StreamServers],
    leaders: &[&'a str],
    is_end: impl Fn(&str) -> bool,
) -> Option<Chain<'a>> {
    let (mut seen, mut open) = (BTreeSet::from([from]), VecDeque::from([(from, Chain::new())]));
    while let Some((server, chain)) = open.pop_front() {
        if is_end(server) {
            return Some(chain);
        }
        let led = streams.iter().zip(leaders).enumerate().filter(|(_, (_, leader))| **leader == server);
        for (number, (servers, _)) in led {
            let others = servers.followers.iter().chain([&servers.leader]).map(String::as_str);
            for other in others.filter(|other| *other != server) {
                if seen.insert(other) {
                    open.push_back((other, chain.iter().copied().chain([(number, other)]).collect()));
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams of these servers, the first of which leads.
    fn streams(servers: &[&str]) -> Vec<StreamServers> {
        let stream = |(number, servers): (usize, &&str)| {
            let mut servers = servers.split(' ').map(str::to_owned);
            let (stream, leader) = (number.to_string(), servers.next().unwrap());
            StreamServers { stream, leader, followers: servers.collect() }
        };
        servers.iter().enumerate().map(stream).collect()
    }

    /// Returns the number of streams that each server leads after all moves.
    fn after(streams: &[StreamServers]) -> Vec<(String, usize)> {
        let mut streams = streams.to_vec();
        for LeaderMove { stream, from, to } in moves(&streams) {
            let moved = streams.iter_mut().find(|servers| servers.stream == stream).unwrap();
            assert!(moved.leader == from && moved.followers.contains(&to), "{stream} {to}");
            moved.leader = to;
        }
        let leaders: Vec<&str> = streams.iter().map(|servers| servers.leader.as_str()).collect();
        counts(&streams, &leaders).into_iter().map(|(server, count)| (server.to_owned(), count)).collect()
    }

    fn counts_after(servers: &[&str]) -> Vec<usize> {
        after(&streams(servers)).into_iter().map(|(_, count)| count).collect()
    }

    #[test]
    fn leaders_are_spread_evenly() {
        assert_eq!(counts_after(&["a b c"; 6]), [2, 2, 2]);
        assert_eq!(counts_after(&["a b c"; 4]).iter().max(), Some(&2));
        assert_eq!(moves(&streams(&["a b c", "b c a", "c a b", "a b c"])), [], "as even as can be");
    }

    #[test]
    fn streams_move_only_to_servers_that_have_them() {
        assert_eq!(counts_after(&["a", "a", "a b"]), [2, 1]);
        assert_eq!(moves(&streams(&["a", "a", "a"])), [], "no replicas");
    }

    /// None of the streams of the busiest server has a replica at the idle one.
    #[test]
    fn a_move_may_need_another_one() {
        assert_eq!(counts_after(&["a b", "a b", "b c", "b c"]), [1, 2, 1]);
        assert_eq!(counts_after(&["a b", "a b", "a b", "b c", "b c", "b c"]), [2, 2, 2]);
    }
}
