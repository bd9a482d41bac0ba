//! All commands: their names, routes over HTTP, scopes, requests and responses, each declared once.

use model::ids::RoomId;
use serde_json::{Map, Value};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{HttpMethod, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::execute::Execute;
use crate::keys::{ApiKey, Scope};
use crate::refused::{self, Refused};
use crate::request;
use crate::service::Pending;

/// The rights that a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The scope; `None` for any key.
    pub scope: Option<Scope>,
    /// The key must be for all rooms.
    pub all_rooms: bool,
}

impl Need {
    const ANY_KEY: Self = Self { scope: None, all_rooms: false };

    const fn scope(scope: Scope) -> Self {
        Self { scope: Some(scope), all_rooms: false }
    }

    const fn everywhere(scope: Scope) -> Self {
        Self { scope: Some(scope), all_rooms: true }
    }

    /// Refuses a key without these rights.
    pub(crate) fn check(self, key: &ApiKey) -> Result<(), Refused> {
        if let Some(scope) = self.scope.filter(|scope| !key.has(*scope)) {
            return Err(Refused::scope(scope));
        }
        if self.all_rooms && !key.is_for_all_rooms() { Err(refused::NOT_FOR_ALL_ROOMS) } else { Ok(()) }
    }
}

macro_rules! commands {
    ($($kind:ident($request:ident): $name:literal, $method:ident $path:literal, $need:expr, $summary:literal;)+) => {
        /// A kind of command.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $summary] $kind,)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// The name on the bus, and in batches.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// The method over HTTP.
            pub fn method(self) -> HttpMethod {
                match self { $(Self::$kind => HttpMethod::$method,)+ }
            }

            /// The path over HTTP, below `/v1`.
            pub fn path(self) -> &'static str {
                match self { $(Self::$kind => $path,)+ }
            }

            /// The rights that it needs at least; some requests need more.
            pub fn need(self) -> Need {
                match self { $(Self::$kind => $need,)+ }
            }

            /// The first sentence of its description.
            pub fn summary(self) -> &'static str {
                match self { $(Self::$kind => $summary,)+ }
            }

            /// The schema of its request: what the path, the query and the body have together.
            pub(crate) fn request_schema(self) -> RefOr<Schema> {
                match self { $(Self::$kind => <request::$request as PartialSchema>::schema(),)+ }
            }

            /// The name and the schema of its response, and those that it refers to.
            pub(crate) fn reply_schemas(self) -> Vec<(String, RefOr<Schema>)> {
                match self {
                    $(Self::$kind => reply_schemas::<<request::$request as Execute>::Reply>(),)+
                }
            }

            /// Returns true if it is an act, which has an idempotency key.
            pub fn is_act(self) -> bool {
                match self { $(Self::$kind => <request::$request as Execute>::IS_ACT,)+ }
            }

            /// Parses a request.
            pub(crate) fn parse(self, members: Map<String, Value>) -> Result<Command, Refused> {
                match self {
                    $(Self::$kind => parse::<request::$request>(members).map(Command::$kind),)+
                }
            }
        }

        /// A command, parsed.
        #[derive(Debug)]
        pub(crate) enum Command {
            $($kind(request::$request),)+
        }

        impl Command {
            /// The room that it is about.
            pub(crate) fn room(&self) -> Option<&RoomId> {
                match self { $(Self::$kind(request) => request.room(),)+ }
            }

            /// The commands that it counts as.
            pub(crate) fn cost(&self) -> u32 {
                match self { $(Self::$kind(request) => request.cost(),)+ }
            }

            /// Begins it now; the returned future ends with its response.
            pub(crate) fn begin(self, context: &crate::service::Context) -> Pending {
                match self { $(Self::$kind(request) => crate::execute::begin(request, context),)+ }
            }
        }
    };
}

commands! {
    Publish(Publish): "publish", Post "/rooms/{rid}/messages", Need::scope(Scope::Publish), "Sends a message to a room.";
    Broadcast(Broadcast): "broadcast", Post "/broadcast", Need::scope(Scope::Publish), "Sends a message to many rooms: to each exactly once, but not to all at one time.";
    Info(Info): "info", Get "/rooms/{rid}", Need::scope(Scope::Read), "Looks at a room.";
    Rooms(ListRooms): "rooms", Get "/rooms", Need::scope(Scope::Read), "Lists rooms that have a log.";
    Members(ListMembers): "members", Get "/rooms/{rid}/members", Need::scope(Scope::Read), "Lists the members of a room.";
    History(ReadMessages): "history", Get "/rooms/{rid}/messages", Need::scope(Scope::Read), "Reads messages of a room: the newest, or those before or after one.";
    Rules(ListRules): "rules", Get "/rooms/{rid}/rules", Need::scope(Scope::Read), "Lists the rules of a room.";
    Rule(SetRule): "rule", Put "/rooms/{rid}/rules/{target}", Need::scope(Scope::Moderate), "Mutes or bans a user in a room.";
    Unrule(EndRule): "unrule", Delete "/rooms/{rid}/rules/{target}", Need::scope(Scope::Moderate), "Ends a rule of a room.";
    Expel(Expel): "expel", Delete "/rooms/{rid}/members/{name}", Need::scope(Scope::Moderate), "Makes a member leave a room.";
    Sessions(ListSessions): "sessions", Get "/users/{uid}/sessions", Need::everywhere(Scope::Users), "Lists the sessions of a user on all connectors.";
    Disconnect(Disconnect): "disconnect", Delete "/users/{uid}/sessions", Need::everywhere(Scope::Users), "Ends the sessions of a user on all connectors.";
    Ban(Ban): "ban", Put "/users/{uid}/ban", Need::everywhere(Scope::Users), "Bans a user from all rooms.";
    Unban(Unban): "unban", Delete "/users/{uid}/ban", Need::everywhere(Scope::Users), "Ends a ban from all rooms.";
    Revoke(Revoke): "revoke", Post "/users/{uid}/revoke", Need::everywhere(Scope::Users), "Makes a user's earlier tokens void.";
    Users(ListUsers): "users", Get "/users", Need::everywhere(Scope::Users), "Lists connected users.";
    Servers(ListServers): "servers", Get "/servers", Need::scope(Scope::Admin), "Lists the servers and their states.";
    Batch(Batch): "batch", Post "/batch", Need::ANY_KEY, "Executes many commands.";
}

impl Kind {
    /// Returns the kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

fn parse<T: serde::de::DeserializeOwned>(members: Map<String, Value>) -> Result<T, Refused> {
    serde_json::from_value(Value::Object(members)).map_err(|error| {
        let text = error.to_string();
        // The member's own word, or else that of the whole.
        let reason = if text.starts_with("bad-") { text } else { format!("bad-body: {text}") };
        Refused { code: 400, reason: reason.into() }
    })
}

fn reply_schemas<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    schemas
}
