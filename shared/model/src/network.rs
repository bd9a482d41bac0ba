//! Networks and addresses of clients: which peers are trusted, and what a limit per address counts
//! as one address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Prefix length by which IPv6 addresses are counted.
// A provider gives each customer at least this much: a limit per single address would be none.
const CUSTOMER: u8 = 64;

/// The networks whose addresses are not unique in the internet, besides loopback: private use
/// (RFC 1918), carrier-grade NAT (RFC 6598), link-local addresses.
const LOCAL_V4: [Ipv4Net; 5] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
];

/// The same of IPv6: unique local addresses (RFC 4193), link-local addresses.
const LOCAL_V6: [Ipv6Net; 2] = [
    Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
];

/// A list of networks, written as `10.0.0.0/8`, and single addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Networks(Vec<IpNet>);

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no network such as \"10.0.0.0/8\" or \"2001:db8::/32\", and no address")]
pub struct NetworkError(String);

impl TryFrom<Vec<String>> for Networks {
    type Error = NetworkError;

    fn try_from(texts: Vec<String>) -> Result<Self, NetworkError> {
        texts.into_iter().map(|text| parse_network(&text).ok_or(NetworkError(text))).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Networks> for Vec<String> {
    fn from(networks: Networks) -> Self {
        networks.0.iter().map(IpNet::to_string).collect()
    }
}

impl Networks {
    /// Returns true if the address is in one of the networks. An IPv4 address is the same in both
    /// of its forms.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn parse_network(text: &str) -> Option<IpNet> {
    let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
    // `10.1.2.3/8` is refused: it is more often an error than a network.
    text.parse::<IpNet>().ok().filter(|network| network.addr() == network.network()).or_else(single)
}

/// Unit of a limit per address: an IPv4 address, or the network of an IPv6 customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressGroup(IpAddr);

impl AddressGroup {
    /// Returns the group of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                Self(Ipv6Net::new(address, CUSTOMER).map_or(address, |network| network.network()).into())
            }
            v4 => Self(v4),
        }
    }

    /// Returns true if the address belongs to one customer of a provider, as far as it shows. Behind
    /// all others may be many clients: a container's port mapping, a proxy that is not listed, or a
    /// provider's NAT.
    pub fn is_public(self) -> bool {
        match self.0 {
            IpAddr::V4(address) => {
                let is_local = LOCAL_V4.iter().any(|network| network.contains(&address));
                !(is_local || address.is_loopback() || address.is_unspecified())
            }
            // `::/64` holds loopback and the unspecified address.
            IpAddr::V6(address) => {
                let is_local = LOCAL_V6.iter().any(|network| network.contains(&address));
                !(is_local || address.is_unspecified())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Result<Networks, NetworkError> {
        texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>().try_into()
    }

    fn group(address: &str) -> AddressGroup {
        AddressGroup::of(address.parse().unwrap())
    }

    #[test]
    fn networks_are_texts_with_a_prefix_or_addresses() {
        let trusted = networks(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"]).unwrap();
        for inside in ["10.255.0.1", "192.0.2.7", "2001:db8:ffff::1", "::1", "::ffff:10.0.0.1"] {
            assert!(trusted.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::2", "127.0.0.1"] {
            assert!(!trusted.contains(outside.parse().unwrap()), "{outside}");
        }
        for bad in ["", "10.0.0.0/33", "10.1.2.3/8", "10.0.0.0/8 ", "nginx", "*", "fe80::1%eth0"] {
            assert_eq!(networks(&["::1", bad]), Err(NetworkError(bad.to_owned())));
        }
    }

    #[test]
    fn an_ipv6_customer_is_one_and_an_ipv4_address_has_one_form() {
        assert_eq!(group("2001:db8:1:2::1"), group("2001:db8:1:2:ffff::9"));
        assert_ne!(group("2001:db8:1:2::1"), group("2001:db8:1:3::1"));
        assert_eq!(group("::ffff:203.0.113.5"), group("203.0.113.5"));
        assert_ne!(group("203.0.113.5"), group("203.0.113.6"));
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for public in ["203.0.113.5", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "2a00::1"] {
            assert!(group(public).is_public(), "{public}");
        }
        let local = ["127.0.0.1", "127.9.9.9", "10.1.1.1", "172.31.255.255", "192.168.0.1", "100.64.0.1"];
        for local in local.into_iter().chain(["169.254.1.1", "0.0.0.0", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"])
        {
            assert!(!group(local).is_public(), "{local}");
        }
    }
}
