//! The thread that wakes senders when messages are due.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::run_state::RunState;
use super::schedule::Schedule;

/// The shortest sleep.
// At rates whose messages are nearer to each other, several are sent together: shorter sleeps would
// take processor time from the servers on the same machine.
const SHORTEST: Duration = Duration::from_micros(50);
/// The longest sleep. Dropping the timer ends a sleep at once.
const LONGEST: Duration = Duration::from_secs(1);

/// Wakes senders until it is dropped.
#[derive(Debug)]
pub(super) struct SendTimer {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SendTimer {
    /// Wakes each sender when its turn is.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(run: Arc<RunState>, schedule: Schedule) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let run = move || wake(&run, &schedule, &until);
        // A thread, not a timer of the runtime: those fire up to a millisecond or two late, and the
        // delay would be measured as the servers' latency.
        let thread = thread::Builder::new().name("timer".to_owned()).spawn(run)?;
        Ok(Self { ended, thread: Some(thread) })
    }
}

impl Drop for SendTimer {
    fn drop(&mut self) {
        // The flag hands over no data, so it needs no stronger order.
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It never panics.
            thread.join().ok();
        }
    }
}

fn wake(run: &RunState, schedule: &Schedule, ended: &AtomicBool) {
    let mut turn = 0;
    while !ended.load(Ordering::Relaxed) {
        let now = run.now();
        while schedule.due(turn) <= now {
            run.waker(schedule.sender(turn)).wake();
            turn += 1;
        }
        thread::park_timeout(schedule.until(turn, run.now()).clamp(SHORTEST, LONGEST));
    }
}
