//! All users of one phase, in rooms of their own: started, observed, and stopped.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::placement;
use runtime::lifecycle::Lifecycle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::chaos_cluster::EntryPoints;
use crate::checker;
use crate::counts::Counts;
use crate::history::History;
use crate::plan::SERVERS;
use crate::user::{Behaviour, Commands, User, UserConfig};
use crate::user_status::{Statuses, UserStatus};

/// Of each chat server as many as of any other.
const ROOMS: usize = 2 * SERVERS;

/// Users in a room, besides the prober.
const TALKERS: usize = 4;

/// Messages in flight of most users, and of the first user of every second room, which keeps the
/// exact order.
const WINDOWS: [usize; 2] = [crate::pending::WINDOW, 1];

/// The longest that it may take until all is well again.
const RECOVERS_WITHIN: Duration = Duration::from_secs(45);

/// Time between two probes in a row: each makes all users send.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// The time between two looks at a condition.
const POLL: Duration = Duration::from_millis(5);

/// The rooms of phase `number`.
fn rooms(number: u64) -> Vec<String> {
    let is_at = |home: usize| move |room: &String| placement::index(room, SERVERS) == Some(home);
    let at = |home| (0..).map(|index| format!("act{number}-room{index}")).filter(is_at(home)).take(ROOMS / SERVERS);
    (0..SERVERS).flat_map(at).collect()
}

/// The users of a phase.
pub(crate) struct Users {
    histories: Vec<Arc<Mutex<History>>>,
    statuses: Arc<Statuses>,
    commands: watch::Sender<Commands>,
    lifecycle: Lifecycle,
}

/// A condition did not hold in time. The text names the users that it waits for.
#[derive(Debug)]
pub(crate) struct NotRecovered(pub(crate) String);

impl Users {
    /// Starts users in the rooms of phase `number`.
    pub(crate) fn start(entry_points: &EntryPoints, seed: u64, number: u64, counts: &Arc<Counts>) -> Self {
        let users = Self {
            histories: Vec::new(),
            statuses: Arc::default(),
            commands: watch::Sender::new(Commands::default()),
            lifecycle: Lifecycle::new(),
        };
        rooms(number).into_iter().enumerate().fold(users, |mut users, (index, room)| {
            let names: Vec<String> = (0..TALKERS).map(|mate| format!("p{}", index * TALKERS + mate)).collect();
            users.spawn_user("probe", &room, Behaviour::Prober, seed, entry_points, counts);
            for (mate, name) in names.iter().enumerate() {
                let window = WINDOWS[usize::from(mate == 0 && index % 2 == 0)];
                let mates = names.clone();
                let seed = seed.wrapping_add(number * 1_000 + (index * TALKERS + mate) as u64);
                users.spawn_user(name, &room, Behaviour::Talker { window, mates }, seed, entry_points, counts);
            }
            users
        })
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one user")]
    fn spawn_user(
        &mut self,
        name: &str,
        room: &str,
        behaviour: Behaviour,
        seed: u64,
        entry_points: &EntryPoints,
        counts: &Arc<Counts>,
    ) {
        let history = History { name: name.to_owned(), room: room.to_owned(), ..History::default() };
        let history = Arc::new(Mutex::new(history));
        self.histories.push(Arc::clone(&history));
        let user = User::new(UserConfig {
            behaviour,
            seed,
            entry_points: entry_points.clone(),
            history,
            statuses: Arc::clone(&self.statuses),
            counts: Arc::clone(counts),
            commands: self.commands.subscribe(),
        });
        self.lifecycle.spawn(user.run());
    }

    /// Makes many lose their connections.
    pub(crate) fn cut(&self) {
        self.commands.send_modify(|commands| commands.cuts += 1);
    }

    /// Waits until a message sent now is acknowledged in every room, and delivered to all members.
    pub(crate) async fn measure_recovery(&self) -> Result<Duration, NotRecovered> {
        let began = Instant::now();
        self.commands.send_modify(|commands| commands.probe += 1);
        let probe = self.commands.borrow().probe;
        self.wait_for_all("receive the probe", |status| !status.present || status.last_probe >= probe).await?;
        Ok(began.elapsed())
    }

    /// Probes repeatedly for this time. Returns the duration of the slowest recovery.
    pub(crate) async fn slowest_recovery(&self, time: Duration) -> Result<Duration, NotRecovered> {
        let until = Instant::now() + time;
        let mut slowest = Duration::ZERO;
        while Instant::now() < until {
            slowest = slowest.max(self.measure_recovery().await?);
            sleep(PROBE_EVERY).await;
        }
        Ok(slowest)
    }

    /// Waits until no member list has a departed user.
    pub(crate) async fn wait_until_forgotten(&self) -> Result<(), NotRecovered> {
        let forgetting = async {
            while checker::are_departed_known(&self.histories()) {
                sleep(POLL * 20).await;
            }
        };
        let done = tokio::time::timeout(RECOVERS_WITHIN, forgetting).await;
        done.map_err(|_| NotRecovered(format!("departed users are known after {RECOVERS_WITHIN:?}")))
    }

    /// Stops new messages, and waits until no outcome is unknown and all users know the same.
    pub(crate) async fn quiesce(&self) -> Result<(), NotRecovered> {
        self.commands.send_modify(|commands| commands.quiet = true);
        self.wait_for_all("be there with nothing unknown", |status| status.connected && !status.has_unknown).await?;
        self.measure_recovery().await?;
        for history in &self.histories {
            let mut history = history.lock().unwrap();
            history.is_member_at_end = !history.has_departed();
        }
        // Users who have just resumed may still be announced. The checker reports the member lists
        // that stay wrong.
        let settled = async {
            while !checker::users_agree(&self.histories()) {
                sleep(POLL * 20).await;
            }
        };
        tokio::time::timeout(RECOVERS_WITHIN, settled).await.ok();
        Ok(())
    }

    /// Returns the events of all users so far.
    pub(crate) fn histories(&self) -> Vec<History> {
        self.histories.iter().map(|history| history.lock().unwrap().clone()).collect()
    }

    /// Stops all users.
    pub(crate) async fn stop(self) {
        self.commands.send_modify(|commands| commands.end = true);
        self.lifecycle.stop(RECOVERS_WITHIN).await;
    }

    /// Waits until all `are` so.
    async fn wait_for_all(&self, what: &str, are: impl Fn(&UserStatus) -> bool) -> Result<(), NotRecovered> {
        let looking = async {
            while !self.statuses.failing(&are).is_empty() {
                sleep(POLL).await;
            }
        };
        let done = tokio::time::timeout(RECOVERS_WITHIN, looking).await;
        done.map_err(|_| {
            NotRecovered(format!("not all {what} within {RECOVERS_WITHIN:?}: {:#?}", self.statuses.failing(are)))
        })
    }
}
