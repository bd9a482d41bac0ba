//! The rows of the suite: an attack, the settings under which it runs, and the defence that holds.

use std::pin::Pin;

use crate::arena::Arena;
use crate::rows::{connections, headers, injection, members, native, replay, resources, tls, tokens, wire_bytes};
use crate::socket::Via;

/// The attack of a row; returns a figure for the table.
pub(crate) type Attack = fn(Arena) -> Pin<Box<dyn Future<Output = String> + Send>>;

/// The way to switch the row's defence off.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Undefended {
    /// By these settings.
    Settings(&'static [(&'static str, &'static str)]),
    /// By a patch in `undefended/`, of this name.
    Patch(&'static str),
    /// Not at all, for this reason.
    Never(&'static str),
}

/// The servers' processes before their start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Conditions {
    /// The limit of open files.
    pub(crate) open_files: Option<usize>,
    /// The value of `SHADDOCK_LOG`.
    pub(crate) log: Option<&'static str>,
    /// Servers have a certificate, and the innocent users connect inside TLS.
    pub(crate) has_tls: bool,
    /// Servers read tokens: `forgery` has the keys, and a provider gives one more.
    pub(crate) reads_tokens: bool,
}

/// A row of the suite.
pub(crate) struct Row {
    pub(crate) id: &'static str,
    /// The cases of operators that it covers.
    pub(crate) cases: &'static str,
    pub(crate) about: &'static str,
    pub(crate) settings: &'static [(&'static str, &'static str)],
    pub(crate) conditions: Conditions,
    pub(crate) via: Via,
    /// Seconds of the attack in the whole suite, and in `make test` if it runs there.
    pub(crate) secs: u64,
    pub(crate) quick_secs: Option<u64>,
    /// Metrics of which each rises.
    pub(crate) counters: &'static [&'static str],
    pub(crate) undefended: Undefended,
    pub(crate) attack: Attack,
}

/// Conditions of servers with a certificate.
pub(crate) const TLS: Conditions = Conditions { has_tls: true, ..PLAIN };

/// Conditions of servers that read tokens.
pub(crate) const TOKENS: Conditions = Conditions { reads_tokens: true, ..PLAIN };

const PLAIN: Conditions = Conditions { open_files: None, log: None, has_tls: false, reads_tokens: false };

impl Row {
    /// A row with the defaults of most.
    pub(crate) const fn new(id: &'static str, cases: &'static str, about: &'static str, attack: Attack) -> Self {
        Self {
            id,
            cases,
            about,
            settings: &[],
            conditions: PLAIN,
            via: Via::ProxyHeader,
            secs: 8,
            quick_secs: None,
            counters: &[],
            undefended: Undefended::Never(""),
            attack,
        }
    }
}

/// All rows, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    [
        connections::rows(),
        tls::rows(),
        wire_bytes::rows(),
        native::rows(),
        headers::rows(),
        tokens::rows(),
        replay::rows(),
        injection::rows(),
        resources::rows(),
        members::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
