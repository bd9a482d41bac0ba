//! Size limits of messages between servers: at most half of what the broker takes. The one place
//! that divides it among their parts.

use crate::act::MAX_DATA_BYTES;
use crate::record::Record;
use crate::rpc::report::ChatReport;

/// Bytes of what stands around that which grows: headers with a room's name, ids of servers, links
/// of a record.
const AROUND: usize = 3 * 1024;

/// Largest `max_payload` that is used.
// Larger messages than a broker with its default allows would only delay others.
const MOST_PAYLOAD: usize = 1024 * 1024;

/// Most bytes that one element adds to a part of a state: a member with its profile and the run of
/// its connector, or the last acts of an api server.
const LARGEST_ELEMENT: usize = 1_536;

/// Bytes of a message besides its content and data, where the space that it takes in the log is limited.
pub const MESSAGE_AROUND: usize = 512;

/// Returns the most bytes that a message counts there.
pub const fn largest_message(max_content: usize) -> usize {
    max_content + MAX_DATA_BYTES + MESSAGE_AROUND
}

/// Bytes for what grows in one message. What may be larger is split, or bounded by a setting that
/// is checked at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeLimits(usize);

impl Default for SizeLimits {
    /// Of a broker with its usual 1 MiB.
    fn default() -> Self {
        Self(MOST_PAYLOAD / 2 - AROUND)
    }
}

impl SizeLimits {
    /// The smallest `max_payload` that leaves enough.
    pub const MIN_PAYLOAD: usize = 32 * 1024;

    /// Of a broker that takes this many bytes; none below [`SizeLimits::MIN_PAYLOAD`].
    pub fn for_payload(max_payload: usize) -> Option<Self> {
        (max_payload >= Self::MIN_PAYLOAD).then(|| Self::for_running_broker(max_payload))
    }

    /// Of a broker that takes this many bytes now. Below [`SizeLimits::MIN_PAYLOAD`], where servers
    /// are not ready, it is that of the least: small messages still go through.
    pub fn for_running_broker(max_payload: usize) -> Self {
        Self(Self::largest_message(max_payload) - AROUND)
    }

    /// Bytes of the largest message to a broker that takes this many.
    pub fn largest_message(max_payload: usize) -> usize {
        max_payload.clamp(Self::MIN_PAYLOAD, MOST_PAYLOAD) / 2
    }

    /// The limits for the smallest broker; messages within them fit every broker.
    pub fn smallest() -> Self {
        Self::for_running_broker(Self::MIN_PAYLOAD)
    }

    /// The `max_payload` that leaves this much for one record.
    pub fn required_payload(record: usize) -> usize {
        (record + AROUND) * 2
    }

    /// All entries of a record, what was decided with them, and its checkpoint, if it has one.
    pub fn record(self) -> usize {
        self.0
    }

    /// Entries of a record to which more are added only if they fit.
    pub fn draft(self) -> usize {
        self.0.min(256 * 1024)
    }

    /// Bytes of a proposal in a record; one item may be larger, up to [`SizeLimits::record`].
    pub fn proposal(self) -> usize {
        (self.0 / 2).min(128 * 1024)
    }

    /// Entries that remove members, besides the decided items of a record.
    pub fn expulsions(self) -> usize {
        self.0 / 4
    }

    /// Bytes of a checkpoint that fits beside everything else in a record; a larger one is written
    /// in parts.
    pub fn checkpoint(self) -> usize {
        (self.0 / 4).min(32 * 1024)
    }

    /// A part of a checkpoint.
    pub fn part(self) -> usize {
        (self.0 / 2).min(128 * 1024)
    }

    /// Most parts of a checkpoint of this many bytes.
    pub fn parts(self, checkpoint: usize) -> usize {
        checkpoint.div_ceil(self.part() - LARGEST_ELEMENT).max(1)
    }

    /// Bytes of the records, or of the part of a state, in one response to a connector; one record
    /// may be larger, up to [`SizeLimits::record`].
    pub fn page(self) -> usize {
        self.0.min(128 * 1024)
    }

    /// Chat servers in a response to a gate.
    pub fn reports(self) -> usize {
        self.page() / ChatReport::MOST_BYTES
    }

    /// Bytes of old messages in one response, measured as JSON; one message may be larger.
    pub fn history(self) -> usize {
        // A page becomes one response to a client, and clients take at most 64 KiB of JSON.
        (self.0 / 2).min(40 * 1024)
    }

    /// Counts the records that fit into one page, at least one.
    pub fn count_fitting<'a>(self, records: impl Iterator<Item = &'a Record>) -> usize {
        let mut bytes = 0;
        let fits = |record: &&Record| {
            bytes += record.size();
            bytes <= self.page()
        };
        // One at least, or a reader behind a large record would never get on.
        records.take_while(fits).count().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_go_together() {
        for payload in [SizeLimits::MIN_PAYLOAD, 64 * 1024, 1024 * 1024, 64 * 1024 * 1024] {
            let size_limits = SizeLimits::for_payload(payload).unwrap();
            assert!(
                size_limits.expulsions() + size_limits.proposal() + size_limits.checkpoint() <= size_limits.record()
            );
            assert!(size_limits.part() + size_limits.proposal() <= size_limits.record());
            assert!(size_limits.draft() >= size_limits.proposal() && size_limits.part() > 4 * LARGEST_ELEMENT);
            assert!(SizeLimits::required_payload(size_limits.record()) <= payload);
        }
        assert_eq!(SizeLimits::for_payload(1024 * 1024), Some(SizeLimits::default()));
        assert_eq!(SizeLimits::for_payload(SizeLimits::MIN_PAYLOAD - 1), None);
        assert_eq!(SizeLimits::for_running_broker(1), SizeLimits::smallest());
        assert_eq!((SizeLimits::smallest().reports(), SizeLimits::default().reports()), (52, 512));
    }
}
