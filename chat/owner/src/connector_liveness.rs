//! Failure detector for connectors: decides from heartbeats which incarnations are suspected or
//! down, so which members leave and which names are free. Pure.

use std::collections::BTreeMap;

use model::failure_detector::PeerState;
use model::ids::{Incarnation, ServerId, SessionId};
use model::lineage::Lineage;

/// The state of all known connectors. A value: every owner that holds the same one decides the
/// same.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ConnectorLiveness {
    connectors: BTreeMap<ServerId, ConnectorStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ConnectorStatus {
    /// The latest known incarnation. Earlier ones are down, except those that it continues.
    latest: Lineage,
    state: PeerState,
}

/// The next step for the members of an incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberAction {
    /// They leave.
    Leave,
    /// Their connector continues as this incarnation, and their sessions with it.
    Move(Incarnation),
}

impl ConnectorLiveness {
    /// Takes for each connector its latest known incarnation, and its state: while it is suspected,
    /// the names of its sessions are free for other sessions; when it is down, its members leave.
    pub fn new<'a>(connectors: impl Iterator<Item = (&'a ServerId, &'a Lineage, PeerState)>) -> Self {
        let status = |(connector, latest, state): (&ServerId, &Lineage, PeerState)| {
            (connector.clone(), ConnectorStatus { latest: latest.clone(), state })
        };
        Self { connectors: connectors.map(status).collect() }
    }

    /// Returns the action for the members of an incarnation; `None` if they stay.
    pub fn member_action(&self, connector: &ServerId, run: Incarnation) -> Option<MemberAction> {
        let status = self.connectors.get(connector)?;
        let latest = &status.latest;
        match run {
            // Checked first: a connector that was silent for the whole lease lost its members even
            // if its latest incarnation continues theirs.
            _ if status.state == PeerState::Down => Some(MemberAction::Leave),
            run if latest.continues(run) => Some(MemberAction::Move(latest.present())),
            // An incarnation above the latest known one is not judged: its first message may be on
            // the way.
            run => (run < latest.present()).then_some(MemberAction::Leave),
        }
    }

    /// Returns true if another session may take the name of this session.
    pub fn is_name_free(&self, session: &SessionId) -> bool {
        let status = self.connectors.get(&session.connector);
        status.is_some_and(|status| {
            self.session_incarnation(session) < status.latest.present() || status.state >= PeerState::Suspected
        })
    }

    /// Returns the incarnation of a session, or the latest one if that continues it.
    pub fn session_incarnation(&self, session: &SessionId) -> Incarnation {
        self.current_incarnation(&session.connector, session.incarnation)
    }

    /// Returns the connector's latest incarnation if that continues `run`, else `run`.
    pub fn current_incarnation(&self, connector: &ServerId, run: Incarnation) -> Incarnation {
        self.connectors.get(connector).map_or(run, |status| status.latest.unify(run))
    }

    /// Returns the incarnations that a connector's latest one continues.
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
        let states = [(id(1), PeerState::Up), (id(2), PeerState::Suspected), (id(3), PeerState::Down)];
        let liveness = ConnectorLiveness::new(states.iter().map(|(id, state)| (id, &latest, *state)));
        let session = |number, run| SessionId { connector: id(number), incarnation: Incarnation(run), number: 1 };
        let judged = |number, run| {
            (liveness.is_name_free(&session(number, run)), liveness.member_action(&id(number), Incarnation(run)))
        };
        assert_eq!(judged(1, 7), (false, None));
        assert_eq!(judged(1, 6), (true, Some(MemberAction::Leave)), "an earlier incarnation");
        assert_eq!(judged(1, 8), (false, None), "a later incarnation than the latest known one");
        assert_eq!(judged(2, 7), (true, None));
        assert_eq!(judged(3, 7), (true, Some(MemberAction::Leave)));
        assert_eq!(judged(4, 7), (false, None), "an unknown connector");
    }

    #[test]
    fn members_of_a_continued_run_go_on() {
        let mut latest = Lineage::new(Incarnation(3));
        latest.continue_above(Incarnation(7));
        let judged = |state, run| {
            let liveness = ConnectorLiveness::new([(&id(1), &latest, state)].into_iter());
            let session = SessionId { connector: id(1), incarnation: Incarnation(run), number: 1 };
            (
                liveness.is_name_free(&session),
                liveness.member_action(&id(1), Incarnation(run)),
                liveness.current_incarnation(&id(1), Incarnation(run)).0,
            )
        };
        assert_eq!(judged(PeerState::Up, 3), (false, Some(MemberAction::Move(Incarnation(11))), 11));
        assert_eq!(
            judged(PeerState::Up, 7),
            (true, Some(MemberAction::Leave), 7),
            "the incarnation that it is above is another process"
        );
        assert_eq!(judged(PeerState::Up, 11), (false, None, 11));
        assert_eq!(judged(PeerState::Down, 3), (true, Some(MemberAction::Leave), 11), "it is silent");
    }
}
