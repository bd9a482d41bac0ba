//! Pomelo's connection states: what each package of a client means. Pure.

use bytes::Bytes;
use wire::{
    Dictionary, HandshakeAccept, HandshakeRefusal, HandshakeRequest, Message, Package, PackageKind, RouteRef, WireError,
};

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Inited,
    WaitAck,
    Working,
}

/// The server's side of one connection.
#[derive(Debug)]
pub(super) struct Protocol {
    state: State,
    heartbeat_secs: u32,
    needs_route_texts: bool,
}

/// The type that pypomelo sends in its handshake.
// It looks codes of pushes up as numbers, in a map whose keys are texts, as those of JSON are, and
// fails. Other clients of this type read texts as well.
const PYPOMELO: &str = "socket";

/// The reaction to a package.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Nothing.
    Ignore,
    /// Send this.
    Send(Bytes),
    /// Send this, then close.
    Refuse(Bytes),
    /// The handshake is complete, and pushes may follow; send this first, if anything.
    Work(Option<Bytes>),
    /// A request, or with no id a notify, for a route.
    Message { id: Option<u32>, route: String, body: Bytes },
}

impl Protocol {
    pub(super) fn new(heartbeat_secs: u32) -> Self {
        Self { state: State::Inited, heartbeat_secs, needs_route_texts: false }
    }

    /// Returns true if the handshake is complete.
    pub(super) fn is_working(&self) -> bool {
        self.state == State::Working
    }

    /// Returns true if the client cannot read routes of pushes that are abbreviated.
    pub(super) fn needs_route_texts(&self) -> bool {
        self.needs_route_texts
    }

    /// Interprets a package in the present state.
    ///
    /// # Errors
    /// If the client does not speak the protocol: its connection must be closed.
    pub(super) fn receive(&mut self, package: Package, dictionary: Option<&Dictionary>) -> Result<Reaction, WireError> {
        match (package.kind, self.state) {
            (PackageKind::Handshake, State::Inited) => self.shake_hands(&package.body, dictionary),
            (PackageKind::HandshakeAck, State::WaitAck) => {
                self.state = State::Working;
                // The server sends the first heartbeat: clients only respond to them.
                Ok(Reaction::Work((self.heartbeat_secs > 0).then(heartbeat)))
            }
            (PackageKind::Heartbeat, State::Working) if self.heartbeat_secs > 0 => Ok(Reaction::Send(heartbeat())),
            (PackageKind::Data, State::Working) => message(&package.body, dictionary),
            (PackageKind::Kick, _) => Err(WireError::PackageType(PackageKind::Kick as u8)),
            // A second handshake, an early or second ack, data or heartbeats before their time: as
            // Pomelo does.
            (PackageKind::Handshake | PackageKind::HandshakeAck | PackageKind::Heartbeat | PackageKind::Data, _) => {
                Ok(Reaction::Ignore)
            }
        }
    }

    fn shake_hands(&mut self, body: &[u8], dictionary: Option<&Dictionary>) -> Result<Reaction, WireError> {
        let Ok(request) = HandshakeRequest::parse(body) else {
            return Ok(Reaction::Refuse(package(PackageKind::Handshake, HandshakeRefusal::Failed.encode())?));
        };
        let accept = HandshakeAccept { heartbeat_secs: self.heartbeat_secs, dictionary, user: None };
        self.state = State::WaitAck;
        self.needs_route_texts = dictionary.is_some() && request.client_type.as_deref() == Some(PYPOMELO);
        Ok(Reaction::Send(package(PackageKind::Handshake, accept.encode(&request)?)?))
    }
}

fn message(body: &Bytes, dictionary: Option<&Dictionary>) -> Result<Reaction, WireError> {
    let (id, route, body) = match Message::decode(body) {
        // Pomelo handles a request with id 0 as a notify.
        Ok(Message::Request { id, route, body }) => ((id != 0).then_some(id), route, body),
        Ok(Message::Notify { route, body } | Message::Push { route, body }) => (None, route, body),
        Ok(Message::Response { .. }) | Err(WireError::UnknownMessageType(_)) => return Ok(Reaction::Ignore),
        Err(error) => return Err(error),
    };
    // An unknown code is dropped, as Pomelo does.
    let route = match route {
        RouteRef::Text(route) => Some(route),
        code @ RouteRef::Code(_) => dictionary.and_then(|d| d.resolve(&code)).map(str::to_owned),
    };
    Ok(route.map_or(Reaction::Ignore, |route| Reaction::Message { id, route, body }))
}

fn package(kind: PackageKind, body: Bytes) -> Result<Bytes, WireError> {
    Package::new(kind, body).encode()
}

