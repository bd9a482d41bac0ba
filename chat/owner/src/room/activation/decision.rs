//! The decision of waiting proposals: as many as fit into one record.

use std::collections::VecDeque;

use model::ids::{Incarnation, ServerId};
use model::record::{DecidedProposal, Entry, Record};
use model::rpc::messages::{Item, LogPosition, RpcResponse, Unavailable};

use super::super::{Attach, Context, Proposal};
use super::Activation;
use crate::draft::{Draft, DraftContext, MessageTally, Undo};
use crate::log_space::MessageSpace;

/// The decisions for a record.
#[derive(Debug, Default)]
pub(super) struct Decision {
    pub(super) entries: Vec<Entry>,
    pub(super) decided: Vec<DecidedProposal>,
    pub(super) taken: Vec<Proposal>,
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

    /// Decides as many proposals as fit into one record.
    pub(super) fn decide(
        &mut self,
        proposals: &mut VecDeque<Proposal>,
        attaches: &mut Vec<Attach>,
        space: MessageSpace,
        cx: &mut Context<'_>,
    ) -> Decision {
        let now = self.place();
        let known: Vec<_> = proposals.iter().map(|p| self.last_order(&p.author.connector)).collect();
        let must_expel = self.must_expel();
        let size_limits = self.policy.size_limits();
        let checkpoint = if self.parts.is_empty() { size_limits.checkpoint() } else { size_limits.part() };
        let notices = self.notify_connectors.iter().flatten().map(|id| id.as_str().len() + Record::LISTED);
        let reserved_bytes = checkpoint + notices.sum::<usize>();
        let at = DraftContext { liveness: &self.liveness, recent_joins: &self.recent_joins, reserved_bytes, space };
        let mut draft = Draft::new(&self.room, &self.policy, &mut self.state, at);
        if must_expel {
            draft.expel();
        }
        let mut taken = Vec::new();
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
        let (undo, messages) = (draft.take_undo(), draft.messages());
        let (entries, decided) = draft.finish();
        Decision { entries, decided, taken, undo, messages }
    }
}

/// Returns true if a connector that has the record `at` is ahead of an owner whose last one is `now`.
fn is_ahead(at: LogPosition, now: LogPosition) -> bool {
    // A connector at the last record's id has everything, also if the log was erased since.
    at.position >= now.position && at.id != now.id
}
