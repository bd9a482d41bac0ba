//! Decides acts: each once, and none for which the room's tables have no place.

use model::act::{Act, IdentifiedAct};
use model::ids::SessionId;
use model::membership::MessageId;
use model::record::{DecidedAct, DecidedActs, Entry, Outcome, Position, Refusal};
use model::room::{DoneAct, Moderation};

use super::Draft;
use crate::room::ActMessage;

impl Draft<'_> {
    /// Decides every act of a message.
    pub fn decide_acts(&mut self, message: &ActMessage) {
        let ActMessage { server, incarnation, number, acts } = message;
        let decided = acts.iter().map(|act| {
            let outcome = self.decide_act(act).unwrap_or_else(Outcome::Refused);
            DecidedAct { id: act.id, digest: act.digest, outcome }
        });
        let acts: Vec<DecidedAct> = decided.collect();
        self.bytes += acts.len() * DecidedActs::ACT;
        self.acts.push(DecidedActs { server: server.clone(), incarnation: *incarnation, number: *number, acts });
    }

    fn decide_act(&mut self, IdentifiedAct { id, digest, act }: &IdentifiedAct) -> Result<Outcome, Refusal> {
        // A repeat gets the first outcome, whatever came between.
        if let Some(outcome) = self.earlier_act(*id, *digest)? {
            return Ok(outcome);
        }
        if !act.is_within_limits() {
            return Err(Refusal::TooLong);
        }
        if let Act::Rule { target, kind, until, by } = act {
            let target = self.user_of(target);
            let outcome = self.set_rule((target, *kind), *until, (by.clone(), ""))?;
            self.note_done(*id, *digest, outcome);
            return Ok(outcome);
        }
        let session = self.session_of_act(act)?;
        let Some(entry) = act.entry(session) else { return Err(Refusal::NoSuchMember) };
        if Moderation::is_changed_by(&entry) && !self.has_place_for(&entry) {
            return Err(Refusal::TooMany);
        }
        if let Act::Say { .. } = act {
            self.take_space(entry.size() as u64)?;
        }
        let outcome = self.push(entry);
        self.note_done(*id, *digest, outcome);
        Ok(outcome)
    }

    fn note_done(&mut self, id: MessageId, digest: u64, outcome: Outcome) {
        if let Outcome::Done(index) = outcome {
            self.done.insert(id, (digest, index));
        }
    }

    /// Returns true if the room's tables have a place for an entry, and takes it.
    pub(super) fn has_place_for(&mut self, entry: &Entry) -> bool {
        let moderation = self.moderation.get_or_insert_with(|| {
            let mut moderation = self.state.moderation().clone();
            // As all readers of the record will: what ended by then has no place any more.
            moderation.expire(self.time);
            moderation
        });
        let has_place = !moderation.is_full_for(self.room, entry);
        if has_place {
            moderation.apply(Position::NONE, entry);
        }
        has_place
    }

    /// Returns the outcome of an act that was done with this id.
    fn earlier_act(&self, id: MessageId, digest: u64) -> Result<Option<Outcome>, Refusal> {
        let (known, outcome) = match (self.done.get(&id), self.state.find_act(id)) {
            (Some((known, index)), _) => (*known, Outcome::Done(*index)),
            (None, Some(DoneAct { digest, seq, time })) => (digest, Outcome::Duplicate { seq, time }),
            (None, None) => return Ok(None),
        };
        if known == digest { Ok(Some(outcome)) } else { Err(Refusal::KeyReused) }
    }

    /// Returns the session that an act is about.
    fn session_of_act(&self, act: &Act) -> Result<Option<SessionId>, Refusal> {
        match act {
            Act::Expel { name, .. } => self.state.session_of(name).cloned().map(Some).ok_or(Refusal::NoSuchMember),
            Act::Rights { session, .. } => {
                let session = self.member_session(session.clone());
                self.state.name_of(&session).is_some().then_some(Some(session)).ok_or(Refusal::NotMember)
            }
            Act::Revoke { .. } | Act::Erase { .. } if !self.room.is_of_all_rooms() => Err(Refusal::WrongRoom),
            Act::Say { .. }
            | Act::Rule { .. }
            | Act::Amend { .. }
            | Act::Redact { .. }
            | Act::Clear { .. }
            | Act::Revoke { .. }
            | Act::Erase { .. } => Ok(None),
        }
    }
}
