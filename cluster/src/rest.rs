//! When a process without a broker looks for work again. To be woken costs more than most of what is then done: threads that are
//! woken for each of many small things spend their time waking. So, when there is much, they let more come first, as network cards
//! do with their interrupts. Pure; times are arguments.

use std::time::Duration;

use runtime::batching::BatchTimer;
use tokio::time::Instant;

/// The rests of all threads of a process: they look at the same times.
#[derive(Debug)]
pub(crate) struct Rest {
    pace: BatchTimer,
    next: Option<Instant>,
}

impl Rest {
    /// Nobody looked for work until now; looks are so far apart when there are many.
    pub(crate) fn new(gap: Duration, now: Instant) -> Self {
        Self { pace: BatchTimer::new(gap, now), next: None }
    }

    /// A thread has nothing to do: until when it is to rest before it looks, if at all.
    pub(crate) fn until(&mut self, now: Instant) -> Option<Instant> {
        if self.next.is_none_or(|next| next <= now) {
            self.next = self.pace.held_until(now);
            self.pace.sent(now);
        }
        self.next.filter(|next| *next > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_millis(3);

    #[tokio::test(start_paused = true)]
    async fn who_is_woken_rarely_never_rests() {
        let start = Instant::now();
        let mut rest = Rest::new(GAP, start);
        assert!((0..100).all(|number| rest.until(start + GAP * number).is_none()));
    }

    #[tokio::test(start_paused = true)]
    async fn all_threads_look_at_the_same_times_one_gap_apart() {
        let mut now = Instant::now();
        let mut rest = Rest::new(GAP, now);
        // Each look finds a tenth of a gap's work.
        let mut looks = Vec::new();
        for _ in 0..100 {
            if let Some(until) = rest.until(now) {
                assert_eq!(Some(until), rest.until(now), "another thread rests as long");
                now = until;
            }
            looks.push(now);
            now += GAP / 10;
        }
        let gaps: Vec<Duration> = looks.windows(2).skip(20).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| *gap == GAP), "{gaps:?}");
    }
}
