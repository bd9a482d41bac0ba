//! Attacks by bytes of native clients, without a websocket.

use std::io;
use std::time::Duration;

use wire::PackageKind;

use crate::arena::Arena;
use crate::row::{Row, Undefended};
use crate::rows::wire_bytes::{BAD_INPUT, broken, mutated};
use crate::session::unframed;
use crate::socket::{PROXY, Socket, proxy_header};

/// The longest that a server may take to close a connection whose bytes are wrong.
const CLOSES: Duration = Duration::from_secs(5);

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        quick_secs: Some(3),
        counters: BAD_INPUT,
        undefended: Undefended::Patch("package-types"),
        ..Row::new("AW3t", "", "AW3 over TCP without a websocket", |arena| Box::pin(broken_packages(arena)))
    }]
}

/// Opens a session over TCP, in a room.
async fn open(arena: &Arena, number: usize) -> io::Result<Socket> {
    let mut socket = Socket::bare(arena.connector(number), PROXY).await?;
    socket.write(proxy_header(Arena::address(number % 100)).as_bytes()).await?;
    socket.write(&unframed(1, br#"{"sys":{"type":"attack","version":"1"}}"#)).await?;
    while socket.next_package().await?.kind != PackageKind::Handshake {}
    socket.write(&unframed(2, b"")).await?;
    let enter = format!(r#"{{"username":"native-{number}","rid":"native-{}"}}"#, number % 50);
    let route = "connector.entryHandler.enter";
    let length = u8::try_from(route.len()).unwrap_or_default();
    socket.write(&unframed(4, &[&[0, 1, length][..], route.as_bytes(), enter.as_bytes()].concat())).await?;
    // A response with the id 1.
    loop {
        let package = socket.next_package().await?;
        if package.kind == PackageKind::Data && package.body.starts_with(&[4, 1]) {
            return Ok(socket);
        }
    }
}

async fn broken_packages(arena: Arena) -> String {
    arena.plan(100.0, "connections/s");
    arena
        .work(32, |worker, arena| async move {
            let (vectors, mut number, mut seed) = (broken(unframed), worker, 88_172_645_463_325_252 + worker as u64);
            while arena.attempt().await {
                number += 32;
                let Ok(mut socket) = open(&arena, number).await else {
                    arena.expect(false, || "the attacker cannot connect".to_owned());
                    continue;
                };
                if number / 32 % 2 == 0 {
                    let (what, bytes) = &vectors[(number / 64 * 32 + worker) % vectors.len()];
                    // The server may close before all is sent.
                    socket.write(bytes).await.ok();
                    let (_, is_closed) = socket.read_to_end(CLOSES).await;
                    arena.expect(is_closed, || format!("{what}: the connection stays open"));
                } else {
                    // Any end will do, as long as the server goes on. A cut package takes the bytes
                    // of those behind it.
                    let mut packages = (0..50).map(|_| mutated(&mut seed, unframed));
                    while let Some(package) = packages.next()
                        && socket.write(&package).await.is_ok()
                    {}
                }
            }
            Ok(())
        })
        .await;
    String::new()
}
