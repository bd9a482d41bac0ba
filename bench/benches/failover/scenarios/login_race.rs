//! Logins of one name race over three connectors. The winner closes, and the next race begins at
//! once.

use std::time::Duration;

use client::{ChatClient, ClientError, Options};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::ScenarioSettings;
use crate::deployment::{Deployment, Layout};
use crate::durations::{COLUMNS, Durations};
use crate::promise_report::PromiseReport;

const ROUNDS: usize = 1_000;
const CONNECTORS: usize = 3;
const NAME: &str = "highlander";
const ROOM: &str = "arena";

/// Time before refused clients try again: the winner of the race before is just leaving.
const AGAIN: Duration = Duration::from_millis(5);

/// The longest after its last session closed that a name may be refused to all.
const FREE_WITHIN: Duration = Duration::from_secs(2);

/// The findings of all rounds.
#[derive(Default)]
struct RaceFindings {
    /// Time from the close of the session before to a successful login.
    logins: Vec<Duration>,
    /// Rounds in which all were refused once or more, since the session before was just going.
    tried_again: usize,
    /// Rounds with several winners, or with a winner that was not the only one able to send.
    not_one: usize,
    /// Rounds without a winner.
    locked_out: usize,
}

pub(super) async fn run(options: &ScenarioSettings, promises: &mut PromiseReport) {
    let deployment = Deployment::start(&Layout::three(options.traced)).await;
    let addresses: Vec<_> = (0..CONNECTORS).map(|index| deployment.configuration.connector_address(index)).collect();
    let rounds = options.rounds.unwrap_or(ROUNDS);
    let mut found = RaceFindings::default();
    let mut before = Vec::new();
    for _ in 0..rounds {
        before = found.round(&addresses, before).await;
    }
    let RaceFindings { logins, tried_again, not_one, locked_out } = found;
    println!(
        "  {rounds} rounds of {CONNECTORS} logins at once; {tried_again} tried again while the one before was going"
    );
    println!("  {:<34} {COLUMNS}", "");
    println!("  {:<34} {}", "from the close to the next login", logins.into_iter().collect::<Durations>());
    promises.check(not_one == 0, &format!("each time exactly one is in: {not_one} times not"));
    promises.check(locked_out == 0, &format!("one can log in again within 2 s: {locked_out} times not"));
    deployment.end(promises);
}

impl RaceFindings {
    /// Lets three clients race as soon as those before them close; returns the three for the next
    /// round.
    async fn round(&mut self, addresses: &[String], before: Vec<ChatClient>) -> Vec<ChatClient> {
        let connecting = addresses.iter().map(|address| ChatClient::connect(address, Options::default()));
        let clients: Vec<_> = join_all(connecting).await.into_iter().map(|client| client.unwrap().0).collect();
        before.iter().for_each(ChatClient::close);
        let closed = Instant::now();
        let mut attempts = 0;
        let inside = loop {
            let inside = race(&clients).await;
            attempts += 1;
            if !inside.is_empty() || closed.elapsed() > FREE_WITHIN {
                break inside;
            }
            sleep(AGAIN).await;
        };
        self.logins.push(closed.elapsed());
        self.tried_again += usize::from(attempts > 1);
        self.locked_out += usize::from(inside.is_empty());
        self.not_one += usize::from(inside.len() > 1 || !only_winner_can_send(&clients, &inside).await);
        clients
    }
}

/// Logs all in at once; returns the clients whose login succeeded.
async fn race(clients: &[ChatClient]) -> Vec<usize> {
    let responses = join_all(clients.iter().map(|client| client.enter(NAME, ROOM))).await;
    let is_in = |response: &Result<_, _>| match response {
        Ok(_) => true,
        Err(ClientError::Refused { code: 500, reason, .. }) if reason.starts_with("name-taken") => false,
        Err(error) => panic!("{error}"),
    };
    (0..clients.len()).filter(|client| is_in(&responses[*client])).collect()
}

/// Returns true if the winner can send, and no other client.
async fn only_winner_can_send(clients: &[ChatClient], inside: &[usize]) -> bool {
    let responses = join_all(clients.iter().map(|client| client.send("there can be only one"))).await;
    responses.iter().enumerate().all(|(client, response)| response.is_ok() == inside.contains(&client))
}
