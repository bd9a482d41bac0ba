//! Attacks by connections: many, slow, silent, and such that read nothing.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use testkit::http_get;
use tokio::time::{Instant, sleep, timeout};
use wire::routes;

use crate::arena::Arena;
use crate::row::{Conditions, Row, Undefended};
use crate::session::{Session, package};
use crate::socket::{BINARY, DEADLINE, PROXY, Socket, Via, frame, proxy_header, status};

/// Seconds after a deadline in which a connection must be closed.
pub(crate) const LATE: f64 = 4.0;

const OFF: &str = "1000000";

/// Kinds of slow connections in row AC1.
const SLOW_KINDS: usize = 5;

/// Handshakes per second of an address in row AC2.
pub(crate) const HANDSHAKES: usize = 10;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            secs: 14,
            counters: &["shaddock_sessions_closed_timeout_total"],
            undefended: Undefended::Settings(&[("frontend.handshake_secs", "3600"), ("frontend.message_secs", "3600")]),
            ..Row::new(
                "AC1",
                "F4 F5",
                "2,000 sockets, a byte a second: in the PROXY header, the request, a websocket's package, a package over TCP",
                |arena| Box::pin(slow_bytes(arena)),
            )
        },
        Row {
            settings: &[("frontend.handshakes_per_sec", "10")],
            counters: &["shaddock_connections_refused_total"],
            undefended: Undefended::Settings(&[("frontend.handshakes_per_sec", "0")]),
            ..Row::new("AC2", "", "1,000 connections a second of one address", |arena| Box::pin(handshakes(arena)))
        },
        Row {
            secs: 10,
            counters: &["shaddock_connections_refused_total"],
            undefended: Undefended::Settings(&[("frontend.max_connections_per_public_address", "5000")]),
            ..Row::new("AC4", "F7 F13", "10,000 idle connections of one address, 10,000 of one IPv6 /64", |arena| {
                Box::pin(crowds(arena))
            })
        },
        Row {
            settings: &[("frontend.max_connections", "1000")],
            counters: &["shaddock_connections_refused_total"],
            undefended: Undefended::Patch("last-tenth"),
            ..Row::new(
                "AC4b",
                "F7 F12",
                "four addresses with 500 connections each fill servers that take 1,000",
                |arena| Box::pin(full(arena)),
            )
        },
        Row {
            secs: 14,
            settings: &[
                ("frontend.handshake_secs", "3"),
                ("frontend.enter_secs", "4"),
                ("frontend.heartbeat_secs", "2"),
            ],
            counters: &["shaddock_sessions_closed_timeout_total", "shaddock_sessions_closed_bad_input_total"],
            undefended: Undefended::Settings(&[
                ("frontend.handshake_secs", "3600"),
                ("frontend.enter_secs", "3600"),
                ("frontend.heartbeat_secs", "3600"),
                ("session.requests_per_sec", OFF),
                ("session.request_burst", OFF),
            ]),
            ..Row::new("AC5", "", "no ack, no enter, no heartbeat; floods of acks and heartbeats", |arena| {
                Box::pin(silent_and_loud(arena))
            })
        },
        Row {
            secs: 14,
            counters: &["shaddock_sessions_closed_slow_total"],
            undefended: Undefended::Patch("slow-readers"),
            ..Row::new("AC6", "F11", "200 members of a busy room who read nothing", |arena| {
                Box::pin(never_reading(arena))
            })
        },
        Row {
            conditions: Conditions { open_files: Some(400), ..Conditions::default() },
            counters: &["shaddock_connections_refused_total"],
            undefended: Undefended::Patch("open-files"),
            ..Row::new("AC7", "F6", "1,000 sockets on servers that may open 400 files", |arena| {
                Box::pin(few_files(arena))
            })
        },
    ]
}

