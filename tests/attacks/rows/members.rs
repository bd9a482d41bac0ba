//! Attacks by members of a room: on its places, on others' names, on slow readers.

use std::io;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use wire::routes;

use crate::arena::Arena;
use crate::row::{Row, Undefended};
use crate::session::{Event, Session};
use crate::socket::Via;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            counters: &["shaddock_requests_answered_total"],
            undefended: Undefended::Settings(&[("room.members_per_address", "1000")]),
            ..Row::new("AR2b", "F8", "990 silent members of two addresses in one room", |arena| Box::pin(places(arena)))
        },
        Row {
            secs: 12,
            counters: &["shaddock_requests_answered_total"],
            undefended: Undefended::Settings(&[
                ("session.bytes_per_sec", "1000000000"),
                ("session.byte_burst", "1000000000"),
                ("session.requests_per_sec", "100000"),
                ("session.request_burst", "100000"),
            ]),
            ..Row::new("AR1c", "F9", "two clients whisper 15 KiB to a user on a line of 10 Mbit/s", |arena| {
                Box::pin(whispers(arena))
            })
        },
        Row {
            // Refused joins are records, too: above 60 of them a minute they wait for each other.
            secs: 3,
            counters: &["shaddock_requests_answered_total"],
            undefended: Undefended::Patch("held-names"),
            ..Row::new("AR2c", "F10", "polling for the name of a user whose connection breaks", |arena| {
                Box::pin(thief(arena))
            })
        },
    ]
}

async fn places(arena: Arena) -> String {
    arena.plan(150.0, "members/s");
    arena
        .work(66, |worker, arena| async move {
            let mut held: Vec<Session> = Vec::new();
            for turn in 0..15 {
                if !arena.attempt().await {
                    break;
                }
                let number = turn * 66 + worker;
                let mut session = arena.session(number, Arena::address(number % 2)).await?;
                session.enter(&format!("silent-{number}"), "places").await?;
                held.push(session);
            }
            if worker == 0 {
                while arena.attempt().await {}
                for number in 0..20 {
                    let mut honest = arena.session(number, Arena::address(70 + number)).await?;
                    let entered = honest.enter(&format!("honest-{number}"), "places").await?;
                    arena.expect(entered["code"] == 200, || format!("the room is full for others: {entered}"));
                    held.push(honest);
                }
            }
            while arena.attempt().await {}
            Ok(())
        })
        .await;
    String::new()
}

async fn whispers(arena: Arena) -> String {
    arena.plan(200.0, "whispers/s of 15 KiB");
    let victim = async {
        let session =
            Session::open_with(arena.connector(0), Via::ProxyHeader, Arena::address(90), Some(65_536)).await?;
        let mut session = session.map_err(|status| io::Error::other(status.to_string()))?;
        session.enter("slow", "whispers").await?;
        let mut bytes = 0_usize;
        let began = Instant::now();
        let mut reason = None;
        while arena.lasts() {
            match timeout(Duration::from_millis(100), session.next()).await {
                Ok(Event::Push(body)) => bytes += body.to_string().len(),
                Ok(Event::Kick(why)) => reason = Some(why),
                Ok(Event::Closed) => {
                    reason.get_or_insert_with(|| "closed".to_owned());
                    break;
                }
                _ => {}
            }
            // 10 Mbit/s.
            sleep(Duration::from_secs_f64(bytes as f64 / 1_250_000.0).saturating_sub(began.elapsed())).await;
        }
        io::Result::Ok(reason)
    };
    let attack = arena.work(2, |number, arena| async move {
        let mut session = arena.session(0, Arena::address(number)).await?;
        session.enter(&format!("attacker-{number}"), "whispers").await?;
        let body = json!({"content": "x".repeat(15_000), "target": "slow"}).to_string();
        while arena.attempt().await {
            session.ask_bytes(routes::SEND, body.as_bytes()).await?;
        }
        Ok(())
    });
    let (victim, ()) = tokio::join!(victim, attack);
    arena.expect(matches!(victim, Ok(None)), || format!("the slow user: {victim:?}"));
    String::new()
}

async fn thief(arena: Arena) -> String {
    let entered = async {
        let mut session = arena.session(0, Arena::address(91)).await?;
        let entered = session.enter("owner", "names").await?;
        let mut witness = arena.session(1, Arena::address(92)).await?;
        witness.enter("witness", "names").await?;
        io::Result::Ok(((session, entered), witness))
    };
    let (entered, witness) =
        entered.await.map_or_else(|error| (Err(error), None), |(owner, witness)| (Ok(owner), Some(witness)));
    arena.plan(20.0, "polls/s");
    arena.begin();
    let owner = async {
        let (session, entered) = entered?;
        sleep(Duration::from_secs(1)).await;
        // The connection breaks, without a close.
        session.socket.reset()?;
        drop(session);
        sleep(Duration::from_secs(1)).await;
        let mut session = arena.session(0, Arena::address(91)).await?;
        session.shake_hands().await?;
        let again = json!({"username": "owner", "rid": "names", "token": entered["token"]});
        session.ask(routes::ENTER, &again).await
    };
    let attack = arena.work(1, |_, arena| async move {
        let mut number = 0;
        while arena.attempt().await {
            number += 1;
            let mut session = arena.session(0, Arena::address(number % 60)).await?;
            session.enter("owner", "names").await?;
        }
        Ok(())
    });
    let (owner, ()) = tokio::join!(owner, attack);
    let is_back = owner.as_ref().is_ok_and(|owner| owner["code"] == 200);
    arena.expect(is_back, || format!("the owner of a name: {owner:?}"));
    if let Some(mut witness) = witness {
        // Nobody came or left: the owner has the membership that it had.
        let pushed = timeout(Duration::from_millis(500), witness.next()).await;
        arena.expect(pushed.is_err(), || format!("a witness in the owner's room: {pushed:?}"));
    }
    String::new()
}
