//! The origins of web pages that may connect. Pure.
//!
//! Native clients send no `Origin`. A browser sends the origin of its page; without a check, any
//! page could connect to a server that only the visitors of that page reach.

use std::net::IpAddr;

use model::servers::Servers;

/// Origin of pages that have none: files, and documents in a sandbox.
const OPAQUE: &str = "null";

/// Begins an entry for all hosts below a domain.
const WILDCARD: &str = "*.";

/// Returns true if a page of `origin` may connect to the server that it calls `host` (the `Host`
/// header).
///
/// Pages of the servers' own hosts may; `allowed` are others, each an [entry](is_entry). Ports are
/// ignored; loopback names are one host.
pub fn is_allowed(origin: Option<&str>, host: Option<&str>, servers: &Servers, allowed: &[String]) -> bool {
    // The check protects the visitors of web pages; native clients send no origin.
    let Some(origin) = origin else { return true };
    if allowed.iter().any(|entry| matches(entry, origin)) {
        return true;
    }
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let page = host_of(authority);
    // An origin without a host, such as `file://`, must not match an empty `Host` header.
    let same = |other: &str| !page.is_empty() && same_host(page, host_of(other));
    let is_ours = |public: Option<&str>, host: &str| same(host) || public.is_some_and(same);
    host.is_some_and(same) || servers.all().any(|(_, server)| is_ours(server.public_host.as_deref(), &server.host))
}

/// Returns true if a request may call this server `host` (the `Host` header): an address, or a host
/// in `hosts`. If that list is empty, the names of this machine and the hosts in `servers` and
/// `allowed` may; `is_outside` says that all others may, too, because the client is in the internet.
///
/// A page of any name can have its name point at an address inside the visitor's network (DNS
/// rebinding). Its origin and the host are the same then, so [`is_allowed`] is no protection.
pub fn is_host_allowed(
    host: &str,
    hosts: &[String],
    (servers, allowed): (&Servers, &[String]),
    is_outside: bool,
) -> bool {
    let host = host_of(host);
    let in_list = |list: &[String]| list.iter().any(|entry| matches_host(host_of(entry), host));
    // A name that points elsewhere is the attack; an address cannot.
    if host.is_empty() || host.parse::<IpAddr>().is_ok() || in_list(hosts) {
        return true;
    }
    if !hosts.is_empty() {
        return false;
    }
    let of_origin = |entry: &String| {
        entry == "*" || entry.split_once("://").is_some_and(|(_, page)| matches_host(host_of(page), host))
    };
    let is_ours = |name: &str| same_host(host, host_of(name));
    let is_server =
        servers.all().any(|(_, server)| server.public_host.as_deref().is_some_and(is_ours) || is_ours(&server.host));
    is_outside || is_loopback(host) || is_server || allowed.iter().any(of_origin)
}

/// Returns true for an entry of `frontend.hosts`: a host, or `*.domain` for all below a domain.
pub fn is_host_entry(text: &str) -> bool {
    is_authority(text) && host_of(text).len() == text.trim_matches(['[', ']']).len()
}

/// Returns true for an entry of `frontend.allowed_origins` that a page can match: `scheme://host`,
/// `scheme://*.domain`, `scheme://` where origins have no host, `null`, or `*` for all pages.
pub fn is_entry(text: &str) -> bool {
    if text == "*" || text == OPAQUE {
        return true;
    }
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let has_host = !["http", "https"].iter().any(|with| scheme.eq_ignore_ascii_case(with));
    is_scheme && if authority.is_empty() { has_host } else { is_authority(authority) }
}

/// Browsers send hosts in ASCII (punycode), in lower case, without user and path.
pub(super) fn is_authority(authority: &str) -> bool {
    let host = host_of(authority);
    let name = host.strip_prefix(WILDCARD).unwrap_or(host);
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let around = authority.strip_prefix('[').unwrap_or(authority);
    let rest = around.strip_prefix(host).map(|rest| rest.strip_prefix(']').unwrap_or(rest));
    let has_port = rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
    (is_name || host.parse::<IpAddr>().is_ok()) && has_port
}

fn matches(entry: &str, origin: &str) -> bool {
    if entry == "*" {
        return true;
    }
    let (Some((wanted, pattern)), Some((scheme, page))) = (entry.split_once("://"), origin.split_once("://")) else {
        return entry == origin;
    };
    wanted.eq_ignore_ascii_case(scheme) && matches_host(host_of(pattern), host_of(page))
}

/// Returns true if `host` is that of the pattern, or below the domain of `*.domain`.
fn matches_host(pattern: &str, host: &str) -> bool {
    let is_below = |domain: &str| {
        let below = host.len().checked_sub(domain.len()).and_then(|at| host.split_at_checked(at));
        // With the dot: otherwise `evil-example.org` would be below `example.org`.
        below.is_some_and(|(label, end)| end.eq_ignore_ascii_case(domain) && label.len() > 1 && label.ends_with('.'))
    };
    match pattern.strip_prefix(WILDCARD) {
        Some(domain) => is_below(domain),
        None => same_host(pattern, host),
    }
}

/// `host:port`, `[v6]:port` or a bare host, without the port.
pub(super) fn host_of(authority: &str) -> &str {
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
    let same_address = || one.parse::<IpAddr>().is_ok_and(|one| other.parse() == Ok(one));
    one.eq_ignore_ascii_case(other) || same_address() || (is_loopback(one) && is_loopback(other))
}

pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Server;
    use model::ids::ServerId;
    use model::servers::GATE;

    /// A gate in each of these hosts, with `public` as its advertised host.
    fn servers(hosts: &[&str], public: Option<&str>) -> Servers {
        let server = |(index, host): (usize, &&str)| {
            let id = ServerId::new(&format!("gate-{index}")).unwrap();
            Server { public_host: public.map(str::to_owned), ..Server::new(id, host) }
        };
        Servers::new([(GATE.to_owned(), hosts.iter().enumerate().map(server).collect())])
    }

    fn allowed(origin: &str, host: &str) -> bool {
        let servers = servers(&["chat.example", "127.0.0.1"], Some("play.example"));
        is_allowed(Some(origin), Some(host), &servers, &["https://shop.example".to_owned()])
    }

    /// Returns true if this entry of the list alone lets a page of this origin in.
    fn lets_in(entry: &str, origin: &str) -> bool {
        is_entry(entry) && is_allowed(Some(origin), Some("game.example"), &Servers::default(), &[entry.to_owned()])
    }

    #[test]
    fn native_clients_send_none() {
        assert!(is_allowed(None, Some("a"), &Servers::default(), &[]));
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
        assert!(allowed("https://play.example", "10.0.0.7:3050"));
        assert!(allowed("https://shop.example:8443", "10.0.0.7:3050"));
        assert!(!allowed("http://shop.example", "10.0.0.7:3050"), "another scheme");
    }

    #[test]
    fn loopback_names_are_one_host() {
        assert!(allowed("http://localhost:8000", "127.0.0.1:3050"));
        assert!(allowed("http://[::1]:8000", "10.0.0.7:3050"));
        assert!(!is_allowed(Some("http://localhost"), Some("game.example"), &Servers::default(), &[]));
    }

    #[test]
    fn opaque_origins_are_refused_unless_they_are_listed() {
        for origin in ["null", "file://", "app://main"] {
            assert!(!allowed(origin, "game.example"), "{origin}");
            assert!(lets_in(origin, origin), "{origin}");
            assert!(lets_in("*", origin), "{origin}");
        }
        assert!(!allowed("file://", ""), "no host is not the same host");
        assert!(!lets_in("null", "http://evil.example") && !lets_in("file://", "null"));
    }

    #[test]
    fn a_wildcard_matches_hosts_below_a_domain() {
        for origin in ["https://a.example.org", "https://a.b.EXAMPLE.org:8443"] {
            assert!(lets_in("https://*.example.org", origin), "{origin}");
        }
        for origin in [
            "https://example.org",
            "http://a.example.org",
            "https://aexample.org",
            "https://.example.org",
            "https://é.org",
        ] {
            assert!(!lets_in("https://*.example.org", origin), "{origin}");
        }
    }

    #[test]
    fn entries_that_no_page_can_match_are_refused() {
        for good in ["https://a.b:8443", "http://[::1]:80", "http://::1", "app://x_y", "ionic://localhost", "file://"] {
            assert!(is_entry(good), "{good}");
        }
        for bad in [
            "",
            "a.b",
            "https://",
            "https://*",
            "https://*.",
            "https://a.*.b",
            "https://a*.b",
            "*://a.b",
            "https://a.b/",
            "https://a.b/path",
            "https://me@a.b",
            "https://a b",
            "https://b\u{fc}cher.example",
            "https://a.b:x",
            "NULL",
            "https://a.b:",
            "https://[::1",
            "://a",
            "https://a.b?x",
        ] {
            assert!(!is_entry(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_are_the_same_in_every_spelling() {
        let servers = servers(&["2001:db8::1"], None);
        assert!(is_allowed(Some("http://[2001:DB8:0::1]:80"), None, &servers, &[]));
    }

    /// Returns true if a client at home may call the server this.
    fn may_be_called(host: &str, hosts: &[&str], is_outside: bool) -> bool {
        let servers = servers(&["chat.example", "10.0.0.5"], Some("play.example"));
        let hosts: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
        let allowed = ["https://shop.example".to_owned(), "https://*.pages.example".to_owned()];
        is_host_allowed(host, &hosts, (&servers, &allowed), is_outside)
    }

    #[test]
    fn names_that_a_stranger_chose_are_refused_where_they_could_be_an_attack() {
        let known = ["localhost:3050", "127.0.0.1", "[::1]:3050", "192.168.0.4:80", "chat.example", "PLAY.example:1"];
        for host in known.into_iter().chain(["shop.example", "a.pages.example", "", "2001:db8::1"]) {
            assert!(may_be_called(host, &[], false), "{host}");
        }
        for host in ["evil.example", "chat.example.evil", "xchat.example", "127.0.0.1.evil.example"] {
            assert!(!may_be_called(host, &[], false), "{host}");
            assert!(may_be_called(host, &[], true), "from the internet the name is not the protection");
        }
    }

    #[test]
    fn listed_hosts_are_the_only_names() {
        let hosts = ["www.example", "*.chat.example"];
        for host in ["www.example:443", "eu.chat.example", "203.0.113.5:3050"] {
            assert!(may_be_called(host, &hosts, true), "{host}");
        }
        for host in ["play.example", "localhost", "chat.example", "evil.example"] {
            assert!(!may_be_called(host, &hosts, true), "{host}");
        }
        for entry in ["www.example", "*.chat.example", "203.0.113.5", "[::1]"] {
            assert!(is_host_entry(entry), "{entry}");
        }
        for entry in ["", "*", "www.example:80", "https://www.example", "a/b", "[::1]:80"] {
            assert!(!is_host_entry(entry), "{entry}");
        }
    }
}
