//! Routes, and the dictionary that abbreviates them. Does not know which routes a server has.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde::{Serialize, Serializer};

use crate::error::WireError;
use crate::message::RouteRef;
use crate::text::to_json;

/// A handler's route, `serverType.handler.method`; no part is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route<'a> {
    /// The type of server that handles it: `gate`, `connector`, `chat`.
    pub server_type: &'a str,
    /// The object there, `entryHandler`.
    pub handler: &'a str,
    /// Its method, `enter`.
    pub method: &'a str,
}

impl<'a> Route<'a> {
    /// Splits `text`.
    ///
    /// # Errors
    /// [`WireError::RouteParts`] unless it has exactly three parts, none of them empty.
    pub fn parse(text: &'a str) -> Result<Self, WireError> {
        let mut parts = text.split('.').filter(|part| !part.is_empty());
        match (parts.next(), parts.next(), parts.next()) {
            (Some(server_type), Some(handler), Some(method)) if text.matches('.').count() == 2 => {
                Ok(Self { server_type, handler, method })
            }
            _ => Err(WireError::RouteParts),
        }
    }
}

/// The two-byte codes of routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dictionary {
    routes: BTreeMap<u16, Arc<str>>,
    codes: HashMap<Arc<str>, u16>,
    version: String,
}

impl Dictionary {
    /// Gives codes from 1 on: to the `handlers` in plain string order, then to the `pushes` in the
    /// order given.
    ///
    /// A route that occurs again keeps its first code. Routes for which no code is left are sent as
    /// text.
    pub fn new<'a>(handlers: impl IntoIterator<Item = &'a str>, pushes: impl IntoIterator<Item = &'a str>) -> Self {
        let mut handlers: Vec<&str> = handlers.into_iter().collect();
        // Sorted, as in Pomelo, so that all servers give the same codes.
        handlers.sort_unstable();
        let mut routes = BTreeMap::new();
        let mut codes = HashMap::new();
        for route in handlers.into_iter().chain(pushes) {
            // Codes follow the count of routes kept, so a doubled route leaves no gap.
            let Ok(code) = u16::try_from(routes.len() + 1) else { break };
            if !codes.contains_key(route) {
                let route: Arc<str> = route.into();
                codes.insert(Arc::clone(&route), code);
                routes.insert(code, route);
            }
        }
        let version = version_of(&routes);
        Self { routes, codes, version }
    }

    /// The dictionary that a server sent, under the version that the server gave it.
    pub fn received(codes: impl IntoIterator<Item = (String, u16)>, version: String) -> Self {
        let codes: HashMap<Arc<str>, u16> = codes.into_iter().map(|(route, code)| (route.into(), code)).collect();
        let routes = codes.iter().map(|(route, code)| (*code, Arc::clone(route))).collect();
        Self { routes, codes, version }
    }

    /// The code that stands for `route`.
    pub fn code(&self, route: &str) -> Option<u16> {
        self.codes.get(route).copied()
    }

    /// The route that `code` stands for.
    pub fn route(&self, code: u16) -> Option<&str> {
        self.routes.get(&code).map(AsRef::as_ref)
    }

    /// The text of a route as it was received; `None` if its code is unknown.
    pub fn resolve<'a>(&'a self, route: &'a RouteRef) -> Option<&'a str> {
        match route {
            RouteRef::Text(text) => Some(text),
            RouteRef::Code(code) => self.route(*code),
        }
    }

    /// The shortest form of `route` to send.
    pub fn abbreviate(&self, route: &str) -> RouteRef {
        self.code(route).map_or_else(|| RouteRef::Text(route.to_owned()), RouteRef::Code)
    }

    /// Identifies the content: base64 of the MD5 of the JSON object from routes to codes, as Pomelo
    /// computes it.
    pub fn version(&self) -> &str {
        // Clients cache a dictionary under it, so it must be the same on all servers and over
        // restarts.
        &self.version
    }

    /// For a handshake: `{"chat.chatHandler.send":1,...}`, in the order of the codes.
    pub(crate) fn route_to_code(&self) -> impl Serialize {
        RouteToCode(&self.routes)
    }

    /// For a handshake: `{"1":"chat.chatHandler.send",...}`.
    pub(crate) fn code_to_route(&self) -> impl Serialize {
        CodeToRoute(&self.routes)
    }
}

fn version_of(routes: &BTreeMap<u16, Arc<str>>) -> String {
    // Texts and numbers always have a JSON form.
    let json = to_json(&RouteToCode(routes)).unwrap_or_default();
    STANDARD.encode(Md5::digest(json))
}

struct RouteToCode<'a>(&'a BTreeMap<u16, Arc<str>>);

impl Serialize for RouteToCode<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(code, route)| (&**route, code)))
    }
}

struct CodeToRoute<'a>(&'a BTreeMap<u16, Arc<str>>);

impl Serialize for CodeToRoute<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(code, route)| (code, &**route)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_three_parts() {
        let route = Route { server_type: "chat", handler: "chatHandler", method: "send" };
        assert_eq!(Route::parse("chat.chatHandler.send"), Ok(route));
        for bad in ["", "noroute", "a.b", "a.b.c.d", "a..c", ".b.c", "a.b.", "a.b.c.", ".a.b.c", "..", "..."] {
            assert_eq!(Route::parse(bad), Err(WireError::RouteParts), "{bad}");
        }
    }

    #[test]
    fn handlers_are_sorted_and_pushes_follow_in_order() {
        let dictionary = Dictionary::new(["gate.g.q", "chat.c.s"], ["onLeave", "onAdd", "onLeave"]);
        let routes: Vec<_> = (0..6).map(|code| dictionary.route(code)).collect();
        assert_eq!(routes, [None, Some("chat.c.s"), Some("gate.g.q"), Some("onLeave"), Some("onAdd"), None]);
        assert_eq!(dictionary.code("onAdd"), Some(4));
        assert_eq!(dictionary.code("onKick"), None);
    }

    #[test]
    fn routes_beyond_the_last_code_are_sent_as_text() {
        let pushes: Vec<String> = (0..70_000).map(|number| format!("push{number}")).collect();
        let dictionary = Dictionary::new([], pushes.iter().map(String::as_str));
        assert_eq!(dictionary.abbreviate("push65534"), RouteRef::Code(u16::MAX));
        assert_eq!(dictionary.abbreviate("push65535"), RouteRef::Text("push65535".to_owned()));
    }

    #[test]
    fn both_forms_resolve() {
        let dictionary = Dictionary::new([], ["onChat"]);
        assert_eq!(dictionary.resolve(&RouteRef::Code(1)), Some("onChat"));
        assert_eq!(dictionary.resolve(&RouteRef::Code(2)), None);
        assert_eq!(dictionary.resolve(&RouteRef::Text("any".to_owned())), Some("any"));
    }
}
