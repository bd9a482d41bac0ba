//! Attacks on TLS: slow and many handshakes, clients without it, and files that are replaced by
//! others all the time.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use testkit::TlsClient;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::arena::{Arena, Pair, TlsFiles};
use crate::row::{Row, TLS, Undefended};
use crate::rows::connections::{HANDSHAKES, LATE, drip, newcomer_enters};
use crate::socket::{DEADLINE, PROXY, Socket, proxy_header, status};

/// Seconds until a connection without a handshake is closed.
const HANDSHAKE_SECS: f64 = 10.0;

/// Time between two changes of the certificate's files.
const SWAP_EVERY: Duration = Duration::from_millis(100);

/// A hello of 512 bytes, of which only the begin comes.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            secs: 20,
            conditions: TLS,
            counters: &["shaddock_sessions_closed_timeout_total"],
            undefended: Undefended::Settings(&[("frontend.handshake_secs", "3600"), ("frontend.message_secs", "3600")]),
            ..Row::new(
                "AC1t",
                "F4 F5",
                "1,000 sockets, a byte a second: in the TLS hello, in a request and a package inside TLS",
                |arena| Box::pin(slow_bytes(arena)),
            )
        },
        Row {
            conditions: TLS,
            settings: &[("frontend.handshakes_per_sec", "10")],
            counters: &["shaddock_connections_refused_total"],
            undefended: Undefended::Settings(&[("frontend.handshakes_per_sec", "0")]),
            ..Row::new("AC2t", "", "500 TLS handshakes a second of one address", |arena| Box::pin(handshakes(arena)))
        },
        Row {
            quick_secs: Some(2),
            conditions: TLS,
            counters: &["shaddock_connections_refused_total"],
            undefended: Undefended::Settings(&[("tls.plain", "\"always\"")]),
            ..Row::new("AW7t", "", "clients without TLS where servers have a certificate", |arena| {
                Box::pin(without_tls(arena))
            })
        },
        Row {
            conditions: TLS,
            undefended: Undefended::Patch("expired-certificates"),
            ..Row::new(
                "AR8",
                "",
                "the certificate's files every 100 ms others: cut, missing, expired, of two pairs; SIGHUP after each",
                |arena| Box::pin(replaced_files(arena)),
            )
        },
    ]
}

async fn slow_bytes(arena: Arena) -> String {
    arena.plan(1_000.0, "bytes/s");
    let tls = arena.tls_client();
    arena
        .work(1_000, move |number, arena| {
            let tls = tls.clone();
            async move {
                let (at, client) = (arena.connector(number), Arena::address(number % 8));
                let began = Instant::now();
                let (mut socket, bytes): (Socket, &[u8]) = match number % 3 {
                    0 => {
                        let mut socket = Socket::bare(at, PROXY).await?;
                        socket.write(proxy_header(client).as_bytes()).await?;
                        (socket, HELLO)
                    }
                    1 => (Socket::secure(at, client, &tls).await?, b"GET /slow HTTP/1.1\r\nX: "),
                    _ => (Socket::secure(at, client, &tls).await?, b"\x01\x00\x01\x04{\"sys\":{\"type\":\""),
                };
                let closed = drip(&arena, &mut socket, began, bytes).await;
                arena.expect(closed.is_some_and(|secs| secs < HANDSHAKE_SECS + LATE), || {
                    format!("a slow connection (kind {}) is closed after {closed:?} s", number % 3)
                });
                Ok(())
            }
        })
        .await;
    String::new()
}

