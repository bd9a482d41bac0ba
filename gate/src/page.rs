//! The demo page: its files, embedded in the program, and the headers that keep it harmless. Knows
//! nothing of gates.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

/// The permissions of the page: to run its own scripts, show its own images, and connect to
/// connectors on any host. It has no sink for HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src ws: wss:; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type and text of each file.
const FILES: [(&str, &str, &str); 11] = [
    ("/", "text/html; charset=utf-8", include_str!("../../web/index.html")),
    ("/chat.css", "text/css; charset=utf-8", include_str!("../../web/chat.css")),
    ("/chat.js", SCRIPT, include_str!("../../web/chat.js")),
    ("/members.js", SCRIPT, include_str!("../../web/members.js")),
    ("/moderation.js", SCRIPT, include_str!("../../web/moderation.js")),
    ("/permission.js", SCRIPT, include_str!("../../web/permission.js")),
    ("/texts.js", SCRIPT, include_str!("../../web/texts.js")),
    ("/timeline.js", SCRIPT, include_str!("../../web/timeline.js")),
    ("/pomelo-client.js", SCRIPT, include_str!("../../web/pomelo-client.js")),
    ("/icon.svg", "image/svg+xml", include_str!("../../web/icon.svg")),
    // Browsers request it where a document names no icon, and log an error if there is none.
    ("/favicon.ico", "image/svg+xml", include_str!("../../web/icon.svg")),
];

/// The page at `/`, and the files that it loads. Browsers revalidate each file every time.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        let tag: Arc<str> = tag(text).into();
        router.route(path, get(async move |headers: HeaderMap| file(&headers, kind, text, &tag)))
    })
}

/// Names a text: another one has another name.
fn tag(text: &str) -> String {
    let digest = Sha256::digest(text);
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

fn file(request: &HeaderMap, kind: &'static str, text: &'static str, tag: &str) -> Response {
    let is_known = request.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { text.into_response() };
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE, kind),
        // Revalidated each time, so that the files of a new release are used at once.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_sent_once() {
        let text = FILES[0].2;
        let first = file(&HeaderMap::new(), "text/html", text, &tag(text));
        assert_eq!(first.status(), StatusCode::OK);
        let mut request = HeaderMap::new();
        request.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(file(&request, "text/html", text, &tag(text)).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(file(&request, "text/html", "another", &tag("another")).status(), StatusCode::OK);
    }
}
