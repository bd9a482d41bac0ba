//! Attacks by requests that cost much: bytes in the log, rooms, reads of the history, message ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tokio::time::timeout;
use wire::routes;

use crate::arena::Arena;
use crate::row::{Row, Undefended};
use crate::socket::DEADLINE;
use crate::witness::ROOM;

/// Bytes of a large message.
const LARGE: usize = 15_000;

/// Bytes that an address may send at once, and per second, to each server.
const ADDRESS_BURST: u64 = 16 * 256 * 1024;
const ADDRESS_RATE: u64 = 16 * 8_192;

/// Moves of a session at once.
const MOVES: u64 = 20;

const ANSWERED: &[&str] = &["shaddock_requests_answered_total"];

const REFUSED: &[&str] = &["shaddock_requests_refused_overload_total"];

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            settings: &[("room.forget_secs", "5"), ("room.linger_secs", "1")],
            counters: REFUSED,
            undefended: Undefended::Settings(&[
                ("session.bytes_per_sec", "1000000000"),
                ("session.byte_burst", "1000000000"),
                ("session.requests_per_sec", "100000"),
                ("session.request_burst", "100000"),
            ]),
            ..Row::new("AR1", "F1", "one address, 50 clients: 15 KiB each, in ever new rooms", |arena| {
                Box::pin(large(arena, 1))
            })
        },
        Row {
            counters: REFUSED,
            // The smallest log. The innocent users write more than the default under pressure allows.
            settings: &[
                ("log.max_total_bytes", "33554432"),
                ("log.max_room_bytes", "33554432"),
                ("log.pressure_bytes_per_min", "524288"),
            ],
            undefended: Undefended::Settings(&[
                ("log.pressure", "0.95"),
                ("log.room_share", "1.0"),
                ("log.pressure_bytes_per_min", "1073741824"),
            ]),
            ..Row::new(
                "AR1b",
                "F1",
                "160 addresses, a client each: 15 KiB each, in ten rooms, until the log is nearly full",
                |arena| Box::pin(large(arena, 160)),
            )
        },
        Row {
            counters: REFUSED,
            undefended: Undefended::Patch("free-moves"),
            ..Row::new(
                "AR2",
                "F3",
                "100 sessions enter ever new rooms, and the innocents' room, 500 times a second",
                |arena| Box::pin(moves(arena)),
            )
        },
        Row {
            counters: ANSWERED,
            undefended: Undefended::Patch("unbounded-reads"),
            ..Row::new(
                "AR3",
                "F2",
                "100 sessions read history and members of a room of 4,000 joins and leaves",
                |arena| Box::pin(reads(arena)),
            )
        },
        Row {
            counters: ANSWERED,
            secs: 12,
            undefended: Undefended::Patch("oldest-ids"),
            ..Row::new(
                "AR3b",
                "F14",
                "960 message ids a second in a room: a user's repeat is committed twice",
                |arena| Box::pin(ids(arena)),
            )
        },
    ]
}

async fn large(arena: Arena, addresses: usize) -> String {
    let clients = if addresses == 1 { 50 } else { addresses };
    arena.plan(400.0, "messages/s of 15 KiB");
    let committed = Arc::new(AtomicU64::new(0));
    let count = committed.clone();
    let began = tokio::time::Instant::now();
    arena
        .work(clients, move |number, arena| {
            let committed = count.clone();
            async move {
                let mut session = arena.session(number, Arena::address(number % addresses)).await?;
                let (name, mut room) = (format!("attacker-{number}"), number);
                session.enter(&name, &format!("large-{}", if addresses == 1 { number } else { number % 10 })).await?;
                let body = json!({"content": "x".repeat(LARGE), "target": "*"});
                while arena.attempt().await {
                    let answer = session.ask(routes::SEND, &body).await?;
                    match answer["code"].as_u64() {
                        Some(200) => {
                            committed.fetch_add(LARGE as u64, Ordering::Relaxed);
                        }
                        // Not this room: the next one.
                        Some(429) if addresses == 1 => {
                            room += clients;
                            session
                                .ask(routes::ENTER, &json!({"username": name, "rid": format!("large-{room}")}))
                                .await?;
                        }
                        Some(429) => {}
                        _ => arena.expect(false, || format!("a large message: {answer}")),
                    }
                }
                Ok(())
            }
        })
        .await;
    let committed = committed.load(Ordering::Relaxed);
    let servers = arena.orders.connectors.len() as u64;
    let most = servers * (ADDRESS_BURST + ADDRESS_RATE * (began.elapsed().as_secs() + 1));
    // A session's own burst and rate are a sixteenth.
    let most = if addresses == 1 { most } else { most * addresses as u64 / (16 * servers) };
    arena.expect(committed <= most, || format!("{committed} bytes are committed, {most} may be"));
    format!("{:.1} MiB committed", committed as f64 / 1_048_576.0)
}

