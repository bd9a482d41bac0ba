//! Local sessions of a room: coming, going, being kept while their connections are broken.

use shared::ids::Name;
use shared::membership::Token;
use shared::record::{Epoch, Refusal};
use shared::rpc::messages::{Claim, Item};

use super::locals::Local;
use super::proposer::{Ask, Wanted};
use super::{Act, Context, Entered, Missed, Reply, Room, When};
#[cfg(debug_assertions)]
use super::{Common, session_id};

/// Rooms with more sessions are not looked at: in a debug build that would cost more than the work itself.
#[cfg(debug_assertions)]
const ASSERTED: usize = 32;

impl Room {
    /// Asserts what holds of local sessions behind every input: a session whose client was told that it is here is in the state by a
    /// stay that the client can come back to, unless its joining is under way; a held one hears nothing.
    #[cfg(debug_assertions)]
    pub(crate) fn assert_sound(&self, common: &Common) {
        for (number, local) in self.locals.iter().take(ASSERTED) {
            assert!(!local.hears || local.wanted || local.leaving, "{number} hears and is not wanted: {local:?}");
            let stay = self.state.membership_of_session(&session_id(common, *number));
            let is_in = stay.is_some_and(|stay| stay == local.token.membership() || stay == local.stay());
            let is_coming = self.proposer.has_join(*number);
            assert!(!(local.wanted && local.hears) || is_in || is_coming, "{number} hears and is not in: {local:?}");
        }
        for number in self.held.keys().take(ASSERTED) {
            let is_kept = self.locals.get(number).is_some_and(|local| local.wanted && !local.hears);
            assert!(is_kept, "{number} is held: {:?}", self.locals.get(number));
        }
    }

    /// A session wants to enter under a name; `ask.entering` says with which token.
    pub fn enter(&mut self, name: Name, mut ask: Ask, cx: &mut Context<'_>) {
        let (session, Some(entering)) = (ask.session, &mut ask.entering) else { return };
        // First of all: a client that is answered 429 may rely on it that nothing was done, no
        // other session sent away for it.
        if self.proposer.is_full() {
            cx.acts.push(Act::Answer(ask, Reply::Busy { enter: true }));
            return cx.acts.push(Act::NotEntered(session));
        }
        // Without a token, a session that is here enters its own stay again.
        let own = self.locals.get(&session).filter(|local| local.is_here() && !entering.comes_back);
        entering.token = own.map_or(entering.token, |local| local.token);
        // A room that was not read yet says only when it proposes what it had read.
        let is_old_stay = own.is_some() || entering.comes_back;
        let seen = Some(self.at.id).filter(|_| is_old_stay && self.at.epoch != Epoch::default());
        let entering = *entering;
        self.make_way(&name, entering.token, cx);
        let claim = if entering.comes_back { Claim::Back } else { Claim::New };
        let membership = entering.token.membership();
        let item = Item::Join { session, name: name.clone(), membership, claim, seen };
        self.proposer.request(Wanted { item, ask: Some(ask) });
        self.locals.want(session, name, entering.token);
        self.go_on(cx);
    }

    /// A session is in. One that comes back is told first what it missed.
    pub(super) fn entered(&mut self, ask: Ask, when: When, cx: &mut Context<'_>) {
        let came_back = ask.entering.filter(|entering| entering.comes_back);
        match came_back.map(|entering| entering.since) {
            None => self.welcome(ask, when, None, cx),
            Some(Some(since)) if since.epoch == self.at.epoch => self.read_missed(since.seq, ask, cx),
            Some(_) => self.welcome(ask, when, Some(Missed::default()), cx),
        }
    }

    /// From now on a session hears what happens; it is told with whom it is here.
    pub(super) fn welcome(&mut self, ask: Ask, When { seq, time }: When, missed: Option<Missed>, cx: &mut Context<'_>) {
        let number = ask.session;
        let Some(local) = self.locals.get_mut(&number) else {
            cx.acts.push(Act::NotEntered(number));
            return cx.acts.push(Act::Answer(ask, Reply::Unknown { enter: true, because: None }));
        };
        let (total, names) = (self.crowd.total(), self.crowd.tells_names());
        // The connection may have broken meanwhile.
        local.hears = local.wanted && !self.held.contains_key(&number);
        local.leaving = false;
        local.knows_names = names;
        local.resumes = ask.entering.is_some_and(|entering| entering.resumes);
        let (token, epoch) = (local.token, self.at.epoch);
        let (users, _) = self.crowd.page(None, cx.common.large_members);
        let entered = Box::new(Entered { users, total, names, seq, time, epoch, token, missed });
        // In this order: who reads the answer may at once send what only those may who are in.
        cx.acts.push(Act::Entered(number));
        cx.acts.push(Act::Answer(ask, Reply::Entered(entered)));
    }

