//! The bytes of Pomelo's own clients over TCP: the recorded vectors, cut at every byte, and a client
//! that knows nothing but them, as a program in C would.

use frontend::routes;
use model::settings::TlsVersion;
use node::tls::CertificateReloader;
use runtime::metrics::Metrics;
use serde_json::Value;
use testkit::Certificates;
use tokio::net::TcpStream;
use wire::{Package, PackageKind};

use crate::fixture::FrontendFixture;
use crate::native_client::NativeClient;
use crate::socket::{ack, hello, request};

/// A request that shows where the reaction to earlier bytes ends.
const PROBE: u32 = 0x1234;

/// Bodies that would come behind such a head alone.
const AWAITED: std::ops::RangeInclusive<u64> = 2..=4_096;

/// Bytes that clients send, as packages, with their names.
fn vectors() -> Vec<(String, Vec<u8>)> {
    let all: Vec<Value> = serde_json::from_str(include_str!("../../../../wire/golden/vectors.json")).unwrap();
    let is_sent = |vector: &&Value| ["c2s", "both"].map(Value::from).contains(&vector["dir"]);
    let packages = all.iter().filter(is_sent).filter_map(|vector| {
        let hex = match vector["kind"].as_str().unwrap() {
            "message" => &vector["package_hex"],
            "package-header" if AWAITED.contains(&vector["body_len"].as_u64().unwrap()) => return None,
            "package" | "package-header" | "stream" | "split" => &vector["hex"],
            _ => return None,
        };
        Some((vector["name"].as_str().unwrap().to_owned(), unhex(hex.as_str().unwrap())))
    });
    packages.collect()
}

fn vector(name: &str) -> Vec<u8> {
    vectors().into_iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("{name}")).1
}

fn unhex(hex: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// Returns the packages that answer these pieces on a new connection, up to the probe's or the end.
async fn reaction(fixture: &FrontendFixture, pieces: &[&[u8]]) -> Vec<Package> {
    let mut client = NativeClient::connect(fixture.address).await;
    for piece in pieces {
        client.send(piece).await;
        // Lets the server read this piece alone.
        tokio::task::yield_now().await;
    }
    let mut packages = Vec::new();
    while let Some(package) = client.next().await {
        let is_probe = package.body.starts_with(&[0x04, 0xb4, 0x24]);
        packages.push(package);
        if is_probe {
            break;
        }
    }
    packages
}

#[tokio::test]
async fn vectors_mean_the_same_wherever_they_are_cut() {
    let fixture = FrontendFixture::start().await;
    let vectors = vectors();
    assert!(vectors.len() > 35, "{}", vectors.len());
    let (begin, probe) = ([hello(), ack()].concat(), request(PROBE, routes::ENTER, b"{}"));
    let mut answered = 0;
    for (name, bytes) in vectors {
        // A handshake begins its connection; all else comes behind one.
        let is_handshake = bytes[0] == PackageKind::Handshake as u8;
        let (before, behind) = if is_handshake { (Vec::new(), ack()) } else { (begin.clone(), Vec::new()) };
        let behind = [behind, probe.clone()].concat();
        let whole = reaction(&fixture, &[&before, &bytes, &behind]).await;
        answered += usize::from(whole.len() > 2);
        for cut in 1..bytes.len() {
            let (first, rest) = bytes.split_at(cut);
            let pieces = [&before[..], first, rest, &behind];
            assert_eq!(reaction(&fixture, &pieces).await, whole, "{name} cut at {cut}");
        }
    }
    assert!(answered > 25, "{answered}");
}

/// What libpomelo2 does: a handshake, an ack, requests and notifies, and answers to heartbeats.
async fn chat_in_recorded_bytes(mut client: NativeClient) {
    client.send(&vector("hs-req-libpomelo2")).await;
    let handshake: Value = serde_json::from_slice(&client.expect(PackageKind::Handshake).await).unwrap();
    assert_eq!(handshake["code"], 200);
    assert!(handshake["sys"]["heartbeat"].is_u64(), "{handshake}");
    client.send(&vector("pkg-handshake_ack")).await;
    client.expect(PackageKind::Heartbeat).await;
    client.send(&vector("pkg-heartbeat")).await;
    client.expect(PackageKind::Heartbeat).await;
    client.send(&vector("req-enter")).await;
    assert_eq!(client.expect(PackageKind::Data).await, &b"\x04\x01{\"code\":200}"[..]);
    client.send(&vector("notify-string")).await;
    assert_eq!(client.response().await["msg"], "{\"content\":\"n\"}");
    client.send(&vector("req-id-2147483647")).await;
    let response = client.expect(PackageKind::Data).await;
    assert!(response.starts_with(&unhex("04ffffffff07")), "{response:?}");
}

#[tokio::test]
async fn a_client_of_recorded_bytes_chats() {
    let fixture = FrontendFixture::start().await;
    chat_in_recorded_bytes(NativeClient::connect(fixture.address).await).await;
}

/// libpomelo2 speaks TLS 1.2 alone.
#[tokio::test]
async fn a_client_of_recorded_bytes_chats_inside_tls() {
    let certificates = Certificates::new();
    let (cert_file, key_file) = certificates.issue("server");
    let settings = model::settings::TlsSettings { cert_file, key_file, ..Default::default() };
    let (_, tls) = CertificateReloader::start(&settings, &Metrics::new()).unwrap();
    let fixture = FrontendFixture::with(|options| options.tls = tls).await;
    let tcp = TcpStream::connect(fixture.address).await.unwrap();
    let stream = certificates.client_of_version(TlsVersion::V1_2).secure(tcp).await.unwrap();
    chat_in_recorded_bytes(NativeClient::over(Box::new(stream))).await;
}
