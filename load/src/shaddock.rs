//! Shaddock's protocol: a login at the gate, then a session at its connector.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use wire::{
    HandshakeRequest, HandshakeResponse, Kick, Message, OfferedDictionary, Package, PackageKind, RouteRef,
    decode_frame, routes,
};

use super::framing::{Framing, OutBuffer};
use super::protocol::{Identity, Protocol, ServerEvent, SessionError};

/// The request that a login ends with: to the gate, or to enter.
const LOGIN: u32 = 1;
const LEAVE: u32 = 2;
/// The id of the first message; id 0 would be a notify.
const FIRST_MESSAGE: u32 = 3;

/// Bytes at a push's end in which its `seq` stands.
const TAIL: usize = 64;

/// One session with Shaddock, or with another server of Pomelo's chat protocol.
#[derive(Debug)]
pub struct Shaddock {
    identity: Identity,
    /// True once the connector is known: this connection leads there.
    at_connector: bool,
    send_route: RouteRef,
    on_chat: RouteRef,
    heartbeat: Option<Duration>,
}

/// The fields of a response that matter here.
#[derive(Deserialize)]
struct Response {
    code: u16,
    #[serde(default)]
    reason: String,
}

impl Shaddock {
    /// Creates the protocol of a user that is not connected.
    pub fn new(identity: Identity) -> Self {
        let text = |route: &str| RouteRef::Text(route.to_owned());
        let (send_route, on_chat) = (text(routes::SEND), text(routes::ON_CHAT));
        Self { identity, at_connector: false, send_route, on_chat, heartbeat: None }
    }

    /// Acknowledges the handshake and sends the login request.
    fn on_handshake(&mut self, body: &[u8], out: &mut OutBuffer) -> Result<(), SessionError> {
        let HandshakeResponse::Accepted { heartbeat_secs, dictionary, .. } = HandshakeResponse::parse(body)? else {
            return Err(SessionError::Malformed("the handshake was refused"));
        };
        if let OfferedDictionary::New(dictionary) = dictionary {
            self.send_route = dictionary.abbreviate(routes::SEND);
            self.on_chat = dictionary.abbreviate(routes::ON_CHAT);
        }
        self.heartbeat = (heartbeat_secs > 0).then(|| Duration::from_secs(heartbeat_secs.into()));
        out.push_frame(&Package::empty(PackageKind::HandshakeAck).encode()?)?;
        let Identity { name, room, .. } = &self.identity;
        let (route, body) = if self.at_connector {
            // Without a token: a session that breaks is counted as closed. A resumed one would hide
            // that.
            (routes::ENTER, json!({"username": name, "rid": room}))
        } else {
            (routes::QUERY_ENTRY, json!({ "uid": name }))
        };
        request(LOGIN, RouteRef::Text(route.to_owned()), body.to_string(), out)
    }

    fn on_message(&mut self, body: &Bytes, emit: &mut impl FnMut(ServerEvent<'_>)) -> Result<(), SessionError> {
        match Message::decode(body)? {
            Message::Push { route, body } if route == self.on_chat => {
                emit(ServerEvent::Message { text: &body, seq: seq(&body) });
            }
            Message::Response { id: LOGIN, body } => emit(self.on_login_response(&body)?),
            Message::Response { id: LEAVE, .. } => emit(ServerEvent::Left),
            Message::Response { id, body } => {
                emit(ServerEvent::Response { number: id.wrapping_sub(FIRST_MESSAGE), code: code(&body)? });
            }
            Message::Push { .. } | Message::Request { .. } | Message::Notify { .. } => {}
        }
        Ok(())
    }

    fn on_login_response(&mut self, body: &[u8]) -> Result<ServerEvent<'static>, SessionError> {
        let Response { code, reason } = parse(body)?;
        if code != 200 {
            // Reports count by this text. A whole reason may differ from user to user.
            let word = reason.split(':').next().unwrap_or_default();
            return Ok(ServerEvent::Denied(format!("{code} {word}").trim_end().to_owned()));
        }
        if self.at_connector {
            return Ok(ServerEvent::Entered);
        }
        self.at_connector = true;
        Ok(ServerEvent::Redirected(parse(body)?))
    }
}

impl Protocol for Shaddock {
    const FRAMING: Framing = Framing::Binary;

    fn on_open(&mut self, out: &mut OutBuffer) -> Result<(), SessionError> {
        let version = Some(env!("CARGO_PKG_VERSION").to_owned());
        let client_type = Some("shaddock-load".to_owned());
        let user = self.identity.jwt.as_ref().map(|jwt| json!({ "jwt": &**jwt }));
        let hello = HandshakeRequest { client_type, version, user, ..HandshakeRequest::default() };
        out.push_frame(&Package::new(PackageKind::Handshake, hello.encode()?).encode()?)
    }

