//! The fields of an entry of `servers.json`, in each form that Pomelo reads: numbers and flags may
//! be texts.

use std::net::IpAddr;

use model::ids::ServerId;
use serde_json::Value;
use wire::value;

use super::super::error::Fault;
use super::ServersParser;
use super::cluster::{self, Fields};

/// Returns a field's value; `null` is none.
pub(super) fn get<'f>(fields: &'f Fields, name: &str) -> Option<&'f Value> {
    fields.get(name).filter(|value| !value.is_null())
}

impl ServersParser<'_> {
    pub(super) fn id(&mut self, entry: &str, fields: &Fields) -> Option<ServerId> {
        let Some(value) = get(fields, "id") else {
            self.report(entry, Fault::Missing("id"));
            return None;
        };
        let Some(text) = value::text(value) else {
            self.report(entry, Fault::Kind { field: "id", found: value.to_string(), expected: "a string" });
            return None;
        };
        let id = ServerId::new(&text).map_err(|error| self.report(entry, Fault::Id(error))).ok()?;
        if let Some(other) = self.ids.get(&*text) {
            let other = other.clone();
            self.report(entry, Fault::DuplicateId { other });
        } else {
            self.ids.insert(text.into_owned(), entry.to_owned());
        }
        Some(id)
    }

    /// Reads a host, an IPv6 address with or without brackets; none if the field is missing.
    pub(super) fn host(&mut self, entry: &str, field: &'static str, fields: &Fields) -> Option<String> {
        let value = get(fields, field)?;
        let Value::String(text) = value else {
            self.report(entry, Fault::Kind { field, found: value.to_string(), expected: "a string" });
            return None;
        };
        let host = parse_host(text);
        if host.is_none() {
            self.report(entry, Fault::Host { field, found: text.clone() });
        }
        host
    }

    /// Reads the host and the port for clients that replace `host` and `clientPort`.
    pub(super) fn public(&mut self, entry: &str, fields: &Fields) -> (Option<String>, Option<u16>) {
        let client_host = self.host(entry, "clientHost", fields);
        let public_host = self.host(entry, "pubHost", fields);
        (public_host.or(client_host), self.port(entry, "pubPort", fields))
    }

    pub(super) fn port(&mut self, entry: &str, field: &'static str, fields: &Fields) -> Option<u16> {
        let value = get(fields, field)?;
        let number = match value {
            Value::String(text) => digits(text.trim()),
            other => value::whole(other),
        };
        let port = number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port != 0);
        if port.is_none() {
            let (found, is_rising) = (value.to_string(), cluster::is_rising(value));
            self.report(entry, Fault::Port { field, found, is_rising });
        }
        port
    }

    pub(super) fn frontend(&mut self, entry: &str, fields: &Fields) -> Option<bool> {
        let value = get(fields, "frontend")?;
        // Pomelo hands entries to its processes as texts.
        let flag = match value.as_str() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => value.as_bool(),
        };
        if flag.is_none() {
            let fault = Fault::Kind { field: "frontend", found: value.to_string(), expected: "true or false" };
            self.report(entry, fault);
        }
        flag
    }
}

fn digits(text: &str) -> Option<u64> {
    // `parse` alone would take a sign, as in `+6050`.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Returns the host that a text names, without brackets.
fn parse_host(text: &str) -> Option<String> {
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(inside) = inside {
        return inside.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()).then(|| inside.to_owned());
    }
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || "/:@?#[]\\\"".contains(c);
    let is_name = !text.is_empty() && !text.contains(is_bad);
    (is_name || text.parse::<IpAddr>().is_ok()).then(|| text.to_owned())
}
