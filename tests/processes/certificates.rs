//! The certificate for clients: at the start of a process, and replaced while it runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use testkit::{Certificates, Process, Scratch, TlsClient, eventually, http_get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, interval_at, timeout};

use crate::layout::{Layout, installation};
use crate::startup::assert_refused;

/// Certificates that take the place of the first, and the time between two.
const REPLACED: usize = 100;
const REPLACE_EVERY: Duration = Duration::from_millis(100);

/// Fewest that clients must have seen: a signal that comes while another one is handled is one with
/// it.
const SEEN: usize = 90;

const CLIENTS: u32 = 200;

/// Time between two connections of a client.
const PAUSE: Duration = Duration::from_secs(1);

/// The files that servers read.
struct Served {
    certificates: Certificates,
    scratch: Scratch,
}

impl Served {
    fn new() -> Self {
        let served = Self { certificates: Certificates::new(), scratch: Scratch::new() };
        served.put(&served.certificates.issue("first"));
        served
    }

    fn certificate(&self) -> String {
        self.scratch.path_of("served.pem")
    }

    fn key(&self) -> String {
        self.scratch.path_of("served.key")
    }

    fn settings(&self) -> String {
        format!("[tls]\ncert_file = {:?}\nkey_file = {:?}", self.certificate(), self.key())
    }

    /// Replaces both files, each in one step.
    fn put(&self, (certificate, key): &(String, String)) {
        for (from, to) in [(certificate, self.certificate()), (key, self.key())] {
            let draft = Path::new(&to).with_extension("new");
            fs::copy(from, &draft).unwrap();
            fs::rename(draft, to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_ends_the_start() {
    let served = Served::new();
    let installation = installation(&served.settings());
    let refused = async |parts: &[&str]| assert_refused(&installation, &[], parts).await;
    served.put(&served.certificates.issue_expired("expired"));
    refused(&["tls.cert_file names", &served.certificate(), "expired at", "renew it"]).await;
    served.put(&(served.certificates.issue("one").0, served.certificates.issue("other").1));
    refused(&["tls.key_file names", &served.key(), "is not the key of", &served.certificate()]).await;
    fs::write(served.key(), "").unwrap();
    refused(&["tls.key_file names", &served.key(), "has no private key in PEM"]).await;
    fs::remove_file(served.certificate()).unwrap();
    refused(&["tls.cert_file names", &served.certificate(), "there is no such file", "correct the setting"]).await;
    let alone = ["--set", "tls.key_file="];
    assert_refused(&installation, &alone, &["command line: tls.key_file", "a file with the key"]).await;
}

/// Returns a server's response to a request inside TLS.
async fn get(client: &TlsClient, at: std::net::SocketAddr, path: &str) -> String {
    let mut stream = client.connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

/// The page, the gate's answer and metrics have TLS, and health checks of this machine need none.
#[tokio::test]
async fn a_gate_answers_inside_tls() {
    let served = Served::new();
    let deployment = Layout::OneProcess.start(&served.settings()).await;
    let client = served.certificates.client();
    let page = get(&client, deployment.gate(), "/").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<!doctype html>"), "{page}");
    let entry = get(&client, deployment.gate(), "/entry?uid=ann").await;
    assert!(entry.starts_with("HTTP/1.1 200") && entry.contains(r#""code":200"#), "{entry}");
    let ready = http_get(deployment.gate(), "/readyz", &["Host: localhost"]).await.unwrap();
    assert_eq!(ready.status, 200);
    let metrics = http_get(deployment.gate(), "/metrics", &["Host: localhost"]).await.unwrap().body;
    let left = metrics.lines().find_map(|line| line.strip_prefix("shaddock_tls_expires_seconds "));
    // The certificate's time ends in the year 4096.
    assert!(left.unwrap().parse::<f64>().unwrap() > 1e10, "{left:?}");
}

#[tokio::test]
async fn what_is_wrong_with_new_files_is_logged_and_the_old_ones_stay() {
    let served = Served::new();
    let deployment = Layout::OneProcess.start(&served.settings()).await;
    let process = deployment.process("all");
    served.put(&served.certificates.issue_expired("expired"));
    process.signal("HUP");
    let line =
        format!("the certificate is refused, the one before stays: tls.cert_file names {}", served.certificate());
    assert!(process.wait_for_output(&line).await);
    get(&served.certificates.client(), deployment.gate(), "/entry?uid=ann").await;
    served.put(&served.certificates.issue("next"));
    process.signal("HUP");
    assert!(process.wait_for_output("new connections get a new certificate").await);
    assert_eq!(process.output().matches("the certificate is refused").count(), 1);
}

/// Servers find new files without a signal.
#[tokio::test]
async fn files_are_looked_at_all_the_time() {
    let served = Served::new();
    let deployment = Layout::OneProcess.start(&served.settings()).await;
    served.put(&served.certificates.issue("next"));
    assert!(deployment.process("all").wait_for_output("new connections get a new certificate").await);
}

/// Connects until it is to stop; returns the number of connections.
async fn connect_again_and_again(
    client: TlsClient,
    (at, delay): (std::net::SocketAddr, Duration),
    seen: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    stops: Arc<AtomicBool>,
) -> usize {
    let mut connections = 0;
    // Evenly over time: each certificate is there for a moment.
    let mut tick = interval_at(Instant::now() + delay, PAUSE);
    while !stops.load(Ordering::Relaxed) {
        tick.tick().await;
        let stream = timeout(Process::DEADLINE, client.connect(at)).await.unwrap().unwrap();
        let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        seen.lock().unwrap().insert(certificate);
        connections += 1;
    }
    connections
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handshake_fails_while_certificates_are_replaced() {
    let served = Served::new();
    let pairs: Vec<_> = (0..REPLACED).map(|number| served.certificates.issue(&format!("pair-{number}"))).collect();
    let deployment = Layout::OneProcess.start(&served.settings()).await;
    let process = deployment.process("all");
    let (seen, stops) = (Arc::default(), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let at = if number % 2 == 0 { deployment.gate() } else { deployment.connector(number as usize % 3) };
        // Each has no ticket: it sees the server's certificate.
        let client = served.certificates.client();
        clients.spawn(connect_again_and_again(
            client,
            (at, PAUSE * number / CLIENTS),
            Arc::clone(&seen),
            stops.clone(),
        ));
    }
    let mut tick = interval(REPLACE_EVERY);
    let began = Instant::now();
    for pair in &pairs {
        tick.tick().await;
        served.put(pair);
        process.signal("HUP");
    }
    let took = began.elapsed();
    // The last one is seen, too, however long it takes.
    let newest = fs::read_to_string(&pairs[REPLACED - 1].0).unwrap();
    let newest = pem(&newest);
    eventually(Process::DEADLINE, "the newest is seen", async || seen.lock().unwrap().contains(&newest)).await;
    stops.store(true, Ordering::Relaxed);
    let connections: usize = clients.join_all().await.into_iter().sum();
    let seen = seen.lock().unwrap().len();
    assert!(took < REPLACE_EVERY * 110, "{took:?}");
    assert!(seen >= SEEN, "{seen} certificates in {connections} connections");
    assert!(!process.output().contains("is refused"), "{}", process.output());
}

/// The bytes of a certificate's text.
fn pem(text: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(text.as_bytes()).unwrap().to_vec()
}
