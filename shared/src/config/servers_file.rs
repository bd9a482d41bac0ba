//! Reads `servers.json` and refuses what cannot run, with all that is wrong at once. Unknown fields and types are fine.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Json};
use serde_json::Value;

use super::error::{ConfigError, Fault, Problem};
use super::servers::{CHAT, CONNECTOR, GATE, Server, Servers};
use crate::ids::ServerId;

/// The types without which no message arrives.
const NEEDED: [&str; 3] = [GATE, CONNECTOR, CHAT];

impl Servers {
    /// Reads and checks the servers of `environment` in `DIR/servers.json`.
    pub fn load(dir: &Path, environment: &str) -> Result<Self, ConfigError> {
        let path = dir.join("servers.json");
        let text = fs::read_to_string(&path).map_err(|error| ConfigError::read(&path, error))?;
        parse(&path, &text, environment)
    }
}

fn parse(path: &Path, text: &str, environment: &str) -> Result<Servers, ConfigError> {
    let figment = Figment::from(Json::string(text).nested()).select(environment);
    // Figment keeps an error of the text for `extract`; only then are there profiles to look among.
    let lists: BTreeMap<String, Value> = figment.extract().map_err(|error| ConfigError::syntax(path, error.kind))?;
    let known: Vec<String> = figment.profiles().map(|profile| profile.as_str().to_string()).collect();
    if !known.iter().any(|name| name.eq_ignore_ascii_case(environment)) {
        return Err(ConfigError::Environment { path: path.to_owned(), environment: environment.to_owned(), known });
    }
    let mut reading = Reading::new(path, environment);
    let servers = reading.lists(&lists);
    if reading.problems.is_empty() { Ok(servers) } else { Err(ConfigError::Invalid(reading.problems)) }
}

/// What was found so far in one environment.
struct Reading<'a> {
    path: &'a Path,
    environment: &'a str,
    ids: HashMap<String, String>,
    addresses: HashMap<(String, u16), String>,
    problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    fn new(path: &'a Path, environment: &'a str) -> Self {
        Self { path, environment, ids: HashMap::new(), addresses: HashMap::new(), problems: Vec::new() }
    }

    fn report(&mut self, entry: &str, fault: Fault) {
        self.problems.push(Problem { source: self.path.display().to_string(), entry: entry.to_owned(), fault });
    }

    fn lists(&mut self, lists: &BTreeMap<String, Value>) -> Servers {
        for needed in NEEDED.into_iter().filter(|needed| !lists.contains_key(*needed)) {
            self.report(&format!("{}.{needed}", self.environment), Fault::NoServers);
        }
        let read =
            |(server_type, value): (&String, &Value)| Some((server_type.clone(), self.list(server_type, value)?));
        Servers::new(lists.iter().filter_map(read))
    }

    fn list(&mut self, server_type: &str, value: &Value) -> Option<Vec<Server>> {
        let needed = NEEDED.contains(&server_type);
        let entry = format!("{}.{server_type}", self.environment);
        match value {
            Value::Array(items) if needed && items.is_empty() => self.report(&entry, Fault::NoServers),
            Value::Array(items) => {
                let read = |(index, item)| self.server(server_type, &format!("{entry}[{index}]"), item);
                return Some(items.iter().enumerate().filter_map(read).collect());
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

    fn server(&mut self, server_type: &str, place: &str, item: &Value) -> Option<Server> {
        let Value::Object(fields) = item else {
            let fault =
                Fault::Kind { field: "it", found: item.to_string(), expected: "an object of a server's fields" };
            self.report(place, fault);
            return None;
        };
        let entry = match fields.get("id").and_then(Value::as_str) {
            Some(id) => format!("{place} {id:?}"),
            None => place.to_owned(),
        };
        let is_front = server_type == GATE || server_type == CONNECTOR;
        // All fields are read before any is given up, so that all their problems are reported.
        let id = self.id(&entry, fields.get("id"));
        let host = self.host(&entry, fields.get("host"));
        let port = self.port(&entry, "port", fields.get("port"));
        let client_port = self.port(&entry, "clientPort", fields.get("clientPort"));
        let frontend = self.frontend(&entry, fields.get("frontend")).unwrap_or(is_front);
        if is_front && !fields.contains_key("clientPort") {
            self.report(&entry, Fault::Missing("clientPort"));
        }
        let server = Server { id: id?, host: host?, port, client_port, frontend };
        self.listener(&entry, "port", &server.host, server.port);
        self.listener(&entry, "clientPort", &server.host, server.client_port);
        Some(server)
    }

    fn id(&mut self, entry: &str, value: Option<&Value>) -> Option<ServerId> {
        let text = self.text(entry, "id", value)?;
        let id = ServerId::new(text).map_err(|error| self.report(entry, Fault::Id(error))).ok()?;
        if let Some(other) = self.ids.get(text) {
            let other = other.clone();
            self.report(entry, Fault::DuplicateId { other });
        } else {
            self.ids.insert(text.to_owned(), entry.to_owned());
        }
        Some(id)
    }

    fn host(&mut self, entry: &str, value: Option<&Value>) -> Option<String> {
        let text = self.text(entry, "host", value)?;
        let is_name =
            !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "/:@".contains(c));
        if is_name || text.parse::<IpAddr>().is_ok() {
            return Some(text.to_owned());
        }
        self.report(entry, Fault::Host(text.to_owned()));
        None
    }

    fn text<'v>(&mut self, entry: &str, field: &'static str, value: Option<&'v Value>) -> Option<&'v str> {
        match value {
            Some(Value::String(text)) => return Some(text),
            Some(other) => self.report(entry, Fault::Kind { field, found: other.to_string(), expected: "a string" }),
            None => self.report(entry, Fault::Missing(field)),
        }
        None
    }

    fn port(&mut self, entry: &str, field: &'static str, value: Option<&Value>) -> Option<u16> {
        let value = value?;
        let port = value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|port| *port != 0);
        if port.is_none() {
            self.report(entry, Fault::Port { field, found: value.to_string() });
        }
        port
    }

    fn frontend(&mut self, entry: &str, value: Option<&Value>) -> Option<bool> {
        let value = value?;
        if value.as_bool().is_none() {
            let fault = Fault::Kind { field: "frontend", found: value.to_string(), expected: "true or false" };
            self.report(entry, fault);
        }
        value.as_bool()
    }

    /// Notes a listener. Servers listen on every address of their host, so what collides there is the number alone.
    fn listener(&mut self, entry: &str, field: &'static str, host: &str, port: Option<u16>) {
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
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_loopback { "localhost".to_owned() } else { host }
}

#[cfg(test)]
mod tests;
