//! Properties of all values and of all bytes: round trips, and decoders that never panic.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use wire::{
    Body, Dictionary, HandshakeRequest, HandshakeResponse, Kick, MAX_BODY, Message, Package, PackageKind, Route,
    RouteRef, StreamDecoder, decode_frame, decode_text, json_len, to_json,
};

fn bytes(least: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), least..64).prop_map(Bytes::from)
}

/// Text with many characters outside the BMP, and many that JSON escapes.
fn text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        any::<char>(),
        prop::char::range('\0', '\u{7F}'),
        prop::char::range('\u{1F300}', '\u{1F6FF}'),
        Just('\u{2028}'),
    ];
    vec(character, 0..32).prop_map(String::from_iter)
}

fn package() -> impl Strategy<Value = Package> {
    let kind = (1..=5u8).prop_filter_map("all five are kinds", |byte| PackageKind::try_from(byte).ok());
    (kind, bytes(0)).prop_map(|(kind, body)| Package { kind, body })
}

fn route() -> impl Strategy<Value = RouteRef> {
    prop_oneof!["[ -~é]{0,100}".prop_map(RouteRef::Text), any::<u16>().prop_map(RouteRef::Code)]
}

fn message() -> impl Strategy<Value = Message> {
    // Ids of every length.
    let id = || (any::<u32>(), 0..32u32).prop_map(|(id, shift)| id >> shift);
    prop_oneof![
        (id(), route(), bytes(0)).prop_map(|(id, route, body)| Message::Request { id, route, body }),
        (route(), bytes(0)).prop_map(|(route, body)| Message::Notify { route, body }),
        (id(), bytes(1)).prop_map(|(id, body)| Message::Response { id, body }),
        (route(), bytes(1)).prop_map(|(route, body)| Message::Push { route, body }),
    ]
}

/// As browsers encode: each UTF-16 unit on its own, in one to three bytes.
fn cesu8(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut out = Vec::new();
    for unit in units {
        match unit {
            0..=0x7F => out.push(unit as u8),
            0x80..=0x7FF => out.extend([0xC0 | (unit >> 6) as u8, low_bits(unit)]),
            _ => out.extend([0xE0 | (unit >> 12) as u8, low_bits(unit >> 6), low_bits(unit)]),
        }
    }
    out
}

fn low_bits(unit: u16) -> u8 {
    0x80 | (unit & 0x3F) as u8
}

fn concatenated(packages: &[Package]) -> Bytes {
    packages.iter().map(|package| package.encode().unwrap_or_default()).collect::<Vec<_>>().concat().into()
}

