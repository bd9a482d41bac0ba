//! Bytes recorded with Pomelo's own libraries: they decode to what they mean, and what is sent from
//! here is the same.

#![expect(clippy::unwrap_used, reason = "a vector that cannot be read fails the test")]

mod vectors;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use wire::{
    Body, Dictionary, HandshakeAccept, HandshakeRefusal, HandshakeRequest, HandshakeResponse, Kick, MAX_BODY, Message,
    OfferedDictionary, Package, PackageKind, Route, RouteRef, StreamDecoder, WireError, decode_frame, decode_text,
    to_json,
};

use crate::vectors::{Recorded, unhex, vectors};

fn package(kind: u8, body: impl Into<Bytes>) -> Package {
    Package::new(PackageKind::try_from(kind).unwrap(), body)
}

fn decoded(frame: &Bytes) -> Vec<Package> {
    decode_frame(frame, MAX_BODY).unwrap().collect()
}

/// The body of the recorded package `name`.
fn recorded_body(name: &str) -> Bytes {
    let vector = vectors().into_iter().find(|vector| vector.name == name).unwrap();
    decoded(&unhex(&vector.hex)).remove(0).body
}

#[test]
fn packages() {
    let mut seen = 0;
    for vector in vectors() {
        let Recorded::Package(recorded) = vector.recorded else { continue };
        let package = package(recorded.kind, recorded.body_utf8);
        assert_eq!(package.encode().unwrap(), unhex(&vector.hex), "{}", vector.name);
        assert_eq!(decoded(&unhex(&vector.hex)), [package], "{}", vector.name);
        seen += 1;
    }
    assert_eq!(seen, 19);
}

#[test]
fn package_heads() {
    let mut seen = 0;
    for vector in vectors() {
        let Recorded::PackageHead { kind, body_len } = vector.recorded else { continue };
        let encoded = package(kind, vec![0; body_len]).encode();
        match vector.dir.as_str() {
            "none" => assert_eq!(encoded, Err(WireError::PackageTooLong { len: body_len, max: MAX_BODY })),
            _ => assert_eq!(encoded.unwrap().slice(..4), unhex(&vector.hex), "{}", vector.name),
        }
        seen += 1;
    }
    assert_eq!(seen, 8);
}

#[test]
fn messages() {
    let mut seen = 0;
    for vector in vectors() {
        let Recorded::Message(recorded) = vector.recorded else { continue };
        let expected = recorded.expected();
        assert_eq!(Message::decode(&unhex(&vector.hex)), Ok(expected.clone()), "{}", vector.name);
        match vector.name.as_str() {
            "push-empty-body" => assert_eq!(expected.encode(), Err(WireError::EmptyBody)),
            // The bit that is never set.
            name if recorded.gzip => assert!(["req-gzip-bit", "push-gzip-bit"].contains(&name)),
            name => {
                assert_eq!(expected.encode().unwrap(), unhex(&vector.hex), "{name}");
                assert_eq!(expected.encode_package().unwrap(), unhex(&recorded.package_hex), "{name}");
            }
        }
        if let Some(text) = recorded.expect_text {
            let members = Body::parse(expected.body()).into_members().unwrap();
            assert_eq!(members.get("content"), Some(&Value::String(text)));
        }
        seen += 1;
    }
    assert_eq!(seen, 48);
}

#[test]
fn streams() {
    let mut seen = 0;
    for vector in vectors() {
        let Recorded::Stream { packages } = vector.recorded else { continue };
        let expected: Vec<_> = packages.iter().map(|one| package(one.kind, unhex(&one.body_hex))).collect();
        assert_eq!(decoded(&unhex(&vector.hex)), expected, "{}", vector.name);
        seen += 1;
    }
    assert_eq!(seen, 5);
}

#[test]
fn split_streams() {
    let mut seen = 0;
    for vector in vectors() {
        let Recorded::Split { segments } = vector.recorded else { continue };
        let mut stream = StreamDecoder::new(MAX_BODY);
        let mut packages = Vec::new();
        for segment in &segments {
            stream.push(&unhex(segment));
            packages.extend(stream.next_package().unwrap());
        }
        assert_eq!(packages, decoded(&unhex(&vector.hex)), "{}", vector.name);
        assert_eq!(segments.len(), 4);
        seen += 1;
    }
    assert_eq!(seen, 1);
}

#[test]
fn strings_of_browsers() {
    let mut seen = 0;
    for vector in vectors() {
        let Recorded::String { utf16 } = vector.recorded else { continue };
        let units: Vec<u16> = utf16.iter().map(|unit| u16::from_str_radix(unit, 16).unwrap()).collect();
        assert_eq!(decode_text(&unhex(&vector.hex)), String::from_utf16_lossy(&units), "{}", vector.name);
        seen += 1;
    }
    assert_eq!(seen, 8);
}

#[test]
fn dictionary_versions() {
    let mut seen = 0;
    for vector in vectors() {
        let Recorded::DictVersion { json, version } = vector.recorded else { continue };
        // Reversed, so that it is the dictionary which sorts; the recorded pushes are in the order
        // of dictionary.json.
        let mut routes = routes_in_order(&json);
        let pushes = routes.split_off(3);
        let dictionary = Dictionary::new(routes.iter().rev().map(String::as_str), pushes.iter().map(String::as_str));
        assert_eq!(dictionary.version(), version, "{}", vector.name);
        assert!(routes.iter().all(|route| Route::parse(route).is_ok()));
        assert!(pushes.iter().all(|route| Route::parse(route).is_err()));
        seen += 1;
    }
    assert_eq!(seen, 2);
}

