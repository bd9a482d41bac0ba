//! The tokens of requests: each names the subject of the response, and thereby the request that it
//! belongs to.

use std::collections::BTreeMap;

use model::ids::Incarnation;
use model::ids::{RoomId, ServerId};
use model::rpc;

/// The request behind a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// The message of acts in flight for a room.
    Acts(RoomId),
    /// The look or list with this number.
    Read(u64),
    /// A probe of the present round.
    Probe(ServerId),
}

/// The requests without a response.
#[derive(Debug)]
pub(crate) struct Tokens {
    next: u64,
    requests: BTreeMap<u64, Request>,
}

impl Tokens {
    /// Tokens of a run. Those of other runs are far away: a response to one of their requests names
    /// no request of this run.
    pub(crate) fn new(me: &ServerId, run: Incarnation) -> Self {
        Self { next: rpc::first_token(me, run), requests: BTreeMap::new() }
    }

    /// Returns the token of a new request.
    pub(crate) fn add(&mut self, request: Request) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.requests.insert(self.next, request);
        self.next
    }

    /// Returns the request of a token, unless it has ended.
    pub(crate) fn get(&self, token: u64) -> Option<&Request> {
        self.requests.get(&token)
    }

    /// Ends a request.
    pub(crate) fn end(&mut self, token: u64) {
        self.requests.remove(&token);
    }

    /// Ends all probes.
    pub(crate) fn end_probes(&mut self) {
        self.requests.retain(|_, request| !matches!(request, Request::Probe(_)));
    }
}
