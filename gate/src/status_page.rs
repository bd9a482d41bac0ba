//! `GET /status`: the servers as this gate sees them, for operators. Reports the known status, and
//! sends no requests.

use axum::http::{HeaderMap, header};
use model::servers::Server;
use model::settings::AdminSettings;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::server_status::{Availability, ServerStatus, Stats};

/// The environment in which strangers may reach a gate.
pub(crate) const PRODUCTION: &str = "production";

/// Access to the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StatusAccess {
    /// Off.
    Off,
    /// Open to every client.
    Open,
    /// Open to clients with the token that has this digest.
    Token([u8; 32]),
}

/// The decision on one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessDecision {
    Shown,
    Hidden,
    WrongToken,
}

impl StatusAccess {
    /// In production only with a token, elsewhere without one, too.
    pub(crate) fn of(environment: &str, AdminSettings { token, .. }: &AdminSettings) -> Self {
        match token.reveal().is_empty() {
            false => Self::Token(digest(token.reveal().as_bytes())),
            true if environment == PRODUCTION => Self::Off,
            true => Self::Open,
        }
    }

    /// Decides if a request with these headers may read the status.
    pub(crate) fn decide(&self, headers: &HeaderMap) -> AccessDecision {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        match self {
            Self::Off => AccessDecision::Hidden,
            Self::Open => AccessDecision::Shown,
            // Digests, so that the duration of the comparison reveals nothing of the token.
            Self::Token(wanted) if given.is_some_and(|given| digest(given) == *wanted) => AccessDecision::Shown,
            Self::Token(_) => AccessDecision::WrongToken,
        }
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The body of `/status`.
#[derive(Debug, Serialize)]
pub(crate) struct StatusPage<'a> {
    pub(crate) environment: &'a str,
    pub(crate) version: &'static str,
    pub(crate) servers: Vec<ServerLine<'a>>,
}

/// One server.
#[derive(Debug, Serialize)]
pub(crate) struct ServerLine<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_port: Option<u16>,
    /// `up`, `closed` (takes no users or rooms), `away` (down); `unknown` for other gates, and for
    /// chat servers that no connector reports.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable_since_ms: Option<u64>,
    /// As text: more digits than JavaScript's numbers have.
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    stats: Option<&'a Stats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_sec: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records_per_sec: Option<f64>,
}

impl<'a> ServerLine<'a> {
    /// The line of a server; `is_me` is this gate.
    pub(crate) fn new((kind, server): (&'a str, &'a Server), status: Option<&'a ServerStatus>, is_me: bool) -> Self {
        let state = match status.map(ServerStatus::availability) {
            Some(Availability::Up) => "up",
            Some(Availability::Closed) => "closed",
            Some(Availability::Down) => "away",
            None if is_me => "up",
            None => "unknown",
        };
        Self {
            id: server.id.as_str(),
            kind,
            host: &server.host,
            // The reported port first: the file may have been edited since the start of the
            // connector.
            client_port: status.and_then(|status| status.self_report.client_port).or(server.client_port),
            state,
            unreachable_since_ms: status.and_then(ServerStatus::down_since),
            incarnation: status
                .and_then(|status| status.self_report.incarnation)
                .map(|incarnation| incarnation.0.to_string()),
            stats: status.and_then(|status| status.self_report.stats.as_ref()),
            requests_per_sec: status.and_then(ServerStatus::requests_per_sec),
            records_per_sec: status.and_then(ServerStatus::records_per_sec),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::settings::Secret;

    use super::*;

    fn decide(environment: &str, token: &str, given: Option<&str>) -> AccessDecision {
        let mut headers = HeaderMap::new();
        if let Some(given) = given {
            headers.insert(header::AUTHORIZATION, given.parse().unwrap());
        }
        StatusAccess::of(
            environment,
            &AdminSettings { token: Secret::new(token.to_owned()), ..AdminSettings::default() },
        )
        .decide(&headers)
    }

    #[test]
    fn in_production_a_token_is_needed() {
        assert_eq!(decide("production", "", None), AccessDecision::Hidden);
        assert_eq!(decide("production", "", Some("Bearer ")), AccessDecision::Hidden);
        assert_eq!(decide("development", "", None), AccessDecision::Shown);
        for environment in ["production", "development"] {
            assert_eq!(decide(environment, "secret", None), AccessDecision::WrongToken);
            assert_eq!(decide(environment, "secret", Some("Bearer secre")), AccessDecision::WrongToken);
            assert_eq!(decide(environment, "secret", Some("secret")), AccessDecision::WrongToken);
            assert_eq!(decide(environment, "secret", Some("Bearer secret")), AccessDecision::Shown);
        }
    }
}
