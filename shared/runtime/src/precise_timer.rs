//! A timer for times below a millisecond. The runtime's timers fire up to two milliseconds late:
//! their wheel and `epoll` both round up to a millisecond.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use alarm::Alarm;

/// A timer that any number of tasks wait for.
// A timer of the system that the runtime's own threads wait for. A thread that slept on behalf of the
// tasks would cost two changes of threads for each hold.
#[derive(Debug)]
pub struct PreciseTimer {
    alarm: Alarm,
    /// Number of the newest setting.
    number: Mutex<u64>,
    /// Number of the newest setting whose time is over.
    fired: watch::Sender<u64>,
}

impl PreciseTimer {
    /// Creates a timer that is not set.
    ///
    /// # Errors
    /// If the system has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { alarm: Alarm::new()?, number: Mutex::default(), fired: watch::Sender::default() })
    }

    /// Lets the returned number fire after this time. All settings before it fire now, if their time
    /// is not over yet.
    ///
    /// # Errors
    /// If the system refuses it.
    pub fn set(&self, length: Duration) -> io::Result<u64> {
        let mut number = self.number();
        self.fire(*number);
        // A length instead of an instant: where tests pause the clock, the system has another time
        // than the task.
        self.alarm.set(length)?;
        *number += 1;
        Ok(*number)
    }

    /// Returns the number of the newest setting.
    pub fn last(&self) -> u64 {
        *self.number()
    }

    /// Completes when a setting has fired. Can be dropped while waiting without losing that.
    pub async fn fired(&self, number: u64) {
        let mut fired = self.fired.subscribe();
        loop {
            tokio::select! {
                // The sender is a part of the timer.
                _ = fired.wait_for(|fired| *fired >= number) => return,
                () = self.alarm.rings() => {
                    let number = self.number();
                    // Another task may have seen it first, and the timer may be set anew since.
                    if self.alarm.has_rung() {
                        self.fire(*number);
                    }
                }
            }
        }
    }

    fn fire(&self, number: u64) {
        self.fired.send_if_modified(|fired| std::mem::replace(fired, number) != number);
    }

    fn number(&self) -> MutexGuard<'_, u64> {
        // Nothing panics while holding the lock.
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(target_os = "linux")]
mod alarm {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// A timer of the system.
    #[derive(Debug)]
    pub(super) struct Alarm(AsyncFd<OwnedFd>);

    impl Alarm {
        #[expect(
            deprecated,
            reason = "its successor is unsafe code: the descriptor must stay open, as an owned one does"
        )]
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
        }

        /// Rings once after this time, and not for settings before.
        pub(super) fn set(&self, length: Duration) -> io::Result<()> {
            // Zero would turn it off.
            let length = Timespec::try_from(length.max(Duration::from_nanos(1))).map_err(io::Error::other)?;
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: length };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            Ok(())
        }

        /// Completes when it may have rung.
        pub(super) async fn rings(&self) {
            if let Ok(mut ready) = self.0.readable().await {
                // What is seen now is taken by `has_rung`, or was taken by another task.
                ready.clear_ready();
            }
        }

        /// Returns true, once, if it has rung since it was set.
        pub(super) fn has_rung(&self) -> bool {
            rustix::io::read(&self.0, &mut [0; 8]).is_ok()
        }
    }
}

/// For developers: servers run on Linux. It is late by the rounding of the runtime's timers.
#[cfg(not(target_os = "linux"))]
mod alarm {
    use std::io;
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::time::{Instant, sleep_until};

    #[derive(Debug, Default)]
    pub(super) struct Alarm(watch::Sender<Option<Instant>>);

    impl Alarm {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self::default())
        }

        pub(super) fn set(&self, length: Duration) -> io::Result<()> {
            self.0.send_replace(Some(Instant::now() + length));
            Ok(())
        }

        pub(super) async fn rings(&self) {
            let mut set = self.0.subscribe();
            let until = *set.borrow_and_update();
            tokio::select! {
                () = async { sleep_until(until.unwrap_or_else(Instant::now)).await }, if until.is_some() => {}
                _ = set.changed() => {}
            }
        }

        pub(super) fn has_rung(&self) -> bool {
            self.0.send_if_modified(|set| set.take_if(|until| *until <= Instant::now()).is_some())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;
    use tokio::time::{Instant, timeout};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    async fn wait(timer: &PreciseTimer, number: u64) {
        timeout(DEADLINE, timer.fired(number)).await.unwrap();
    }

    async fn wait_owned(timer: Arc<PreciseTimer>, number: u64) {
        wait(&timer, number).await;
    }

    #[tokio::test]
    async fn it_fires_for_each_time_that_it_is_set_and_never_early() {
        let timer = PreciseTimer::new().unwrap();
        for length in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(2)] {
            let began = Instant::now();
            let number = timer.set(length).unwrap();
            assert_eq!(timer.last(), number);
            wait(&timer, number).await;
            assert!(began.elapsed() >= length, "{length:?}");
            // Also for those who come late.
            wait(&timer, number).await;
        }
    }

    #[tokio::test]
    async fn all_that_wait_see_it_and_a_wait_that_is_given_up_loses_nothing() {
        let timer = PreciseTimer::new().unwrap();
        let far = timer.set(DEADLINE * 2).unwrap();
        assert!(timeout(Duration::ZERO, timer.fired(far)).await.is_err());
        let near = timer.set(Duration::from_millis(1)).unwrap();
        tokio::join!(wait(&timer, near), wait(&timer, near), wait(&timer, far));
    }

    #[tokio::test]
    async fn a_new_setting_fires_the_ones_before() {
        let timer = PreciseTimer::new().unwrap();
        let early = timer.set(DEADLINE * 2).unwrap();
        let waiting = wait(&timer, early);
        let late = timer.set(Duration::from_millis(1)).unwrap();
        tokio::join!(waiting, wait(&timer, late));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn none_of_many_tasks_misses_it() {
        let timer = Arc::new(PreciseTimer::new().unwrap());
        for _ in 0..300 {
            let number = timer.set(Duration::from_micros(50)).unwrap();
            let mut tasks = JoinSet::new();
            (0..4).for_each(|_| _ = tasks.spawn(wait_owned(timer.clone(), number)));
            tasks.join_all().await;
        }
    }
}
