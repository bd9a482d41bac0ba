//! Attacks by texts that mean something elsewhere: subjects, logs, labels, paths, prototypes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use testkit::http_get;
use tokio::time::timeout;
use wire::routes;

use crate::arena::Arena;
use crate::row::{Conditions, Row, Undefended};
use crate::socket::{PROXY, STRANGER, Socket, proxy_header, status};

/// Sends answered in any way.
const ANSWERED: &[&str] = &["shaddock_requests_answered_total"];

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            quick_secs: Some(2),
            counters: ANSWERED,
            undefended: Undefended::Patch("reserved-rooms"),
            ..Row::new("AI1", "", "names and rooms of >, *, dots, line breaks, $JS.API, ~all, ../", |arena| {
                Box::pin(subjects(arena))
            })
        },
        Row {
            counters: &["shaddock_connections_refused_total"],
            undefended: Undefended::Patch("raw-origins"),
            ..Row::new(
                "AI2",
                "",
                "line breaks, ANSI escapes, NUL, 64 KiB in names, routes and origins: logs and labels",
                |arena| Box::pin(logs(arena)),
            )
        },
        Row {
            conditions: Conditions { log: Some("trace"), ..Conditions::default() },
            secs: 4,
            counters: ANSWERED,
            undefended: Undefended::Patch("unfiltered-log"),
            ..Row::new("AI2b", "F15", "SHADDOCK_LOG=trace: no token and no text in the log", |arena| {
                Box::pin(traced(arena))
            })
        },
        Row {
            quick_secs: Some(2),
            counters: &["shaddock_http_refused_total"],
            undefended: Undefended::Patch("any-path"),
            ..Row::new("AI4", "", "/..%2f, //etc, /chat.js%00 and 10,000 other paths", |arena| Box::pin(paths(arena)))
        },
        Row {
            quick_secs: Some(2),
            counters: ANSWERED,
            undefended: Undefended::Settings(&[("names.profile", "\"any\"")]),
            ..Row::new(
                "AI5",
                "E1",
                "names that look like `ann`, and like `system`; invisible and decomposed ones",
                |arena| Box::pin(lookalikes(arena)),
            )
        },
        Row {
            quick_secs: Some(2),
            counters: ANSWERED,
            undefended: Undefended::Patch("constructor"),
            ..Row::new("AI6", "", "routes of prototypes, of other servers, of no server", |arena| {
                Box::pin(prototypes(arena))
            })
        },
    ]
}

/// Texts that mean something to a broker, a file system, a log or a browser.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        ">",
        "*",
        "a.*",
        "a.>",
        ".",
        "..",
        "a.b",
        "a b",
        " ",
        "a\r\nPUB log.x 1\r\nx",
        "$JS.API.STREAM.PURGE.ROOMS",
        "_INBOX.x",
        "a\u{2028}b",
        "~all",
        "~direct.a.b",
        "~",
        "../../etc/passwd",
        "%2e%2e",
        "\u{0}",
        "<script>",
        "\u{1b}[2J",
        "log",
        "chat",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    texts.push("\u{1f600}".repeat(64));
    texts
}

/// Subjects of all messages that a tracer saw, but for those of the servers' own making.
async fn traced_subjects(nats: &str, arena: &Arena) -> BTreeSet<String> {
    let mut subjects = BTreeSet::new();
    let Ok(client) = async_nats::connect(nats).await else { return subjects };
    let Ok(mut all) = client.subscribe(">").await else { return subjects };
    while arena.lasts() {
        if let Ok(Some(message)) = timeout(Duration::from_millis(200), all.next()).await {
            subjects.insert(message.subject.to_string());
        }
    }
    subjects
}

