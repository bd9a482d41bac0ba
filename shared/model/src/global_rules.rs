//! The rules of the room of all rooms: users that are banned everywhere, and tokens that are void.

use std::sync::Arc;

use crate::act::{RuleKind, Target};
use crate::identity::{LoginRefusal, Principal};
use crate::room::Moderation;

/// The rules that hold for all rooms, as of some record of the room of all rooms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
// Shared between the task that reads the room and all logins: ten thousand bans are not
// copied for each.
pub struct GlobalRules(Arc<Moderation>);

impl GlobalRules {
    /// Takes them from the state of the room of all rooms.
    pub fn new(moderation: &Moderation) -> Self {
        Self(Arc::new(moderation.clone()))
    }

    /// Checks that a user may log in at a time, in Unix milliseconds.
    ///
    /// # Errors
    /// If the user is banned, or the token is void.
    pub fn check(&self, user: &Principal, now_ms: u64) -> Result<(), LoginRefusal> {
        // The usual case, and each login passes here.
        if self.0.is_empty() {
            return Ok(());
        }
        // By the clock and not by the time of the room, which stands still while nothing is
        // appended to it: a ban would outlast its end there. By user alone, because names
        // are not unique over rooms.
        if self.0.rule(&Target::Uid(user.uid.clone()), RuleKind::Ban, now_ms).is_some() {
            return Err(LoginRefusal::banned());
        }
        // A token without a time of issue counts as issued first: it may be of any age.
        let is_void = |before: u64| user.issued_at < before;
        match self.0.revocation(&user.uid) {
            Some(revocation) if is_void(revocation.before) => Err(LoginRefusal::revoked()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Actor, Uid};
    use crate::record::{Entry, Position};

    fn user(uid: &str, issued_at: u64) -> Principal {
        let uid = Uid::new(uid).unwrap();
        Principal { uid, name: None, info: None, grants: None, issued_at, expires_at: 99 }
    }

    fn rules(entries: &[Entry]) -> GlobalRules {
        let mut moderation = Moderation::default();
        entries.iter().for_each(|entry| moderation.apply(Position(1), entry));
        GlobalRules::new(&moderation)
    }

    #[test]
    fn a_ban_holds_until_its_end() {
        let target = Target::Uid(Uid::new("ann").unwrap());
        let by = Actor::new("key-1").unwrap();
        let rules = rules(&[Entry::Rule { target, kind: RuleKind::Ban, until: 1_000, by }]);
        assert_eq!(rules.check(&user("ann", 5), 999), Err(LoginRefusal::banned()));
        assert_eq!(rules.check(&user("ann", 5), 1_000), Ok(()));
        assert_eq!(rules.check(&user("bob", 5), 999), Ok(()));
    }

    #[test]
    fn tokens_from_before_a_time_are_void() {
        let uid = Uid::new("ann").unwrap();
        let rules = rules(&[Entry::Revoke { uid, before: 10, until: 0 }]);
        assert_eq!(rules.check(&user("ann", 9), 0), Err(LoginRefusal::revoked()));
        assert_eq!(rules.check(&user("ann", 10), 0), Ok(()));
    }
}