/// Writes a byte a second until the server closes. Returns the seconds until then.
pub(crate) async fn drip(arena: &Arena, socket: &mut Socket, began: Instant, bytes: &[u8]) -> Option<f64> {
    for byte in bytes.iter().cycle() {
        if !arena.attempt().await {
            return None;
        }
        // The server says nothing before it closes, but for an answer to a late request.
        let closed = socket.write(&[*byte]).await.is_err() || socket.read_to_end(Duration::from_millis(1)).await.1;
        if closed {
            return Some(began.elapsed().as_secs_f64());
        }
    }
    None
}

async fn slow_bytes(arena: Arena) -> String {
    arena.plan(2_000.0, "bytes/s");
    let open = Arc::new(AtomicUsize::new(0));
    let still_open = open.clone();
    arena
        .work(2_000, move |number, arena| {
            let open = still_open.clone();
            async move {
                let (at, client) = (arena.connector(number), Arena::address(number % 8));
                let mut socket = Socket::bare(at, PROXY).await?;
                let began = Instant::now();
                let (deadline, bytes): (f64, &[u8]) = match number % SLOW_KINDS {
                    0 => (2.0, b"PROXY TCP4 203.0.113.5 127.0.0.1 4"),
                    1 => {
                        socket.write(proxy_header(client).as_bytes()).await?;
                        let head = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: {}", "x".repeat(12_000));
                        socket.write(head.as_bytes()).await?;
                        (10.0, b"x")
                    }
                    2 => {
                        socket.write(proxy_header(client).as_bytes()).await?;
                        socket.upgrade("").await?;
                        // The head of a frame of 4,000 bytes.
                        socket.write(&frame(BINARY, &[1; 4_000])[..8]).await?;
                        (10.0, b"x")
                    }
                    3 => {
                        socket.write(proxy_header(client).as_bytes()).await?;
                        (10.0, b"GET /slow HTTP/1.1\r\nX: ")
                    }
                    _ => {
                        socket.write(proxy_header(client).as_bytes()).await?;
                        // A handshake of 260 bytes: its head, then its body.
                        (10.0, b"\x01\x00\x01\x04{\"sys\":{\"type\":\"")
                    }
                };
                open.fetch_add(1, Ordering::Relaxed);
                let closed = drip(&arena, &mut socket, began, bytes).await;
                open.fetch_sub(1, Ordering::Relaxed);
                arena.expect(closed.is_some_and(|secs| secs < deadline + LATE), || {
                    format!(
                        "a slow connection (kind {}) of {deadline} s is closed after {closed:?} s",
                        number % SLOW_KINDS
                    )
                });
                Ok(())
            }
        })
        .await;
    String::new()
}

/// Opens a websocket; returns the socket with the status of the response.
async fn knock(arena: &Arena, number: usize, client: IpAddr) -> io::Result<(Socket, u16)> {
    let mut socket = Socket::bare(arena.connector(number), PROXY).await?;
    socket.write(proxy_header(client).as_bytes()).await?;
    let head = socket.upgrade("").await?;
    Ok((socket, status(&head)))
}

/// Enters as an innocent newcomer.
pub(crate) async fn newcomer_enters(arena: &Arena) {
    let newcomer = async {
        let address: IpAddr = "192.0.2.77".parse().map_err(io::Error::other)?;
        let mut session = arena.session(0, address).await?;
        session.enter("newcomer", "lobby").await
    };
    let entered = timeout(DEADLINE, newcomer).await;
    let is_in = entered.as_ref().is_ok_and(|entered| entered.as_ref().is_ok_and(|entered| entered["code"] == 200));
    arena.expect(is_in, || format!("a newcomer cannot enter: {entered:?}"));
}

