//! Messages, records, log operations and deliveries to clients as short texts.

use std::fmt;

use follower::connector_state::{ClientRequest, ClientResponse};
use follower::room::{Push, RoomResponse};
use follower::route::ClientRoute;
use model::ids::{Name, ServerId, SessionId};
use model::membership::Membership;
use model::record::{DecidedProposal, Entry, Outcome, Position, Record, RecordId};
use model::room::{Checkpoint, RoomState};
use model::rpc;
use model::rpc::messages::{
    CatchUp, FromChat, FromConnector, Item, KnownIncarnation, LogPosition, RpcRequest, RpcResponse,
};
use owner::log_operation::{LogOp, LogResult};
use owner::rooms::LogRequester;

use super::Hop;
use crate::user::Received;

/// A message, decoded by the direction of its hop.
pub(crate) struct Message<'a> {
    pub(crate) hop: Hop,
    pub(crate) body: &'a [u8],
}

pub(crate) struct Operation<'a>(pub(crate) &'a LogOp);

pub(crate) struct Done<'a>(pub(crate) &'a LogResult);

pub(crate) struct Asking(pub(crate) LogRequester);

pub(crate) struct Requested<'a>(pub(crate) &'a ClientRequest);

pub(crate) struct Shown<'a>(pub(crate) &'a Record);

/// A push or an answer to a client.
pub(crate) struct Delivered<'a>(pub(crate) &'a Received);

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.hop {
            Hop::ToChat { .. } => rpc::decode(self.body).map(|message| from_connector(&message)),
            Hop::ToConnector { .. } => rpc::decode(self.body).map(|message| from_chat(&message)),
        };
        f.write_str(&text.unwrap_or_else(|error| format!("{} bytes: {error}", self.body.len())))
    }
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            LogOp::Last { certain: true } => f.write_str("last, certain"),
            LogOp::Last { certain: false } => f.write_str("last"),
            LogOp::Before(position) => write!(f, "last before {}", position.0),
            LogOp::Epoch => f.write_str("epoch"),
            LogOp::Read(positions) => write!(f, "read {}", list(positions, |position| position.0.to_string())),
            LogOp::Append { expected, record, lifetime } => {
                write!(f, "append after {} {lifetime:?} {}", expected.0, encoded(record))
            }
        }
    }
}

impl fmt::Display for Done<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            LogResult::Last(Ok(tail)) => {
                let last = tail.last.as_ref().map_or(Position::NONE, |(position, _)| *position);
                write!(f, "epoch {} last {}", tail.epoch.0, last.0)
            }
            LogResult::Read(Ok(records)) => {
                let found = |(position, record): &(Position, Option<_>)| match record {
                    Some(_) => position.0.to_string(),
                    None => format!("{} (removed)", position.0),
                };
                write!(f, "read {}", list(records, found))
            }
            LogResult::Append(Ok(position)) => write!(f, "appended {}", position.0),
            LogResult::Epoch(Ok(epoch)) => write!(f, "epoch {}", epoch.0),
            LogResult::Last(Err(error)) | LogResult::Read(Err(error)) | LogResult::Epoch(Err(error)) => {
                write!(f, "failed: {error}")
            }
            LogResult::Append(Err(error)) => write!(f, "not appended: {error}"),
        }
    }
}

impl fmt::Display for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            LogRequester::Owner => f.write_str("for the owner"),
            LogRequester::Reader(number) => write!(f, "for reader {number}"),
        }
    }
}

impl fmt::Display for Requested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientRequest { route, body, .. } = self.0;
        match route {
            ClientRoute::Enter => write!(f, "enter {}", content(body)),
            ClientRoute::Send => write!(f, "send {}", content(body)),
            ClientRoute::History => write!(f, "history {}", content(body)),
            ClientRoute::Members => write!(f, "members {}", content(body)),
            ClientRoute::Leave => f.write_str("leave"),
            ClientRoute::Refresh => f.write_str("refresh"),
            ClientRoute::Mute | ClientRoute::Unmute | ClientRoute::Ban | ClientRoute::Unban | ClientRoute::Expel => {
                f.write_str(route.name())
            }
        }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&record(self.0))
    }
}

impl fmt::Display for Delivered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Received::Answer { id, response: ClientResponse::Room(room, reply) } => {
                write!(f, "answer {id} {room}: {}", reply_text(reply))
            }
            Received::Answer { id, response } => write!(f, "answer {id} {response:?}"),
            Received::Push { room, push } => write!(f, "push {room}: {}", push_text(push)),
        }
    }
}

fn list<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" "))
}

/// `C1` for `connector-server-1`, `S1` for `chat-server-1`.
pub(super) fn short(id: &ServerId) -> String {
    id.as_str().replace("connector-server-", "C").replace("chat-server-", "S")
}

fn session(id: &SessionId) -> String {
    format!("s{}@{}r{}", id.number, short(&id.connector), id.incarnation.0)
}

