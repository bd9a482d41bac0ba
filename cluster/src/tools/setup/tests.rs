//! Tests: `setup` writes the permissions of the production example, and keeps existing files.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;

use model::log_parts::LogParts;
use runtime::config::load_servers;
use serde_json::Value;
use testkit::Scratch;

use super::*;

/// Words of a configuration of NATS; what is quoted has its quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in text.lines() {
        let mut rest = line.trim();
        while !rest.is_empty() && !rest.starts_with('#') {
            let length = match rest.chars().next().unwrap() {
                '"' => rest[1..].find('"').unwrap() + 2,
                '{' | '}' | '[' | ']' | ':' | ',' => 1,
                _ => rest.find(|c: char| c.is_whitespace() || "{}[]:,".contains(c)).unwrap_or(rest.len()),
            };
            words.push(rest[..length].to_owned());
            rest = rest[length..].trim_start();
        }
    }
    words
}

/// The same as JSON, with its variables in it.
struct Reading {
    words: std::iter::Peekable<std::vec::IntoIter<String>>,
    variables: BTreeMap<String, Value>,
}

impl Reading {
    fn of(text: &str) -> Value {
        let words = words(text).into_iter().peekable();
        Self { words, variables: BTreeMap::new() }.map()
    }

    fn passes(&mut self, word: &str) -> bool {
        self.words.next_if(|next| next == word).is_some()
    }

    /// Members up to a brace, or the end.
    fn map(&mut self) -> Value {
        let mut map = serde_json::Map::new();
        while let Some(key) = self.words.next().filter(|word| word != "}") {
            let key = key.trim_matches('"').to_owned();
            self.passes(":");
            let value = self.value();
            self.variables.insert(key.clone(), value.clone());
            map.insert(key, value);
            self.passes(",");
        }
        Value::Object(map)
    }

    fn value(&mut self) -> Value {
        let word = self.words.next().unwrap();
        match word.as_str() {
            "{" => self.map(),
            "[" => {
                let mut list = Vec::new();
                while !self.passes("]") {
                    list.push(self.value());
                    self.passes(",");
                }
                Value::Array(list)
            }
            word => match word.strip_prefix('$') {
                Some(name) => self.variables.get(name).cloned().unwrap_or_else(|| word.into()),
                None => word.trim_matches('"').into(),
            },
        }
    }
}

/// Returns the permissions by user, those of each kind in no order, and the rest of the servers'
/// account.
fn permissions(configuration: &Value) -> (BTreeMap<String, BTreeMap<String, BTreeSet<String>>>, Value) {
    let mut account = configuration["accounts"]["CHAT"].clone();
    let users = account.as_object_mut().unwrap().remove("users").unwrap();
    let texts = |value: &Value| match value {
        Value::Array(list) => list.iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
        other => BTreeSet::from([other.to_string()]),
    };
    let of_user = |user: &Value| {
        let kinds = user["permissions"].as_object().into_iter().flatten();
        kinds.map(|(kind, value)| (kind.clone(), texts(value))).collect()
    };
    let users = users.as_array().unwrap().iter();
    (users.map(|user| (user["user"].as_str().unwrap().to_owned(), of_user(user))).collect(), account)
}

fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config")
}

fn rendered(servers: &Servers) -> Value {
    let parts = LogParts::ONE;
    let users = users::of(servers, parts);
    Reading::of(&users::render(users.iter().map(|user| (user, &user.name)), parts))
}

#[test]
fn the_example_for_production_has_the_same_permissions() {
    let example = std::fs::read_to_string(config().join("nats/production.conf")).unwrap();
    let example = Reading::of(&example);
    let written = rendered(&load_servers(&config(), "production").unwrap());
    assert_eq!(written["system_account"], example["system_account"]);
    let ((mut written, account), (example, wanted)) = (permissions(&written), permissions(&example));
    let tracer = written.remove("tracer").unwrap();
    assert_eq!(written, example);
    assert_eq!(account, wanted);
    assert_eq!(example.len(), 8, "seven servers and the operator");
    assert!(example["chat-server-1"]["publish"].contains("log.*.*"), "variables are read");
    assert_eq!(tracer["publish"], [r#"{"deny":[">"]}"#.to_owned()].into());
}

fn options(servers: &str) -> (Options, Scratch) {
    use clap::Parser;
    let scratch = Scratch::new();
    scratch.file("servers.json", servers);
    let line = ["shaddock", "--env", "test", "--config", scratch.path().to_str().unwrap()];
    (crate::args::Args::try_parse_from(line).unwrap().options, scratch)
}

const ONE_OF_EACH: &str = r#"{"test": {
    "gate": [{"id": "gate-1", "host": "a", "clientPort": 1}],
    "connector": [{"id": "connector-1", "host": "a", "clientPort": 2}],
    "chat": [{"id": "chat-1", "host": "a"}]
}}"#;

