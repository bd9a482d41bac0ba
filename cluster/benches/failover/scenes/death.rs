//! Each chat server in turn is killed under load, stays dead, and comes back.

use std::cell::Cell;
use std::time::Duration;

use shared::dispatcher::Strategy;
use tokio::time::{Instant, sleep};

use super::{EVERY, ROOMS, Setting, due_within};
use crate::configuration::chat_id;
use crate::crowd::{Answer, Crowd};
use crate::deployment::{Deployment, Layout};
use crate::figures::{COLUMNS, Durations};
use crate::verdict::Verdict;

const CHATS: usize = 3;
const BEFORE: Duration = Duration::from_secs(5);
const DEAD: Duration = Duration::from_secs(15);
const BACK: Duration = Duration::from_secs(8);

/// No send to a room of another chat server may take longer.
const OTHERS_WITHIN: Duration = Duration::from_millis(250);

/// After a death, each of its rooms must have acknowledged something by then.
const SERVES_WITHIN: Duration = Duration::from_secs(3);

/// When a chat server was killed, when it was ready again, and when the next thing happened.
struct Death {
    chat: usize,
    killed: Instant,
    back: Instant,
    over: Instant,
}

pub(super) async fn run(setting: &Setting, verdict: &mut Verdict) {
    let mut deployment = Deployment::start(&Layout::three(setting.traced)).await;
    let mut crowd = Crowd::gather(&deployment, 3, ROOMS).await;
    let rooms = crowd.rooms();
    let goes_on = Cell::new(true);
    let began = Instant::now();
    let kills = async {
        sleep(BEFORE).await;
        let mut deaths = Vec::new();
        for chat in 1..=CHATS {
            deaths.push(death(&mut deployment, chat).await);
        }
        goes_on.set(false);
        deaths
    };
    let (talk, deaths) = tokio::join!(crowd.talk(EVERY, &goes_on), kills);
    println!("  {:<34} {:>8} {:>8} {COLUMNS}", "pauses", "messages", "repeated");
    row("all rooms before", due_within(&talk.answers, began, deaths[0].killed));
    deaths.iter().for_each(|death| death.show(&talk.answers, &rooms, verdict));
    crowd.heard().await.judge(&talk, verdict);
    deployment.end(verdict);
}

async fn death(deployment: &mut Deployment, chat: usize) -> Death {
    let killed = Instant::now();
    deployment.process_mut(&chat_id(chat)).kill();
    sleep(DEAD).await;
    deployment.run(&chat_id(chat)).await;
    let back = Instant::now();
    sleep(BACK).await;
    Death { chat, killed, back, over: Instant::now() }
}

impl Death {
    fn show(&self, answers: &[Answer], rooms: &[String], verdict: &mut Verdict) {
        let is_its = |room: usize| Strategy::default().index(&rooms[room], CHATS) == Some(self.chat - 1);
        let chat = chat_id(self.chat);
        for (when, from, to) in [("dead", self.killed, self.back), ("back", self.back, self.over)] {
            let within = || due_within(answers, from, to);
            row(&format!("{chat} is {when}: its rooms"), within().filter(|answer| is_its(answer.room)));
            row(&format!("{chat} is {when}: others"), within().filter(|answer| !is_its(answer.room)));
        }
        let others = due_within(answers, self.killed, self.over).filter(|answer| !is_its(answer.room));
        let longest = others.map(Answer::pause).max().unwrap_or_default();
        verdict.promise(longest <= OTHERS_WITHIN, &format!("others' rooms pause 250 ms at most: {longest:.1?}"));
        let its: Vec<_> = (0..rooms.len()).filter(|room| is_its(*room)).collect();
        let serves: Durations = its.iter().filter_map(|room| self.serves_again(answers, *room)).collect();
        // A room that nobody asked could not show it earlier.
        let what = format!("its {} rooms serve within 3 s of the kill: {:.2?}", its.len(), serves.max());
        verdict.promise(serves.count() == its.len() && serves.max() <= SERVES_WITHIN, &what);
    }

    /// From the kill to the first answer to something that was due after it.
    fn serves_again(&self, answers: &[Answer], room: usize) -> Option<Duration> {
        let after = answers.iter().filter(|answer| answer.room == room && answer.due >= self.killed);
        after.map(|answer| answer.answered - self.killed).min()
    }
}

fn row<'a>(name: &str, answers: impl Iterator<Item = &'a Answer>) {
    let answers: Vec<_> = answers.collect();
    let repeats: usize = answers.iter().map(|answer| answer.repeats).sum();
    let pauses: Durations = answers.iter().map(|answer| answer.pause()).collect();
    println!("  {name:<34} {:>8} {repeats:>8} {pauses}", answers.len());
}
