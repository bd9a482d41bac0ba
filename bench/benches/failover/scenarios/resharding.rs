//! Adds and removes chat servers by edits of `servers.json`, under load; measures the rooms that
//! move, and their pauses.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::{EVERY, ROOMS, ScenarioSettings, due_within};
use testkit::chat_id;

use crate::deployment::{Deployment, Layout};
use crate::durations::{COLUMNS, Durations};
use crate::promise_report::PromiseReport;
use crate::room_owners;
use crate::room_pairs::{Response, RoomPairs};

/// Between an entry and its process, where the one is there before the other.
const BETWEEN: Duration = Duration::from_secs(3);

/// Each room has several messages in a step.
const STEP: Duration = Duration::from_secs(10);

/// The chat servers at first.
const FIRST: &[usize] = &[1, 2, 3];

/// One edit.
struct Step {
    name: &'static str,
    /// The chat servers after it.
    chats: &'static [usize],
    process: Change,
}

/// The change of processes.
#[derive(Clone, Copy)]
enum Change {
    /// The process starts when its entry is there.
    StartsAfter(usize),
    /// The process starts with the new list, before others have it.
    StartsBefore(usize),
    /// The process ends when it owns nothing.
    Ends(usize),
}

const STEPS: [Step; 6] = [
    Step { name: "added last, entry first", chats: &[1, 2, 3, 4], process: Change::StartsAfter(4) },
    Step { name: "removed last", chats: &[1, 2, 3], process: Change::Ends(4) },
    Step { name: "added last, process first", chats: &[1, 2, 3, 4], process: Change::StartsBefore(4) },
    Step { name: "removed last again", chats: &[1, 2, 3], process: Change::Ends(4) },
    Step { name: "removed first", chats: &[2, 3], process: Change::Ends(1) },
    Step { name: "added first, entry first", chats: &[1, 2, 3], process: Change::StartsAfter(1) },
];

/// The end of a step.
struct Moment {
    at: Instant,
    /// Each room's owner then: the author of its last record.
    owners: Vec<String>,
}

pub(super) async fn run(options: &ScenarioSettings, promises: &mut PromiseReport) {
    let mut deployment = Deployment::start(&Layout::three(options.traced)).await;
    let mut pairs = RoomPairs::enter_all(&deployment, 3, ROOMS).await;
    let rooms = pairs.rooms();
    let running = Cell::new(true);
    let steps = async {
        sleep(STEP / 2).await;
        let mut moments = vec![Moment::now(&deployment, &rooms).await];
        for step in &STEPS {
            let over = Instant::now() + STEP;
            step.take(&mut deployment).await;
            sleep_until(over).await;
            moments.push(Moment::now(&deployment, &rooms).await);
        }
        running.set(false);
        moments
    };
    let (results, moments) = tokio::join!(pairs.send_messages(EVERY, &running), steps);
    println!("  {:<34} {:>5} {:>9} {:>9} {COLUMNS}", "pauses", "rooms", "formula", "observed");
    let mut before = FIRST;
    for (step, pair) in STEPS.iter().zip(moments.windows(2)) {
        let moves = Moves::new(&rooms, [before, step.chats], [&pair[0].owners, &pair[1].owners]);
        moves.show(step.name, &due_within(&results.responses, pair[0].at, pair[1].at).collect::<Vec<_>>());
        moves.report(step.name, promises);
        before = step.chats;
    }
    pairs.check_deliveries().await.report(&results, promises);
    deployment.end(promises);
}

impl Step {
    async fn take(&self, deployment: &mut Deployment) {
        match self.process {
            Change::StartsAfter(chat) => {
                deployment.configuration.set_chats(self.chats);
                sleep(BETWEEN).await;
                deployment.run(&chat_id(chat)).await;
            }
            Change::StartsBefore(chat) => {
                let second = deployment.configuration.second_directory(self.chats);
                deployment.run_with(&chat_id(chat), &second).await;
                sleep(BETWEEN).await;
                deployment.configuration.set_chats(self.chats);
            }
            Change::Ends(chat) => {
                deployment.configuration.set_chats(self.chats);
                let process = deployment.process(&chat_id(chat));
                assert!(process.wait_for_output("it owns nothing, and can be stopped").await, "{}", process.output());
                process.stop().await;
            }
        }
    }
}

impl Moment {
    async fn now(deployment: &Deployment, rooms: &[String]) -> Self {
        let owners = room_owners::observed(deployment, rooms).await;
        Self { at: Instant::now(), owners }
    }
}

/// Rooms that have another home after a step.
struct Moves {
    rooms: usize,
    formula: BTreeSet<usize>,
    observed: BTreeSet<usize>,
    /// Rooms whose owner is not the formula's.
    astray: usize,
}

impl Moves {
    fn new(rooms: &[String], chats: [&[usize]; 2], owners: [&[String]; 2]) -> Self {
        let homes = chats.map(|chats| room_owners::by_formula(rooms, chats, None));
        let differ = |pair: [&[String]; 2]| (0..rooms.len()).filter(|room| pair[0][*room] != pair[1][*room]).collect();
        let astray = (0..rooms.len()).filter(|room| homes[1][*room] != owners[1][*room]).count();
        Self { rooms: rooms.len(), formula: differ([&homes[0], &homes[1]]), observed: differ(owners), astray }
    }

    fn show(&self, step: &str, responses: &[&Response]) {
        let share = |count: usize| format!("{:.1} %", 100.0 * count as f64 / self.rooms as f64);
        let pauses = |is_moved: bool| -> Durations {
            let group = responses.iter().filter(|response| self.formula.contains(&response.room) == is_moved);
            group.map(|response| response.pause()).collect()
        };
        let (moved, observed) = (self.formula.len(), self.observed.len());
        let [name, rest] = ["moved", "not moved"].map(|group| format!("{step}: {group}"));
        println!("  {name:<34} {moved:>5} {:>9} {:>9} {}", share(moved), share(observed), pauses(true));
        println!("  {rest:<34} {:>5} {:>19} {}", self.rooms - moved, "", pauses(false));
    }

    fn report(&self, step: &str, promises: &mut PromiseReport) {
        let (moved, observed) = (self.formula.len(), self.observed.len());
        let what = format!("{step}: the rooms that move are the formula's: {moved}, {observed} observed");
        promises.check(self.formula == self.observed && self.astray == 0, &what);
    }
}
