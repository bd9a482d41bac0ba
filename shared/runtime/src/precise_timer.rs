//! A timer for times below a millisecond. The runtime's timers fire up to two milliseconds late:
//! their wheel and `epoll` both round up to a millisecond.

use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::watch;

/// A thread that sleeps on behalf of tasks. It ends when the timer is dropped.
#[derive(Debug)]
pub struct PreciseTimer {
    thread: Thread,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Number of the newest setting whose time is over.
    fired: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the newest setting.
    number: u64,
    command: Command,
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

    /// Lets [`Self::fired`] have the returned number after this time. A setting before it whose
    /// time is not over yet may fire with this one.
    pub fn set(&self, length: Duration) -> u64 {
        // A length instead of an instant: where tests pause the clock, the thread has another time
        // than the task.
        let mut state = self.shared.state();
        state.number += 1;
        state.command = Command::Sleep(length);
        let number = state.number;
        drop(state);
        self.thread.unpark();
        number
    }

    /// Returns the number of the newest setting.
    pub fn last(&self) -> u64 {
        self.shared.state().number
    }

    /// Returns the number of the newest setting whose time is over, as it changes.
    pub fn fired(&self) -> watch::Receiver<u64> {
        self.shared.fired.subscribe()
    }
}

impl Drop for PreciseTimer {
    fn drop(&mut self) {
        self.shared.state().command = Command::End;
        self.thread.unpark();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let mut state = self.state();
            let (number, command) = (state.number, mem::take(&mut state.command));
            drop(state);
            match command {
                Command::Wait => thread::park(),
                Command::Sleep(length) => {
                    sleep(length);
                    self.fired.send_replace(number);
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

    async fn wait(fired: &mut watch::Receiver<u64>, number: u64) {
        timeout(DEADLINE, fired.wait_for(|fired| *fired >= number)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn it_fires_for_each_time_that_it_is_set_and_never_early() {
        let timer = PreciseTimer::start().unwrap();
        let mut fired = timer.fired();
        for length in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(2)] {
            let began = Instant::now();
            let number = timer.set(length);
            assert_eq!(timer.last(), number);
            wait(&mut fired, number).await;
            assert!(began.elapsed() >= length, "{length:?}");
            assert_eq!(*fired.borrow(), number);
        }
    }

    #[tokio::test]
    async fn all_that_wait_see_it_and_a_wait_that_is_given_up_loses_nothing() {
        let timer = PreciseTimer::start().unwrap();
        let (mut one, mut other) = (timer.fired(), timer.fired());
        let number = timer.set(Duration::from_millis(5));
        assert!(timeout(Duration::ZERO, one.wait_for(|fired| *fired >= number)).await.is_err());
        tokio::join!(wait(&mut one, number), wait(&mut other, number));
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
