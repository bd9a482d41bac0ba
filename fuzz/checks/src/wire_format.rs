//! Checks of Pomelo's wire format: the bytes that any client may send.

use bytes::Bytes;
use serde_json::{Map, Value};
use wire::{
    Body, HandshakeAccept, HandshakeRequest, HandshakeResponse, Kick, MAX_BODY, Message, Package, PackageKind, Route,
    StreamDecoder, WireError, decode_frame, decode_text, to_json, whole_packages,
};

/// Largest body of a package that a session may send before it entered a room, by default.
const SMALL: usize = 4 * 1024;

/// A websocket frame: its packages encode to the same bytes, and a stream that is cut anywhere gives
/// the same packages.
pub fn package(bytes: &[u8]) -> bool {
    let frame = Bytes::copy_from_slice(bytes);
    let read = decode_frame(&frame, MAX_BODY).map(Iterator::collect::<Vec<_>>);
    if let Ok(packages) = &read {
        let written: Vec<u8> = packages.iter().filter_map(|package| package.encode().ok()).flatten().collect();
        assert_eq!(written, bytes);
        assert_eq!(&streamed(bytes, 1), packages);
        assert_eq!(&streamed(bytes, 7), packages);
    }
    for chunk in [1, 3, 64] {
        assert_eq!(taken_whole(bytes, chunk), streamed(bytes, chunk));
    }
    let small = decode_frame(&frame, SMALL).is_ok();
    assert_eq!(small, read.as_ref().is_ok_and(|packages| packages.iter().all(|package| package.body.len() <= SMALL)));
    drop(Kick::parse(bytes));
    read.is_ok()
}

/// The packages of a stream that arrives in chunks of this many bytes, up to its first error.
fn streamed(bytes: &[u8], chunk: usize) -> Vec<Package> {
    let mut stream = StreamDecoder::new(MAX_BODY);
    let mut packages = Vec::new();
    for chunk in bytes.chunks(chunk) {
        stream.push(chunk);
        loop {
            match stream.next_package() {
                Ok(Some(package)) => packages.push(package),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(stream.next_package(), Err(error), "a stream ends with its first error");
                    return packages;
                }
            }
        }
    }
    packages
}

/// The same as servers take them: all whole packages that have arrived, as a frame.
fn taken_whole(bytes: &[u8], chunk: usize) -> Vec<Package> {
    let (mut arrived, mut packages) = (Vec::new(), Vec::new());
    for chunk in bytes.chunks(chunk) {
        arrived.extend_from_slice(chunk);
        loop {
            match whole_packages(&arrived, MAX_BODY) {
                Ok(0) => break,
                Ok(whole) => {
                    let frame = Bytes::from(arrived.drain(..whole).collect::<Vec<u8>>());
                    let taken = decode_frame(&frame, MAX_BODY);
                    assert!(taken.is_ok(), "no whole packages: {frame:?}");
                    packages.extend(taken.into_iter().flatten());
                }
                Err(_) => return packages,
            }
        }
    }
    packages
}

/// The body of a data package: what can be sent is read back as the same message.
pub fn message(bytes: &[u8]) -> bool {
    let Ok(message) = Message::decode(&Bytes::copy_from_slice(bytes)) else { return false };
    match message.encode() {
        Ok(written) => {
            assert_eq!(message.encode_package(), Package::new(PackageKind::Data, written.clone()).encode());
            assert_eq!(Message::decode(&written).as_ref(), Ok(&message));
        }
        // A route that is not UTF-8 is longer when read. Clients may send empty bodies, servers do not.
        Err(error) => assert!(matches!(error, WireError::RouteTooLong(_) | WireError::EmptyBody), "{error}"),
    }
    true
}

/// The body of a request: an object is read back from what is written of it.
pub fn body(bytes: &[u8]) -> bool {
    drop(Route::parse(&decode_text(bytes)));
    match Body::parse(bytes) {
        Body::Object(members) => {
            check_members(&members);
            true
        }
        other => {
            let members = other.clone().into_members();
            assert!(members.is_none_or(|members| members.is_empty() && other == Body::Invalid));
            false
        }
    }
}

fn check_members(members: &Map<String, Value>) {
    let written = to_json(members).unwrap_or_default();
    // Older clients cannot read characters of four bytes.
    assert!(written.iter().all(|byte| *byte < 0xF0));
    // The parser may be off by one in the last bit of a fraction; all else comes back exactly.
    if !members.values().any(has_fraction) {
        assert_eq!(Body::parse(&written), Body::Object(members.clone()));
    }
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// The body of a handshake package, of a client or of a server: what a client says is read back, and
/// the answer to it can be read.
pub fn handshake(bytes: &[u8]) -> bool {
    let response = HandshakeResponse::parse(bytes);
    let Ok(request) = HandshakeRequest::parse(bytes) else { return response.is_ok() };
    if !request.user.as_ref().is_some_and(has_fraction) {
        let written = request.encode().unwrap_or_default();
        assert_eq!(HandshakeRequest::parse(&written).as_ref(), Ok(&request));
    }
    let accept = HandshakeAccept { heartbeat_secs: 30, dictionary: None, user: None };
    let written = accept.encode(&request).unwrap_or_default();
    let read = HandshakeResponse::parse(&written);
    assert!(matches!(read, Ok(HandshakeResponse::Accepted { heartbeat_secs: 30, .. })), "{read:?}");
    true
}
