//! A connection to a connector, with the chat's requests as methods.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use wire::WireError;

use crate::body::{Entered, History, HistoryMessage, Members, Message, Page, Resume, Sent};
use crate::connection::{Command, Connection};
use crate::{Act, ClientError, Events, Options, query_entry, routes};

/// Messages of one request for history: the most that servers allow.
const HISTORY_PAGE: u64 = 100;

/// A connection. Clones share it; it is closed when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct ChatClient {
    connection: Connection,
    request_timeout: Duration,
    max_body: usize,
}

impl ChatClient {
    /// Connects to the server at `host:port`, or a URL as [`Address`](crate::Address) reads it:
    /// `wss://` for TLS, `tcp://` and `tls://` without a websocket. Completes the handshake.
    ///
    /// # Errors
    /// If there is no server, it refuses, or it takes longer than `options.connect_timeout`.
    pub async fn connect(address: &str, options: Options) -> Result<(Self, Events), ClientError> {
        let Options { request_timeout, max_body, .. } = options;
        let (connection, events) = Connection::open(address, options).await?;
        // A larger limit than a package holds would let a body through that cannot be encoded.
        Ok((Self { connection, request_timeout, max_body: max_body.min(MAX_BODY) }, events))
    }

    /// Requests the connector of `uid` from the gate, and connects to it.
    ///
    /// # Errors
    ///
    /// As [`query_entry`] and [`ChatClient::connect`].
    pub async fn via_gate(gate: &str, uid: &str, options: Options) -> Result<(Self, Events), ClientError> {
        let connector = query_entry(gate, uid, &options).await?;
        Self::connect(&connector.to_string(), options).await
    }

    /// Enters a room under a name.
    ///
    /// Each method queues its request when it is called, so requests keep the order of the calls
    /// and many may wait at once. The future resolves with the response.
    ///
    /// # Errors
    ///
    /// If the server refuses, for example because the name is taken, or does not respond.
    pub fn enter(&self, name: &str, room: &str) -> impl Future<Output = Result<Entered, ClientError>> + use<> {
        self.typed(routes::ENTER, &json!({ "username": name, "rid": room, "resume": true }))
    }

    /// Enters a room as the member of an earlier connection, also while that connection is still
    /// open.
    ///
    /// No other member sees a join or leave; the server kicks the older connection. A client whose
    /// membership has ended enters as with [`ChatClient::enter`].
    ///
    /// # Errors
    ///
    /// As [`ChatClient::enter`].
    pub fn resume(
        &self,
        name: &str,
        room: &str,
        resume: &Resume,
    ) -> impl Future<Output = Result<Entered, ClientError>> + use<> {
        let Resume { token, since, epoch } = resume;
        let body = json!({ "username": name, "rid": room, "token": token, "since": since, "epoch": epoch });
        self.typed(routes::ENTER, &body)
    }

    /// Sends a message to all in the room.
    ///
    /// # Errors
    ///
    /// As [`ChatClient::send_message`].
    pub fn send(&self, content: &str) -> impl Future<Output = Result<Sent, ClientError>> + use<> {
        self.send_message(&Message::to_all(content))
    }

