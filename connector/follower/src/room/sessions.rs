//! Local sessions of a room: enter, send, leave, and the hold of those whose connections broke.

use bytes::Bytes;
use model::act::{Profile, Rights, Target};
use model::ids::Name;
use model::membership::Token;
use model::network::AddressGroup;
use model::permissions::Action;
use model::record::{Epoch, Refusal};
use model::room::Member;
use model::rpc::messages::{Claim, Deed, Item};

#[cfg(debug_assertions)]
use super::Common;
use super::local_sessions::LocalSession;
use super::proposer::{Entering, PendingRequest, QueuedItem};
use super::session_state::SessionState;
use super::{Context, Entered, MissedMessages, Room, RoomResponse, Stamp, session_id};
use crate::event::Event;

/// Milliseconds for which a room refuses messages after its owner refused one for want of space in
/// the log.
const REFUSED_MS: u64 = 5_000;

/// Most sessions to check: in a debug build more would cost more than the work itself.
#[cfg(debug_assertions)]
const ASSERTED: usize = 32;

impl Room {
    /// Asserts the invariants of local sessions, after every input. A session whose client knows
    /// that it is in is in the state, by a membership that the client can resume, unless its join is
    /// pending.
    #[cfg(debug_assertions)]
    pub(crate) fn assert_sound(&self, common: &Common) {
        for (number, local) in self.sessions.iter().take(ASSERTED) {
            let stay = self.state.membership_of_session(&session_id(common, *number));
            let is_in = stay.is_some_and(|stay| stay == local.token.membership() || stay == local.stay());
            let is_joining = self.proposer.has_join(*number);
            let is_in_for_client = matches!(local.state(), SessionState::In | SessionState::Returning);
            assert!(!is_in_for_client || is_in || is_joining, "{number} gets pushes and is not in: {local:?}");
        }
        if self.sessions.len() <= ASSERTED {
            self.sessions.assert_sound();
            self.history_reads.assert_sound();
            self.proposer.assert_sound();
        }
    }

    /// Handles a session's request to enter under a name.
    pub fn enter(
        &mut self,
        (name, profile): (Name, Option<Box<Profile>>),
        mut entering: Entering,
        mut pending: PendingRequest,
        cx: &mut Context<'_>,
    ) {
        let session = pending.session;
        pending.entering = Some(entering);
        // Before any change: a client that gets 429 may rely on nothing having happened, and no
        // held session having been closed for it.
        if self.proposer.is_full() {
            return cx.respond(pending, RoomResponse::QueueFull { enter: true });
        }
        // Without a token, a session that is in enters its own stay again.
        let own = self.sessions.get(session).filter(|local| local.state() == SessionState::In && !entering.is_resuming);
        // It may have brought a token since it entered: then the membership is another one.
        let uid = profile.as_ref().and_then(|profile| profile.uid.as_ref());
        entering.token = own.map_or(entering.token, |local| local.token.of_user(uid));
        // A room that was not read yet cannot name a record now; the proposer names it when it
        // proposes.
        let is_old_stay = own.is_some() || entering.is_resuming;
        let seen = Some(self.applied.id).filter(|_| is_old_stay && self.applied.epoch != Epoch::default());
        pending.entering = Some(entering);
        self.close_held_namesakes(&name, entering.token, cx);
        let claim = if entering.is_resuming { Claim::Back } else { Claim::New };
        let membership = entering.token.membership();
        let item = Item::Join { session, name: name.clone(), membership, claim, seen, profile: profile.clone() };
        self.queue_request(QueuedItem { item, pending: Some(pending) }, cx.common);
        self.sessions.start_entering((session, cx.sessions.address(session)), name, entering.token, profile);
        self.advance(cx);
    }

    /// Handles the entry of a session. A resuming one first reads the messages that it missed.
    pub(super) fn on_entered(&mut self, pending: PendingRequest, when: Stamp, cx: &mut Context<'_>) {
        let resuming = pending.entering.filter(|entering| entering.is_resuming);
        match resuming.map(|entering| entering.since) {
            None => self.complete_enter(pending, when, None, cx),
            // What it missed is history as well.
            Some(_) if !self.may(pending.session, Action::Read) => {
                self.complete_enter(pending, when, Some(MissedMessages::default()), cx);
            }
            Some(Some(since)) if since.epoch == self.applied.epoch => self.read_missed(since.seq, pending, cx),
            Some(_) => self.complete_enter(pending, when, Some(MissedMessages::default()), cx),
        }
    }

