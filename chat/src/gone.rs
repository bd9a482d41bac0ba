//! Which runs of connectors are gone, as this server finds: whose members leave, and whose names are free. Pure.

use std::collections::BTreeMap;

use shared::ids::{Incarnation, ServerId, SessionId};
use shared::lineage::Lineage;

/// Seconds of silence after which a name is free for a newcomer: connectors send two heartbeats a second.
const SUSPECT_SECS: u32 = 2;

/// What is known of connectors. A value: who is given one decides with it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Gone {
    connectors: BTreeMap<ServerId, Standing>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    /// The latest run that was heard of; earlier ones are gone, but for those that it continues.
    latest: Lineage,
    is_suspect: bool,
    is_gone: bool,
}

/// The next step for the members of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They leave.
    Leave,
    /// Their connector goes on as this run, and their sessions with it.
    Move(Incarnation),
}

impl Gone {
    /// From connectors, the latest run heard of each, and the seconds of its silence; those in which this server could not
    /// hear do not count. After `lease_secs` of it their members are to leave.
    pub fn new<'a>(connectors: impl Iterator<Item = (&'a ServerId, &'a Lineage, u32)>, lease_secs: u32) -> Self {
        let standing = |(connector, latest, silence): (&ServerId, &Lineage, u32)| {
            let (is_suspect, is_gone) = (silence >= SUSPECT_SECS, silence >= lease_secs);
            (connector.clone(), Standing { latest: latest.clone(), is_suspect, is_gone })
        };
        Self { connectors: connectors.map(standing).collect() }
    }

    /// Where the members of a run go; none if they stay.
    pub fn fate(&self, connector: &ServerId, run: Incarnation) -> Option<Fate> {
        let standing = self.connectors.get(connector)?;
        let latest = &standing.latest;
        match run {
            _ if standing.is_gone => Some(Fate::Leave),
            run if latest.continues(run) => Some(Fate::Move(latest.present())),
            run => (run < latest.present()).then_some(Fate::Leave),
        }
    }

    /// Whether a session's name is free for who wants it.
    pub fn is_free(&self, session: &SessionId) -> bool {
        let standing = self.connectors.get(&session.connector);
        standing.is_some_and(|standing| self.unify(session) < standing.latest.present() || standing.is_suspect)
    }

    /// The run of a session; the latest one for a run that this continues.
    pub fn unify(&self, session: &SessionId) -> Incarnation {
        self.present(&session.connector, session.incarnation)
    }

    /// The latest run of a connector for one that it continues, others as they are.
    pub fn present(&self, connector: &ServerId, run: Incarnation) -> Incarnation {
        self.connectors.get(connector).map_or(run, |standing| standing.latest.unify(run))
    }

    /// The runs that a connector's latest one continues.
    pub fn continued(&self, connector: &ServerId) -> &[Incarnation] {
        self.connectors.get(connector).map_or(&[], |standing| standing.latest.earlier())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ServerId {
        ServerId::new(&format!("connector-server-{number}")).unwrap()
    }

    #[test]
    fn earlier_runs_and_silent_connectors_are_gone() {
        let latest = Lineage::new(Incarnation(7));
        let heard = [(id(1), 0), (id(2), SUSPECT_SECS), (id(3), 10)];
        let gone = Gone::new(heard.iter().map(|(id, silence)| (id, &latest, *silence)), 10);
        let session = |number, run| SessionId { connector: id(number), incarnation: Incarnation(run), number: 1 };
        let judged = |number, run| (gone.is_free(&session(number, run)), gone.fate(&id(number), Incarnation(run)));
        assert_eq!(judged(1, 7), (false, None));
        assert_eq!(judged(1, 6), (true, Some(Fate::Leave)), "an earlier run");
        assert_eq!(judged(1, 8), (false, None), "a later run than was heard of");
        assert_eq!(judged(2, 7), (true, None));
        assert_eq!(judged(3, 7), (true, Some(Fate::Leave)));
        assert_eq!(judged(4, 7), (false, None), "never heard of");
    }

    #[test]
    fn members_of_a_continued_run_go_on() {
        let mut latest = Lineage::new(Incarnation(3));
        latest.continue_above(Incarnation(7));
        let judged = |silence: u32, run| {
            let gone = Gone::new([(&id(1), &latest, silence)].into_iter(), 10);
            let session = SessionId { connector: id(1), incarnation: Incarnation(run), number: 1 };
            (gone.is_free(&session), gone.fate(&id(1), Incarnation(run)), gone.present(&id(1), Incarnation(run)).0)
        };
        assert_eq!(judged(0, 3), (false, Some(Fate::Move(Incarnation(11))), 11));
        assert_eq!(judged(0, 7), (true, Some(Fate::Leave), 7), "the run that it goes on above is another process");
        assert_eq!(judged(0, 11), (false, None, 11));
        assert_eq!(judged(10, 3), (true, Some(Fate::Leave), 11), "it is silent");
    }
}
