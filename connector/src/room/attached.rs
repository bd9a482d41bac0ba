//! What attaching brings: the records that were missing, or the state instead of them, and what follows from that.

use std::collections::BTreeSet;
use std::sync::Arc;

use shared::ids::{Name, ServerId};
use shared::lineage::Lineage;
use shared::record::{Epoch, Position, Record};
use shared::room::{Checkpoint, Member, RoomState};
use shared::rpc::messages::{CatchUp, Item, LogPosition};

use super::apply::push_to;
use super::locals::Local;
use super::proposer::{Ask, Wanted};
use super::{Act, Attach, Context, Push, Reply, Room, When, session_id};

/// A state that comes in parts.
#[derive(Debug)]
pub(super) struct Gathering {
    /// What was asked, and where the state is.
    answer: (LogPosition, LogPosition),
    /// How many came.
    parts: u16,
    state: RoomState,
}

impl Gathering {
    /// Names the connector's present run where it names one that this continues.
    pub(super) fn unify(&mut self, lineage: &Lineage, me: &ServerId) {
        lineage.unify_state(me, &mut self.state);
    }
}

impl Room {
    /// The owner answered an attach, or a proposal that it had committed before. The answer must be newer than all that
    /// the owner was heard to say.
    pub fn attached(&mut self, asked: LogPosition, now: LogPosition, news: CatchUp, cx: &mut Context<'_>) {
        self.trouble = None;
        self.has_answered();
        let complete = match news {
            CatchUp::Since { records, more } => self.catch_up(now, &records, cx) && !more,
            CatchUp::State(whole) => self.take_state(asked, now, RoomState::from(&*whole), cx),
            CatchUp::StatePart { index, of, part } => match self.gather((asked, now), index, of, &part) {
                Some(state) => self.take_state(asked, now, state, cx),
                None => return,
            },
        };
        self.attach = match self.attach {
            Attach::Asked(place, _) if place == asked && complete => Attach::Done,
            Attach::Asked(place, _) | Attach::AskedAndAgain(place, _) if place == asked => Attach::Wanted(cx.now),
            // Nobody asked: the owner says so to a proposal that it committed before. It is followed all the same.
            Attach::Done if !complete => Attach::Wanted(cx.now),
            other => other,
        };
        // What was in flight may have been lost with what was missing.
        self.proposer.repeat_at(cx.now);
        self.go_on(cx);
    }

    /// Tells the sessions who came and went while the records were not seen.
    fn tell_difference(&mut self, cx: &mut Context<'_>) {
        let here: BTreeSet<Name> = self.state.members().keys().cloned().collect();
        let news = self.crowd.replace(here, cx.now);
        self.tell_crowd(news, cx);
    }

    /// Applies the records of an answer; false if they did not lead to where the owner is.
    fn catch_up(&mut self, now: LogPosition, records: &[(Position, Arc<Record>)], cx: &mut Context<'_>) -> bool {
        if now.epoch != self.at.epoch {
            return false;
        }
        for (position, record) in records {
            if *position > self.at.position && record.follows(self.at.position, self.at.id) {
                self.apply(*position, record, cx);
            }
        }
        self.at.position >= now.position
    }

    /// Adds a part of a state; the whole with the last one. One without those before it is of no use: what was lost of them
    /// makes the room attach again.
    fn gather(
        &mut self,
        answer: (LogPosition, LogPosition),
        index: u16,
        of: u16,
        part: &Checkpoint,
    ) -> Option<RoomState> {
        if index == 0 {
            self.gathering = Some(Gathering { answer, parts: 0, state: RoomState::default() });
        }
        let gathering = self.gathering.as_mut().filter(|g| g.answer == answer && g.parts == index)?;
        gathering.state.add(part);
        gathering.parts += 1;
        if gathering.parts < of {
            return None;
        }
        self.gathering.take().map(|gathering| gathering.state)
    }

    /// Takes the state instead of the records between, unless records went on meanwhile.
    fn take_state(&mut self, asked: LogPosition, now: LogPosition, state: RoomState, cx: &mut Context<'_>) -> bool {
        if asked != self.at {
            return false;
        }
        cx.common.metrics.states_taken.add();
        self.start_over(now, state, cx);
        true
    }

