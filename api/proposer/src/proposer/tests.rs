//! A proposer and the responses of chat servers, without a bus.

use model::act::{Act, MessageMeta};
use model::ids::Name;
use model::membership::Token;
use model::placement::{self, API};
use model::record::Epoch;
use model::rpc::messages::{ActOutcome, FromChat, HistoryPage, LogPosition, LookResult, RoomPage, RpcResponse};
use model::servers::{CHAT, Server};

use super::*;

const TIMES: Times = Times { request_ms: 5_000, repeat_ms: 1_000, lease_ms: 10_000 };

struct Harness {
    proposer: Proposer,
    servers: Arc<Servers>,
    now: u64,
    tickets: u64,
    sent: Vec<(ServerId, u64, FromConnector)>,
    resolved: Vec<(Ticket, Outcome)>,
    events: Vec<Event>,
}

fn id(kind: &str, number: usize) -> ServerId {
    ServerId::new(&format!("{kind}-server-{number}")).unwrap()
}

fn room() -> RoomId {
    RoomId::new("lobby").unwrap()
}

fn act(number: u64, content: &str) -> IdentifiedAct {
    let (from, meta) = (Name::new("app").unwrap(), MessageMeta::default());
    let id = Token::new(number.into()).membership().message("act");
    IdentifiedAct { id, digest: number, act: Act::Say { from, content: content.to_owned(), meta } }
}

fn servers(chats: usize) -> Arc<Servers> {
    let list = |kind: &str, count| (1..=count).map(|n| Server::new(id(kind, n), "127.0.0.1")).collect();
    Arc::new(Servers::new([(CHAT.to_owned(), list("chat", chats)), (API.to_owned(), list("api", 2))]))
}

fn done(seq: u64) -> ActOutcome {
    ActOutcome::Done { seq, time: 9 }
}

impl Harness {
    fn new() -> Self {
        let servers = servers(3);
        let proposer = Proposer::new(id("api", 1), Incarnation(7), servers.clone(), TIMES, SizeLimits::default());
        let (sent, resolved, events) = (Vec::new(), Vec::new(), Vec::new());
        Self { proposer, servers, now: 0, tickets: 0, sent, resolved, events }
    }

    fn call(&mut self, action: impl FnOnce(&mut Proposer, u64) -> Vec<Effect>) {
        for effect in action(&mut self.proposer, self.now) {
            match effect {
                Effect::Send { chat, token, body, .. } => self.sent.push((chat, token, rpc::decode(&body).unwrap())),
                Effect::Resolve { ticket, outcome } => self.resolved.push((ticket, outcome)),
                Effect::Report(event) => self.events.push(event),
                Effect::RequestRecheck => {}
            }
        }
    }

    fn act(&mut self, number: u64) -> Ticket {
        self.act_in(room(), act(number, "hi"))
    }

