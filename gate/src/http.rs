//! The gate over HTTP: the same question, for clients that would rather not open a websocket for it.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use shared::admin;
use shared::config::Settings;
use shared::config::settings::FrontendSettings;
use shared::frontend::{ErrorBody, origin};

use crate::app::Desk;
use crate::entry::EntryError;
use crate::page;
use crate::status::{Access, Line, Status, Verdict};

/// What the gate is, for somebody who opens it in a browser, where there is no page.
const ABOUT: &str = "This is a Shaddock gate. Connect with a Pomelo client over a websocket, or ask GET /entry?uid=NAME \
                     which connector to use.\n";

#[derive(Deserialize)]
struct Question {
    uid: Option<String>,
}

#[derive(Clone)]
struct Shelf {
    desk: Desk,
    hosts: Arc<[String]>,
    settings: Arc<FrontendSettings>,
    access: Access,
}

/// The gate's HTTP paths. Pages of the same origins may ask that may open websockets.
pub(crate) fn router(desk: Desk, hosts: Arc<[String]>, settings: &Settings) -> Router {
    let access = Access::of(&desk.environment, &settings.admin);
    let shelf = Shelf { desk, hosts, settings: Arc::new(settings.frontend.clone()), access };
    let front =
        if settings.gate.demo_page { page::router() } else { Router::new().route("/", get(|| async { ABOUT })) };
    front.route("/entry", get(entry)).route("/status", get(status)).with_state(shelf)
}

/// Of no page's business: there are no headers for other origins.
async fn status(State(Shelf { desk, access, .. }): State<Shelf>, headers: HeaderMap) -> Response {
    match access.judge(&headers) {
        Verdict::Hidden => StatusCode::NOT_FOUND.into_response(),
        Verdict::WrongToken => (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response(),
        Verdict::Shown => {
            let (servers, known) = (desk.roster.now(), desk.health.all());
            let line = |(kind, server)| Line::new((kind, server), known.get(&server.id), server.id == desk.me);
            let servers = servers.all().map(line).collect();
            let (environment, version) = (&*desk.environment, env!("CARGO_PKG_VERSION"));
            admin::uncached(Json(Status { environment, version, servers }))
        }
    }
}

async fn entry(State(shelf): State<Shelf>, headers: HeaderMap, Query(question): Query<Question>) -> Response {
    let Some(page) = allowed_page(&shelf, &headers) else {
        return (StatusCode::FORBIDDEN, "pages of this origin may not ask\n").into_response();
    };
    let mut response = match shelf.desk.entry(question.uid.ok_or(EntryError::BadUid)) {
        Ok(entry) => Json(entry).into_response(),
        Err(error) => {
            let status = match error {
                EntryError::BadUid => StatusCode::BAD_REQUEST,
                EntryError::NoConnector => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, Json(ErrorBody { code: 500, error: true, reason: &error.to_string() })).into_response()
        }
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(page) = page {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// `None` if the page may not ask; else its origin, if it is a page at all.
fn allowed_page(shelf: &Shelf, headers: &HeaderMap) -> Option<Option<HeaderValue>> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    let (page, host) = (text(header::ORIGIN), text(header::HOST));
    origin::is_allowed(page, host, &shelf.hosts, &shelf.settings.allowed_origins)
        .then(|| headers.get(header::ORIGIN).cloned())
}