async fn moves(arena: Arena) -> String {
    const SESSIONS: usize = 100;
    arena.plan(500.0, "moves/s");
    let entered = Arc::new(AtomicU64::new(0));
    let count = entered.clone();
    arena
        .work(SESSIONS, move |number, arena| {
            let entered = count.clone();
            async move {
                let mut session = arena.session(number, Arena::address(number % 20)).await?;
                session.enter(&format!("attacker-{number}"), &format!("moves-{number}")).await?;
                let mut room = number;
                while arena.attempt().await {
                    room += SESSIONS;
                    // Every second one to the room of those who must not notice.
                    let rid =
                        if (room / SESSIONS).is_multiple_of(2) { ROOM.to_owned() } else { format!("moves-{room}") };
                    let name = format!("{}-{room}", "n".repeat(50));
                    let answer = session.ask(routes::ENTER, &json!({"username": name, "rid": rid})).await?;
                    match answer["code"].as_u64() {
                        Some(200) => {
                            entered.fetch_add(1, Ordering::Relaxed);
                        }
                        Some(429) => {}
                        _ => arena.expect(false, || format!("a move: {answer}")),
                    }
                }
                Ok(())
            }
        })
        .await;
    let entered = entered.load(Ordering::Relaxed);
    let most = SESSIONS as u64 * (MOVES + arena.orders.secs + 2);
    arena.expect(entered <= most, || format!("{entered} moves, {most} may be"));
    format!("{entered} moves")
}

/// Fills a room with joins and leaves, as many as the limits allow.
async fn churn(arena: &Arena, room: &'static str) {
    arena
        .work(100, move |number, arena| async move {
            // Several sessions one after the other: each has its own burst.
            for round in 0..2 {
                let mut session = arena.session(number, Arena::address(number % 20)).await?;
                session.enter(&format!("churn-{number}-{round}"), room).await?;
                for _ in 0..9 {
                    session.ask(routes::LEAVE, &json!({})).await?;
                    let enter = json!({"username": format!("churn-{number}-{round}"), "rid": room});
                    session.ask(routes::ENTER, &enter).await?;
                }
            }
            Ok(())
        })
        .await;
}

async fn reads(arena: Arena) -> String {
    let began = tokio::time::Instant::now();
    churn(&arena, ROOM).await;
    let churned = began.elapsed();
    arena.plan(400.0, "reads/s");
    arena.begin();
    arena
        .work(100, |number, arena| async move {
            let mut session = arena.session(number, Arena::address(number % 20)).await?;
            session.enter(&format!("attacker-{number}"), ROOM).await?;
            while arena.attempt().await {
                let answer = match number % 3 {
                    0 => session.ask(routes::HISTORY, &json!({"after": 0, "limit": 100})).await?,
                    1 => session.ask(routes::HISTORY, &json!({"before": 1_000_000_000_000_u64})).await?,
                    _ => session.ask(routes::MEMBERS, &json!({"limit": 500})).await?,
                };
                // 503 is what an attacker may get.
                let is_known = [200, 429, 503].iter().any(|code| answer["code"] == *code);
                arena.expect(is_known, || format!("a read: {answer}"));
            }
            Ok(())
        })
        .await;
    format!("after {:.0} s of churn", churned.as_secs_f64())
}

async fn ids(arena: Arena) -> String {
    arena.plan(960.0, "ids/s");
    let victim = async {
        let mut session = arena.session(0, Arena::address(99)).await?;
        session.enter("victim", "ids").await?;
        let body = json!({"content": "once", "target": "*", "id": "the-same"});
        let first = session.ask(routes::SEND, &body).await?;
        tokio::time::sleep(std::time::Duration::from_secs(arena.orders.secs - 3)).await;
        let again = session.ask(routes::SEND, &body).await?;
        std::io::Result::Ok((first, again))
    };
    let attack = arena.work(24, |number, arena| async move {
        let mut session = arena.session(number, Arena::address(number)).await?;
        session.enter(&format!("attacker-{number}"), "ids").await?;
        let mut count = 0_u64;
        while arena.attempt().await {
            count += 1;
            let body = json!({"content": "x", "target": "*", "id": format!("{number}-{count}")});
            session.send(routes::SEND, body.to_string().as_bytes()).await?;
            // The answers are not waited for, but read.
            session.socket.discard()?;
        }
        Ok(())
    });
    let (victim, ()) = tokio::join!(timeout(DEADLINE, victim), attack);
    let is_same = matches!(&victim, Ok(Ok((first, again))) if first["code"] == 200 && first["seq"] == again["seq"]);
    arena.expect(is_same, || format!("a repeated message: {victim:?}"));
    String::new()
}
