//! The commands that answer a question, run as a user runs them.

#![expect(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
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
fn check_prints_the_listeners() {
    let dir = directory("check", SERVERS, "bind = \"10.0.0.1\"");
    let expected = "\
type       id           sent to clients        listens on     admin
gate       gate-1       chat.example.org:3014  10.0.0.1:3014  10.0.0.1:3014
connector  connector-1  127.0.0.1:3050         10.0.0.1:3050  127.0.0.1:4050
chat       chat-1       -                      -              127.0.0.1:6050
chat       chat-2       -                      -              127.0.0.1:6051
chat       chat-3       -                      -              127.0.0.1:6052

warning: connector-1 listens on 10.0.0.1, and clients get 127.0.0.1: change bind, or its host in servers.json, \
unless a proxy leads there
development: 1 gate, 1 connector, 3 chat, 1 warning
";
    assert_eq!(stdout(&run(&dir, &["check"])), expected);
}

#[test]
fn check_prints_the_addresses_for_clients() {
    let gate = r#""host": "[::1]", "clientPort": 3014"#;
    let connector =
        r#""host": "10.0.0.5", "clientHost": "in.example.org", "pubHost": "play.example.org", "pubPort": 443"#;
    let servers = SERVERS.replace(r#""host": "chat.example.org", "clientPort": 3014"#, gate);
    let servers = servers.replace(r#""host": "127.0.0.1", "port": 4050"#, &format!(r#"{connector}, "port": "4050""#));
    let text = run(&directory("told", &servers, "bind = \"::\""), &["check"]);
    for part in [
        "gate       gate-1       [::1]:3014            [::]:3014   [::]:3014",
        "connector  connector-1  play.example.org:443  [::]:3050   127.0.0.1:4050",
        "all good",
    ] {
        assert!(stdout(&text).contains(part), "{part} in {}", stdout(&text));
    }
    let text = run(&directory("told-v4", &servers, ""), &["check"]);
    let warning = "warning: gate-1 listens on 0.0.0.0, and clients get ::1";
    assert!(stdout(&text).contains(warning) && stdout(&text).ends_with("1 warning\n"), "{}", stdout(&text));
}

#[test]
fn check_reads_each_form_of_pomelo() {
    let forms = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/runtime/tests/pomelo");
    for (form, environment, counts) in [
        ("chat", "development", "1 gate, 3 connector, 3 chat"),
        ("game", "production", "1 gate, 2 connector, 1 chat, 3 area"),
        ("cluster", "production", "1 gate, 3 connector, 3 chat"),
        ("plain", "development", "1 gate, 1 connector, 1 chat"),
        ("directories", "production", "1 gate, 1 connector, 1 chat"),
    ] {
        let output = run(&forms.join(form), &["check", "--env", environment]);
        assert!(stdout(&output).contains(counts), "{form}: {}", stdout(&output));
    }
}

#[test]
fn check_names_what_a_file_is_instead() {
    let dir = directory("instead", SERVERS, "");
    let path = dir.join("servers.json");
    fs::write(&path, format!("\u{feff}{SERVERS}")).unwrap();
    fs::write(dir.join("settings.toml"), "\u{feff}bind = \"127.0.0.1\"").unwrap();
    assert!(stdout(&run(&dir, &["check"])).contains("127.0.0.1:3014"));
    let utf16: Vec<u8> = SERVERS.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&path, utf16).unwrap();
    assert!(stderr(&run(&dir, &["check"])).contains("servers.json cannot be read: it is UTF-16: save it as UTF-8"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(stderr(&run(&dir, &["check"])).contains("servers.json cannot be read: it is a directory"));
}

/// Runs `check` with variables of the environment.
fn check_with(dir: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = shaddock(&["check", "--config"]);
    command.arg(dir).envs(variables.iter().copied()).output().unwrap()
}

/// Kubernetes defines these in every pod beside a service that is called `shaddock`,
/// `shaddock-nats` or `shaddock-gate`.
#[test]
fn variables_of_services_are_no_settings() {
    let dir = directory("services", SERVERS, "");
    for service in ["SHADDOCK", "SHADDOCK_NATS", "SHADDOCK_GATE"] {
        let suffixes =
            ["PORT", "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_WS", "PORT_3014_TCP", "PORT_3014_TCP_ADDR"];
        let names: Vec<String> = suffixes.iter().map(|suffix| format!("{service}_{suffix}")).collect();
        let variables: Vec<_> = names.iter().map(|name| (name.as_str(), "tcp://10.96.12.7:3014")).collect();
        assert!(check_with(&dir, &variables).status.success(), "{service}");
    }
    let slip = check_with(&dir, &[("SHADDOCK_ADMIN_TOKEN", "s3cret")]);
    assert!(stderr(&slip).contains("admin.token") && !stderr(&slip).contains("s3cret"), "{slip:?}");
}

#[test]
fn secrets_are_any_text_and_shown_nowhere() {
    let dir = directory("secrets", SERVERS, "");
    for token in ["20240612", "true", "+5", "1.50", "[x]", "{y}", "\"z\""] {
        assert!(check_with(&dir, &[("SHADDOCK_ADMIN__TOKEN", token)]).status.success(), "{token}");
        let set = run(&dir, &["check", "--set", &format!("admin.token={token}")]);
        assert!(set.status.success(), "{token}");
    }
    let file = ("SHADDOCK_NATS__PASSWORD_FILE", "/run/secrets/1001");
    assert!(check_with(&dir, &[("SHADDOCK_NATS__USER", "1001"), file]).status.success());
    for settings in
        ["[admin]\ntoken = 20240612", "admin = 20240612", "[admin]\ntoken = 20240612x", "[admin]\ntoken \"20240612\""]
    {
        let dir = directory("secret-file", SERVERS, settings);
        let output = run(&dir, &["check"]);
        assert!(stderr(&output).contains("settings.toml") && !stderr(&output).contains("20240612"), "{output:?}");
    }
}

#[test]
fn errors_have_no_backtrace() {
    let dir = directory("backtrace", "{", "");
    let output = check_with(&dir, &[("RUST_BACKTRACE", "full"), ("RUST_LIB_BACKTRACE", "1")]);
    let text = stderr(&output);
    assert!(
        text.starts_with("Error: ") && text.contains("line 1") && !text.contains("stack") && text.lines().count() == 1
    );
}

#[test]
fn check_accepts_the_configuration_of_the_repository() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    for environment in ["development", "production"] {
        assert!(stdout(&run(&dir, &["check", "--env", environment])).contains("1 gate, 3 connector, 3 chat"));
    }
}

#[test]
fn check_names_everything_that_is_wrong() {
    let servers = SERVERS.replace("chat-2", "chat-1").replace("3050", "70000");
    let dir = directory("wrong", &servers, "[session]\nmax_pakage = 1");
    let output = run(&dir, &["check"]);
    let text = stderr(&output);
    for part in [
        "servers.json",
        r#"development.chat[1] "chat-1""#,
        r#"development.connector[0] "connector-1": clientPort 70000"#,
        "settings.toml",
        "session.max_pakage",
        "session.max_package",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn check_names_a_missing_file_and_a_missing_environment() {
    let dir = directory("missing", SERVERS, "");
    assert!(stderr(&run(&dir, &["check", "--env", "production"])).contains("development"));
    let output = run(&dir.join("nowhere"), &["check"]);
    assert!(stderr(&output).contains("servers.json") && stderr(&output).contains("--config"));
}

#[test]
fn settings_come_from_the_environment_and_the_command_line() {
    let dir = directory("layers", SERVERS, "bind = \"10.0.0.1\"");
    let check = |variable: (&str, &str), args: &[&str]| {
        let mut command = shaddock(&["check", "--config"]);
        command.arg(&dir).args(args).env(variable.0, variable.1).output().unwrap()
    };
    assert!(stdout(&check(("SHADDOCK_BIND", "10.0.0.2"), &[])).contains("10.0.0.2:3014"));
    let both = check(("SHADDOCK_BIND", "10.0.0.2"), &["--set", "bind=10.0.0.3"]);
    assert!(stdout(&both).contains("10.0.0.3:3014"));
    let unknown = check(("SHADDOCK_SESSION__MAX_PAKAGE", "5"), &[]);
    assert!(stderr(&unknown).contains("SHADDOCK_SESSION__MAX_PAKAGE"));
    assert!(check(("SHADDOCK_LOG", "debug"), &[]).status.success());
    assert!(!check(("SHADDOCK_ENV", "production"), &[]).status.success());
}

#[test]
fn place_prints_the_homes_of_rooms() {
    let dir = directory("place", SERVERS, "");
    let expected = "\
room    home    subject      log subject
lobby   chat-3  chat.chat-3  log.lobby
room-1  chat-2  chat.chat-2  log.room-1
a.b c   chat-1  chat.chat-1  log.a%2Eb%20c
";
    assert_eq!(stdout(&run(&dir, &["place", "lobby", "room-1", "a.b c"])), expected);
    assert_eq!(run(&dir, &["place", "a*"]).status.code(), Some(2));
    let expected = "\
room   home    subject              log subject
lobby  chat-3  staging.chat.chat-3  staging.log.lobby
";
    assert_eq!(stdout(&run(&dir, &["place", "lobby", "--set", "nats.prefix=staging"])), expected);
}

#[test]
fn a_prefix_that_is_no_token_is_refused() {
    let dir = directory("prefix", SERVERS, "[nats]\nprefix = \"a.b\"");
    let output = run(&dir, &["check"]);
    let text = stderr(&output);
    for part in ["settings.toml", "nats.prefix", "\"a.b\"", "one token of ASCII letters", "at most 32", "leave it out"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// Listens on a port and answers every question with this.
fn answering(status: &'static str, body: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).unwrap();
            assert!(asked[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    port
}

/// Returns a port that no program listens on while the second value lives.
fn silent() -> (u16, UdpSocket) {
    // Taken as a UDP port, so that the system gives it to no other program, and free as a TCP port.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    (socket.local_addr().unwrap().port(), socket)
}

#[test]
fn ready_asks_the_servers_of_this_machine() {
    let good = answering("200 OK", r#"{"ready":true,"checks":{"bus":"ok"}}"#);
    let bad =
        answering("503 Service Unavailable", r#"{"ready":false,"checks":{"bus":"is away, for 4 s","task":"ok"}}"#);
    let other = answering("404 Not Found", "what?");
    let (silent, _held) = silent();
    let servers = with_ports([("6050", good), ("6051", bad), ("6052", silent), ("3014", other)]);
    let servers = servers.replace(r#""port": 4050, "#, "");
    let dir = directory("ready", &servers, "");
    let all = run(&dir, &["ready"]);
    let expected = format!(
        "gate-1  127.0.0.1:{other} gives no valid response: status 404 Not Found: expected value at line 1 column 1\n\
         chat-1  ready\n\
         chat-2  bus: is away, for 4 s\n"
    );
    assert_eq!(std::str::from_utf8(&all.stdout).unwrap(), expected, "{all:?}");
    assert_eq!((all.status.code(), std::str::from_utf8(&all.stderr).unwrap()), (Some(1), "Error: not ready: 2 of 3\n"));
    assert_eq!(stdout(&run(&dir, &["ready", "--only", "chat-1"])), "chat-1  ready\n");
    for (only, said) in [
        ("chat-3", "chat-3  does not run\n"),
        ("connector-1", "connector-1  has no port in servers.json\n"),
        ("chat-4", ""),
    ] {
        let output = run(&dir, &["ready", "--only", only]);
        assert_eq!((output.status.code(), std::str::from_utf8(&output.stdout).unwrap()), (Some(1), said), "{output:?}");
    }
}

#[test]
fn ports_are_replaced_that_have_the_digits_of_others() {
    let servers = with_ports([("6050", 36051), ("6051", 60520), ("6052", 1)]);
    let wanted = SERVERS.replace(": 6052}", ": 1}").replace(": 6051}", ": 60520}").replace(": 6050}", ": 36051}");
    assert_eq!(servers, wanted);
}

#[test]
fn ready_fails_where_no_server_runs() {
    let held = ["3014", "3050", "4050", "6050", "6051", "6052"].map(|port| (port, silent()));
    let servers = with_ports(held.each_ref().map(|(port, (silent, _))| (*port, *silent)));
    let output = run(&directory("none", &servers, ""), &["ready"]);
    assert!(stderr(&output).contains("no server of the environment development runs on this machine"), "{output:?}");
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

fn decode(input: &[u8]) -> Output {
    let mut child = shaddock(&["decode"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn decode_of_a_stream_prints_as_it_comes_and_ends_with_its_reader() {
    let mut child = shaddock(&["decode", "--stream"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut line = [0; 8];
    for _ in 0..2 {
        stdin.write_all(b"\x81\xa1v\x01\n").unwrap();
        stdout.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"{\"v\":1}\n");
    }
    drop(stdout);
    // Another test's child has our end of the pipe, too, until it becomes another program: only
    // what is written later finds it closed.
    let ended = loop {
        match child.try_wait().unwrap() {
            Some(ended) => break ended,
            // Fails once the reader has closed the pipe.
            None => drop(stdin.write_all(b"\x81\xa1v\x01\n")),
        }
    };
    assert!(ended.success());
}

#[test]
fn decode_prints_json_and_leaves_the_rest_alone() {
    // {"v": 1, "body": b'{"a":1}'}
    assert_eq!(stdout(&decode(b"\x82\xa1v\x01\xa4body\xc4\x07{\"a\":1}")), "{\"v\":1,\"body\":{\"a\":1}}\n");
    assert_eq!(stdout(&decode(b"+OK")), "+OK");
    assert_eq!(stdout(&decode(b"")), "");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child =
        shaddock(&["decode"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"\x81\xa1v\x01").unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success() && errors.is_empty(), "{errors}");
}
