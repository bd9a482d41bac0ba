//! The incarnations of one process. It continues above an incarnation that it did not know, and its
//! sessions and proposals stay its own. Pure.

use std::sync::Arc;

use crate::ids::{Incarnation, ServerId, SessionId};
use crate::record::{Entry, Record};
use crate::room::{Checkpoint, RoomState};
use crate::rpc::messages::{CatchUp, RpcResponse};

/// Most earlier incarnations that a process remembers. Members of one that is forgotten leave, and
/// are brought back.
pub const MAX_EARLIER: usize = 8;

/// The incarnation that a process has, and those that it had before, all of them lower.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage {
    start: Incarnation,
    present: Incarnation,
    /// Oldest first.
    earlier: Vec<Incarnation>,
}

impl Lineage {
    /// A process that never had another incarnation.
    pub fn new(present: Incarnation) -> Self {
        Self { start: present, present, earlier: Vec::new() }
    }

    /// The lineage that a message claims for its sender, without impossible runs.
    pub fn claimed(present: Incarnation, mut earlier: Vec<Incarnation>) -> Self {
        // Earlier incarnations are below the present one, and their number is bounded.
        earlier.retain(|run| *run < present);
        earlier.truncate(MAX_EARLIER);
        Self { start: Incarnation::default(), present, earlier }
    }

    /// The incarnation that it has.
    pub fn present(&self) -> Incarnation {
        self.present
    }

    /// The earlier incarnations, oldest first.
    pub fn earlier(&self) -> &[Incarnation] {
        &self.earlier
    }

    /// Returns true if the process had this incarnation before.
    pub fn continues(&self, run: Incarnation) -> bool {
        self.earlier.contains(&run)
    }

    /// The present incarnation for one that the process had before; others as they are.
    pub fn unify(&self, run: Incarnation) -> Incarnation {
        if self.continues(run) { self.present } else { run }
    }

    /// Continues above a known incarnation.
    pub fn continue_above(&mut self, known: Incarnation) {
        // Every request to a chat server lists the earlier incarnations, so their number is
        // bounded.
        if self.earlier.len() == MAX_EARLIER {
            self.earlier.remove(0);
        }
        self.earlier.push(std::mem::replace(&mut self.present, known.above(self.start)));
    }

    /// Names the present run of connector `me` where a message of a chat server names one that it
    /// continues.
    pub fn unify_response(&self, me: &ServerId, response: &mut RpcResponse) {
        match response {
            RpcResponse::Record { record, .. } => record.change(|record| self.unify_record(me, record)),
            RpcResponse::Attached { catch_up: CatchUp::Since { records, .. }, .. } => {
                records.iter_mut().for_each(|(_, record)| self.unify_record(me, Arc::make_mut(record)));
            }
            RpcResponse::Attached { catch_up: CatchUp::State(part) | CatchUp::StatePart { part, .. }, .. } => {
                self.unify_checkpoint(me, part);
            }
            RpcResponse::History { .. }
            | RpcResponse::NotOwner { .. }
            | RpcResponse::Unavailable { .. }
            | RpcResponse::Alive
            | RpcResponse::Leaving
            | RpcResponse::Stale(_)
            | RpcResponse::Acted { .. }
            | RpcResponse::ActStale { .. }
            | RpcResponse::Busy { .. }
            | RpcResponse::Looked { .. }
            | RpcResponse::Rooms { .. } => {}
        }
    }

    /// The same in a state.
    pub fn unify_state(&self, me: &ServerId, state: &mut RoomState) {
        self.earlier.iter().for_each(|run| state.rename_run(me, *run, self.present));
    }

    fn unify_checkpoint(&self, me: &ServerId, checkpoint: &mut Checkpoint) {
        checkpoint.runs_mut().filter(|(connector, _)| *connector == me).for_each(|(_, run)| *run = self.unify(*run));
    }

    fn unify_record(&self, me: &ServerId, record: &mut Record) {
        for decided in record.proposals.iter_mut().filter(|decided| decided.connector == *me) {
            decided.incarnation = self.unify(decided.incarnation);
        }
        for session in record.entries.iter_mut().flat_map(sessions_mut).filter(|session| session.connector == *me) {
            session.incarnation = self.unify(session.incarnation);
        }
        // The log keeps the runs that its records name; only this reader's copy changes.
        record.checkpoint.iter_mut().for_each(|checkpoint| self.unify_checkpoint(me, checkpoint));
    }
}

