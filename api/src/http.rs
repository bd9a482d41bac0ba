//! The API over HTTP: one handler for all routes, which makes a command of path, query and body.

mod body;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, Query, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, get, on};
use axum::{Extension, Router};
use frontend::Peer;
use model::settings::ApiSettings;
use runtime::metrics::Metrics;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use utoipa::openapi::HttpMethod;

use crate::access::Access;
use crate::command::Kind;
use crate::idempotency::{self, IdempotencyKey};
use crate::openapi;
use crate::refused::{self, Refused};
use crate::service::Service;

use body::BodyMemory;

/// Begins the paths of all routes.
pub(crate) const PREFIX: &str = "/v1";

const NO_PATH: Refused = Refused::new(404, "no-such-path: there is no such route; GET /v1/openapi.json lists all");
const NO_METHOD: Refused = Refused::new(405, "bad-method: the route has no such method");
const BAD_PATH: Refused = Refused::new(400, "bad-path: a part of the path is not UTF-8");
const NO_QUERY: Refused = Refused::new(400, "bad-query: the route takes its members in the body");
const BAD_QUERY: Refused = Refused::new(400, "bad-query: the query must be pairs of a name and a value, in UTF-8");

/// The parts that all requests share.
#[derive(Clone)]
pub(crate) struct HttpState {
    service: Service,
    access: Arc<Access>,
    places: Arc<Semaphore>,
    memory: BodyMemory,
    metrics: Arc<Metrics>,
}

impl HttpState {
    /// `places` are those for requests, over HTTP and over the bus together.
    pub(crate) fn new(
        service: Service,
        access: Arc<Access>,
        places: Arc<Semaphore>,
        (settings, metrics): (&ApiSettings, Arc<Metrics>),
    ) -> Self {
        Self { service, access, places, memory: BodyMemory::new(settings.max_queued_bytes), metrics }
    }
}

/// All routes of the API.
pub(crate) fn router(state: HttpState) -> Router {
    let routes = Kind::ALL.iter().fold(Router::new(), |router, kind| {
        let handler = move |State(state): State<HttpState>, Extension(peer): Extension<Peer>, request: Request| {
            respond(state, peer, *kind, request)
        };
        router.route(&format!("{PREFIX}{}", kind.path()), on(filter(&kind.method()), handler))
    });
    let document = || async { ([(header::CONTENT_TYPE, "application/json")], openapi::text()) };
    routes
        .route(&format!("{PREFIX}/openapi.json"), get(document))
        .fallback(|| async { refuse(&NO_PATH) })
        .method_not_allowed_fallback(|| async { refuse(&NO_METHOD) })
        .with_state(state)
}

fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Delete => MethodFilter::DELETE,
        // No command has another one; a route for reading does no harm.
        _ => MethodFilter::GET,
    }
}

/// Returns true if the members of such a request come from its body, not from the query.
pub(crate) fn has_body(kind: Kind) -> bool {
    matches!(kind.method(), HttpMethod::Post | HttpMethod::Put)
}

async fn respond(state: HttpState, peer: Peer, kind: Kind, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let result = execute(&state, peer, kind, (&mut parts, body)).await;
    refused::count(&result, &state.metrics.api_responses);
    match result {
        Ok(value) => json_response(StatusCode::OK, &value),
        Err(refused) => refuse(&refused),
    }
}

async fn execute(
    state: &HttpState,
    peer: Peer,
    kind: Kind,
    (parts, body): (&mut Parts, Body),
) -> Result<Value, Refused> {
    let _place = state.places.try_acquire().map_err(|_| refused::TOO_MANY_REQUESTS)?;
    let keys = parts.headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let key = state.access.key_of(keys, peer.address.ip())?;
    // Before the body: a client that may not do this at all does not get to send one.
    kind.need().check(&key)?;
    let idempotency = idempotency_key(parts)?;
    let mut members = path_members(parts).await?;
    // Held until the response: the parsed body is in memory until then.
    let (_memory, more) = if has_body(kind) {
        if parts.uri.query().is_some_and(|query| !query.is_empty()) {
            return Err(NO_QUERY);
        }
        state.memory.read(&parts.headers, body).await?
    } else {
        body::check_absent(&parts.headers)?;
        (None, query_members(parts)?)
    };
    for (name, value) in more {
        insert(&mut members, name, value)?;
    }
    state.service.execute(key, kind, members, idempotency).await
}

/// Returns the idempotency key of a request, or makes one.
fn idempotency_key(parts: &Parts) -> Result<IdempotencyKey, Refused> {
    let mut values = parts.headers.get_all(HeaderName::from_static(idempotency::HEADER)).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(IdempotencyKey::random(rand::random())),
        (Some(value), None) => IdempotencyKey::new(value.to_str().unwrap_or_default()),
        (Some(_), Some(_)) => Err(Refused::new(400, "bad-idempotency-key: send one Idempotency-Key")),
    }
}

async fn path_members(parts: &mut Parts) -> Result<Map<String, Value>, Refused> {
    let found: Result<RawPathParams, RawPathParamsRejection> = RawPathParams::from_request_parts(parts, &()).await;
    let found = found.map_err(|_| BAD_PATH)?;
    Ok(found.iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
}

fn query_members(parts: &Parts) -> Result<Map<String, Value>, Refused> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|_| BAD_QUERY)?;
    let mut members = Map::new();
    for (name, value) in pairs {
        insert(&mut members, name, value.into())?;
    }
    Ok(members)
}

/// Adds a member, which may be there only once.
fn insert(members: &mut Map<String, Value>, name: String, value: Value) -> Result<(), Refused> {
    if members.contains_key(&name) {
        return Err(Refused::bad("bad-body", format!("{name:?} is given twice")));
    }
    members.insert(name, value);
    Ok(())
}

fn refuse(refused: &Refused) -> Response {
    let Refused { code, reason } = refused;
    let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_response(status, &json!({ "code": code, "reason": reason }));
    let headers = response.headers_mut();
    if let Some(secs) = refused.retry_after() {
        headers.insert(header::RETRY_AFTER, secs.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::REQUEST_TIMEOUT {
        // The rest of the body would be read as the next request.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, value.to_string()).into_response()
}
