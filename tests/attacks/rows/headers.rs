//! Attacks by requests over HTTP and by the headers of proxies.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::arena::Arena;
use crate::row::{Row, Undefended};
use crate::socket::{PROXY, STRANGER, Socket, Via, proxy_header, status};

/// The longest that a connection is read for what else comes.
const REST: Duration = Duration::from_secs(3);

/// Connections of a public address in rows about addresses.
const FEW: usize = 20;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            quick_secs: Some(2),
            counters: &["shaddock_http_refused_total"],
            undefended: Undefended::Never("hyper's parser refuses them; it has no switch"),
            ..Row::new(
                "AW6",
                "",
                "two lengths, folded lines, bare line feeds, CONNECT: requests inside requests",
                |arena| Box::pin(smuggling(arena)),
            )
        },
        Row {
            settings: &[("frontend.max_connections_per_public_address", "20")],
            counters: &["shaddock_connections_refused_total"],
            undefended: Undefended::Settings(&[("frontend.trusted_proxies", "[\"127.0.0.9\", \"127.0.0.2\"]")]),
            ..Row::new(
                "AW7",
                "",
                "PROXY headers: forged, twice, too long, LOCAL, with extensions; cut requests, TLS",
                |arena| Box::pin(proxy_headers(arena)),
            )
        },
        Row {
            via: Via::ForwardedFor,
            settings: &[("frontend.max_connections_per_public_address", "20")],
            counters: &["shaddock_connections_refused_total"],
            undefended: Undefended::Settings(&[("frontend.trusted_proxies", "[\"127.0.0.9\", \"127.0.0.2\"]")]),
            ..Row::new(
                "AW8",
                "",
                "X-Forwarded-For of strangers, forged at the left, 10,000 entries, garbage",
                |arena| Box::pin(forwarded_for(arena)),
            )
        },
        Row {
            quick_secs: Some(2),
            counters: &["shaddock_connections_refused_total"],
            undefended: Undefended::Settings(&[("frontend.allowed_origins", "[\"*\"]")]),
            ..Row::new("AT9", "F16", "DNS rebinding: pages whose own name points at the server", |arena| {
                Box::pin(rebinding(arena))
            })
        },
    ]
}

/// Requests, and the most responses to them; each response but the last must be to what is asked
/// for openly.
fn smuggled() -> Vec<(&'static str, String, usize)> {
    let inner = "GET /entry?uid=smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let head = |method: &str, headers: &str| format!("{method} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n");
    let chunked = format!("0\r\n\r\n{inner}");
    let long = format!("Content-Length: {}\r\n", inner.len());
    vec![
        ("length and chunks", head("POST /entry", &format!("{long}Transfer-Encoding: chunked\r\n")) + &chunked, 1),
        ("two lengths", head("POST /entry", &format!("{long}Content-Length: 0\r\n")) + inner, 1),
        ("a list of lengths", head("POST /entry", &format!("Content-Length: 0, {}\r\n", inner.len())) + inner, 1),
        ("a signed length", head("POST /entry", "Content-Length: +0\r\n") + inner, 1),
        ("chunks by another name", head("POST /entry", "Transfer-Encoding: xchunked\r\n") + &chunked, 1),
        ("chunks before another coding", head("POST /entry", "Transfer-Encoding: chunked, gzip\r\n") + &chunked, 1),
        ("a folded line", head("GET /entry", "X: a\r\n Content-Length: 9\r\n"), 1),
        ("a blank before the colon", head("POST /entry", &format!("Content-Length : {}\r\n", inner.len())) + inner, 1),
        ("a length with a body that is a request", head("GET /healthz", &long) + inner, 1),
        ("an upgrade and more", head("GET /", "Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 0\r\n"), 1),
        ("CONNECT", head("CONNECT 127.0.0.1:22", ""), 1),
        ("an absolute target", head("GET http://evil.example/entry?uid=a", "Connection: close\r\n"), 1),
        ("a method of control characters", head("G\u{1}T /", ""), 1),
        ("a header of 1 MiB", head("GET /", &format!("X: {}\r\n", "x".repeat(1 << 20))), 1),
        ("200 headers", head("GET /", &"X: y\r\n".repeat(200)), 1),
        ("a target of 1 MiB", head(&format!("GET /{}", "x".repeat(1 << 20)), ""), 1),
    ]
}

