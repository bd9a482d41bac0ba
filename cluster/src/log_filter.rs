//! The filter of the log. Refuses words that would filter everything out: the library reads a level
//! that does not exist as a target, and no line comes from that.

use std::ffi::OsStr;

use anyhow::{Context, bail};
use tracing_subscriber::EnvFilter;

/// The default filter. async-nats logs a line for each dropped message; a counter covers that.
const LOGGED: &str = "info,async_nats=warn";

/// Directives without a target.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Stands for all of [`OURS`] in a filter.
const PROGRAM: &str = "shaddock";

/// Our crates.
const OURS: [&str; 11] =
    [PROGRAM, "bus", "chat", "cluster", "connector", "frontend", "gate", "model", "node", "runtime", "wire"];

/// A former crate, which filters of operators may still name, and the crates that it became.
const FORMER: (&str, [&str; 5]) = ("shared", ["bus", "frontend", "model", "node", "runtime"]);

/// Crates of others that log.
const OTHERS: [&str; 10] =
    ["async_nats", "axum", "h2", "hyper", "hyper_util", "rustls", "tokio", "tower", "tungstenite", "tokio_tungstenite"];

/// Crates of others whose lines below `info` show what clients and servers send: texts and tokens.
const CARRIERS: [&str; 3] = ["async_nats", "tungstenite", "tokio_tungstenite"];

/// Reads the filter that `SHADDOCK_LOG` is; the usual one if it is not set or empty.
///
/// # Errors
/// If it is no filter, or has a directive for what does not exist.
pub(crate) fn read(variable: Option<&OsStr>) -> anyhow::Result<EnvFilter> {
    let text = match variable {
        None => LOGGED,
        Some(text) => text.to_str().context("SHADDOCK_LOG is not a filter: it is not UTF-8")?.trim(),
    };
    let text = if text.is_empty() { LOGGED } else { text };
    // Fields of spans may have commas; filters with them are left to the library.
    if text.contains('[') {
        return parse(text);
    }
    let directives: Vec<&str> = text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    if let Some(unknown) = directives.iter().find(|directive| !is_level(directive) && !is_part(directive)) {
        bail!(
            "SHADDOCK_LOG is not a filter: {unknown:?} is no level and no part of this program. Write a level ({}), or \
             levels of parts behind one: info,connector=debug. Parts: {}, {}",
            LEVELS.join(", "),
            OURS.join(", "),
            OTHERS.join(", ")
        );
    }
    // Without a level of its own, a filter of parts would hide the errors of all other parts.
    let rest = (!directives.iter().any(|directive| is_level(directive))).then(|| "error".to_owned());
    let quiet = quietened(&directives);
    parse(&rest.into_iter().chain(directives.into_iter().map(expanded)).chain(quiet).collect::<Vec<_>>().join(","))
}

fn parse(text: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(text).context("SHADDOCK_LOG is not a filter")
}

/// Returns true for a level, which may be a number, as the library takes them.
fn is_level(directive: &str) -> bool {
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(directive))
        || matches!(directive, "0" | "1" | "2" | "3" | "4" | "5")
}

/// Returns the directives that keep what is sent out of the log, unless a filter asks for it.
fn quietened(directives: &[&str]) -> Vec<String> {
    let is_verbose = |directive: &&str| ["debug", "trace", "4", "5"].iter().any(|l| l.eq_ignore_ascii_case(directive));
    if !directives.iter().any(is_verbose) {
        return Vec::new();
    }
    let is_named =
        |carrier: &str| directives.iter().any(|directive| directive.split(['=', ':']).next() == Some(carrier));
    CARRIERS.into_iter().filter(|carrier| !is_named(carrier)).map(|carrier| format!("{carrier}=info")).collect()
}

/// Returns true for a part of the program, with a level or alone.
fn is_part(directive: &str) -> bool {
    let target = directive.split_once('=').map_or(directive, |(target, _)| target);
    let is_in = |part: &&str| target.strip_prefix(*part).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    OURS.iter().chain(&OTHERS).chain([&FORMER.0]).any(is_in)
}

/// Returns the directive for all crates that it stands for: all of ours for the program, and those
/// that a former crate became.
fn expanded(directive: &str) -> String {
    let level_of = |name| directive.strip_prefix(name).filter(|rest: &&str| rest.is_empty() || rest.starts_with('='));
    if let Some(level) = level_of(PROGRAM) {
        return OURS.map(|part| format!("{part}{level}")).join(",");
    }
    let (former, crates) = FORMER;
    if let Some(level) = level_of(former) {
        return crates.map(|part| format!("{part}{level}")).join(",");
    }
    match directive.strip_prefix(former).and_then(|rest| rest.strip_prefix("::")) {
        // `bus` and `frontend` were modules of it; the modules of the others are in crates now.
        Some(path) if crates.iter().any(|part| path.starts_with(part)) => path.to_owned(),
        Some(path) => format!("model::{path},node::{path},runtime::{path}"),
        None => directive.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        super::read(Some(OsStr::new(text))).map(|filter| filter.to_string()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn levels_and_parts_are_filters() {
        for good in [
            "info",
            "DEBUG",
            "off",
            "5",
            "info,async_nats=warn",
            "info, connector=debug,",
            "warn,bus::nats=trace",
            "chat",
            "info,[connection{peer=x}]=debug",
        ] {
            assert!(read(good).is_ok(), "{good}: {:?}", read(good));
        }
        for usual in ["", "  ", "info,async_nats=warn,,"] {
            assert_eq!(read(usual), read(LOGGED));
        }
        assert_eq!(super::read(None).unwrap().to_string(), read(LOGGED).unwrap());
    }

    #[test]
    fn what_is_sent_is_not_logged_unless_that_is_asked_for() {
        for level in ["trace", "DEBUG", "5"] {
            let filter = read(level).unwrap();
            for carrier in CARRIERS {
                assert!(filter.contains(&format!("{carrier}=info")), "{level}: {filter}");
            }
        }
        let named = read("trace,tungstenite=trace").unwrap();
        assert!(named.split(',').all(|directive| directive != "tungstenite=info"), "{named}");
        assert_eq!(read("info"), Ok("info".to_owned()));
    }

    #[test]
    fn a_filter_that_names_parts_keeps_the_errors_of_others() {
        assert_eq!(read("connector=debug"), read("error,connector=debug"));
        assert_eq!(read("off,connector=debug").unwrap().matches("error").count(), 0);
        let all = read("shaddock=debug").unwrap();
        for part in OURS {
            assert!(all.contains(&format!("{part}=debug")), "{part} in {all}");
        }
    }

    #[test]
    fn names_of_former_crates_are_read() {
        assert_eq!(read("shared=debug"), read("bus=debug,frontend=debug,model=debug,node=debug,runtime=debug"));
        assert_eq!(read("info,shared::bus::nats=trace"), read("info,bus::nats=trace"));
        assert!(read("shared::lifecycle=debug").unwrap().contains("runtime::lifecycle=debug"));
    }

    #[test]
    fn what_would_log_nothing_is_refused() {
        for (bad, part) in [
            ("verbose", "verbose"),
            ("warning", "warning"),
            ("info,conector=debug", "conector"),
            ("info;debug", "info;debug"),
            ("all", "all"),
            ("7", "7"),
            ("connectors", "connectors"),
            ("error warn", "error warn"),
            ("connector=verbose", "SHADDOCK_LOG"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.starts_with("SHADDOCK_LOG is not a filter") && error.contains(part), "{bad}: {error}");
        }
    }
}