/// The first digits distinguish memberships.
fn membership(membership: &Membership) -> String {
    format!("m{}", format!("{membership:?}").chars().take(4).collect::<String>())
}

fn names(names: &[Name]) -> String {
    list(names, Name::to_string)
}

fn place(place: &LogPosition) -> String {
    format!("{}:{}/{}", place.epoch.0, place.position.0, id(place.id))
}

fn content(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}

fn item(item: &Item) -> String {
    match item {
        Item::Join { session, name, membership: m, claim, .. } => {
            format!("join s{session} {name} {} {claim:?}", membership(m))
        }
        Item::Leave { session, incarnation } => format!("leave s{session} r{}", incarnation.0),
        Item::Send { session, body, .. } => format!("send s{session} {}", content(body)),
        Item::Rights { session, rights, .. } => format!("rights s{session} {rights:?}"),
        Item::Moderate { session, target, deed, .. } => format!("moderate s{session} {target:?} {deed:?}"),
    }
}

fn from_connector(message: &FromConnector) -> String {
    let text = match &message.request {
        RpcRequest::Attach { room, at } => format!("attach {room} at {}", place(at)),
        RpcRequest::Propose { room, at, number, items, urgent } => {
            let urgent = if *urgent { " urgent" } else { "" };
            format!("propose {room} #{number}{urgent} at {} {}", place(at), list(items, item))
        }
        RpcRequest::Detach { room } => format!("detach {room}"),
        RpcRequest::History { room, number, query, .. } => {
            format!("history {room} #{number} {:?} limit {} for {}", query.span, query.limit, membership(&query.viewer))
        }
        RpcRequest::Heartbeat => format!("heartbeat{}", message.known.map(known).unwrap_or_default()),
        RpcRequest::Probe => "probe".to_owned(),
    };
    let continues: String = message.continues.iter().map(|run| format!(" continues r{}", run.0)).collect();
    format!("{}r{}{continues} {text}", short(&message.connector), message.incarnation.0)
}

fn known(known: KnownIncarnation) -> String {
    format!(" knows r{}{}", known.incarnation.0, if known.live { " live" } else { "" })
}

fn from_chat(message: &FromChat) -> String {
    let text = match &message.response {
        RpcResponse::Record { room, epoch, position, record: r } => {
            format!("record {room} {}:{} {}", epoch.0, position.0, record(r))
        }
        RpcResponse::Attached { room, requested, now, catch_up: n } => {
            format!("attached {room} asked {} now {} {}", place(requested), place(now), catch_up(n))
        }
        RpcResponse::History { room, number, upto, page } => {
            let (count, complete) = (page.messages.len(), page.complete);
            format!("history {room} #{number} up to {} messages {count} complete {complete}", place(upto))
        }
        RpcResponse::NotOwner { room } => format!("not-owner {room}"),
        RpcResponse::Unavailable { room, because } => format!("unavailable {room} {because:?}"),
        RpcResponse::Alive => match message.stats.as_ref().filter(|stats| !stats.log_shortages.is_empty()) {
            Some(stats) => format!("alive, {:?}", stats.log_shortages),
            None => "alive".to_owned(),
        },
        RpcResponse::Leaving => "leaving".to_owned(),
        RpcResponse::Stale(stale) => format!("stale,{}", known(*stale)),
    };
    format!("{}r{} n{} {text}", short(&message.chat), message.incarnation.0, message.number)
}

fn catch_up(catch_up: &CatchUp) -> String {
    match catch_up {
        CatchUp::Since { records, more } => {
            let records = list(records, |(position, r)| format!("{} {}", position.0, record(r)));
            format!("since {records}{}", if *more { " and more" } else { "" })
        }
        CatchUp::State(checkpoint) => format!("state {}", state(checkpoint)),
        CatchUp::StatePart { index, of, part } => format!("part {index} of {of} of the state {}", state(part)),
    }
}

/// Members, and the last proposal of each connector.
fn state(checkpoint: &Checkpoint) -> String {
    let state = RoomState::from(checkpoint);
    let members =
        state.members().iter().map(|(name, m)| format!("{name} {} {}", session(&m.session), membership(&m.membership)));
    let named: std::collections::BTreeSet<&ServerId> = state.known_connectors().collect();
    let proposals = named.into_iter().filter_map(|connector| {
        let last = state.last_proposal(connector)?;
        Some(format!("{}r{}#{}", short(connector), last.incarnation.0, last.number))
    });
    let (members, proposals): (Vec<_>, Vec<_>) = (members.collect(), proposals.collect());
    format!("members [{}] proposals [{}]", members.join(", "), proposals.join(" "))
}

fn encoded(bytes: &[u8]) -> String {
    Record::decode(bytes).map_or_else(|error| format!("{} bytes: {error}", bytes.len()), |r| record(&r))
}

