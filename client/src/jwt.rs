//! The token of the application that a client logs in with, and its replacement before it expires.

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout};

/// Pause before the next try to replace a token.
const PAUSE: Duration = Duration::from_secs(5);

/// A token that is being fetched, or the reason for which there is none.
type Fetching = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// A token of the application (a JWT) that a client logs in with.
#[derive(Clone)]
pub struct Jwt(Source);

#[derive(Clone)]
enum Source {
    Value(Arc<str>),
    Function(Arc<dyn Fn() -> Fetching + Send + Sync>),
}

impl Jwt {
    /// Takes a token. The server ends the session when it expires.
    pub fn value(token: &str) -> Self {
        Self(Source::Value(token.into()))
    }

    /// Takes a function that fetches a token. It is called for each connection, and again before
    /// the token expires; while it fails then, it is called again every five seconds.
    pub fn fetched_by<F, T, E>(fetch: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        let boxed = move || -> Fetching {
            let token = fetch();
            Box::pin(async { token.await.map_err(|error| error.to_string()) })
        };
        Self(Source::Function(Arc::new(boxed)))
    }

    /// Returns the token for a new connection.
    pub(crate) async fn token(&self) -> Result<String, String> {
        match &self.0 {
            Source::Value(token) => Ok(token.as_ref().to_owned()),
            Source::Function(fetch) => fetch().await,
        }
    }

    /// Begins to fetch a newer one, if there is a function for it.
    fn newer(&self) -> Option<Fetching> {
        match &self.0 {
            Source::Value(_) => None,
            Source::Function(fetch) => Some(fetch()),
        }
    }
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jwt(..)")
    }
}

/// The replacement of a connection's token.
#[derive(Default)]
pub(crate) struct Refresh {
    jwt: Option<Jwt>,
    time_limit: Duration,
    fetching: Option<Fetching>,
    /// The id of the request that brings the token.
    request: Option<u32>,
    /// The time of the next try.
    retry_at: Option<Instant>,
}

impl Refresh {
    /// For a connection that logged in with `jwt`; a function has `time_limit` for a token.
    pub(crate) fn new(jwt: Option<Jwt>, time_limit: Duration) -> Self {
        Self { jwt, time_limit, ..Self::default() }
    }

    /// Begins to replace the token. Returns false if there is no function that gives one.
    pub(crate) fn begin(&mut self) -> bool {
        self.retry_at = None;
        let newer = self.jwt.as_ref().and_then(Jwt::newer);
        if let Some(newer) = newer {
            let time_limit = self.time_limit;
            self.fetching = Some(Box::pin(async move {
                timeout(time_limit, newer).await.unwrap_or_else(|_| Err("no token in time".to_owned()))
            }));
            return true;
        }
        false
    }

    /// Returns true while a token is being fetched.
    pub(crate) fn is_fetching(&self) -> bool {
        self.fetching.is_some()
    }

    /// Completes with the token that is being fetched; `None` after a failure, which is tried again.
    pub(crate) async fn fetched(&mut self) -> Option<String> {
        let Some(fetching) = &mut self.fetching else { return pending().await };
        let fetched = fetching.await;
        self.fetching = None;
        if fetched.is_err() {
            self.retry();
        }
        fetched.ok()
    }

    /// Notes the request that brings the token.
    pub(crate) fn sent(&mut self, request: u32) {
        self.request = Some(request);
    }

    /// Takes the response to that request, if it is one; a refusal is tried again.
    pub(crate) fn take_response(&mut self, id: u32, body: &Value) -> bool {
        let is_ours = self.request.take_if(|request| *request == id).is_some();
        if is_ours && body.get("code").and_then(Value::as_u64) != Some(200) {
            self.retry();
        }
        is_ours
    }

    /// The time of the next try, if there is one.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    // Until the server ends the session: the reason may pass, and the server tells the final one.
    fn retry(&mut self) {
        self.retry_at = Some(Instant::now() + PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refused_token_is_tried_again() {
        let fetch = || async { Ok::<_, &str>("token".to_owned()) };
        let mut refresh = Refresh::new(Some(Jwt::fetched_by(fetch)), PAUSE);
        refresh.sent(7);
        assert!(!refresh.take_response(6, &json!({"code": 503})) && refresh.retry_at().is_none());
        assert!(refresh.take_response(7, &json!({"code": 503})) && refresh.retry_at().is_some());
        assert!(!refresh.take_response(7, &json!({"code": 503})), "another request may get the id later");
        assert!(refresh.begin() && refresh.is_fetching() && refresh.retry_at().is_none());
        refresh.sent(8);
        assert!(refresh.take_response(8, &json!({"code": 200})) && refresh.retry_at().is_none());
        assert!(!Refresh::new(Some(Jwt::value("token")), PAUSE).begin());
    }
}
