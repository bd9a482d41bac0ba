//! The address of a client: the peer of the connection, or what trusted proxies say of it.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use model::network::Networks;

/// The header in which each proxy adds the address of its own peer at the right.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Most proxies on the way of a request.
// An attacker may send any number of addresses; only those at the right are of trusted proxies.
const MOST_PROXIES: usize = 32;

/// The other end of a connection, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address, or that of a proxy.
    pub address: SocketAddr,
    /// The address is a trusted proxy's, and no header has named the client yet.
    pub is_proxy: bool,
    /// The client speaks packages without a websocket.
    pub is_native: bool,
}

impl Peer {
    /// Returns the peer of a connection before its first request: `address` is that of the TCP
    /// connection, or of its PROXY header.
    pub fn new(address: SocketAddr, trusted: &Networks) -> Self {
        Self { address, is_proxy: trusted.contains(address.ip()), is_native: false }
    }

    /// Returns the client of a request with these headers.
    #[must_use]
    pub fn client_of(self, headers: &HeaderMap, trusted: &Networks) -> Self {
        if !self.is_proxy {
            // Every client can write the header, so it says nothing here.
            return self;
        }
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        // A line that is no text ends the walk as a malformed address does.
        let addresses = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(',')).map(parse_address);
        let mut client = self;
        for address in addresses.take(MOST_PROXIES) {
            let Some(address) = address else { break };
            client.address = address;
            client.is_proxy = trusted.contains(address.ip());
            if !client.is_proxy {
                break;
            }
        }
        client
    }
}

/// Parses an address as proxies write it: with a port or without, IPv6 with brackets or without.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let text = text.trim_matches([' ', '\t']);
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let without_port = || bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 0));
    text.parse().ok().or_else(without_port).map(|address: SocketAddr| match address {
        // An address with a zone means something on the proxy's own machine only.
        SocketAddr::V6(v6) => SocketAddr::new((*v6.ip()).into(), v6.port()),
        v4 => v4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> Networks {
        vec!["10.0.0.0/8".to_owned(), "::1".to_owned()].try_into().unwrap()
    }

    /// Returns the client of a connection from `peer` whose request has these lines.
    fn client(peer: &str, lines: &[&str]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let peer = Peer::new(SocketAddr::new(peer.parse().unwrap(), 7), &trusted());
        let client = peer.client_of(&headers, &trusted());
        (client.address.ip().to_string(), client.is_proxy)
    }

    #[test]
    fn only_trusted_proxies_name_clients() {
        assert_eq!(client("203.0.113.9", &["198.51.100.1"]), ("203.0.113.9".to_owned(), false));
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), ("198.51.100.1".to_owned(), false));
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"]), ("198.51.100.1".to_owned(), false));
        assert_eq!(client("10.0.0.1", &[]), ("10.0.0.1".to_owned(), true));
    }

    #[test]
    fn the_first_address_from_the_right_that_is_not_trusted_is_the_client() {
        let client = |lines: &[&str]| client("10.0.0.1", lines).0;
        assert_eq!(client(&["127.0.0.1, 8.8.8.8, 198.51.100.1, 10.0.0.2,10.3.3.3"]), "198.51.100.1");
        assert_eq!(client(&["8.8.8.8", "198.51.100.1", "10.0.0.2"]), "198.51.100.1");
        assert_eq!(client(&["198.51.100.1:8080"]), "198.51.100.1");
        assert_eq!(client(&["2001:db8::5"]), "2001:db8::5");
        assert_eq!(client(&["[2001:db8::5]"]), "2001:db8::5");
        assert_eq!(client(&["[2001:db8::5]:99"]), "2001:db8::5");
        // All are trusted: the client is inside the trusted networks.
        assert_eq!(client(&["10.0.0.9, 10.0.0.2"]), "10.0.0.9");
    }

    #[test]
    fn a_malformed_address_ends_the_walk() {
        for bad in
            ["unknown", "", "1.2.3", "198.51.100.1, ", "1.2.3.4.5", "2001:db8::5:", "fe80::1%", "_hidden", "::1]:1"]
        {
            assert_eq!(client("10.0.0.1", &["8.8.8.8", bad]), ("10.0.0.1".to_owned(), true), "{bad}");
            let proxied = format!("{bad}, 10.0.0.2");
            assert_eq!(client("10.0.0.1", &["8.8.8.8", &proxied]), ("10.0.0.2".to_owned(), true), "{bad}");
        }
    }

    #[test]
    fn a_long_way_is_not_walked() {
        let many = ["198.51.100.1"].into_iter().chain(std::iter::repeat_n("10.0.0.2", 10_000));
        let line = many.collect::<Vec<_>>().join(",");
        assert_eq!(client("10.0.0.1", &[&line]), ("10.0.0.2".to_owned(), true));
    }
}
