//! Applying a record: the only way in which clients learn what happened in a room.

use std::sync::Arc;

use shared::ids::{Incarnation, Name, SessionId};
use shared::membership::Membership;
use shared::record::{DecidedProposal, Entry, Outcome, Position, Record, RecordId, Refusal};
use shared::rpc::messages::{Item, LogPosition};

use super::locals::Local;
use super::proposer::{Ask, Wanted};
use super::{Act, Common, Context, Push, Reply, Room, When};

impl Room {
    /// Applies the record that follows the last one applied.
    ///
    /// What was asked is answered in the order in which it was asked, each answer behind the entry that it is about.
    pub(super) fn apply(&mut self, position: Position, record: &Record, cx: &mut Context<'_>) {
        // The room goes on behind what was erased, which nobody can be told any more.
        if record.is_behind_erasure() {
            let before = LogPosition { position: Position(position.0.saturating_sub(1)), ..self.at };
            self.tell_gap(before, cx);
        }
        let mut entries = record.entries.iter().enumerate().peekable();
        // All that is up to here was told: what was committed before, then entry by entry.
        let mut when = When { seq: self.at.position.last_seq(), time: record.time };
        let mut moved = self.named_here(record, cx);
        for (outcome, wanted) in self.outcomes(record, cx) {
            if let Outcome::Done(index) = outcome {
                while let Some((at, entry)) = entries.next_if(|(at, _)| *at <= usize::from(index)) {
                    when.seq = position.seq(at);
                    self.tell(when, entry, cx);
                }
            }
            if !matches!(wanted.item, Item::Send { .. }) {
                moved.push((wanted.session(), cx.common.incarnation));
            }
            self.conclude(outcome, wanted, (position, record.id, when), cx);
        }
        for (at, entry) in entries {
            self.tell(When { seq: position.seq(at), time: record.time }, entry, cx);
        }
        self.state.apply_metadata(position, record);
        self.at.position = position;
        self.at.id = record.id;
        for (session, run) in moved {
            self.reconcile_run(session, run, cx.common);
        }
    }

    /// What came of our proposal, if the record decided it.
    fn outcomes(&mut self, record: &Record, cx: &Context<'_>) -> Vec<(Outcome, Wanted)> {
        let ours = |d: &&DecidedProposal| d.connector == cx.common.me && d.incarnation == cx.common.incarnation;
        let mut outcomes = Vec::new();
        for decided in record.proposals.iter().filter(ours) {
            if self.proposer.is_usurped(decided.number, decided.outcomes.len()) {
                continue;
            }
            let wanted = self.proposer.decided(decided.number).unwrap_or_default();
            outcomes.extend(decided.outcomes.iter().copied().zip(wanted));
        }
        outcomes
    }

