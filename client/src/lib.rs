//! A client of Shaddock: finds a connector through the gate, enters a room, sends messages, and
//! receives those of other members.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::ClientError> {
//! use client::{ChatClient, Event, Options};
//!
//! let (chat, mut events) = ChatClient::via_gate("127.0.0.1:3014", "ann", Options::default()).await?;
//! let entered = chat.enter("ann", "lobby").await?;
//! assert!(entered.users.contains(&"ann".to_owned()));
//! chat.send("hello").await?;
//! while let Some(Event::Chat(message)) = events.next().await {
//!     assert!(!message.msg.is_empty());
//! }
//! # Ok(())
//! # }
//! ```

mod address;
mod body;
mod chat;
mod connection;
mod error;
mod event;
mod gate;
mod handshake;
mod jwt;
mod moderation;
mod socket;
mod stream;
mod tls;

use std::time::Duration;

pub use address::{Address, GateAnswer, Transport};
pub use body::{Entered, History, HistoryMessage, Members, Message, Page, Profile, Resume, Sent};
pub use chat::ChatClient;
pub use error::ClientError;
pub use event::{Chat, Event, Events, Gap, Joined};
pub use gate::query_entry;
pub use jwt::Jwt;
pub use moderation::{Act, Right, Rule, RuleKind};
pub use stream::ByteStream;
pub use tls::{Tls, TlsError};
pub use wire::routes;
pub use wire::text::without_display_controls;

/// Options of a connection.
#[derive(Debug, Clone)]
pub struct Options {
    /// The authorities that are trusted where the address requires TLS; those of the platform if
    /// `None`.
    pub tls: Option<Tls>,
    /// The token to log in with, at gates and connectors; `None` to be anonymous.
    pub jwt: Option<Jwt>,
    /// Time for the token, TCP, TLS, websocket and handshake together.
    pub connect_timeout: Duration,
    /// Time for the response to a request.
    pub request_timeout: Duration,
    /// Events that may wait to be read. A reader that is further behind loses its connection, not
    /// single events.
    pub event_queue: usize,
    /// Bytes of a request's body as JSON; a longer one is refused here, since servers close
    /// connections that send it.
    pub max_body: usize,
    /// Sends heartbeats. Without them the server closes the connection in time. For tests.
    pub heartbeats: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: None,
            jwt: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            event_queue: 16_384,
            // Servers take packages of 64 KiB, with a head of up to 262 bytes.
            max_body: 60 * 1024,
            heartbeats: true,
        }
    }
}
