//! Attacks by bytes of the websocket, of Pomelo's packages and of bodies.

use std::io;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;
use wire::routes;

use crate::arena::Arena;
use crate::row::{Row, Undefended};
use crate::session::{Session, message, package};
use crate::socket::{BINARY, PING, TEXT, frame};

/// The longest that a server may take to close a connection whose bytes are wrong.
const CLOSES: Duration = Duration::from_secs(5);

pub(crate) const BAD_INPUT: &[&str] = &["shaddock_sessions_closed_bad_input_total"];

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            quick_secs: Some(2),
            counters: BAD_INPUT,
            undefended: Undefended::Settings(&[
                ("session.max_package", "500000"),
                ("session.max_package_before_enter", "500000"),
            ]),
            ..Row::new("AW1", "F5", "packages, frames and messages larger than may be", |arena| Box::pin(sizes(arena)))
        },
        Row {
            quick_secs: Some(2),
            counters: BAD_INPUT,
            undefended: Undefended::Patch("deflate"),
            ..Row::new("AW2", "", "permessage-deflate offered, RSV1 set, a bomb", |arena| Box::pin(deflate(arena)))
        },
        Row {
            quick_secs: Some(3),
            counters: BAD_INPUT,
            undefended: Undefended::Patch("package-types"),
            ..Row::new("AW3", "", "broken ids, routes and types; packages cut and with flipped bits", |arena| {
                Box::pin(broken_packages(arena))
            })
        },
        Row {
            quick_secs: Some(2),
            counters: BAD_INPUT,
            undefended: Undefended::Settings(&[
                ("session.requests_per_sec", "1000000"),
                ("session.request_burst", "1000000"),
            ]),
            ..Row::new("AW4", "F5", "10,000 continuations, pings, unmasked frames, broken UTF-8", |arena| {
                Box::pin(frames(arena))
            })
        },
        Row {
            quick_secs: Some(2),
            counters: &["shaddock_requests_answered_total"],
            undefended: Undefended::Patch("numbers"),
            ..Row::new("AW5", "", "JSON: deep, long, 1e999, doubled members, half an emoji", |arena| {
                Box::pin(json_bodies(arena))
            })
        },
    ]
}

/// Opens a session from an address of its own, in a room or before.
async fn open(arena: &Arena, number: usize, enters: bool) -> io::Result<Session> {
    let mut session = arena.session(number, Arena::address(number % 100)).await?;
    if enters {
        session.enter(&format!("wire-{number}"), &format!("wire-{}", number % 50)).await?;
    }
    Ok(session)
}

/// Sends bytes in a session, and expects its end.
async fn closes(arena: &Arena, session: &mut Session, (what, bytes): (&str, &[u8])) {
    // The server may close before all is sent.
    session.socket.write(bytes).await.ok();
    let closed = timeout(CLOSES, session.until_closed()).await;
    arena.expect(closed.is_ok(), || format!("{what}: the connection stays open"));
}

