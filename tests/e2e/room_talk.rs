//! Rooms that talk while something is done to the servers: a speaker and a listener in each, and
//! nothing of what is acknowledged may be lost, doubled or out of order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use client::{ClientError, Event, Message};
use testkit::eventually;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::split_cluster::SplitCluster;
use crate::test_cluster::Member;

const LAST: &str = "the end";

/// The name of a room.
pub(crate) fn room(number: usize) -> String {
    format!("room-{number}")
}

/// The progress of the speakers, and the signal to end.
struct Progress {
    sent: Vec<AtomicUsize>,
    is_over: AtomicBool,
}

/// The acknowledged messages of a speaker by their `seq`, and its longest wait for one.
struct Spoken {
    seqs: Vec<u64>,
    longest: Duration,
}

/// A speaker and a listener in each room.
pub(crate) struct RoomTalk {
    progress: Arc<Progress>,
    speakers: JoinSet<(usize, Spoken)>,
    listeners: JoinSet<(usize, Vec<(String, u64)>)>,
}

impl RoomTalk {
    /// Starts in so many rooms; each speaker waits for this time between two messages.
    pub(crate) async fn start(split: &SplitCluster, rooms: usize, pace: Duration) -> Self {
        let sent = (0..rooms).map(|_| AtomicUsize::new(0)).collect();
        let progress = Arc::new(Progress { sent, is_over: AtomicBool::new(false) });
        let (mut speakers, mut listeners) = (JoinSet::new(), JoinSet::new());
        for number in 0..rooms {
            let listener = split.join(1, "listener", &room(number)).await;
            listeners.spawn(async move { (number, listen(listener).await) });
            let (speaker, progress) = (split.join(0, "speaker", &room(number)).await, Arc::clone(&progress));
            speakers.spawn(async move { (number, speak(speaker, (number, pace), &progress).await) });
        }
        Self { progress, speakers, listeners }
    }

    /// Waits until each room has committed this many more messages.
    pub(crate) async fn wait_for_more(&self, deadline: Duration, more: usize) {
        let counts = || self.progress.sent.iter().map(|sent| sent.load(Ordering::Relaxed));
        let before: Vec<usize> = counts().collect();
        let all = || counts().zip(&before).all(|(now, before)| now >= before + more);
        eventually(deadline, &format!("{more} messages in each room"), async || all()).await;
    }

    /// Ends the talk: everything that was acknowledged was received once and in order. Returns the
    /// number of messages, and the longest wait for an acknowledgement.
    pub(crate) async fn end(self) -> (usize, Duration) {
        self.progress.is_over.store(true, Ordering::Relaxed);
        let mut spoken = self.speakers.join_all().await;
        let mut received = self.listeners.join_all().await;
        spoken.sort_by_key(|(number, _)| *number);
        received.sort();
        for ((number, Spoken { seqs, .. }), (_, received)) in spoken.iter().zip(&received) {
            let texts = (0..seqs.len() - 1).map(|number| number.to_string()).chain([LAST.to_owned()]);
            let sent: Vec<_> = texts.zip(seqs.iter().copied()).collect();
            assert!(*received == sent, "room {number}: sent {sent:?}, received {received:?}");
            assert!(seqs.is_sorted_by(|before, after| before < after), "room {number}: {seqs:?}");
        }
        let messages = spoken.iter().map(|(_, spoken)| spoken.seqs.len()).sum();
        (messages, spoken.iter().map(|(_, spoken)| spoken.longest).max().unwrap_or_default())
    }
}

/// Sends numbers, each with its id until it is acknowledged.
async fn speak(member: Member, (room, pace): (usize, Duration), progress: &Progress) -> Spoken {
    let (mut seqs, mut longest) = (Vec::new(), Duration::ZERO);
    loop {
        let is_last = progress.is_over.load(Ordering::Relaxed);
        let text = if is_last { LAST.to_owned() } else { seqs.len().to_string() };
        let message = Message::to_all(&text).with_id(&format!("{room}-{}", seqs.len()));
        let began = Instant::now();
        let sent = loop {
            match member.chat.send_message(&message).await {
                Ok(sent) => break sent,
                // The outcome is unknown; the repeat with the same id resolves it.
                Err(ClientError::Refused { code: 503, .. }) => {}
                Err(error) => panic!("{}: {error}", member.name),
            }
        };
        longest = longest.max(began.elapsed());
        seqs.push(sent.seq);
        progress.sent[room].fetch_add(1, Ordering::Relaxed);
        if is_last {
            return Spoken { seqs, longest };
        }
        if !pace.is_zero() {
            sleep(pace).await;
        }
    }
}

/// Receives until the end. A gap, or the end of the connection, fails the test.
async fn listen(mut member: Member) -> Vec<(String, u64)> {
    let mut received = Vec::new();
    loop {
        match member.next_event().await {
            Event::Chat(chat) => {
                let is_last = chat.msg == LAST;
                received.push((chat.msg, chat.seq));
                if is_last {
                    return received;
                }
            }
            Event::Add(_) => {}
            other => panic!("{} receives {other:?}", member.name),
        }
    }
}
