//! Pomelo's connection states: what each package of a client means. Pure.

use bytes::Bytes;
use model::identity::LoginRefusal;
use serde_json::{Map, Value};
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
    /// Tokens in handshakes are read.
    reads_tokens: bool,
}

/// The type that pypomelo sends in its handshake.
// It looks codes of pushes up as numbers, in a map whose keys are texts, as those of JSON are, and
// fails. Other clients of this type read texts as well.
const PYPOMELO: &str = "socket";

/// The reaction to a package.
#[derive(Debug, PartialEq)]
pub(super) enum Reaction {
    /// Nothing.
    Ignore,
    /// Send this.
    Send(Bytes),
    /// Send this, then close.
    Refuse(Bytes),
    /// Verify this token, then accept or deny the handshake; read nothing more until then.
    Verify { token: String, request: Box<HandshakeRequest> },
    /// The handshake is complete, and pushes may follow; send this first, if anything.
    Work(Option<Bytes>),
    /// A request, or with no id a notify, for a route.
    Message { id: Option<u32>, route: String, body: Bytes },
}

impl Protocol {
    pub(super) fn new(heartbeat_secs: u32, reads_tokens: bool) -> Self {
        Self { state: State::Inited, heartbeat_secs, needs_route_texts: false, reads_tokens }
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
        match token(request.user.as_ref()).filter(|_| self.reads_tokens) {
            Some(token) => Ok(Reaction::Verify { token, request: Box::new(request) }),
            None => self.accept(&request, None, dictionary).map(Reaction::Send),
        }
    }

    /// Accepts a handshake: returns the response, with what it says of the client's user.
    pub(super) fn accept(
        &mut self,
        request: &HandshakeRequest,
        user: Option<&Value>,
        dictionary: Option<&Dictionary>,
    ) -> Result<Bytes, WireError> {
        let accept = HandshakeAccept { heartbeat_secs: self.heartbeat_secs, dictionary, user };
        self.state = State::WaitAck;
        self.needs_route_texts = dictionary.is_some() && request.client_type.as_deref() == Some(PYPOMELO);
        package(PackageKind::Handshake, accept.encode(request)?)
    }

    /// Returns the response to a client that may not log in.
    pub(super) fn deny(refusal: &LoginRefusal) -> Result<Bytes, WireError> {
        package(PackageKind::Handshake, wire::encode_denial(refusal.code(), refusal.reason())?)
    }
}

/// Returns the token in a handshake.
fn token(user: Option<&Value>) -> Option<String> {
    token_in(user?.as_object()?, &["jwt", "token"])
}

/// Returns the token in the first of these members that has one. A token that is no text is none
/// that can be right, and is no reason to take the client for anonymous.
pub fn token_in(body: &Map<String, Value>, members: &[&str]) -> Option<String> {
    let token = members.iter().filter_map(|member| body.get(*member)).find(|token| !token.is_null())?;
    Some(token.as_str().unwrap_or_default().to_owned())
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
        let mut protocol = Protocol::new(30, false);
        receive(&mut protocol, PackageKind::Handshake, b"{\"sys\":{}}").unwrap();
        receive(&mut protocol, PackageKind::HandshakeAck, b"").unwrap();
        protocol
    }

    #[test]
    fn a_heartbeat_follows_the_ack_and_each_heartbeat() {
        let mut protocol = Protocol::new(30, false);
        assert!(matches!(receive(&mut protocol, PackageKind::Handshake, b"{\"sys\":{}}"), Ok(Reaction::Send(_))));
        assert!(!protocol.is_working());
        assert_eq!(receive(&mut protocol, PackageKind::HandshakeAck, b""), Ok(Reaction::Work(Some(heartbeat()))));
        assert_eq!(receive(&mut protocol, PackageKind::Heartbeat, b"body"), Ok(Reaction::Send(heartbeat())));
        assert_eq!(receive(&mut protocol, PackageKind::HandshakeAck, b""), Ok(Reaction::Ignore));
    }

    #[test]
    fn without_heartbeats_none_is_sent() {
        let mut protocol = Protocol::new(0, false);
        receive(&mut protocol, PackageKind::Handshake, b"{\"sys\":{}}").unwrap();
        assert_eq!(receive(&mut protocol, PackageKind::HandshakeAck, b""), Ok(Reaction::Work(None)));
        assert_eq!(receive(&mut protocol, PackageKind::Heartbeat, b""), Ok(Reaction::Ignore));
    }

    #[test]
    fn early_and_repeated_packages_are_ignored() {
        let mut protocol = Protocol::new(30, false);
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
            let mut protocol = Protocol::new(30, false);
            receive(&mut protocol, PackageKind::Handshake, hello).unwrap();
            assert_eq!(protocol.needs_route_texts(), expected);
        }
    }

    #[test]
    fn a_bad_handshake_is_refused_with_500() {
        for body in [&b""[..], b"{", b"[]", b"{\"user\":{}}"] {
            let Ok(Reaction::Refuse(framed)) = receive(&mut Protocol::new(30, false), PackageKind::Handshake, body)
            else {
                panic!("{body:?}")
            };
            assert!(framed.ends_with(b"{\"code\":500}"));
        }
    }

    #[test]
    fn tokens_are_verified_where_they_are_read() {
        let token = |user: &str, reads| {
            let hello = format!("{{\"sys\":{{}},\"user\":{user}}}");
            let package = Package::new(PackageKind::Handshake, hello);
            match Protocol::new(30, reads).receive(package, None).unwrap() {
                Reaction::Verify { token, .. } => Some(token),
                Reaction::Send(_) => None,
                other => panic!("{other:?}"),
            }
        };
        for user in [r#"{"jwt":"a.b.c"}"#, r#"{"token":"a.b.c"}"#, r#"{"jwt":"a.b.c","token":"x"}"#] {
            assert_eq!(token(user, true).as_deref(), Some("a.b.c"), "{user}");
            assert_eq!(token(user, false), None, "{user}");
        }
        for user in [r#"{"jwt":7}"#, r#"{"token":{}}"#, r#"{"jwt":""}"#] {
            assert_eq!(token(user, true).as_deref(), Some(""), "{user} is a bad token, and not none");
        }
        for user in ["{}", "null", "[]", "7", r#""a.b.c""#, r#"{"jwt":null}"#] {
            assert_eq!(token(user, true), None, "{user}");
        }
    }

    #[test]
    fn a_client_with_a_good_token_acknowledges_as_others_do() {
        let mut protocol = Protocol::new(30, true);
        let hello = Bytes::from_static(b"{\"sys\":{},\"user\":{\"jwt\":\"a.b.c\"}}");
        let verify = protocol.receive(Package::new(PackageKind::Handshake, hello), None).unwrap();
        let Reaction::Verify { request, .. } = verify else { panic!("{verify:?}") };
        assert_eq!(receive(&mut protocol, PackageKind::HandshakeAck, b""), Ok(Reaction::Ignore), "not yet");
        let user = serde_json::json!({"uid": "ann", "exp": 7});
        let response = protocol.accept(&request, Some(&user), None).unwrap();
        assert!(response.ends_with(br#""user":{"exp":7,"uid":"ann"}}"#), "{response:?}");
        assert!(matches!(receive(&mut protocol, PackageKind::HandshakeAck, b""), Ok(Reaction::Work(_))));
        let denied = Protocol::deny(&LoginRefusal::expired()).unwrap();
        assert!(denied.ends_with(br#""reason":"token-expired: the token's time is over; get a new one"}"#));
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
