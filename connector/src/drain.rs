//! When a connector that is about to end closes which share of its connections: evenly over a time. Pure.

use std::time::Duration;

/// A connector's way out.
#[derive(Debug)]
pub(crate) struct Drain {
    /// Those that are closed so far are those up to then.
    done: Duration,
    ends: Duration,
}

impl Drain {
    /// From `now` on, after a wait, over a time.
    pub(crate) fn new(now: Duration, wait: Duration, window: Duration) -> Self {
        let begins = now + wait;
        Self { done: begins, ends: begins + window }
    }

    /// How many of so many open connections are to be closed now; all of them in the end.
    pub(crate) fn due(&mut self, now: Duration, open: usize) -> usize {
        if now >= self.ends {
            return open;
        }
        let Some(past) = now.checked_sub(self.done) else { return 0 };
        // Those that are open are spread over what is left of the time.
        let left = self.ends - self.done;
        let due = past.as_secs_f64() / left.as_secs_f64() * open as f64;
        self.done = now;
        due.round() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_closed_evenly_and_in_the_end_all() {
        let ms = Duration::from_millis;
        let mut drain = Drain::new(ms(0), ms(1_000), ms(5_000));
        let (mut open, mut most) = (1_000, 0);
        for tick in 0..=120 {
            let due = drain.due(ms(tick * 50), open);
            assert!(due == 0 || tick * 50 >= 1_000);
            most = most.max(due);
            open -= due;
        }
        assert_eq!(open, 0);
        assert!((10..=15).contains(&most), "{most} at once");
    }
}
