//! `shaddock ready`: checks the servers on this machine at `/readyz`, as any health check does.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use http::{Request, header};
use model::ids::ServerId;
use node::http_request;
use runtime::config::Config;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::table::align;

/// Time for the response of one server.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest response, in bytes.
// Another program may have the port, and send anything.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The body of `/readyz`.
#[derive(Debug, Deserialize)]
struct Report {
    ready: bool,
    checks: BTreeMap<String, String>,
}

/// The health of a server.
enum ServerHealth {
    Ready,
    /// The failing checks.
    Unready(String),
    /// It does not run here, for this reason.
    Absent(&'static str),
}

/// Prints a line for each server that runs here. Fails if one is not ready, if `only` does not run,
/// or if none runs.
pub(crate) fn run(config: &Config, only: Option<&ServerId>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let lines = runtime.block_on(check_servers(config, only))?;
    let rows: Vec<_> =
        lines.iter().map(|(id, fault)| [id.to_string(), fault.clone().unwrap_or("ready".into())]).collect();
    // The exit status carries the result; a health check mostly drops the text.
    super::print(align(&rows).as_bytes()).ok();
    let unready = lines.iter().filter(|(_, fault)| fault.is_some()).count();
    anyhow::ensure!(unready == 0, "not ready: {unready} of {}", lines.len());
    anyhow::ensure!(!lines.is_empty(), "no server of the environment {} runs on this machine", config.environment);
    Ok(())
}

/// Checks the servers of the environment; returns those that run here, each with its failing
/// checks.
async fn check_servers<'a>(
    config: &'a Config,
    only: Option<&ServerId>,
) -> anyhow::Result<Vec<(&'a ServerId, Option<String>)>> {
    let mut lines = Vec::new();
    for (server_type, server) in config.servers.all().filter(|(_, server)| only.is_none_or(|only| *only == server.id)) {
        let fault = match check_server(server.admin_address(server_type, &config.settings)).await {
            ServerHealth::Ready => None,
            ServerHealth::Unready(fault) => Some(fault),
            // Without `--only`, servers on other machines are no failure.
            ServerHealth::Absent(_) if only.is_none() => continue,
            ServerHealth::Absent(why) => Some(why.to_owned()),
        };
        lines.push((&server.id, fault));
    }
    if let Some(only) = only.filter(|_| lines.is_empty()) {
        anyhow::bail!("{only} is not in servers.json, environment {}", config.environment);
    }
    Ok(lines)
}

async fn check_server(address: Option<SocketAddr>) -> ServerHealth {
    let Some(address) = address.map(reachable_from_here) else {
        return ServerHealth::Absent("has no port in servers.json");
    };
    match timeout(RESPONSE_TIMEOUT, fetch_report(address)).await {
        Ok(Ok(Some(Report { ready: true, .. }))) => ServerHealth::Ready,
        Ok(Ok(Some(report))) => ServerHealth::Unready(faults(&report)),
        Ok(Ok(None)) => ServerHealth::Absent("does not run"),
        Ok(Err(error)) => ServerHealth::Unready(format!("{address} gives no valid response: {error:#}")),
        Err(_) => ServerHealth::Unready(format!("{address} gives no response within {} s", RESPONSE_TIMEOUT.as_secs())),
    }
}

/// Returns the address under which a listener of all addresses is reached from this machine.
fn reachable_from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Fetches the server's report. Returns `None` if the connection is refused.
async fn fetch_report(address: SocketAddr) -> anyhow::Result<Option<Report>> {
    let stream = match TcpStream::connect(address).await {
        // Only a refused connection proves that no server listens. A server that hangs is unready,
        // not absent.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(None),
        stream => stream?,
    };
    let request = Request::get("/readyz").header(header::HOST, address.to_string()).body(())?;
    http_request::send(request, stream, async |response| {
        let status = response.status();
        let body = http_request::read_body(response, MAX_RESPONSE_BYTES).await?;
        serde_json::from_slice(&body).with_context(|| format!("status {status}")).map(Some)
    })
    .await
}

/// The failing checks, `bus: the connection is away`.
fn faults(report: &Report) -> String {
    let failing = report.checks.iter().filter(|(_, what)| *what != "ok");
    failing.map(|(check, what)| format!("{check}: {what}")).collect::<Vec<_>>().join("; ")
}
