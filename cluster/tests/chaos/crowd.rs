//! All people of one act, in rooms of their own: brought together, asked how they are, and sent home.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::lifecycle::Lifecycle;
use shared::placement::Strategy;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::board::{Board, Standing};
use crate::checker;
use crate::counts::Counts;
use crate::diary::Diary;
use crate::person::{Habit, Orders, Person, Setting};
use crate::plan::SERVERS;
use crate::stage::Doors;

/// Of each chat server as many as of any other.
const ROOMS: usize = 2 * SERVERS;

/// People in a room, besides the one who probes.
const MATES: usize = 4;

/// Messages on the way of most people, and of every second room's first, who keeps the exact order.
const WINDOWS: [usize; 2] = [crate::drafts::WINDOW, 1];

/// The longest that it may take until all is well again.
const RECOVERS_WITHIN: Duration = Duration::from_secs(45);

/// Time between two probes in a row: each makes everybody talk.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The rooms of act `number`.
fn rooms(number: u64) -> Vec<String> {
    let is_at = |home: usize| move |room: &String| Strategy::default().index(room, SERVERS) == Some(home);
    let at = |home| (0..).map(|index| format!("act{number}-room{index}")).filter(is_at(home)).take(ROOMS / SERVERS);
    (0..SERVERS).flat_map(at).collect()
}

/// The people of an act.
pub(crate) struct Crowd {
    diaries: Vec<Arc<Mutex<Diary>>>,
    board: Arc<Board>,
    orders: watch::Sender<Orders>,
    lifecycle: Lifecycle,
}

/// Something did not become well again; says who waits for what.
#[derive(Debug)]
pub(crate) struct Stuck(pub(crate) String);

impl Crowd {
    /// Brings people together in the rooms of act `number`; they begin to talk.
    pub(crate) fn gather(doors: &Doors, seed: u64, number: u64, counts: &Arc<Counts>) -> Self {
        let crowd = Self {
            diaries: Vec::new(),
            board: Arc::default(),
            orders: watch::Sender::new(Orders::default()),
            lifecycle: Lifecycle::new(),
        };
        rooms(number).into_iter().enumerate().fold(crowd, |mut crowd, (index, room)| {
            let names: Vec<String> = (0..MATES).map(|mate| format!("p{}", index * MATES + mate)).collect();
            crowd.invite("probe", &room, Habit::Probes, seed, doors, counts);
            for (mate, name) in names.iter().enumerate() {
                let window = WINDOWS[usize::from(mate == 0 && index % 2 == 0)];
                let mates = names.clone();
                let seed = seed.wrapping_add(number * 1_000 + (index * MATES + mate) as u64);
                crowd.invite(name, &room, Habit::Talks { window, mates }, seed, doors, counts);
            }
            crowd
        })
    }

    #[expect(clippy::too_many_arguments, reason = "what one person is made of")]
    fn invite(&mut self, name: &str, room: &str, habit: Habit, seed: u64, doors: &Doors, counts: &Arc<Counts>) {
        let diary = Diary { name: name.to_owned(), room: room.to_owned(), ..Diary::default() };
        let diary = Arc::new(Mutex::new(diary));
        self.diaries.push(Arc::clone(&diary));
        let person = Person::new(Setting {
            habit,
            seed,
            doors: doors.clone(),
            diary,
            board: Arc::clone(&self.board),
            counts: Arc::clone(counts),
            orders: self.orders.subscribe(),
        });
        self.lifecycle.spawn(person.live());
    }

    /// Makes many lose their connections.
    pub(crate) fn cut(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }

    /// Waits until a message sent now was acknowledged in every room, and told to all who are there.
    pub(crate) async fn recovery(&self) -> Result<Duration, Stuck> {
        let began = Instant::now();
        self.orders.send_modify(|orders| orders.probe += 1);
        let probe = self.orders.borrow().probe;
        self.all("hear the probe", |standing| !standing.present || standing.heard >= probe).await?;
        Ok(began.elapsed())
    }

    /// Probes again and again for so long; says how long the slowest took.
    pub(crate) async fn slowest_within(&self, time: Duration) -> Result<Duration, Stuck> {
        let until = Instant::now() + time;
        let mut slowest = Duration::ZERO;
        while Instant::now() < until {
            slowest = slowest.max(self.recovery().await?);
            sleep(PROBE_EVERY).await;
        }
        Ok(slowest)
    }

    /// Waits until nobody knows of those any more who went for good.
    pub(crate) async fn forgets(&self) -> Result<(), Stuck> {
        let forgetting = async {
            while checker::are_gone_known(&self.diaries()) {
                sleep(LOOK_EVERY * 20).await;
            }
        };
        let done = tokio::time::timeout(RECOVERS_WITHIN, forgetting).await;
        done.map_err(|_| Stuck(format!("people who went are known after {RECOVERS_WITHIN:?}")))
    }

    /// Lets everybody come to an end, so that nothing is unknown and all know the same.
    pub(crate) async fn calm(&self) -> Result<(), Stuck> {
        self.orders.send_modify(|orders| orders.quiet = true);
        self.all("be there with nothing unknown", |standing| standing.connected && !standing.waits).await?;
        self.recovery().await?;
        for diary in &self.diaries {
            let mut diary = diary.lock().unwrap();
            diary.stayed = !diary.ends_early();
        }
        // Those who have just come back may still be announced; what remains wrong is for the checker to say.
        let settled = async {
            while !checker::users_agree(&self.diaries()) {
                sleep(LOOK_EVERY * 20).await;
            }
        };
        tokio::time::timeout(RECOVERS_WITHIN, settled).await.ok();
        Ok(())
    }

    /// What everybody noted so far.
    pub(crate) fn diaries(&self) -> Vec<Diary> {
        self.diaries.iter().map(|diary| diary.lock().unwrap().clone()).collect()
    }

    /// Sends everybody home.
    pub(crate) async fn end(self) {
        self.orders.send_modify(|orders| orders.end = true);
        self.lifecycle.stop(RECOVERS_WITHIN).await;
    }

    /// Waits until all `are` so.
    async fn all(&self, what: &str, are: impl Fn(&Standing) -> bool) -> Result<(), Stuck> {
        let looking = async {
            while !self.board.except(&are).is_empty() {
                sleep(LOOK_EVERY).await;
            }
        };
        let done = tokio::time::timeout(RECOVERS_WITHIN, looking).await;
        done.map_err(|_| Stuck(format!("not all {what} within {RECOVERS_WITHIN:?}: {:#?}", self.board.except(are))))
    }
}