    /// Sends a session the members of the room, and pushes from now on.
    pub(super) fn complete_enter(
        &mut self,
        pending: PendingRequest,
        Stamp { seq, time }: Stamp,
        missed: Option<MissedMessages>,
        cx: &mut Context<'_>,
    ) {
        let number = pending.session;
        // Without names there are no joins and leaves for it either: these would show them
        // one by one.
        let lists = self.may(number, Action::List);
        let (total, names) = (self.presence.total(), self.presence.sends_names() && lists);
        let resumes = pending.entering.is_some_and(|entering| entering.resumes);
        // It may have ended while its join was in flight: then its leave waits behind that.
        let Some(token) = self.sessions.complete_enter(number, names, resumes) else {
            return cx.respond(pending, RoomResponse::Unknown { enter: true, because: None });
        };
        let epoch = self.applied.epoch;
        let (users, _) = if lists { self.presence.page(None, cx.common.large_members) } else { Default::default() };
        let profiles = self.profiles(&users);
        let rights = self.sessions.get(number).map_or(Rights::MEMBER, LocalSession::rights);
        let entered = Box::new(Entered { users, profiles, rights, total, names, seq, time, epoch, token, missed });
        cx.respond(pending, RoomResponse::Entered(entered));
    }

    /// Closes held sessions with the name of a newcomer, if their clients cannot resume.
    // A client of Pomelo comes back under its name, so it must not find that taken. The name of one
    // that comes back with its token is kept for it: otherwise whoever asks for it often enough has
    // it as soon as the connection breaks.
    pub(super) fn close_held_namesakes(&mut self, name: &Name, token: Token, cx: &mut Context<'_>) {
        let named = self
            .sessions
            .with_name(name)
            .filter(|(_, local)| local.token != token && local.state().is_held() && !local.resumes);
        for number in named.map(|(number, _)| number).collect::<Vec<_>>() {
            self.close(number, cx);
        }
    }

    /// Handles a message of a session; `body` is its JSON, unparsed.
    pub fn send(&mut self, body: Bytes, pending: PendingRequest, cx: &mut Context<'_>) {
        let Some(local) = self.sessions.get(pending.session) else {
            let refused = RoomResponse::Refused { refusal: Refusal::NotMember, enter: false };
            return cx.respond(pending, refused);
        };
        let bytes = body.len();
        let item = Item::Send { session: pending.session, membership: local.stay(), body };
        if self.proposer.is_full() {
            return cx.respond(pending, RoomResponse::QueueFull { enter: false });
        }
        if let Some(refusal) = self.message_refusal(cx.now) {
            cx.report(Event::MessageRefused { refusal });
            return cx.respond(pending, RoomResponse::Refused { refusal, enter: false });
        }
        if let Err(limit) = cx.take_message(pending.session, bytes) {
            return cx.respond(pending, RoomResponse::QuotaRefused(limit));
        }
        self.queue_request(QueuedItem { item, pending: Some(pending) }, cx.common);
        self.advance(cx);
    }

    /// Returns true if a session's client has the right to an action in the room.
    pub(super) fn may(&self, session: u64, action: Action) -> bool {
        self.sessions.get(session).is_some_and(|local| local.rights().allow(action))
    }

    /// Handles the request of a session to moderate.
    pub fn moderate(&mut self, (target, deed): (Target, Deed), pending: PendingRequest, cx: &mut Context<'_>) {
        let session = pending.session;
        let refuse = |refusal| RoomResponse::Refused { refusal, enter: false };
        let Some(local) = self.sessions.get(session) else { return cx.respond(pending, refuse(Refusal::NotMember)) };
        // The owner decides; others cost it nothing.
        if !local.rights().allow(Action::Moderate) {
            return cx.respond(pending, refuse(Refusal::NotAllowed));
        }
        if self.proposer.is_full() {
            return cx.respond(pending, RoomResponse::QueueFull { enter: false });
        }
        let item = Item::Moderate { session, membership: local.stay(), target, deed };
        self.queue_request(QueuedItem { item, pending: Some(pending) }, cx.common);
        self.advance(cx);
    }

    /// Proposes the rights of a session whose token was replaced, if they are others than before.
    pub fn renew_rights(&mut self, rights: Rights, pending: PendingRequest, cx: &mut Context<'_>) {
        let session = pending.session;
        // As the log has them: what was set here may not have been proposed, if the log was away.
        let known = self.state.name_of(&session_id(cx.common, session)).and_then(|name| self.state.members().get(name));
        let is_same = |local: &LocalSession| known.map_or_else(|| local.rights(), Member::rights) == rights;
        let Some(local) = self.sessions.get(session).filter(|local| !is_same(local)) else {
            let exp = cx.sessions.token_expires_at(session);
            return cx.respond(pending, RoomResponse::Refreshed { exp });
        };
        if self.proposer.is_full() {
            return cx.respond(pending, RoomResponse::QueueFull { enter: false });
        }
        let item = Item::Rights { session, membership: local.stay(), rights };
        // From now on, also where the log has to take the session in again.
        self.sessions.set_rights(session, rights);
        self.queue_request(QueuedItem { item, pending: Some(pending) }, cx.common);
        self.advance(cx);
    }

