//! Logins of sessions: the users that their tokens name, and the times at which those expire.
//! Reads no token: the edge has verified it.

use std::collections::BTreeSet;

use model::identity::{LoginRefusal, User};
use model::ids::{Name, Uid};
use model::settings::{AuthMode, OnExpiry};

use super::sessions::Session;
use super::{ClientResponse, ConnectorState, Effect, Now};
use crate::room::proposer::PendingRequest;

/// Milliseconds before its token expires at which a client is asked for a new one, or half of the
/// token's time if that is less: a client that gets short tokens would be asked again at once.
const NOTICE_MS: u64 = 60_000;

/// The rules for logins, of the settings.
#[derive(Debug, Clone)]
pub struct LoginRules {
    /// Clients that need a token.
    pub mode: AuthMode,
    /// Begins the names of anonymous clients, and none of users, where both may enter; empty: both
    /// may have any names.
    pub anonymous_prefix: String,
    /// Sessions whose token expires.
    pub on_expiry: OnExpiry,
    /// Milliseconds from there to the kick.
    pub grace_ms: u64,
    /// Milliseconds by which the clocks of issuer and servers may differ.
    pub leeway_ms: u64,
    /// Most sessions of a user; 0: no limit.
    pub max_sessions: usize,
}

impl LoginRules {
    /// For a connector that reads no token.
    pub fn off() -> Self {
        Self {
            mode: AuthMode::Off,
            anonymous_prefix: String::new(),
            on_expiry: OnExpiry::Kick,
            grace_ms: 0,
            leeway_ms: 0,
            max_sessions: 0,
        }
    }

    /// Returns true if a client may have a name, as a user or as an anonymous one.
    fn allow(&self, name: &Name, is_user: bool) -> bool {
        let are_separate = self.mode == AuthMode::Optional && !self.anonymous_prefix.is_empty();
        !are_separate || name.as_str().starts_with(&self.anonymous_prefix) != is_user
    }
}

/// Kind of an event that is due at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Notice,
    End,
}

/// The rules, the sessions of users, and the times at which their tokens expire.
#[derive(Debug)]
pub(super) struct Logins {
    pub(super) rules: LoginRules,
    due: BTreeSet<(u64, u64, Due)>,
    /// By user, the oldest first: numbers of sessions rise.
    by_user: BTreeSet<(Uid, u64)>,
}

impl Logins {
    pub(super) fn new(rules: LoginRules) -> Self {
        Self { rules, due: BTreeSet::new(), by_user: BTreeSet::new() }
    }

    fn times(&self, session: u64, user: &User) -> [(u64, u64, Due); 2] {
        // Times of the connector's own clock: the wall clock may be set meanwhile.
        let lasts = user.until.saturating_sub(user.since);
        let notice = user.until.saturating_sub(NOTICE_MS.min(lasts / 2));
        [(notice, session, Due::Notice), (user.until.saturating_add(self.rules.grace_ms), session, Due::End)]
    }

    /// Keeps a session's user, and watches the expiry of its token.
    fn add(&mut self, session: u64, user: &User) {
        // Without a limit the index is empty, and costs idle sessions nothing.
        if self.rules.max_sessions > 0 {
            self.by_user.insert((user.principal.uid.clone(), session));
        }
        if self.rules.on_expiry == OnExpiry::Kick {
            self.due.extend(self.times(session, user));
        }
    }

    /// Forgets a session's user and token.
    pub(super) fn forget(&mut self, session: u64, user: &User) {
        self.by_user.remove(&(user.principal.uid.clone(), session));
        for time in self.times(session, user) {
            self.due.remove(&time);
        }
    }

    /// Takes the user's oldest session if the user has too many.
    fn take_surplus(&mut self, uid: &Uid) -> Option<u64> {
        let sessions = self.by_user.range((uid.clone(), 0)..=(uid.clone(), u64::MAX));
        // One more than may be: each login takes the surplus.
        let oldest = sessions.clone().next()?.clone();
        if sessions.count() <= self.rules.max_sessions {
            return None;
        }
        self.by_user.remove(&oldest);
        Some(oldest.1)
    }

    fn take_due(&mut self, now: u64) -> Option<(u64, Due)> {
        let first = *self.due.first().filter(|(at, ..)| *at <= now)?;
        self.due.remove(&first);
        Some((first.1, first.2))
    }
}

