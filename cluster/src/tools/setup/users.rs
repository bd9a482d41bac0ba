//! The broker's users: one per server of an environment, and those of operators. Pure.

use model::log_parts::LogParts;
use model::servers::Servers;
use model::subjects::permissions::Permissions;
use serde_json::{Value, json};

/// Administers the broker; not in the account of the servers.
pub(super) const SYS: &str = "sys";
/// May do everything in the account of the servers: streams, backups.
const OPERATOR: &str = "operator";
/// Receives every message there, and publishes nothing.
const TRACER: &str = "tracer";

/// Time in which a server must have responded.
const RESPONSE_EXPIRES: &str = "10s";

/// A user of the broker.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) rights: Rights,
}

/// A user's rights.
#[derive(Debug)]
pub(super) enum Rights {
    /// Administers the broker.
    System,
    /// Everything in the account of the servers.
    Everything,
    /// Subscribes to everything there.
    ReadOnly,
    /// The permissions of a server.
    Server(Permissions),
}

/// Returns the users of an environment with a log of so many parts: operators, then servers.
pub(super) fn of(servers: &Servers, parts: LogParts) -> Vec<User> {
    let others = [(SYS, Rights::System), (OPERATOR, Rights::Everything), (TRACER, Rights::ReadOnly)];
    let others = others.map(|(name, rights)| User { name: name.to_owned(), rights });
    let of_servers = servers.all().filter_map(|(server_type, server)| {
        let permissions = Permissions::of(server_type, &server.id, servers, parts)?;
        Some(User { name: server.id.to_string(), rights: Rights::Server(permissions) })
    });
    others.into_iter().chain(of_servers).collect()
}

/// Renders the users as a part of the broker's configuration, with an account that may have the
/// streams of the log. The broker accepts JSON as a value.
pub(super) fn render<'a>(users: impl Iterator<Item = (&'a User, &'a String)>, parts: LogParts) -> String {
    let (mut system, mut chat) = (Vec::new(), Vec::new());
    for (user, password) in users {
        let list = if matches!(user.rights, Rights::System) { &mut system } else { &mut chat };
        list.push(entry(user, password));
    }
    let accounts = json!({
        "SYS": { "users": system },
        "CHAT": { "jetstream": { "max_streams": parts.count() }, "users": chat },
    });
    format!(
        "# Written by `shaddock setup`, and written anew whenever that is run.\nsystem_account: SYS\naccounts: {accounts:#}\n"
    )
}

fn entry(User { name, rights }: &User, password: &str) -> Value {
    let permissions = match rights {
        Rights::System | Rights::Everything => return json!({ "user": name, "password": password }),
        // Without the denial, a user with no list of subjects may publish to all of them.
        Rights::ReadOnly => json!({ "publish": { "deny": [">"] }, "subscribe": [">"] }),
        Rights::Server(Permissions { publish, subscribe, responses: false }) => {
            json!({ "publish": publish, "subscribe": subscribe })
        }
        Rights::Server(Permissions { publish, subscribe, responses: true }) => {
            let responses = json!({ "max": 1, "expires": RESPONSE_EXPIRES });
            json!({ "publish": publish, "subscribe": subscribe, "allow_responses": responses })
        }
    };
    json!({ "user": name, "password": password, "permissions": permissions })
}
