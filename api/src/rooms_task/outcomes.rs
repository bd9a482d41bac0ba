//! The outcomes of the proposer as commands take them.

use model::failure_detector::PeerState;
use model::ids::RoomId;
use model::rpc::messages::{LogPosition, LookResult, RoomPage};
use proposer::effects;

use crate::rooms::{
    Committed, Member, MembersPage, MessagesPage, Outcome, Reply, RoomInfo, RoomRule, RoomsPage, RulesPage,
};

/// The place for an outcome.
#[derive(Debug)]
pub(super) enum Pending {
    Act(Reply<Committed>),
    Info(Reply<RoomInfo>),
    Members(Reply<MembersPage>),
    Messages(Reply<MessagesPage>),
    Rules(Reply<RulesPage>),
    Rooms(Reply<RoomsPage>),
}

/// Returns true for a server that answers.
pub(super) fn is_up(state: PeerState) -> bool {
    state == PeerState::Up
}

/// The word for the state of a chat server.
pub(super) fn state_word(state: PeerState) -> &'static str {
    match state {
        // A suspected one missed a probe, and still owns its rooms.
        PeerState::Up | PeerState::Suspected => "up",
        PeerState::Down => "away",
    }
}

impl Pending {
    /// Passes the outcome on. Its receiver may be gone.
    pub(super) fn resolve(self, outcome: effects::Outcome) {
        match self {
            Self::Act(reply) => drop(reply.send(of(outcome, |done| match done {
                effects::Outcome::Done { seq, time, epoch } => Some(Committed { seq, time, epoch }),
                _ => None,
            }))),
            Self::Info(reply) => drop(reply.send(of(outcome, info))),
            Self::Members(reply) => drop(reply.send(of(outcome, members))),
            Self::Messages(reply) => drop(reply.send(of(outcome, messages))),
            Self::Rules(reply) => drop(reply.send(of(outcome, rules))),
            Self::Rooms(reply) => drop(reply.send(of(outcome, rooms))),
        }
    }
}

/// Takes what was done; an outcome of another kind is none.
fn of<T>(outcome: effects::Outcome, done: impl FnOnce(effects::Outcome) -> Option<T>) -> Outcome<T> {
    match outcome {
        effects::Outcome::Refused(refusal) => Outcome::Refused(refusal),
        effects::Outcome::Busy => Outcome::Busy,
        effects::Outcome::Unknown => Outcome::Unknown,
        // A kind of outcome that was not asked for: only a chat server of another version
        // gives one.
        other => done(other).map_or(Outcome::Unknown, Outcome::Done),
    }
}

fn last(LogPosition { epoch, position, .. }: LogPosition, time: u64) -> Committed {
    Committed { seq: position.last_seq(), time, epoch }
}

fn info(outcome: effects::Outcome) -> Option<RoomInfo> {
    let effects::Outcome::Looked { owner, upto, found: LookResult::Info(info) } = outcome else { return None };
    Some(RoomInfo { owner, members: usize::try_from(info.members).ok()?, last: last(upto, info.time) })
}

fn members(outcome: effects::Outcome) -> Option<MembersPage> {
    let effects::Outcome::Looked { upto, found: LookResult::Members { members, total, more }, .. } = outcome else {
        return None;
    };
    let cursor = members.last().filter(|_| more).map(|row| row.name.clone());
    let members = members.into_iter().map(|row| {
        let profile = row.profile.map(|profile| *profile).unwrap_or_default();
        Member { name: row.name, uid: profile.uid, info: profile.info }
    });
    Some(MembersPage { members: members.collect(), total: usize::try_from(total).ok()?, last: last(upto, 0), cursor })
}

fn messages(outcome: effects::Outcome) -> Option<MessagesPage> {
    let effects::Outcome::Looked { upto, found: LookResult::Messages(page), .. } = outcome else { return None };
    Some(MessagesPage { epoch: upto.epoch, page })
}

fn rules(outcome: effects::Outcome) -> Option<RulesPage> {
    let effects::Outcome::Looked { found: LookResult::Rules { rules, more }, .. } = outcome else { return None };
    let cursor = rules.last().filter(|_| more).map(|row| (row.target.clone(), row.kind));
    let rules =
        rules.into_iter().map(|row| RoomRule { target: row.target, kind: row.kind, until: row.until, by: row.by });
    Some(RulesPage { rules: rules.collect(), cursor })
}

fn rooms(outcome: effects::Outcome) -> Option<RoomsPage> {
    let effects::Outcome::Rooms(RoomPage { rooms, more }) = outcome else { return None };
    // Rooms of the system are none of the application's.
    let cursor = rooms.last().filter(|_| more).cloned();
    Some(RoomsPage { rooms: rooms.into_iter().filter(|room| !RoomId::is_reserved(room)).collect(), cursor })
}
