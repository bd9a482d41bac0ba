//! Tests of environment variables: which of them are settings, and how their texts are parsed.

use super::super::{defaults, keys};
use super::*;

fn read(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let variables = variables.iter().map(|(name, text)| (OsString::from(name), OsString::from(text)));
    let defaults = defaults();
    let found = settings(variables, &defaults, &keys(&defaults, ""));
    let found_in = Value::from(found.clone());
    let text = |key: &String| match found_in.find_ref(key) {
        Some(Value::String(_, text)) => format!("{text:?}"),
        Some(Value::Array(_, items)) => format!("{:?}", items.iter().filter_map(Value::as_str).collect::<Vec<_>>()),
        Some(Value::Bool(_, flag)) => flag.to_string(),
        Some(value) => value.to_num().and_then(|number| number.to_u128()).map_or("?".to_owned(), |n| n.to_string()),
        None => "none".to_owned(),
    };
    keys(&found, "").into_iter().map(|key| (key.clone(), text(&key))).collect()
}

fn one(key: &str, text: &str) -> Vec<(String, String)> {
    vec![(key.to_owned(), text.to_owned())]
}

#[test]
fn variables_of_services_are_none_of_ours() {
    let of_service = |name: &str| {
        let port = format!("SHADDOCK{name}_PORT_3014_TCP");
        [
            (format!("SHADDOCK{name}_PORT"), "tcp://10.96.12.7:3014"),
            (format!("SHADDOCK{name}_SERVICE_HOST"), "10.96.12.7"),
            (format!("SHADDOCK{name}_SERVICE_PORT"), "3014"),
            (format!("SHADDOCK{name}_SERVICE_PORT_WS"), "3014"),
            (port.clone(), "tcp://10.96.12.7:3014"),
            (format!("{port}_PROTO"), "tcp"),
            (format!("{port}_PORT"), "3014"),
            (format!("{port}_ADDR"), "10.96.12.7"),
        ]
    };
    for name in ["", "_NATS", "_GATE", "_LOG", "_ADMIN", "_ROOM", "_CHAT_SERVER_1", "_BIND", "_CONFIG", "_ENV"] {
        let variables = of_service(name);
        let variables: Vec<_> = variables.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        assert_eq!(read(&variables), [], "{name}");
    }
    // Links of containers, and the words of the command line.
    let others =
        ["SHADDOCK_NAME", "SHADDOCK_ENV_SHADDOCK_X__Y", "SHADDOCK_NATS", "SHADDOCK_LOG", "SHADDOCK_ENV", "OTHER"];
    for name in others {
        assert_eq!(read(&[(name, "x")]), [], "{name}");
    }
}

#[test]
fn slips_are_kept_to_be_refused() {
    for (name, key) in [
        ("SHADDOCK_ROM__MAX_MEMBERS", "rom.max_members"),
        ("SHADDOCK_FRONTENT__ENTER_SECS", "frontent.enter_secs"),
        ("SHADDOCK_ROOM__MAX_MEMBER", "room.max_member"),
        ("SHADDOCK_ADMIN_TOKEN", "admin_token"),
    ] {
        assert_eq!(read(&[(name, "x")]), one(key, "\"x\""), "{name}");
    }
}

#[test]
fn a_text_setting_takes_any_text() {
    for text in ["20240612", "true", "+5", "1.50", "[x]", "{a}", "\"quoted\"", " spaced ", "", "'", "0x1F", "-"] {
        assert_eq!(read(&[("SHADDOCK_ADMIN__TOKEN", text)]), one("admin.token", &format!("{text:?}")));
        let overridden = nested([("admin.token", text)].into_iter(), &defaults());
        assert_eq!(Value::from(overridden).find_ref("admin.token").and_then(Value::as_str), Some(text));
    }
    assert_eq!(read(&[("SHADDOCK_NATS__USER", "1001")]), one("nats.user", "\"1001\""));
    assert_eq!(read(&[("SHADDOCK_BIND", "::")]), one("bind", "\"::\""));
    assert_eq!(read(&[("SHADDOCK_ROOM__MAX_MEMBERS", "500")]), one("room.max_members", "500"));
    assert_eq!(read(&[("SHADDOCK_ROOM__NEWEST_WINS", "true")]), one("room.newest_wins", "true"));
}

#[test]
fn a_list_of_texts_takes_any_texts() {
    for (text, items) in [
        ("[]", "[]"),
        ("[spam, \"egg\"]", r#"["spam", "egg"]"#),
        ("[ 007 ,1.50, true,'a, b', \"c, \\\"d\"]", r#"["007", "1.50", "true", "a, b", "c, \"d"]"#),
        ("[https://*.example.org, null, *]", r#"["https://*.example.org", "null", "*"]"#),
    ] {
        assert_eq!(read(&[("SHADDOCK_ROOM__FORBIDDEN_WORDS", text)]), one("room.forbidden_words", items));
    }
}