async fn smuggling(arena: Arena) -> String {
    // Made once: they have megabytes.
    let requests = Arc::new(smuggled());
    arena.plan(60.0, "connections/s");
    arena.begin();
    arena
        .work(48, |worker, arena| {
            let requests = requests.clone();
            async move {
                let mut number = worker;
                while arena.attempt().await {
                    number += 1;
                    let (what, request, most) = &requests[number % requests.len()];
                    let at = if worker % 4 == 0 { arena.connector(number) } else { arena.orders.gate };
                    let mut socket = Socket::bare(at, PROXY).await?;
                    socket.write(proxy_header(Arena::address(number % 100)).as_bytes()).await?;
                    socket.write(request.as_bytes()).await.ok();
                    let (bytes, _) = socket.read_to_end(Duration::from_millis(300)).await;
                    let text = String::from_utf8_lossy(&bytes);
                    let responses = text.matches("HTTP/1.1 ").count();
                    arena.expect(responses <= *most, || format!("{what}: {responses} responses"));
                    // `/entry` answers with a port.
                    let is_smuggled = text.contains("\"port\"") && !what.starts_with("an absolute");
                    arena.expect(!is_smuggled, || format!("{what}: the request inside was answered"));
                }
                Ok(())
            }
        })
        .await;
    String::new()
}

/// The header of version 2 with these addresses and extensions.
fn version_2(command: u8, client: Ipv4Addr, extension: &[u8]) -> Vec<u8> {
    let addresses = [&client.octets()[..], &[127, 0, 0, 1, 0x9c, 0x40, 0, 80], extension].concat();
    let length = u16::try_from(addresses.len()).unwrap_or(u16::MAX).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x20 | command, 0x11], &length, &addresses].concat()
}

/// Sends bytes from a local address, then a request for a websocket; returns the status, 0 if the
/// connection is closed.
async fn ask_after(arena: &Arena, local: &str, before: &[u8], headers: &str) -> (u16, Option<Socket>) {
    let Ok(mut socket) = Socket::bare(arena.connector(0), local).await else { return (0, None) };
    if socket.write(before).await.is_err() {
        return (0, None);
    }
    match socket.upgrade(headers).await {
        Ok(head) => (status(&head), Some(socket)),
        Err(_) => (0, None),
    }
}

async fn proxy_headers(arena: Arena) -> String {
    arena.plan(60.0, "connections/s");
    spoofed_extensions(&arena).await;
    arena
        .work(24, |worker, arena| async move {
            let forged = proxy_header(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 240)));
            let twice = forged.repeat(2);
            let client = Ipv4Addr::new(203, 0, 113, 241);
            let too_long = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, 0x11, 0xff, 0xff], &[0; 600]].concat();
            let local = version_2(0, client, b"");
            let cases: [(&str, &str, &[u8], &[u16]); 7] = [
                ("a stranger's PROXY header", STRANGER, forged.as_bytes(), &[400]),
                ("a stranger's PROXY header, version 2", STRANGER, &version_2(1, client, b""), &[400]),
                ("PROXY twice", PROXY, twice.as_bytes(), &[400]),
                ("a PROXY header of 64 KiB", PROXY, &too_long, &[0]),
                ("a LOCAL connection", PROXY, &local, &[403]),
                ("no PROXY header", PROXY, b"", &[0]),
                ("TLS where there is none", STRANGER, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], &[0]),
            ];
            let mut number = worker;
            while arena.attempt().await {
                let (what, local, bytes, expected) = cases[number % cases.len()];
                number += 1;
                let (status, _socket) = ask_after(&arena, local, bytes, "").await;
                arena.expect(expected.contains(&status), || format!("{what}: {status}"));
                if number % 8 == 0 {
                    cut_request(&arena, number).await;
                }
                if number % 8 == 4 {
                    first_byte(&arena, number / 8 + 37 * worker).await;
                }
            }
            Ok(())
        })
        .await;
    String::new()
}

/// Each byte as the first of a connection: HTTP's begin a request, 1 begins a package, and all else
/// is closed at once.
async fn first_byte(arena: &Arena, number: usize) {
    let [.., byte] = number.to_be_bytes();
    let Ok(mut socket) = Socket::bare(arena.connector(number), STRANGER).await else { return };
    // As a package: one of type 1 is a handshake without a body, which is refused with an answer.
    socket.write(&[byte, 0, 0, 0]).await.ok();
    let (bytes, is_closed) = socket.read_to_end(REST).await;
    let is_right = match byte {
        1 => is_closed && bytes.starts_with(&[1]),
        b'\r' | b'\n' | b'A'..=b'Z' => bytes.is_empty() || status(&String::from_utf8_lossy(&bytes)) == 400,
        _ => is_closed && bytes.is_empty(),
    };
    arena.expect(is_right, || format!("the first byte {byte:#x}: {bytes:?}, closed: {is_closed}"));
}

