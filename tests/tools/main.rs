//! The commands that answer a question, run as a user runs them.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod check;
mod decode;
mod ready;
mod split;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const SERVERS: &str = r#"{
  "development": {
    "gate": [{"id": "gate-1", "host": "chat.example.org", "clientPort": 3014, "frontend": true}],
    "connector": [{"id": "connector-1", "host": "127.0.0.1", "port": 4050, "clientPort": 3050, "frontend": true}],
    "chat": [
      {"id": "chat-1", "host": "127.0.0.1", "port": 6050},
      {"id": "chat-2", "host": "127.0.0.1", "port": 6051},
      {"id": "chat-3", "host": "127.0.0.1", "port": 6052}
    ]
  }
}"#;

/// [`SERVERS`] with other ports. In two turns: a new port may have the digits of one that is still
/// to be replaced.
fn with_ports<const N: usize>(ports: [(&str, u16); N]) -> String {
    let mark = |port: &str| format!("<{port}>");
    let marked = ports.iter().fold(SERVERS.to_owned(), |servers, (old, _)| servers.replace(old, &mark(old)));
    ports.iter().fold(marked, |servers, (old, new)| servers.replace(&mark(old), &new.to_string()))
}

fn shaddock(args: &[&str]) -> Command {
    let mut command = Command::new(testkit::shaddock());
    // What the developer has set does not belong here.
    command.args(args).stdin(Stdio::null()).env_clear();
    command
}

/// A configuration of its own for the test `name`.
fn directory(name: &str, servers: &str, settings: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tools-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("servers.json"), servers).unwrap();
    fs::write(dir.join("settings.toml"), settings).unwrap();
    dir
}

fn run(dir: &Path, args: &[&str]) -> Output {
    shaddock(args).arg("--config").arg(dir).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap()
}

/// Returns the output of a refused run.
fn stderr(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn place_prints_the_homes_of_rooms() {
    let dir = directory("place", SERVERS, "");
    let expected = "\
room    home    subject      slot  stream  log subject
lobby   chat-3  chat.chat-3  51    ROOMS   log.51.lobby
room-1  chat-2  chat.chat-2  47    ROOMS   log.47.room-1
a.b c   chat-1  chat.chat-1  10    ROOMS   log.10.a%2Eb%20c
";
    assert_eq!(stdout(&run(&dir, &["place", "lobby", "room-1", "a.b c"])), expected);
    assert_eq!(run(&dir, &["place", "a*"]).status.code(), Some(2));
    let expected = "\
room   home    subject              slot  stream            log subject
lobby  chat-3  staging.chat.chat-3  51    STAGING_ROOMS-11  staging.log.51.lobby
";
    let other = ["place", "lobby", "--set", "nats.prefix=staging", "--set", "log.streams=4"];
    assert_eq!(stdout(&run(&dir, &other)), expected);
}

#[test]
fn ports_are_replaced_that_have_the_digits_of_others() {
    let servers = with_ports([("6050", 36051), ("6051", 60520), ("6052", 1)]);
    let wanted = SERVERS.replace(": 6052}", ": 1}").replace(": 6051}", ": 60520}").replace(": 6050}", ": 36051}");
    assert_eq!(servers, wanted);
}

#[test]
fn a_token_is_made_from_the_shared_key() {
    let key = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("token-{}.key", std::process::id()));
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    let settings = format!("[auth]\nhmac_file = {:?}\naudience = \"chat\"", key.to_str().unwrap());
    let dir = directory("token", SERVERS, &settings);
    let token = run(&dir, &["token", "ann", "--name", "Ann Lee", "--secs", "60"]);
    let parts: Vec<&str> = stdout(&token).trim_end().split('.').collect();
    let claims = data_encoding::BASE64URL_NOPAD.decode(parts[1].as_bytes()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["sub"], &claims["name"], &claims["aud"]), (&"ann".into(), &"Ann Lee".into(), &"chat".into()));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    assert!(claims.get("iss").is_none() && parts.len() == 3);
    let none = directory("no-token", SERVERS, "");
    assert!(stderr(&run(&none, &["token", "ann"])).contains("auth.hmac_file is empty"));
    let help = shaddock(&["token", "--help"]).output().unwrap();
    assert!(stdout(&help).contains("for tests"));
    fs::remove_file(key).unwrap();
}

#[test]
fn keys_are_written_once_and_secret() {
    let dir = directory("keys", SERVERS, "");
    let keys = dir.join(format!("keys-{}", std::process::id()));
    let here = keys.to_str().unwrap();
    let first = run(&dir, &["keys", here, "--only", "chat-1"]);
    let expected = format!(
        "wrote {here}/chat-1.seed: secret, for the process of chat-1 alone\n\
         wrote {here}/keys.json: public keys of chat-1, for all processes\n"
    );
    assert_eq!(stdout(&first), expected);
    let seed = fs::read_to_string(keys.join("chat-1.seed")).unwrap();
    assert!(seed.starts_with("SX") && !stdout(&first).contains(seed.trim()));
    let second = run(&dir, &["keys", here]);
    assert_eq!(stdout(&second).lines().filter(|line| line.ends_with("alone")).count(), 4);
    assert!(stdout(&second).contains("public keys of chat-2, chat-3, connector-1, gate-1, for all processes"));
    assert_eq!(fs::read_to_string(keys.join("chat-1.seed")).unwrap(), seed);
    assert_eq!(stdout(&run(&dir, &["keys", here])), format!("{here}/keys.json has them all\n"));
    fs::remove_file(keys.join("chat-2.seed")).unwrap();
    assert!(stdout(&run(&dir, &["keys", here])).contains("has a key of chat-2"));
    assert!(stderr(&run(&dir, &["keys", here, "--only", "chat-9"])).contains("chat-9 is not in servers.json"));
    let all: serde_json::Value = serde_json::from_str(&fs::read_to_string(keys.join("keys.json")).unwrap()).unwrap();
    assert_eq!(all.as_object().unwrap().len(), 5);
    fs::remove_dir_all(keys).unwrap();
}
