//! Local sessions of a room: coming, going, being kept while their connections are broken.

use shared::ids::Name;
use shared::membership::Token;
use shared::rpc::messages::{Claim, Item};

use super::proposer::{Ask, Wanted};
use super::{Act, Context, Local, Reply, Room};

impl Local {
    /// Whether its client was told that it is here, and did not ask to leave since.
    pub(super) fn is_here(&self) -> bool {
        self.hears && !self.leaving
    }
}

impl Room {
    /// A session wants to enter under a name; `ask.entering` says with which token.
    pub fn enter(&mut self, name: Name, ask: Ask, cx: &mut Context<'_>) {
        let (session, Some(entering)) = (ask.session, ask.entering) else { return };
        self.make_way(&name, entering.token, cx);
        let claim = if entering.comes_back { Claim::Back } else { Claim::New };
        let membership = entering.token.membership();
        let item = Item::Join { session, name: name.clone(), membership, claim };
        if self.proposer.request(Wanted { item, ask: Some(ask.clone()) }).is_err() {
            cx.acts.push(Act::Answer(ask, Reply::Busy { enter: true }));
            cx.acts.push(Act::NotEntered(session));
            return;
        }
        let local = Local { name, token: entering.token, wanted: true, hears: false, leaving: false };
        self.locals.entry(session).or_insert(local).wanted = true;
        self.go_on(cx);
    }

    /// A newcomer has the name of a session that is only kept for its client to come back: that one goes.
    pub(super) fn make_way(&mut self, name: &Name, token: Token, cx: &mut Context<'_>) {
        let in_the_way =
            |number: &&u64| self.locals.get(number).is_some_and(|local| local.name == *name && local.token != token);
        for number in self.held.keys().filter(in_the_way).copied().collect::<Vec<_>>() {
            self.close(number, cx);
        }
    }

    /// A session speaks; `body` is its JSON, unread.
    pub fn send(&mut self, body: Vec<u8>, ask: Ask, cx: &mut Context<'_>) {
        let item = Item::Send { session: ask.session, body };
        self.request(item, ask, cx);
    }

    /// A session asks to leave.
    pub fn leave(&mut self, ask: Ask, cx: &mut Context<'_>) {
        let item = Item::Leave { session: ask.session, incarnation: cx.common.incarnation };
        if let Some(local) = self.locals.get_mut(&ask.session) {
            local.wanted = false;
            local.leaving = true;
        }
        self.request(item, ask, cx);
    }

    pub(super) fn request(&mut self, item: Item, ask: Ask, cx: &mut Context<'_>) {
        if self.proposer.request(Wanted { item, ask: Some(ask.clone()) }).is_err() {
            self.reconcile(ask.session, cx.common);
            cx.acts.push(Act::Answer(ask, Reply::Busy { enter: false }));
        }
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

    /// No session is held any longer.
    pub fn release(&mut self, cx: &mut Context<'_>) {
        for session in self.held.keys().copied().collect::<Vec<_>>() {
            self.close(session, cx);
        }
    }

    /// A session is gone, or in another room: nobody waits for an answer.
    pub fn close(&mut self, session: u64, cx: &mut Context<'_>) {
        self.held.remove(&session);
        self.returns_not(session, cx);
        self.end_readings(session, cx);
        let Some(local) = self.locals.get_mut(&session) else { return };
        local.wanted = false;
        local.hears = false;
        self.proposer.withdraw_join(session);
        self.reconcile(session, cx.common);
        self.go_on(cx);
    }
}
