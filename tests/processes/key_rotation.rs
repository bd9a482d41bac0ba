//! Users come and go while the application replaces its keys, and while its identity provider is
//! away.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{ChatClient, Jwt, Options};
use runtime::clock;
use serde_json::{Value, json};
use testkit::{Deployment, KeyProvider, Process, SERVERS, Scratch, SigningKey, eventually};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::layout::Layout;

const CLIENTS: usize = 100;

/// Time that a client stays away.
const PAUSE: Duration = Duration::from_millis(200);

/// Users who must have entered with a key before the next change.
const USERS: usize = 150;

const AWAY: Duration = Duration::from_secs(60 * 60);

/// A key of the application, and its name in the provider's set if it is there.
struct Key {
    signing: SigningKey,
    kid: Option<&'static str>,
}

impl Key {
    fn shared(secret: &str) -> Self {
        Self { signing: SigningKey::hmac(secret.as_bytes()), kid: None }
    }

    fn provided(kid: &'static str, seed: u8) -> Self {
        Self { signing: SigningKey::ed25519([seed; 32]), kid: Some(kid) }
    }

    /// Returns the key as the provider serves it.
    fn jwk(&self) -> Value {
        self.signing.jwk(self.kid.unwrap())
    }

    /// Returns a user's token with a name, which is valid for three hours.
    fn token(&self, user: &str, name: &str) -> String {
        let now = clock::now_ms() / 1_000;
        self.signing.token(self.kid, &json!({"sub": user, "name": name, "iat": now, "exp": now + 3 * 3_600}))
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
    let scratch = Scratch::new();
    let secrets = ["first", "second"].map(|name| name.repeat(8));
    let [first, second] = secrets.each_ref().map(|secret| Arc::new(Key::shared(secret)));
    let (current, previous) = (scratch.file("current", &secrets[0]), scratch.file("previous", &secrets[0]));
    let [old, new] = [("old", 1), ("new", 2)].map(|(kid, seed)| Arc::new(Key::provided(kid, seed)));
    let provider = KeyProvider::start(&[old.jwk()]).await;
    let settings = format!(
        "[auth]\nmode = \"required\"\nhmac_file = {current:?}\nhmac_previous_file = {previous:?}\njwks_url = {:?}",
        provider.url()
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
    put(&current, &secrets[1]);
    reload(&deployment).await;
    users.sign_with(&second).await;

    users.sign_with(&old).await;
    // Servers see the new key when its first token comes.
    provider.serve(&[old.jwk(), new.jwk()]);
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
