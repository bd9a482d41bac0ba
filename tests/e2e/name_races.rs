//! One session per name and room, over all connectors that race for it.

use client::{ChatClient, Event, Events, Options};
use futures_util::future::join_all;

use crate::on_both_buses;
use crate::test_cluster::{DEADLINE, Setup, TestCluster};

on_both_buses! {
    one_of_many_that_race_for_a_name_gets_it,
    the_newest_of_many_that_race_for_a_name_stays,
}

/// Logins of one name at the same time, over all connectors.
const RACERS: usize = 60;

/// Rounds of each race.
const ROUNDS: usize = 5;

async fn racers(test: &TestCluster) -> Vec<(ChatClient, Events)> {
    let mut racers = Vec::new();
    for number in 0..RACERS {
        racers.push(ChatClient::connect(&test.connector(number % 3), Options::default()).await.unwrap());
    }
    racers
}

async fn one_of_many_that_race_for_a_name_gets_it(setup: Setup) {
    let test = setup.start().await;
    for round in 0..ROUNDS {
        let room = format!("room-{round}");
        let racers = racers(&test).await;
        let entered = join_all(racers.iter().map(|(racer, _)| racer.enter("ann", &room))).await;
        let winners: Vec<_> = racers.iter().zip(&entered).filter(|(_, entered)| entered.is_ok()).collect();
        assert_eq!(winners.len(), 1, "{entered:?}");
        let ((winner, _), _) = winners[0];
        winner.leave().await.unwrap();
        // The name is free again, for the first that enters.
        racers[0].0.enter("ann", &room).await.unwrap();
    }
    test.cluster.stop().await;
}

async fn the_newest_of_many_that_race_for_a_name_stays(setup: Setup) {
    let test = setup.with(|settings| settings.room.newest_wins = true).start().await;
    for round in 0..ROUNDS {
        let room = format!("room-{round}");
        let mut racers = racers(&test).await;
        // A session that was displaced before its response gets "the name is taken".
        join_all(racers.iter().map(|(racer, _)| racer.enter("ann", &room))).await;
        let mut kicked = 0;
        for (_, events) in &mut racers {
            kicked += usize::from(wait_for_kick(events, RACERS - 1 - kicked).await);
        }
        assert_eq!(kicked, RACERS - 1);
        let last = test.join_at(round % 3, "ann", &room).await;
        last.send("mine").await;
    }
    test.cluster.stop().await;
}

/// Returns true if a racer is kicked for its name. The one that stays is found when all others were
/// kicked.
async fn wait_for_kick(events: &mut Events, others: usize) -> bool {
    if others == 0 {
        return false;
    }
    let kicked = async {
        loop {
            match events.next().await {
                Some(Event::Kicked(reason)) => return reason == "name-taken",
                Some(Event::Closed) | None => return false,
                Some(_) => {}
            }
        }
    };
    tokio::time::timeout(DEADLINE / 20, kicked).await.unwrap_or(false)
}