    /// Sends a whisper to one member.
    ///
    /// # Errors
    ///
    /// As [`ChatClient::send_message`]; also if there is no such member.
    pub fn whisper(&self, to: &str, content: &str) -> impl Future<Output = Result<Sent, ClientError>> + use<> {
        self.send_message(&Message::to(to, content))
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// If the server refuses or does not respond. After [`ClientError::Refused`] with code 503,
    /// [`ClientError::TimedOut`] and [`ClientError::Closed`] the outcome is unknown; a message with
    /// an idempotency key can be sent again.
    pub fn send_message(&self, message: &Message) -> impl Future<Output = Result<Sent, ClientError>> + use<> {
        self.typed(routes::SEND, message)
    }

    /// Mutes a user: the room takes no messages of the user until the mute ends.
    ///
    /// Needs [`Right::Moderate`](crate::Right::Moderate), which the user must not have.
    ///
    /// ```no_run
    /// # async fn example(chat: client::ChatClient) -> Result<(), client::ClientError> {
    /// use client::Act;
    ///
    /// chat.mute(&Act::on_name("bob").with_secs(600).with_reason("too loud")).await?;
    /// chat.unmute(&Act::on_name("bob")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the server refuses (403 `not-allowed`, 500 `no-such-member` for an expulsion), or does not respond. After
    /// code 503, [`ClientError::TimedOut`] and [`ClientError::Closed`] the outcome is unknown; the
    /// act can be requested again.
    pub fn mute(&self, act: &Act) -> impl Future<Output = Result<Sent, ClientError>> + use<> {
        self.typed(routes::MUTE, act)
    }

    /// Ends the mute of a user.
    ///
    /// # Errors
    ///
    /// As [`ChatClient::mute`].
    pub fn unmute(&self, act: &Act) -> impl Future<Output = Result<Sent, ClientError>> + use<> {
        self.typed(routes::UNMUTE, act)
    }

    /// Bans a user, who is removed from the room and cannot enter it until the ban ends.
    ///
    /// ```no_run
    /// # async fn example(chat: client::ChatClient) -> Result<(), client::ClientError> {
    /// use client::Act;
    ///
    /// // Under any name, without an end.
    /// chat.ban(&Act::on_uid("4711").with_reason("spam")).await?;
    /// chat.unban(&Act::on_uid("4711")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ChatClient::mute`].
    pub fn ban(&self, act: &Act) -> impl Future<Output = Result<Sent, ClientError>> + use<> {
        self.typed(routes::BAN, act)
    }

    /// Ends the ban of a user.
    ///
    /// # Errors
    ///
    /// As [`ChatClient::mute`].
    pub fn unban(&self, act: &Act) -> impl Future<Output = Result<Sent, ClientError>> + use<> {
        self.typed(routes::UNBAN, act)
    }

    /// Removes a member from the room, who may enter it again. A duration means nothing here.
    ///
    /// ```no_run
    /// # async fn example(chat: client::ChatClient) -> Result<(), client::ClientError> {
    /// chat.expel(&client::Act::on_name("bob").with_reason("be kind")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ChatClient::mute`].
    pub fn expel(&self, act: &Act) -> impl Future<Output = Result<Sent, ClientError>> + use<> {
        self.typed(routes::EXPEL, act)
    }

    /// Requests up to `limit` (1 to 100) messages of the room.
    ///
    /// # Errors
    ///
    /// If the session is in no room, or the server does not respond.
    pub fn history(&self, which: History, limit: u64) -> impl Future<Output = Result<Page, ClientError>> + use<> {
        let body = match which {
            History::Last => json!({ "limit": limit }),
            History::Before(seq) => json!({ "before": seq, "limit": limit }),
            History::After(seq) => json!({ "after": seq, "limit": limit }),
        };
        self.typed(routes::HISTORY, &body)
    }

    /// Returns all messages missed since `since`, ascending. Takes those in the response to
    /// [`ChatClient::resume`], and requests those that did not fit.
    ///
    /// # Errors
    ///
    /// As [`ChatClient::history`]; [`ClientError::BadResponse`] if the log has a new epoch: resume
    /// again.
    pub async fn missed(&self, entered: &mut Entered, since: u64) -> Result<Vec<HistoryMessage>, ClientError> {
        let mut missed = std::mem::take(&mut entered.missed);
        let mut cursor = entered.cursor;
        while let Some(before) = cursor.filter(|cursor| *cursor > since) {
            let mut page = self.history(History::Before(before), HISTORY_PAGE).await?;
            if page.epoch != entered.epoch {
                return Err(ClientError::BadResponse("another epoch than a moment ago".to_owned()));
            }
            // The page that reaches `since` is the last one, also if the server offers older pages.
            let is_last = page.messages.first().is_some_and(|first| first.seq <= since);
            page.messages.retain(|message| message.seq > since);
            missed.splice(0..0, page.messages);
            cursor = page.cursor.filter(|_| !is_last);
        }
        Ok(missed)
    }

    /// Requests up to `limit` (1 to 500) names of the room's members: the first ones, or those
    /// after a name.
    ///
    /// # Errors
    ///
    /// If the session is in no room, or the server does not respond.
    pub fn members(
        &self,
        after: Option<&str>,
        limit: u64,
    ) -> impl Future<Output = Result<Members, ClientError>> + use<> {
        self.typed(routes::MEMBERS, &json!({ "after": after, "limit": limit }))
    }

    /// Leaves the room.
    ///
    /// # Errors
    ///
    /// If the session is in no room, or the server does not respond.
    pub fn leave(&self) -> impl Future<Output = Result<(), ClientError>> + use<> {
        let response = self.request(routes::LEAVE, &json!({}));
        async { response.await.map(drop) }
    }

    /// Sends a request, and returns the response's body if its `code` is 200, or missing without an
    /// `error`.
    ///
    /// # Errors
    ///
    /// If the code is another one, and as [`ChatClient::request_unchecked`].
    pub fn request<B: Serialize>(
        &self,
        route: &str,
        body: &B,
    ) -> impl Future<Output = Result<Value, ClientError>> + use<B> {
        let response = self.request_unchecked(route, body);
        async {
            let body = response.await?;
            let code = code(&body)?;
            if code == 200 { Ok(body) } else { Err(ClientError::of_refusal(code, &body)) }
        }
    }

    /// Sends a request, and returns the response's body without a check of its code.
    ///
    /// # Errors
    ///
    /// If it cannot be sent, no response comes, or the response is no JSON object.
    pub fn request_unchecked<B: Serialize>(
        &self,
        route: &str,
        body: &B,
    ) -> impl Future<Output = Result<Value, ClientError>> + use<B> {
        let (sender, response) = oneshot::channel();
        // Queued now, not at the first poll: futures that are polled in another order would reorder
        // messages.
        let queued = self.encode(route, body).and_then(|body| {
            self.connection.queue(Command::Request { route: route.to_owned(), body, response: sender })
        });
        let deadline = self.request_timeout;
        let connection = self.connection.clone();
        async move {
            queued?;
            match tokio::time::timeout(deadline, response).await {
                Ok(Ok(body)) if body.is_object() => Ok(body),
                Ok(Ok(_)) => Err(ClientError::BadResponse("it is no JSON object".to_owned())),
                Ok(Err(_)) => Err(connection.closed()),
                Err(_) => Err(ClientError::TimedOut),
            }
        }
    }

    /// Sends a notify, which has no response.
    ///
    /// # Errors
    ///
    /// If it cannot be sent, the connection is closed, or the queue is full.
    pub fn notify(&self, route: &str, body: &impl Serialize) -> Result<(), ClientError> {
        let body = self.encode(route, body)?;
        self.connection.queue(Command::Notify { route: route.to_owned(), body })
    }

    /// Sends bytes as one websocket frame, or as they are without a websocket, unchecked. For tests of servers.
    ///
    /// # Errors
    ///
    /// If the connection is closed or the queue is full.
    pub fn send_raw(&self, frame: impl Into<bytes::Bytes>) -> Result<(), ClientError> {
        self.connection.queue(Command::Raw(frame.into()))
    }

    /// Closes the connection in an orderly way, without waiting for it.
    pub fn close(&self) {
        // A closed connection is what is wanted.
        self.connection.queue(Command::Close).ok();
    }

    /// Drops the connection once the queue is written, without a close frame: the server sees a
    /// lost network. For tests of servers.
    pub fn cut(&self) {
        // As with `close`.
        self.connection.queue(Command::Cut).ok();
    }

    /// Encodes the body as JSON. Refuses what cannot be sent here, so that one call fails and not
    /// the connection.
    fn encode<B: Serialize + ?Sized>(&self, route: &str, body: &B) -> Result<Bytes, ClientError> {
        if route.len() > MAX_ROUTE {
            return Err(WireError::RouteTooLong(route.len()).into());
        }
        let body = wire::to_json(body)?;
        // A refusal here costs the request. The server would close the connection.
        let max = match route {
            routes::ENTER | routes::QUERY_ENTRY => self.max_body.min(MAX_BODY_BEFORE_ENTER),
            _ => self.max_body,
        };
        if body.len() > max {
            return Err(ClientError::TooLong { len: body.len(), max });
        }
        Ok(body.into())
    }

    fn typed<T: for<'a> Deserialize<'a>, B: Serialize>(
        &self,
        route: &str,
        body: &B,
    ) -> impl Future<Output = Result<T, ClientError>> + use<T, B> {
        let response = self.request(route, body);
        async { serde_json::from_value(response.await?).map_err(|error| ClientError::BadResponse(error.to_string())) }
    }
}

/// Longest route that can be spelled out, in bytes.
const MAX_ROUTE: usize = 255;

/// Flag, id and route of a request.
const MAX_HEAD: usize = 1 + 5 + 1 + MAX_ROUTE;

/// Longest body that a package can hold, in bytes.
const MAX_BODY: usize = wire::MAX_BODY - MAX_HEAD;

/// Longest body of a request that needs no room: servers close connections that send packages of 4
/// KiB before.
const MAX_BODY_BEFORE_ENTER: usize = 4 * 1024 - MAX_HEAD;

/// Returns the code of a response. Pomelo's own servers may send no code, or only an `error`.
fn code(response: &Value) -> Result<u64, ClientError> {
    match (response.get("code"), response.get("error")) {
        (Some(code), _) => code.as_u64().ok_or_else(|| ClientError::BadResponse(format!("its code is {code}"))),
        (None, None | Some(Value::Null | Value::Bool(false))) => Ok(200),
        (None, Some(_)) => Ok(500),
    }
}
