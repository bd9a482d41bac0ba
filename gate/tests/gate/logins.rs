//! Tokens that a gate reads.

use model::settings::AuthMode;
use node::auth::{TokenRequest, issue};
use testkit::Scratch;

use super::*;

/// Settings with which the gate reads tokens, signed with the key in a file of `scratch`.
fn with_tokens(settings: &mut Settings, scratch: &Scratch, mode: AuthMode) {
    settings.auth.hmac_file = scratch.file("key", "0123456789abcdef0123456789abcdef");
    (settings.auth.mode, settings.auth.gate) = (mode, true);
}

/// The port for a client of the gate over HTTP, or the status.
async fn port_with(fixture: &GateFixture, path: &str, authorization: Option<&str>) -> Result<u64, (u16, String)> {
    let header = authorization.map(|value| format!("Authorization: {value}"));
    let headers: Vec<&str> = ["Host: game.example"].into_iter().chain(header.as_deref()).collect();
    let HttpResponse { status, body, .. } = http_get(fixture.address, path, &headers).await.unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    if status == 200 {
        return Ok(body["port"].as_u64().unwrap());
    }
    let (word, _) = body["reason"].as_str().unwrap().split_once(':').unwrap();
    Err((status, word.to_owned()))
}

#[tokio::test]
async fn a_gate_that_reads_tokens_places_by_the_user() {
    let scratch = Scratch::new();
    let fixture = GateFixture::start(|settings| with_tokens(settings, &scratch, AuthMode::Required)).await;
    let _connectors = fixture.start_connectors().await;
    let of_alice = TokenRequest { sub: "alice", name: Some("Alice"), secs: 60, roles: &[] };
    let token = issue(&fixture.node.settings.auth, &of_alice).unwrap();
    let bearer = format!("bearer {token}");
    let is_home = async || port_with(&fixture, "/entry", Some(&bearer)).await == Ok(HOME.into());
    eventually(DEADLINE, "the connector of alice", is_home).await;
    assert_eq!(
        port_with(&fixture, "/entry?uid=bob", Some(&bearer)).await,
        Ok(HOME.into()),
        "the request's uid does not count"
    );
    let refused = |word: &str| Err((401, word.to_owned()));
    assert_eq!(port_with(&fixture, "/entry?uid=alice", None).await, refused("token-missing"));
    for bad in ["Bearer x", "Basic YTpi", "Bearer", &format!("Bearer {token}x")] {
        assert_eq!(port_with(&fixture, "/entry?uid=alice", Some(bad)).await, refused("token-bad"), "{bad}");
    }
    let query = format!("/entry?uid=alice&jwt={token}&token={token}&access_token={token}");
    assert_eq!(port_with(&fixture, &query, None).await, refused("token-missing"), "no token is read from a URL");

    let (mut client, handshake) =
        WebsocketClient::connect_with(&fixture, &json!({"sys": {}, "user": {"jwt": token}})).await;
    assert_eq!(handshake["user"]["uid"], "alice", "{handshake}");
    assert_eq!(client.request(routes::QUERY_ENTRY, b"{}").await["port"], json!(HOME));
    let (mut client, _) = WebsocketClient::connect(&fixture).await;
    let response = client.request(routes::QUERY_ENTRY, br#"{"uid":"alice"}"#).await;
    assert_eq!((&response["code"], &response["error"]), (&json!(401), &json!(true)), "{response}");
}

#[tokio::test]
async fn where_tokens_are_optional_a_gate_places_the_others_by_their_uid() {
    let scratch = Scratch::new();
    let fixture = GateFixture::start(|settings| with_tokens(settings, &scratch, AuthMode::Optional)).await;
    let _connectors = fixture.start_connectors().await;
    fixture.wait_until_alice_gets(Ok(HOME)).await;
    let bad = port_with(&fixture, "/entry?uid=alice", Some("Bearer x")).await;
    assert_eq!(bad, Err((401, "token-bad".to_owned())), "a bad token never makes an anonymous client");
}
