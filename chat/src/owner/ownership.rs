//! Whether an owner may work: as the home of its room, or standing in for that; and starting over.

use model::rpc::messages::RpcResponse;

use super::{Now, Owner, OwnerEffect, Phase};

impl Owner {
    /// The connection to the log was made anew, or the log is another one: whatever this owner knew is to be read again.
    pub fn start_over(&mut self, now: Now) {
        self.followers.clear();
        // A backoff from the old connection, or the old log, says nothing of the new one.
        self.backoff.reset();
        self.retry_at = self.retry_at.map(|at| at.min(now.ticks));
        match &self.phase {
            Phase::Idle => {}
            Phase::Active(active) if !active.has_pending() => self.end_activation(now),
            Phase::Active(_) | Phase::Reading(_) | Phase::Walking { .. } => self.discards_result = true,
        }
    }

    /// Whether it is to ask before it goes on: it stands in for the room's home, its activation ended, and somebody waits.
    pub fn needs_home_check(&self) -> bool {
        matches!(self.phase, Phase::Idle) && !self.may_append && self.is_wanted()
    }

    /// Whether it stands in for the room's home now: it appends, or is about to.
    pub fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// The room's home is down: it is this server's until an append fails.
    pub fn take_over(&mut self, now: Now, effects: &mut Vec<OwnerEffect>) {
        self.is_failover = true;
        self.may_append = true;
        self.advance(now, effects);
    }

    /// This server is the room's home from now on, or is not.
    pub fn set_home(&mut self, is_home: bool, now: Now, effects: &mut Vec<OwnerEffect>) {
        self.is_failover = !is_home;
        if is_home {
            self.may_append = true;
            self.advance(now, effects);
        }
    }

    /// This server is about to end: what is in flight is finished, then the room is another's.
    pub fn hand_over(&mut self, effects: &mut Vec<OwnerEffect>) {
        self.is_handing_over = true;
        self.is_failover = true;
        self.may_append = false;
        self.release_if_quiet(effects);
    }

    /// This server does not end after all: the room may be its own again.
    pub fn cancel_hand_over(&mut self) {
        self.is_handing_over = false;
    }

    /// Gives up, unless something is in flight.
    pub(super) fn release_if_quiet(&mut self, effects: &mut Vec<OwnerEffect>) {
        if self.is_quiet() {
            self.release(effects);
        }
    }

    /// The room is another's: whoever waits or follows is sent there. What is in flight ends without consequences here.
    pub fn release(&mut self, effects: &mut Vec<OwnerEffect>) {
        self.may_append = false;
        self.retained = None;
        let waiting = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Active(active) if !active.has_pending() => {
                let (proposals, attaches, _) = active.into_waiting();
                (proposals, attaches)
            }
            busy => {
                self.discards_result = !matches!(busy, Phase::Idle);
                self.phase = busy;
                (Vec::new(), Vec::new())
            }
        };
        let (proposals, attaches) = waiting;
        let requesters = proposals.into_iter().chain(self.proposals.drain(..)).map(|proposal| proposal.requester);
        let requesters =
            requesters.chain(attaches.into_iter().chain(self.attaches.drain(..)).map(|attach| attach.requester));
        let requesters = requesters.chain(self.history_requests.drain(..).map(|request| request.requester));
        let not_owner = RpcResponse::NotOwner { room: self.room.clone() };
        for requester in requesters {
            self.followers.remove(&requester.connector);
            effects.push(OwnerEffect::Respond(requester, not_owner.clone()));
        }
        let followers = std::mem::take(&mut self.followers);
        effects.extend(followers.into_iter().map(|connector| OwnerEffect::Notify(connector, not_owner.clone(), None)));
    }
}
