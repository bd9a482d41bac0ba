//! Tests of the settings' layers: precedence and refusals.

use super::*;

fn layer(source: Source, toml: &str) -> Layer {
    Layer { source, values: dict(Path::new("settings.toml"), &Toml::string(toml)).unwrap() }
}

fn file(toml: &str) -> Layer {
    layer(Source::File(PathBuf::from("conf/settings.toml")), toml)
}

fn problems(layers: Vec<Layer>) -> Vec<Problem> {
    match merge(layers) {
        Err(ConfigError::Invalid(problems)) => problems,
        other => panic!("not invalid: {other:?}"),
    }
}

#[test]
fn the_file_in_the_repository_lists_every_knob_with_its_default() {
    let text = include_str!("../../../../../config/settings.toml");
    let values = dict(Path::new("settings.toml"), &Toml::string(text)).unwrap();
    let mut defaults = Value::serialize(Settings::default()).unwrap().into_dict().unwrap();
    // Tables that there may be many of: they are shown as comments.
    let many = [("namespaces", "[[namespaces]]"), ("roles", "[roles.")];
    for (key, header) in many {
        assert!(defaults.remove(key).is_some() && text.contains(&format!("# {header}")), "{header}");
    }
    assert_eq!(keys(&values, ""), keys(&defaults, ""));
    assert_eq!(merge(vec![file(text)]).unwrap(), Settings::default());
}

#[test]
fn the_namespaces_and_roles_in_the_comments_are_valid() {
    let text = include_str!("../../../../../config/settings.toml");
    let begin = text.find("# [[namespaces]]").unwrap();
    let lines = text[begin..].lines().take_while(|line| line.starts_with("# "));
    let example: String = lines.map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
    let settings = merge(vec![file(&example)]).unwrap();
    let json = serde_json::to_value(&settings.namespaces[0]).unwrap();
    for (field, _) in json.as_object().unwrap() {
        assert!(example.contains(&format!("{field} = ")), "{field}");
    }
    assert_eq!(settings.roles["moderator"].allow, ["*"]);
    assert_eq!(settings.roles["moderator"].rooms, "*");
}

#[test]
fn wrong_namespaces_and_roles_are_refused() {
    let entries = |toml: &str| -> Vec<String> {
        problems(vec![file(toml)]).into_iter().map(|problem| format!("{} {}", problem.entry, problem.fault)).collect()
    };
    for (toml, part) in [
        ("[[namespaces]]\nmatch = \"\"", "namespaces.match"),
        ("[[namespaces]]\nmatch = \"a\"\nsend = \"all\"", "all"),
        ("[[namespaces]]\nmatch = \"a\"\nslow = 3", "slow"),
        ("[[namespaces]]\nmatch = \"a\"\nslow_secs = 90000", "namespaces.slow_secs"),
        ("[roles.a]\nallow = [\"sent\"]", "roles.allow"),
        ("[roles.a]\nallow = []", "roles.allow"),
        ("[roles.a]\nmatch = \"\"\nallow = [\"*\"]", "roles.match"),
        ("[roles.a]\nalow = [\"*\"]", "alow"),
    ] {
        let entries = entries(toml);
        assert!(entries.len() == 1 && entries[0].contains(part), "{toml}: {entries:?}");
    }
}

#[test]
fn later_layers_win() {
    let overrides = Overrides::default().with("rpc.request_ms", "3000").with("room.forbidden_words", "[spam, \"egg\"]");
    let layers = vec![
        file("[rpc]\nrequest_ms = 1000\nrepeat_ms = 900\nheartbeat_ms = 100"),
        layer(Source::Environment, "rpc.request_ms = 2000\nrpc.repeat_ms = 800"),
        Layer { source: Source::CommandLine, values: overridden(&overrides, &defaults()) },
    ];
    let settings = merge(layers).unwrap();
    let rpc = &settings.rpc;
    assert_eq!((rpc.request_ms, rpc.repeat_ms, rpc.heartbeat_ms), (3000, 800, 100));
    assert_eq!(settings.room.forbidden_words, ["spam", "egg"]);
    assert_eq!(settings.log, Settings::default().log);
}

