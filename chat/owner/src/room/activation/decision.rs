//! The decision of waiting proposals: as many as fit into one record.

use std::collections::VecDeque;

use model::ids::{Incarnation, ServerId};
use model::record::{DecidedActs, DecidedProposal, Entry, Record};
use model::rpc::messages::{Item, LogPosition, RpcResponse, Unavailable};

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

    /// Returns true if a message of acts is newer than the last one of its api server, and can be
    /// appended.
    fn is_decidable(&self, message: &ActMessage) -> bool {
        let last = self.state.last_acts(&message.server).map(|last| (last.incarnation, last.number));
        // A repeat of the last message, or a late copy of an older one, has no effect.
        last < Some((message.incarnation, message.number)) && message.size() <= self.policy.size_limits().record()
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
        acts.retain(|message| self.is_decidable(message));
        let known: Vec<_> = proposals.iter().map(|p| self.last_order(&p.author.connector)).collect();
        let must_expel = self.must_expel();
        let size_limits = self.policy.size_limits();
        let checkpoint = if self.parts.is_empty() { size_limits.checkpoint() } else { size_limits.part() };
        let notices = self.notify_connectors.iter().flatten().map(|id| id.as_str().len() + Record::LISTED);
        let reserved_bytes = checkpoint + notices.sum::<usize>();
        let at =
            DraftContext { liveness: &self.liveness, recent_joins: &self.recent_joins, reserved_bytes, space, time };
        let mut draft = Draft::new(&self.room, &self.policy, &mut self.state, at);
        let mut expels_banned = false;
        if must_expel {
            draft.expel();
            expels_banned = std::mem::take(&mut self.expels_banned) && draft.expel_banned();
        }
        if self.acts_go_first {
            take_acts(&mut draft, acts);
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
        take_acts(&mut draft, acts);
        // In turn, so that neither acts nor proposals wait for ever while the others fill records.
        self.acts_go_first = !acts.is_empty();
        self.expels_banned = expels_banned || draft.has_banned();
        let (undo, messages, acts) = (draft.take_undo(), draft.messages(), draft.take_acts());
        let (entries, decided) = draft.finish();
        Decision { entries, decided, acts, taken, undo, messages }
    }
}

/// Decides messages of acts as long as they fit.
fn take_acts(draft: &mut Draft<'_>, acts: &mut VecDeque<ActMessage>) {
    while let Some(message) = acts.front()
        && draft.fits_acts(&message.acts)
    {
        draft.decide_acts(message);
        acts.pop_front();
    }
}

/// Returns true if a connector that has the record `at` is ahead of an owner whose last one is `now`.
fn is_ahead(at: LogPosition, now: LogPosition) -> bool {
    // A connector at the last record's id has everything, also if the log was erased since.
    at.position >= now.position && at.id != now.id
}