    fn act_in(&mut self, room: RoomId, act: IdentifiedAct) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.call(|proposer, now| proposer.act(room, act, ticket, now));
        ticket
    }

    fn look(&mut self) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.call(|proposer, now| proposer.look(room(), LookAbout::Info, ticket, now));
        ticket
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.call(Proposer::tick);
    }

    fn respond(&mut self, chat: &ServerId, token: u64, response: RpcResponse) {
        let (chat, incarnation) = (chat.clone(), Incarnation(3));
        let message = FromChat { v: rpc::VERSION, chat, incarnation, number: 0, stats: None, response };
        let body = rpc::encode(&message).unwrap();
        self.call(|proposer, now| proposer.receive(token, &body, now).unwrap());
    }

    /// Takes the only message of acts that was sent: its chat server, token, run, number, and acts.
    fn message(&mut self) -> (ServerId, u64, Incarnation, u64, Vec<u64>) {
        let sent = std::mem::take(&mut self.sent);
        let mut acts = sent.into_iter().filter_map(|(chat, token, message)| match message.request {
            RpcRequest::Act { number, acts, .. } => {
                Some((chat, token, message.incarnation, number, acts.iter().map(|act| act.digest).collect()))
            }
            _ => None,
        });
        let message = acts.next().unwrap();
        assert_eq!(acts.next(), None, "one message");
        message
    }

    fn acted(&mut self, (chat, token, number): (&ServerId, u64, u64), outcomes: Vec<ActOutcome>) {
        self.respond(chat, token, RpcResponse::Acted { room: room(), number, epoch: Epoch(5), outcomes });
    }

    fn resolved(&mut self) -> Vec<(Ticket, Outcome)> {
        std::mem::take(&mut self.resolved)
    }

    /// A round of probes to which all chat servers but these respond.
    fn round(&mut self, silent: &[&ServerId], leaving: &[&ServerId]) {
        self.now += 500;
        self.call(Proposer::send_probes);
        let is_probe = |sent: &(ServerId, u64, FromConnector)| sent.2.request == RpcRequest::Probe;
        let (probes, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sent).into_iter().partition(is_probe);
        self.sent = others;
        for (chat, token, _) in probes.iter().filter(|(chat, ..)| !silent.contains(&chat)) {
            let response = if leaving.contains(&chat) { RpcResponse::Leaving } else { RpcResponse::Alive };
            self.respond(chat, *token, response);
        }
    }

    fn home(&self) -> ServerId {
        placement::place("lobby", self.servers.chat()).unwrap().id.clone()
    }
}

#[test]
fn later_acts_are_batched_behind_the_one_in_flight() {
    let mut harness = Harness::new();
    let first = harness.act(1);
    let (chat, token, run, number, acts) = harness.message();
    assert_eq!((&chat, run, number, acts), (&harness.home(), Incarnation(7), 1, vec![1]));
    let others: Vec<Ticket> = (2..=100).map(|number| harness.act(number)).collect();
    assert!(harness.sent.is_empty());
    harness.acted((&chat, token, 1), vec![done(4_000)]);
    assert_eq!(harness.resolved(), [(first, Outcome::Done { seq: 4_000, time: 9, epoch: Epoch(5) })]);
    let (_, token, _, number, acts) = harness.message();
    assert_eq!((number, acts), (2, (2..=65).collect()), "as many as a message holds");
    harness.acted((&chat, token, 2), (0..64).map(done).collect());
    let (_, token, _, number, acts) = harness.message();
    assert_eq!((number, acts), (3, (66..=100).collect()));
    let refused = ActOutcome::Refused(Refusal::TooMany);
    harness.acted((&chat, token, 3), vec![refused; 35]);
    let resolved = harness.resolved();
    assert_eq!(resolved.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), others);
    assert_eq!(resolved.last().unwrap().1, Outcome::Refused(Refusal::TooMany));
    assert_eq!((harness.proposer.waiting(), harness.proposer.loads.len(), harness.proposer.rooms.len()), (0, 0, 0));
}

#[test]
fn a_message_is_repeated_unchanged_until_its_time_is_over() {
    let mut harness = Harness::new();
    let first = harness.act(1);
    let message = harness.message();
    harness.now = 500;
    let second = harness.act(2);
    for _ in 1..5 {
        harness.pass(1_000);
        assert_eq!(harness.message(), message);
    }
    harness.now = 4_999;
    harness.pass(1);
    assert_eq!(harness.resolved(), [(first, Outcome::Unknown)]);
    let next = harness.message();
    assert_eq!((next.3, &next.4), (2, &vec![2]), "the next one has a higher number");
    // A late response to the former one is none to this one.
    harness.acted((&message.0, message.1, 1), vec![done(1)]);
    harness.acted((&message.0, message.1, 2), vec![done(1)]);
    harness.acted((&next.0, next.1, 1), vec![done(1)]);
    assert_eq!(harness.resolved(), []);
    harness.pass(500);
    assert_eq!(harness.resolved(), [(second, Outcome::Unknown)]);
    assert_eq!(harness.proposer.waiting(), 0);
}

