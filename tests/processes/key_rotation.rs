//! Users come and go while the application replaces its keys, and while its identity provider is
//! away.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{ChatClient, Jwt, Options};
use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use runtime::clock;
use serde_json::{Value, json};
use testkit::{Deployment, Process, SERVERS, Scratch, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::layout::Layout;

const CLIENTS: usize = 100;

/// Time that a client stays away.
const PAUSE: Duration = Duration::from_millis(200);

/// Users who must have entered with a key before the next change.
const USERS: usize = 150;

const AWAY: Duration = Duration::from_secs(60 * 60);

/// A key of the application.
enum Key {
    Hmac(String),
    Provided { kid: &'static str, pair: Ed25519KeyPair },
}

impl Key {
    fn provided(kid: &'static str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Provided { kid, pair: Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap() }
    }

    /// Returns the key as the provider serves it.
    fn jwk(&self) -> Value {
        match self {
            Self::Hmac(_) => Value::Null,
            Self::Provided { kid, pair } => {
                let x = BASE64URL_NOPAD.encode(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
            }
        }
    }

    /// Returns a user's token with a name, which is valid for three hours.
    fn token(&self, user: &str, name: &str) -> String {
        let header = match self {
            Self::Hmac(_) => json!({"alg": "HS256"}),
            Self::Provided { kid, .. } => json!({"alg": "EdDSA", "kid": kid}),
        };
        let now = clock::now_ms() / 1_000;
        let claims = json!({"sub": user, "name": name, "iat": now, "exp": now + 3 * 3_600});
        let [header, claims] = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes()));
        let message = format!("{header}.{claims}");
        let signature = match self {
            Self::Hmac(key) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
                hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
            Self::Provided { pair, .. } => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

/// Serves key sets until it is dropped.
struct Provider {
    url: String,
    set: Arc<Mutex<String>>,
    _task: JoinSet<()>,
}

impl Provider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let set = Arc::new(Mutex::new(String::new()));
        let (served, mut task) = (set.clone(), JoinSet::new());
        task.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let body = served.lock().unwrap().clone();
                // A health check or a server that ends sends nothing.
                if stream.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0) {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    stream.write_all(format!("{head}{body}").as_bytes()).await.ok();
                }
            }
        });
        Self { url, set, _task: task }
    }

    fn serve(&self, keys: &[&Key]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        *self.set.lock().unwrap() = json!({ "keys": keys }).to_string();
    }
}

/// The users, and the key that signs for those who come.
struct Users {
    gate: String,
    key: Mutex<Arc<Key>>,
    entered: AtomicUsize,
    refusals: Mutex<Vec<String>>,
    stops: AtomicBool,
}

impl Users {
    /// Signs with another key from now on; returns when many came with it.
    async fn sign_with(&self, key: &Arc<Key>) {
        *self.key.lock().unwrap() = key.clone();
        self.wait_for_more().await;
    }

    async fn wait_for_more(&self) {
        let aim = self.entered.load(Ordering::Relaxed) + USERS;
        let came = async || self.entered.load(Ordering::Relaxed) >= aim || !self.refusals.lock().unwrap().is_empty();
        eventually(Process::DEADLINE, "more users enter", came).await;
        assert_eq!(*self.refusals.lock().unwrap(), [""; 0]);
    }

    /// Comes, speaks and goes until told to stop.
    async fn come_and_go(self: Arc<Self>, number: usize) {
        // Not all at once: a change finds clients in every state.
        sleep(PAUSE * u32::try_from(number).unwrap() / 100).await;
        for visit in 1.. {
            if self.stops.load(Ordering::Relaxed) {
                return;
            }
            match self.visit(number, visit).await {
                Ok(()) => self.entered.fetch_add(1, Ordering::Relaxed),
                Err(refusal) => return self.refusals.lock().unwrap().push(format!("user {number}: {refusal}")),
            };
            sleep(PAUSE).await;
        }
    }

    // Each visit has a name of its own: the leave of the one before may not be in the log yet.
    async fn visit(&self, number: usize, visit: usize) -> Result<(), client::ClientError> {
        let (user, name) = (format!("user-{number}"), format!("user-{number}-{visit}"));
        let key = self.key.lock().unwrap().clone();
        let options = Options { jwt: Some(Jwt::value(&key.token(&user, &name))), ..Options::default() };
        let (chat, _events) = ChatClient::via_gate(&self.gate, &user, options).await?;
        chat.enter(&name, &format!("room-{}", number % 10)).await?;
        chat.send("hello").await?;
        chat.close();
        Ok(())
    }
}

/// Writes a file as an application does: in one step.
fn put(path: &str, content: &str) {
    let draft = Path::new(path).with_extension("new");
    fs::write(&draft, content).unwrap();
    fs::rename(draft, path).unwrap();
}

/// Makes all processes read files of keys; returns when they have.
async fn reload(deployment: &Deployment) {
    for (_, process) in deployment.processes() {
        process.signal("HUP");
    }
    for (server, process) in deployment.processes() {
        // Chat servers read no tokens.
        if server.starts_with("connector") {
            assert!(process.wait_for_output("the keys for clients' tokens changed").await, "{server}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_user_is_refused_while_keys_are_replaced() {
    let (scratch, provider) = (Scratch::new(), Provider::start().await);
    let [first, second] = ["first", "second"].map(|name| Arc::new(Key::Hmac(name.repeat(8))));
    let text = |key: &Key| if let Key::Hmac(text) = key { text.clone() } else { String::new() };
    let (current, previous) = (scratch.file("current", &text(&first)), scratch.file("previous", &text(&first)));
    let [old, new] = ["old", "new"].map(|kid| Arc::new(Key::provided(kid)));
    provider.serve(&[&old]);
    let settings = format!(
        "[auth]\nmode = \"required\"\nhmac_file = {current:?}\nhmac_previous_file = {previous:?}\njwks_url = {:?}",
        provider.url
    );
    let deployment = Layout::SevenProcesses.start_with_clocks(&settings, 0).await;
    let users = Arc::new(Users {
        gate: deployment.gate().to_string(),
        key: Mutex::new(first.clone()),
        entered: AtomicUsize::new(0),
        refusals: Mutex::default(),
        stops: AtomicBool::new(false),
    });
    let mut tasks: JoinSet<()> = (0..CLIENTS).map(|number| users.clone().come_and_go(number)).collect();

    users.wait_for_more().await;
    put(&current, &text(&second));
    reload(&deployment).await;
    users.sign_with(&second).await;

    users.sign_with(&old).await;
    // Servers see the new key when its first token comes.
    provider.serve(&[&old, &new]);
    users.sign_with(&new).await;

    drop(provider);
    let ahead_ms = i64::try_from(AWAY.as_millis()).unwrap();
    SERVERS.iter().for_each(|server| deployment.clock(server).set(ahead_ms));
    users.wait_for_more().await;
    users.stops.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(*users.refusals.lock().unwrap(), [""; 0]);
}
