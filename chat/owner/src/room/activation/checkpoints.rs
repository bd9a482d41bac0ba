//! The checkpoints that an activation appends: whole, or in parts where the state is large.

use model::record::{CheckpointPart, Record};
use model::room::Checkpoint;

use super::super::Now;
use super::Activation;

/// A room with members or rules gets a checkpoint at least this often, so that retention by age
/// never evicts its last one.
pub(super) const CHECKPOINT_MS: u64 = 24 * 3_600_000;

/// Size of the log since the last checkpoint.
#[derive(Debug, Default)]
pub(super) struct SinceCheckpoint {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Activation {
    /// Requests a checkpoint if the last record is so old that retention by age may soon evict it.
    pub(in super::super) fn refresh_if_old(&mut self, now: Now) {
        // The ticks count as well: a record's time may be ahead of a wall clock that was set back
        // since.
        let age = |now: u64, then: u64| now.saturating_sub(then) > CHECKPOINT_MS;
        let old = age(now.wall_ms, self.state.time()) || age(now.ticks, self.appended_at);
        let is_needed = !self.state.members().is_empty() || self.state.moderation().must_last();
        self.checkpoint_requested = old && !self.has_pending() && is_needed;
    }

    /// Starts a checkpoint in parts if one is due that is too large for one record.
    pub(super) fn begin_parts(&mut self) {
        let (size_limits, size) = (self.policy.size_limits(), self.state.checkpoint_size());
        // Parts that no longer fit are cut anew; those in the log have no effect without the
        // others.
        let is_begun = !self.parts.is_empty();
        let is_due = if is_begun { self.part_bytes > size_limits.part() } else { self.is_checkpoint_due(size, 0) };
        if !is_due || (size <= size_limits.checkpoint() && !is_begun) {
            return;
        }
        self.part_bytes = size_limits.part();
        let parts = self.state.checkpoints(self.part_bytes);
        // There are far fewer parts than members, and those are bounded.
        let (base, of) = (self.position, u16::try_from(parts.len()).unwrap_or(u16::MAX));
        self.parts = (0..of).map(|index| CheckpointPart { base, index, of }).zip(parts).collect();
        self.are_parts_lasting = self.state.moderation().must_last();
        self.since = SinceCheckpoint::default();
        self.checkpoint_requested = false;
    }

    /// Adds the next part of a checkpoint, or a whole one that is due, if there is room; else the
    /// next record carries it.
    pub(super) fn add_checkpoint(&mut self, record: &mut Record) {
        let (size_limits, written) = (self.policy.size_limits(), record.size());
        let room = size_limits.record().saturating_sub(written);
        if !self.parts.is_empty() {
            self.checkpoint_only = room < size_limits.part();
            let next = if self.checkpoint_only { None } else { self.parts.pop_front() };
            (record.part, record.checkpoint) = next.map(|(part, checkpoint)| (part, Box::new(checkpoint))).unzip();
            return;
        }
        let size = self.state.checkpoint_size();
        if size <= size_limits.checkpoint() && self.is_checkpoint_due(size, written) {
            self.checkpoint_only = room < size;
            if room >= size {
                record.checkpoint = Some(Box::new(Checkpoint::from(&self.state)));
                self.checkpoint_requested = false;
            }
        }
    }

    /// Returns true if the records since the last checkpoint, plus one of `written` bytes, outweigh
    /// the next one of `checkpoint` bytes, or are too many to read in a takeover.
    fn is_checkpoint_due(&self, checkpoint: usize, written: usize) -> bool {
        self.checkpoint_requested
            || self.since.bytes + written >= checkpoint
            || self.since.records + 1 >= self.policy.checkpoint_records(checkpoint)
    }
}
