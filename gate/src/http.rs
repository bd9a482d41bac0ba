//! The gate over HTTP: the same request, for clients that need no websocket for it.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use frontend::ErrorBody;
use frontend::admin;
use model::identity::Principal;
use model::settings::{FrontendSettings, Settings};
use runtime::config::origin;

use crate::entry::{self, EntryError};
use crate::page;
use crate::session_handler::GateState;
use crate::status_page::{AccessDecision, ServerLine, StatusAccess, StatusPage};

/// Response to a browser that opens the gate while the demo page is off.
const ABOUT: &str = "This is a Shaddock gate. Connect with a Pomelo client over a websocket, or ask GET /entry?uid=NAME \
                     which connector to use.\n";

/// Methods of `/entry`.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// Seconds that a browser may remember what it was answered to a preflight.
const PREFLIGHT_AGE: &str = "600";

#[derive(Clone)]
struct HttpState {
    gate: GateState,
    settings: Arc<FrontendSettings>,
    access: StatusAccess,
}

/// The gate's HTTP paths. Pages whose origin may open websockets may also send these requests.
pub(crate) fn router(gate: GateState, settings: &Settings) -> Router {
    let access = StatusAccess::of(&gate.environment, &settings.admin);
    let state = HttpState { gate, settings: Arc::new(settings.frontend.clone()), access };
    let front =
        if settings.gate.demo_page { page::router() } else { Router::new().route("/", get(|| async { ABOUT })) };
    front.route("/entry", any(respond_entry)).route("/status", get(status)).with_state(state)
}

/// Of no page's business: there are no headers for other origins.
async fn status(State(HttpState { gate, access, .. }): State<HttpState>, headers: HeaderMap) -> Response {
    match access.decide(&headers) {
        AccessDecision::Hidden => StatusCode::NOT_FOUND.into_response(),
        AccessDecision::WrongToken => {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response()
        }
        AccessDecision::Shown => {
            let (servers, statuses) = (gate.server_list.now(), gate.statuses.all());
            let line = |(kind, server)| ServerLine::new((kind, server), statuses.get(&server.id), server.id == gate.me);
            let servers = servers.all().map(line).collect();
            let (environment, version) = (&*gate.environment, env!("CARGO_PKG_VERSION"));
            admin::no_store(Json(StatusPage { environment, version, servers }))
        }
    }
}

/// Every response, refusals included, allows the page that sent the request to read it.
async fn respond_entry(State(state): State<HttpState>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let Some(page) = allowed_page(&state, &headers) else {
        return error_response(StatusCode::FORBIDDEN, &"bad-origin: pages of this origin may not ask");
    };
    let mut response = match method {
        Method::GET | Method::HEAD => {
            let uid = log_in(&state.gate, &headers)
                .await
                .and_then(|user| entry::place_by(user.as_ref(), state.gate.needs_token, || uid_of(&uri)));
            match state.gate.entry(uid) {
                Ok(entry) => Json(entry).into_response(),
                Err(error) => refuse(&error),
            }
        }
        Method::OPTIONS => preflight(&headers),
        _ => {
            let response = error_response(StatusCode::METHOD_NOT_ALLOWED, &"bad-method: ask with GET");
            ([(header::ALLOW, METHODS)], response).into_response()
        }
    };
    // The choice depends on the connectors that are up now.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(page) = page {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// The `uid` of a request; there must be exactly one. Other parameters are ignored.
fn uid_of(uri: &Uri) -> Result<String, EntryError> {
    let Query(parameters) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| EntryError::BadUid)?;
    let mut uids = parameters.into_iter().filter(|(name, _)| name == "uid").map(|(_, uid)| uid);
    uids.next().filter(|_| uids.next().is_none()).ok_or(EntryError::BadUid)
}

/// Returns the user of the token in `Authorization`, if the gate reads tokens and there is one.
async fn log_in(gate: &GateState, headers: &HeaderMap) -> Result<Option<Principal>, EntryError> {
    let Some(value) = headers.get(header::AUTHORIZATION).filter(|_| gate.auth.is_on()) else { return Ok(None) };
    // Another scheme, or bytes that are no text, make no token that can be right, and are no reason
    // to take the client for anonymous.
    let token = value.to_str().ok().and_then(bearer).unwrap_or_default();
    gate.auth.log_in(token).await.map(Some).map_err(EntryError::Login)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refuse(error: &EntryError) -> Response {
    let status = match error {
        EntryError::BadUid => StatusCode::BAD_REQUEST,
        EntryError::NoConnector => StatusCode::SERVICE_UNAVAILABLE,
        EntryError::Login(refusal) if refusal.code() == 503 => StatusCode::SERVICE_UNAVAILABLE,
        EntryError::Login(_) => StatusCode::UNAUTHORIZED,
    };
    let reason = error.to_string();
    let body = ErrorBody::new(error.code(), true, &reason);
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn error_response(status: StatusCode, reason: &impl ToString) -> Response {
    (status, Json(ErrorBody::new(500, true, &reason.to_string()))).into_response()
}

/// Responds to a preflight, and allows all headers that the page names.
fn preflight(headers: &HeaderMap) -> Response {
    // The gate reads none of these headers but `Authorization`, with a token that the page has.
    let mut response = StatusCode::NO_CONTENT.into_response();
    let allowed = response.headers_mut();
    allowed.insert(header::ALLOW, HeaderValue::from_static(METHODS));
    if headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        allowed.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        allowed.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
        if let Some(requested) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            allowed.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
        }
        allowed.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    }
    response
}

/// `None` if the page may not send requests; else its origin, if it is a page at all.
fn allowed_page(state: &HttpState, headers: &HeaderMap) -> Option<Option<HeaderValue>> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    let (page, host) = (text(header::ORIGIN), text(header::HOST));
    origin::is_allowed(page, host, &state.gate.server_list.now(), &state.settings.allowed_origins)
        .then(|| headers.get(header::ORIGIN).cloned())
}