    /// Goes on from a state: sessions that it does not have by their stays end, and none is brought back.
    fn start_over(&mut self, now: LogPosition, state: RoomState, cx: &mut Context<'_>) {
        if self.at.epoch != Epoch::default() {
            self.tell_gap(now, cx);
            self.locals.all_behind_state();
        }
        self.at = now;
        self.state = state;
        let arrived = self.head_after_state(cx);
        self.end_absent(cx);
        let ours = |member: &&Member| member.session.connector == cx.common.me;
        let of_log = self.state.members().values().filter(ours).map(|member| member.session.clone());
        for session in of_log.collect::<Vec<_>>() {
            self.reconcile_run(session.number, session.incarnation, cx.common);
        }
        for number in self.locals.keys().copied().collect::<Vec<_>>() {
            self.reconcile(number, cx.common);
        }
        self.tell_difference(cx);
        let when = When { seq: self.at.position.last_seq(), time: self.state.time() };
        for ask in arrived {
            self.entered(ask, when, cx);
        }
    }

    /// Ends the sessions that were in and that the state does not have by their stays: the log lost the stay, or it went on
    /// through another session.
    fn end_absent(&mut self, cx: &mut Context<'_>) {
        let mut ends = Vec::new();
        for (number, local) in self.locals.iter().filter(|(number, local)| local.wanted && self.was_in(**number, local))
        {
            let stay = local.token.membership();
            let session = session_id(cx.common, *number);
            if self.state.membership_of_session(&session) != Some(stay) {
                let is_elsewhere = self.state.membership_of(local.name()) == Some(stay);
                ends.push((*number, if is_elsewhere { Act::MovedAway(*number) } else { Act::Lost(*number) }));
            }
        }
        ends.into_iter().for_each(|(number, end)| self.end_session(number, end, cx));
    }

    /// Returns true if a session was in for all that its client knows. One with a join pending may enter a second time; one
    /// without was in.
    pub(super) fn was_in(&self, number: u64, local: &Local) -> bool {
        local.hears || self.held.contains_key(&number) || !self.proposer.has_join(number)
    }

    /// A session is its client's no more: it is sent away, unless its connection broke before.
    pub(super) fn end_session(&mut self, number: u64, end: Act, cx: &mut Context<'_>) {
        if !self.unwant(number, cx) {
            cx.acts.push(end);
        }
        self.reconcile(number, cx.common);
    }

    /// Tells the sessions that messages between what they were told and `now` will not be told.
    pub(super) fn tell_gap(&mut self, now: LogPosition, cx: &mut Context<'_>) {
        cx.common.metrics.gaps_told.add();
        let to = if now.position == Position::NONE { 0 } else { now.position.last_seq() };
        let gap = Push::Gap { from: self.at.position.last_seq(), to, epoch: now.epoch };
        push_to(self.locals.audience(), gap, cx);
    }

    /// What the state says of the proposal in flight. Returns who is in by it, and is to be told so when it is known with whom.
    fn head_after_state(&mut self, cx: &mut Context<'_>) -> Vec<Ask> {
        let last = self.state.last_proposal(&cx.common.me).filter(|last| last.incarnation == cx.common.incarnation);
        let done = last.and_then(|last| self.proposer.committed(last.number)).unwrap_or_default();
        done.into_iter().filter_map(|wanted| self.answer_unseen(wanted, cx)).collect()
    }

    /// Answers an item that was decided in a record that cannot be seen any more, unless it entered.
    fn answer_unseen(&mut self, Wanted { item, ask }: Wanted, cx: &mut Context<'_>) -> Option<Ask> {
        let ask = ask?;
        let session = session_id(cx.common, ask.session);
        match item {
            Item::Join { membership, .. } if self.state.membership_of_session(&session) == Some(membership) => {
                if let Some(local) = self.locals.get_mut(&ask.session) {
                    local.entered(membership);
                }
                return Some(ask);
            }
            Item::Join { .. } => {
                let number = ask.session;
                cx.acts.push(Act::Answer(ask, Reply::Unknown { enter: true, because: None }));
                self.give_up_entering(number, cx);
            }
            Item::Leave { .. } if self.state.name_of(&session).is_none() => cx.acts.push(Act::Answer(ask, Reply::Left)),
            Item::Leave { .. } | Item::Send { .. } => {
                cx.acts.push(Act::Answer(ask, Reply::Unknown { enter: false, because: None }));
            }
        }
        None
    }
}