fn heartbeat() -> Bytes {
    Bytes::from_static(&[PackageKind::Heartbeat as u8, 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(protocol: &mut Protocol, kind: PackageKind, body: &'static [u8]) -> Result<Reaction, WireError> {
        protocol.receive(Package::new(kind, Bytes::from_static(body)), Some(&super::super::routes::dictionary()))
    }

    fn working() -> Protocol {
        let mut protocol = Protocol::new(30);
        receive(&mut protocol, PackageKind::Handshake, b"{\"sys\":{}}").unwrap();
        receive(&mut protocol, PackageKind::HandshakeAck, b"").unwrap();
        protocol
    }

    #[test]
    fn a_heartbeat_follows_the_ack_and_each_heartbeat() {
        let mut protocol = Protocol::new(30);
        assert!(matches!(receive(&mut protocol, PackageKind::Handshake, b"{\"sys\":{}}"), Ok(Reaction::Send(_))));
        assert!(!protocol.is_working());
        assert_eq!(receive(&mut protocol, PackageKind::HandshakeAck, b""), Ok(Reaction::Work(Some(heartbeat()))));
        assert_eq!(receive(&mut protocol, PackageKind::Heartbeat, b"body"), Ok(Reaction::Send(heartbeat())));
        assert_eq!(receive(&mut protocol, PackageKind::HandshakeAck, b""), Ok(Reaction::Ignore));
    }

    #[test]
    fn without_heartbeats_none_is_sent() {
        let mut protocol = Protocol::new(0);
        receive(&mut protocol, PackageKind::Handshake, b"{\"sys\":{}}").unwrap();
        assert_eq!(receive(&mut protocol, PackageKind::HandshakeAck, b""), Ok(Reaction::Work(None)));
        assert_eq!(receive(&mut protocol, PackageKind::Heartbeat, b""), Ok(Reaction::Ignore));
    }

    #[test]
    fn early_and_repeated_packages_are_ignored() {
        let mut protocol = Protocol::new(30);
        for kind in [PackageKind::HandshakeAck, PackageKind::Heartbeat, PackageKind::Data] {
            assert_eq!(receive(&mut protocol, kind, b""), Ok(Reaction::Ignore), "{kind:?}");
        }
        let mut protocol = working();
        assert_eq!(receive(&mut protocol, PackageKind::Handshake, b"{\"sys\":{}}"), Ok(Reaction::Ignore));
    }

    #[test]
    fn clients_that_cannot_read_codes_are_known_by_their_type() {
        for (hello, expected) in [
            (&b"{\"sys\":{\"type\":\"socket\",\"version\":\"1.1.1\"}}"[..], true),
            (b"{\"sys\":{\"type\":\"js-websocket\",\"version\":\"0.0.1\"}}", false),
            (b"{\"sys\":{}}", false),
        ] {
            let mut protocol = Protocol::new(30);
            receive(&mut protocol, PackageKind::Handshake, hello).unwrap();
            assert_eq!(protocol.needs_route_texts(), expected);
        }
    }

    #[test]
    fn a_bad_handshake_is_refused_with_500() {
        for body in [&b""[..], b"{", b"[]", b"{\"user\":{}}"] {
            let Ok(Reaction::Refuse(framed)) = receive(&mut Protocol::new(30), PackageKind::Handshake, body) else {
                panic!("{body:?}")
            };
            assert!(framed.ends_with(b"{\"code\":500}"));
        }
    }

    #[test]
    fn messages_of_every_type() {
        let route = |flag: u8| [&[flag, 7, 3][..], b"a.b{}"].concat().leak() as &'static [u8];
        let protocol = &mut working();
        let message = |id| Ok(Reaction::Message { id, route: "a.b".to_owned(), body: Bytes::from_static(b"{}") });
        assert_eq!(receive(protocol, PackageKind::Data, route(0)), message(Some(7)));
        assert_eq!(receive(protocol, PackageKind::Data, b"\x00\x00\x03a.b{}"), message(None), "id 0 is a notify");
        assert_eq!(receive(protocol, PackageKind::Data, b"\x02\x03a.b{}"), message(None));
        assert_eq!(receive(protocol, PackageKind::Data, b"\x06\x03a.b{}"), message(None), "a push is as a notify");
        for dropped in [&b"\x04\x07{}"[..], b"\x08\x07{}", b"\x0e\x07{}"] {
            assert_eq!(receive(protocol, PackageKind::Data, dropped), Ok(Reaction::Ignore), "{dropped:?}");
        }
        assert!(receive(protocol, PackageKind::Data, b"").is_err());
        assert!(receive(protocol, PackageKind::Data, b"\x00\xff\xff\xff\xff\xff\xff").is_err());
        assert!(receive(protocol, PackageKind::Kick, b"").is_err());
    }

    #[test]
    fn codes_are_resolved_and_unknown_ones_dropped() {
        let protocol = &mut working();
        let send = Reaction::Message {
            id: Some(1),
            route: super::super::routes::SEND.to_owned(),
            body: Bytes::from_static(b"{}"),
        };
        assert_eq!(receive(protocol, PackageKind::Data, b"\x01\x01\x00\x02{}"), Ok(send));
        assert_eq!(receive(protocol, PackageKind::Data, b"\x01\x01\x00\x63{}"), Ok(Reaction::Ignore));
        let plain = Package::new(PackageKind::Data, Bytes::from_static(b"\x01\x01\x00\x02{}"));
        assert_eq!(protocol.receive(plain, None), Ok(Reaction::Ignore));
    }
}