async fn crowds(arena: Arena) -> String {
    arena.plan(2_000.0, "connections/s");
    let accepted: Arc<[AtomicUsize; 2]> = Arc::default();
    let counts = accepted.clone();
    let newcomer = async {
        sleep(Duration::from_secs(arena.orders.secs / 2)).await;
        newcomer_enters(&arena).await;
    };
    let attack = arena.work(64, move |worker, arena| {
        let accepted = counts.clone();
        async move {
            let mut held = Vec::new();
            let mut number = worker;
            while arena.attempt().await {
                number += 64;
                let kind = number / 64 % 2;
                let network = Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, u16::try_from(number % 60_000).unwrap_or(1));
                let client = if kind == 0 { Arena::address(0) } else { network.into() };
                // All at one connector: the limit is each server's.
                let Ok((socket, status)) = knock(&arena, 0, client).await else { continue };
                match status {
                    101 => {
                        accepted[kind].fetch_add(1, Ordering::Relaxed);
                        held.push(socket);
                    }
                    429 => {}
                    _ => arena.expect(false, || format!("a crowd is answered {status}")),
                }
            }
            Ok(())
        }
    });
    tokio::join!(newcomer, attack);
    for count in accepted.iter().map(|count| count.load(Ordering::Relaxed)) {
        // Those without a handshake are closed after ten seconds and may come again.
        arena.expect((450..=1_000).contains(&count), || format!("{count} connections of one address are accepted"));
    }
    let [address, network] = [0, 1].map(|kind| accepted[kind].load(Ordering::Relaxed));
    format!("{address} and {network} were accepted")
}

/// Connections of one address to one connector, closed as soon as they have their response.
async fn handshakes(arena: Arena) -> String {
    arena.plan(1_000.0, "connections/s");
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    let newcomer = async {
        sleep(Duration::from_secs(arena.orders.secs / 2)).await;
        newcomer_enters(&arena).await;
    };
    let attack = arena.work(32, move |_, arena| {
        let accepted = count.clone();
        async move {
            while arena.attempt().await {
                // One above the rate is closed behind the PROXY header.
                let Ok((_, status)) = knock(&arena, 0, Arena::address(0)).await else { continue };
                accepted.fetch_add(1, Ordering::Relaxed);
                arena.expect(status == 101, || format!("a connection is answered {status}"));
            }
            Ok(())
        }
    });
    tokio::join!(newcomer, attack);
    let accepted = accepted.load(Ordering::Relaxed);
    let secs = usize::try_from(arena.orders.secs).unwrap_or_default();
    let (least, most) = (HANDSHAKES * 5, HANDSHAKES * (5 + secs + 1));
    arena.expect((least..=most).contains(&accepted), || format!("{accepted} connections are accepted, {most} may be"));
    format!("{accepted} were accepted")
}

async fn full(arena: Arena) -> String {
    arena.plan(400.0, "connections/s");
    arena
        .work(40, |worker, arena| async move {
            let (mut held, mut number) = (Vec::new(), worker);
            while arena.attempt().await {
                number += 40;
                // Half at the gate, half at the first connector.
                let at = if number / 40 % 2 == 0 { arena.orders.gate } else { arena.connector(0) };
                let Ok(mut socket) = Socket::bare(at, PROXY).await else { continue };
                socket.write(proxy_header(Arena::address(number % 4)).as_bytes()).await?;
                if socket.upgrade("").await.is_ok_and(|head| status(&head) == 101) {
                    held.push(socket);
                }
            }
            if worker == 0 {
                newcomer_enters(&arena).await;
                let health = http_get(arena.orders.gate, "/healthz", &["Host: 127.0.0.1"]).await;
                arena.expect(health.as_ref().is_some_and(|health| health.status == 200), || {
                    format!("/healthz: {health:?}")
                });
            }
            // All hold theirs until that was seen.
            sleep(Duration::from_secs(2)).await;
            Ok(())
        })
        .await;
    String::new()
}