/// Returns true for a subject that servers use, whose own token cannot be a client's pattern.
fn is_known(subject: &str) -> bool {
    let tokens: Vec<&str> = subject.split('.').collect();
    let is_plain = |token: &str| !token.is_empty() && !token.contains(['*', '>', ' ', '\r', '\n', '\t']);
    tokens.iter().all(|token| is_plain(token))
        && match tokens[0] {
            "chat" => tokens.len() == 2,
            "log" => tokens.len() == 3 && tokens[1].parse::<u8>().is_ok_and(|slot| slot < 64),
            "connector" => tokens.len() >= 3,
            "_INBOX" | "$JS" | "gate" => true,
            _ => false,
        }
}

async fn subjects(arena: Arena) -> String {
    arena.plan(50.0, "requests/s");
    let traced = {
        let (arena, nats) = (arena.clone(), arena.orders.nats.clone());
        async move {
            match nats {
                Some(nats) => traced_subjects(&nats, &arena).await,
                None => BTreeSet::new(),
            }
        }
    };
    let attacking = arena.work(10, |worker, arena| async move {
        let (texts, mut number) = (texts(), worker);
        while arena.attempt().await {
            let text = &texts[number % texts.len()];
            number += 10;
            let mut session = arena.session(number, Arena::address(number % 100)).await?;
            session.shake_hands().await?;
            let entered = session.ask(routes::ENTER, &json!({"username": format!("a{number}"), "rid": text})).await?;
            let is_refused = entered["code"] == 500;
            let is_bad = text.starts_with('~') || text.contains('*') || text.chars().any(char::is_control);
            arena.expect(is_refused == is_bad, || format!("the room {text:?}: {entered}"));
            let named =
                session.ask(routes::ENTER, &json!({"username": text, "rid": format!("ai1-{}", number % 40)})).await?;
            let is_bad = is_bad_name(text);
            arena.expect((named["code"] == 500) == is_bad || named["code"] == 429 || is_taken(&named), || {
                format!("the name {text:?}: {named}")
            });
        }
        Ok(())
    });
    let (traced, ()) = tokio::join!(traced, attacking);
    let foreign: Vec<_> = traced.iter().filter(|subject| !is_known(subject)).collect();
    arena.expect(foreign.is_empty(), || format!("foreign subjects: {foreign:?}"));
    match traced.len() {
        0 => String::new(),
        count => format!("{count} subjects traced"),
    }
}

/// Returns true for the texts of [`texts`] that no member may have as a name.
fn is_bad_name(text: &str) -> bool {
    text.contains(['*', '\u{2028}']) || text.chars().any(char::is_control) || text.trim() != text
}

fn is_taken(response: &Value) -> bool {
    response["reason"].as_str().is_some_and(|reason| reason.starts_with("name-taken"))
}

/// The word in all texts of [`logs`]; no label of a metric may have it.
const MARK: &str = "evilmark";

async fn logs(arena: Arena) -> String {
    arena.plan(40.0, "connections/s");
    arena
        .work(8, |worker, arena| async move {
            let mut number = worker;
            while arena.attempt().await {
                number += 8;
                let bad = [
                    format!("{MARK}\u{1b}[31m"),
                    format!("{MARK}\r\n2026-01-01T00:00:00Z ERROR cluster: forged"),
                    format!("{MARK}\u{0}"),
                    format!("{MARK}{}", "x".repeat(3_000)),
                ][number / 8 % 4]
                    .clone();
                let mut session = arena.session(number, Arena::address(number % 100)).await?;
                session.shake_hands().await?;
                let body = json!({"username": bad, "rid": "lobby"}).to_string();
                session.send(routes::ENTER, body.as_bytes()).await?;
                let route: String = bad.chars().take(200).collect();
                session.send(&route, b"{}").await.ok();
                origin(&arena, number).await;
            }
            Ok(())
        })
        .await;
    let metrics = http_get(arena.orders.gate, "/metrics", &["Host: 127.0.0.1"]).await.map(|response| response.body);
    arena.expect(metrics.is_some_and(|body| !body.contains(MARK)), || "a client made a label".to_owned());
    String::new()
}