    fn receive(
        &mut self,
        frame: &Bytes,
        out: &mut OutBuffer,
        emit: &mut impl FnMut(ServerEvent<'_>),
    ) -> Result<(), SessionError> {
        for package in decode_frame(frame, wire::MAX_BODY)? {
            match package.kind {
                PackageKind::Data => self.on_message(&package.body, emit)?,
                PackageKind::Handshake => self.on_handshake(&package.body, out)?,
                PackageKind::Heartbeat => {
                    if let Some(heartbeat) = self.heartbeat {
                        emit(ServerEvent::HeartbeatAfter(heartbeat));
                    }
                }
                PackageKind::Kick => emit(ServerEvent::Kicked(Kick::parse(&package.body)?.reason)),
                PackageKind::HandshakeAck => {}
            }
        }
        Ok(())
    }

    fn send_message(&mut self, number: u32, content: &[u8], out: &mut OutBuffer) -> Result<(), SessionError> {
        // The content has no character that JSON escapes, so the body is joined, without the cost
        // of a JSON writer for each message.
        let mut body = String::with_capacity(content.len() + 64);
        body.push_str(r#"{"target":"*","content":""#);
        body.extend(content.iter().copied().map(char::from));
        if self.identity.repeat {
            body.push_str(&format!(r#"","id":"{number:x}"#));
        }
        body.push_str("\"}");
        request(number.wrapping_add(FIRST_MESSAGE), self.send_route.clone(), body, out)
    }

    fn heartbeat(&mut self, out: &mut OutBuffer) -> Result<(), SessionError> {
        out.push_frame(&Package::empty(PackageKind::Heartbeat).encode()?)
    }

    fn leave(&mut self, out: &mut OutBuffer) -> Result<(), SessionError> {
        request(LEAVE, RouteRef::Text(routes::LEAVE.to_owned()), "{}".to_owned(), out)
    }
}

fn request(id: u32, route: RouteRef, body: String, out: &mut OutBuffer) -> Result<(), SessionError> {
    out.push_frame(&Message::Request { id, route, body: body.into() }.encode_package()?)
}

fn parse<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, SessionError> {
    serde_json::from_slice(body).map_err(|_| SessionError::Malformed("a malformed response"))
}

/// Returns the `code` of a response.
fn code(body: &[u8]) -> Result<u16, SessionError> {
    // Shaddock writes the code first. Parsing each response as JSON would add processor time on the
    // machine that is measured.
    match body.strip_prefix(br#"{"code":"#) {
        Some([a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b',' | b'}', ..]) => {
            Ok([a, b, c].into_iter().fold(0, |code, digit| 10 * code + u16::from(digit - b'0')))
        }
        _ => parse::<Response>(body).map(|response| response.code),
    }
}

/// The `seq` at the end of a push.
fn seq(body: &[u8]) -> Option<u64> {
    const NAME: &[u8] = br#""seq":"#;
    // Shaddock writes `seq` and `time` last, and a text may contain anything: only the tail is
    // searched.
    let tail = &body[body.len().saturating_sub(TAIL)..];
    let start = tail.windows(NAME.len()).rposition(|window| window == NAME)? + NAME.len();
    let digits = tail[start..].iter().take_while(|digit| digit.is_ascii_digit());
    Some(digits.fold(0, |seq: u64, digit| seq.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Shaddock {
        Shaddock::new(Identity { name: "ann".to_owned(), room: "lobby".to_owned(), repeat: true, jwt: None })
    }

    /// Receives one message.
    fn receive(session: &mut Shaddock, message: Message) -> Vec<String> {
        let mut events = Vec::new();
        let mut out = OutBuffer::new(Framing::Binary);
        let frame = message.encode_package().unwrap();
        session.receive(&frame, &mut out, &mut |event| events.push(format!("{event:?}"))).unwrap();
        events
    }

    #[test]
    fn codes_are_read_in_front_and_anywhere() {
        assert_eq!(code(br#"{"code":200,"seq":1}"#).unwrap(), 200);
        assert_eq!(code(br#"{"code":503}"#).unwrap(), 503);
        assert_eq!(code(br#"{"seq":1,"code": 429}"#).unwrap(), 429);
        assert_eq!(code(br#"{"code":2000}"#).unwrap(), 2_000);
        assert!(code(b"{}").is_err());
    }

    #[test]
    fn a_place_in_the_room_is_read_at_the_end() {
        assert_eq!(seq(br#"{"msg":"\"seq\":1","seq":13000,"time":1700000000001}"#), Some(13_000));
        assert_eq!(seq(br#"{"msg":"x"}"#), None);
        assert_eq!(seq(b""), None);
    }

    #[test]
    fn a_login_goes_by_the_gate() {
        let mut session = session();
        let response = |body: &'static str| Message::Response { id: LOGIN, body: body.into() };
        let events = receive(&mut session, response(r#"{"code":200,"host":"::1","port":3050}"#));
        assert_eq!(events, [r#"Redirected(GateAnswer { host: "::1", port: 3050, tls: false })"#]);
        assert_eq!(receive(&mut session, response(r#"{"code":200,"users":[]}"#)), ["Entered"]);
        let events = receive(&mut session, response(r#"{"code":500,"reason":"name-taken: somebody has it"}"#));
        assert_eq!(events, [r#"Denied("500 name-taken")"#]);
    }

    #[test]
    fn only_pushes_of_messages_are_events() {
        let mut session = session();
        let push = |route: &str| Message::Push { route: RouteRef::Text(route.to_owned()), body: "{}".into() };
        assert_eq!(receive(&mut session, push("onAdd")), [""; 0]);
        assert_eq!(receive(&mut session, push("onChat")), ["Message { text: [123, 125], seq: None }"]);
    }

    #[test]
    fn a_response_has_the_number_of_its_message() {
        let mut session = session();
        let mut out = OutBuffer::new(Framing::Packages);
        session.send_message(7, b"hello", &mut out).unwrap();
        let package = Package { kind: PackageKind::Data, body: Bytes::copy_from_slice(&out.bytes()[wire::HEAD..]) };
        let Message::Request { id, body, .. } = Message::decode(&package.body).unwrap() else { panic!("no request") };
        assert_eq!(body, r#"{"target":"*","content":"hello","id":"7"}"#);
        let events = receive(&mut session, Message::Response { id, body: r#"{"code":200}"#.into() });
        assert_eq!(events, ["Response { number: 7, code: 200 }"]);
    }
}
