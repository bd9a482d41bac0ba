//! Whether an owner may work: as the home of its room, or standing in for that; and starting over.

use shared::rpc::Trace;
use shared::rpc::messages::RpcResponse;

use super::{Act, Now, Owner, Phase};

impl Owner {
    /// The connection to the log was made anew, or the log is another one: whatever this owner knew is to be read again.
    pub fn start_over(&mut self, now: Now) {
        self.followers.clear();
        // A backoff from the old connection, or the old log, says nothing of the new one.
        self.backoff.reset();
        self.retry_at = self.retry_at.map(|at| at.min(now.ticks));
        match &self.phase {
            Phase::Idle => {}
            Phase::Active(active) if !active.is_busy() => self.end(now),
            Phase::Active(_) | Phase::Reading(_) | Phase::Walking { .. } => self.is_stale = true,
        }
    }

    /// Whether it is to ask before it goes on: it stands in for the room's home, its activation ended, and somebody waits.
    pub fn needs_permission(&self) -> bool {
        matches!(self.phase, Phase::Idle) && !self.is_permitted && self.is_wanted()
    }

    /// Whether it stands in for the room's home now: it appends, or is about to.
    pub fn is_at_work(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// The room's home is down: it is this server's until an append fails.
    pub fn stand_in(&mut self, now: Now, acts: &mut Vec<Act>) {
        self.stands_in = true;
        self.is_permitted = true;
        self.go_on(now, acts);
    }

    /// This server is the room's home from now on, or is not.
    pub fn set_home(&mut self, is_home: bool, now: Now, acts: &mut Vec<Act>) {
        self.stands_in = !is_home;
        if is_home {
            self.is_permitted = true;
            self.go_on(now, acts);
        }
    }

    /// This server is about to end: what is in flight is finished, then the room is another's.
    pub fn retire(&mut self, acts: &mut Vec<Act>) {
        self.is_retiring = true;
        self.stands_in = true;
        self.is_permitted = false;
        self.let_go_if_quiet(acts);
    }

    /// This server does not end after all: the room may be its own again.
    pub fn stay(&mut self) {
        self.is_retiring = false;
    }

    /// Gives up, unless something is in flight.
    pub(super) fn let_go_if_quiet(&mut self, acts: &mut Vec<Act>) {
        if self.is_quiet() {
            self.give_up(acts);
        }
    }

    /// The room is another's: whoever waits or follows is sent there. What is in flight ends without consequences here.
    pub fn give_up(&mut self, acts: &mut Vec<Act>) {
        self.is_permitted = false;
        self.kept = None;
        let waiting = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Active(active) if !active.is_busy() => {
                let (proposals, attaches, _) = active.into_waiting();
                (proposals, attaches)
            }
            busy => {
                self.is_stale = !matches!(busy, Phase::Idle);
                self.phase = busy;
                (Vec::new(), Vec::new())
            }
        };
        let (proposals, attaches) = waiting;
        let askers = proposals.into_iter().chain(self.proposals.drain(..)).map(|proposal| proposal.asker);
        let askers = askers.chain(attaches.into_iter().chain(self.attaches.drain(..)).map(|attach| attach.asker));
        let askers = askers.chain(self.viewings.drain(..).map(|viewing| viewing.asker));
        let not_owner = RpcResponse::NotOwner { room: self.room.clone() };
        for asker in askers {
            self.followers.remove(&asker.connector);
            acts.push(Act::Answer(asker, not_owner.clone()));
        }
        let followers = std::mem::take(&mut self.followers);
        acts.extend(followers.into_iter().map(|connector| Act::Tell(connector, not_owner.clone(), Trace::default())));
    }
}