/// The keys of a flat object from routes to codes, by code.
fn routes_in_order(json: &str) -> Vec<String> {
    let codes: std::collections::HashMap<String, u16> = serde_json::from_str(json).unwrap();
    let mut routes: Vec<_> = codes.into_iter().map(|(route, code)| (code, route)).collect();
    routes.sort();
    routes.into_iter().map(|(_, route)| route).collect()
}

#[test]
fn only_protobuf_is_skipped() {
    let skipped = |recorded: &Recorded| matches!(recorded, Recorded::Protobuf {} | Recorded::ProtoVersion {});
    assert_eq!(vectors().iter().filter(|vector| skipped(&vector.recorded)).count(), 29);
}

#[test]
fn handshakes_of_servers_are_the_same_bytes() {
    let handlers = ["gate.gateHandler.queryEntry", "chat.chatHandler.send", "connector.entryHandler.enter"];
    let dictionary = Dictionary::new(handlers, ["onChat", "onAdd", "onLeave"]);
    let user = json!({"hello": "世界"});
    let fresh = HandshakeRequest::default();
    let cached = HandshakeRequest { dict_version: Some(dictionary.version().to_owned()), ..fresh.clone() };
    let plain = HandshakeAccept { heartbeat_secs: 3, ..HandshakeAccept::default() };
    let with_dictionary = HandshakeAccept { dictionary: Some(&dictionary), ..plain };

    let recorded = |name| Ok(recorded_body(name));
    assert_eq!(HandshakeAccept::default().encode(&fresh), recorded("hs-resp-min"));
    assert_eq!(plain.encode(&fresh), recorded("hs-resp-heartbeat"));
    assert_eq!(HandshakeAccept { user: Some(&user), ..plain }.encode(&fresh), recorded("hs-resp-user"));
    assert_eq!(with_dictionary.encode(&fresh), recorded("hs-resp-dict-only"));
    assert_eq!(with_dictionary.encode(&cached), recorded("hs-resp-dict-cached"));
    assert_eq!(HandshakeRefusal::Failed.encode(), recorded_body("hs-resp-500"));
    assert_eq!(HandshakeRefusal::ClientRefused.encode(), recorded_body("hs-resp-501"));
}

#[test]
fn handshakes_of_pomelo_servers_are_read() {
    let HandshakeResponse::Accepted { heartbeat_secs, dictionary, protobuf, user } =
        HandshakeResponse::parse(&recorded_body("hs-resp-master-connector")).unwrap()
    else {
        panic!("not accepted");
    };
    let OfferedDictionary::New(dictionary) = dictionary else { panic!("no dictionary") };
    assert_eq!((heartbeat_secs, protobuf, user), (3, true, None));
    assert_eq!(dictionary.version(), "s2r1qfKDrbhWCkA6uf+PTA==");
    assert_eq!(dictionary.route(1), Some("chat.chatHandler.send"));
    assert_eq!(dictionary.code("gate.gateHandler.queryEntry"), Some(3));
}

#[test]
fn handshakes_of_clients_are_read() {
    let text = |text: &str| Some(text.to_owned());
    let browser = HandshakeRequest { client_type: text("js-websocket"), version: text("0.0.1"), ..Default::default() };
    let native = HandshakeRequest { client_type: text("linux"), version: text("0.3.5-release"), ..Default::default() };
    let proto_version = text("2zWPnSlRsRxjqgcU215Uxg==");
    let cached_browser = HandshakeRequest {
        proto_version: proto_version.clone(),
        user: Some(json!({"token": "abc"})),
        ..browser.clone()
    };
    let cached_native =
        HandshakeRequest { proto_version, dict_version: text("s2r1qfKDrbhWCkA6uf+PTA=="), ..native.clone() };

    let parsed = |name| HandshakeRequest::parse(&recorded_body(name)).unwrap();
    assert_eq!(parsed("hs-req-js-browser-first"), browser);
    assert_eq!(parsed("hs-req-js-browser-cached-protos"), cached_browser);
    assert_eq!(parsed("hs-req-libpomelo2"), native);
    assert_eq!(parsed("hs-req-libpomelo2-cached"), cached_native);
    assert_eq!(native.encode(), Ok(recorded_body("hs-req-libpomelo2")));
}

#[test]
fn kicks_are_the_same_bytes() {
    for (name, reason) in [("kick-kick", "kick"), ("kick-attack", "attack"), ("kick-cjk", "你被踢了")] {
        let kick = Kick { reason: reason.to_owned() };
        assert_eq!(kick.to_package().unwrap().body, recorded_body(name));
        assert_eq!(Kick::parse(&recorded_body(name)), Ok(kick));
    }
}

#[test]
fn emoji_in_pushes_are_escaped_as_every_client_reads_them() {
    #[derive(Serialize)]
    struct Chat {
        msg: &'static str,
        from: &'static str,
        target: &'static str,
    }
    let body = to_json(&Chat { msg: "hi 😀!", from: "a", target: "*" }).unwrap();
    let push = Message::Push { route: RouteRef::Text("onChat".to_owned()), body: body.into() };
    let recorded = vectors().into_iter().find(|vector| vector.name == "push-emoji-escaped").unwrap();
    assert_eq!(push.encode().unwrap(), unhex(&recorded.hex));
}