/// TLS handshakes of one address with one connector, closed as soon as they are complete.
async fn handshakes(arena: Arena) -> String {
    arena.plan(500.0, "connections/s");
    let accepted = Arc::new(AtomicUsize::new(0));
    let (count, tls) = (accepted.clone(), arena.tls_client());
    let newcomer = async {
        sleep(Duration::from_secs(arena.orders.secs / 2)).await;
        newcomer_enters(&arena).await;
    };
    let attack = arena.work(32, move |_, arena| {
        let (accepted, tls) = (count.clone(), tls.clone());
        async move {
            while arena.attempt().await {
                // One above the rate is closed behind the PROXY header.
                if Socket::secure(arena.connector(0), Arena::address(0), &tls).await.is_ok() {
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        }
    });
    tokio::join!(newcomer, attack);
    let accepted = accepted.load(Ordering::Relaxed);
    let secs = usize::try_from(arena.orders.secs).unwrap_or_default();
    let (least, most) = (HANDSHAKES * 5, HANDSHAKES * (5 + secs + 1));
    arena.expect((least..=most).contains(&accepted), || format!("{accepted} handshakes are done, {most} may be"));
    format!("{accepted} were done")
}

/// Websockets, packages and requests of strangers who do not speak TLS, or break it.
async fn without_tls(arena: Arena) -> String {
    arena.plan(60.0, "connections/s");
    let tls = arena.tls_client();
    arena
        .work(12, move |worker, arena| {
            let tls = tls.clone();
            async move {
                let mut number = worker;
                while arena.attempt().await {
                    number += 1;
                    let cases: [(&str, &[u8]); 5] = [
                        ("a request", b"GET /entry?uid=a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
                        ("a package", b"\x01\x00\x00\x0a{\"sys\":{}}"),
                        ("a second PROXY header", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"),
                        ("SSL 2", b"\x80\x2e\x01\x00\x02"),
                        ("a TLS record that is none", b"\x16\x03\x01\x00\x04junk"),
                    ];
                    let (what, bytes) = cases[number % cases.len()];
                    let mut socket = Socket::bare(arena.connector(number), PROXY).await?;
                    socket.write(proxy_header(Arena::address(number % 100)).as_bytes()).await?;
                    socket.write(bytes).await.ok();
                    let (answer, is_closed) = socket.read_to_end(DEADLINE).await;
                    // To a record that is none TLS answers with an alert.
                    let is_right = is_closed && (answer.is_empty() || what.starts_with("a TLS") && answer[0] == 0x15);
                    arena.expect(is_right, || format!("{what} without TLS: {answer:?}, closed: {is_closed}"));
                    if number % 10 == 0 {
                        inside(&arena, &tls, Arena::address(number % 100)).await?;
                    }
                }
                Ok(())
            }
        })
        .await;
    String::new()
}

/// A client that speaks TLS is served meanwhile.
async fn inside(arena: &Arena, tls: &TlsClient, client: IpAddr) -> io::Result<()> {
    let mut socket = Socket::secure(arena.connector(0), client, tls).await?;
    let head = socket.upgrade("").await?;
    arena.expect(status(&head) == 101, || format!("a websocket inside TLS: {head:?}"));
    Ok(())
}

/// Puts a pair, or something else, in the place of the served one.
fn replace(files: &TlsFiles, number: usize) -> io::Result<()> {
    let (certificate, key) = &files.served;
    let valid = |number: usize| &files.valid[number % files.valid.len()];
    let put = |(from_certificate, from_key): &Pair| {
        fs::copy(from_certificate, certificate)?;
        fs::copy(from_key, key).map(drop)
    };
    match number % 6 {
        0 | 3 => put(valid(number)),
        1 => {
            let whole = fs::read(&valid(number).0)?;
            fs::write(certificate, &whole[..whole.len() / 2])
        }
        2 => fs::remove_file(key),
        4 => put(&files.expired),
        // The certificate of one pair, the key of another one.
        _ => put(&(valid(number).0.clone(), valid(number + 1).1.clone())),
    }
}

async fn replaced_files(arena: Arena) -> String {
    arena.plan(100.0, "handshakes/s");
    let (tls, replaced) = (arena.tls_client(), Arc::new(AtomicUsize::new(0)));
    let Some(files) = arena.orders.tls.clone() else { return "no files".to_owned() };
    let swaps = async {
        let mut tick = interval(SWAP_EVERY);
        while arena.lasts() {
            tick.tick().await;
            let number = replaced.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = replace(&files, number) {
                arena.expect(false, || format!("the attacker cannot write: {error}"));
            }
            let processes = arena.orders.processes.iter().map(u32::to_string);
            Command::new("kill").arg("-HUP").args(processes).status().ok();
        }
    };
    let attack = arena.work(16, move |worker, arena| {
        let tls = tls.clone();
        async move {
            let mut number = worker;
            while arena.attempt().await {
                number += 1;
                let shaken = timeout(DEADLINE, async {
                    let mut socket =
                        Socket::secure(arena.connector(number), Arena::address(number % 100), &tls).await?;
                    socket.upgrade("").await
                });
                let shaken = shaken.await;
                let is_right = matches!(&shaken, Ok(Ok(head)) if status(head) == 101);
                arena.expect(is_right, || format!("a handshake fails: {shaken:?}"));
            }
            Ok(())
        }
    });
    tokio::join!(swaps, attack);
    format!("{} files", replaced.load(Ordering::Relaxed))
}