/// A page whose origin is for a terminal.
async fn origin(arena: &Arena, number: usize) {
    let Ok(mut socket) = Socket::bare(arena.connector(number), STRANGER).await else { return };
    let escape = ["\u{1b}[31m", "a\tb"][number / 8 % 2];
    let headers = format!("Origin: http://{MARK}{escape}.example\r\n");
    let head = socket.upgrade(&headers).await.unwrap_or_default();
    arena.expect([0, 400, 403].contains(&status(&head)), || format!("an origin of control characters: {head:?}"));
}

async fn traced(arena: Arena) -> String {
    arena.plan(20.0, "messages/s");
    arena
        .work(4, |number, arena| async move {
            let mut session = arena.session(number, Arena::address(number)).await?;
            session.enter(&format!("attacker-{number}"), "traced").await?;
            let body = json!({"content": crate::witness::TEXT, "target": "*"});
            while arena.attempt().await {
                session.ask(routes::SEND, &body).await?;
            }
            Ok(())
        })
        .await;
    String::new()
}

async fn paths(arena: Arena) -> String {
    arena.plan(1_300.0, "requests/s");
    arena
        .work(16, |worker, arena| async move {
            let bad = [
                "/..%2f",
                "/%2e%2e/",
                "/../../etc/passwd",
                "//etc",
                "//chat.js",
                "/chat.js%00",
                "/chat.js/",
                "/CHAT.JS",
                "/chat.js.map",
                "/%63hat.js%2f",
                "/.git/config",
                "/v1/rooms",
                "/debug",
                "/\\..\\",
                "/chat.js;a",
                "/web/chat.js",
            ];
            let mut socket = None;
            let mut number = worker;
            while arena.attempt().await {
                number += 16;
                let path =
                    bad.get(number % 64).map_or_else(|| format!("/{number:x}/{number}.js"), |path| (*path).to_owned());
                let is_gate = worker % 4 != 0;
                let at = if is_gate { arena.orders.gate } else { arena.connector(worker) };
                let mut open = match socket.take() {
                    Some(open) => open,
                    None => {
                        let mut new = Socket::bare(at, PROXY).await?;
                        new.write(proxy_header(Arena::address(worker)).as_bytes()).await?;
                        new
                    }
                };
                open.write(format!("HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes()).await?;
                let status = status(&open.head().await?);
                let wanted = if is_gate { 404 } else { 426 };
                // A target that is none is no HTTP.
                arena.expect([400, wanted].contains(&status), || format!("{path}: {status}"));
                socket = (status != 400).then_some(open);
            }
            Ok(())
        })
        .await;
    let scripts = ["chat", "members", "moderation", "permission", "pomelo-client", "texts", "timeline"];
    let scripts = scripts.map(|name| format!("/{name}.js"));
    let others = ["/", "/chat.css", "/icon.svg", "/favicon.ico"];
    for path in others.into_iter().chain(scripts.iter().map(String::as_str)) {
        let file = http_get(arena.orders.gate, path, &["Host: 127.0.0.1"]).await.map(|response| response.status);
        arena.expect(file == Some(200), || format!("{path}: {file:?}"));
    }
    String::new()
}

/// Names that no client may have beside `ann`, and the word of their refusal.
const IMITATIONS: [(&str, &str); 34] = [
    ("аnn", "name-taken"),
    ("аոո", "name-taken"),
    ("𝐚𝐧𝐧", "name-taken"),
    ("ａｎｎ", "name-taken"),
    ("ann\u{200d}", "bad-name"),
    ("ann\u{200b}", "bad-name"),
    ("ann\u{3164}", "bad-name"),
    ("\u{3164}", "bad-name"),
    ("\u{200b}", "bad-name"),
    ("\u{202e}nna", "bad-name"),
    ("ann ", "bad-name"),
    (" ann", "bad-name"),
    ("cafe\u{301}", "bad-name"),
    ("ann\u{fe0f}", "bad-name"),
    ("system", "bad-name"),
    ("SYSTEM", "bad-name"),
    ("System", "bad-name"),
    ("sYsTeM", "bad-name"),
    ("ｓｙｓｔｅｍ", "bad-name"),
    ("ＳＹＳＴＥＭ", "bad-name"),
    ("ѕystem", "bad-name"),
    ("sуstem", "bad-name"),
    ("ѕуѕtеm", "bad-name"),
    ("SYSTEМ", "bad-name"),
    ("SYSTΕM", "bad-name"),
    ("ЅYSTEM", "bad-name"),
    ("𝐬𝐲𝐬𝐭𝐞𝐦", "bad-name"),
    ("𝕤𝕪𝕤𝕥𝕖𝕞", "bad-name"),
    ("𝓼𝔂𝓼𝓽𝓮𝓶", "bad-name"),
    ("ⓢⓨⓢⓣⓔⓜ", "bad-name"),
    ("systern", "bad-name"),
    ("ꜱystem", "bad-name"),
    ("sүstem", "bad-name"),
    ("ＳYSTEＭ", "bad-name"),
];

/// Names that people distinguish, although the first two, and the last two, look alike.
const DISTINCT: [&str; 4] = ["al", "a1", "力", "カ"];

async fn lookalikes(arena: Arena) -> String {
    arena.plan(50.0, "requests/s");
    arena
        .work(10, |worker, arena| async move {
            let (room, mut number) = (format!("ai5-{worker}"), worker);
            let mut there = Vec::new();
            for name in ["ann"].iter().chain(DISTINCT.iter().filter(|_| worker == 0)) {
                let mut session = arena.session(number, Arena::address(worker)).await?;
                let entered = session.enter(name, &room).await?;
                arena.expect(entered["code"] == 200, || format!("{name:?}: {entered}"));
                there.push(session);
            }
            while arena.attempt().await {
                let (name, word) = IMITATIONS[number % IMITATIONS.len()];
                number += 10;
                let mut session = arena.session(number, Arena::address(number % 100)).await?;
                let entered = session.enter(name, &room).await?;
                let is_refused = entered["reason"].as_str().is_some_and(|reason| reason.starts_with(word));
                arena.expect(entered["code"] == 500 && is_refused, || format!("{name:?}: {entered}"));
            }
            Ok(())
        })
        .await;
    String::new()
}

async fn prototypes(arena: Arena) -> String {
    arena.plan(60.0, "requests/s");
    arena
        .work(8, |worker, arena| async move {
            let unknown = [
                "__proto__",
                "a.__proto__.b",
                "chat.__proto__.send",
                "chat.chatHandler.__proto__",
                "chat.chatHandler.toString",
                "toString",
                "chat.chatRemote.add",
                "chat.sys.closed",
                "gate.gateHandler.queryEntry",
                "area.areaHandler.walk",
                "connector.sys.kick",
                "log.51.lobby",
                "api.v1.publish",
                "",
                ".",
                "..",
                "a.b.c.d",
            ];
            let mut session = None;
            let mut number = worker;
            while arena.attempt().await {
                number += 8;
                let mut open = match session.take() {
                    Some(open) => open,
                    None => {
                        let mut new = arena.session(number, Arena::address(number % 100)).await?;
                        new.shake_hands().await?;
                        new
                    }
                };
                if number / 8 % 4 == 0 {
                    open.send("chat.chatHandler.constructor", b"{}").await?;
                    let reason = timeout(Duration::from_secs(5), open.until_closed()).await;
                    arena.expect(reason == Ok(Some("attack".to_owned())), || format!("constructor: {reason:?}"));
                } else {
                    let route = unknown[number / 8 % unknown.len()];
                    let answer = open.ask(route, &json!({"rid": "lobby", "content": "x", "target": "*"})).await?;
                    arena.expect(answer["code"] == 500, || format!("{route:?}: {answer}"));
                    session = Some(open);
                }
            }
            Ok(())
        })
        .await;
    String::new()
}
