//! The claims of a token whose signature is right.

use std::sync::Arc;

use model::act::MAX_INFO_BYTES;
use model::identity::Principal;
use model::ids::{Name, Uid};
use model::permissions::{ALL_ACTIONS, Action, Grant, Grants, Pattern, parse_actions};
use serde_json::{Map, Value};

use crate::TokenError;

/// Latest time that a claim may name, in Unix seconds: the end of the year 9999.
const MOST_SECS: f64 = 253_402_300_799.0;

/// Source of a user's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSource {
    /// The claim `name`, without it `sub`.
    Claim,
    /// The claim `sub`.
    Sub,
    /// The client.
    Free,
}

/// The rules that a token's claims must meet.
#[derive(Debug, Clone)]
pub struct ClaimRules {
    /// Largest token.
    pub max_token_bytes: usize,
    /// The value that `aud` must be or contain; empty: it is not checked.
    pub audience: String,
    /// The value of `iss`; empty: it is not checked.
    pub issuer: String,
    /// Seconds by which clocks may differ.
    pub leeway_secs: u64,
    /// Seconds since `iat`, which is required then; 0: any age.
    pub max_age_secs: u64,
    /// Source of the name.
    pub name: NameSource,
}

impl ClaimRules {
    /// Checks the claims at a time, in Unix seconds.
    pub(crate) fn check(&self, claims: &Map<String, Value>, now: u64) -> Result<Principal, TokenError> {
        let leeway = self.leeway_secs;
        let expires_at = secs(claims, "exp")?.ok_or(TokenError::Claim("exp"))?;
        if now >= expires_at.saturating_add(leeway) {
            return Err(TokenError::Expired);
        }
        if secs(claims, "nbf")?.is_some_and(|begin| begin > now.saturating_add(leeway)) {
            return Err(TokenError::NotYet);
        }
        let issued_at = secs(claims, "iat")?;
        self.check_age(issued_at, now)?;
        if !self.issuer.is_empty() && text(claims, "iss")? != Some(&self.issuer) {
            return Err(TokenError::Claim("iss"));
        }
        if !self.audience.is_empty() && !is_for(claims.get("aud"), &self.audience) {
            return Err(TokenError::Claim("aud"));
        }
        let uid = text(claims, "sub")?.and_then(|sub| Uid::new(sub).ok()).ok_or(TokenError::Claim("sub"))?;
        let (name, info, grants) = (self.name_of(claims, &uid)?, info(claims)?, grants(claims)?);
        Ok(Principal { name, uid, info, grants, issued_at: issued_at.unwrap_or(0), expires_at })
    }

    fn check_age(&self, issued_at: Option<u64>, now: u64) -> Result<(), TokenError> {
        let Some(issued_at) = issued_at else {
            return if self.max_age_secs == 0 { Ok(()) } else { Err(TokenError::Claim("iat")) };
        };
        // A token from the future would be younger than it is, and could be used for longer than its age
        // allows.
        if issued_at > now.saturating_add(self.leeway_secs) {
            return Err(TokenError::NotYet);
        }
        let oldest = issued_at.saturating_add(self.max_age_secs).saturating_add(self.leeway_secs);
        if self.max_age_secs > 0 && now >= oldest { Err(TokenError::Expired) } else { Ok(()) }
    }

    fn name_of(&self, claims: &Map<String, Value>, uid: &Uid) -> Result<Option<Name>, TokenError> {
        let (claim, name) = match self.name {
            NameSource::Free => return Ok(None),
            NameSource::Sub => ("sub", uid.as_str()),
            NameSource::Claim => match text(claims, "name")? {
                Some(name) => ("name", name),
                None => ("sub", uid.as_str()),
            },
        };
        Name::new(name).map(Some).map_err(|_| TokenError::Claim(claim))
    }
}

/// Returns a claim that is a text, if it is there.
fn text<'c>(claims: &'c Map<String, Value>, claim: &'static str) -> Result<Option<&'c str>, TokenError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        // Not as if the claim were missing: a token with a wrong value has an author who meant something.
        Some(_) => Err(TokenError::Claim(claim)),
    }
}

/// Returns what member lists show of the user, as JSON, if there is any.
fn info(claims: &Map<String, Value>) -> Result<Option<Arc<str>>, TokenError> {
    let Some(info) = claims.get("info").filter(|info| !info.is_null()) else { return Ok(None) };
    let json = info.to_string();
    if json.len() > MAX_INFO_BYTES { Err(TokenError::Claim("info")) } else { Ok(Some(json.into())) }
}

/// Returns what the token grants, if there is anything.
fn grants(claims: &Map<String, Value>) -> Result<Option<Arc<Grants>>, TokenError> {
    let rooms = match claims.get("rooms") {
        None | Some(Value::Null) => Vec::new(),
        Some(rooms) => {
            rooms.as_array().and_then(|list| list.iter().map(grant).collect()).ok_or(TokenError::Claim("rooms"))?
        }
    };
    let grants = Grants { rooms, roles: roles(claims.get("roles")) };
    // The bytes of a token are bounded as well, but by a setting that operators raise.
    if !grants.are_within_limits() {
        return Err(TokenError::Claim("rooms"));
    }
    Ok((!grants.is_empty()).then(|| Arc::new(grants)))
}

/// Reads `{"match": "guild-*", "allow": ["send"]}`; `None` for anything else.
// A word that is no action is an error: who wrote it meant to grant something.
fn grant(value: &Value) -> Option<Grant> {
    let rooms = Pattern::new(value.get("match")?.as_str().filter(|pattern| !pattern.is_empty())?);
    let words = value.get("allow")?.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
    let is_known = words.iter().all(|word| *word == ALL_ACTIONS || Action::parse(word).is_some());
    is_known.then(|| Grant { rooms, rights: parse_actions(&words) })
}

/// Reads names of roles: a text, or the texts of a list.
// Identity providers put roles of other programs there, in other forms, too: those are none of ours.
fn roles(value: Option<&Value>) -> Vec<Arc<str>> {
    match value {
        Some(Value::String(role)) => vec![role.as_str().into()],
        Some(Value::Array(roles)) => roles.iter().filter_map(Value::as_str).map(Arc::from).collect(),
        _ => Vec::new(),
    }
}

/// Returns a claim that is a time, if it is there. Fractions of a second are cut off (RFC 7519
/// allows them).
fn secs(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<u64>, TokenError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let secs = value.as_f64().filter(|secs| (0.0..=MOST_SECS).contains(secs));
    // Within the range, so the conversion only cuts the fraction off.
    secs.map(|secs| Some(secs as u64)).ok_or(TokenError::Claim(claim))
}

/// Returns true if `aud` is the value, or a list that contains it.
fn is_for(audience: Option<&Value>, wanted: &str) -> bool {
    match audience {
        Some(Value::String(one)) => one == wanted,
        // Other values in the list make the claim one that nothing here understands.
        Some(Value::Array(all)) => all.iter().all(Value::is_string) && all.iter().any(|one| one == wanted),
        _ => false,
    }
}
