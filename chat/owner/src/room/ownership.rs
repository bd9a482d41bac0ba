//! Ownership of the room: as its home, or as failover owner while the home is down; hand-over,
//! release, and starting over.

use model::rpc::EncodedResponse;
use model::rpc::messages::RpcResponse;

use super::{Context, Now, Owner, Phase};

impl Owner {
    /// Discards the knowledge about the log, because the connection was made anew or the log's
    /// epoch changed.
    pub fn start_over(&mut self, now: Now) {
        // A connector may have detached while the connection was down. None follows until it
        // attaches again.
        self.followers.clear();
        self.read_again(now);
    }

    /// Discards the knowledge about the log, because the room is in another part of it now.
    /// Connectors go on following.
    pub fn read_again(&mut self, now: Now) {
        // A backoff from the old connection, epoch or part says nothing about the new one.
        self.backoff.reset();
        self.retry_at = self.retry_at.map(|at| at.min(now.ticks));
        match &self.phase {
            Phase::Idle => {}
            Phase::Active(active) if !active.has_pending() => self.end_activation(now),
            Phase::Active(_) | Phase::Reading(_) | Phase::Walking { .. } => self.discards_result = true,
        }
    }

    /// Returns true if the home must be probed before the owner continues: it is a failover owner,
    /// its activation ended, and requests wait.
    pub fn needs_home_check(&self) -> bool {
        matches!(self.phase, Phase::Idle) && !self.may_append && self.is_wanted()
    }

    /// Returns true if the owner reads, appends, or is about to.
    pub fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// Makes this server the failover owner until an append fails, because the home is down.
    pub fn take_over(&mut self, now: Now, cx: &mut Context<'_>) {
        self.is_failover = true;
        self.may_append = true;
        self.advance(now, cx);
    }

    /// Sets if this server is the room's home.
    pub fn set_home(&mut self, is_home: bool, now: Now, cx: &mut Context<'_>) {
        self.is_failover = !is_home;
        if is_home {
            self.may_append = true;
            self.advance(now, cx);
        }
    }

    /// Prepares a graceful shutdown: finishes the operation in flight, then releases the room.
    pub fn hand_over(&mut self, cx: &mut Context<'_>) {
        self.is_handing_over = true;
        self.is_failover = true;
        self.may_append = false;
        self.release_if_quiet(cx);
    }

    /// Cancels the hand-over: this server may own the room again.
    pub fn cancel_hand_over(&mut self) {
        self.is_handing_over = false;
    }

    /// Releases the room, unless an operation is in flight.
    pub(super) fn release_if_quiet(&mut self, cx: &mut Context<'_>) {
        if self.is_quiet() {
            self.release(cx);
        }
    }

    /// Releases the room: redirects all waiting connectors and followers. The result of an
    /// operation in flight is discarded.
    pub fn release(&mut self, cx: &mut Context<'_>) {
        self.may_append = false;
        // The next owner may change the room; this state must not outlive that.
        self.retained = None;
        let attaches = match std::mem::replace(&mut self.phase, Phase::Idle) {
            // None of its proposals and acts is in flight.
            Phase::Active(active) if !active.has_pending() => active.end().attaches,
            busy => {
                self.discards_result = !matches!(busy, Phase::Idle);
                self.phase = busy;
                Vec::new()
            }
        };
        let requesters = self.proposals.drain(..).map(|proposal| proposal.requester);
        let requesters =
            requesters.chain(attaches.into_iter().chain(self.attaches.drain(..)).map(|attach| attach.requester));
        let requesters = requesters.chain(self.history_requests.drain(..).map(|request| request.requester));
        let requesters = requesters.chain(self.acts.drain(..).map(|message| message.requester));
        let requesters = requesters.chain(self.looks.drain().map(|look| look.requester));
        let not_owner = EncodedResponse::new(&RpcResponse::NotOwner { room: self.room.clone() });
        for requester in requesters {
            self.followers.remove(&requester.server);
            cx.out.send(requester.into(), &not_owner);
        }
        // Connectors without a waiting request are notified as well, or they would find out only
        // with the next request.
        let followers = std::mem::take(&mut self.followers);
        followers.into_iter().for_each(|connector| cx.out.notify(connector, &not_owner));
    }
}
