//! Which runs of connectors are gone, as this server finds: whose members leave, and whose names are free. Pure.

use std::collections::BTreeMap;

use model::ids::{Incarnation, ServerId, SessionId};
use model::lineage::Lineage;

/// Seconds of silence after which a name is free for a newcomer: connectors send two heartbeats a second.
const SUSPECT_SECS: u32 = 2;

/// What is known of connectors. A value: who is given one decides with it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ConnectorLiveness {
    connectors: BTreeMap<ServerId, ConnectorStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ConnectorStatus {
    /// The latest run that was heard of; earlier ones are gone, but for those that it continues.
    latest: Lineage,
    is_suspected: bool,
    is_down: bool,
}

/// The next step for the members of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberAction {
    /// They leave.
    Leave,
    /// Their connector goes on as this run, and their sessions with it.
    Move(Incarnation),
}

impl ConnectorLiveness {
    /// From connectors, the latest run heard of each, and the seconds of its silence; those in which this server could not
    /// hear do not count. After `lease_secs` of it their members are to leave.
    pub fn new<'a>(connectors: impl Iterator<Item = (&'a ServerId, &'a Lineage, u32)>, lease_secs: u32) -> Self {
        let status = |(connector, latest, silence): (&ServerId, &Lineage, u32)| {
            let (is_suspected, is_down) = (silence >= SUSPECT_SECS, silence >= lease_secs);
            (connector.clone(), ConnectorStatus { latest: latest.clone(), is_suspected, is_down })
        };
        Self { connectors: connectors.map(status).collect() }
    }

    /// Where the members of a run go; none if they stay.
    pub fn member_action(&self, connector: &ServerId, run: Incarnation) -> Option<MemberAction> {
        let status = self.connectors.get(connector)?;
        let latest = &status.latest;
        match run {
            _ if status.is_down => Some(MemberAction::Leave),
            run if latest.continues(run) => Some(MemberAction::Move(latest.present())),
            run => (run < latest.present()).then_some(MemberAction::Leave),
        }
    }

    /// Whether a session's name is free for who wants it.
    pub fn is_name_free(&self, session: &SessionId) -> bool {
        let status = self.connectors.get(&session.connector);
        status.is_some_and(|status| self.session_incarnation(session) < status.latest.present() || status.is_suspected)
    }

    /// The run of a session; the latest one for a run that this continues.
    pub fn session_incarnation(&self, session: &SessionId) -> Incarnation {
        self.current_incarnation(&session.connector, session.incarnation)
    }

    /// The latest run of a connector for one that it continues, others as they are.
    pub fn current_incarnation(&self, connector: &ServerId, run: Incarnation) -> Incarnation {
        self.connectors.get(connector).map_or(run, |status| status.latest.unify(run))
    }

    /// The runs that a connector's latest one continues.
    pub fn continued_incarnations(&self, connector: &ServerId) -> &[Incarnation] {
        self.connectors.get(connector).map_or(&[], |status| status.latest.earlier())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ServerId {
        ServerId::new(&format!("connector-server-{number}")).unwrap()
    }

    #[test]
    fn earlier_runs_and_silent_connectors_are_down() {
        let latest = Lineage::new(Incarnation(7));
        let heard = [(id(1), 0), (id(2), SUSPECT_SECS), (id(3), 10)];
        let liveness = ConnectorLiveness::new(heard.iter().map(|(id, silence)| (id, &latest, *silence)), 10);
        let session = |number, run| SessionId { connector: id(number), incarnation: Incarnation(run), number: 1 };
        let judged = |number, run| {
            (liveness.is_name_free(&session(number, run)), liveness.member_action(&id(number), Incarnation(run)))
        };
        assert_eq!(judged(1, 7), (false, None));
        assert_eq!(judged(1, 6), (true, Some(MemberAction::Leave)), "an earlier run");
        assert_eq!(judged(1, 8), (false, None), "a later run than was heard of");
        assert_eq!(judged(2, 7), (true, None));
        assert_eq!(judged(3, 7), (true, Some(MemberAction::Leave)));
        assert_eq!(judged(4, 7), (false, None), "never heard of");
    }

    #[test]
    fn members_of_a_continued_run_go_on() {
        let mut latest = Lineage::new(Incarnation(3));
        latest.continue_above(Incarnation(7));
        let judged = |silence: u32, run| {
            let liveness = ConnectorLiveness::new([(&id(1), &latest, silence)].into_iter(), 10);
            let session = SessionId { connector: id(1), incarnation: Incarnation(run), number: 1 };
            (
                liveness.is_name_free(&session),
                liveness.member_action(&id(1), Incarnation(run)),
                liveness.current_incarnation(&id(1), Incarnation(run)).0,
            )
        };
        assert_eq!(judged(0, 3), (false, Some(MemberAction::Move(Incarnation(11))), 11));
        assert_eq!(
            judged(0, 7),
            (true, Some(MemberAction::Leave), 7),
            "the run that it goes on above is another process"
        );
        assert_eq!(judged(0, 11), (false, None, 11));
        assert_eq!(judged(10, 3), (true, Some(MemberAction::Leave), 11), "it is silent");
    }
}