    /// Returns the reason for which the room's owner refuses messages for a while.
    fn message_refusal(&self, now: u64) -> Option<Refusal> {
        self.refuses_messages.filter(|(_, until)| now < *until).map(|(refusal, _)| refusal)
    }

    /// Handles the refusal of a message by the room's owner. For want of space in the log, it
    /// refuses further ones as well.
    // Each refusal by the owner is an outcome in the log, so without this a client could fill the
    // log with messages that are refused for that.
    pub(super) fn note_refusal(&mut self, refusal: Refusal, now: u64) {
        if matches!(refusal, Refusal::RoomShare | Refusal::LogReserve) {
            self.refuses_messages = Some((refusal, now + REFUSED_MS));
        }
    }

    /// Returns the number of local members of a public address.
    pub(crate) fn members_of(&self, address: AddressGroup) -> usize {
        self.sessions.of_address(address)
    }

    /// Returns true if a session of an address that enters takes a place that the address has: its
    /// own, one by its token, or that of a held session under its name.
    pub(crate) fn has_place_of(
        &self,
        (session, address): (u64, AddressGroup),
        name: &Name,
        token: Option<Token>,
    ) -> bool {
        let is_in = self.sessions.state(session).is_wanted();
        let resumes = token.is_some_and(|token| self.state.membership_of(name) == Some(token.membership()));
        let mut replaced = self.sessions.with_name(name).filter(|(_, local)| local.state().is_held() && !local.resumes);
        is_in || resumes || replaced.any(|(_, local)| local.address == Some(address))
    }

    /// Handles a session's request to leave. Returns false if the queue is full: then the session
    /// stays in the room.
    pub fn leave(&mut self, pending: PendingRequest, cx: &mut Context<'_>) -> bool {
        if self.proposer.is_full() {
            cx.respond(pending, RoomResponse::QueueFull { enter: false });
            return false;
        }
        let item = Item::Leave { session: pending.session, incarnation: cx.common.incarnation() };
        self.sessions.start_leaving(pending.session);
        self.queue_request(QueuedItem { item, pending: Some(pending) }, cx.common);
        self.advance(cx);
        true
    }

    /// Holds a session whose connection broke, so that its client can resume without a leave and a
    /// join in the room.
    pub fn hold(&mut self, session: u64, cx: &mut Context<'_>) {
        if cx.common.resume_ms == 0 || !self.sessions.hold(session, cx.now + cx.common.resume_ms) {
            return self.close(session, cx);
        }
        self.end_reads(session, cx);
    }

    /// Handles the end of a session that this connector closed because it drains.
    // Only clients that resume are held. The others return as newcomers, and would find their own
    // names taken.
    pub fn close_for_drain(&mut self, session: u64, cx: &mut Context<'_>) {
        if self.will_resume(session) {
            self.hold(session, cx);
        } else {
            self.close(session, cx);
        }
    }

    /// Returns true if the client of a session that is in the room comes back with its token.
    pub fn will_resume(&self, session: u64) -> bool {
        self.sessions.get(session).is_some_and(|local| local.resumes)
    }

    /// Returns true if a session is in the room, or its leave is not decided.
    pub fn has_session(&self, session: u64) -> bool {
        self.sessions.get(session).is_some()
    }

    /// Closes all held sessions.
    pub fn release_held(&mut self, cx: &mut Context<'_>) {
        for session in self.sessions.held_until(u64::MAX) {
            self.close(session, cx);
        }
    }

    /// Closes a session that ended, or entered another room. No response is sent.
    pub fn close(&mut self, session: u64, cx: &mut Context<'_>) {
        self.withdraw_session(session, cx);
        self.reconcile(session, cx.common);
        self.advance(cx);
    }

    /// Notes that a session is not to be in the room any more. Returns true if it was held.
    pub(super) fn withdraw_session(&mut self, session: u64, cx: &mut Context<'_>) -> bool {
        self.end_reads(session, cx);
        self.proposer.withdraw_join(session);
        self.sessions.withdraw(session)
    }
}
