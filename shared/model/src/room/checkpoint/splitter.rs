//! Divides a state among checkpoints of a size.

use std::collections::BTreeMap;

use super::{Checkpoint, ID_BYTES, MEMBER_BYTES, PART_AROUND, RUN_BYTES, SENDER_BYTES, SENDERS_AROUND, SENT_BY_BYTES};
use crate::ids::{Incarnation, Name, ServerId};
use crate::membership::Sender;
use crate::room::Member;
use crate::room::dedup_window::SentMessage;

/// Fills one checkpoint after the other.
pub(super) struct Splitter {
    full: Vec<Checkpoint>,
    pub(super) filling: Checkpoint,
    /// Places of the senders in `filling`.
    senders: BTreeMap<Sender, u16>,
    bytes: usize,
    most: usize,
}

impl Splitter {
    pub(super) fn new(time: u64, most: usize) -> Self {
        let filling = Checkpoint { time, ..Checkpoint::default() };
        Self { full: Vec::new(), filling, senders: BTreeMap::new(), bytes: PART_AROUND, most }
    }

    /// Begins the next checkpoint if this one has no space for `size` bytes.
    fn make_room(&mut self, size: usize) {
        // An element that is larger than the limit alone gets a checkpoint of its own: without
        // progress, splitting would not end.
        if self.bytes.saturating_add(size) > self.most && self.bytes > PART_AROUND {
            let next = Checkpoint { time: self.filling.time, ..Checkpoint::default() };
            self.full.push(std::mem::replace(&mut self.filling, next));
            self.senders.clear();
            self.bytes = PART_AROUND;
        }
    }

    /// The checkpoint that the next element of this size goes into.
    pub(super) fn room_for(&mut self, size: usize) -> &mut Checkpoint {
        self.make_room(size);
        self.bytes += size;
        &mut self.filling
    }

    pub(super) fn put_member(&mut self, run: (&ServerId, Incarnation), number: u64, name: &Name, member: &Member) {
        let size = MEMBER_BYTES + name.as_str().len() + member.detail_size();
        self.make_room(size + RUN_BYTES);
        // Members of a run stand together, so that it is the last one if it is there.
        let runs = &mut self.filling.runs;
        if runs.last().is_none_or(|(connector, incarnation)| (connector, *incarnation) != run) {
            runs.push((run.0.clone(), run.1));
            self.bytes += RUN_BYTES;
        }
        let index = runs.len() - 1;
        // In this part in any case, as its run is.
        self.bytes += size;
        let filling = &mut self.filling;
        filling.members.push((name.clone(), index, number, member.membership));
        if let Some(profile) = member.profile.as_deref() {
            filling.profiles.push((filling.members.len() - 1, profile.clone()));
        }
    }

    pub(super) fn put_message(&mut self, SentMessage { id, seq, time, sender }: &SentMessage) {
        let message = (*id, *seq, *time);
        let Some(sender) = sender else { return self.room_for(ID_BYTES).sent_messages.push(message) };
        self.make_room(SENDERS_AROUND + ID_BYTES + SENT_BY_BYTES + SENDER_BYTES);
        if self.senders.is_empty() {
            self.bytes += SENDERS_AROUND;
        }
        let place = match self.senders.get(sender) {
            Some(place) => *place,
            None => {
                self.bytes += SENDER_BYTES;
                self.filling.senders.push(*sender);
                // Far fewer than 65,536: there is at most one for each remembered message.
                let place = u16::try_from(self.filling.senders.len()).unwrap_or_default();
                self.senders.insert(*sender, place);
                place
            }
        };
        let index = self.filling.sent_messages.len();
        self.bytes += ID_BYTES + SENT_BY_BYTES;
        let filling = &mut self.filling;
        filling.sent_messages.push(message);
        filling.sent_by.resize(index, 0);
        filling.sent_by.push(place);
    }

    pub(super) fn finish(mut self) -> Vec<Checkpoint> {
        self.full.push(self.filling);
        self.full
    }
}