proptest! {
    #[test]
    fn packages_come_back_from_a_frame(packages in vec(package(), 1..6)) {
        let mut frame = BytesMut::new();
        for package in &packages {
            package.encode_into(&mut frame).unwrap();
        }
        let decoded: Vec<_> = decode_frame(&frame.freeze(), MAX_BODY).unwrap().collect();
        prop_assert_eq!(decoded, packages);
    }

    #[test]
    fn packages_come_back_from_a_stream_cut_anywhere(packages in vec(package(), 0..6), lengths in vec(1..9usize, 1..20)) {
        let bytes = concatenated(&packages);
        let mut rest = bytes.as_ref();
        let mut stream = StreamDecoder::new(MAX_BODY);
        let mut decoded = Vec::new();
        for length in lengths.into_iter().cycle() {
            let (chunk, after) = rest.split_at(length.min(rest.len()));
            stream.push(chunk);
            while let Some(package) = stream.next_package().unwrap() {
                decoded.push(package);
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(decoded, packages);
    }

    #[test]
    fn a_frame_that_is_cut_gives_nothing(packages in vec(package(), 1..4), cut in any::<prop::sample::Index>()) {
        let frame = concatenated(&packages);
        let mut whole = vec![0];
        whole.extend(packages.iter().scan(0, |end, package| { *end += 4 + package.body.len(); Some(*end) }));
        let at = cut.index(frame.len());
        prop_assert_eq!(decode_frame(&frame.slice(..at), MAX_BODY).is_ok(), at > 0 && whole.contains(&at));
    }

    #[test]
    fn messages_come_back(message in message()) {
        prop_assert_eq!(Message::decode(&message.encode().unwrap()), Ok(message));
    }

    #[test]
    fn a_message_in_its_package_is_the_package_of_the_message(message in message()) {
        let package = Package::new(PackageKind::Data, message.encode().unwrap());
        prop_assert_eq!(message.encode_package(), package.encode());
    }

    #[test]
    fn no_decoder_panics(bytes in bytes(0), max_body in 0..100usize) {
        drop(decode_frame(&bytes, max_body).map(Iterator::count));
        let mut stream = StreamDecoder::new(max_body);
        stream.push(&bytes);
        while let Ok(Some(_)) = stream.next_package() {}
        drop(Message::decode(&bytes));
        drop(HandshakeRequest::parse(&bytes));
        drop(HandshakeResponse::parse(&bytes));
        drop(Kick::parse(&bytes));
        drop(Body::parse(&bytes));
        let text = decode_text(&bytes);
        drop(Route::parse(&text));
    }

    #[test]
    fn no_json_body_panics(body in r#"[\[\]{}":,\\u0-9a-fD +-]{0,40}"#) {
        drop(Body::parse(body.as_bytes()));
        drop(HandshakeRequest::parse(body.as_bytes()));
    }

    #[test]
    fn utf8_is_read_as_it_is(text in text()) {
        prop_assert_eq!(decode_text(text.as_bytes()), text.as_str());
    }

    #[test]
    fn bytes_without_surrogates_are_read_as_utf8(bytes in bytes(0)) {
        prop_assume!(!bytes.windows(2).any(|pair| matches!(pair, [0xED, 0xA0..=0xBF])));
        prop_assert_eq!(decode_text(&bytes), String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn text_that_browsers_encode_comes_back(text in text()) {
        let encoded = cesu8(text.encode_utf16());
        prop_assert_eq!(decode_text(&encoded), text);
    }

    #[test]
    fn lone_surrogates_become_replacement_characters(units in vec(prop_oneof![any::<u16>(), 0xD800..=0xDFFFu16], 0..32)) {
        let encoded = cesu8(units.iter().copied());
        prop_assert_eq!(decode_text(&encoded), String::from_utf16_lossy(&units));
    }

    #[test]
    fn json_is_read_back_and_stays_inside_the_bmp(text in text()) {
        let json = to_json(&text).unwrap();
        prop_assert!(json.iter().all(|byte| *byte < 0xF0));
        prop_assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
    }

    #[test]
    fn json_len_is_the_written_length(text in text()) {
        prop_assert_eq!(json_len(&text) + 2, to_json(&text).unwrap().len());
    }

    #[test]
    fn escapes_that_javascript_writes_are_read(units in vec(prop_oneof![any::<u16>(), 0xD800..=0xDFFFu16], 0..16)) {
        let escaped: String = units.iter().map(|unit| format!("\\u{unit:04X}")).collect();
        let members = Body::parse(format!("{{\"text\":\"{escaped}\"}}").as_bytes()).into_members().unwrap();
        prop_assert_eq!(members["text"].as_str().unwrap(), String::from_utf16_lossy(&units));
    }

    #[test]
    fn dictionaries_translate_both_ways(handlers in vec("[a-c]{1,3}", 0..8), pushes in vec("[a-e]{1,3}", 0..8)) {
        let routes = || (handlers.iter().map(String::as_str), pushes.iter().map(String::as_str));
        let dictionary = Dictionary::new(routes().0, routes().1);
        for route in handlers.iter().chain(&pushes) {
            let code = dictionary.code(route).unwrap();
            prop_assert_eq!(dictionary.route(code), Some(route.as_str()));
        }
    }
}
