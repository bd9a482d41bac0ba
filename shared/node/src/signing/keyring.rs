//! The keys that a process has: seeds of its own servers, public keys of all, and the keys of
//! pairs, made when first used. Pure.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use model::ids::ServerId;

use super::key::{PublicKey, Seed};
use super::signature::PairKey;

/// Keys as they were read. Changed files make another one.
#[derive(Debug, Default)]
pub struct Keyring {
    own: BTreeMap<ServerId, Own>,
}

/// The keys of one server of this process.
#[derive(Debug)]
struct Own {
    seed: Seed,
    peers: BTreeMap<ServerId, Peer>,
}

/// A server whose public keys are known: one, or two while it changes them.
#[derive(Debug)]
struct Peer {
    keys: Vec<PublicKey>,
    // An agreement takes longer than thousands of signatures, and few of all pairs ever talk.
    pairs: OnceLock<Vec<PairKey>>,
}

impl Keyring {
    /// These seeds, and these public keys.
    pub fn new(seeds: BTreeMap<ServerId, Seed>, keys: &BTreeMap<ServerId, Vec<PublicKey>>) -> Self {
        let peers = || -> BTreeMap<ServerId, Peer> {
            let peer = |keys: &Vec<PublicKey>| Peer { keys: keys.clone(), pairs: OnceLock::new() };
            keys.iter().map(|(id, keys)| (id.clone(), peer(keys))).collect()
        };
        Self { own: seeds.into_iter().map(|(id, seed)| (id, Own { seed, peers: peers() })).collect() }
    }

    /// Returns true if this server can sign.
    pub fn has(&self, me: &ServerId) -> bool {
        self.own.contains_key(me)
    }

    /// The keys of a server of this process with another one, one for each key that the other may
    /// have now. `None` if one of the two has no key here.
    pub fn pairs(&self, me: &ServerId, peer: &ServerId) -> Option<&[PairKey]> {
        let Own { seed, peers } = self.own.get(me)?;
        let Peer { keys, pairs } = peers.get(peer)?;
        Some(pairs.get_or_init(|| keys.iter().map(|key| seed.pair(me, peer, key)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::Signed;

    fn id(text: &str) -> ServerId {
        ServerId::new(text).unwrap()
    }

    /// The keys of one server, which knows these of the other.
    fn keyring(me: &str, seed: u8, peer: &str, keys: &[u8]) -> Keyring {
        let publics = keys.iter().map(|key| Seed::new([*key; 32]).public()).collect();
        Keyring::new([(id(me), Seed::new([seed; 32]))].into(), &[(id(peer), publics)].into())
    }

    /// Returns true if b accepts a message of a, which signs it for all keys that it knows of b.
    fn talk(a: &Keyring, b: &Keyring) -> bool {
        let sender = id("a");
        let signed = Signed::new(&sender, ("chat.b", None), b"head", None);
        let pairs = a.pairs(&id("a"), &id("b")).unwrap();
        let header = pairs.iter().map(|pair| pair.sign(&signed)).collect::<Vec<_>>().join(",");
        b.pairs(&id("b"), &id("a")).unwrap().iter().any(|pair| pair.verifies(&signed, &header))
    }

    /// Each step of a change of a's key from 1 to 3, in both directions.
    #[test]
    fn a_key_is_changed_while_both_talk() {
        for (seed_of_a, known_of_a) in [(1, &[1_u8][..]), (1, &[1, 3]), (3, &[1, 3]), (3, &[3])] {
            let (a, b) = (keyring("a", seed_of_a, "b", &[2]), keyring("b", 2, "a", known_of_a));
            assert!(talk(&a, &b), "{seed_of_a} {known_of_a:?}");
            // And back: b signs for all that a may have.
            let (sender, pairs) = (id("b"), b.pairs(&id("b"), &id("a")).unwrap());
            let signed = Signed::new(&sender, ("connector.a.push", None), b"head", None);
            let header = pairs.iter().map(|pair| pair.sign(&signed)).collect::<Vec<_>>().join(",");
            assert!(a.pairs(&id("a"), &id("b")).unwrap().iter().any(|pair| pair.verifies(&signed, &header)));
        }
        let (a, b) = (keyring("a", 3, "b", &[2]), keyring("b", 2, "a", &[1]));
        assert!(!talk(&a, &b), "b does not know the new key");
    }

    #[test]
    fn a_server_without_a_key_has_no_pair() {
        let keyring = keyring("a", 1, "b", &[2]);
        assert!(keyring.has(&id("a")) && !keyring.has(&id("b")));
        assert!(keyring.pairs(&id("a"), &id("c")).is_none() && keyring.pairs(&id("b"), &id("a")).is_none());
    }
}
