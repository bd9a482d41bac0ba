//! `/entry` as pages and proxies use it: preflights, unrelated parameters, upgrades that lost a
//! header.

use serde_json::{Value, json};
use testkit::http_request;

use crate::{GateFixture, HOME};

const SHOP: &str = "https://shop.example";

/// A gate with the shop's pages allowed.
async fn fixture() -> GateFixture {
    GateFixture::start(|settings| settings.frontend.allowed_origins = vec![SHOP.to_owned()]).await
}

impl GateFixture {
    /// The status, the head in small letters, and the body.
    async fn request(&self, method: &str, path: &str, headers: &[&str]) -> (u16, String, String) {
        let headers = [&["Host: game.example"], headers].concat();
        let response = http_request(self.address, method, path, &headers).await.unwrap();
        (response.status, response.head.to_ascii_lowercase(), response.body)
    }
}

#[tokio::test]
async fn a_preflight_of_an_allowed_page_is_answered() {
    let fixture = fixture().await;
    let origin = format!("Origin: {SHOP}");
    let asks = ["Access-Control-Request-Method: GET", "Access-Control-Request-Headers: x-requested-with,content-type"];
    let (status, head, body) = fixture.request("OPTIONS", "/entry", &[&origin, asks[0], asks[1]]).await;
    assert_eq!((status, body.as_str()), (204, ""), "{head}");
    for header in [
        "access-control-allow-origin: https://shop.example\r\n",
        "access-control-allow-methods: get, head, options\r\n",
        "access-control-allow-headers: x-requested-with,content-type\r\n",
        "access-control-max-age: ",
        "vary: origin",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    let (status, head, _) = fixture.request("OPTIONS", "/entry", &["Origin: http://evil.example", asks[0]]).await;
    assert_eq!(status, 403);
    assert!(!head.contains("access-control"), "{head}");
    let (status, head, _) = fixture.request("OPTIONS", "/entry", &[]).await;
    assert_eq!(status, 204);
    assert!(head.contains("allow: get, head, options") && !head.contains("access-control"), "{head}");
}

#[tokio::test]
async fn every_refusal_is_the_documented_json() {
    let fixture = fixture().await;
    let origin = format!("Origin: {SHOP}");
    for (method, path, status, reason) in [
        ("GET", "/entry", 400, "bad-uid: "),
        ("GET", "/entry?uid=a&uid=b", 400, "bad-uid: "),
        ("GET", "/entry?uid=a&uid", 400, "bad-uid: "),
        ("GET", "/entry?uid=", 400, "bad-uid: "),
        ("GET", "/entry?UID=a", 400, "bad-uid: "),
        ("POST", "/entry?uid=a", 405, "bad-method: "),
        ("DELETE", "/entry?uid=a", 405, "bad-method: "),
    ] {
        let (found, head, body) = fixture.request(method, path, &[&origin]).await;
        assert_eq!(found, status, "{method} {path}: {body}");
        assert!(head.contains("access-control-allow-origin: https://shop.example\r\n"), "{method} {path}: {head}");
        assert!(head.contains("content-type: application/json"), "{method} {path}: {head}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&body["code"], &body["error"]), (&json!(500), &json!(true)), "{method} {path}");
        assert!(body["reason"].as_str().unwrap().starts_with(reason), "{method} {path}: {body}");
    }
    let (status, _, body) = fixture.request("GET", "/entry?uid=a", &["Origin: http://evil.example"]).await;
    assert_eq!(status, 403);
    assert!(serde_json::from_str::<Value>(&body).unwrap()["reason"].as_str().unwrap().starts_with("bad-origin: "));
}

#[tokio::test]
async fn other_parameters_are_ignored() {
    let fixture = fixture().await;
    let _connectors = fixture.start_connectors().await;
    fixture.wait_until_alice_gets(Ok(HOME)).await;
    let (status, _, body) = fixture.request("GET", "/entry?x=1&x=2&uid=alice&y", &[]).await;
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()["port"].as_u64()), (200, Some(HOME.into())));
}

/// Proxies do not pass on `Upgrade` and `Connection` unless they are configured to.
#[tokio::test]
async fn an_upgrade_that_lost_a_header_is_no_page() {
    let fixture = fixture().await;
    let (key, version) = ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13");
    let (connection, upgrade) = ("Connection: upgrade", "Upgrade: websocket");
    for headers in [
        &[key, version][..],
        &[key, version, connection],
        &[key, version, upgrade],
        &[upgrade, connection, version],
        &[upgrade, connection, key],
        &[upgrade, connection, key, "Sec-WebSocket-Version: 8"],
        &[upgrade],
    ] {
        for path in ["/", "/entry?uid=a", "/any/path"] {
            let (status, head, body) = fixture.request("GET", path, headers).await;
            assert_eq!(status, 426, "{headers:?} {path}: {body}");
            for header in ["upgrade: websocket\r\n", "sec-websocket-version: 13\r\n"] {
                assert!(head.contains(header), "{head}");
            }
        }
    }
    // These are none.
    for headers in [&[connection][..], &["Upgrade: h2c", "Connection: upgrade, http2-settings", "HTTP2-Settings: "]] {
        assert_eq!(fixture.request("GET", "/", headers).await.0, 200, "{headers:?}");
    }
}

/// A proxy on the same machine is a local peer, and nginx adds no `X-Forwarded-For` unless it is
/// configured to.
#[tokio::test]
async fn in_production_clients_and_proxies_get_no_metrics() {
    let fixture = GateFixture::start_in("production", |_| {}).await;
    for headers in [&[][..], &["X-Forwarded-For: 192.0.2.1"], &["X-Real-IP: 192.0.2.1"]] {
        for path in ["/metrics", "/metrics?x", "//metrics", "/metrics/"] {
            assert_eq!(fixture.request("GET", path, headers).await.0, 404, "{path} {headers:?}");
        }
    }
    assert_eq!(fixture.request("GET", "/healthz", &[]).await.0, 200);
    // No connector has answered.
    assert_eq!(fixture.request("GET", "/readyz", &[]).await.0, 503);
    assert_eq!(GateFixture::start(|_| {}).await.request("GET", "/metrics", &[]).await.0, 200);
}