#[test]
fn unknown_names_are_refused_with_the_nearest_one() {
    let layers =
        vec![file("bnd = 1\n[rom]\n[sesion]\nmax_package = 5"), layer(Source::Environment, "room.max_member = 5")];
    let found: Vec<_> =
        problems(layers).into_iter().map(|problem| (problem.source, problem.entry, problem.fault)).collect();
    let unknown = |nearest: &str| Fault::Unknown { nearest: nearest.to_owned() };
    let expected = [
        ("conf/settings.toml".to_owned(), "bnd".to_owned(), unknown("bind")),
        ("conf/settings.toml".to_owned(), "rom".to_owned(), unknown("room")),
        ("conf/settings.toml".to_owned(), "sesion.max_package".to_owned(), unknown("session.max_package")),
        ("environment".to_owned(), "SHADDOCK_ROOM__MAX_MEMBER".to_owned(), unknown("room.max_members")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_name_in_the_wrong_section_is_recognised() {
    let keys = ["log.max_records", "room.max_content", "session.max_package"].map(str::to_owned);
    assert_eq!(nearest("max_package", &keys), "session.max_package");
    assert_eq!(nearest("log.max_recrods", &keys), "log.max_records");
    assert_eq!(edits("kitten", "sitting"), 3);
    assert_eq!(edits("", "abc"), 3);
}

#[test]
fn a_value_of_another_type_is_refused_where_it_stands() {
    let layers = vec![file("room.max_members = 5"), layer(Source::Environment, "room.max_members = \"many\"")];
    let problem = &problems(layers)[0];
    assert_eq!((problem.source.as_str(), problem.entry.as_str()), ("environment", "SHADDOCK_ROOM__MAX_MEMBERS"));
    assert!(matches!(problem.fault, Fault::Type(_)));
    for bad in ["room = 5", "bind = 5", "bind = \"here\"", "room.forbidden = \"drop\"", "room.max_members = -1"] {
        assert!(matches!(problems(vec![file(bad)])[..], [Problem { fault: Fault::Type(_), .. }]), "{bad}");
    }
}

#[test]
fn a_value_out_of_range_is_refused_where_it_stands() {
    let layers = vec![file("log.max_records = 511"), layer(Source::Environment, "session.max_package = 8192")];
    let found: Vec<_> = problems(layers).into_iter().map(|problem| (problem.source, problem.entry)).collect();
    // The content's limit is the default; what does not go with it was set in the environment.
    let expected = [("conf/settings.toml", "log.max_records"), ("environment", "SHADDOCK_ROOM__MAX_CONTENT")];
    assert_eq!(found, expected.map(|(source, entry)| (source.to_owned(), entry.to_owned())));
}

#[test]
fn a_syntax_error_names_its_line() {
    let error = dict(Path::new("settings.toml"), &Toml::string("[rpc]\nrequest_ms = \n")).unwrap_err();
    assert!(matches!(&error, ConfigError::Syntax { reason, .. } if reason.contains("line 2")), "{error}");
}

#[test]
fn no_message_shows_a_secret() {
    for (toml, entry) in [
        ("admin.token = 20240612", "admin.token"),
        ("admin = 20240612", "admin"),
        ("admin.token = [20240612]", "admin.token"),
    ] {
        let problem = &problems(vec![file(toml)])[0];
        assert_eq!(problem.entry, entry);
        assert!(!problem.to_string().contains("20240612"), "{problem}");
    }
    for toml in ["[admin]\ntoken = s3cret word", "[admin]\ntoken = \"s3cret", "[admin]\ntoken \"s3cret\""] {
        let error = dict(Path::new("settings.toml"), &Toml::string(toml)).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("s3cret"), "{error}");
    }
    let mut settings = Settings::default();
    settings.admin.token = model::settings::Secret::new("s3cret".to_owned());
    assert!(!format!("{settings:?}").contains("s3cret"));
}
