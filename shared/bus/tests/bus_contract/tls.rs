//! TLS against real servers: trust, and the remedy in the error where the two ends do not agree.

use std::time::Duration;

use bus::BusError;
use model::settings::NatsSettings;
use testkit::{Certificates, NatsServer};
use tokio::time::Instant;

use crate::sign_in::{is_let_in, refusal, settings};

/// A server with this certificate and key.
async fn with_tls((certificate, key): (String, String), authority: &str, more: &[&str]) -> NatsServer {
    let options = ["--tls", "--tlscert", &certificate, "--tlskey", &key, "--tlscacert", authority];
    NatsServer::start_with(&[&options, more].concat()).await
}

fn trusting(certificates: &Certificates) -> NatsSettings {
    settings(|nats| nats.tls_ca_file = certificates.authority_file())
}

/// The attempt must end at once, also for a process that would wait for a broker, with a remedy
/// that names `part`.
async fn is_named(server: &NatsServer, settings: NatsSettings, part: &str) {
    let began = Instant::now();
    for wait_for_broker in [false, true] {
        let refused = refusal(server.url(), &NatsSettings { wait_for_broker, ..settings.clone() }).await;
        assert!(matches!(&refused, BusError::Tls { .. }), "{refused}");
        let text = refused.to_string();
        assert!(text.contains(part) && text.contains(server.address()), "{part}: {text}");
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_server_is_known_by_its_authority() {
    let (ours, other) = (Certificates::new(), Certificates::new());
    let server = with_tls(ours.issue("server"), &ours.authority_file(), &[]).await;
    is_let_in(server.url(), &trusting(&ours)).await;
    is_named(&server, trusting(&other), "nats.tls_ca_file").await;
    // The system's authorities, which do not know ours.
    is_named(&server, settings(|_| {}), "nats.tls_ca_file").await;
}

#[tokio::test]
async fn a_server_is_known_by_its_name() {
    let ours = Certificates::new();
    let server = with_tls(ours.issue_to("server", "nats.example.org"), &ours.authority_file(), &[]).await;
    is_named(&server, trusting(&ours), "must name the host").await;
}

#[tokio::test]
async fn a_certificate_that_is_too_old_is_named() {
    let ours = Certificates::new();
    let server = with_tls(ours.issue_expired("server"), &ours.authority_file(), &[]).await;
    is_named(&server, trusting(&ours), "renew the server's certificate").await;
}

#[tokio::test]
async fn we_are_known_by_our_certificate() {
    let (ours, other) = (Certificates::new(), Certificates::new());
    let server = with_tls(ours.issue("server"), &ours.authority_file(), &["--tlsverify"]).await;
    let with = |(certificate, key)| NatsSettings { tls_cert_file: certificate, tls_key_file: key, ..trusting(&ours) };
    is_let_in(server.url(), &with(ours.issue("us"))).await;
    is_named(&server, with(other.issue("us")), "nats.tls_cert_file").await;
    is_named(&server, with((String::new(), String::new())), "nats.tls_cert_file").await;
    is_named(&server, with(ours.issue_expired("us")), "nats.tls_cert_file").await;
}

/// A server may take the name in the certificate for the user: then it is all that signs in.
#[tokio::test]
async fn a_certificate_can_be_the_user() {
    let ours = Certificates::new();
    let ((certificate, key), authority) = (ours.issue("server"), ours.authority_file());
    let files = format!(r#"cert_file: "{certificate}", key_file: "{key}", ca_file: "{authority}""#);
    let lines = format!("tls {{ {files}, verify_and_map: true }}\nauthorization {{ users: [{{ user: \"CN=ann\" }}] }}");
    let server = NatsServer::start_configured(&lines).await;
    let with = |(certificate, key)| NatsSettings { tls_cert_file: certificate, tls_key_file: key, ..trusting(&ours) };
    is_let_in(server.url(), &with(ours.issue("ann"))).await;
    let refused = refusal(server.url(), &with(ours.issue("bob"))).await;
    assert!(matches!(refused, BusError::Refused { .. }), "{refused}");
}

/// An attacker between us and the broker must not get the password by claiming that there is no
/// TLS.
#[tokio::test]
async fn where_tls_is_required_nothing_is_sent_without() {
    let server = NatsServer::start().await;
    is_named(&server, settings(|nats| nats.tls_required = true), "speaks no TLS").await;
    is_named(&server, trusting(&Certificates::new()), "speaks no TLS").await;
    is_let_in(server.url(), &settings(|_| {})).await;
}

#[tokio::test]
async fn tls_can_come_first() {
    let ours = Certificates::new();
    let (certificate, key) = ours.issue("server");
    let lines = format!(r#"tls {{ cert_file: "{certificate}", key_file: "{key}", handshake_first: true }}"#);
    let server = NatsServer::start_configured(&lines).await;
    is_let_in(server.url(), &NatsSettings { tls_first: true, ..trusting(&ours) }).await;
    // Both ends wait for the other to begin.
    let refused = refusal(server.url(), &trusting(&ours)).await;
    assert!(refused.to_string().contains("nats.tls_first = true"), "{refused}");
    let usual = with_tls(ours.issue("usual"), &ours.authority_file(), &[]).await;
    is_named(&usual, NatsSettings { tls_first: true, ..trusting(&ours) }, "remove nats.tls_first").await;
}