/// A request's method, cut somewhere, then the end of what is sent.
async fn cut_request(arena: &Arena, number: usize) {
    let Ok(mut socket) = Socket::bare(arena.orders.gate, STRANGER).await else { return };
    socket.write(&b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"[..number % 33]).await.ok();
    let (bytes, _) = socket.read_to_end(Duration::from_millis(50)).await;
    arena.expect(bytes.is_empty(), || "half a request is answered".to_owned());
}

/// An address counts as one, whatever extensions say.
async fn spoofed_extensions(arena: &Arena) {
    let client = Ipv4Addr::new(203, 0, 113, 242);
    let mut held = Vec::new();
    for number in 0..2 * FEW {
        let name = format!("203.0.113.{number}");
        let extension = [&[0x02, 0, u8::try_from(name.len()).unwrap_or_default()], name.as_bytes()].concat();
        held.push(ask_after(arena, PROXY, &version_2(1, client, &extension), "").await);
    }
    let accepted = held.iter().filter(|(status, _)| *status == 101).count();
    arena.expect(accepted == FEW, || format!("{accepted} connections of an address with extensions are accepted"));
}

/// Connects so often with these headers; returns how often that went well.
async fn accepted(arena: &Arena, local: &str, count: usize, headers: impl Fn(usize) -> String) -> usize {
    let mut held = Vec::new();
    for number in 0..count {
        arena.attempt().await;
        held.push(ask_after(arena, local, b"", &headers(number)).await);
    }
    held.iter().filter(|(status, _)| *status == 101).count()
}

async fn forwarded_for(arena: Arena) -> String {
    arena.plan(60.0, "connections/s");
    // Strangers name a victim: it is not counted, and can connect itself.
    let mut held = Vec::new();
    for _ in 0..2 * FEW {
        held.push(ask_after(&arena, STRANGER, b"", "X-Forwarded-For: 203.0.113.243\r\n").await);
    }
    let victim = accepted(&arena, PROXY, FEW, |_| "X-Forwarded-For: 203.0.113.243\r\n".to_owned()).await;
    arena.expect(victim == FEW, || format!("a victim has {victim} connections, as strangers named it"));
    // What a client wrote itself is at the left.
    let left = |number| format!("X-Forwarded-For: 198.51.100.{number}, 203.0.113.244\r\n");
    let attacker = accepted(&arena, PROXY, 2 * FEW, left).await;
    arena.expect(attacker == FEW, || format!("{attacker} connections of a client that forges addresses"));
    let ports = |number| format!("X-Forwarded-For: [2001:db8:7::{number}]:{}\r\n", 1_000 + number);
    let network = accepted(&arena, PROXY, 2 * FEW, ports).await;
    arena.expect(network == FEW, || format!("{network} connections of one /64 with ports"));
    let long = format!("X-Forwarded-For: {}\r\n", "198.51.100.1,".repeat(10_000));
    let (status, _) = ask_after(&arena, PROXY, b"", &long).await;
    arena.expect([0, 431].contains(&status), || format!("10,000 entries: {status}"));
    let mut number = 0;
    while arena.attempt().await {
        let garbage = ["unknown", "fe80::1%eth0", "1.2.3", "'; DROP", "\u{7f}", "::ffff:127.0.0.1", "999.1.1.1"];
        let headers = format!("X-Forwarded-For: {}\r\n", garbage[number % garbage.len()]);
        number += 1;
        let (status, _) = ask_after(&arena, PROXY, b"", &headers).await;
        arena.expect([101, 400].contains(&status), || format!("{headers:?}: {status}"));
    }
    String::new()
}

async fn rebinding(arena: Arena) -> String {
    arena.plan(60.0, "connections/s");
    arena
        .work(8, |worker, arena| async move {
            let mut number = worker;
            while arena.attempt().await {
                number += 1;
                let at = if number % 2 == 0 { arena.connector(number) } else { arena.orders.gate };
                let host = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80"][number % 3];
                let upgrade = if number % 4 < 2 {
                    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                     Sec-WebSocket-Version: 13\r\n"
                } else {
                    ""
                };
                let mut socket = Socket::bare(at, STRANGER).await?;
                let request = format!(
                    "GET / HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: close\r\n{upgrade}\r\n"
                );
                socket.write(request.as_bytes()).await?;
                let head = tokio::time::timeout(REST, socket.head()).await.unwrap_or_else(|_| Ok(String::new()))?;
                arena.expect(status(&head) == 421, || format!("a page of {host}: {head:?}"));
            }
            Ok(())
        })
        .await;
    String::new()
}
