//! `shaddock check`: listeners, files and settings.

use std::fs;
use std::path::Path;
use std::process::Output;

use super::{SERVERS, directory, run, shaddock, stderr, stdout};

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
fn check_reads_the_certificate() {
    let settings = "[tls]\ncert_file = \"/no/such/file\"\nkey_file = \"/no/such/key\"";
    let refused = run(&directory("certificate", SERVERS, settings), &["check"]);
    let text = stderr(&refused);
    assert!(text.contains("tls.cert_file names /no/such/file, which cannot be read"), "{text}");
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
fn a_prefix_that_is_no_token_is_refused() {
    let dir = directory("prefix", SERVERS, "[nats]\nprefix = \"a.b\"");
    let output = run(&dir, &["check"]);
    let text = stderr(&output);
    for part in ["settings.toml", "nats.prefix", "\"a.b\"", "one token of ASCII letters", "at most 32", "leave it out"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}
