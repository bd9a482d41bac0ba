//! A timer for times below a millisecond. The runtime's timers fire up to two milliseconds late:
//! their wheel and `epoll` both round up to a millisecond.

use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::Notify;

/// A thread that sleeps on behalf of one task. It ends when the timer is dropped.
#[derive(Debug)]
pub struct PreciseTimer {
    thread: Thread,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    command: Mutex<Command>,
    fired: Notify,
}

/// The next thing for the thread to do.
#[derive(Debug, Default)]
enum Command {
    #[default]
    Wait,
    Sleep(Duration),
    End,
}

impl PreciseTimer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let timer = shared.clone();
        let thread = thread::Builder::new().name("timer".to_owned()).spawn(move || timer.run())?;
        Ok(Self { thread: thread.thread().clone(), shared })
    }

    /// Lets [`Self::fired`] complete once, after this time. It must have completed since the timer
    /// was set before.
    pub fn set(&self, length: Duration) {
        // A length instead of an instant: where tests pause the clock, the thread has another time
        // than the task.
        *self.shared.command() = Command::Sleep(length);
        self.thread.unpark();
    }

    /// Completes when the time is over.
    pub async fn fired(&self) {
        self.shared.fired.notified().await;
    }
}

impl Drop for PreciseTimer {
    fn drop(&mut self) {
        *self.shared.command() = Command::End;
        self.thread.unpark();
    }
}

impl Shared {
    fn command(&self) -> MutexGuard<'_, Command> {
        // Nothing panics while holding the lock.
        self.command.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let command = mem::take(&mut *self.command());
            match command {
                Command::Wait => thread::park(),
                Command::Sleep(length) => {
                    sleep(length);
                    self.fired.notify_one();
                }
                Command::End => return,
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread runs no task")]
fn sleep(length: Duration) {
    thread::sleep(length);
}

#[cfg(test)]
mod tests {
    use testkit::eventually;
    use tokio::time::{Instant, timeout};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn it_fires_once_for_each_time_that_it_is_set_and_never_early() {
        let timer = PreciseTimer::start().unwrap();
        for length in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(2)] {
            let began = Instant::now();
            timer.set(length);
            timer.fired().await;
            assert!(began.elapsed() >= length, "{length:?}");
            assert!(timeout(Duration::from_millis(10), timer.fired()).await.is_err(), "{length:?}");
        }
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_loses_nothing() {
        let timer = PreciseTimer::start().unwrap();
        timer.set(Duration::from_millis(5));
        assert!(timeout(Duration::ZERO, timer.fired()).await.is_err());
        timeout(DEADLINE, timer.fired()).await.unwrap();
    }

    #[tokio::test]
    async fn its_thread_ends_with_it() {
        let timer = PreciseTimer::start().unwrap();
        let shared = Arc::downgrade(&timer.shared);
        timer.set(Duration::from_millis(1));
        drop(timer);
        eventually(DEADLINE, "the thread ends", async || shared.strong_count() == 0).await;
    }
}
