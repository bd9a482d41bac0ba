//! Honest users behind the real nginx and HAProxy, with the configurations of `examples/`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use futures_util::{StreamExt, stream};
use testkit::{
    Deployment, Layout, Process, Scratch, Topology, eventually, free_addresses, http_get, shaddock, workspace,
};

use crate::user::{Origin, User};

/// Public addresses, of which the first is an office: all of its users are in one room.
const ADDRESSES: usize = 200;
const OFFICE: usize = 40;
const USERS: usize = 2_000;

/// Users that log in at the same time.
const AT_ONCE: usize = 50;

/// A proxy before a deployment.
struct Proxied {
    // Ends before the files of its directory go.
    _proxy: Process,
    _directory: Scratch,
    deployment: Deployment,
    gate: SocketAddr,
    connector: SocketAddr,
}

/// Starts a program of `make interop`.
pub(crate) fn start(program: &str, args: &[String], directory: &Path) -> Process {
    let path: PathBuf = workspace().join("target/tools/proxies").join(program);
    let path = fs::canonicalize(path).unwrap_or_else(|_| panic!("{program} is missing: `make interop` fetches it"));
    let mut command = Command::new(path);
    command.args(args).current_dir(directory);
    Process::start(program, command, directory)
}

/// Returns a configuration of `examples/` with other texts in the place of some that it has.
pub(crate) fn configuration(name: &str, replaced: &[(&str, String)]) -> String {
    let text = fs::read_to_string(workspace().join("examples").join(name)).unwrap();
    replaced.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from} in {name}");
        text.replace(from, to)
    })
}

pub(crate) async fn deployment(settings: &str) -> Deployment {
    let mut layout = Layout::new(Topology::OneProcess, &format!("{settings}\n[session]\nrequests_per_sec = 50"));
    layout.connectors = 1;
    Deployment::start(shaddock(), &layout).await
}

/// Starts nginx with this configuration.
pub(crate) fn start_nginx(text: &str, directory: &Scratch) -> Process {
    let file = directory.file("nginx.conf", text);
    // One process, which the test ends: workers would outlive their master.
    let main = format!("daemon off; master_process off; pid {}; error_log stderr;", directory.path_of("nginx.pid"));
    let args = ["-p", &directory.path_of(""), "-c", &file, "-g", &main].map(str::to_owned);
    start("nginx", &args, directory.path())
}

/// Starts HAProxy with this configuration.
pub(crate) fn start_haproxy(text: &str, directory: &Scratch) -> Process {
    let file = directory.file("haproxy.cfg", text);
    start("haproxy", &["-f".to_owned(), file, "-db".to_owned()], directory.path())
}

/// Returns the lines that have nginx keep its temporary files in this directory.
pub(crate) fn temporary_files(directory: &Scratch) -> String {
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", directory.path_of(kind)))
        .concat()
}

async fn nginx() -> Proxied {
    let deployment = deployment("[frontend]\ntrusted_proxies = [\"127.0.0.1\"]").await;
    let [gate, connector] = free_addresses(2)[..] else { panic!("two addresses") };
    let directory = Scratch::new();
    let temporary = temporary_files(&directory);
    let text = configuration(
        "nginx/nginx.conf",
        &[
            ("listen 80;", format!("listen {gate};")),
            ("listen 8050;", format!("listen {connector};")),
            ("127.0.0.1:3014", deployment.gate().to_string()),
            ("127.0.0.1:3050", deployment.connector(0).to_string()),
            ("access_log off;", format!("access_log off;\n{temporary}")),
            ("worker_rlimit_nofile 65536;", String::new()),
        ],
    );
    let proxy = start_nginx(&text, &directory);
    Proxied { _proxy: proxy, _directory: directory, deployment, gate, connector }
}

async fn haproxy() -> Proxied {
    // Other programs of this machine, as the test itself, connect without a PROXY header.
    let deployment = deployment("[frontend]\ntrusted_proxies = [\"127.0.0.9\"]\nproxy_protocol = true").await;
    let [gate, connector] = free_addresses(2)[..] else { panic!("two addresses") };
    let directory = Scratch::new();
    let text = configuration(
        "haproxy/haproxy.cfg",
        &[
            // The users' addresses come from a proxy before this one.
            ("bind :80\n", format!("bind {gate}\n")),
            ("maxconn 16384", "maxconn 8192".to_owned()),
            ("bind :8050", format!("bind {connector} accept-proxy")),
            ("127.0.0.1:3014", format!("{} source 127.0.0.9", deployment.gate())),
            ("127.0.0.1:3050", format!("{} source 127.0.0.9", deployment.connector(0))),
        ],
    );
    let proxy = start_haproxy(&text, &directory);
    Proxied { _proxy: proxy, _directory: directory, deployment, gate, connector }
}

/// Returns the public address of a user, its name and its room.
fn place(number: usize) -> (String, String, String) {
    let address = if number < OFFICE { 0 } else { 1 + number % (ADDRESSES - 1) };
    let room = if number < OFFICE { "office".to_owned() } else { format!("room-{}", number % 100) };
    (format!("203.0.113.{}", 1 + address), format!("user-{number}"), room)
}

async fn honest_users_are_refused_nothing(proxied: &Proxied, origin: Origin) {
    let (gate, host) = (proxied.gate, format!("Host: {}", proxied.gate));
    let answers = async || http_get(gate, "/readyz", &[&host]).await.is_some_and(|response| response.status == 200);
    eventually(Process::DEADLINE, "the gate answers through the proxy", answers).await;
    let enter = |number: usize| {
        let (address, name, room) = place(number);
        async move { User::enter(proxied.connector, (origin, &address), &name, &room).await }
    };
    let mut users: Vec<User> = stream::iter(0..USERS).map(enter).buffer_unordered(AT_ONCE).collect().await;
    for user in users.iter_mut().step_by(10) {
        for id in 2..=4 {
            user.say(id, "hello").await;
        }
    }
    let mut office = User::enter(proxied.connector, (origin, "203.0.113.1"), "visitor", "office").await;
    office.say(2, "done").await;
    office.receive(1).await;
    let metrics = http_get(proxied.deployment.gate(), "/metrics", &["Host: 127.0.0.1"]).await.unwrap().body;
    for refused in ["shaddock_connections_refused_total{", "shaddock_requests_refused_overload_total{"] {
        let counts: Vec<_> = metrics.lines().filter(|line| line.starts_with(refused)).collect();
        assert!(!counts.is_empty() && counts.iter().all(|line| line.ends_with(" 0")), "{counts:#?}");
    }
}

/// A crowd of one public address is limited, and no one else is.
async fn crowd_from_one_address(proxied: &Proxied, origin: Origin) {
    // The defaults take 500 connections of a public address.
    let connect = |_| User::try_connect(proxied.connector, (origin, "198.51.100.7"));
    let connected: Vec<_> = stream::iter(0..520).map(connect).buffer_unordered(AT_ONCE).collect().await;
    assert_eq!(connected.iter().flatten().count(), 500);
    let _other = User::enter(proxied.connector, (origin, "198.51.100.8"), "other", "lobby").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_passes_honest_users_on_and_names_a_crowd() {
    let proxied = nginx().await;
    honest_users_are_refused_nothing(&proxied, Origin::Header).await;
    crowd_from_one_address(&proxied, Origin::Header).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_passes_honest_users_on_and_names_a_crowd() {
    let proxied = haproxy().await;
    honest_users_are_refused_nothing(&proxied, Origin::ProxyHeader).await;
    crowd_from_one_address(&proxied, Origin::ProxyHeader).await;
}
