//! The write queue of one client: framed packages, bounded in bytes. A slow consumer is kicked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use runtime::metrics::Metrics;
use thiserror::Error;
use tokio::sync::Notify;

use super::KickReason;

/// Bytes up to which packages are put together into one websocket frame.
pub const FRAME: usize = 16 * 1024;

/// Pieces for which an idle queue keeps room.
// They take few bytes, and save an allocation for each message in a quiet room.
const KEPT: usize = 4;

/// A handle on the write queue of one client. Clones are the same queue.
// An idle queue holds next to nothing: most clients of a large server are idle.
#[derive(Debug, Clone)]
pub struct WriteQueue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Mutex<Queue>,
    changed: Notify,
    most: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    bytes: usize,
    closing: bool,
    has_overflowed: bool,
}

/// Framed packages that were queued together.
#[derive(Debug)]
struct Piece {
    packages: Bytes,
    count: usize,
}

/// The client is disconnected, or about to be; nothing more reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the session is closed")]
pub struct WriteQueueClosed;

/// The next thing to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A websocket frame of one or more packages.
    Frame(Bytes),
    /// Nothing now.
    Nothing,
    /// Nothing any more: close.
    Close,
}

impl WriteQueue {
    pub(super) fn new(most: usize, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner { queue: Mutex::default(), changed: Notify::new(), most, metrics }))
    }

    /// Queues a framed package.
    ///
    /// # Errors
    /// As [`Self::push_all`].
    pub fn push(&self, package: Bytes) -> Result<(), WriteQueueClosed> {
        self.push_all(package, 1)
    }

    /// Queues this many framed packages in one piece.
    ///
    /// # Errors
    /// If the session is closed. A push over the bound closes it with a kick, and counts it.
    pub fn push_all(&self, packages: Bytes, count: usize) -> Result<(), WriteQueueClosed> {
        let mut queue = self.queue();
        if queue.closing {
            return Err(WriteQueueClosed);
        }
        if queue.bytes + packages.len() > self.0.most {
            // Dropping single packages instead would leave a gap that the client cannot see.
            self.0.metrics.sessions_closed_slow.add();
            self.0.metrics.sessions_kicked.slow.add();
            queue.has_overflowed = true;
            queue.replace(KickReason::Slow.package());
            drop(queue);
            self.0.changed.notify_one();
            return Err(WriteQueueClosed);
        }
        let was_empty = queue.pieces.is_empty();
        queue.bytes += packages.len();
        queue.pieces.push_back(Piece { packages, count });
        drop(queue);
        self.0.metrics.packages_sent.add_many(count as u64);
        // Only the first piece wakes the writer, which takes all that follow.
        if was_empty {
            self.0.changed.notify_one();
        }
        Ok(())
    }

    /// Queues a kick behind everything that waits, and closes.
    pub fn kick(&self, reason: KickReason) {
        let mut queue = self.queue();
        if !queue.closing {
            queue.pieces.push_back(Piece { packages: reason.package(), count: 1 });
            queue.closing = true;
            reason.counter(&self.0.metrics.sessions_kicked).add();
        }
        drop(queue);
        self.0.changed.notify_one();
    }

    /// Closes when all that waits is written.
    pub fn close(&self) {
        self.queue().closing = true;
        self.0.changed.notify_one();
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Returns true if it was closed because the client reads too slowly.
    pub(super) fn has_overflowed(&self) -> bool {
        self.queue().has_overflowed
    }

    /// Returns true if it accepts nothing more.
    pub fn is_closing(&self) -> bool {
        self.queue().closing
    }

    /// Completes when [`WriteQueue::next`] may return something new.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Takes what is to be written next: as many packages as one frame holds, what was queued in
    /// one piece without copying it.
    pub(super) fn next(&self) -> Next {
        let mut queue = self.queue();
        let Some(Piece { packages: first, mut count }) = queue.pieces.pop_front() else {
            return if queue.closing { Next::Close } else { Next::Nothing };
        };
        let mut taken = first.len();
        let frame = if queue.fits(taken) {
            let mut frame = BytesMut::with_capacity(FRAME.min(queue.bytes.max(taken)));
            frame.extend_from_slice(&first);
            while queue.fits(taken)
                && let Some(piece) = queue.pieces.pop_front()
            {
                count += piece.count;
                taken += piece.packages.len();
                frame.extend_from_slice(&piece.packages);
            }
            frame.freeze()
        } else {
            first
        };
        queue.took(taken);
        drop(queue);
        self.0.metrics.frame_packages.add(count);
        Next::Frame(frame)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while holding the lock.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Drops all that waits for this one last package.
    fn replace(&mut self, last: Bytes) {
        self.pieces = VecDeque::from([Piece { packages: last, count: 1 }]);
        self.bytes = 0;
        self.closing = true;
    }

    /// Returns true if the next piece fits into a frame that has `taken` bytes.
    fn fits(&self, taken: usize) -> bool {
        self.pieces.front().is_some_and(|piece| taken + piece.packages.len() <= FRAME)
    }

    fn took(&mut self, bytes: usize) {
        // A kick is not counted: it is sent even if the queue is full.
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.pieces.is_empty() && self.pieces.capacity() > KEPT {
            self.pieces = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_queue() -> WriteQueue {
        WriteQueue::new(40_000, Metrics::new())
    }

    fn package(bytes: usize) -> Bytes {
        vec![7; bytes].into()
    }

    #[test]
    fn queued_packages_are_written_in_one_frame() {
        let write_queue = write_queue();
        for _ in 0..10 {
            write_queue.push(package(100)).unwrap();
        }
        assert_eq!(write_queue.next(), Next::Frame(package(1_000)));
        assert_eq!(write_queue.next(), Next::Nothing);
    }

    #[test]
    fn one_package_is_not_copied_and_frames_are_bounded() {
        let write_queue = write_queue();
        let first = package(FRAME);
        write_queue.push(first.clone()).unwrap();
        write_queue.push(package(FRAME)).unwrap();
        let Next::Frame(frame) = write_queue.next() else { panic!() };
        assert_eq!(frame.as_ptr(), first.as_ptr());
        assert_eq!(frame.len(), FRAME);
    }

    #[test]
    fn a_slow_consumer_is_kicked() {
        let write_queue = write_queue();
        write_queue.push(package(30_000)).unwrap();
        assert_eq!(write_queue.push(package(30_000)), Err(WriteQueueClosed));
        assert_eq!(write_queue.next(), Next::Frame(KickReason::Slow.package()));
        assert_eq!(write_queue.next(), Next::Close);
        assert_eq!(write_queue.0.metrics.sessions_closed_slow.get(), 1);
    }

    #[test]
    fn accepted_packages_are_written_before_the_close() {
        let write_queue = write_queue();
        write_queue.push(package(10)).unwrap();
        write_queue.kick(KickReason::NameTaken);
        write_queue.close();
        assert_eq!(write_queue.push(package(1)), Err(WriteQueueClosed));
        let Next::Frame(frame) = write_queue.next() else { panic!() };
        assert!(frame.ends_with(b"\"name-taken\"}"));
        assert_eq!(write_queue.next(), Next::Close);
        write_queue.kick(KickReason::Resumed);
        let kicked = &write_queue.0.metrics.sessions_kicked;
        assert_eq!((kicked.name_taken.get(), kicked.get()), (1, 1), "a closed session is not kicked");
    }
}