    /// A newcomer has the name of a session that is only kept for its client to come back: that one goes.
    pub(super) fn make_way(&mut self, name: &Name, token: Token, cx: &mut Context<'_>) {
        let named =
            self.locals.named(name).filter(|(number, local)| local.token != token && self.held.contains_key(number));
        for number in named.map(|(number, _)| number).collect::<Vec<_>>() {
            self.close(number, cx);
        }
    }

    /// A session speaks; `body` is its JSON, unread.
    pub fn send(&mut self, body: Vec<u8>, ask: Ask, cx: &mut Context<'_>) {
        let Some(local) = self.locals.get(&ask.session) else {
            let refused = Reply::Refused { refusal: Refusal::NotMember, enter: false };
            return cx.acts.push(Act::Answer(ask, refused));
        };
        let item = Item::Send { session: ask.session, membership: local.stay(), body };
        if self.proposer.is_full() {
            return cx.acts.push(Act::Answer(ask, Reply::Busy { enter: false }));
        }
        self.request(item, ask, cx);
    }

    /// A session asks to leave. Returns false if too much waits: then it is in the room as before.
    pub fn leave(&mut self, ask: Ask, cx: &mut Context<'_>) -> bool {
        if self.proposer.is_full() {
            cx.acts.push(Act::Answer(ask, Reply::Busy { enter: false }));
            return false;
        }
        let item = Item::Leave { session: ask.session, incarnation: cx.common.incarnation };
        if let Some(local) = self.locals.get_mut(&ask.session) {
            local.wanted = false;
            local.leaving = true;
        }
        self.request(item, ask, cx);
        true
    }

    fn request(&mut self, item: Item, ask: Ask, cx: &mut Context<'_>) {
        self.proposer.request(Wanted { item, ask: Some(ask) });
        self.go_on(cx);
    }

    /// A session's connection broke: it stays for a while, so that its client can come back and nobody is told.
    pub fn hold(&mut self, session: u64, cx: &mut Context<'_>) {
        let Some(local) = self.locals.get_mut(&session) else { return };
        if !(local.wanted && local.hears) || cx.common.resume_ms == 0 {
            return self.close(session, cx);
        }
        local.hears = false;
        self.end_readings(session, cx);
        self.held.insert(session, cx.now + cx.common.resume_ms);
    }

    /// A session's connection was closed by this connector, which is about to end. Other clients than those that resume come back
    /// as newcomers, and must not find their names taken by themselves.
    pub fn send_away(&mut self, session: u64, cx: &mut Context<'_>) {
        if self.locals.get(&session).is_some_and(|local| local.resumes) {
            self.hold(session, cx);
        } else {
            self.close(session, cx);
        }
    }

    /// No session is held any longer.
    pub fn release(&mut self, cx: &mut Context<'_>) {
        for session in self.held.keys().copied().collect::<Vec<_>>() {
            self.close(session, cx);
        }
    }

    /// A session is gone, or in another room: nobody waits for an answer.
    pub fn close(&mut self, session: u64, cx: &mut Context<'_>) {
        self.unwant(session, cx);
        self.reconcile(session, cx.common);
        self.go_on(cx);
    }

    /// A session is not to be here any more. Returns true if it was held.
    pub(super) fn unwant(&mut self, session: u64, cx: &mut Context<'_>) -> bool {
        self.end_readings(session, cx);
        self.proposer.withdraw_join(session);
        if let Some(local) = self.locals.get_mut(&session) {
            local.wanted = false;
            local.hears = false;
        }
        self.held.remove(&session).is_some()
    }

    /// Returns true if a session is here for all that its client knows, its connection broken or not.
    pub(super) fn is_kept(&self, session: u64) -> bool {
        self.locals.get(&session).is_some_and(Local::is_here) || self.held.contains_key(&session)
    }
}
