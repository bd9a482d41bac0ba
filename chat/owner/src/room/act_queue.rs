//! The messages of acts that wait for a decision: the newest one of each api server, and those of an
//! append that failed. Each gets a response.

use model::act::MAX_ACTS;
use model::rpc::messages::{RpcResponse, Unavailable};

use super::{ActMessage, Context, Now, Owner, Phase};

/// Messages of acts that wait.
const MAX_WAITING_ACTS: usize = 64;

impl Owner {
    /// Takes a message of acts. Its sender repeats it unchanged until it has a response.
    pub fn act(&mut self, message: ActMessage, now: Now, cx: &mut Context<'_>) {
        self.used_at = now.ticks;
        if self.is_too_large(&message) {
            let response = RpcResponse::Unavailable { room: self.room.clone(), because: Unavailable::LogAway };
            return cx.respond(message.requester, &response);
        }
        // Its response follows the commit.
        if matches!(&self.phase, Phase::Active(active) if active.is_appending_acts(&message)) {
            return;
        }
        self.drop_older(&message, cx);
        let is_full = self.acts.len() >= MAX_WAITING_ACTS;
        match self.acts.iter_mut().find(|waiting| waiting.is_of_server_of(&message)) {
            Some(same) if same.order() == message.order() => same.requester = message.requester,
            Some(newer) => {
                let (room, incarnation, number) = (self.room.clone(), newer.incarnation, newer.number);
                cx.respond(message.requester, &RpcResponse::ActStale { room, incarnation, number });
            }
            None if is_full => {
                cx.respond(message.requester, &RpcResponse::Busy { room: self.room.clone() });
            }
            None => self.acts.push_back(message),
        }
        self.advance(now, cx);
    }

    /// Returns true if no record of this broker can hold the message; that of its sender takes larger
    /// ones.
    fn is_too_large(&self, message: &ActMessage) -> bool {
        let limits = self.policy.size_limits();
        // One act may be larger, as one item of a proposal.
        let most = if message.acts.len() == 1 { limits.record() } else { limits.proposal() };
        message.acts.len() > MAX_ACTS || message.size() > most
    }

    /// Drops waiting messages of the same api server that are older: it has given them up.
    fn drop_older(&mut self, message: &ActMessage, cx: &mut Context<'_>) {
        let room = &self.room;
        self.acts.retain(|waiting| {
            let is_older = waiting.is_of_server_of(message) && waiting.order() < message.order();
            if is_older {
                let (room, incarnation, number) = (room.clone(), message.incarnation, message.number);
                cx.respond(waiting.requester.clone(), &RpcResponse::ActStale { room, incarnation, number });
            }
            !is_older
        });
    }
}
