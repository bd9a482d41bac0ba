//! Forged tokens, tokens where none is read, and an identity provider that misbehaves.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;
use wire::routes;

use crate::arena::Arena;
use crate::forgery::{AUDIENCE, By, P256_PEM, PROVIDED_KID, RSA_PEM, SECRET, attackers_jwk, claims, good, now, token};
use crate::provider::{self, Conduct};
use crate::row::{Attack, Row, TOKENS, Undefended};
use crate::rows::connections::{HANDSHAKES, newcomer_enters};
use crate::session::Session;
use crate::socket::{PROXY, Socket, proxy_header, status};

/// A counter that rises with each refused handshake.
const REFUSED: &[&str] = &["shaddock_sessions_closed_bad_input_total"];

/// Seconds for which servers do not fetch keys again.
const LEAST_GAP: u64 = 30;

/// A token, what is wrong with it, and whether servers accept it all the same.
type Case = (&'static str, String, bool);

/// A row that sends forged tokens.
fn forged(id: &'static str, about: &'static str, undefended: &'static str, attack: Attack) -> Row {
    Row {
        quick_secs: Some(2),
        conditions: TOKENS,
        counters: REFUSED,
        undefended: Undefended::Patch(undefended),
        ..Row::new(id, "", about, attack)
    }
}

pub(crate) fn rows() -> Vec<Row> {
    vec![
        forged("AT1", "no algorithm, no signature, another one, two, four and five parts", "any-signature", |arena| {
            Box::pin(try_all(arena, malformed()))
        }),
        forged("AT2", "the signature of one kind of key for the algorithm of another", "any-signature", |arena| {
            Box::pin(try_all(arena, confused()))
        }),
        Row {
            conditions: TOKENS,
            counters: REFUSED,
            undefended: Undefended::Patch("eager-fetches"),
            ..Row::new("AT3", "", "names of keys: paths, SQL, NUL, 10 KiB, thousands of unknown ones", |arena| {
                Box::pin(key_names(arena))
            })
        },
        forged("AT4", "keys in the header, by value and by URL; a critical extension", "any-signature", |arena| {
            Box::pin(own_keys(arena))
        }),
        forged("AT5", "every claim missing, wrong, of another type, out of time", "any-claims", |arena| {
            Box::pin(try_all(arena, wrong_claims()))
        }),
        Row {
            conditions: TOKENS,
            secs: 46,
            undefended: Undefended::Patch("large-sets"),
            ..Row::new("AT7", "", "the identity provider hangs, or sends 400 MiB", |arena| {
                Box::pin(bad_provider(arena))
            })
        },
        Row {
            quick_secs: Some(2),
            conditions: TOKENS,
            counters: &["shaddock_connections_refused_total"],
            undefended: Undefended::Settings(&[("frontend.allowed_origins", "[\"*\"]")]),
            ..Row::new("AT9b", "", "tokens in the URL, in cookies and headers; a foreign page with a cookie", |arena| {
                Box::pin(elsewhere(arena))
            })
        },
        Row {
            conditions: TOKENS,
            settings: &[("frontend.handshakes_per_sec", "10")],
            counters: &["shaddock_connections_refused_total"],
            undefended: Undefended::Settings(&[("frontend.handshakes_per_sec", "0")]),
            ..Row::new("AC3", "", "500 wrongly signed tokens a second of one address (RS256, ES256)", |arena| {
                Box::pin(wrong_signatures(arena))
            })
        },
    ]
}

fn header(algorithm: &str) -> Value {
    json!({"alg": algorithm, "typ": "JWT"})
}

fn malformed() -> Vec<Case> {
    let right = good(&Value::Null);
    let (message, signature) = right.rsplit_once('.').unwrap_or_default();
    let of_bob = good(&json!({"sub": "bob"}));
    let (message_of_bob, _) = of_bob.rsplit_once('.').unwrap_or_default();
    let none = |algorithm: &str| token(&header(algorithm), &claims(&Value::Null), By::Zeros(0));
    vec![
        ("no algorithm", none("none"), false),
        ("no algorithm, in another case", none("None"), false),
        ("no algorithm, and a signature", token(&header("none"), &claims(&Value::Null), By::Hmac(SECRET)), false),
        ("an unknown algorithm", token(&header("HS257"), &claims(&Value::Null), By::Hmac(SECRET)), false),
        ("no signature", format!("{message}."), false),
        ("a signature of zeros", token(&header("HS256"), &claims(&Value::Null), By::Zeros(32)), false),
        ("the signature of another token", format!("{message_of_bob}.{signature}"), false),
        ("two parts", message.to_owned(), false),
        ("four parts", format!("{right}.{signature}"), false),
        ("five parts", format!("{right}..{signature}"), false),
        ("padding", format!("{right}="), false),
        ("white space", format!(" {right}"), false),
        ("nothing", String::new(), false),
        ("the right one", right, true),
    ]
}

fn confused() -> Vec<Case> {
    let of = |algorithm, by| token(&header(algorithm), &claims(&Value::Null), by);
    vec![
        ("the RSA key's file as a shared key", of("HS256", By::Hmac(RSA_PEM.as_bytes())), false),
        ("the P-256 key's file as a shared key", of("HS256", By::Hmac(P256_PEM.as_bytes())), false),
        ("the shared key, said to be RSA", of("RS256", By::Hmac(SECRET)), false),
        ("P-256, said to be RSA", of("RS256", By::P256), false),
        ("RSA, said to be P-256", of("ES256", By::Rsa), false),
        ("RSA with PKCS#1, said to be PSS", of("PS256", By::Rsa), false),
        ("zeros, said to be P-256", of("ES256", By::Zeros(64)), false),
        ("P-256, said to be P-384", of("ES384", By::P256), false),
        ("the attacker's Ed25519", of("EdDSA", By::Attacker), false),
        ("RSA", of("RS256", By::Rsa), true),
        ("P-256", of("ES256", By::P256), true),
    ]
}

fn wrong_claims() -> Vec<Case> {
    let (now, of) = (now(), |changes: Value| good(&changes));
    vec![
        ("expired", of(json!({"iat": now - 200, "exp": now - 100})), false),
        ("too old", of(json!({"iat": now - 25 * 3_600})), false),
        ("not yet valid", of(json!({"nbf": now + 1_000})), false),
        ("of the future", of(json!({"iat": now + 1_000})), false),
        ("no end", of(json!({"exp": Value::Null})), false),
        ("an end as a text", of(json!({"exp": (now + 60).to_string()})), false),
        ("an end in ages", of(json!({"exp": 1_u64 << 63})), false),
        ("an end before all time", of(json!({"exp": -1})), false),
        ("no begin", of(json!({"iat": Value::Null})), false),
        ("no user", of(json!({"sub": Value::Null})), false),
        ("an empty user", of(json!({"sub": ""})), false),
        ("a user of 129 bytes", of(json!({"sub": "x".repeat(129), "name": "x"})), false),
        ("a user that is a number", of(json!({"sub": 7})), false),
        ("a user with a line break", of(json!({"sub": "a\nb"})), false),
        ("another audience", of(json!({"aud": "shop"})), false),
        ("no audience", of(json!({"aud": Value::Null})), false),
        ("audiences of other programs", of(json!({"aud": ["shop", "mail"]})), false),
        ("another issuer", of(json!({"iss": "other"})), false),
        ("no issuer", of(json!({"iss": Value::Null})), false),
        ("a name that is a list", of(json!({"name": ["ann"]})), false),
        ("no object", token(&header("HS256"), "[]", By::Hmac(SECRET)), false),
        ("no JSON", token(&header("HS256"), "{", By::Hmac(SECRET)), false),
        ("several audiences", of(json!({"aud": ["shop", AUDIENCE]})), true),
        ("a user of emoji", of(json!({"sub": "😀"})), true),
        ("a user like a subject", of(json!({"sub": "a.b.>"})), true),
    ]
}

/// Sends one token, in the handshake or in `enter`; returns the code of the response, and its text.
async fn send(arena: &Arena, number: usize, jwt: &str) -> io::Result<(Option<u64>, String)> {
    let mut session = arena.session(number, Arena::address(number % 100)).await?;
    let response = if number.is_multiple_of(2) {
        session.log_in(&json!({ "jwt": jwt })).await?
    } else {
        session.shake_hands().await?;
        session.ask(routes::ENTER, &json!({"rid": format!("at-{number}"), "jwt": jwt})).await?
    };
    Ok((response["code"].as_u64(), response.to_string()))
}

/// Sends all tokens in turn.
async fn try_all(arena: Arena, cases: Vec<Case>) -> String {
    arena.plan(40.0, "tokens/s");
    let cases = Arc::new(cases);
    let count = cases.len();
    arena
        .work(8, move |_, arena| {
            let cases = cases.clone();
            async move {
                while let Some(number) = arena.next_attempt().await {
                    // An odd step: each token goes both ways.
                    let (what, jwt, is_right) = &cases[(number / 2) % cases.len()];
                    let (code, response) = send(&arena, number, jwt).await?;
                    let wanted = if *is_right { 200 } else { 401 };
                    arena.expect(code == Some(wanted), || format!("{what}: {response}"));
                }
                Ok(())
            }
        })
        .await;
    format!("{count} tokens")
}

async fn own_keys(arena: Arena) -> String {
    let Ok(listener) = TcpListener::bind("127.0.0.1:0").await else { return "no port".to_owned() };
    let url = listener.local_addr().map(|address| format!("http://{address}/keys")).unwrap_or_default();
    let of = |extra: Value| {
        // The name of a key that servers have, so that no other rule refuses these.
        let mut header = json!({"alg": "EdDSA", "kid": PROVIDED_KID});
        for (member, value) in extra.as_object().into_iter().flatten() {
            header[member] = value.clone();
        }
        token(&header, &claims(&Value::Null), By::Attacker)
    };
    let critical = |header: Value| token(&header, &claims(&Value::Null), By::Hmac(SECRET));
    let cases = vec![
        ("a URL of keys", of(json!({"jku": url})), false),
        ("a URL of a certificate", of(json!({"x5u": url})), false),
        ("a key", of(json!({"jwk": attackers_jwk()})), false),
        ("a certificate", of(json!({"x5c": ["MAA="]})), false),
        ("a critical extension", critical(json!({"alg": "HS256", "crit": ["b64"], "b64": false})), false),
        ("a critical claim", critical(json!({"alg": "HS256", "crit": ["exp"], "exp": now()})), false),
        ("no critical extension", critical(json!({"alg": "HS256", "crit": []})), false),
    ];
    let note = try_all(arena.clone(), cases).await;
    let visited = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    arena.expect(visited.is_err(), || "a server requested a URL of a token".to_owned());
    note
}

async fn key_names(arena: Arena) -> String {
    let Some(folder) = arena.orders.provider.clone() else { return "no provider".to_owned() };
    let before = provider::requests(&folder);
    arena.plan(200.0, "tokens/s");
    arena
        .work(32, |_, arena| async move {
            while let Some(number) = arena.next_attempt().await {
                let kid = match number % 8 {
                    0 => "../../../etc/passwd".to_owned(),
                    1 => "' OR 1=1; --".to_owned(),
                    2 => format!("{PROVIDED_KID}\0"),
                    3 => "k".repeat(2_000),
                    _ => format!("unknown-{number}"),
                };
                let jwt = token(&json!({"alg": "EdDSA", "kid": kid}), &claims(&Value::Null), By::Provider);
                let (code, response) = send(&arena, number, &jwt).await?;
                arena.expect(code == Some(401), || format!("the key {kid:.40}: {response}"));
            }
            Ok(())
        })
        .await;
    let jwt = token(&json!({"alg": "EdDSA", "kid": PROVIDED_KID}), &claims(&Value::Null), By::Provider);
    let known = send(&arena, 0, &jwt).await;
    arena.expect(matches!(known, Ok((Some(200), _))), || format!("the provider's key: {known:?}"));
    let fetches = provider::requests(&folder) - before;
    let most = arena.orders.processes.len() * usize::try_from(1 + arena.orders.secs / LEAST_GAP).unwrap_or_default();
    arena.expect(fetches <= most, || format!("keys were fetched {fetches} times, {most} may be"));
    format!("{fetches} fetches")
}

/// The first fetch of servers is over when they are ready; the next one may be 30 s later.
async fn bad_provider(arena: Arena) -> String {
    let Some(folder) = arena.orders.provider.clone() else { return "no provider".to_owned() };
    let before = provider::requests(&folder);
    arena.plan(20.0, "tokens/s");
    let misbehaving = async {
        if let Err(error) = provider::order(&folder, Conduct::Misbehaves) {
            arena.expect(false, || format!("the attacker cannot write: {error}"));
        }
        sleep(Duration::from_secs(LEAST_GAP + 1)).await;
        let jwt = token(&json!({"alg": "EdDSA", "kid": "new"}), &claims(&Value::Null), By::Attacker);
        for connector in 0..2 {
            let refused = send(&arena, connector, &jwt).await;
            arena.expect(matches!(refused, Ok((Some(401), _))), || format!("an unknown key: {refused:?}"));
        }
    };
    let users = arena.work(8, |_, arena| async move {
        while let Some(number) = arena.next_attempt().await {
            let jwt = token(
                &json!({"alg": "EdDSA", "kid": PROVIDED_KID}),
                &claims(&json!({"sub": format!("user-{number}")})),
                By::Provider,
            );
            let (code, response) = send(&arena, number, &jwt).await?;
            arena.expect(code == Some(200), || format!("a user with a known key: {response}"));
        }
        Ok(())
    });
    tokio::join!(misbehaving, users);
    let fetches = provider::requests(&folder) - before;
    arena.expect(fetches > 0, || "keys were not fetched again".to_owned());
    provider::order(&folder, Conduct::Serves).ok();
    format!("{fetches} fetches")
}

/// A token of a victim where browsers put it by themselves, or where logs keep it.
async fn elsewhere(arena: Arena) -> String {
    arena.plan(40.0, "connections/s");
    arena
        .work(8, |_, arena| async move {
            while let Some(number) = arena.next_attempt().await {
                let jwt = good(&json!({"sub": format!("victim-{number}")}));
                let address = Arena::address(number % 100);
                let mut socket = Socket::bare(arena.connector(number), PROXY).await?;
                socket.write(proxy_header(address).as_bytes()).await?;
                let headers = match number % 5 {
                    0 => format!("Cookie: jwt={jwt}; token={jwt}\r\nOrigin: https://evil.example\r\n"),
                    1 => format!("Cookie: jwt={jwt}; token={jwt}\r\n"),
                    2 => format!("Authorization: Bearer {jwt}\r\n"),
                    3 => format!("Sec-WebSocket-Protocol: jwt, {jwt}\r\n"),
                    _ => format!("Referer: http://127.0.0.1/?jwt={jwt}\r\nX-Token: {jwt}\r\n"),
                };
                let status = status(&socket.upgrade(&headers).await?);
                let wanted = if number.is_multiple_of(5) { 403 } else { 101 };
                arena.expect(status == wanted, || format!("a websocket with {headers:.40}: {status}"));
                if status == 101 {
                    let mut session = Session::on(socket);
                    let response = session.log_in(&Value::Null).await?;
                    arena.expect(response.get("user").is_none(), || format!("{headers:.40}: {response}"));
                }
            }
            Ok(())
        })
        .await;
    String::new()
}

async fn wrong_signatures(arena: Arena) -> String {
    arena.plan(500.0, "connections/s");
    let of = |algorithm, by| token(&header(algorithm), &claims(&Value::Null), by);
    // As long as right ones: they cost the whole verification.
    let tokens = Arc::new([of("RS256", By::Zeros(256)), of("ES256", By::Attacker), of("RS256", By::Attacker)]);
    let verified = Arc::new(AtomicUsize::new(0));
    let count = verified.clone();
    let newcomer = async {
        sleep(Duration::from_secs(arena.orders.secs / 2)).await;
        newcomer_enters(&arena).await;
    };
    let attack = arena.work(32, move |worker, arena| {
        let (verified, tokens) = (count.clone(), tokens.clone());
        async move {
            let mut number = worker;
            while arena.attempt().await {
                number += 1;
                // One above the rate is closed behind the PROXY header.
                let opened = Session::open(arena.connector(0), arena.orders.via, Arena::address(0), None).await;
                let Ok(Ok(mut session)) = opened else {
                    continue;
                };
                let Ok(response) = session.log_in(&json!({"jwt": tokens[number % tokens.len()]})).await else {
                    continue;
                };
                verified.fetch_add(1, Ordering::Relaxed);
                arena.expect(response["code"] == 401, || format!("a wrong signature: {response}"));
            }
            Ok(())
        }
    });
    tokio::join!(newcomer, attack);
    let verified = verified.load(Ordering::Relaxed);
    let secs = usize::try_from(arena.orders.secs).unwrap_or_default();
    let most = HANDSHAKES * (5 + secs + 1);
    arena.expect((1..=most).contains(&verified), || format!("{verified} tokens are verified, {most} may be"));
    format!("{verified} verified")
}