#[test]
fn while_the_home_is_down_the_next_candidate_is_asked() {
    let mut harness = Harness::new();
    harness.act(1);
    let message = harness.message();
    let home = harness.home();
    harness.round(&[&home], &[]);
    harness.round(&[&home], &[]);
    assert!(harness.sent.is_empty(), "one lost probe is chance");
    harness.round(&[&home], &[]);
    let elsewhere = harness.message();
    assert_ne!(elsewhere.0, home);
    assert_eq!((elsewhere.1, elsewhere.3, &elsewhere.4), (message.1, message.3, &message.4), "the same message");
    // It comes back, and goes in order.
    harness.round(&[], &[]);
    assert_eq!(harness.message().0, home);
    harness.round(&[], &[&home]);
    assert_eq!(harness.message().0, elsewhere.0);
    harness.acted((&elsewhere.0, elsewhere.1, 1), vec![done(1)]);
    assert_eq!(harness.resolved().len(), 1);
    assert!(
        matches!(
            harness.events[..],
            [Event::ChatServersDown { .. }, Event::ChatServerUp { .. }, Event::ChatServerLeaving { .. }]
        ),
        "{:?}",
        harness.events
    );
}

#[test]
fn requests_without_an_outcome_are_repeated_soon() {
    let mut harness = Harness::new();
    harness.act(1);
    let look = harness.look();
    let (chat, token) = (harness.sent[0].0.clone(), [harness.sent[0].1, harness.sent[1].1]);
    for response in [
        RpcResponse::NotOwner { room: room() },
        RpcResponse::Busy { room: room() },
        RpcResponse::Unavailable { room: room(), because: model::rpc::messages::Unavailable::LogAway },
    ] {
        harness.sent.clear();
        token.iter().for_each(|token| harness.respond(&chat, *token, response.clone()));
        assert!(harness.sent.is_empty());
        harness.pass(AGAIN_MS);
        assert_eq!(harness.sent.len(), 2);
    }
    harness.sent.clear();
    harness.call(|proposer, now| proposer.on_no_responders(token[0], now));
    harness.pass(AGAIN_MS);
    assert_eq!(harness.message().1, token[0]);
    let (upto, found) = (LogPosition::default(), LookResult::Messages(HistoryPage::default()));
    let looked = RpcResponse::Looked { room: room(), number: 1, upto, found: found.clone() };
    harness.respond(&chat, token[1], looked.clone());
    harness.respond(&chat, token[1], looked);
    assert_eq!(harness.resolved(), [(look, Outcome::Looked { owner: chat, upto, found })]);
}

#[test]
fn behind_a_later_message_of_this_server_the_acts_go_out_above_it() {
    let mut harness = Harness::new();
    harness.act(1);
    let (chat, token, run, ..) = harness.message();
    let stale = |incarnation, number| RpcResponse::ActStale { room: room(), incarnation, number };
    harness.act(2);
    harness.respond(&chat, token, stale(run, 1));
    assert!(harness.sent.is_empty(), "it is not above the one in flight");
    harness.respond(&chat, token, stale(run, 40));
    let (_, token, same, number, acts) = harness.message();
    assert_eq!((same, number, acts), (run, 41, vec![1, 2]));
    harness.respond(&chat, token, stale(Incarnation(900), 3));
    let (_, token, above, number, acts) = harness.message();
    assert!(above > Incarnation(900) && harness.proposer.incarnation() == above);
    assert_eq!((number, acts), (42, vec![1, 2]));
    harness.respond(&chat, token, stale(Incarnation(u64::MAX), 3));
    harness.respond(&chat, token, stale(above, u64::MAX));
    assert!(harness.sent.is_empty(), "such numbers have only wrong senders");
    harness.acted((&chat, token, 42), vec![done(1), done(2)]);
    assert_eq!(harness.resolved().len(), 2);
}

