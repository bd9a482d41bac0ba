//! Which web pages may connect. Pure.
//!
//! Native clients send no `Origin`. A browser says whose page it is, and a page of anybody could otherwise speak to a
//! server that only its visitors reach.

use std::net::IpAddr;

/// Whether a page of `origin` may connect to the server that it calls `host` (the `Host` header).
///
/// `hosts` are the cluster's, `allowed` are `scheme://host` or `*`. Ports are ignored; loopback names are one host.
pub fn is_allowed(origin: Option<&str>, host: Option<&str>, hosts: &[String], allowed: &[String]) -> bool {
    let Some(origin) = origin else { return true };
    if allowed.iter().any(|entry| entry == "*") {
        return true;
    }
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let page = host_of(authority);
    let same = |other: &str| same_host(page, host_of(other));
    host.is_some_and(same)
        || hosts.iter().any(|other| same(other))
        || allowed.iter().any(|entry| {
            entry.split_once("://").is_some_and(|(wanted, other)| wanted.eq_ignore_ascii_case(scheme) && same(other))
        })
}

/// `host:port`, `[v6]:port` or a bare host, without the port.
fn host_of(authority: &str) -> &str {
    if let Some((inside, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inside;
    }
    match authority.split_once(':') {
        // Several colons and no brackets: an IPv6 address as it is in servers.json.
        Some((host, rest)) if !rest.contains(':') => host,
        _ => authority,
    }
}

fn same_host(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || (is_loopback(one) && is_loopback(other))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: &str, host: &str) -> bool {
        let hosts = ["chat.example".to_owned(), "127.0.0.1".to_owned()];
        is_allowed(Some(origin), Some(host), &hosts, &["https://shop.example".to_owned()])
    }

    #[test]
    fn native_clients_send_none() {
        assert!(is_allowed(None, Some("a"), &[], &[]));
    }

    #[test]
    fn pages_of_the_same_host_on_any_port() {
        assert!(allowed("http://game.example:8080", "game.example:3050"));
        assert!(allowed("https://GAME.example", "game.example:3050"));
        assert!(!allowed("http://evil.example", "game.example:3050"));
        assert!(!allowed("http://game.example.evil.example", "game.example"));
    }

    #[test]
    fn pages_of_the_cluster_and_of_the_list() {
        assert!(allowed("http://chat.example", "10.0.0.7:3050"));
        assert!(allowed("https://shop.example:8443", "10.0.0.7:3050"));
        assert!(!allowed("http://shop.example", "10.0.0.7:3050"), "another scheme");
    }

    #[test]
    fn loopback_names_are_one_host() {
        assert!(allowed("http://localhost:8000", "127.0.0.1:3050"));
        assert!(allowed("http://[::1]:8000", "10.0.0.7:3050"));
        assert!(!is_allowed(Some("http://localhost"), Some("game.example"), &[], &[]));
    }

    #[test]
    fn what_is_no_origin_is_refused_unless_all_are_allowed() {
        assert!(!allowed("null", "game.example"));
        assert!(is_allowed(Some("null"), None, &[], &["*".to_owned()]));
    }
}
