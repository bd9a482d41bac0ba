//! The hook of `examples/certbot`, which gives a renewed certificate to running servers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use client::{ChatClient, Options, Tls};
use testkit::{Certificates, Deployment, Layout, Process, Scratch, Topology, eventually, shaddock, workspace};

/// Copies a new certificate and its key to the names that certbot gives them.
fn write_pair(authority: &Certificates, directory: &Path) {
    let (certificate, key) = authority.issue("servers");
    fs::create_dir_all(directory).unwrap();
    fs::copy(certificate, directory.join("fullchain.pem")).unwrap();
    fs::copy(key, directory.join("privkey.pem")).unwrap();
}

/// Returns the output of a program, without its last line break.
fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn a_renewed_certificate_reaches_the_servers() {
    let (old, new, renewed) = (Certificates::new(), Certificates::new(), Scratch::new());
    let deployment = Deployment::start_with(shaddock(), &Layout::new(Topology::OneProcess, ""), async |deployment| {
        let directory = deployment.installation.path().join("tls");
        write_pair(&old, &directory);
        let file = |name: &str| directory.join(name).display().to_string();
        let (certificate, key) = (file("fullchain.pem"), file("privkey.pem"));
        deployment.installation.write_settings(&format!("[tls]\ncert_file = {certificate:?}\nkey_file = {key:?}"));
    })
    .await;
    let gate = format!("wss://{}", deployment.gate());
    let trusts = async |authority: &Certificates| {
        let tls = Some(Tls::trusting_file(authority.authority_file()).unwrap());
        ChatClient::connect(&gate, Options { tls, ..Options::default() }).await.is_ok()
    };
    assert!(trusts(&old).await && !trusts(&new).await);

    write_pair(&new, renewed.path());
    let directory = deployment.installation.path().join("tls");
    let status = Command::new(workspace().join("examples/certbot/shaddock"))
        .env("RENEWED_LINEAGE", renewed.path())
        .env("SHADDOCK_TLS_DIR", &directory)
        .env("SHADDOCK_GROUP", output("id", &["-gn"]))
        .env("SHADDOCK_RELOAD", format!("kill -HUP {}", deployment.process("all").id()))
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    eventually(Process::DEADLINE, "servers have the new certificate", async || trusts(&new).await).await;
    assert!(!trusts(&old).await);
    let mode = fs::metadata(directory.join("privkey.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["fullchain.pem", "privkey.pem"]);
}
