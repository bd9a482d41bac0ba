//! The valid ranges of settings. Names the range of a value outside it, not its remedy.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use model::ids::Name;
use model::log_parts::{LogParts, SLOTS};
use model::room::Checkpoint;
use model::settings::{AuthMode, FrontendSettings, Settings, Signatures, TlsSettings};
use model::subjects::SubjectPrefix;

use super::{namespaces, origin, sign_in};

/// Bytes of `content` with which a push is below 64 KiB for all names in it: three of 64 characters
/// of 12 bytes each.
const MAX_CONTENT: u64 = 60 * 1024;

/// Largest package body.
// Pomelo's package length has three bytes.
const MAX_PACKAGE: u64 = 0xff_ffff;
/// Largest queue.
// Far above any use, far below the limit of a queue's counter.
const MAX_QUEUE: u64 = 1 << 24;
/// Most members of a room.
// The room's state stays below 24 MiB, at up to 1,000 bytes per member with the longest name and
// profile.
const MAX_MEMBERS: u64 = 20_000;
/// Most members of a room that is not large.
// More names do not fit into a response to `enter`, however short they are.
const MAX_LARGE: u64 = 20_000;
/// Most records of joins and leaves per minute.
// An owner remembers the time of each.
const MAX_PRESENCE_RECORDS: u64 = 10_000;
/// Least records kept per room.
// A checkpoint comes at the latest every 256 records, and one must be among those kept.
const MIN_RECORDS: u64 = 512;
/// Least bytes kept per room.
// The checkpoints of a room with few members, or of the room of all rooms, and the records between
// them, are below this, and must be among those kept.
const MIN_ROOM_BYTES: u64 = 32 * 1024 * 1024;
/// Memory for a room besides its checkpoints.
const BESIDES_CHECKPOINTS: usize = 2 * 1024 * 1024;
/// Most replicas.
// JetStream takes no more.
const MAX_REPLICAS: u64 = 5;
/// Most bytes or records of the log.
// JetStream counts in signed 64 bits.
const MAX_STORED: u64 = i64::MAX.unsigned_abs();
/// Longest heartbeat interval.
// Several heartbeats fit in the shortest lease.
const MAX_HEARTBEAT_MS: u64 = 1_000;
/// Bytes of a handshake, or of an `enter`, besides its token.
const BESIDES_TOKEN: usize = 512;
const HOUR_SECS: u64 = 3_600;
pub(super) const DAY_SECS: u64 = 24 * HOUR_SECS;

/// Forms of an entry of `frontend.allowed_origins`.
const ORIGIN: &str = "scheme://host in ASCII without a path, scheme://*.domain, file://, null, or *";

/// Forms of an entry of `frontend.hosts`.
const HOST: &str = "a host in ASCII without a port, or *.domain";

/// A setting that is out of range.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutOfRange {
    /// Its key.
    pub(super) key: &'static str,
    /// Another setting that it does not go together with.
    pub(super) other: Option<&'static str>,
    /// Its value.
    pub(super) found: String,
    /// The condition for a valid value.
    pub(super) required: String,
}

macro_rules! key {
    ($section:ident . $field:ident) => {
        concat!(stringify!($section), ".", stringify!($field))
    };
}

/// Keys, their values and their ranges.
macro_rules! ranges {
    ($settings:ident: $($section:ident . $field:ident in $range:expr,)+) => {
        [$((key!($section.$field), number($settings.$section.$field), $range),)+]
    };
}

/// Pairs of keys and values of which the first may not exceed the second.
macro_rules! ordered {
    ($settings:ident: $($section:ident . $field:ident <= $other:ident . $most:ident,)+) => {
        [$((
            (key!($section.$field), number($settings.$section.$field)),
            (key!($other.$most), number($settings.$other.$most)),
        ),)+]
    };
}