async fn silent_and_loud(arena: Arena) -> String {
    arena.plan(40.0, "sessions/s");
    arena
        .work(400, |number, arena| async move {
            if arena.attempt().await {
                let mut session = arena.session(number, Arena::address(number % 16)).await?;
                let began = Instant::now();
                let deadline = match number % 5 {
                    0 => Some(3.0),
                    1 => {
                        session.shake_hands().await?;
                        Some(4.0)
                    }
                    2 => {
                        session.enter(&format!("quiet-{number}"), "quiet").await?;
                        Some(4.0)
                    }
                    kind => {
                        session.shake_hands().await?;
                        // Acks or heartbeats, as many as go.
                        let flood = package(if kind == 3 { 2 } else { 3 }, b"").repeat(100);
                        session.flood(std::iter::repeat_n(flood, 40)).await;
                        None
                    }
                };
                let reason = timeout(Duration::from_secs(10), session.until_closed()).await;
                let took = began.elapsed().as_secs_f64();
                let is_right = match deadline {
                    Some(deadline) => reason.is_ok() && (deadline - 1.0..deadline + LATE).contains(&took),
                    // The kick may be lost in what the attacker still sends.
                    None => reason.as_ref().is_ok_and(|reason| reason.as_ref().is_none_or(|reason| reason == "flood")),
                };
                arena.expect(is_right, || format!("kind {} ends with {reason:?} after {took:.1} s", number % 5));
            }
            Ok(())
        })
        .await;
    String::new()
}

async fn never_reading(arena: Arena) -> String {
    const READERS: usize = 200;
    const SPEAKERS: usize = 16;
    arena.plan(100.0, "messages/s of 15 KiB");
    let mut readers = Vec::new();
    for number in 0..READERS {
        let address = Arena::address(number % 4);
        let Ok(Ok(mut session)) =
            Session::open_with(arena.connector(number), Via::ProxyHeader, address, Some(4_096)).await
        else {
            arena.expect(false, || "a reader cannot connect".to_owned());
            continue;
        };
        session.enter(&format!("reader-{number}"), "busy").await.ok();
        readers.push(session);
    }
    arena
        .work(SPEAKERS, |number, arena| async move {
            let mut session = arena.session(number, Arena::address(50 + number)).await?;
            session.enter(&format!("speaker-{number}"), "busy").await?;
            let body = json!({"content": "x".repeat(15_000), "target": "*"});
            while arena.attempt().await {
                session.ask(routes::SEND, &body).await?;
            }
            Ok(())
        })
        .await;
    let mut kicked = 0;
    for reader in &mut readers {
        // What was written before the kick is still to be read.
        if timeout(Duration::from_secs(2), reader.until_closed()).await.is_ok() {
            kicked += 1;
        }
    }
    arena.expect(kicked == READERS, || format!("{kicked} of {READERS} who read nothing are closed"));
    if arena.orders.nats.is_none() {
        let metrics = http_get(arena.orders.gate, "/metrics", &["Host: 127.0.0.1"]).await.map(|response| response.body);
        let counted = format!("shaddock_sessions_closed_slow_total {READERS}\n");
        arena.expect(metrics.is_some_and(|body| body.contains(&counted)), || {
            "closed readers are not counted once each".to_owned()
        });
    }
    format!("{kicked} closed")
}

async fn few_files(arena: Arena) -> String {
    arena.plan(200.0, "connections/s");
    arena
        .work(40, |worker, arena| async move {
            let (mut held, mut number) = (Vec::new(), worker);
            while arena.attempt().await {
                number += 40;
                let Ok(mut socket) = Socket::bare(arena.connector(number), PROXY).await else { continue };
                socket.write(proxy_header(Arena::address(number % 20)).as_bytes()).await.ok();
                match socket.upgrade("").await {
                    Ok(head) if status(&head) == 101 => held.push(socket),
                    Ok(head) => {
                        arena.expect(status(&head) == 503, || format!("a server without files answers {head:?}"));
                    }
                    Err(error) => arena.expect(false, || format!("a server without files: {error}")),
                }
            }
            if worker == 0 {
                let ready = http_get(arena.orders.gate, "/readyz", &["Host: 127.0.0.1"]).await;
                arena.expect(ready.is_some(), || "/readyz does not answer".to_owned());
            }
            sleep(Duration::from_secs(1)).await;
            Ok(())
        })
        .await;
    String::new()
}
