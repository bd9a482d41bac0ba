//! The decision of waiting proposals: as many as fit into one record.

use std::collections::VecDeque;

use model::ids::{Incarnation, ServerId};
use model::record::{DecidedActs, DecidedProposal, Entry, Record};
use model::room::LastActs;
use model::rpc::messages::{ActOutcome, Item, LogPosition, RpcResponse, Unavailable};

use super::super::{ActMessage, Attach, Context, Proposal};
use super::Activation;
use crate::draft::{Draft, DraftContext, MessageTally, Undo};
use crate::log_space::MessageSpace;

/// The decisions for a record.
#[derive(Debug, Default)]
pub(super) struct Decision {
    pub(super) entries: Vec<Entry>,
    pub(super) decided: Vec<DecidedProposal>,
    pub(super) acts: Vec<DecidedActs>,
    pub(super) taken: Vec<Proposal>,
    /// The messages of those acts, in the same order.
    pub(super) taken_acts: Vec<ActMessage>,
    pub(super) undo: Undo,
    pub(super) messages: MessageTally,
}

impl Activation {
    /// Returns incarnation and number of a connector's last committed proposal. Incarnations that
    /// the latest one continues count as that one.
    fn last_order(&self, connector: &ServerId) -> Option<(Incarnation, u64)> {
        let last = self.state.last_proposal(connector)?;
        Some((self.liveness.current_incarnation(connector, last.incarnation), last.number))
    }

    /// Returns true if the proposals may wait for others, to share a record: few joins and leaves
    /// that are not decided yet, and that nothing urgent waits for.
    pub(in super::super) fn may_wait(&self, proposals: &VecDeque<Proposal>) -> bool {
        let now = self.place();
        let may_wait = |proposal: &Proposal| {
            let Proposal { author, items, .. } = proposal;
            let order = (author.incarnation, proposal.number);
            // All others are answered at once, without a record; a fence has no items.
            let is_new = proposal.at.epoch == self.epoch
                && !is_ahead(proposal.at, now)
                && self.last_order(&author.connector) < Some(order);
            let run = (&author.connector, author.incarnation);
            is_new
                && !proposal.is_urgent
                && !items.is_empty()
                && items.iter().all(|item| item.may_wait(&self.state, run))
        };
        let items: usize = proposals.iter().map(|proposal| proposal.items.len()).sum();
        items < Item::FULL_PRESENCE && proposals.iter().all(may_wait)
    }

    /// Responds to the messages of acts that need no decision: repeats, late copies of older ones, and
    /// those that no record can hold.
    fn answer_decided_acts(&self, acts: &mut VecDeque<ActMessage>, cx: &mut Context<'_>) {
        acts.retain(|message| match self.answer_without_decision(message) {
            Some(response) => {
                cx.respond(message.requester.clone(), &response);
                false
            }
            None => true,
        });
    }

    /// Returns the response to a message of acts that is not to be decided.
    fn answer_without_decision(&self, message: &ActMessage) -> Option<RpcResponse> {
        let room = self.room.clone();
        if let Some(last) = self.state.last_acts(&message.requester.server) {
            let LastActs { incarnation, number, position, outcomes } = last;
            if (*incarnation, *number) == message.order() {
                // Also if this state is behind the log: its records are there.
                let time = self.state.time();
                let outcomes = outcomes.iter().map(|outcome| ActOutcome::of(*outcome, *position, time)).collect();
                return Some(RpcResponse::Acted { room, number: *number, epoch: self.epoch, outcomes });
            }
            if (*incarnation, *number) > message.order() {
                return Some(RpcResponse::ActStale { room, incarnation: *incarnation, number: *number });
            }
        }
        // The sender's broker takes larger messages than ours.
        let is_too_large = message.size() > self.policy.size_limits().record();
        is_too_large.then_some(RpcResponse::Unavailable { room, because: Unavailable::LogAway })
    }