    /// Sessions of this connector, of whatever run, that come or go in the record.
    fn named_here<'a>(&self, record: &'a Record, cx: &Context<'_>) -> Vec<(u64, Incarnation)> {
        let sessions = |entry: &'a Entry| match entry {
            Entry::Join { session, .. } | Entry::Leave { session, .. } => [Some(session), None],
            Entry::Move { from, to, .. } => [Some(from), Some(to)],
            Entry::Open | Entry::Message { .. } | Entry::Whisper { .. } => [None, None],
        };
        let named = record.entries.iter().flat_map(sessions).flatten();
        named.filter(|s| s.connector == cx.common.me).map(|s| (s.number, s.incarnation)).collect()
    }

    fn tell(&mut self, When { seq, time }: When, entry: &Entry, cx: &mut Context<'_>) {
        self.state.apply(entry);
        match entry {
            Entry::Open => {}
            Entry::Join { name, session, membership } => self.tell_join(name, session, *membership, cx),
            // Of one session that is another run's now: nothing that it or others are told changes.
            Entry::Move { from, to, .. } if from == to => {}
            // Nobody is told but the session that is left behind.
            Entry::Move { name, to, membership, .. } => self.enters(name, to, *membership, cx),
            Entry::Leave { name, session } => self.tell_leave(name, session, cx),
            Entry::Message { from, content, .. } => {
                let push = Push::Chat { from: from.clone(), content: content.clone(), target: None, seq, time };
                push_to(self.locals.audience(), push, cx);
            }
            Entry::Whisper { from, to, content, .. } => {
                let session = self.state.session_of(to).and_then(|session| local_number(session, cx));
                let heard = session.filter(|number| self.locals.get(number).is_some_and(|local| local.hears));
                let (from, content, target) = (from.clone(), content.clone(), Some(to.clone()));
                push_to(heard.into_iter().collect(), Push::Chat { from, content, target, seq, time }, cx);
            }
        }
    }

    fn tell_join(&mut self, name: &Name, session: &SessionId, stay: Membership, cx: &mut Context<'_>) {
        self.enters(name, session, stay, cx);
        let news = self.crowd.insert(name, cx.now);
        self.tell_crowd(news, cx);
    }

    /// A session enters a stay. All local sessions that had it are left behind, and those that are about to enter it are
    /// overtaken: their clients asked before this one came in, and come back if they still want to.
    fn enters(&mut self, name: &Name, session: &SessionId, stay: Membership, cx: &mut Context<'_>) {
        let number = local_number(session, cx);
        if let Some(number) = number {
            self.locals.rename(number, name);
            if let Some(local) = self.locals.get_mut(&number) {
                local.entered(stay);
            }
        }
        let is_other = |(other, local): &(u64, &Local)| Some(*other) != number && local.wanted;
        let others = self.locals.named(name).filter(is_other);
        let ends = others.filter_map(|(other, local)| {
            let had_it = local.token.membership() == stay && self.was_in(other, local);
            let asked = local.stay() == stay;
            if had_it { Some((other, Act::MovedAway(other))) } else { asked.then_some((other, Act::Lost(other))) }
        });
        for (other, end) in ends.collect::<Vec<_>>() {
            self.end_session(other, end, cx);
        }
    }

    fn tell_leave(&mut self, name: &Name, session: &SessionId, cx: &mut Context<'_>) {
        let number = local_number(session, cx);
        if let Some(local) = number.and_then(|number| self.locals.get_mut(&number)) {
            // One that wants to be here is changing its name, or comes back at once.
            local.hears &= local.wanted;
        }
        let news = self.crowd.remove(name);
        self.tell_crowd(news, cx);
    }

    /// Answers an item of the record at a position; `when` is that of the last entry told.
    fn conclude(
        &mut self,
        outcome: Outcome,
        wanted: Wanted,
        (position, id, when): (Position, RecordId, When),
        cx: &mut Context<'_>,
    ) {
        let number = wanted.session();
        match (&wanted.item, outcome) {
            (Item::Join { membership, .. }, Outcome::Refused(refusal)) => {
                if let Some(local) = self.locals.get_mut(&number) {
                    local.entering.take_if(|token| token.membership() == *membership);
                }
                self.not_entered(number, wanted.ask, refusal, cx);
            }
            (Item::Join { .. }, Outcome::Overtaken) => self.overtaken(wanted, id, cx),
            (Item::Join { membership, .. }, _) => {
                if let Some(local) = self.locals.get_mut(&number) {
                    local.entered(*membership);
                }
                if let Some(ask) = wanted.ask {
                    self.entered(ask, when, cx);
                }
            }
            (Item::Leave { .. }, _) => {
                // Also if it entered again meanwhile: the answer to that will say who is here then.
                if let Some(local) = self.locals.get_mut(&number) {
                    local.hears = false;
                }
                self.end_readings(number, cx);
                answer(wanted.ask, Reply::Left, cx);
            }
            (Item::Send { .. }, Outcome::Refused(refusal)) => {
                // The client is in for all it knows: the log has seen it leave, it is on its way back, and may repeat.
                let in_for_client = self.locals.get(&number).is_some_and(|local| local.wanted && local.hears);
                let reply = if refusal == Refusal::NotMember && in_for_client {
                    Reply::Unknown { enter: false, because: None }
                } else {
                    Reply::Refused { refusal, enter: false }
                };
                answer(wanted.ask, reply, cx);
            }
            (Item::Send { .. }, Outcome::Done(index)) => {
                answer(wanted.ask, Reply::Sent { seq: position.seq(index.into()), time: when.time }, cx);
            }
            (Item::Send { .. }, Outcome::Duplicate { seq, time }) => answer(wanted.ask, Reply::Sent { seq, time }, cx),
            // An owner that says so of a message is not of this version.
            (Item::Send { .. }, Outcome::Unchanged | Outcome::Overtaken) => {
                answer(wanted.ask, Reply::Unknown { enter: false, because: None }, cx);
            }
        }
    }

    /// Another session may have entered the stay behind the record that a join named. If one did, an entry up to the end of this
    /// record ends the session; if none did, it asks again from here. Where a state was taken instead of records, that cannot be
    /// known: the session ends. A join of the connector's own is not asked for again: the session is reconciled behind the record.
    fn overtaken(&mut self, wanted: Wanted, here: RecordId, cx: &mut Context<'_>) {
        let number = wanted.session();
        if wanted.ask.is_none() {
            return;
        }
        let local = self.locals.get(&number).filter(|local| local.wanted);
        let ends = match local {
            Some(local) if !local.is_behind_state => return self.proposer.join_again(wanted, here),
            local => local.is_some(),
        };
        answer(wanted.ask, Reply::Unknown { enter: true, because: None }, cx);
        cx.acts.push(Act::NotEntered(number));
        if ends {
            self.end_session(number, Act::Lost(number), cx);
        }
    }

    fn not_entered(&mut self, number: u64, ask: Option<Ask>, refusal: Refusal, cx: &mut Context<'_>) {
        let asked = ask.is_some();
        answer(ask, Reply::Refused { refusal, enter: true }, cx);
        if asked {
            cx.acts.push(Act::NotEntered(number));
        }
        // It asked for another name, and keeps the one it has.
        if asked && self.is_kept(number) {
            return;
        }
        let was_wanted = self.locals.get(&number).is_some_and(|local| local.wanted);
        if !self.unwant(number, cx) && !asked && was_wanted {
            // It was to come back, and its name is another's now.
            cx.acts.push(Act::Displaced(number));
        }
    }

    /// Is the log right about a session? One of an earlier run is always to go.
    pub(super) fn reconcile_run(&mut self, session: u64, run: Incarnation, common: &Common) {
        if run == common.incarnation {
            self.reconcile(session, common);
        } else {
            let id = SessionId { connector: common.me.clone(), incarnation: run, number: session };
            if self.state.name_of(&id).is_some() {
                self.proposer.leave(session, run);
            }
        }
    }
}

fn answer(ask: Option<Ask>, reply: Reply, cx: &mut Context<'_>) {
    cx.acts.extend(ask.map(|ask| Act::Answer(ask, reply)));
}

pub(super) fn push_to(sessions: Arc<[u64]>, push: Push, cx: &mut Context<'_>) {
    if !sessions.is_empty() {
        cx.acts.push(Act::Push(sessions, push));
    }
}

/// The number of a session of this run of this connector.
fn local_number(session: &SessionId, cx: &Context<'_>) -> Option<u64> {
    let ours = session.connector == cx.common.me && session.incarnation == cx.common.incarnation;
    ours.then_some(session.number)
}
