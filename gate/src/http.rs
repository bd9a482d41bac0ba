//! The gate over HTTP: the same question, for clients that would rather not open a websocket for it.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use shared::admin;
use shared::config::Settings;
use shared::config::settings::FrontendSettings;
use shared::frontend::{ErrorBody, origin};

use crate::app::Desk;
use crate::entry::EntryError;
use crate::page;
use crate::status_page::{Access, Line, Status, Verdict};

/// What the gate is, for somebody who opens it in a browser, where there is no page.
const ABOUT: &str = "This is a Shaddock gate. Connect with a Pomelo client over a websocket, or ask GET /entry?uid=NAME \
                     which connector to use.\n";

/// What may be done with `/entry`.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// Seconds that a browser may remember what it was answered to a preflight.
const PREFLIGHT_AGE: &str = "600";

#[derive(Clone)]
struct Shelf {
    desk: Desk,
    settings: Arc<FrontendSettings>,
    access: Access,
}

/// The gate's HTTP paths. Pages of the same origins may ask that may open websockets.
pub(crate) fn router(desk: Desk, settings: &Settings) -> Router {
    let access = Access::of(&desk.environment, &settings.admin);
    let shelf = Shelf { desk, settings: Arc::new(settings.frontend.clone()), access };
    let front =
        if settings.gate.demo_page { page::router() } else { Router::new().route("/", get(|| async { ABOUT })) };
    front.route("/entry", any(entry)).route("/status", get(status)).with_state(shelf)
}

/// Of no page's business: there are no headers for other origins.
async fn status(State(Shelf { desk, access, .. }): State<Shelf>, headers: HeaderMap) -> Response {
    match access.judge(&headers) {
        Verdict::Hidden => StatusCode::NOT_FOUND.into_response(),
        Verdict::WrongToken => (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response(),
        Verdict::Shown => {
            let (servers, known) = (desk.server_list.now(), desk.health.all());
            let line = |(kind, server)| Line::new((kind, server), known.get(&server.id), server.id == desk.me);
            let servers = servers.all().map(line).collect();
            let (environment, version) = (&*desk.environment, env!("CARGO_PKG_VERSION"));
            admin::uncached(Json(Status { environment, version, servers }))
        }
    }
}

/// Every answer says to the page that asked that it may read it, the ones that refuse, too.
async fn entry(State(shelf): State<Shelf>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let Some(page) = allowed_page(&shelf, &headers) else {
        return refused(StatusCode::FORBIDDEN, &"bad-origin: pages of this origin may not ask");
    };
    let mut response = match method {
        Method::GET | Method::HEAD => match shelf.desk.entry(uid_of(&uri)) {
            Ok(entry) => Json(entry).into_response(),
            Err(error @ EntryError::BadUid) => refused(StatusCode::BAD_REQUEST, &error),
            Err(error @ EntryError::NoConnector) => refused(StatusCode::SERVICE_UNAVAILABLE, &error),
        },
        Method::OPTIONS => preflight(&headers),
        _ => {
            let response = refused(StatusCode::METHOD_NOT_ALLOWED, &"bad-method: ask with GET");
            ([(header::ALLOW, METHODS)], response).into_response()
        }
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(page) = page {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// The user of a question; there must be one. Other parameters are none of ours.
fn uid_of(uri: &Uri) -> Result<String, EntryError> {
    let Query(parameters) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| EntryError::BadUid)?;
    let mut uids = parameters.into_iter().filter(|(name, _)| name == "uid").map(|(_, uid)| uid);
    uids.next().filter(|_| uids.next().is_none()).ok_or(EntryError::BadUid)
}

fn refused(status: StatusCode, reason: &impl ToString) -> Response {
    (status, Json(ErrorBody { code: 500, error: true, reason: &reason.to_string() })).into_response()
}

/// A browser asks whether a page may ask with headers of its own. It may: they are not looked at.
fn preflight(headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let answer = response.headers_mut();
    answer.insert(header::ALLOW, HeaderValue::from_static(METHODS));
    if headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
        if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        answer.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    }
    response
}

/// `None` if the page may not ask; else its origin, if it is a page at all.
fn allowed_page(shelf: &Shelf, headers: &HeaderMap) -> Option<Option<HeaderValue>> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    let (page, host) = (text(header::ORIGIN), text(header::HOST));
    origin::is_allowed(page, host, &shelf.desk.server_list.now(), &shelf.settings.allowed_origins)
        .then(|| headers.get(header::ORIGIN).cloned())
}