/// A record: its author, the outcomes of the proposals that it decides, and its entries.
fn record(record: &Record) -> String {
    let (prev, time) = (format!("{}/{}", record.prev.0, id(record.prev_id)), record.time);
    let mut text = format!("{{by {} id {} prev {prev} time {time}", short(&record.owner), id(record.id));
    if !record.proposals.is_empty() {
        text += &format!(" decided {}", list(&record.proposals, decided));
    }
    if !record.acts.is_empty() {
        text += &format!(" acts {}", list(&record.acts, |acts| format!("{acts:?}")));
    }
    text += &format!(" entries {}", list(&record.entries, entry));
    if !record.notify_connectors.is_empty() {
        text += &format!(" named {}", list(&record.notify_connectors, short));
    }
    if record.checkpoint.is_some() {
        text += " checkpoint";
    }
    if let Some(part) = &record.part {
        text += &format!(" part {} of {}", part.index, part.of);
    }
    text + "}"
}

fn decided(decided: &DecidedProposal) -> String {
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Done(index) => format!("entry {index}"),
        Outcome::Unchanged => "already".to_owned(),
        Outcome::Overtaken => "overtaken".to_owned(),
        Outcome::Duplicate { seq, .. } => format!("duplicate of {seq}"),
        Outcome::Refused(refusal) => format!("refused {refusal:?}"),
    };
    let outcomes: Vec<_> = decided.outcomes.iter().map(outcome).collect();
    format!("{}r{}#{}: {};", short(&decided.connector), decided.incarnation.0, decided.number, outcomes.join(", "))
}

fn entry(entry: &Entry) -> String {
    match entry {
        Entry::Open => "open".to_owned(),
        Entry::Join { name, session: s, membership: m, .. } => format!("join({name} {} {})", session(s), membership(m)),
        Entry::Move { name, from, to, .. } => format!("move({name} {} to {})", session(from), session(to)),
        Entry::Leave { name, session: s } => format!("leave({name} {})", session(s)),
        Entry::Message { from, content, .. } => format!("message({from} {content:?})"),
        Entry::Whisper { from, to, content, .. } => format!("whisper({from} to {to} {content:?})"),
        Entry::Expel { name, session: s, .. } => format!("expel({name} {})", session(s)),
        Entry::Rights { session: s, rights } => format!("rights({} {})", session(s), rights.0),
        Entry::Rule { .. }
        | Entry::Amend { .. }
        | Entry::Redact { .. }
        | Entry::Clear { .. }
        | Entry::Revoke { .. }
        | Entry::Erase { .. } => format!("{entry:?}"),
    }
}

fn reply_text(reply: &RoomResponse) -> String {
    match reply {
        RoomResponse::Entered(entered) => {
            let missed = entered.missed.as_ref().map(|missed| {
                let (count, recovered) = (missed.messages.len(), missed.recovered);
                format!(" missed {count} cursor {:?} recovered {recovered}", missed.cursor)
            });
            let (users, of, epoch) = (names(&entered.users), membership(&entered.token.membership()), entered.epoch.0);
            format!("entered {of} epoch {epoch} seq {} with {users}{}", entered.seq, missed.unwrap_or_default())
        }
        RoomResponse::Sent { seq, .. } => format!("sent as {seq}"),
        RoomResponse::History { page, .. } => {
            format!("history, {} messages, cursor {:?}, complete {}", page.messages.len(), page.cursor, page.complete)
        }
        RoomResponse::Members(members) => format!("members {}", names(&members.users)),
        RoomResponse::Left => "left".to_owned(),
        RoomResponse::Refreshed { exp } => format!("refreshed until {exp}"),
        RoomResponse::Refused { refusal, .. } => format!("refused {refusal:?}"),
        RoomResponse::Unknown { because, .. } => format!("outcome unknown {because:?}"),
        RoomResponse::QueueFull { .. } => "busy".to_owned(),
        RoomResponse::QuotaRefused(limit) => format!("refused {limit:?}"),
    }
}

fn push_text(push: &Push) -> String {
    match push {
        Push::Chat { from, content, target: None, seq, .. } => format!("message {seq} {from} {content:?}"),
        Push::Chat { from, content, target: Some(to), seq, .. } => format!("whisper {seq} {from} to {to} {content:?}"),
        Push::Add { name, .. } => format!("add {name}"),
        Push::Leave { name } => format!("leave {name}"),
        Push::Gap { from, to, epoch } => format!("gap {from} to {to} of epoch {}", epoch.0),
        Push::Members { total, names } => format!("members {total} names {names}"),
        Push::Rule { kind, until, .. } => format!("rule {kind:?} until {until}"),
        Push::Expel { reason } => format!("expelled {reason}"),
        Push::Rights(rights) => format!("rights {rights:?}"),
    }
}

/// The last digits of a record's id, which distinguish it from others of a run.
fn id(id: RecordId) -> String {
    let text = format!("{id:?}");
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits[digits.len().saturating_sub(5)..].to_owned()
}
