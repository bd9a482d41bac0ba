//! Trials of wrong keys, which are bounded for each address. Time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use frontend::TokenBucket;
use model::ids::Actor;
use model::network::AddressGroup;
use tokio::time::Instant;

use super::{ApiKey, KeyRing, MIN_KEY_CHARS};

/// Wrong keys of an address at once.
const AT_ONCE: f64 = 10.0;

/// Wrong keys of an address per second.
const PER_SEC: f64 = 1.0;

/// Addresses that are counted apart; all further ones are counted as one.
// A bound of memory: who has more addresses than this shares one budget with all further
// ones.
const MAX_ADDRESSES: usize = 4_096;

/// Keys that are remembered of an address.
const MAX_ACCEPTED: usize = 16;

/// The result of one trial.
#[derive(Debug, Clone)]
pub enum Trial {
    /// The key is right.
    Accepted(Arc<ApiKey>),
    /// It is wrong.
    Wrong,
    /// The address tried too many wrong ones: this one may be right.
    TooMany,
}

/// The trials of all addresses.
#[derive(Debug, Default)]
pub struct Trials(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    addresses: HashMap<AddressGroup, Address>,
    others: Option<Address>,
}

#[derive(Debug)]
struct Address {
    wrong: TokenBucket,
    /// Keys that came from here before.
    // Behind a proxy that is not listed all clients have one address: an attacker among them must
    // not lock out those that have a key.
    accepted: Vec<Actor>,
}

impl Address {
    fn new(now: Instant) -> Self {
        Self { wrong: TokenBucket::full(PER_SEC, AT_ONCE, now), accepted: Vec::new() }
    }

    fn try_key(&mut self, key: Option<Arc<ApiKey>>, now: Instant) -> Trial {
        match key {
            Some(key) if self.accepted.contains(&key.id) => Trial::Accepted(key),
            Some(key) if self.wrong.has(1.0, now) => {
                if self.accepted.len() < MAX_ACCEPTED {
                    self.accepted.push(key.id.clone());
                }
                Trial::Accepted(key)
            }
            None if self.wrong.take(1.0, now) => Trial::Wrong,
            Some(_) | None => Trial::TooMany,
        }
    }
}

impl Trials {
    /// Compares the key that a request from this address brought.
    pub fn try_key(&self, ring: &KeyRing, address: IpAddr, given: &str, now: Instant) -> Trial {
        let key = if given.len() < MIN_KEY_CHARS { None } else { ring.find(given) };
        // Nothing panics while holding the lock.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.address(AddressGroup::of(address), now).try_key(key, now)
    }
}

#[cfg(test)]
impl Trials {
    /// The number of addresses that are counted apart now.
    pub(super) fn addresses(&self) -> usize {
        self.0.lock().unwrap().addresses.len()
    }
}

impl Table {
    fn address(&mut self, group: AddressGroup, now: Instant) -> &mut Address {
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&group) {
            self.addresses.retain(|_, address| !address.wrong.is_full(now));
            if self.addresses.len() >= MAX_ADDRESSES {
                return self.others.get_or_insert_with(|| Address::new(now));
            }
        }
        self.addresses.entry(group).or_insert_with(|| Address::new(now))
    }
}
