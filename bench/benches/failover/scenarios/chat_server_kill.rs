//! Kills each chat server in turn under load, leaves it down, and starts it again.

use std::cell::Cell;
use std::time::Duration;

use model::placement;
use tokio::time::{Instant, sleep};

use super::{EVERY, ROOMS, ScenarioSettings, due_within};
use testkit::chat_id;

use crate::deployment::{Deployment, Layout};
use crate::durations::{COLUMNS, Durations};
use crate::promise_report::PromiseReport;
use crate::room_owners;
use crate::room_pairs::{Response, RoomPairs};

const CHATS: [usize; 3] = [1, 2, 3];
const BEFORE: Duration = Duration::from_secs(5);
const DEAD: Duration = Duration::from_secs(15);
const BACK: Duration = Duration::from_secs(8);

/// Time before a kill that counts to it: messages that are due then may be in flight when the
/// server dies.
const GAP: Duration = Duration::from_millis(500);

/// No send to a room of another chat server may take longer.
const OTHERS_WITHIN: Duration = Duration::from_millis(250);

/// After a death, each of its rooms must have acknowledged something by then.
const SERVES_WITHIN: Duration = Duration::from_secs(3);

/// The times of one kill, and the rooms' owners.
struct Kill {
    chat: usize,
    killed: Instant,
    back: Instant,
    over: Instant,
    /// The rooms' owners at the end of its death, and afterwards.
    owners: [Vec<String>; 2],
}

pub(super) async fn run(options: &ScenarioSettings, promises: &mut PromiseReport) {
    let mut deployment = Deployment::start(&Layout::three(options.traced)).await;
    let mut pairs = RoomPairs::enter_all(&deployment, 3, ROOMS).await;
    let rooms = pairs.rooms();
    let running = Cell::new(true);
    let began = Instant::now();
    let kills = async {
        sleep(BEFORE).await;
        let mut kills = Vec::new();
        for chat in CHATS {
            kills.push(kill(&mut deployment, chat, &rooms).await);
        }
        running.set(false);
        kills
    };
    let (results, kills) = tokio::join!(pairs.send_messages(EVERY, &running), kills);
    println!("  {:<34} {:>8} {:>8} {COLUMNS}", "pauses", "messages", "repeated");
    row("all rooms before", due_within(&results.responses, began, kills[0].killed - GAP));
    for kill in &kills {
        kill.show(&results.responses, &rooms);
        kill.report(&results.responses, &rooms, promises);
        kill.report_owners(&rooms, promises);
    }
    pairs.check_deliveries().await.report(&results, promises);
    deployment.end(promises);
}

async fn kill(deployment: &mut Deployment, chat: usize, rooms: &[String]) -> Kill {
    let killed = Instant::now();
    deployment.process(&chat_id(chat)).kill();
    sleep(DEAD).await;
    let while_dead = room_owners::observed(deployment, rooms).await;
    deployment.run(&chat_id(chat)).await;
    let back = Instant::now();
    sleep(BACK).await;
    let over = Instant::now();
    let afterwards = room_owners::observed(deployment, rooms).await;
    sleep(GAP).await;
    Kill { chat, killed, back, over, owners: [while_dead, afterwards] }
}

impl Kill {
    fn show(&self, responses: &[Response], rooms: &[String]) {
        let chat = chat_id(self.chat);
        for (when, from, to) in [("dead", self.killed - GAP, self.back), ("back", self.back, self.over)] {
            let within = || due_within(responses, from, to);
            row(&format!("{chat} is {when}: its rooms"), within().filter(|response| self.is_its(rooms, response.room)));
            row(&format!("{chat} is {when}: others"), within().filter(|response| !self.is_its(rooms, response.room)));
        }
    }

    fn report(&self, responses: &[Response], rooms: &[String], promises: &mut PromiseReport) {
        let longest = |is_its: bool| {
            let all = due_within(responses, self.killed - GAP, self.over);
            all.filter(|response| self.is_its(rooms, response.room) == is_its)
                .map(Response::pause)
                .max()
                .unwrap_or_default()
        };
        let [its, others] = [true, false].map(longest);
        promises.check(others <= OTHERS_WITHIN, &format!("others' rooms pause 250 ms at most: {others:.1?}"));
        let served: Vec<_> = (0..rooms.len()).filter(|room| self.is_its(rooms, *room)).collect();
        let serve: Durations = served.iter().filter_map(|room| self.serves_again(responses, *room)).collect();
        // A room has a message once in `EVERY`: it may have served earlier than the measurement
        // shows.
        let (count, slowest) = (served.len(), serve.max());
        let what = format!("its {count} rooms serve within 3 s of the kill: {slowest:.2?}, longest pause {its:.2?}");
        promises.check(serve.count() == count && slowest <= SERVES_WITHIN, &what);
    }

    /// Checks that failover owners served its rooms, and no others, and that the rooms went home.
    fn report_owners(&self, rooms: &[String], promises: &mut PromiseReport) {
        let formula = [Some(self.chat), None].map(|dead| room_owners::by_formula(rooms, &CHATS, dead));
        let moved = self.owners[0].iter().zip(&self.owners[1]).filter(|(dead, back)| dead != back).count();
        let share = 100.0 * moved as f64 / rooms.len() as f64;
        let what = format!("others stand in for its rooms, and give them back: {moved} rooms, {share:.1} %");
        promises.check(self.owners == formula, &what);
    }

    fn is_its(&self, rooms: &[String], room: usize) -> bool {
        placement::index(&rooms[room], CHATS.len()) == Some(self.chat - 1)
    }

    /// Returns the time from the kill to the first acknowledgement of a message that was due after
    /// it.
    fn serves_again(&self, responses: &[Response], room: usize) -> Option<Duration> {
        let after = responses.iter().filter(|response| response.room == room && response.due >= self.killed);
        after.map(|response| response.responded - self.killed).min()
    }
}

fn row<'a>(name: &str, responses: impl Iterator<Item = &'a Response>) {
    let responses: Vec<_> = responses.collect();
    let repeats: usize = responses.iter().map(|response| response.repeats).sum();
    let pauses: Durations = responses.iter().map(|response| response.pause()).collect();
    println!("  {name:<34} {:>8} {repeats:>8} {pauses}", responses.len());
}
