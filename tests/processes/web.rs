//! The files in `web/`: the JavaScript client, and the page in a real browser.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testkit::{Certificates, Deployment, Topology, shaddock};
use tokio::process::Command;

use crate::layout::Layout;
use crate::script::run_script;

/// The random runs of `web/test/property.test.mjs` take 20 s of processor time, beside other tests.
const DEADLINE: Duration = Duration::from_secs(300);

/// The tests that need no cluster.
#[tokio::test]
async fn the_module_passes_its_own_tests() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web");
    let mut node = Command::new("node");
    let tests = node.arg("--test").current_dir(web).kill_on_drop(true).output();
    let outcome = tokio::time::timeout(DEADLINE, tests).await.unwrap();
    let outcome = outcome.unwrap_or_else(|error| panic!("node: {error}: install node >= 20"));
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stdout));
}

/// While connectors and the room's owner are killed. The members send faster than a session may by
/// default.
#[tokio::test]
async fn each_message_is_delivered_once_and_in_order() {
    let mut deployment = Layout::SevenProcesses.start("[session]\nrequest_burst = 1000\n").await;
    run_script(&mut deployment, "cluster.mjs", &[]).await;
}

/// Two browsers, one of which loses its connector. Screenshots stay in `target/tmp/page`.
#[tokio::test]
async fn users_talk_on_the_page() {
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&screenshots).unwrap();
    let mut deployment = Layout::SevenProcesses.start("").await;
    run_script(&mut deployment, "page.mjs", &[screenshots.to_str().unwrap()]).await;
}

/// A moderator and a member, each in a browser, who log in with tokens. Screenshots stay in
/// `target/tmp/page`.
#[tokio::test]
async fn a_moderator_acts_on_the_page() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (screenshots, key_file) = (directory.join("page"), directory.join("page-moderation.key"));
    let key = "0123456789abcdef0123456789abcdef";
    std::fs::create_dir_all(&screenshots).unwrap();
    std::fs::write(&key_file, key).unwrap();
    let settings = format!("[auth]\nmode = \"required\"\nhmac_file = {key_file:?}\n");
    let mut deployment = Layout::SevenProcesses.start(&settings).await;
    run_script(&mut deployment, "moderation.mjs", &[key, screenshots.to_str().unwrap()]).await;
}

/// On servers with a certificate for a name, since browsers take loopback addresses for secure. The
/// demo page connects by `wss:` alone, and so do pages with the original client that wrap
/// `WebSocket`, or have their requests upgraded; without either it cannot connect.
#[tokio::test]
async fn pages_with_tls_connect_with_tls() {
    let name = "chat.example.org";
    let certificates = Certificates::new();
    let (certificate, key) = certificates.issue_to("servers", name);
    let settings = format!("[tls]\ncert_file = {certificate:?}\nkey_file = {key:?}");
    let layout = testkit::Layout::new(Topology::OneProcess, &settings);
    let mut deployment = Deployment::start_with(shaddock(), &layout, async |deployment| {
        let file = deployment.installation.path().join("servers.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut servers: Value = serde_json::from_str(&text).unwrap();
        for kind in ["gate", "connector"] {
            for entry in servers["development"][kind].as_array_mut().unwrap() {
                entry["pubHost"] = name.into();
            }
        }
        std::fs::write(&file, servers.to_string()).unwrap();
    })
    .await;
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/original-client");
    run_script(&mut deployment, "tls.mjs", &[&certificate, &key, packages.to_str().unwrap()]).await;
}

/// A case of `web/checks/cases.mjs`, on one process.
macro_rules! cases {
    ($($test:ident: $case:literal),+ $(,)?) => {
        $(#[tokio::test]
        async fn $test() {
            let mut deployment = Layout::OneProcess.start("").await;
            run_script(&mut deployment, "cases.mjs", &[$case]).await;
        })+
    };
}

cases! {
    held_pushes_end_with_their_connection: "held-pushes-end-with-their-connection",
    too_many_held_pushes_cost_one_connection: "too-many-held-pushes-cost-one-connection",
    no_event_of_a_given_up_socket_is_uncaught: "no-event-of-a-given-up-socket-is-uncaught",
    a_room_is_closed_for_good: "closed-for-good",
    a_dead_link_is_replaced_at_once: "a-dead-link-is-replaced-at-once",
    mistakes_of_an_application_do_not_end_its_process: "mistakes-do-not-end-the-process",
    a_whisper_is_for_one: "a-whisper-is-for-one",
    a_body_without_json_is_refused_at_once: "a-body-without-json-is-refused-at-once",
}
