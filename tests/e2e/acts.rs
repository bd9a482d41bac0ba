//! Acts and looks of an api server, as bus messages to chat servers that run.

use std::fs;
use std::path::Path;

use async_nats::{Client, Subscriber};
use cluster::{Cluster, LogKind, Plan};
use futures_util::StreamExt;
use model::act::{Act, IdentifiedAct, MessageMeta};
use model::ids::{Incarnation, Name, RoomId, ServerId};
use model::membership::Token;
use model::placement::{self, API, CHAT};
use model::rpc;
use model::rpc::messages::{
    ActOutcome, FromChat, FromConnector, HistoryRange, LookAbout, LookResult, RoomPage, RoomQuery, RpcRequest,
    RpcResponse,
};
use model::subjects;
use runtime::config::{Config, Server, Servers};
use testkit::NatsServer;
use tokio::time::timeout;

use crate::test_cluster::{DEADLINE, TestCluster, servers, settings};

/// An api server that has nothing but its connection to the broker.
struct Api {
    id: ServerId,
    nats: Client,
    responses: Subscriber,
    number: u64,
}

fn id(text: &str) -> ServerId {
    ServerId::new(text).unwrap()
}

fn lobby() -> RoomId {
    RoomId::new("lobby").unwrap()
}

/// Servers among which is an api server.
fn with_api() -> Servers {
    let servers = servers();
    let lists = servers.types().map(|kind| (kind.to_owned(), servers.of_type(kind).to_vec()));
    // It runs, too, and asks for nothing but signs of life.
    let api = Server { client_port: Some(0), ..Server::new(id("api-server-1"), "127.0.0.1") };
    Servers::new(lists.chain([(API.to_owned(), vec![api])]).collect::<Vec<_>>())
}

impl Api {
    async fn new(url: &str) -> Self {
        let (id, nats) = (id("api-server-1"), async_nats::connect(url).await.unwrap());
        let responses = nats.subscribe(subjects::api_all(&id)).await.unwrap();
        nats.flush().await.unwrap();
        Self { id, nats, responses, number: 0 }
    }

    /// Sends a request to a chat server, and returns the response.
    async fn request(&mut self, chat: &ServerId, request: RpcRequest) -> RpcResponse {
        self.number += 1;
        let message = FromConnector::uncounted(self.id.clone(), Incarnation(1), request);
        let (reply, body) = (subjects::api_reply(&self.id, self.number), rpc::encode(&message).unwrap());
        self.nats.publish_with_reply(subjects::chat(chat), reply.clone(), body).await.unwrap();
        let message = loop {
            let message = timeout(DEADLINE, self.responses.next()).await.unwrap().unwrap();
            if message.subject.as_str() == reply {
                break message;
            }
        };
        let FromChat { chat: from, number, response, .. } = rpc::decode(&message.payload).unwrap();
        assert_eq!((&from, number), (chat, 0), "messages to an api server have no numbers");
        response
    }

    async fn look(&mut self, chat: &ServerId, about: LookAbout) -> LookResult {
        match self.request(chat, RpcRequest::Look { room: lobby(), number: 7, about }).await {
            RpcResponse::Looked { number: 7, found, .. } => found,
            other => panic!("{other:?}"),
        }
    }
}

fn say(number: u64, content: &str) -> RpcRequest {
    let (from, meta) = (Name::new("app").unwrap(), MessageMeta::default());
    let id = Token::new(1).membership().message(content);
    let act = IdentifiedAct { id, digest: 1, act: Act::Say { from, content: content.to_owned(), meta } };
    RpcRequest::Act { room: lobby(), number, acts: vec![act] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acts_are_answered_behind_their_commit_and_looks_show_them() {
    let nats = NatsServer::start_with_jetstream().await;
    let (url, servers) = (nats.url().to_owned(), with_api());
    let mut settings = settings();
    let keys = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("no-api-keys-{}", std::process::id()));
    // The digest of no key.
    let entry = format!(r#"[{{"id":"none","sha256":"{}","scopes":["read"],"rooms":["*"]}}]"#, "0".repeat(64));
    fs::write(&keys, entry).unwrap();
    settings.api.keys_file = keys.to_str().unwrap().to_owned();
    let config = Config { environment: "test".to_owned(), servers: servers.clone(), settings };
    let plan = Plan { config, nats: Some(url.clone()), log: LogKind::JetStream, only: None };
    let cluster = TestCluster::new(Cluster::start(plan).await.unwrap());
    let mut ann = cluster.join("ann", "lobby").await;
    let mut api = Api::new(&url).await;
    let home = placement::route(CHAT, "lobby", &servers).unwrap().id.clone();

    let acted = api.request(&home, say(1, "hi")).await;
    let RpcResponse::Acted { number: 1, ref outcomes, .. } = acted else { panic!("{acted:?}") };
    let [ActOutcome::Done { seq, .. }] = outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(ann.next_message().await.1, "hi");
    assert_eq!(api.request(&home, say(1, "hi")).await, acted, "the same for a repeat");
    assert!(matches!(api.request(&home, say(0, "late")).await, RpcResponse::ActStale { number: 1, .. }));
    let other = servers.chat().iter().find(|server| server.id != home).unwrap();
    assert!(matches!(api.request(&other.id, say(2, "elsewhere")).await, RpcResponse::NotOwner { .. }));

    let LookResult::Members { members, total: 1, more: false } =
        api.look(&home, LookAbout::Members { after: None, limit: 9 }).await
    else {
        panic!("not ann alone")
    };
    assert_eq!(members[0].name.as_str(), "ann");
    let about = LookAbout::Messages { span: HistoryRange::Last, limit: 9, whispers: false };
    let LookResult::Messages(page) = api.look(&home, about).await else { panic!("no messages") };
    assert_eq!(page.messages.iter().map(|message| message.seq).collect::<Vec<_>>(), [seq]);
    let query = RoomQuery { limit: 9, ..RoomQuery::default() };
    let page = Some(RoomPage { rooms: vec![lobby()], more: false });
    assert_eq!(
        api.request(&other.id, RpcRequest::Rooms { number: 3, query }).await,
        RpcResponse::Rooms { number: 3, page }
    );
    assert!(matches!(api.request(&home, RpcRequest::Probe).await, RpcResponse::Alive));
    cluster.cluster.stop().await;
}