impl ConnectorState {
    /// Makes a session that of a user, whose token the client's handshake had. The user's oldest
    /// session is kicked if there is one too many.
    // Not refused: a client whose network changed comes back while its old connections still count.
    pub fn log_in(&mut self, session: u64, user: User) -> Vec<Effect> {
        let Some(known) = self.sessions.get_mut(session) else { return Vec::new() };
        if let Some(before) = &known.user {
            self.logins.forget(session, before);
        }
        self.logins.add(session, &user);
        let surplus = self.logins.take_surplus(&user.principal.uid);
        known.user = Some(Box::new(user));
        surplus.into_iter().map(Effect::Replaced).collect()
    }

    /// Returns the reason for which a request's token does not make the session that of its user.
    pub(super) fn accept_login(
        &mut self,
        session: u64,
        login: Option<Result<User, LoginRefusal>>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ClientResponse> {
        let Some(login) = login else { return Ok(()) };
        let user = login.map_err(|refusal| ClientResponse::LoginRefused { refusal, enter: true })?;
        let known = self.sessions.get(session).and_then(|session| session.user.as_ref());
        // A session stays that of one user: its messages in flight are decided under the user's rights.
        if known.is_some_and(|known| known.principal.uid != user.principal.uid) {
            return Err(ClientResponse::NotAllowed { enter: true });
        }
        effects.extend(self.log_in(session, user));
        Ok(())
    }

    /// Checks that a session may enter rooms now; returns the name that it must have, if its token
    /// has one.
    pub(super) fn check_login(&self, session: u64, now: Now) -> Result<Option<Name>, ClientResponse> {
        let user = self.sessions.get(session).and_then(|session| session.user.as_ref());
        let refused = |refusal| Err(ClientResponse::LoginRefused { refusal, enter: true });
        match user {
            Some(user) if user.until.saturating_add(self.logins.rules.leeway_ms) <= now.ticks => {
                refused(LoginRefusal::expired())
            }
            Some(user) => Ok(user.principal.name.clone()),
            None if self.logins.rules.mode == AuthMode::Required => refused(LoginRefusal::missing()),
            None => Ok(None),
        }
    }

    /// Returns true if a session may have a name, as a user or as an anonymous client.
    pub(super) fn may_be_called(&self, session: u64, name: &Name) -> bool {
        let is_user = self.sessions.get(session).is_some_and(|session| session.user.is_some());
        self.logins.rules.allow(name, is_user)
    }

    /// Replaces the token of a session by a newer one of the same user. The client gets the response
    /// when its rights are those of the new token.
    pub(super) fn refresh(
        &mut self,
        login: Option<Result<User, LoginRefusal>>,
        pending: PendingRequest,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ClientResponse> {
        let session = pending.session;
        let refused = |refusal| ClientResponse::LoginRefused { refusal, enter: false };
        let user = login.unwrap_or_else(|| Err(LoginRefusal::missing())).map_err(refused)?;
        let known = self.sessions.get(session).and_then(|session| session.user.as_ref());
        if known.is_none_or(|known| known.principal.uid != user.principal.uid) {
            return Err(ClientResponse::NotAllowed { enter: false });
        }
        let exp = user.principal.expires_at;
        let surplus = self.log_in(session, user);
        debug_assert!(surplus.is_empty(), "session {session} was one of its user before");
        let Ok(room) = self.room_of_messages(session) else {
            self.complete_request(session, pending.id, ClientResponse::Refreshed { exp }, effects);
            return Ok(());
        };
        let rights = self.rights(session, &room);
        self.in_room(&room, now, effects, |room, cx| room.renew_rights(rights, pending, cx));
        Ok(())
    }

    /// Asks clients for new tokens, and ends the sessions of those that brought none.
    pub(super) fn expire_logins(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some((session, due)) = self.logins.take_due(now.ticks) {
            let Some(Session { user: Some(user), .. }) = self.sessions.get(session) else {
                debug_assert!(false, "session {session} has a time and no user");
                continue;
            };
            effects.push(match due {
                Due::Notice => {
                    Effect::TokenExpires { session, secs: user.until.saturating_sub(now.ticks).div_ceil(1_000) }
                }
                Due::End => Effect::TokenExpired(session),
            });
        }
    }
}
