//! Responses of JetStream and their meaning.

use super::*;

fn direct(status: Option<u16>, headers: Headers) -> Message {
    Message {
        subject: "_INBOX.1".to_owned(),
        reply: None,
        headers,
        payload: Bytes::from_static(b"record"),
        no_responders: false,
        status,
    }
}

#[test]
fn an_ack_is_a_position_of_our_stream() {
    assert_eq!(parse_ack(br#"{"stream":"ROOMS","seq":7}"#, "ROOMS"), Ok(Position(7)));
    for odd in [r#"{"stream":"OTHER","seq":7}"#, r#"{"stream":"ROOMS","seq":0}"#, "{}", "", "7", "[]"] {
        assert!(matches!(parse_ack(odd.as_bytes(), "ROOMS"), Err(ApiError::Garbled(_))), "{odd}");
    }
}

#[test]
fn answers_of_others_are_passed_over() {
    let of_other_stream = r#"{"stream":"ROOMS-1","seq":7}"#;
    for ours in [
        r#"{"stream":"ROOMS-01","seq":7}"#,
        of_other_stream,
        r#"{"error":{"code":503,"err_code":10008},"stream":"","seq":0}"#,
    ] {
        assert!(is_of_log(ours.as_bytes(), "ROOMS-01", "ROOMS"), "{ours}");
    }
    for other in [
        r#"{"stream":"OTHER","seq":7}"#,
        r#"{"stream":"ROOMSX","seq":7}"#,
        "{}",
        "",
        "7",
        "{\"stream\":\"OTHER\",\"error\":{}}",
        "\u{80}",
    ] {
        assert!(!is_of_log(other.as_bytes(), "ROOMS-01", "ROOMS"), "{other}");
    }
}

#[test]
fn an_ack_that_says_no_says_why() {
    let no = br#"{"error":{"code":400,"err_code":10071,"description":"wrong last"},"stream":"ROOMS","seq":0}"#;
    let error = parse_ack(no, "ROOMS").unwrap_err();
    assert!(error.is(code::WRONG_LAST), "{error}");
}

#[test]
fn a_direct_read_is_a_message_or_nothing_or_an_error() {
    let headers = Headers::new().with("Nats-Stream", "ROOMS").with("Nats-Sequence", "9").with("Nats-Subject", "log.a");
    let stored = StoredMessage {
        subject: "log.a".to_owned(),
        position: Position(9),
        expected: None,
        bytes: Bytes::from_static(b"record"),
    };
    assert_eq!(parse_direct_response(&direct(None, headers.clone()), "ROOMS"), Ok(Some(stored.clone())));
    let appended = headers.clone().with(EXPECTED, "7");
    let expected = Some(Position(7));
    assert_eq!(parse_direct_response(&direct(None, appended), "ROOMS"), Ok(Some(StoredMessage { expected, ..stored })));
    assert_eq!(parse_direct_response(&direct(Some(404), Headers::new()), "ROOMS"), Ok(None));
    assert!(parse_direct_response(&direct(None, headers.clone()), "ROOMS-1").is_err(), "of another stream");
    assert!(parse_direct_response(&direct(Some(408), headers), "ROOMS").is_err());
    assert!(parse_direct_response(&direct(None, Headers::new()), "ROOMS").is_err());
}

#[test]
fn a_read_from_the_leader_is_a_message_or_nothing_or_an_error() {
    let found = br#"{"message":{"subject":"log.a","seq":9,"data":"cmVjb3Jk","time":"2026-01-01T00:00:00Z"}}"#;
    let stored = StoredMessage {
        subject: "log.a".to_owned(),
        position: Position(9),
        expected: None,
        bytes: Bytes::from_static(b"record"),
    };
    assert_eq!(parse_leader_response(found), Ok(Some(stored.clone())));
    let headers = STANDARD.encode("NATS/1.0\r\nA: 1\r\nNats-Expected-Last-Subject-Sequence: 7\r\n\r\n");
    let appended = format!(
        r#"{{"message":{{"subject":"log.a","seq":9,"hdrs":"{headers}","data":"cmVjb3Jk","time":"2026-01-01T00:00:00Z"}}}}"#
    );
    let expected = Some(Position(7));
    assert_eq!(parse_leader_response(appended.as_bytes()), Ok(Some(StoredMessage { expected, ..stored })));
    assert_eq!(parse_leader_response(br#"{"error":{"code":404,"err_code":10037,"description":"none"}}"#), Ok(None));
    assert!(parse_leader_response(br#"{"error":{"code":503,"err_code":10008,"description":"wait"}}"#).is_err());
    assert!(parse_leader_response(br#"{"message":{"subject":"log.a","seq":9,"data":"?"}}"#).is_err());
}
