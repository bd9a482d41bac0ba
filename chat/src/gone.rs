//! Which runs of connectors are gone, as this server finds: whose members leave, and whose names are free. Pure.

use std::collections::BTreeMap;

use shared::ids::{Incarnation, ServerId, SessionId};

/// Seconds of silence after which a name is free for a newcomer: connectors send two heartbeats a second.
const SUSPECT_SECS: u32 = 2;

/// What is known of connectors. A value: who is given one decides with it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Gone {
    connectors: BTreeMap<ServerId, Standing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// The latest run that was heard of; earlier ones are gone.
    latest: Incarnation,
    is_suspect: bool,
    is_gone: bool,
}

impl Gone {
    /// From connectors, the latest run heard of each, and the seconds of its silence; those in which this server could not
    /// hear do not count. After `lease_secs` of it their members are to leave.
    pub fn new<'a>(connectors: impl Iterator<Item = (&'a ServerId, Incarnation, u32)>, lease_secs: u32) -> Self {
        let standing = |(connector, latest, silence): (&ServerId, Incarnation, u32)| {
            let (is_suspect, is_gone) = (silence >= SUSPECT_SECS, silence >= lease_secs);
            (connector.clone(), Standing { latest, is_suspect, is_gone })
        };
        Self { connectors: connectors.map(standing).collect() }
    }

    /// Whether the members of a run are to leave.
    pub fn is_gone(&self, connector: &ServerId, run: Incarnation) -> bool {
        self.connectors.get(connector).is_some_and(|standing| run < standing.latest || standing.is_gone)
    }

    /// Whether a session's name is free for who wants it.
    pub fn is_free(&self, session: &SessionId) -> bool {
        let standing = self.connectors.get(&session.connector);
        standing.is_some_and(|standing| session.incarnation < standing.latest || standing.is_suspect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_runs_and_silent_connectors_are_gone() {
        let id = |number: usize| ServerId::new(&format!("connector-server-{number}")).unwrap();
        let heard = [(id(1), 7, 0), (id(2), 7, SUSPECT_SECS), (id(3), 7, 10)];
        let gone = Gone::new(heard.iter().map(|(id, run, silence)| (id, Incarnation(*run), *silence)), 10);
        let session = |number, run| SessionId { connector: id(number), incarnation: Incarnation(run), number: 1 };
        let judged = |number, run| (gone.is_free(&session(number, run)), gone.is_gone(&id(number), Incarnation(run)));
        assert_eq!(judged(1, 7), (false, false));
        assert_eq!(judged(1, 6), (true, true), "an earlier run");
        assert_eq!(judged(1, 8), (false, false), "a later run than was heard of");
        assert_eq!(judged(2, 7), (true, false));
        assert_eq!(judged(3, 7), (true, true));
        assert_eq!(judged(4, 7), (false, false), "never heard of");
    }
}