/// What it is, whether its session enters before, and the bytes.
type Malformed = (&'static str, bool, Vec<u8>);

/// Runs attempts on sessions in turn: before and after entering.
async fn each(arena: &Arena, kinds: &'static [fn() -> Malformed]) {
    arena
        .work(16, move |worker, arena| async move {
            let mut number = worker;
            while arena.attempt().await {
                number += 16;
                let (what, enters, bytes) = kinds[number / 16 % kinds.len()]();
                let Ok(mut session) = open(&arena, number, enters).await else {
                    arena.expect(false, || "the attacker cannot connect".to_owned());
                    continue;
                };
                closes(&arena, &mut session, (what, &bytes)).await;
            }
            Ok(())
        })
        .await;
}

/// The head of a frame that declares a length.
fn declared(length: u64) -> Vec<u8> {
    [&[BINARY, 0xff][..], &length.to_be_bytes(), &[0; 4], &[4, 255, 255, 255]].concat()
}

async fn sizes(arena: Arena) -> String {
    arena.plan(80.0, "connections/s");
    each(
        &arena,
        &[
            || ("a frame of 16 MiB declared", false, declared(16 << 20)),
            || ("a frame of 16 MiB declared in a room", true, declared(16 << 20)),
            || ("a frame of 2^62 bytes declared", false, declared(1 << 62)),
            || ("a package of 16 MiB declared", true, frame(BINARY, &[4, 255, 255, 255])),
            || ("a package of 64 KiB and a byte", true, package(4, &vec![b'x'; 65_537])),
            || ("a package of 4 KiB and a byte before entering", false, package(1, &vec![b'x'; 4_097])),
            || ("a message of 131,000 bytes before entering", false, frame(0x02, &vec![0; 131_000])),
            || {
                let part = [frame(0x00, &[0; 1_000]), frame(PING, b"alive")].concat();
                ("fragments with pings before entering", false, [frame(0x02, b""), part.repeat(20)].concat())
            },
        ],
    )
    .await;
    String::new()
}

async fn deflate(arena: Arena) -> String {
    arena.plan(80.0, "connections/s");
    arena
        .work(16, |worker, arena| async move {
            let mut number = worker;
            while arena.attempt().await {
                number += 16;
                let mut socket = crate::socket::Socket::bare(arena.connector(number), crate::socket::PROXY).await?;
                socket.write(crate::socket::proxy_header(Arena::address(number % 100)).as_bytes()).await?;
                let head =
                    socket.upgrade("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n").await?;
                arena.expect(!head.to_ascii_lowercase().contains("extensions"), || "deflate is negotiated".to_owned());
                let mut session = Session::on(socket);
                // Compressed zeros: a thousand times as many bytes when they are inflated.
                let bomb = [&[0x78, 0x9c, 0xec, 0xc1, 0x01, 0x01][..], &[0; 4_000]].concat();
                let bytes = frame(BINARY | 0x40, if number % 2 == 0 { b"x" } else { &bomb });
                closes(&arena, &mut session, ("RSV1 set", &bytes)).await;
            }
            Ok(())
        })
        .await;
    String::new()
}

/// The bytes of a package of a type, as a transport carries them.
pub(crate) type Framing = fn(u8, &[u8]) -> Vec<u8>;

/// Packages that must end the connection of a member.
pub(crate) fn broken(package: Framing) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = [
        ("an empty data package", &b""[..]),
        ("an id of six bytes", &[0, 255, 255, 255, 255, 255, 1]),
        ("an id of eleven bytes", &[0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ("the id 2^32", &[0, 128, 128, 128, 128, 16, 1, b'a', b'{', b'}']),
        ("a request that ends in its id", &[0, 0x80]),
        ("a route beyond the end", &[2, 200, b'a']),
        ("a code that is cut", &[3, 0]),
    ]
    .into_iter()
    .map(|(what, bytes)| (what.to_owned(), package(4, bytes)))
    .collect();
    all.extend([0, 5].into_iter().chain(6..=255).map(|kind| (format!("type {kind}"), package(kind, b"{}"))));
    all
}

/// The next number of a sequence that looks random; the same in each run.
fn next_random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// A valid package with some bits flipped, or cut.
pub(crate) fn mutated(seed: &mut u64, package: Framing) -> Vec<u8> {
    let body = br#"{"content":"hello","target":"*","id":"a"}"#;
    let mut bytes = match next_random(seed) % 4 {
        0 => package(1, br#"{"sys":{"type":"js","version":"1"},"user":{}}"#),
        1 => package(4, &message(7, routes::SEND, body)),
        2 => package(4, &message(300, routes::HISTORY, br#"{"limit":3,"before":2000}"#)),
        _ => package(4, &[1, 7, 0, 2, b'{']),
    };
    let length = bytes.len() as u64;
    for _ in 0..1 + next_random(seed) % 4 {
        let at = usize::try_from(next_random(seed) % length).unwrap_or_default();
        bytes[at] ^= 1 << (next_random(seed) % 8);
    }
    if next_random(seed).is_multiple_of(3) {
        let at = usize::try_from(next_random(seed) % length).unwrap_or_default();
        bytes.truncate(at);
    }
    bytes
}

/// The same in frames, and frames that are not whole packages.
fn all_broken() -> Vec<(String, Vec<u8>)> {
    let mut all = broken(package);
    all.push(("half a head".to_owned(), frame(BINARY, &[4, 0])));
    all.push(("bytes behind a package".to_owned(), frame(BINARY, &[3, 0, 0, 0, 9])));
    all
}

async fn broken_packages(arena: Arena) -> String {
    arena.plan(100.0, "connections/s");
    arena
        .work(32, |worker, arena| async move {
            let (vectors, mut number, mut seed) = (all_broken(), worker, 88_172_645_463_325_252 + worker as u64);
            while arena.attempt().await {
                number += 32;
                let Ok(mut session) = open(&arena, number, true).await else {
                    arena.expect(false, || "the attacker cannot connect".to_owned());
                    continue;
                };
                if number / 32 % 2 == 0 {
                    let (what, bytes) = &vectors[(number / 64 * 32 + worker) % vectors.len()];
                    closes(&arena, &mut session, (what, bytes)).await;
                } else {
                    // Any end will do, as long as the server goes on.
                    session.flood((0..50).map(|_| mutated(&mut seed, package))).await;
                }
            }
            Ok(())
        })
        .await;
    String::new()
}

async fn frames(arena: Arena) -> String {
    arena.plan(40.0, "connections/s");
    each(
        &arena,
        &[
            || ("continuations before entering", false, [frame(0x02, b""), frame(0x00, b"").repeat(10_000)].concat()),
            || ("continuations in a room", true, [frame(0x02, b""), frame(0x00, &[0; 20]).repeat(10_000)].concat()),
            || ("a flood of pings", true, frame(PING, b"").repeat(10_000)),
            || ("a flood of pings before entering", false, frame(PING, b"").repeat(10_000)),
            || ("a frame without a mask", true, vec![BINARY, 4, 3, 0, 0, 0]),
            || ("a text that is not UTF-8", true, frame(TEXT, &[0xff, 0xfe, 0xfd])),
            || ("a reserved opcode", true, frame(0x83, b"x")),
            || ("a ping of 126 bytes", true, frame(PING, &[0; 126])),
        ],
    )
    .await;
    String::new()
}

/// Bodies of messages, and the codes that they may be answered with.
fn bodies() -> Vec<(&'static str, Vec<u8>, &'static [u64])> {
    let members = (0..3_000).map(|number| format!("\"m{number}\":{number}")).collect::<Vec<_>>().join(",");
    vec![
        ("deep arrays", [b"[".repeat(30_000), b"]".repeat(30_000)].concat(), &[500]),
        ("an array without end", b"[".repeat(64_000), &[500]),
        ("deep objects", b"{\"a\":".repeat(10_000), &[500]),
        ("1e999", br#"{"limit":1e999}"#.to_vec(), &[500]),
        ("doubled members", br#"{"content":7,"content":"twice","target":"nobody","target":"*"}"#.to_vec(), &[200]),
        ("3,000 members", format!("{{{members},\"content\":\"m\",\"target\":\"*\"}}").into_bytes(), &[200]),
        ("half an emoji", br#"{"content":"\ud83d","target":"*"}"#.to_vec(), &[200]),
        ("over-long CESU-8", b"{\"content\":\"\xc0\xaf\xe0\x80\xaf\",\"target\":\"*\"}".to_vec(), &[200, 500]),
        ("NUL", br#"{"content":"\u0000","target":"*"}"#.to_vec(), &[200, 500]),
        ("a name of NUL", br#"{"content":"x","target":"\u0000"}"#.to_vec(), &[500]),
    ]
}

async fn json_bodies(arena: Arena) -> String {
    arena.plan(100.0, "requests/s");
    arena
        .work(10, |number, arena| async move {
            let bodies = bodies();
            let mut session = open(&arena, number, true).await?;
            let mut next = number;
            while arena.attempt().await {
                let (what, body, codes) = &bodies[next % bodies.len()];
                next += 1;
                // A body that is read as an empty one would be a request for the newest messages.
                let route = if *what == "1e999" { routes::HISTORY } else { routes::SEND };
                match session.ask_bytes(route, body).await {
                    Ok(answer) => {
                        let code = answer["code"].as_u64().unwrap_or_default();
                        // Long ones cost many units.
                        arena.expect(codes.contains(&code) || code == 429, || format!("{what}: {answer}"));
                    }
                    Err(error) => {
                        arena.expect(false, || format!("{what}: {error}"));
                        session = open(&arena, number, true).await?;
                    }
                }
            }
            session.ask(routes::LEAVE, &json!({})).await?;
            Ok(())
        })
        .await;
    String::new()
}
