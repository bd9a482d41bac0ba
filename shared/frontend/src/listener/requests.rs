//! Requests of a client's connection before it is a websocket: the checks of host, origin and
//! limits, and the paths of the role.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use model::network::AddressGroup;
use runtime::config::origin;
use runtime::log_rate_limit::LogRateLimit;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::{REFUSAL, lock, refuse};
use crate::client_stream::ClientStream;
use crate::connection_limit::{ConnectionPermit, Refusal};
use crate::http::{self, End, Progress, Timeouts};
use crate::peer::Peer;
use crate::{Options, websocket};

/// Browsers send it with each request to a trustworthy origin.
const FETCH_SITE: &str = "sec-fetch-site";

/// Carries the stream of a websocket from the HTTP handler to the connection's own task, and the
/// client whose it is.
pub(super) type Handoff = Arc<Mutex<Option<(OnUpgrade, Peer)>>>;

/// A connection, as its HTTP handler knows it.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) peer: Peer,
    /// A proxy's own connection, by its PROXY header: it has no client.
    pub(super) is_for_health: bool,
    /// Held by the connection's task until its session has it, so that the connection counts in the
    /// limits while it is open.
    pub(super) permit: Arc<Mutex<Option<ConnectionPermit>>>,
    pub(super) handoff: Handoff,
    pub(super) refused: Option<Refusal>,
}

/// Serves requests until one is for a websocket, or the server stops.
pub(super) async fn serve_http(
    stream: ClientStream,
    client: Client,
    (progress, options): (Progress, Arc<Options>),
) -> End {
    let times = match client.refused {
        Some(_) => Timeouts { head: REFUSAL, answer: REFUSAL, keep_alive: None },
        None => {
            let head = options.handshake();
            Timeouts { head, answer: head, keep_alive: Some(options.keep_alive()) }
        }
    };
    let stopping = options.lifecycle.stopping();
    let response = move |request| {
        let (client, options) = (client.clone(), options.clone());
        async move {
            let response = respond(request, client, &options).await;
            if response.status().is_client_error() {
                options.metrics.http_refused.add();
            }
            response
        }
    };
    http::serve(stream, (progress, times), response, stopping).await
}

/// Websockets are taken on any path; a role's own HTTP paths come first where the request is no
/// upgrade.
async fn respond(request: Request<Incoming>, client: Client, options: &Options) -> Response {
    let peer = client.peer.client_of(request.headers(), &options.frontend.trusted_proxies);
    if let Some(refusal) = client.refused
        // A full server must not look dead to the supervisor on its own machine.
        && !(options.http.is_some() && is_local_request(&request, peer))
    {
        return refusal_response(refusal);
    }
    if let Some(host) = foreign_host(request.headers(), peer, options) {
        options.metrics.connections_refused.host.add();
        static FOREIGN: LogRateLimit = LogRateLimit::new();
        if let Some(suppressed) = FOREIGN.pass() {
            warn!(peer = %peer.address, host, suppressed, "a request was refused by its host; to accept it, add it to frontend.hosts");
        }
        return (StatusCode::MISDIRECTED_REQUEST, "this server has another name").into_response();
    }
    if websocket::is_requested(request.headers()) {
        return upgrade(request, peer, &client, options);
    }
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(peer);
    serve_role(options, Request::from_parts(parts, Body::new(body))).await
}

/// Returns the host that a request calls this server, if it may not.
fn foreign_host<'a>(headers: &'a HeaderMap, peer: Peer, options: &Options) -> Option<&'a str> {
    let host = websocket::text(headers, &header::HOST)?;
    let Options { frontend, server_list, .. } = options;
    // Other programs choose the address themselves: only a page can be made to connect elsewhere.
    let is_page = headers.contains_key(header::ORIGIN) || headers.contains_key(FETCH_SITE);
    let is_outside = !is_page || AddressGroup::of(peer.address.ip()).is_public();
    let known = (&*server_list.now(), &frontend.allowed_origins[..]);
    (!origin::is_host_allowed(host, &frontend.hosts, known, is_outside)).then_some(host)
}

/// Returns true for a request of a program on this machine that is not for a websocket.
fn is_local_request(request: &Request<Incoming>, peer: Peer) -> bool {
    peer.address.ip().to_canonical().is_loopback() && !websocket::is_requested(request.headers())
}

fn refusal_response(refusal: Refusal) -> Response {
    (refusal.status(), [(header::RETRY_AFTER, "1")], "too many connections").into_response()
}

fn upgrade_required(why: &str) -> Response {
    let upgrade =
        [(header::CONNECTION, "upgrade"), (header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_VERSION, "13")];
    (StatusCode::UPGRADE_REQUIRED, upgrade, why.to_owned()).into_response()
}

fn upgrade(mut request: Request<Incoming>, peer: Peer, client: &Client, options: &Options) -> Response {
    let response = match websocket::respond(&request) {
        Ok(response) => response,
        Err(error) => {
            static INCOMPLETE: LogRateLimit = LogRateLimit::new();
            if let Some(suppressed) = INCOMPLETE.pass() {
                let what =
                    "a websocket was refused; if a proxy is before this server, it must pass on Upgrade and Connection";
                warn!(peer = %peer.address, %error, suppressed, "{what}");
            }
            return upgrade_required(&format!("no websocket: {error}; does a proxy drop Upgrade or Connection?"));
        }
    };
    if client.is_for_health {
        return (StatusCode::FORBIDDEN, "the PROXY header names no client").into_response();
    }
    let headers = request.headers();
    let (page, host) = (websocket::text(headers, &header::ORIGIN), websocket::text(headers, &header::HOST));
    if !origin::is_allowed(page, host, &options.server_list.now(), &options.frontend.allowed_origins) {
        options.metrics.connections_refused.origin.add();
        static FOREIGN: LogRateLimit = LogRateLimit::new();
        debug!(origin = page, "page refused");
        if let Some(suppressed) = FOREIGN.pass() {
            warn!(
                origin = page,
                suppressed, "a page was refused; to let it in, add its origin to frontend.allowed_origins"
            );
        }
        return (StatusCode::FORBIDDEN, "pages of this origin may not connect").into_response();
    }
    // Behind a proxy the client is known only now.
    let resolved = lock(&client.permit).as_mut().map_or(Ok(()), |permit| permit.resolve(peer));
    if let Err(refusal) = resolved {
        refuse(peer, refusal, options);
        return refusal_response(refusal);
    }
    *lock(&client.handoff) = Some((hyper::upgrade::on(&mut request), peer));
    response
}

/// Serves a request that is not for a websocket.
async fn serve_role(options: &Options, request: axum::extract::Request) -> Response {
    let Some(http) = &options.http else {
        return upgrade_required("connect with a Pomelo client over a websocket");
    };
    match http.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
