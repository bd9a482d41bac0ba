//! Applies records: the only way in which clients learn about events in a room.

use std::sync::Arc;

use model::act::Target;
use model::ids::{Incarnation, Name, SessionId};
use model::membership::Membership;
use model::record::{DecidedProposal, Entry, Outcome, Position, Record, RecordId, Refusal};
use model::room::Member;
use model::rpc::messages::{Item, LogPosition};

use super::local_sessions::LocalSession;
use super::proposer::{PendingRequest, QueuedItem};
use super::session_state::SessionState;
use super::{Common, Context, Push, Room, RoomResponse, Stamp, session_id};
use crate::connector_state::Effect;

impl Room {
    /// Applies the record that follows the last applied one.
    ///
    /// Requests are answered in their order, each response behind the entry that it is about.
    pub(super) fn apply(&mut self, position: Position, record: &Record, cx: &mut Context<'_>) {
        // The chain continues behind an erasure. Erased records cannot be pushed any more, so
        // clients get a gap.
        if record.is_behind_erasure() {
            let before = LogPosition { position: Position(position.0.saturating_sub(1)), ..self.applied };
            self.push_gap(before, cx);
        }
        let mut entries = record.entries.iter().enumerate().peekable();
        // Everything up to here has been pushed: earlier records, then entry by entry.
        let mut when = Stamp { seq: self.applied.position.last_seq(), time: record.time };
        let mut moved = self.own_sessions_in(record, cx);
        for (outcome, queued) in self.take_outcomes(record, cx) {
            if let Outcome::Done(index) = outcome {
                while let Some((at, entry)) = entries.next_if(|(at, _)| *at <= usize::from(index)) {
                    when.seq = position.seq(at);
                    self.apply_entry(when, entry, cx);
                }
            }
            if matches!(queued.item, Item::Join { .. } | Item::Leave { .. }) {
                moved.push((queued.session(), cx.common.incarnation()));
                if is_move(outcome, record) {
                    cx.give_advance_back(queued.session());
                }
            }
            self.conclude(outcome, queued, (position, record.id, when), cx);
        }
        for (at, entry) in entries {
            self.apply_entry(Stamp { seq: position.seq(at), time: record.time }, entry, cx);
        }
        if self.is_for_rules {
            self.state.apply_committed(position, record);
        } else {
            self.state.apply_metadata(position, record);
        }
        self.applied.position = position;
        self.applied.id = record.id;
        // Not before the whole record is in the state: within it a session may leave and join
        // again.
        for (session, run) in moved {
            self.reconcile_run(session, run, cx.common);
        }
    }

    /// Takes the outcomes of this connector's proposal, if the record decided it.
    fn take_outcomes(&mut self, record: &Record, cx: &Context<'_>) -> Vec<(Outcome, QueuedItem)> {
        let ours = |d: &&DecidedProposal| d.connector == cx.common.me && d.incarnation == cx.common.incarnation();
        let mut outcomes = Vec::new();
        for decided in record.proposals.iter().filter(ours) {
            if self.proposer.requeue_if_usurped(decided.number, decided.outcomes.len()) {
                continue;
            }
            let queued = self.proposer.on_decided(decided.number).unwrap_or_default();
            debug_assert!(
                queued.is_empty() || queued.len() == decided.outcomes.len(),
                "{} outcomes of {} items",
                decided.outcomes.len(),
                queued.len()
            );
            outcomes.extend(decided.outcomes.iter().copied().zip(queued));
        }
        outcomes
    }

