//! A Pomelo session on a connection of its own: of an attacker, or of an innocent user.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde_json::{Value, json};
use testkit::TlsClient;
use tokio::time::timeout;
use wire::{Kick, Message, Package, PackageKind, RouteRef, routes};

use crate::socket::{BINARY, CLOSE, DEADLINE, PING, PONG, PROXY, Socket, Via, frame, proxy_header, status};

/// Bytes of a package's head.
const HEAD: usize = 4;

/// A session, and what the server sent.
pub(crate) struct Session {
    pub(crate) socket: Socket,
    packages: VecDeque<Package>,
    next_id: u32,
}

/// Something that the server sent, or the end.
#[derive(Debug)]
pub(crate) enum Event {
    Response(u32, Value),
    Push(Value),
    Kick(String),
    Closed,
}

/// A package, framed for the websocket.
pub(crate) fn package(kind: u8, body: &[u8]) -> Vec<u8> {
    frame(BINARY, &unframed(kind, body))
}

/// A package as it is without a websocket.
pub(crate) fn unframed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

/// A request's message, the body of its package.
pub(crate) fn message(id: u32, route: &str, body: &[u8]) -> Vec<u8> {
    let message = Message::Request { id, route: RouteRef::Text(route.to_owned()), body: Bytes::copy_from_slice(body) };
    message.encode_package().unwrap_or_default().split_off(HEAD).to_vec()
}

/// A request, framed for the websocket.
fn request(id: u32, route: &str, body: &[u8]) -> Vec<u8> {
    package(4, &message(id, route, body))
}

impl Session {
    /// Opens a websocket through the trusted proxy, which names this client; inside TLS if servers
    /// have it.
    ///
    /// # Errors
    /// If the network fails; the inner status if the server answers another one than 101.
    pub(crate) async fn open(
        at: SocketAddr,
        via: Via,
        client: IpAddr,
        tls: Option<&TlsClient>,
    ) -> io::Result<Result<Self, u16>> {
        Self::begin(Socket::bare(at, PROXY).await?, (via, client), tls).await
    }

    /// Opens like [`Session::open`], with a small buffer for what the server sends.
    pub(crate) async fn open_with(
        at: SocketAddr,
        via: Via,
        client: IpAddr,
        receive_buffer: Option<u32>,
    ) -> io::Result<Result<Self, u16>> {
        Self::begin(Socket::bare_with(at, PROXY, receive_buffer).await?, (via, client), None).await
    }

    async fn begin(
        mut socket: Socket,
        (via, client): (Via, IpAddr),
        tls: Option<&TlsClient>,
    ) -> io::Result<Result<Self, u16>> {
        let headers = match via {
            Via::ProxyHeader => {
                socket.write(proxy_header(client).as_bytes()).await?;
                String::new()
            }
            Via::ForwardedFor => format!("X-Forwarded-For: {client}\r\n"),
        };
        if let Some(tls) = tls {
            socket = socket.begin_tls(tls).await?;
        }
        let head = socket.upgrade(&headers).await?;
        Ok(if status(&head) == 101 { Ok(Self::on(socket)) } else { Err(status(&head)) })
    }

    /// A session on a socket whose websocket has begun.
    pub(crate) fn on(socket: Socket) -> Self {
        Self { socket, packages: VecDeque::new(), next_id: 1 }
    }

    /// Completes Pomelo's handshake.
    pub(crate) async fn shake_hands(&mut self) -> io::Result<()> {
        self.shake_hands_as(&Value::Null).await
    }

    /// Completes Pomelo's handshake, with a user if that is one.
    pub(crate) async fn shake_hands_as(&mut self, user: &Value) -> io::Result<()> {
        self.log_in(user).await?;
        self.socket.write(&package(2, b"")).await
    }