fn public(keys: &str) -> BTreeMap<String, String> {
    serde_json::from_str(keys).unwrap()
}

#[test]
fn what_is_there_is_kept_and_what_is_missing_is_added() {
    let (options, config) = options(ONE_OF_EACH);
    let scratch = Scratch::new();
    let directory = scratch.path().join("secrets");
    let file = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    run(&options, &directory).unwrap();
    let (first, users) = (file("passwords/chat-1"), file(USERS));
    assert_eq!(first.trim().len(), 48);
    assert_ne!(first, file("passwords/gate-1"));
    assert!(users.contains(first.trim()) && users.contains(file("nats/tracer").trim()));
    assert!(!directory.join("passwords/tracer").exists(), "servers get no other passwords");
    let (seed, keys) = (file("keys/chat-1.seed"), file("keys/keys.json"));

    config.file(
        "servers.json",
        &ONE_OF_EACH.replace(r#""host": "a"}]"#, r#""host": "a"}, {"id": "chat-2", "host": "a"}]"#),
    );
    run(&options, &directory).unwrap();
    assert_eq!(file("passwords/chat-1"), first);
    assert!(file(USERS).contains(file("passwords/chat-2").trim()));
    assert!(file(USERS).contains("_INBOX.chat-2.>"));
    assert_eq!(file("keys/chat-1.seed"), seed);
    let (keys, more) = (public(&keys), public(&file("keys/keys.json")));
    assert_eq!((keys.len(), more.len()), (3, 4));
    assert!(keys.iter().all(|(id, key)| more[id] == *key));

    config.file("servers.json", ONE_OF_EACH);
    run(&options, &directory).unwrap();
    assert_eq!(file(USERS), users, "a removed server is no user any more");
}

#[test]
fn secrets_are_read_by_few_and_nothing_else_is_left() {
    let (options, _config) = options(ONE_OF_EACH);
    let scratch = Scratch::new();
    run(&options, scratch.path()).unwrap();
    run(&options, scratch.path()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = |part: &str| {
        let entries = std::fs::read_dir(scratch.path().join(part)).unwrap().map(|entry| entry.unwrap().path());
        let named = entries.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), mode(&path)));
        named.collect::<BTreeMap<String, u32>>()
    };
    let modes = |of: &[(&str, u32)]| of.iter().map(|(name, mode)| ((*name).to_owned(), *mode)).collect();
    assert_eq!(files("passwords"), modes(&[("chat-1", 0o600), ("connector-1", 0o600), ("gate-1", 0o600)]));
    let seeds = ["chat-1.seed", "connector-1.seed", "gate-1.seed"].map(|seed| (seed, 0o600));
    assert_eq!(files("keys"), modes(&[&seeds[..], &[("keys.json", 0o644)]].concat()));
    let nats = [("operator", 0o600), ("sys", 0o600), ("tracer", 0o600), ("users.conf", 0o640)];
    assert_eq!(files("nats"), modes(&nats));
    assert_eq!(mode(&scratch.path().join("nats")) & 0o007, 0);
}

#[test]
fn names_of_other_users_empty_files_and_lost_seeds_are_refused() {
    let (with_tracer, _config) = options(&ONE_OF_EACH.replace("chat-1", "tracer"));
    let scratch = Scratch::new();
    let refused = run(&with_tracer, scratch.path()).unwrap_err().to_string();
    assert!(refused.contains("tracer"), "{refused}");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);

    let (options, _config) = options(ONE_OF_EACH);
    run(&options, scratch.path()).unwrap();
    std::fs::write(scratch.path().join("passwords/chat-1"), "\n").unwrap();
    let refused = format!("{:#}", run(&options, scratch.path()).unwrap_err());
    assert!(refused.contains("passwords/chat-1 is empty"), "{refused}");
    std::fs::remove_file(scratch.path().join("passwords/chat-1")).unwrap();

    std::fs::remove_file(scratch.path().join("keys/chat-1.seed")).unwrap();
    let refused = run(&options, scratch.path()).unwrap_err().to_string();
    assert!(refused.contains("keys/chat-1.seed is gone: put it back"), "{refused}");
}
