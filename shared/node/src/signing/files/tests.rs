//! Key files: writing, reading, refusals.

use testkit::Scratch;

use super::*;

fn ids(names: &[&str]) -> Vec<ServerId> {
    names.iter().map(|name| ServerId::new(name).unwrap()).collect()
}

fn own(names: &[&str]) -> BTreeSet<ServerId> {
    ids(names).into_iter().collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Keys of two servers.
fn written() -> (Scratch, KeyFiles) {
    let scratch = Scratch::new();
    let files = KeyFiles::within(&scratch.path().join("keys"));
    files.write_missing(&ids(&["a", "b"])).unwrap();
    (scratch, files)
}

#[test]
fn only_missing_keys_are_written() {
    let (_scratch, files) = written();
    let seed = fs::read_to_string(files.seed(&ids(&["a"])[0])).unwrap();
    assert_eq!(mode(&files.seed(&ids(&["a"])[0])), 0o600);
    assert_eq!(files.write_missing(&ids(&["a", "b"])).unwrap(), Written::default());
    let third = files.write_missing(&ids(&["a", "b", "c"])).unwrap();
    assert_eq!(third, Written { seeds: ids(&["c"]), keys: ids(&["c"]), ..Written::default() });
    assert_eq!(fs::read_to_string(files.seed(&ids(&["a"])[0])).unwrap(), seed);
    let all = files.read(&own(&["a", "b", "c"])).unwrap();
    assert!(all.pairs(&ids(&["a"])[0], &ids(&["c"])[0]).is_some());
}

/// On the machine of one server the seeds of the others are not there, their public keys are.
#[test]
fn no_seed_is_made_for_a_server_that_has_one_elsewhere() {
    let (_scratch, files) = written();
    fs::remove_file(files.seed(&ids(&["b"])[0])).unwrap();
    let written = files.write_missing(&ids(&["a", "b"])).unwrap();
    assert_eq!(written, Written { elsewhere: ids(&["b"]), ..Written::default() });
    assert!(files.read(&own(&["a"])).unwrap().has(&ids(&["a"])[0]));
}

#[test]
fn a_seed_that_is_open_to_all_is_refused() {
    let (_scratch, files) = written();
    let path = files.seed(&ids(&["a"])[0]);
    for (bits, refused) in [(0o600, false), (0o440, false), (0o640, false), (0o644, true), (0o602, true)] {
        chmod(&path, bits);
        assert_eq!(matches!(files.read(&own(&["a"])), Err(KeyFileError::Open { .. })), refused, "{bits:o}");
    }
    let shown = files.read(&own(&["a"])).unwrap_err().to_string();
    assert!(shown.contains("a.seed") && shown.contains("mode 602") && shown.contains("chmod 600"), "{shown}");
}

#[test]
fn files_are_refused_by_name_entry_and_remedy() {
    let (_scratch, files) = written();
    let a = &ids(&["a"])[0];
    let seed = fs::read_to_string(files.seed(a)).unwrap();
    let key = Seed::parse(seed.trim()).unwrap().public().to_string();
    let refused = |keys: &str| {
        fs::write(files.keys(), keys).unwrap();
        let shown = files.read(&own(&["a"])).unwrap_err().to_string();
        assert!(shown.contains("keys.json") && !shown.contains(seed.trim()), "{shown}");
        shown
    };
    assert!(refused("{").contains("cannot be parsed"));
    assert!(refused("{}").contains(&key), "the entry to write is said");
    for (value, part) in [
        ("7".to_owned(), "neither a text nor a list"),
        ("[]".to_owned(), "neither a text nor a list"),
        (format!(r#"["{key}", "{key}", "{key}"]"#), "neither a text nor a list"),
        (r#""X""#.to_owned(), "is not a public curve key"),
        (format!("{:?}", seed.trim()), "is not a public curve key"),
        (format!("{:?}", Seed::new([9; 32]).public().to_string()), "is not the key of"),
    ] {
        let shown = refused(&format!(r#"{{"a": {value}}}"#));
        assert!(shown.contains(part) && shown.contains("\"a\""), "{shown}");
    }
    assert!(refused(&format!(r#"{{"a": "{key}", "b.c": "{key}"}}"#)).contains("\"b.c\""));
    fs::write(files.keys(), format!(r#"{{"a": ["{}", "{key}"]}}"#, Seed::new([9; 32]).public())).unwrap();
    assert!(files.read(&own(&["a"])).is_ok());

    let missing = files.read(&own(&["a", "z"])).unwrap_err().to_string();
    assert!(missing.contains("z.seed") && missing.contains("shaddock keys"), "{missing}");
    fs::write(files.seed(a), "SX").unwrap();
    let unfit = files.read(&own(&["a"])).unwrap_err().to_string();
    assert!(unfit.contains("a.seed") && unfit.contains("is not the seed of a curve key"), "{unfit}");
}

#[test]
fn a_change_of_content_or_permissions_shows() {
    let (_scratch, files) = written();
    let own = own(&["a"]);
    let before = files.fingerprint(&own);
    assert_eq!(files.fingerprint(&own), before);
    chmod(&files.seed(&ids(&["a"])[0]), 0o640);
    assert_ne!(files.fingerprint(&own), before);
    chmod(&files.seed(&ids(&["a"])[0]), 0o600);
    assert_eq!(files.fingerprint(&own), before);
    files.write_missing(&ids(&["c"])).unwrap();
    assert_ne!(files.fingerprint(&own), before);
}