/// All settings that are out of range.
pub(super) fn check(settings: &Settings) -> Vec<OutOfRange> {
    let alone = ranges(settings).into_iter().filter(|(_, value, range)| !range.contains(value));
    let alone = alone.map(|(key, value, range)| OutOfRange {
        key,
        other: None,
        found: value.to_string(),
        required: between(&range),
    });
    let pairs = pairs(settings).into_iter().filter(|((_, value), (_, most))| value > most);
    let pairs = pairs.map(|((key, value), (other, most))| OutOfRange {
        key,
        other: Some(other),
        found: value.to_string(),
        required: format!("at most {other}, which is {most}"),
    });
    alone
        .chain(pairs)
        .chain(parts(settings))
        .chain(states(settings))
        .chain(streams(settings))
        .chain(bodies(settings))
        .chain(texts(settings))
        .chain(keys(settings))
        .chain(token(settings))
        .chain(certificate(&settings.tls))
        .chain(sign_in::contradictions(&settings.nats))
        .chain(namespaces::check(settings))
        .collect()
}

fn ranges(settings: &Settings) -> Vec<(&'static str, u64, RangeInclusive<u64>)> {
    ranges! { settings:
        frontend.heartbeat_secs in 0..=HOUR_SECS,
        frontend.handshake_secs in 1..=HOUR_SECS,
        frontend.keep_alive_secs in 1..=HOUR_SECS,
        frontend.enter_secs in 1..=DAY_SECS,
        frontend.write_gap_ms in 0..=100,
        frontend.max_connections in 1..=MAX_QUEUE,
        frontend.max_connections_per_address in 1..=MAX_QUEUE,
        frontend.max_connections_per_public_address in 1..=MAX_QUEUE,
        frontend.max_handshakes in 1..=MAX_QUEUE,
        frontend.handshakes_per_sec in 0..=1_000_000,
        frontend.max_queued_bytes in 4_096..=1 << 40,
        frontend.backlog in 1..=65_535,
        frontend.send_buffer_bytes in 0..=1 << 30,
        frontend.message_secs in 1..=HOUR_SECS,
        auth.leeway_secs in 0..=600,
        auth.max_age_hours in 0..=10 * 365 * 24,
        auth.max_token_bytes in 64..=60_000,
        auth.expiry_grace_secs in 0..=DAY_SECS,
        auth.max_sessions_per_user in 0..=1_000_000,
        session.max_package_before_enter in 256..=MAX_PACKAGE,
        session.max_package in 256..=MAX_PACKAGE,
        session.requests_per_sec in 1..=1_000_000,
        session.request_burst in 1..=1_000_000,
        session.bytes_per_sec in 1..=1 << 30,
        session.byte_burst in 1..=1 << 30,
        session.new_rooms_per_min in 1..=1_000_000,
        session.max_in_flight in 1..=MAX_QUEUE,
        session.max_outbound_bytes in 1_024..=1 << 32,
        session.resume_secs in 0..=HOUR_SECS,
        room.max_members in 1..=MAX_MEMBERS,
        room.members_per_address in 1..=MAX_MEMBERS,
        room.large_members in 1..=MAX_LARGE,
        room.max_content in 1..=MAX_CONTENT,
        room.max_waiting in 1..=MAX_QUEUE,
        room.presence_records_per_min in 0..=MAX_PRESENCE_RECORDS,
        room.linger_secs in 0..=DAY_SECS,
        room.lease_secs in 3..=DAY_SECS,
        room.forget_secs in 1..=DAY_SECS,
        log.max_records in MIN_RECORDS..=MAX_STORED,
        log.max_room_bytes in MIN_ROOM_BYTES..=MAX_STORED,
        log.max_total_bytes in MIN_ROOM_BYTES..=MAX_STORED,
        log.pressure_bytes_per_min in 4_096..=1 << 30,
        // Checkpoints of silent rooms come once a day; ten years is below what JetStream can count.
        log.max_age_hours in 48..=10 * 365 * 24,
        log.streams in 1..=u64::from(SLOTS),
        log.replicas in 1..=MAX_REPLICAS,
        log.timeout_ms in 10..=600_000,
        rpc.request_ms in 100..=600_000,
        rpc.gather_ms in 0..=100,
        rpc.repeat_ms in 10..=600_000,
        rpc.heartbeat_ms in 10..=MAX_HEARTBEAT_MS,
        rpc.subscription_queue in 1..=MAX_QUEUE,
        nats.connect_secs in 1..=HOUR_SECS,
        nats.ping_secs in 1..=HOUR_SECS,
        nats.reconnect_max_ms in 1..=600_000,
        nats.publish_queue in 1..=MAX_QUEUE,
        lifecycle.grace_secs in 1..=HOUR_SECS,
        lifecycle.drain_secs in 0..=HOUR_SECS,
    }
    .into()
}