    /// Decides as many proposals and messages of acts as fit into one record.
    pub(super) fn decide(
        &mut self,
        (proposals, acts): (&mut VecDeque<Proposal>, &mut VecDeque<ActMessage>),
        attaches: &mut Vec<Attach>,
        (space, time): (MessageSpace, u64),
        cx: &mut Context<'_>,
    ) -> Decision {
        let now = self.place();
        self.answer_decided_acts(acts, cx);
        let known: Vec<_> = proposals.iter().map(|p| self.last_order(&p.author.connector)).collect();
        let must_expel = self.must_expel();
        let size_limits = self.policy.size_limits();
        let checkpoint = if self.parts.is_empty() { size_limits.checkpoint() } else { size_limits.part() };
        let notices = self.notify_connectors.iter().flatten().map(|id| id.as_str().len() + Record::LISTED);
        let reserved_bytes = checkpoint + notices.sum::<usize>();
        let at = DraftContext {
            liveness: &self.liveness,
            recent_joins: &self.recent_joins,
            reserved_bytes,
            space,
            time,
            slow_ms: self.slow_ms,
        };
        let mut draft = Draft::new(&self.room, &self.policy, &mut self.state, at);
        let mut expels_banned = false;
        if must_expel {
            draft.expel();
            expels_banned = std::mem::take(&mut self.expels_banned) && draft.expel_banned();
        }
        let (mut taken, mut taken_acts) = (Vec::new(), Vec::new());
        if self.acts_go_first {
            take_acts(&mut draft, acts, &mut taken_acts);
        }
        for last in known {
            let Some(proposal) = proposals.pop_front() else {
                debug_assert!(false, "{}: a waiting proposal is gone", self.room);
                break;
            };
            let order = (proposal.author.incarnation, proposal.number);
            // Positions of another epoch mean nothing here: the connector must attach first.
            if proposal.at.epoch != self.epoch {
                cx.respond(proposal.requester, &RpcResponse::NotOwner { room: self.room.clone() });
            } else if last == Some(order) || is_ahead(proposal.at, now) {
                // Committed, so catching up delivers the record; or the connector is ahead of this
                // owner: one of them is behind, and a read shows which.
                let incarnation = proposal.author.incarnation;
                attaches.push(Attach { requester: proposal.requester, incarnation, at: proposal.at });
            } else if last > Some(order) || draft.has_decided(&proposal.author, proposal.number) {
                // A late copy of a proposal whose response its connector has had for long.
            } else if proposal.size() > size_limits.record() {
                // Its connector's broker takes larger messages than ours. The connector splits the
                // proposal when this response reports that it cannot be appended.
                let because = Unavailable::LogAway;
                cx.respond(proposal.requester, &RpcResponse::Unavailable { room: self.room.clone(), because });
            } else if draft.fits(&proposal.items) {
                draft.decide(&proposal.author, proposal.number, &proposal.items);
                taken.push(proposal);
            } else {
                proposals.push_front(proposal);
                break;
            }
        }
        take_acts(&mut draft, acts, &mut taken_acts);
        // In turn, so that neither acts nor proposals wait for ever while the others fill records.
        self.acts_go_first = !acts.is_empty();
        self.expels_banned = expels_banned || draft.has_banned();
        let (undo, messages, acts) = (draft.take_undo(), draft.messages(), draft.take_acts());
        let (entries, decided) = draft.finish();
        Decision { entries, decided, acts, taken, taken_acts, undo, messages }
    }
}

/// Decides messages of acts as long as they fit, and moves them to those that are taken.
fn take_acts(draft: &mut Draft<'_>, acts: &mut VecDeque<ActMessage>, taken: &mut Vec<ActMessage>) {
    while acts.front().is_some_and(|message| draft.fits_acts(&message.acts)) {
        let Some(message) = acts.pop_front() else { return };
        draft.decide_acts(&message);
        taken.push(message);
    }
}

/// Returns true if a connector that has the record `at` is ahead of an owner whose last one is `now`.
fn is_ahead(at: LogPosition, now: LogPosition) -> bool {
    // A connector at the last record's id has everything, also if the log was erased since.
    at.position >= now.position && at.id != now.id
}
