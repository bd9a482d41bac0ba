//! Catch-up: the owner's answer to an attach, with the missing records, or with the state instead
//! of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::ids::{Name, ServerId};
use model::lineage::Lineage;
use model::record::{Epoch, Position, Record};
use model::room::{Checkpoint, Member, RoomState};
use model::rpc::messages::{CatchUp, Item, LogPosition};

use super::local_sessions::LocalSession;
use super::proposer::{PendingRequest, QueuedItem};
use super::{AttachState, Context, Push, Room, RoomResponse, Stamp, session_id};
use crate::connector_state::Effect;
use crate::event::Event;

/// A state that arrives in parts.
#[derive(Debug)]
pub(super) struct PartialState {
    /// The position that was asked for, and the position of the state.
    response: (LogPosition, LogPosition),
    /// Parts that have arrived.
    parts: u16,
    state: RoomState,
}

impl PartialState {
    /// Replaces earlier incarnations of this connector by the present one.
    pub(super) fn unify(&mut self, lineage: &Lineage, me: &ServerId) {
        lineage.unify_state(me, &mut self.state);
    }
}

impl Room {
    /// Handles the answer to an attach, or to a proposal that the owner had committed before. The
    /// caller passes only answers that are newer than all messages received from that owner.
    pub fn on_attached(&mut self, requested: LogPosition, now: LogPosition, update: CatchUp, cx: &mut Context<'_>) {
        self.last_unavailable = None;
        self.reset_retries();
        let complete = match update {
            CatchUp::Since { records, more } => self.apply_records(now, &records, cx) && !more,
            CatchUp::State(whole) => self.take_state(requested, now, RoomState::from(&*whole), cx),
            CatchUp::StatePart { index, of, part } => match self.add_part((requested, now), index, of, &part) {
                Some(state) => self.take_state(requested, now, state, cx),
                None => return,
            },
        };
        self.attach = match self.attach {
            AttachState::Requested(place, _) if place == requested && complete => AttachState::Done,
            AttachState::Requested(place, _) | AttachState::RequestedStale(place, _) if place == requested => {
                AttachState::Due(cx.now)
            }
            // Unasked: the answer to a proposal that was committed before. The gap that it shows is
            // closed like any other.
            AttachState::Done if !complete => AttachState::Due(cx.now),
            other => other,
        };
        // The answer to the proposal in flight may have been lost together with the missing
        // records.
        self.proposer.set_repeat_at(cx.now);
        self.advance(cx);
    }

    /// Pushes the joins and leaves between the known members and the state.
    fn push_presence_difference(&mut self, cx: &mut Context<'_>) {
        let here: BTreeSet<Name> = self.state.members().keys().cloned().collect();
        let changes = self.presence.replace(here, cx.now);
        self.push_presence(changes, cx);
    }

    /// Applies the records of an answer. Returns false if they do not lead to the owner's position.
    fn apply_records(&mut self, now: LogPosition, records: &[(Position, Arc<Record>)], cx: &mut Context<'_>) -> bool {
        if now.epoch != self.applied.epoch {
            return false;
        }
        for (position, record) in records {
            if *position > self.applied.position && record.follows(self.applied.position, self.applied.id) {
                self.apply(*position, record, cx);
            }
        }
        self.applied.position >= now.position
    }

    /// Adds a part of a state, and returns the whole with the last one. A part whose predecessors
    /// are missing is dropped: the loss of those makes the room attach again.
    fn add_part(
        &mut self,
        response: (LogPosition, LogPosition),
        index: u16,
        of: u16,
        part: &Checkpoint,
    ) -> Option<RoomState> {
        if index == 0 {
            self.partial_state = Some(PartialState { response, parts: 0, state: RoomState::default() });
        }
        let partial = self.partial_state.as_mut().filter(|g| g.response == response && g.parts == index)?;
        partial.state.add(part);
        partial.parts += 1;
        if partial.parts < of {
            return None;
        }
        self.partial_state.take().map(|partial| partial.state)
    }

    /// Takes the state instead of the records between, unless other records were applied meanwhile.
    /// Returns true if it took it.
    fn take_state(&mut self, requested: LogPosition, now: LogPosition, state: RoomState, cx: &mut Context<'_>) -> bool {
        // Records were applied since the attach was sent, so the room is ahead of this state.
        if requested != self.applied {
            return false;
        }
        cx.report(Event::StateTaken);
        self.restart_from_state(now, state, cx);
        true
    }

