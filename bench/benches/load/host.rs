//! The machine and the versions of programs, without date and host name.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use serde::Serialize;
use serde_json::Value;
use testkit::NatsServer;

use crate::load_steps::IDLE;
use crate::peer::packages;

/// Files that have to be allowed: of all users, and some more.
const FILES: u32 = IDLE.users() + 1_000;

/// A machine, and what is installed there.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Host {
    processor: String,
    processors: usize,
    memory_gib: u64,
    linux: String,
    nats_server: String,
    node: String,
    socket_io: String,
    rustc: String,
}

impl Host {
    /// This one.
    pub(crate) fn this() -> Self {
        Self {
            processor: after(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned(),
            processors: available_parallelism().map_or(1, usize::from),
            memory_gib: memory(&read("/proc/meminfo")).unwrap_or_default(),
            linux: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            nats_server: output_of(&NatsServer::binary(), &["--version"]),
            node: output_of(Path::new("node"), &["--version"]),
            socket_io: version().unwrap_or_default(),
            rustc: output_of(Path::new("rustc"), &["--version"]),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, processors, memory_gib, linux, nats_server, node, socket_io, rustc } = self;
        writeln!(f, "- {processor}, {processors} processors, {memory_gib} GiB of memory, Linux {linux}")?;
        writeln!(f, "- {nats_server} with GOMAXPROCS=1; {rustc}")?;
        writeln!(f, "- Socket.IO {socket_io} on node {node}")
    }
}

/// Ends it where not as many files may be open as there are users.
pub(crate) fn enough_files() {
    let limits = read("/proc/self/limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    let enough = soft.is_none_or(|soft| soft >= FILES);
    assert!(enough, "too few open files are allowed: `ulimit -n {FILES}` first, or `make bench`, which does it");
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn after<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

fn memory(text: &str) -> Option<u64> {
    let kib: u64 = after(text, "MemTotal")?.strip_suffix(" kB")?.parse().ok()?;
    Some(kib.div_ceil(1024 * 1024))
}

fn output_of(program: &Path, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn version() -> Option<String> {
    let text = fs::read(packages().join("node_modules/socket.io/package.json")).ok()?;
    let package: Value = serde_json::from_slice(&text).ok()?;
    package["version"].as_str().map(str::to_owned)
}
