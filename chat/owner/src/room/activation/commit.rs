//! The end of an append: the responses and notices of a committed record.

use std::collections::BTreeSet;

use model::ids::ServerId;
use model::record::{Position, Record};
use model::rpc::EncodedResponse;
use model::rpc::messages::{ActOutcome, RpcResponse};

use super::super::presence_rate::PresenceRecord;
use super::{ActMessage, Activation, Context, PendingAppend, PendingOperation};
use crate::draft::MessageTally;
use crate::event::Event;
use crate::rooms::outgoing::Receiver;

/// Properties of a record that was committed.
#[derive(Debug, Default)]
pub(in super::super) struct Committed {
    /// Bytes of its messages.
    pub(in super::super) message_bytes: u64,
    /// The record, if it holds joins and leaves alone.
    pub(in super::super) presence: Option<PresenceRecord>,
}

impl Activation {
    /// Responds with the committed record to its proposers, and notifies all other connectors that
    /// are concerned.
    pub(in super::super) fn on_committed(
        &mut self,
        position: Position,
        followers: &BTreeSet<ServerId>,
        cx: &mut Context<'_>,
    ) -> Committed {
        let PendingOperation::Append(appending) = std::mem::replace(&mut self.pending, PendingOperation::None) else {
            debug_assert!(false, "{}: a commit without an append", self.room);
            return Committed::default();
        };
        let PendingAppend { record, size, proposals, acts, before, messages, .. } = *appending;
        let committed = Committed { message_bytes: messages.bytes, presence: PresenceRecord::of(&record, &proposals) };
        cx.report(Event::Committed { entries: record.entries.len() });
        report_refused(messages, cx);
        debug_assert!(
            position > self.end,
            "{}: {position:?} is not above {:?}, which it expected",
            self.room,
            self.end
        );
        self.state.apply_committed(position, &record);
        self.answer_committed_acts(acts, (position, &record), cx);
        self.set_last_record(position, &record, size);
        if record.must_last() && record.checkpoint.is_some() {
            (self.lasted_at, self.since_lasting) = (Some(self.appended_at), 0);
        }
        // A connector whose last member left by this record is in `before`. One that has its first
        // member by this record proposed it, and gets the response.
        let mut others = followers | &before;
        others.extend(record.notify_connectors.iter().cloned());
        let Some((_, record)) = self.recent.last() else {
            debug_assert!(false, "{}: the committed record is not kept", self.room);
            return committed;
        };
        // Encoded once: the messages differ in the number and in nothing else.
        let response = EncodedResponse::new(&self.record_answer(position, record.clone()));
        let trace = proposals.first().map(|p| p.requester.trace.clone());
        for proposal in proposals {
            others.remove(&proposal.requester.server);
            cx.out.send(proposal.requester.into(), &response);
        }
        for connector in others {
            cx.out.send(Receiver::notified(connector, trace.clone()), &response);
        }
        committed
    }
}

impl Activation {
    /// Responds to the messages of acts that a committed record decides.
    fn answer_committed_acts(
        &self,
        acts: Vec<ActMessage>,
        (position, record): (Position, &Record),
        cx: &mut Context<'_>,
    ) {
        debug_assert_eq!(acts.len(), record.acts.len(), "{}: each message of acts is decided", self.room);
        for (ActMessage { requester, number, .. }, decided) in acts.into_iter().zip(&record.acts) {
            let outcomes = decided.acts.iter().map(|act| ActOutcome::of(act.outcome, position, record.time)).collect();
            let acted = RpcResponse::Acted { room: self.room.clone(), number, epoch: self.epoch, outcomes };
            cx.respond(requester, &acted);
        }
    }
}

/// Reports the messages that a record refuses for want of space. Once it is committed: before, they
/// may be decided again.
fn report_refused(MessageTally { over_share, in_reserve, .. }: MessageTally, cx: &mut Context<'_>) {
    if over_share > 0 {
        cx.report(Event::ShareRefused { messages: over_share });
    }
    if in_reserve > 0 {
        cx.report(Event::ReserveRefused { messages: in_reserve });
    }
}