    /// Continues from a state. Sessions whose stays it does not have end.
    // None is brought back behind a state: the connector cannot tell a session that the log lost
    // from one that resumed elsewhere and left.
    fn restart_from_state(&mut self, now: LogPosition, state: RoomState, cx: &mut Context<'_>) {
        if self.applied.epoch != Epoch::default() {
            self.push_gap(now, cx);
            self.sessions.mark_behind_state();
        }
        self.applied = now;
        self.state = state;
        let entered = self.settle_in_flight(cx);
        self.end_absent(cx);
        let ours = |member: &&Member| member.session.connector == cx.common.me;
        let of_log = self.state.members().values().filter(ours).map(|member| member.session.clone());
        for session in of_log.collect::<Vec<_>>() {
            self.reconcile_run(session.number, session.incarnation, cx.common);
        }
        for number in self.sessions.keys().copied().collect::<Vec<_>>() {
            if self.state.name_of(&session_id(cx.common, number)).is_none() {
                self.sessions.apply_leave(number);
            }
            self.reconcile(number, cx.common);
        }
        self.push_presence_difference(cx);
        let when = Stamp { seq: self.applied.position.last_seq(), time: self.state.time() };
        for pending in entered {
            self.on_entered(pending, when, cx);
        }
    }

    /// Ends the sessions that were in the room and whose stays the state does not have: the log
    /// lost the stay, or another session resumed it.
    fn end_absent(&mut self, cx: &mut Context<'_>) {
        let mut ends = Vec::new();
        for (number, local) in
            self.sessions.iter().filter(|(number, local)| local.state().is_wanted() && self.was_in(**number, local))
        {
            let stay = local.token.membership();
            let session = session_id(cx.common, *number);
            if self.state.membership_of_session(&session) != Some(stay) {
                let is_elsewhere = self.state.membership_of(local.name()) == Some(stay);
                ends.push(match (is_elsewhere, self.is_replaced(*number, local, cx.common)) {
                    (true, _) => (*number, Effect::MovedAway(*number)),
                    // Its client must not come back: it would replace the newer session.
                    (false, true) => (*number, Effect::Replaced(*number)),
                    (false, false) => (*number, Effect::Lost(*number)),
                });
            }
        }
        ends.into_iter().for_each(|(number, end)| self.end_session(number, end, cx));
    }

    /// Returns true if the session's client believes that it is in the room. With a pending join it
    /// may be entering a second time; without one it was in.
    pub(super) fn was_in(&self, number: u64, local: &LocalSession) -> bool {
        local.state().receives_pushes() || local.state().is_held() || !self.proposer.has_join(number)
    }

    /// Withdraws a session and sends its client away, unless its connection broke before.
    pub(super) fn end_session(&mut self, number: u64, end: Effect, cx: &mut Context<'_>) {
        if !self.withdraw_session(number, cx) {
            cx.effects.push(end);
        }
        self.reconcile(number, cx.common);
    }

    /// Pushes the gap between the applied position and `now`.
    pub(super) fn push_gap(&mut self, now: LogPosition, cx: &mut Context<'_>) {
        cx.report(Event::GapPushed);
        let to = if now.position == Position::NONE { 0 } else { now.position.last_seq() };
        let gap = Push::Gap { from: self.applied.position.last_seq(), to, epoch: now.epoch };
        cx.push(self.sessions.receivers(), gap);
    }

    /// Settles the proposal in flight by the state. Returns the requests of sessions that joined by
    /// it; they are answered once the members are known.
    fn settle_in_flight(&mut self, cx: &mut Context<'_>) -> Vec<PendingRequest> {
        let last = self.state.last_proposal(&cx.common.me).filter(|last| last.incarnation == cx.common.incarnation());
        let done = last.and_then(|last| self.proposer.on_committed(last.number)).unwrap_or_default();
        done.into_iter().filter_map(|queued| self.respond_unseen(queued, cx)).collect()
    }

    /// Responds to an item that was decided in a record that was not seen. Returns the request of a
    /// join that succeeded.
    fn respond_unseen(
        &mut self,
        QueuedItem { item, pending }: QueuedItem,
        cx: &mut Context<'_>,
    ) -> Option<PendingRequest> {
        let pending = pending?;
        let session = session_id(cx.common, pending.session);
        match item {
            Item::Join { membership, .. } if self.state.membership_of_session(&session) == Some(membership) => {
                self.sessions.confirm_stay(pending.session, membership);
                return Some(pending);
            }
            Item::Join { .. } => {
                let number = pending.session;
                cx.respond(pending, RoomResponse::Unknown { enter: true, because: None });
                self.cancel_enter(number, cx);
            }
            Item::Leave { .. } if self.state.name_of(&session).is_none() => cx.respond(pending, RoomResponse::Left),
            Item::Rights { .. } => {
                let exp = cx.sessions.token_expires_at(pending.session);
                cx.respond(pending, RoomResponse::Refreshed { exp });
            }
            Item::Leave { .. } | Item::Send { .. } | Item::Moderate { .. } => {
                cx.respond(pending, RoomResponse::Unknown { enter: false, because: None });
            }
        }
        None
    }
}