#[test]
fn no_more_inputs_wait_than_may() {
    let mut harness = Harness::new();
    for number in 0..MAX_ACTS_PER_CHAT as u64 {
        harness.act(number);
    }
    let refused = harness.act(9_999);
    assert_eq!(harness.resolved(), [(refused, Outcome::Busy)]);
    // Rooms of other chat servers have places of their own.
    let home = harness.home();
    let other = (0..).map(|n| RoomId::new(&format!("room-{n}")).unwrap());
    let other = other.into_iter().find(|room| harness.proposer.chat_servers.server_for(room) != Some(&home)).unwrap();
    harness.act_in(other, act(1, "hi"));
    assert_eq!(harness.resolved(), []);
    let large = harness.act_in(room(), act(2, &"x".repeat(SizeLimits::default().record())));
    assert_eq!(harness.resolved(), [(large, Outcome::Refused(Refusal::TooLong))]);
    let looks: Vec<Ticket> = (0..=MAX_READS).map(|_| harness.look()).collect();
    assert_eq!(harness.resolved(), [(*looks.last().unwrap(), Outcome::Busy)]);
    harness.pass(5_000);
    assert_eq!(harness.resolved().len(), MAX_ACTS_PER_CHAT + 1 + MAX_READS);
    assert_eq!((harness.proposer.waiting(), harness.proposer.loads.len()), (0, 0));
}

#[test]
fn a_list_is_asked_of_any_server_that_is_up() {
    let mut harness = Harness::new();
    let ticket = Ticket(1);
    harness.call(|proposer, now| proposer.list_rooms(RoomQuery::default(), ticket, now));
    let (first, token, _) = harness.sent.pop().unwrap();
    harness.respond(&first, token, RpcResponse::Rooms { number: 1, page: None });
    harness.pass(AGAIN_MS);
    let (second, token, _) = harness.sent.pop().unwrap();
    assert_ne!(first, second);
    let page = RoomPage { rooms: vec![room()], more: false };
    harness.respond(&second, token, RpcResponse::Rooms { number: 1, page: Some(page.clone()) });
    assert_eq!(harness.resolved(), [(ticket, Outcome::Rooms(page))]);
}

#[test]
fn responses_of_strangers_and_to_former_runs_have_no_effect() {
    let mut harness = Harness::new();
    harness.act(1);
    let (chat, token, ..) = harness.message();
    harness.acted((&id("chat", 9), token, 1), vec![done(1)]);
    assert!(matches!(harness.events[..], [Event::SenderRefused { .. }]));
    let former = Proposer::new(id("api", 1), Incarnation(6), harness.servers.clone(), TIMES, SizeLimits::default());
    let mut former = Harness { proposer: former, ..Harness::new() };
    former.act(1);
    let (_, of_former, ..) = former.message();
    harness.acted((&chat, of_former, 1), vec![done(1)]);
    harness.acted((&chat, token, 1), vec![done(1), done(2)]);
    assert_eq!(harness.resolved(), [], "neither of another run, nor of another message");
    harness.acted((&chat, token, 1), vec![done(1)]);
    assert_eq!(harness.resolved().len(), 1);
}

#[test]
fn after_a_reconnect_and_a_change_of_servers_requests_go_out_again() {
    let mut harness = Harness::new();
    harness.act(1);
    let message = harness.message();
    harness.call(Proposer::on_reconnected);
    assert_eq!(harness.message(), message);
    let home = harness.home();
    let left = harness.servers.chat().iter().filter(|server| server.id != home).cloned().collect();
    harness.call(|proposer, now| proposer.set_servers(Arc::new(Servers::new([(CHAT.to_owned(), left)])), now));
    assert_ne!(harness.message().0, home);
    // The removed server may still respond for a while.
    harness.acted((&home, message.1, 1), vec![done(1)]);
    assert_eq!(harness.resolved().len(), 1);
}