fn sessions_mut(entry: &mut Entry) -> impl Iterator<Item = &mut SessionId> {
    let (one, other) = match entry {
        Entry::Join { session, .. }
        | Entry::Leave { session, .. }
        | Entry::Expel { session, .. }
        | Entry::Rights { session, .. } => (Some(session), None),
        Entry::Move { from, to, .. } => (Some(from), Some(to)),
        Entry::Open
        | Entry::Message { .. }
        | Entry::Whisper { .. }
        | Entry::Rule { .. }
        | Entry::Amend { .. }
        | Entry::Redact { .. }
        | Entry::Clear { .. }
        | Entry::Revoke { .. }
        | Entry::Erase { .. } => (None, None),
    };
    one.into_iter().chain(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Name, RoomId};
    use crate::membership::{Membership, Token};
    use crate::record::{DecidedProposal, Epoch, Position, RecordId, VERSION};
    use crate::rpc::messages::LogPosition;

    const OLD: Incarnation = Incarnation(3);
    const DEAD: Incarnation = Incarnation(7);

    fn connector(number: u64) -> ServerId {
        ServerId::new(&format!("connector-server-{number}")).unwrap()
    }

    fn session(of: u64, incarnation: Incarnation, number: u64) -> SessionId {
        SessionId { connector: connector(of), incarnation, number }
    }

    fn name(number: u64) -> Name {
        Name::new(&format!("user{number}")).unwrap()
    }

    fn stay(number: u64) -> Membership {
        Token::new(number.into()).membership()
    }

    fn join(number: u64, session: SessionId) -> Entry {
        Entry::Join { name: name(number), session, membership: stay(number), profile: None }
    }

    fn record(entries: Vec<Entry>) -> Record {
        let decided =
            |of, incarnation| DecidedProposal { connector: connector(of), incarnation, number: 4, outcomes: vec![] };
        Record {
            v: VERSION,
            prev: Position::NONE,
            prev_id: RecordId::NONE,
            id: RecordId(1),
            links: Vec::new(),
            time: 5,
            owner: ServerId::new("chat-server-1").unwrap(),
            proposals: vec![decided(1, OLD), decided(2, OLD)],
            entries,
            acts: Vec::new(),
            lasting: None,
            notify_connectors: Vec::new(),
            checkpoint: None,
            part: None,
        }
    }

    fn entries() -> Vec<Entry> {
        let moved =
            Entry::Move { name: name(1), from: session(1, OLD, 1), to: session(1, OLD, 9), membership: stay(1) };
        let left = Entry::Leave { name: name(2), session: session(1, OLD, 2) };
        vec![
            join(1, session(1, OLD, 1)),
            join(2, session(1, OLD, 2)),
            join(3, session(2, OLD, 1)),
            join(4, session(1, DEAD, 1)),
            join(5, session(1, OLD, 3)),
            moved,
            left,
        ]
    }

    fn lineage() -> Lineage {
        let mut lineage = Lineage::new(OLD);
        lineage.continue_above(DEAD);
        lineage
    }

    /// The sessions of a state, as texts.
    fn here(state: &RoomState) -> Vec<String> {
        let text = |session: &SessionId| format!("{}:{}:{}", session.connector, session.incarnation.0, session.number);
        let here: Vec<SessionId> = state.members().values().map(|member| member.session.clone()).collect();
        for session in &here {
            let name = state.name_of(session).unwrap();
            assert_eq!(state.session_of(name), Some(session), "both maps say the same");
        }
        here.iter().map(text).collect()
    }

    #[test]
    fn a_process_goes_on_above_and_forgets_the_oldest() {
        let mut lineage = lineage();
        assert_eq!((lineage.present(), lineage.earlier()), (Incarnation(11), &[OLD][..]));
        assert_eq!([OLD, DEAD, Incarnation(8)].map(|run| lineage.unify(run).0), [11, 7, 8]);
        (0..MAX_EARLIER).for_each(|_| lineage.continue_above(lineage.present()));
        assert_eq!((lineage.earlier().len(), lineage.earlier()[0]), (MAX_EARLIER, Incarnation(11)));
        let claimed = Lineage::claimed(Incarnation(5), vec![Incarnation(4), Incarnation(6), Incarnation(5)]);
        assert_eq!(claimed.earlier(), [Incarnation(4)]);
    }

    #[test]
    fn records_and_states_name_the_present_run() {
        let (lineage, me) = (lineage(), connector(1));
        let expected =
            ["connector-server-1:11:9", "connector-server-2:3:1", "connector-server-1:7:1", "connector-server-1:11:3"];
        let mut state = RoomState::default();
        state.fold(Position(1), &record(entries()));
        let part = Box::new(Checkpoint::from(&state));
        lineage.unify_state(&me, &mut state);
        assert_eq!(here(&state), expected);
        let last = |state: &RoomState, of| state.last_proposal(&connector(of)).map(|last| last.incarnation.0);
        assert_eq!((last(&state, 1), last(&state, 2)), (Some(11), Some(3)));

        let (room, place) = (RoomId::new("lobby").unwrap(), LogPosition::default());
        let record = Arc::new(record(entries())).into();
        let mut response = RpcResponse::Record { room: room.clone(), epoch: Epoch(1), position: Position(1), record };
        lineage.unify_response(&me, &mut response);
        let RpcResponse::Record { record, .. } = &response else { unreachable!() };
        let mut folded = RoomState::default();
        folded.fold(Position(1), record);
        assert_eq!(folded, state);

        let mut response = RpcResponse::Attached { room, requested: place, now: place, catch_up: CatchUp::State(part) };
        lineage.unify_response(&me, &mut response);
        let RpcResponse::Attached { catch_up: CatchUp::State(part), .. } = &response else { unreachable!() };
        assert_eq!(here(&RoomState::from(&**part)), expected);
    }
}
