//! A server with a role that responds, pushes to all sessions, and records its requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use frontend::{self, App, Ending, Options, Peer, Session, WriteQueue, response, routes, unknown_route};
use model::client_frame;
use model::identity::Principal;
use model::servers::Servers;
use model::settings::Settings;
use node::auth::Authenticator;
use node::tls::ClientTls;
use runtime::lifecycle::Lifecycle;
use runtime::metrics::Metrics;
use runtime::server_list::ServerListWriter;
use serde_json::json;
use tokio::sync::watch;

use crate::socket::Socket;

/// The longest that anything here may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// Responds to `enter` and `send`; `send` is also pushed to all sessions, as often as its body has
/// bytes of `*`.
#[derive(Clone, Default)]
pub(crate) struct Role(Arc<RoleState>);

#[derive(Default)]
struct RoleState {
    write_queues: Mutex<Vec<WriteQueue>>,
    requests: Mutex<Vec<(Option<u32>, String)>>,
    closed: AtomicUsize,
    /// The addresses of the clients, and how their connections ended.
    addresses: Mutex<Vec<String>>,
    endings: Mutex<Vec<Ending>>,
    /// The users of those that logged in.
    users: Mutex<Vec<Principal>>,
    /// The bodies of requests, which wait as long as they are here; none: no body waits.
    bodies: Mutex<Option<Vec<Bytes>>>,
    /// The role takes nothing while this is true.
    busy: watch::Sender<bool>,
}

/// One client of the role.
pub(crate) struct Client {
    role: Role,
    write_queue: WriteQueue,
    entered: bool,
}

impl Role {
    /// The requests and notifies that came through, in their order.
    pub(crate) fn requests(&self) -> Vec<(Option<u32>, String)> {
        self.0.requests.lock().unwrap().clone()
    }

    /// Sessions that were opened and that were closed.
    pub(crate) fn opened_and_closed(&self) -> (usize, usize) {
        (self.0.write_queues.lock().unwrap().len(), self.0.closed.load(Ordering::Relaxed))
    }

    /// The addresses of the clients, in the order in which they were opened.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.0.addresses.lock().unwrap().clone()
    }

    /// The users of sessions that logged in.
    pub(crate) fn users(&self) -> Vec<Principal> {
        self.0.users.lock().unwrap().clone()
    }

    /// The endings of closed sessions.
    pub(crate) fn endings(&self) -> Vec<Ending> {
        self.0.endings.lock().unwrap().clone()
    }

    /// From now on it takes nothing, or does again: sessions wait.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.0.busy.send_replace(busy);
    }

    /// From now on the bodies of requests wait, or those that did are dropped and none waits.
    pub(crate) fn set_waiting(&self, waiting: bool) {
        *self.0.bodies.lock().unwrap() = waiting.then(Vec::new);
    }

    /// The write queue of every session, in the order in which they were opened.
    pub(crate) fn write_queues(&self) -> Vec<WriteQueue> {
        self.0.write_queues.lock().unwrap().clone()
    }
}

impl App for Role {
    type Session = Client;

    fn open(&self, peer: Peer, write_queue: WriteQueue, user: Option<Box<Principal>>) -> Client {
        self.0.users.lock().unwrap().extend(user.map(|user| *user));
        self.0.addresses.lock().unwrap().push(peer.address.ip().to_string());
        self.0.write_queues.lock().unwrap().push(write_queue.clone());
        Client { role: self.clone(), write_queue, entered: false }
    }
}

impl Session for Client {
    fn on_message(&mut self, id: Option<u32>, route: &str, body: Bytes) {
        self.role.0.requests.lock().unwrap().push((id, route.to_owned()));
        if let Some(bodies) = &mut *self.role.0.bodies.lock().unwrap() {
            bodies.push(body.clone());
        }
        match route {
            routes::ENTER => self.entered = true,
            routes::SEND => {
                let sent = client_frame::push(routes::ON_CHAT, &json!({ "msg": String::from_utf8_lossy(&body) }), None)
                    .unwrap();
                for write_queue in self.role.write_queues() {
                    write_queue.push(sent.clone()).ok();
                }
            }
            other => return unknown_route(&self.write_queue, id, other),
        }
        if let Some(id) = id {
            self.write_queue.push(response(id, &json!({ "code": 200 }))).ok();
        }
    }

    async fn ready(&mut self) {
        let mut busy = self.role.0.busy.subscribe();
        busy.wait_for(|busy| !busy).await.unwrap();
    }

    fn has_entered(&self) -> bool {
        self.entered
    }

    async fn on_close(self, ending: Ending) {
        self.role.0.endings.lock().unwrap().push(ending);
        self.role.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server on a port that the system picks.
pub(crate) struct FrontendFixture {
    pub(crate) address: SocketAddr,
    pub(crate) role: Role,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) lifecycle: Lifecycle,
}

impl FrontendFixture {
    /// With the default settings.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With other options than the defaults.
    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let (settings, role) = (Settings::default(), Role::default());
        let mut options = Options {
            heartbeat_secs: settings.frontend.heartbeat_secs,
            frontend: settings.frontend,
            session: settings.session,
            dictionary: Some(Arc::new(routes::dictionary())),
            server_list: ServerListWriter::new(Servers::default()).1,
            tls: ClientTls::off(),
            auth: Authenticator::off(),
            http: None,
            close_on_stop: false,
            lifecycle: Lifecycle::new(),
            metrics: Metrics::new(),
        };
        change(&mut options);
        let listener = frontend::listen("127.0.0.1:0".parse().unwrap(), &options.frontend).unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, lifecycle) = (options.metrics.clone(), options.lifecycle.clone());
        lifecycle.spawn(frontend::serve(listener, role.clone(), options));
        Self { address, role, metrics, lifecycle }
    }

    /// A websocket that has sent nothing yet.
    pub(crate) async fn open(&self) -> Socket {
        Socket::connect(self.address).await
    }

    /// A client whose handshake is complete, its first heartbeat read if there are heartbeats.
    pub(crate) async fn working(&self) -> Socket {
        let mut socket = self.open().await;
        socket.shake_hands().await;
        socket
    }

    /// A client that entered.
    pub(crate) async fn entered(&self) -> Socket {
        let mut socket = self.working().await;
        assert_eq!(socket.request_json(1, routes::ENTER, b"{}").await["code"], json!(200));
        socket
    }
}