    /// Returns the sessions of this connector, of any incarnation, that come or go in the record.
    fn own_sessions_in<'a>(&self, record: &'a Record, cx: &Context<'_>) -> Vec<(u64, Incarnation)> {
        let sessions = |entry: &'a Entry| match entry {
            Entry::Join { session, .. } | Entry::Leave { session, .. } | Entry::Expel { session, .. } => {
                [Some(session), None]
            }
            Entry::Move { from, to, .. } => [Some(from), Some(to)],
            Entry::Open
            | Entry::Message { .. }
            | Entry::Whisper { .. }
            | Entry::Rule { .. }
            | Entry::Amend { .. }
            | Entry::Redact { .. }
            | Entry::Clear { .. }
            | Entry::Rights { .. }
            | Entry::Revoke { .. }
            | Entry::Erase { .. } => [None, None],
        };
        let named = record.entries.iter().flat_map(sessions).flatten();
        named.filter(|s| s.connector == cx.common.me).map(|s| (s.number, s.incarnation)).collect()
    }

    fn apply_entry(&mut self, Stamp { seq, time }: Stamp, entry: &Entry, cx: &mut Context<'_>) {
        self.state.apply(entry);
        match entry {
            Entry::Open => {}
            Entry::Join { name, session, membership, .. } => self.apply_join(name, session, *membership, cx),
            // The same session under another incarnation: nothing changes for any client.
            Entry::Move { from, to, .. } if from == to => {}
            // Only the session that is left behind gets a notice: for all others the member is
            // still there.
            Entry::Move { name, to, membership, .. } => self.apply_enter(name, to, *membership, cx),
            Entry::Leave { name, session } => self.apply_leave(name, session, cx),
            Entry::Expel { name, session, reason, .. } => self.apply_expulsion((name, session), reason, cx),
            Entry::Rule { target, kind, until, .. } => {
                cx.push(self.receivers_of(target), Push::Rule { kind: *kind, until: *until, time });
            }
            Entry::Rights { session, rights } => {
                if let Some(number) = local_number(session, cx) {
                    self.sessions.set_rights(number, *rights);
                    let is_told = self.sessions.state(number).receives_pushes();
                    cx.push(is_told.then_some(number).into_iter().collect(), Push::Rights(*rights));
                }
            }
            // Clients are not told so far.
            Entry::Amend { .. }
            | Entry::Redact { .. }
            | Entry::Clear { .. }
            | Entry::Revoke { .. }
            | Entry::Erase { .. } => {}
            Entry::Message { from, content, meta, .. } => {
                let (from, content, meta) = (from.clone(), content.clone(), meta.clone());
                let push = Push::Chat { from, content, target: None, seq, time, meta };
                cx.push(self.sessions.receivers(), push);
            }
            Entry::Whisper { from, to, content, meta, .. } => {
                let session = self.state.session_of(to).and_then(|session| local_number(session, cx));
                let receiver = session.filter(|number| self.sessions.state(*number).receives_pushes());
                let (from, content, target, meta) = (from.clone(), content.clone(), Some(to.clone()), meta.clone());
                cx.push(receiver.into_iter().collect(), Push::Chat { from, content, target, seq, time, meta });
            }
        }
    }

    fn apply_join(&mut self, name: &Name, session: &SessionId, stay: Membership, cx: &mut Context<'_>) {
        self.apply_enter(name, session, stay, cx);
        self.end_replaced(name, cx);
        let changes = self.presence.insert(name, cx.now);
        self.push_presence(changes, cx);
    }

    /// Moves a stay to a session. Local sessions that had the stay are ended, and pending joins for
    /// it are overtaken: their clients asked before this one was in, and can enter again.
    fn apply_enter(&mut self, name: &Name, session: &SessionId, stay: Membership, cx: &mut Context<'_>) {
        let number = local_number(session, cx);
        if let Some(number) = number {
            self.sessions.rename(number, name);
            self.sessions.confirm_stay(number, stay);
        }
        let is_other = |(other, local): &(u64, &LocalSession)| Some(*other) != number && local.state().is_wanted();
        let others = self.sessions.with_name(name).filter(is_other);
        let ends = others.filter_map(|(other, local)| {
            let had_it = local.token.membership() == stay && self.was_in(other, local);
            let asked = local.stay() == stay;
            if had_it { Some((other, Effect::MovedAway(other))) } else { asked.then_some((other, Effect::Lost(other))) }
        });
        for (other, end) in ends.collect::<Vec<_>>() {
            self.end_session(other, end, cx);
        }
    }

    /// Ends the older sessions of the user who joined under a name.
    fn end_replaced(&mut self, name: &Name, cx: &mut Context<'_>) {
        if self.state.members().get(name).and_then(Member::uid).is_none() {
            return;
        }
        let is_replaced = |(number, local): &(u64, &LocalSession)| {
            local.state().is_wanted() && self.is_replaced(*number, local, cx.common)
        };
        // One that asked to enter meanwhile is newer still: the owner decides that behind this join.
        let others = self.sessions.with_name(name).filter(is_replaced);
        let ends = others.map(|(number, _)| number).filter(|number| !self.proposer.has_join(*number));
        for number in ends.collect::<Vec<_>>() {
            self.end_session(number, Effect::Replaced(number), cx);
        }
    }

    /// Returns true if a session's user has the session's name in the room by another session.
    pub(super) fn is_replaced(&self, number: u64, local: &LocalSession, common: &Common) -> bool {
        let is_it = |there: &&Member| there.uid().is_some() && there.uid() == local.uid();
        let there = self.state.members().get(local.name()).filter(is_it);
        there.is_some_and(|there| there.session != session_id(common, number))
    }

    fn apply_leave(&mut self, name: &Name, session: &SessionId, cx: &mut Context<'_>) {
        let number = local_number(session, cx);
        if let Some(number) = number {
            self.sessions.apply_leave(number);
        }
        let changes = self.presence.remove(name);
        self.push_presence(changes, cx);
    }

    /// Ends the session of an expelled member, if it is here.
    // Not told apart from one that a rule bans: such a client got the rule before.
    fn apply_expulsion(&mut self, (name, session): (&Name, &SessionId), reason: &str, cx: &mut Context<'_>) {
        let number = local_number(session, cx);
        if let Some(number) = number.filter(|number| self.sessions.state(*number).is_wanted()) {
            let is_told = self.sessions.state(number).receives_pushes();
            cx.push(is_told.then_some(number).into_iter().collect(), Push::Expel { reason: reason.to_owned() });
            self.end_session(number, Effect::Expelled(number), cx);
        }
        self.apply_leave(name, session, cx);
    }

    /// Returns the sessions of a user that get pushes.
    fn receivers_of(&self, target: &Target) -> Arc<[u64]> {
        // A look at all local sessions: rules are rare, and an index by user would cost
        // each idle session.
        let is_meant = |local: &LocalSession| match target {
            Target::Uid(uid) => local.uid() == Some(uid),
            Target::Name(name) => local.name() == name,
        };
        let meant = self.sessions.iter().filter(|(_, local)| local.state().receives_pushes() && is_meant(local));
        meant.map(|(number, _)| *number).collect()
    }

    /// Responds to an item of the record at a position; `when` is that of the last pushed entry.
    fn conclude(
        &mut self,
        outcome: Outcome,
        queued: QueuedItem,
        (position, id, when): (Position, RecordId, Stamp),
        cx: &mut Context<'_>,
    ) {
        let number = queued.session();
        match (&queued.item, outcome) {
            (Item::Join { membership, .. }, Outcome::Refused(refusal)) => {
                self.sessions.refuse_stay(number, *membership);
                self.on_join_refused(number, queued.pending, refusal, cx);
            }
            (Item::Join { .. }, Outcome::Overtaken) => self.on_overtaken(queued, id, cx),
            (Item::Join { membership, .. }, _) => {
                self.sessions.confirm_stay(number, *membership);
                if let Some(pending) = queued.pending {
                    self.on_entered(pending, when, cx);
                }
            }
            // The number is that of a session of an earlier run; a present one may have it, too.
            (Item::Leave { incarnation, .. }, _) if *incarnation != cx.common.incarnation() => {}
            (Item::Leave { .. }, _) => {
                self.sessions.conclude_leave(number);
                self.end_reads(number, cx);
                cx.respond(queued.pending, RoomResponse::Left);
            }
            (Item::Send { .. }, Outcome::Refused(refusal)) => {
                self.note_refusal(refusal, cx.now);
                // The client believes that it is in: the log has seen it leave, its rejoin is
                // pending, and it may repeat.
                let in_for_client = matches!(self.sessions.state(number), SessionState::In | SessionState::Returning);
                let reply = if refusal == Refusal::NotMember && in_for_client {
                    RoomResponse::Unknown { enter: false, because: None }
                } else {
                    RoomResponse::Refused { refusal, enter: false }
                };
                cx.respond(queued.pending, reply);
            }
            // Refused if the session is not in by this membership any more: then it has none of these
            // rights.
            (Item::Rights { .. }, _) => {
                let exp = cx.sessions.token_expires_at(number);
                cx.respond(queued.pending, RoomResponse::Refreshed { exp });
            }
            (Item::Moderate { .. }, Outcome::Refused(refusal)) => {
                cx.respond(queued.pending, RoomResponse::Refused { refusal, enter: false });
            }
            (Item::Moderate { .. }, Outcome::Done(index)) => {
                cx.respond(queued.pending, RoomResponse::Sent { seq: position.seq(index.into()), time: when.time });
            }
            (Item::Moderate { .. }, Outcome::Unchanged | Outcome::Overtaken | Outcome::Duplicate { .. }) => {
                cx.respond(queued.pending, RoomResponse::Unknown { enter: false, because: None });
            }
            (Item::Send { .. }, Outcome::Done(index)) => {
                cx.respond(queued.pending, RoomResponse::Sent { seq: position.seq(index.into()), time: when.time });
            }
            (Item::Send { .. }, Outcome::Duplicate { seq, time }) => {
                cx.respond(queued.pending, RoomResponse::Sent { seq, time })
            }
            // Only an owner of another version gives such an outcome to a message.
            (Item::Send { .. }, Outcome::Unchanged | Outcome::Overtaken) => {
                cx.respond(queued.pending, RoomResponse::Unknown { enter: false, because: None });
            }
        }
    }

    /// Handles a join that the owner refused because another session may have entered the stay
    /// behind the record that the join named.
    // If one did, an entry up to the end of this record ends the session; if none did, it is
    // proposed again from here. Where a state was taken instead of records, that cannot be known,
    // so the session ends. A join of the connector itself is not proposed again here: the session
    // is reconciled behind the record.
    fn on_overtaken(&mut self, queued: QueuedItem, here: RecordId, cx: &mut Context<'_>) {
        let number = queued.session();
        if queued.pending.is_none() {
            return;
        }
        let local = self.sessions.get(number).filter(|local| local.state().is_wanted());
        let ends = match local {
            Some(local) if !local.is_behind_state => return self.proposer.requeue_join(queued, here),
            local => local.is_some(),
        };
        cx.respond(queued.pending, RoomResponse::Unknown { enter: true, because: None });
        if ends {
            self.end_session(number, Effect::Lost(number), cx);
        }
    }

    fn on_join_refused(
        &mut self,
        number: u64,
        pending: Option<PendingRequest>,
        refusal: Refusal,
        cx: &mut Context<'_>,
    ) {
        let asked = pending.is_some();
        cx.respond(pending, RoomResponse::Refused { refusal, enter: true });
        // It asked for another name, and keeps the one it has.
        let state = self.sessions.state(number);
        if asked && (state == SessionState::In || state.is_held()) {
            return;
        }
        let is_replaced = self.sessions.get(number).is_some_and(|local| self.is_replaced(number, local, cx.common));
        if !self.withdraw_session(number, cx) && !asked && state.is_wanted() {
            // It was to rejoin, and another session has its name now, or a rule bans its user.
            cx.effects.push(match refusal {
                Refusal::Banned(_) => Effect::Banned(number),
                _ if is_replaced => Effect::Replaced(number),
                _ => Effect::Displaced(number),
            });
        }
    }

    /// Proposes a leave for a session that the log has wrongly. One of an earlier run always has to
    /// leave.
    pub(super) fn reconcile_run(&mut self, session: u64, run: Incarnation, common: &Common) {
        if run == common.incarnation() {
            self.reconcile(session, common);
        } else {
            let id = SessionId { connector: common.me.clone(), incarnation: run, number: session };
            if self.state.name_of(&id).is_some() {
                self.proposer.queue_leave(session, run);
            }
        }
    }
}

/// Returns true if an item's entry moves a membership to another session.
fn is_move(outcome: Outcome, record: &Record) -> bool {
    let entry = match outcome {
        Outcome::Done(index) => record.entries.get(usize::from(index)),
        Outcome::Unchanged | Outcome::Overtaken | Outcome::Duplicate { .. } | Outcome::Refused(_) => None,
    };
    matches!(entry, Some(Entry::Move { .. }))
}

/// Returns the number of a session of this run of this connector.
fn local_number(session: &SessionId, cx: &Context<'_>) -> Option<u64> {
    let ours = session.connector == cx.common.me && session.incarnation == cx.common.incarnation();
    ours.then_some(session.number)
}