type Value = (&'static str, u64);

fn pairs(settings: &Settings) -> Vec<(Value, Value)> {
    ordered! { settings:
        session.max_package_before_enter <= session.max_package,
        session.max_package <= session.max_outbound_bytes,
        room.max_content <= session.max_package,
        log.max_room_bytes <= log.max_total_bytes,
        rpc.repeat_ms <= rpc.request_ms,
    }
    .into()
}

/// Keys, values and ranges of settings that are parts of another one.
fn part_ranges(settings: &Settings) -> [(&'static str, f64, RangeInclusive<f64>); 2] {
    // Above the first range the reserve would begin before the pressure.
    [("log.pressure", settings.log.pressure, 0.05..=0.95), ("log.room_share", settings.log.room_share, 0.0001..=1.0)]
}

fn parts(settings: &Settings) -> impl Iterator<Item = OutOfRange> {
    // A range contains no NaN.
    let broken = part_ranges(settings).into_iter().filter(|(_, value, range)| !range.contains(value));
    broken.map(|(key, value, range)| OutOfRange {
        key,
        other: None,
        found: value.to_string(),
        required: format!("from {} to {}", range.start(), range.end()),
    })
}

/// Two checkpoints and what comes between them, which is no more, must be among what is kept.
fn states(settings: &Settings) -> Option<OutOfRange> {
    let bytes = 4 * Checkpoint::most_bytes(settings.room.max_members, 1) + BESIDES_CHECKPOINTS;
    (settings.log.max_room_bytes < bytes).then(|| OutOfRange {
        key: "log.max_room_bytes",
        other: Some("room.max_members"),
        found: settings.log.max_room_bytes.to_string(),
        required: format!("at least {bytes} for room.max_members, which is {}", settings.room.max_members),
    })
}

/// The slots of rooms are divided evenly, and each stream has space for a room.
fn streams(settings: &Settings) -> Option<OutOfRange> {
    let log = &settings.log;
    let broken =
        |other, required| Some(OutOfRange { key: "log.streams", other, found: log.streams.to_string(), required });
    match LogParts::new(log.streams) {
        // Zero and large numbers are out of their range anyway.
        None if (1..=SLOTS.into()).contains(&log.streams) => broken(None, "1, 2, 4, 8, 16, 32 or 64".to_owned()),
        Some(parts) if log.max_part_bytes(parts) < log.max_room_bytes && log.max_room_bytes <= log.max_total_bytes => {
            let most = log.max_total_bytes / log.max_room_bytes.max(1);
            broken(Some("log.max_total_bytes"), format!("at most {most}, so that each has log.max_room_bytes"))
        }
        _ => None,
    }
}

/// The largest body must fit into the part of a public address, or it could never be sent.
fn bodies(settings: &Settings) -> Option<OutOfRange> {
    let bytes = FrontendSettings::QUEUED_SHARE * settings.session.max_package;
    (settings.frontend.max_queued_bytes < bytes).then(|| OutOfRange {
        key: "frontend.max_queued_bytes",
        other: Some("session.max_package"),
        found: settings.frontend.max_queued_bytes.to_string(),
        required: format!("at least {bytes} for session.max_package, which is {}", settings.session.max_package),
    })
}

fn texts(settings: &Settings) -> Vec<OutOfRange> {
    let broken = |key, found: &String, required: &str| OutOfRange {
        key,
        other: None,
        found: format!("{found:?}"),
        required: required.to_owned(),
    };
    let origins = settings.frontend.allowed_origins.iter().filter(|text| !origin::is_entry(text));
    let origins = origins.map(|origin| broken("frontend.allowed_origins", origin, ORIGIN));
    let hosts = settings.frontend.hosts.iter().filter(|text| !origin::is_host_entry(text));
    let hosts = hosts.map(|host| broken("frontend.hosts", host, HOST));
    // An empty word would match every message.
    let words = settings.room.forbidden_words.iter().filter(|word| word.trim().is_empty());
    let words = words.map(|word| broken("room.forbidden_words", word, "a word"));
    let names = settings.names.reserved.iter().filter(|name| Name::new(name).is_err());
    let names = names.map(|name| {
        broken("names.reserved", name, "a name of 1 to 64 characters, none of them a control character or *")
    });
    let keys = Some(&settings.auth.jwks_url).filter(|url| !is_key_url(url, settings.auth.jwks_allow_http));
    let keys = keys.map(|url| {
        broken("auth.jwks_url", url, "a URL: https, or http at this machine (auth.jwks_allow_http: at any)")
    });
    let prefix = Some(&settings.nats.prefix).filter(|prefix| !SubjectPrefix::is_valid(prefix));
    let prefix = prefix.map(|prefix| broken("nats.prefix", prefix, &prefix_form()));
    origins.chain(hosts).chain(words).chain(names).chain(keys).chain(prefix).collect()
}

/// Returns true for a URL of keys that no machine on the way can exchange.
fn is_key_url(url: &str, allows_http: bool) -> bool {
    let authority = |rest: &str| rest.split('/').next().filter(|text| origin::is_authority(text)).map(str::to_owned);
    let is_plain = url.chars().all(|c| c.is_ascii_graphic()) && !url.contains(['@', '{', '}', '\\']);
    match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        _ if url.is_empty() => true,
        _ if !is_plain => false,
        (Some(rest), _) => authority(rest).is_some(),
        (_, Some(rest)) => authority(rest).is_some_and(|at| allows_http || origin::is_loopback(origin::host_of(&at))),
        _ => false,
    }
}

fn prefix_form() -> String {
    let (most, own) = (SubjectPrefix::MOST, SubjectPrefix::OWN.join(", "));
    format!(
        "one token of ASCII letters, digits, - and _ that begins with a letter or digit, at most {most} characters, and none of {own}"
    )
}

/// A handshake with the largest token must fit into a package.
fn token(settings: &Settings) -> Option<OutOfRange> {
    let (bytes, most) = (settings.auth.max_token_bytes, settings.session.max_package_before_enter);
    (settings.auth.mode != AuthMode::Off && bytes + BESIDES_TOKEN > most).then(|| OutOfRange {
        key: "auth.max_token_bytes",
        other: Some("session.max_package_before_enter"),
        found: bytes.to_string(),
        required: format!("at most {BESIDES_TOKEN} less than session.max_package_before_enter, which is {most}"),
    })
}

/// A server that signs needs a key.
fn keys(settings: &Settings) -> Option<OutOfRange> {
    let is_missing = settings.rpc.signatures != Signatures::Off && settings.rpc.key_dir.is_empty();
    is_missing.then(|| OutOfRange {
        key: "rpc.key_dir",
        other: Some("rpc.signatures"),
        found: "empty".to_owned(),
        required: "a directory that `shaddock keys DIR` wrote, because rpc.signatures is not \"off\"".to_owned(),
    })
}

/// A certificate and its key go together, and a proxy that ends TLS needs neither here.
fn certificate(tls: &TlsSettings) -> Option<OutOfRange> {
    let broken = |key, other, found: &dyn Debug, required: &str| {
        Some(OutOfRange { key, other: Some(other), found: format!("{found:?}"), required: required.to_owned() })
    };
    match (tls.cert_file.is_empty(), tls.key_file.is_empty()) {
        (false, true) => broken(
            "tls.key_file",
            "tls.cert_file",
            &tls.key_file,
            "a file with the key of the certificate in tls.cert_file",
        ),
        (true, false) => broken(
            "tls.cert_file",
            "tls.key_file",
            &tls.cert_file,
            "a file with the certificate for the key in tls.key_file",
        ),
        (false, false) if tls.by_proxy => broken(
            "tls.by_proxy",
            "tls.cert_file",
            &tls.by_proxy,
            "false where servers have a certificate; to leave TLS to a proxy, empty tls.cert_file and tls.key_file",
        ),
        _ => None,
    }
}

fn between(range: &RangeInclusive<u64>) -> String {
    match (range.start(), range.end()) {
        // This bound is that of 64 bits, which helps no operator.
        (least, &MAX_STORED) => format!("at least {least}"),
        (least, most) => format!("from {least} to {most}"),
    }
}

fn number(value: impl TryInto<u64>) -> u64 {
    value.try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn broken(change: impl FnOnce(&mut Settings)) -> Vec<&'static str> {
        let mut settings = Settings::default();
        change(&mut settings);
        check(&settings).into_iter().map(|broken| broken.key).collect()
    }

    #[test]
    fn the_defaults_are_in_range() {
        assert_eq!(check(&Settings::default()), []);
    }

    #[test]
    fn every_number_has_a_range() {
        let Value::Object(sections) = serde_json::to_value(Settings::default()).unwrap() else { panic!("no sections") };
        let mut numbers = Vec::new();
        for (section, fields) in sections {
            let fields = fields.as_object().into_iter().flatten();
            numbers.extend(fields.filter(|(_, value)| value.is_number()).map(|(name, _)| format!("{section}.{name}")));
        }
        let settings = Settings::default();
        let parts = part_ranges(&settings).map(|(key, ..)| key);
        let whole = ranges(&settings).into_iter().map(|(key, ..)| key);
        let mut keys: Vec<_> = whole.chain(parts).map(str::to_owned).collect();
        keys.sort();
        numbers.sort();
        assert_eq!(keys, numbers);
    }

    #[test]
    fn ends_of_ranges_belong_to_them() {
        assert_eq!(broken(|settings| settings.room.max_members = 10_000), [""; 0]);
        assert_eq!(broken(|settings| settings.room.max_members = 20_000), ["log.max_room_bytes"]);
        assert_eq!(broken(|settings| settings.room.max_members = 20_001)[..1], ["room.max_members"]);
        assert_eq!(broken(|settings| settings.log.max_records = 512), [""; 0]);
        assert_eq!(broken(|settings| settings.log.max_records = 511), ["log.max_records"]);
        assert_eq!(broken(|settings| settings.log.max_room_bytes = 32 << 20), [""; 0]);
        assert_eq!(broken(|settings| settings.log.max_room_bytes = (32 << 20) - 1), ["log.max_room_bytes"]);
        assert_eq!(broken(|settings| settings.rpc.subscription_queue = 0), ["rpc.subscription_queue"]);
    }

    #[test]
    fn a_certificate_has_a_key_and_no_proxy() {
        let given = || "x.pem".to_owned();
        let both = |settings: &mut Settings| (settings.tls.cert_file, settings.tls.key_file) = (given(), given());
        assert_eq!(broken(both), [""; 0]);
        assert_eq!(broken(|settings| settings.tls.by_proxy = true), [""; 0]);
        assert_eq!(broken(|settings| settings.tls.cert_file = given()), ["tls.key_file"]);
        assert_eq!(broken(|settings| settings.tls.key_file = given()), ["tls.cert_file"]);
        let ended_twice = |settings: &mut Settings| {
            both(settings);
            settings.tls.by_proxy = true;
        };
        assert_eq!(broken(ended_twice), ["tls.by_proxy"]);
    }

    #[test]
    fn parts_are_in_their_ranges() {
        assert_eq!(broken(|settings| settings.log.pressure = 0.95), [""; 0]);
        for pressure in [0.0, 0.951, -0.5, f64::NAN, f64::INFINITY] {
            assert_eq!(broken(|settings| settings.log.pressure = pressure), ["log.pressure"], "{pressure}");
        }
        assert_eq!(broken(|settings| settings.log.room_share = 1.0), [""; 0]);
        assert_eq!(broken(|settings| settings.log.room_share = 0.0), ["log.room_share"]);
    }

    #[test]
    fn settings_that_depend_on_each_other_go_together() {
        let small = |settings: &mut Settings| settings.session.max_package = 4096;
        assert_eq!(broken(small), ["room.max_content"]);
        assert_eq!(broken(|settings| settings.rpc.request_ms = 500), ["rpc.repeat_ms"]);
        assert_eq!(broken(|settings| settings.log.max_total_bytes = 48 << 20), ["log.max_room_bytes"]);
    }

    #[test]
    fn streams_divide_the_log_evenly_and_have_space_for_a_room() {
        let divided =
            |streams, total| broken(|settings| (settings.log.streams, settings.log.max_total_bytes) = (streams, total));
        for streams in [1, 2, 4, 8, 16, 32, 64] {
            assert_eq!(divided(streams, streams << 26), [""; 0], "{streams}, each with log.max_room_bytes");
        }
        for streams in [0, 3, 63, 65, 128] {
            assert_eq!(broken(|settings| settings.log.streams = streams), ["log.streams"], "{streams}");
        }
        let small = |settings: &mut Settings| {
            (settings.log.streams, settings.log.max_total_bytes) = (4, 4 * settings.log.max_room_bytes - 1);
        };
        assert_eq!(broken(small), ["log.streams"]);
    }

    #[test]
    fn the_largest_body_fits_into_the_part_of_an_address() {
        let queued = |bytes| broken(|settings| settings.frontend.max_queued_bytes = bytes);
        assert_eq!((queued(8 * 65_536), queued(8 * 65_536 - 1)), (vec![], vec!["frontend.max_queued_bytes"]));
    }

    #[test]
    fn a_token_fits_into_a_package() {
        let sized =
            |bytes, mode| broken(|settings| (settings.auth.max_token_bytes, settings.auth.mode) = (bytes, mode));
        assert_eq!(sized(4_096 - 512, AuthMode::Required), [""; 0]);
        assert_eq!(sized(4_096 - 511, AuthMode::Optional), ["auth.max_token_bytes"]);
        assert_eq!(sized(4_096, AuthMode::Off), [""; 0]);
    }

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for url in
            ["", "https://id.example/jwks", "https://id.example:8443", "http://127.0.0.1:9/jwks", "http://[::1]/"]
        {
            assert!(is_key_url(url, false), "{url}");
        }
        let elsewhere = ["http://id.example/jwks", "http://10.0.0.1:80/"];
        for url in elsewhere {
            assert!(!is_key_url(url, false) && is_key_url(url, true), "{url}");
        }
        for url in
            ["id.example/jwks", "file:///etc/passwd", "https://", "https://{tenant}/x", "https://a@b/", "https://a b/"]
        {
            assert!(!is_key_url(url, true), "{url}");
        }
    }

    #[test]
    fn reserved_names_are_names() {
        let reserve = |name: &str| broken(|settings| settings.names.reserved = vec![name.to_owned()]);
        assert_eq!(
            (reserve("admin"), reserve(""), reserve("*")),
            (vec![], vec!["names.reserved"], vec!["names.reserved"])
        );
    }

    #[test]
    fn a_server_that_signs_needs_a_key() {
        let sign = |settings: &mut Settings| settings.rpc.signatures = Signatures::Accept;
        assert_eq!(broken(sign), ["rpc.key_dir"]);
        let with_key = |settings: &mut Settings| {
            sign(settings);
            settings.rpc.key_dir = "keys".to_owned();
        };
        assert_eq!(broken(with_key), [""; 0]);
    }

    #[test]
    fn texts_are_checked() {
        let origins = |list: &'static [&str]| {
            broken(|settings| settings.frontend.allowed_origins = list.iter().map(|&text| text.to_owned()).collect())
        };
        assert_eq!(origins(&["*", "https://chat.example.org"]), [""; 0]);
        assert_eq!(origins(&["chat.example.org", "https://a/b", "://a"]), ["frontend.allowed_origins"; 3]);
        assert_eq!(broken(|settings| settings.room.forbidden_words = vec![" ".to_owned()]), ["room.forbidden_words"]);
        assert_eq!(broken(|settings| settings.nats.prefix = "staging".to_owned()), [""; 0]);
        assert_eq!(broken(|settings| settings.nats.prefix = "a.b".to_owned()), ["nats.prefix"]);
    }
}
