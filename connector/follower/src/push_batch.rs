//! Batches the pushes of one room: sessions with the same pushes get them in one write. Pure.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// Framed pushes for the same sessions, and responses that follow them.
// Being woken and one write cost the same for one push as for sixteen, so a batch costs a session
// what a single push would.
#[derive(Debug)]
pub struct PushBatch {
    /// Most bytes of more than one push.
    max_bytes: usize,
    to: Arc<[u64]>,
    pushes: Vec<Bytes>,
    bytes: usize,
    /// The `seq` of the last message, if it was pushed to all sessions in `to`.
    seq_for_all: Option<u64>,
    responses: Vec<(u64, Bytes)>,
}

/// A batch to hand over in this order: the pushes to each session, then each response to its own.
#[derive(Debug, PartialEq, Eq)]
pub struct FlushedBatch {
    pub to: Arc<[u64]>,
    /// Framed packages, concatenated.
    pub pushes: Bytes,
    pub count: usize,
    pub responses: Vec<(u64, Bytes)>,
}

impl PushBatch {
    /// Returns an empty batch; several pushes take at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, to: Arc::default(), pushes: Vec::new(), bytes: 0, seq_for_all: None, responses: Vec::new() }
    }

    /// Returns true if a push for these sessions can join the batch and keep its order.
    pub fn accepts_push(&self, to: &Arc<[u64]>, push: &Bytes) -> bool {
        self.pushes.is_empty()
            || (self.bytes + push.len() <= self.max_bytes && (Arc::ptr_eq(&self.to, to) || self.to == *to))
    }

    /// Adds a push that the batch accepts; `seq_for_all` is the `seq` of a message to the whole
    /// room.
    pub fn push(&mut self, to: Arc<[u64]>, push: Bytes, seq_for_all: Option<u64>) {
        self.to = to;
        self.seq_for_all = seq_for_all;
        self.bytes += push.len();
        self.pushes.push(push);
    }

    /// Returns true if the response to the message with this `seq` may be sent after later pushes.
    // The sender of a message to all receives it as a push as well, and that push marks its
    // position. A whisper is not pushed to its sender: the response alone marks its position, so it
    // must not move.
    pub fn accepts_response(&self, seq: u64) -> bool {
        self.seq_for_all == Some(seq)
    }

    /// Adds a response that the batch accepts.
    pub fn add_response(&mut self, session: u64, response: Bytes) {
        self.responses.push((session, response));
    }

    /// Takes the batch and leaves an empty one.
    pub fn take(&mut self) -> FlushedBatch {
        let count = self.pushes.len();
        let pushes = match self.pushes.pop() {
            Some(only) if count == 1 => only,
            last => {
                let mut together = BytesMut::with_capacity(self.bytes);
                self.pushes.drain(..).chain(last).for_each(|push| together.extend_from_slice(&push));
                together.freeze()
            }
        };
        self.bytes = 0;
        self.seq_for_all = None;
        FlushedBatch { to: std::mem::take(&mut self.to), pushes, count, responses: std::mem::take(&mut self.responses) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 16 * 1024;

    fn to(sessions: &[u64]) -> Arc<[u64]> {
        sessions.into()
    }

    #[test]
    fn pushes_to_the_same_sessions_are_batched_and_responses_follow() {
        let mut batch = PushBatch::new(FRAME);
        for (seq, session, push) in [(7, 1, "a"), (8, 2, "b"), (9, 1, "c")] {
            let push = Bytes::from(push);
            assert!(batch.accepts_push(&to(&[1, 2]), &push));
            batch.push(to(&[1, 2]), push, Some(seq));
            assert!(batch.accepts_response(seq));
            batch.add_response(session, "sent".into());
        }
        let responses = [1, 2, 1].map(|session| (session, Bytes::from("sent"))).to_vec();
        assert_eq!(batch.take(), FlushedBatch { to: to(&[1, 2]), pushes: "abc".into(), count: 3, responses });
        assert_eq!(batch.take(), FlushedBatch { to: to(&[]), pushes: Bytes::new(), count: 0, responses: Vec::new() });
    }

    #[test]
    fn a_response_to_a_whisper_keeps_its_place() {
        let mut batch = PushBatch::new(FRAME);
        assert!(!batch.accepts_response(7), "a whisper to another connector");
        batch.push(to(&[1, 2]), "a".into(), Some(6));
        assert!(!batch.accepts_response(7), "a whisper behind a message to all");
        batch.take();
        assert!(!batch.accepts_response(6), "a batch that was taken");
        batch.push(to(&[2]), "b".into(), None);
        assert!(!batch.accepts_response(7), "a whisper to a local session");
    }

    #[test]
    fn one_push_is_not_copied() {
        let mut batch = PushBatch::new(FRAME);
        let push = Bytes::from(vec![7; 100]);
        batch.push(to(&[1]), push.clone(), None);
        assert_eq!(batch.take().pushes.as_ptr(), push.as_ptr());
    }

    #[test]
    fn other_sessions_and_large_pushes_are_not_batched() {
        let mut batch = PushBatch::new(FRAME);
        batch.push(to(&[1, 2]), "a".into(), None);
        assert!(!batch.accepts_push(&to(&[1]), &"b".into()));
        assert!(!batch.accepts_push(&to(&[1, 2]), &vec![7; FRAME].into()));
        batch.take();
        assert!(batch.accepts_push(&to(&[1]), &vec![7; 2 * FRAME].into()));
    }
}
