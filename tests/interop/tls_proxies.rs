//! TLS before the servers, ended by the real nginx and HAProxy with the configurations of
//! `examples/`, or passed on; and clients without a websocket behind them.

use std::fs;
use std::net::SocketAddr;

use client::{ChatClient, Event, Options, Tls, Transport, query_entry};
use serde_json::Value;
use testkit::{Certificates, Deployment, Process, Scratch, eventually, free_addresses, workspace};
use tokio::time::timeout;

use crate::proxies::{configuration, deployment, start_haproxy, start_nginx, temporary_files};

/// A proxy that tells the client's address in a header of HTTP.
const BY_HTTP: &str = "[frontend]\ntrusted_proxies = [\"127.0.0.1\"]";

/// A proxy that tells it in a PROXY header. Other programs of this machine, as the test itself,
/// connect without one.
const BY_PROXY_HEADER: &str = "[frontend]\ntrusted_proxies = [\"127.0.0.9\"]\nproxy_protocol = true";

/// Servers behind a proxy that ends TLS.
const ENDED: &str = "[tls]\nby_proxy = true";

/// A proxy before a deployment, and the clients' way to it.
struct Proxied {
    // Ends before the files of its directory go.
    _proxy: Process,
    _directory: Scratch,
    _deployment: Deployment,
    gate: SocketAddr,
    connector: SocketAddr,
    options: Options,
    // nginx and HAProxy read the certificate at some time after their start.
    _certificates: Certificates,
}

/// A proxy that is about to start.
struct Draft {
    directory: Scratch,
    deployment: Deployment,
    gate: SocketAddr,
    connector: SocketAddr,
    certificates: Certificates,
    certificate: String,
    key: String,
}

impl Draft {
    /// Starts the servers.
    async fn new(settings: impl Fn(&str, &str) -> String) -> Self {
        let certificates = Certificates::new();
        let (certificate, key) = certificates.issue("proxy");
        let deployment = deployment(&settings(&certificate, &key)).await;
        let [gate, connector] = free_addresses(2)[..] else { panic!("two addresses") };
        publish(&deployment, connector);
        Self { directory: Scratch::new(), deployment, gate, connector, certificates, certificate, key }
    }

    /// Starts nginx with a configuration of `examples/`.
    fn nginx(self, name: &str, ports: [&str; 2], replaced: &[(&str, String)]) -> Proxied {
        let [gate, connector] = ports.map(|port| format!("listen {port} ssl;"));
        let own = [
            (gate.as_str(), format!("listen {} ssl;", self.gate)),
            (connector.as_str(), format!("listen {} ssl;", self.connector)),
            ("/etc/nginx/tls/fullchain.pem", self.certificate.clone()),
            ("/etc/nginx/tls/privkey.pem", self.key.clone()),
            ("worker_rlimit_nofile 65536;", String::new()),
        ];
        let text = configuration(name, &[&own, replaced].concat());
        let proxy = start_nginx(&text, &self.directory);
        self.started(proxy)
    }

    /// Starts HAProxy with a configuration of `examples/`.
    fn haproxy(self, name: &str, ports: [&str; 2], replaced: &[(&str, String)]) -> Proxied {
        let [gate, connector] = ports.map(|port| format!("bind :{port}"));
        let own = [
            // The longer one first: port 8050 begins as 80 does.
            (connector.as_str(), format!("bind {}", self.connector)),
            (gate.as_str(), format!("bind {}", self.gate)),
            ("maxconn 16384", "maxconn 1024".to_owned()),
        ];
        let text = configuration(name, &[&own, replaced].concat());
        let proxy = start_haproxy(&text, &self.directory);
        self.started(proxy)
    }

    /// HAProxy wants certificate and key in one file.
    fn joined(&self) -> String {
        let text = [&self.certificate, &self.key].map(|file| fs::read_to_string(file).unwrap()).concat();
        self.directory.file("joined.pem", &text)
    }

