//! Wall clocks of single processes that are set forward and back, between two runs and while they
//! run: rooms go on.

use std::time::Duration;

use client::{ChatClient, ClientError, Event, Events, Options};
use model::ids::ServerId;
use model::placement;
use runtime::config::Server;
use testkit::{Deployment, Process, SERVERS};
use tokio::time::Instant;

use crate::layout::Layout;

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;

/// Milliseconds by which clocks are set back.
const BACK: [i64; 2] = [8 * HOUR, 10 * SECOND];

const ROOM: &str = "lobby";

/// A member of the room.
struct Member {
    name: String,
    client: ChatClient,
    events: Events,
}

fn options() -> Options {
    Options { request_timeout: Duration::from_secs(8), ..Options::default() }
}

impl Member {
    /// Enters at a connector, as soon as that accepts the name.
    async fn enter(deployment: &Deployment, connector: usize, name: &str) -> Self {
        let until = Instant::now() + Process::DEADLINE;
        loop {
            match Self::try_enter(deployment, connector, name).await {
                Ok(member) => return member,
                Err(error) => assert!(Instant::now() < until, "{name} cannot enter: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn try_enter(deployment: &Deployment, connector: usize, name: &str) -> Result<Self, ClientError> {
        let address = deployment.connector(connector).to_string();
        let (client, events) = ChatClient::connect(&address, options()).await?;
        client.enter(name, ROOM).await?;
        Ok(Self { name: name.to_owned(), client, events })
    }

    /// The next message: its sender and its text.
    async fn next_message(&mut self) -> (String, String) {
        loop {
            let event = tokio::time::timeout(Process::DEADLINE, self.events.next()).await;
            match event.unwrap_or_else(|_| panic!("{} receives nothing", self.name)) {
                Some(Event::Chat(chat)) => return (chat.from, chat.msg),
                Some(Event::Closed) | None => panic!("the connection of {} ended", self.name),
                Some(_) => {}
            }
        }
    }
}

/// Each member sends a message, and all get it once, in order.
async fn exchange_messages(members: &mut [Member], what: &str) {
    for speaker in 0..members.len() {
        let (from, text) = (members[speaker].name.clone(), format!("{what} of {}", members[speaker].name));
        let sent = members[speaker].client.send(&text).await;
        sent.unwrap_or_else(|error| panic!("{text}: {error}"));
        for member in &mut *members {
            assert_eq!(member.next_message().await, (from.clone(), text.clone()), "{}", member.name);
        }
    }
}

/// Ann at the first connector, Bob at the second.
async fn two_members(deployment: &Deployment) -> Vec<Member> {
    vec![Member::enter(deployment, 0, "ann").await, Member::enter(deployment, 1, "bob").await]
}

fn home() -> String {
    let chats: Vec<Server> = (1..=3)
        .map(|number| Server::new(ServerId::new(&format!("chat-server-{number}")).unwrap(), "127.0.0.1"))
        .collect();
    placement::place(ROOM, &chats).unwrap().id.to_string()
}

/// Ends a server in order, sets its clock, and starts it again.
async fn restart_with_clock(deployment: &mut Deployment, server: &str, ahead_ms: i64) {
    deployment.process(server).signal("TERM");
    assert_eq!(deployment.process(server).wait().await, Some(0));
    deployment.clock(server).set(ahead_ms);
    deployment.run(server).await;
}

#[tokio::test]
async fn a_cluster_that_was_ahead_starts_with_the_right_clock() {
    for back in BACK {
        let mut deployment = Layout::SevenProcesses.start_with_clocks("", back).await;
        exchange_messages(&mut two_members(&deployment).await, "before").await;
        for server in SERVERS.iter().rev() {
            deployment.process(server).signal("TERM");
            assert_eq!(deployment.process(server).wait().await, Some(0));
        }
        for server in SERVERS {
            deployment.clock(server).set(0);
            deployment.run(server).await;
        }
        exchange_messages(&mut two_members(&deployment).await, "after").await;
    }
}

/// Also of members who stay: their connectors know the later run.
#[tokio::test]
async fn a_chat_server_starts_with_its_clock_set_back() {
    for back in BACK {
        let mut deployment = Layout::SevenProcesses.start_with_clocks("", back).await;
        let mut members = two_members(&deployment).await;
        exchange_messages(&mut members, "before").await;
        restart_with_clock(&mut deployment, &home(), 0).await;
        exchange_messages(&mut members, "after").await;
        let process = deployment.process(&home());
        assert!(process.wait_for_output("going on above it").await, "{}", process.output());
        exchange_messages(&mut members, "later").await;
    }
}

#[tokio::test]
async fn a_connector_starts_with_its_clock_set_back() {
    for back in BACK {
        let mut deployment = Layout::SevenProcesses.start_with_clocks("[lifecycle]\ndrain_secs = 0", back).await;
        let mut members = two_members(&deployment).await;
        exchange_messages(&mut members, "before").await;
        let mut bob = members.pop().unwrap();
        restart_with_clock(&mut deployment, "connector-server-1", 0).await;
        let ann = Member::enter(&deployment, 0, "ann").await;
        // Pushes from the time between are not part of this check.
        while bob.events.try_next().is_some() {}
        exchange_messages(&mut [ann, bob], "after").await;
    }
}

/// Clocks jump while servers run, and those of runs that start later are behind.
#[tokio::test]
async fn clocks_jump_while_servers_run() {
    let mut deployment = Layout::SevenProcesses.start_with_clocks("", 0).await;
    let mut members = two_members(&deployment).await;
    for ahead in [24 * HOUR, -8 * HOUR, 10 * SECOND, -48 * HOUR] {
        for server in SERVERS {
            deployment.clock(server).set(ahead);
            exchange_messages(&mut members, &format!("{server} {ahead}")).await;
        }
        restart_with_clock(&mut deployment, &home(), ahead - HOUR).await;
        exchange_messages(&mut members, &format!("restarted {ahead}")).await;
    }
}
