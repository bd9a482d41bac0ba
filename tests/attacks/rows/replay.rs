//! What was stolen from a user, used again by others: the token of a membership, and that of the login.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use wire::routes;

use crate::arena::Arena;
use crate::forgery::good;
use crate::row::{Row, TOKENS, Undefended};
use crate::session::{Event, Session};

/// Victims, each in a room of its own with a friend.
const VICTIMS: usize = 4;

/// Uses of what was stolen.
const KINDS: usize = 8;

/// Texts of the friend: for the victim alone, and for all.
const WHISPER: &str = "for the victim alone";
const TO_ALL: &str = "for all";

/// Time in which the friend would get another push.
const NO_PUSH: Duration = Duration::from_millis(500);

pub(crate) fn rows() -> Vec<Row> {
    let about = "a membership's token with another user or with none, a refresh with a token of another user";
    vec![Row {
        quick_secs: Some(2),
        conditions: TOKENS,
        counters: &["shaddock_requests_answered_total"],
        undefended: Undefended::Patch("stolen-tokens"),
        ..Row::new("AT6", "", about, |arena| Box::pin(replay(arena)))
    }]
}

/// What thieves know of a victim.
#[derive(Debug, Clone)]
struct Stolen {
    name: String,
    room: String,
    jwt: String,
    /// Those of the response to its `enter`.
    token: Value,
    seq: Value,
    epoch: Value,
}

impl Stolen {
    /// A body of `enter` with the stolen token of the membership.
    fn enter(&self, name: &str) -> Value {
        json!({
            "username": name, "rid": self.room, "token": self.token, "resume": true,
            "since": self.seq, "epoch": self.epoch,
        })
    }
}

/// A victim in its room, with a friend who whispered to it.
struct Victim {
    stolen: Stolen,
    number: usize,
    session: Session,
    friend: Session,
}

impl Victim {
    async fn begin(arena: &Arena, number: usize) -> io::Result<Self> {
        let (name, room) = (format!("victim-{number}"), format!("replay-{number}"));
        let jwt = good(&json!({"sub": name}));
        let mut session = logged_in(arena, number, Some(&jwt)).await?;
        let entered = session.ask(routes::ENTER, &json!({"rid": room, "resume": true})).await?;
        let mut friend = arena.session(number, Arena::address(80 + number)).await?;
        friend.enter("friend", &room).await?;
        for (content, target) in [(WHISPER, name.as_str()), (TO_ALL, "*")] {
            friend.ask(routes::SEND, &json!({"content": content, "target": target})).await?;
        }
        let [token, seq, epoch] = ["token", "seq", "epoch"].map(|member| entered[member].clone());
        Ok(Self { stolen: Stolen { name, room, jwt, token, seq, epoch }, number, session, friend })
    }

    /// Speaks, comes back by another connection, and asks the friend what it noticed.
    async fn end(mut self, arena: &Arena) -> io::Result<()> {
        let sent = self.session.ask(routes::SEND, &json!({"content": "still here", "target": "*"})).await?;
        arena.expect(sent["code"] == 200, || format!("a victim speaks: {sent}"));
        let mut again = logged_in(arena, self.number + 1, Some(&self.stolen.jwt)).await?;
        let back = again.ask(routes::ENTER, &self.stolen.enter(&self.stolen.name)).await?;
        let has_whisper = back.to_string().contains(WHISPER);
        arena.expect(back["code"] == 200 && has_whisper, || format!("a victim comes back: {back}"));
        while let Ok(event) = timeout(NO_PUSH, self.friend.next()).await {
            let is_over = matches!(event, Event::Kick(_) | Event::Closed);
            let has_left = matches!(&event, Event::Push(body)
                if body["route"] == routes::ON_LEAVE && body["user"] == self.stolen.name.as_str());
            arena.expect(!is_over && !has_left, || format!("a victim's friend: {event:?}"));
            if is_over {
                break;
            }
        }
        Ok(())
    }
}

/// A session, of the user of a login's token if there is one.
async fn logged_in(arena: &Arena, number: usize, jwt: Option<&str>) -> io::Result<Session> {
    let mut session = arena.session(number, Arena::address(number % 80)).await?;
    session.shake_hands_as(&jwt.map_or(Value::Null, |jwt| json!({ "jwt": jwt }))).await?;
    Ok(session)
}

async fn replay(arena: Arena) -> String {
    arena.plan(40.0, "thefts/s");
    arena
        .work(VICTIMS, |worker, arena| async move {
            // An error is a fault: a victim or a thief was closed, who should get responses.
            if let Err(error) = steal_from(worker, &arena).await {
                arena.expect(false, || format!("victim {worker}: {error}"));
            }
            Ok(())
        })
        .await;
    format!("{KINDS} kinds")
}

async fn steal_from(number: usize, arena: &Arena) -> io::Result<()> {
    let victim = Victim::begin(arena, number).await?;
    while let Some(number) = arena.next_attempt().await {
        steal(arena, number, &victim.stolen).await?;
    }
    victim.end(arena).await
}

/// Uses once what was stolen, and compares the response with the one of the protocol.
async fn steal(arena: &Arena, number: usize, stolen: &Stolen) -> io::Result<()> {
    let thief = format!("thief-{number}");
    let own = good(&json!({"sub": thief}));
    let namesake = good(&json!({"sub": thief, "name": stolen.name}));
    let as_victim = stolen.enter(&stolen.name);
    let login = json!({"rid": "replay", "jwt": stolen.jwt});
    let (what, jwt, route, body, wanted) = match number % KINDS {
        0 => ("a membership of another user of the name", Some(&namesake), routes::ENTER, as_victim, "500 name-taken"),
        1 => ("a membership under the name of another user", Some(&own), routes::ENTER, as_victim, "403 not-allowed"),
        2 => ("a membership of a user, without one", None, routes::ENTER, as_victim, "500 name-taken"),
        3 => ("a membership under the own name", Some(&own), routes::ENTER, stolen.enter(&thief), "200"),
        4 => ("a refresh with another user", Some(&own), routes::REFRESH, login, "403 not-allowed"),
        5 => ("a refresh without a user before", None, routes::REFRESH, login, "403 not-allowed"),
        6 => ("an enter with another user", Some(&own), routes::ENTER, login, "403 not-allowed"),
        _ => ("a refresh with the same user", Some(&own), routes::REFRESH, json!({ "jwt": own }), "200"),
    };
    let mut session = logged_in(arena, number, jwt.map(String::as_str)).await?;
    let response = session.ask(route, &body).await?;
    let reason = response["reason"].as_str().unwrap_or_default();
    let got = format!("{} {}", response["code"], reason.split(':').next().unwrap_or_default());
    let response = response.to_string();
    arena.expect(got.trim_end() == wanted, || format!("{what}: {response}"));
    arena.expect(!response.contains(WHISPER), || format!("{what} shows a whisper: {response}"));
    // Else nothing would follow from the missing whisper.
    let is_new = number % KINDS == 3;
    arena.expect(!is_new || response.contains(TO_ALL), || format!("{what} misses messages: {response}"));
    Ok(())
}