    /// The servers' addresses, reached from an address that must send PROXY headers.
    fn with_proxy_header(&self) -> [(&'static str, String); 2] {
        [
            ("127.0.0.1:3014", format!("{} source 127.0.0.9", self.deployment.gate())),
            ("127.0.0.1:3050", format!("{} source 127.0.0.9", self.deployment.connector(0))),
        ]
    }

    fn without_header(&self) -> [(&'static str, String); 2] {
        [
            ("127.0.0.1:3014", self.deployment.gate().to_string()),
            ("127.0.0.1:3050", self.deployment.connector(0).to_string()),
        ]
    }

    fn started(self, proxy: Process) -> Proxied {
        let tls = Tls::trusting_file(self.certificates.authority_file()).unwrap();
        Proxied {
            _proxy: proxy,
            _directory: self.directory,
            _deployment: self.deployment,
            gate: self.gate,
            connector: self.connector,
            options: Options { tls: Some(tls), ..Options::default() },
            _certificates: self.certificates,
        }
    }
}

/// Sends clients to the proxy's port instead of the connector's.
fn publish(deployment: &Deployment, connector: SocketAddr) {
    let path = deployment.installation.path().join("servers.json");
    let mut servers: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let entry = &mut servers["development"]["connector"][0];
    (entry["pubHost"], entry["pubPort"]) = (connector.ip().to_string().into(), connector.port().into());
    // The servers may read at any moment, so the new file replaces the old one in one step.
    let draft = path.with_extension("new");
    fs::write(&draft, servers.to_string()).unwrap();
    fs::rename(draft, path).unwrap();
}

impl Proxied {
    /// Two users go through the gate to the connector, both behind the proxy, and talk.
    async fn users_talk(&self, transport: Transport) {
        let gate = format!("{}://{}", transport.scheme(), self.gate);
        let named = async || {
            let found = query_entry(&gate, "ann", &self.options).await;
            found.is_ok_and(|found| (found.transport, found.port) == (transport, self.connector.port()))
        };
        eventually(Process::DEADLINE, &format!("{gate} names the proxy's address"), named).await;
        let talking = async {
            let enter = async |name: &str| {
                let (chat, events) = ChatClient::via_gate(&gate, name, self.options.clone()).await.unwrap();
                chat.enter(name, transport.scheme()).await.unwrap();
                (chat, events)
            };
            let (_ann, mut events) = enter("ann").await;
            let (bob, _events) = enter("bob").await;
            bob.send("hello").await.unwrap();
            while let Some(event) = events.next().await {
                if matches!(&event, Event::Chat(chat) if (chat.from.as_str(), chat.msg.as_str()) == ("bob", "hello")) {
                    return;
                }
            }
            panic!("the connection was closed");
        };
        timeout(Process::DEADLINE, talking).await.unwrap_or_else(|_| panic!("{gate}: too late"));
    }
}

#[tokio::test]
async fn nginx_ends_tls_for_browsers() {
    let draft = Draft::new(|_, _| format!("{BY_HTTP}\n{ENDED}")).await;
    let [plain] = free_addresses(1)[..] else { panic!("an address") };
    let mut replaced = draft.without_header().to_vec();
    replaced.push(("listen 80;", format!("listen {plain};")));
    replaced.push(("access_log off;", format!("access_log off;\n{}", temporary_files(&draft.directory))));
    let proxied = draft.nginx("nginx/tls-http.conf", ["443", "8443"], &replaced);
    proxied.users_talk(Transport::SecureWebsocket).await;
}

#[tokio::test]
async fn nginx_ends_tls_for_native_clients_too() {
    let draft = Draft::new(|_, _| format!("{BY_PROXY_HEADER}\n{ENDED}")).await;
    let module = workspace().join("target/tools/proxies/root/usr/lib/nginx/modules/ngx_stream_module.so");
    let replaced = [
        ("127.0.0.1:3014;", format!("{};\nproxy_bind 127.0.0.9;", draft.deployment.gate())),
        ("127.0.0.1:3050;", format!("{};\nproxy_bind 127.0.0.9;", draft.deployment.connector(0))),
        ("modules/ngx_stream_module.so", fs::canonicalize(module).unwrap().display().to_string()),
    ];
    let proxied = draft.nginx("nginx/tls-tcp.conf", ["443", "8443"], &replaced);
    proxied.users_talk(Transport::SecureWebsocket).await;
    proxied.users_talk(Transport::SecureTcp).await;
}

#[tokio::test]
async fn haproxy_ends_tls_for_browsers() {
    let draft = Draft::new(|_, _| format!("{BY_HTTP}\n{ENDED}")).await;
    let mut replaced = draft.without_header().to_vec();
    replaced.push(("/etc/haproxy/tls/chat.example.org.pem", draft.joined()));
    let proxied = draft.haproxy("haproxy/tls-http.cfg", ["443", "8443"], &replaced);
    proxied.users_talk(Transport::SecureWebsocket).await;
}

#[tokio::test]
async fn haproxy_ends_tls_for_native_clients_too() {
    let draft = Draft::new(|_, _| format!("{BY_PROXY_HEADER}\n{ENDED}")).await;
    let mut replaced = draft.with_proxy_header().to_vec();
    replaced.push(("/etc/haproxy/tls/chat.example.org.pem", draft.joined()));
    let proxied = draft.haproxy("haproxy/tls-tcp.cfg", ["443", "8443"], &replaced);
    proxied.users_talk(Transport::SecureWebsocket).await;
    proxied.users_talk(Transport::SecureTcp).await;
}

#[tokio::test]
async fn haproxy_passes_native_clients_on() {
    let draft = Draft::new(|_, _| BY_PROXY_HEADER.to_owned()).await;
    let replaced = draft.with_proxy_header();
    let proxied = draft.haproxy("haproxy/haproxy.cfg", ["80", "8050"], &replaced);
    proxied.users_talk(Transport::Websocket).await;
    proxied.users_talk(Transport::Tcp).await;
}

/// The PROXY header comes first, and TLS behind it.
#[tokio::test]
async fn haproxy_passes_tls_on() {
    let draft = Draft::new(|certificate, key| {
        format!("{BY_PROXY_HEADER}\n[tls]\ncert_file = {certificate:?}\nkey_file = {key:?}")
    })
    .await;
    let replaced = draft.with_proxy_header();
    let proxied = draft.haproxy("haproxy/haproxy.cfg", ["80", "8050"], &replaced);
    proxied.users_talk(Transport::SecureWebsocket).await;
    proxied.users_talk(Transport::SecureTcp).await;
}