    /// Sends a handshake with a user, if that is one; returns the response, and acknowledges nothing.
    pub(crate) async fn log_in(&mut self, user: &Value) -> io::Result<Value> {
        let mut hello = json!({"sys": {"type": "attack", "version": "1"}});
        if !user.is_null() {
            hello["user"] = user.clone();
        }
        self.socket.write(&package(1, hello.to_string().as_bytes())).await?;
        let responding = async {
            loop {
                let package = self.next_package().await?;
                if package.kind == PackageKind::Handshake {
                    return Ok(serde_json::from_slice(&package.body).unwrap_or_default());
                }
            }
        };
        timeout(DEADLINE, responding).await?
    }

    /// Enters a room after the handshake; returns the response.
    pub(crate) async fn enter(&mut self, name: &str, room: &str) -> io::Result<Value> {
        self.shake_hands().await?;
        self.ask(routes::ENTER, &json!({"username": name, "rid": room, "resume": true})).await
    }

    /// Sends a request, and waits for its response; pushes meanwhile are dropped.
    pub(crate) async fn ask(&mut self, route: &str, body: &Value) -> io::Result<Value> {
        self.ask_bytes(route, body.to_string().as_bytes()).await
    }

    /// Sends a request with any bytes as its body, and waits for its response.
    pub(crate) async fn ask_bytes(&mut self, route: &str, body: &[u8]) -> io::Result<Value> {
        let id = self.send(route, body).await?;
        let waiting = async {
            loop {
                match self.next().await {
                    Event::Response(of, body) if of == id => return Ok(body),
                    Event::Response(..) | Event::Push(_) => {}
                    Event::Kick(reason) => return Err(io::Error::other(format!("kicked: {reason}"))),
                    Event::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
        };
        timeout(DEADLINE, waiting).await?
    }

    /// Sends all pieces, until the server ends the connection.
    pub(crate) async fn flood(&mut self, pieces: impl IntoIterator<Item = Vec<u8>>) {
        for piece in pieces {
            if self.socket.write(&piece).await.is_err() {
                break;
            }
        }
    }

    /// Sends a request without waiting; returns its id.
    pub(crate) async fn send(&mut self, route: &str, body: &[u8]) -> io::Result<u32> {
        let id = self.next_id;
        self.next_id += 1;
        self.socket.write(&request(id, route, body)).await?;
        Ok(id)
    }

    /// Waits for what the server sends next; heartbeats are passed over.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let Ok(package) = self.next_package().await else { return Event::Closed };
            match package.kind {
                PackageKind::Kick => {
                    return Event::Kick(Kick::parse(&package.body).map(|kick| kick.reason).unwrap_or_default());
                }
                PackageKind::Data => match Message::decode(&package.body) {
                    Ok(Message::Response { id, body }) => {
                        return Event::Response(id, serde_json::from_slice(&body).unwrap_or_default());
                    }
                    Ok(message) => return Event::Push(serde_json::from_slice(message.body()).unwrap_or_default()),
                    Err(_) => return Event::Closed,
                },
                _ => {}
            }
        }
    }

    /// Reads until the server ends the session; returns the reason of its kick, if it gave one.
    pub(crate) async fn until_closed(&mut self) -> Option<String> {
        let mut reason = None;
        loop {
            match self.next().await {
                Event::Kick(why) => reason = Some(why),
                Event::Closed => return reason,
                Event::Response(..) | Event::Push(_) => {}
            }
        }
    }

    async fn next_package(&mut self) -> io::Result<Package> {
        loop {
            match self.packages.pop_front() {
                // The server answers each heartbeat at once: an answer to it would be a flood.
                Some(package) if package.kind == PackageKind::Heartbeat => {}
                Some(package) => return Ok(package),
                None => match self.socket.next_frame().await? {
                    (CLOSE, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    (PONG, _) => {}
                    (PING, payload) => self.socket.write(&frame(PONG, &payload)).await?,
                    (_, payload) => {
                        let packages = wire::decode_frame(&payload, wire::MAX_BODY).map_err(io::Error::other)?;
                        self.packages.extend(packages);
                    }
                },
            }
        }
    }
}
