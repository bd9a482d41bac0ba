//! Reads `servers.json` and refuses what cannot run, with all that is wrong at once. Unknown fields
//! and types are fine.

mod cluster;
mod fields;
mod source;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use model::servers::{API, CHAT, CONNECTOR, GATE, Server, Servers};
use serde_json::{Map, Value};

use super::error::{ConfigError, Fault, Problem};

use cluster::Fields;
pub use source::ServersText;

/// The types without which no message arrives.
const NEEDED: [&str; 3] = [GATE, CONNECTOR, CHAT];

/// Reads and checks the servers of `environment` in `DIR/servers.json` or, where that does not
/// exist, `DIR/ENV/servers.json`.
///
/// # Errors
/// If there is no such file or environment, or its servers cannot run.
pub fn load_servers(dir: &Path, environment: &str) -> Result<Servers, ConfigError> {
    ServersText::read(dir, environment)?.servers(environment)
}

impl ServersText {
    /// Checks the servers of an environment.
    ///
    /// # Errors
    /// If there is no such environment, or its servers cannot run.
    pub fn servers(&self, environment: &str) -> Result<Servers, ConfigError> {
        let lists = self.lists(environment)?;
        let mut reading = ServersParser::new(&self.path, &lists.prefix);
        let servers = reading.lists(&lists.by_type);
        if reading.problems.is_empty() { Ok(servers) } else { Err(ConfigError::Invalid(reading.problems)) }
    }
}

/// Parses one environment and collects its problems.
struct ServersParser<'a> {
    path: &'a Path,
    prefix: &'a str,
    ids: HashMap<String, String>,
    addresses: HashMap<(String, u16), String>,
    problems: Vec<Problem>,
}

impl<'a> ServersParser<'a> {
    fn new(path: &'a Path, prefix: &'a str) -> Self {
        Self { path, prefix, ids: HashMap::new(), addresses: HashMap::new(), problems: Vec::new() }
    }

    fn report(&mut self, entry: &str, fault: Fault) {
        self.problems.push(Problem { source: self.path.display().to_string(), entry: entry.to_owned(), fault });
    }

    fn lists(&mut self, lists: &Map<String, Value>) -> Servers {
        for needed in NEEDED.into_iter().filter(|needed| !lists.contains_key(*needed)) {
            self.report(&format!("{}{needed}", self.prefix), Fault::NoServers);
        }
        let read =
            |(server_type, value): (&String, &Value)| Some((server_type.clone(), self.list(server_type, value)?));
        Servers::new(lists.iter().filter_map(read))
    }

    fn list(&mut self, server_type: &str, value: &Value) -> Option<Vec<Server>> {
        let needed = NEEDED.contains(&server_type);
        let entry = format!("{}{server_type}", self.prefix);
        match value {
            Value::Array(items) if needed && items.is_empty() => self.report(&entry, Fault::NoServers),
            Value::Array(items) => {
                // Servers of `clusterCount` are counted over all entries of their type.
                let mut counted = 0;
                let read = |(index, item)| self.item(server_type, &format!("{entry}[{index}]"), item, &mut counted);
                return Some(items.iter().enumerate().flat_map(read).collect());
            }
            other if needed => {
                let fault = Fault::Kind { field: "it", found: other.to_string(), expected: "a list of servers" };
                self.report(&entry, fault);
            }
            // Another key of a Pomelo file, which means something elsewhere.
            _ => {}
        }
        None
    }

    /// Reads the servers of an entry: several if it has `clusterCount`.
    fn item(&mut self, server_type: &str, place: &str, item: &Value, counted: &mut u64) -> Vec<Server> {
        let Value::Object(fields) = item else {
            let fault =
                Fault::Kind { field: "it", found: item.to_string(), expected: "an object of a server's fields" };
            self.report(place, fault);
            return Vec::new();
        };
        match cluster::count(fields) {
            Ok(None) => self.server(server_type, place, fields).into_iter().collect(),
            Ok(Some(count)) => {
                let servers = cluster::expand(fields, server_type, *counted, count);
                *counted += count;
                servers.iter().filter_map(|fields| self.server(server_type, place, fields)).collect()
            }
            Err(found) => {
                self.report(place, Fault::ClusterCount { found });
                Vec::new()
            }
        }
    }

    fn server(&mut self, server_type: &str, place: &str, fields: &Fields) -> Option<Server> {
        let entry = match fields.get("id").and_then(Value::as_str) {
            Some(id) => format!("{place} {id:?}"),
            None => place.to_owned(),
        };
        let is_front = server_type == GATE || server_type == CONNECTOR;
        // All fields are read before any is given up, so that all their problems are reported.
        let id = self.id(&entry, fields);
        let host = self.host(&entry, "host", fields);
        let port = self.port(&entry, "port", fields);
        let client_port = self.port(&entry, "clientPort", fields);
        let (public_host, public_port) = self.public(&entry, fields);
        let frontend = self.frontend(&entry, fields).unwrap_or(is_front);
        if host.is_none() && fields::get(fields, "host").is_none() {
            self.report(&entry, Fault::Missing("host"));
        }
        let has_clients = is_front || server_type == API;
        if has_clients && fields::get(fields, "clientPort").is_none() {
            self.report(&entry, Fault::Missing("clientPort"));
        }
        let server = Server { id: id?, host: host?, port, client_port, public_host, public_port, frontend };
        self.listener(&entry, "port", &server.host, server.port);
        self.listener(&entry, "clientPort", &server.host, server.client_port);
        Some(server)
    }

    /// Notes a listener and reports an address that is used twice.
    fn listener(&mut self, entry: &str, field: &'static str, host: &str, port: Option<u16>) {
        // Servers listen on every address of their host, so the port alone collides there.
        let Some(port) = port else { return };
        let address = (machine(host), port);
        if let Some(other) = self.addresses.get(&address) {
            let other = other.clone();
            self.report(entry, Fault::DuplicateAddress { field, other });
        } else {
            self.addresses.insert(address, format!("{field} of {entry}"));
        }
    }
}

/// One spelling for hosts that are certainly the same machine.
fn machine(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        // Servers listen on every address of their machine, so its loopback names collide with each
        // other.
        Ok(address) if address.is_loopback() => "localhost".to_owned(),
        Ok(address) => address.to_string(),
        Err(_) => host,
    }
}

#[cfg(test)]
mod tests;
