//! Errors of the bus, each with the party at fault.

use thiserror::Error;

use runtime::config::sign_in::SignInError;

/// An error of the bus.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BusError {
    /// The subject has no subscriber: the peer is down or not started yet. Known at once; the
    /// request had no effect.
    #[error("the subject has no subscriber")]
    NoResponders,
    /// No response in time: the peer or the way to it is slow. It is unknown if the peer acted.
    #[error("no response in time")]
    TimedOut,
    /// The broker or the network is down. A publish was not sent; of a request it is unknown if the
    /// peer acted.
    #[error("the connection to the broker is broken")]
    Disconnected,
    /// We publish faster than the broker takes. Not sent.
    #[error("too many messages wait for the connection")]
    QueueFull,
    /// The caller's message is larger than the broker allows. Not sent.
    #[error("{size} bytes are more than the {limit} that a message may have")]
    TooLarge {
        /// Bytes of payload and headers.
        size: usize,
        /// The most that the broker takes.
        limit: usize,
    },
    /// The caller's subject is empty, has white space or an empty token. Not sent.
    #[error("{0:?} is not a subject")]
    BadSubject(String),
    /// The bus was drained; the caller is late.
    #[error("the bus is closed")]
    Closed,
    /// The operator's matter: there is no broker.
    #[error(
        "no NATS server at {servers} ({reason}): start one there, or have this process wait for it with \
         nats.wait_for_broker = true (SHADDOCK_NATS__WAIT_FOR_BROKER=true)"
    )]
    Connect {
        /// `host:port` of every server tried, without credentials.
        servers: String,
        /// The reason of the last attempt.
        reason: String,
    },
    /// The operator's matter: there is a broker, and it does not want us.
    #[error(
        "the NATS server at {servers} refused us ({reason}): check who signs in (settings of [nats], or in the URL), and \
         the files for TLS"
    )]
    Refused {
        /// `host:port` of every server tried, without credentials.
        servers: String,
        /// The server's reason.
        reason: String,
    },
    /// The operator's matter: there is a broker, and it takes no further connection.
    #[error(
        "the NATS server at {servers} is full ({reason}): raise its max_connections or the limit of the account, or end other \
         clients"
    )]
    Full {
        /// `host:port` of every server tried, without credentials.
        servers: String,
        /// The server's words.
        reason: String,
    },
    /// The operator's matter: the two ends do not agree on TLS.
    #[error("TLS with the NATS server at {servers} fails ({reason}): {remedy}")]
    Tls {
        /// `host:port` of every server tried, without credentials.
        servers: String,
        /// The words of the end that gave up.
        reason: String,
        /// The setting to correct.
        remedy: &'static str,
    },
    /// The operator's matter: the broker refuses another subscription, and does not name its
    /// subject.
    #[error(
        "the NATS server refuses a subscription, because there are as many as there may be: raise its max_subscriptions or \
         the limit of the account; a server needs two"
    )]
    TooManySubscriptions,
    /// The operator's matter: the user that this process signed in as may not subscribe to this.
    #[error(
        "the permissions of the NATS server do not let us subscribe to {0}: see who signs in, and what that user may do"
    )]
    Forbidden(String),
    /// The operator's matter: the settings for signing in cannot be used.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// The operator's matter: the list of servers cannot be read. Shows nothing of its text, which
    /// may hold a password.
    #[error("entry {entry} of the list of NATS servers is not a URL like nats://host:4222 ({reason})")]
    BadUrl {
        /// The entry, counted from 1.
        entry: usize,
        /// The fault of the entry.
        reason: String,
    },
}
