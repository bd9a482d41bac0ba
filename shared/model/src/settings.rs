//! All settings, one struct per section of `config/settings.toml`. The defaults are here and in
//! that file.

mod secret;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::log_parts::LogParts;
use crate::network::Networks;
use crate::permissions::Level;

pub use secret::Secret;

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])+ $field:ident: $type:ty = $default:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])+ pub $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }
    };
}

section! {
    /// Everything in `config/settings.toml`.
    Settings {
        /// Address that gate and connectors listen on; `host` of `servers.json` is only the host
        /// for clients.
        bind: IpAddr = IpAddr::from([0, 0, 0, 0]),
        /// The HTTP API for operators.
        admin: AdminSettings = AdminSettings::default(),
        /// Client connections.
        frontend: FrontendSettings = FrontendSettings::default(),
        /// TLS of client connections.
        tls: TlsSettings = TlsSettings::default(),
        /// Settings of gates only.
        gate: GateSettings = GateSettings::default(),
        /// Limits of one session.
        session: SessionSettings = SessionSettings::default(),
        /// Rooms and their messages.
        room: RoomSettings = RoomSettings::default(),
        /// Logins of clients.
        auth: AuthSettings = AuthSettings::default(),
        /// Names of members.
        names: NameSettings = NameSettings::default(),
        /// Permissions of clients, by rooms; the first that matches a room counts.
        namespaces: Vec<NamespaceSettings> = Vec::new(),
        /// Rights of the roles that tokens may name.
        roles: BTreeMap<String, RoleSettings> = BTreeMap::new(),
        /// The rooms' log.
        log: LogSettings = LogSettings::default(),
        /// RPC between servers.
        rpc: RpcSettings = RpcSettings::default(),
        /// The connection to NATS.
        nats: NatsSettings = NatsSettings::default(),
        /// Starting and stopping.
        lifecycle: LifecycleSettings = LifecycleSettings::default(),
    }
}

section! {
    /// `[admin]`: health, metrics and status over HTTP.
    AdminSettings {
        /// Address that each server's `port` of `servers.json` is listened on; loopback only unless
        /// set otherwise.
        bind: IpAddr = IpAddr::from([127, 0, 0, 1]),
        /// Bearer token for `/status` of a gate; empty: no token is needed, and in the environment
        /// `production` there is no `/status`.
        token: Secret = Secret::default(),
    }
}

section! {
    /// `[frontend]`: client connections of gate and connectors.
    FrontendSettings {
        /// Seconds between heartbeats on a connector; 0 turns them off. A client silent for twice
        /// as long is closed.
        heartbeat_secs: u32 = 30,
        /// Seconds from the TCP connection to the Pomelo handshake's ack.
        handshake_secs: u32 = 10,
        /// Seconds that an HTTP connection may be idle between two requests.
        // A load balancer must close it earlier, so this is more than the usual 60 s.
        keep_alive_secs: u32 = 75,
        /// Seconds from the ack to the first successful `enter`.
        enter_secs: u32 = 30,
        /// Client connections per server; above, new ones are answered 503.
        max_connections: usize = 20_000,
        /// Client connections per address and server; above, new ones are answered 429. IPv6
        /// addresses are counted by /64.
        max_connections_per_address: usize = 5_000,
        /// The same of a public address: not of loopback, private, link-local and carrier-grade NAT
        /// addresses, behind which may be many clients.
        max_connections_per_public_address: usize = 500,
        /// Client connections per server whose handshake is not complete; above, new ones are
        /// answered 503.
        max_handshakes: usize = 4_096,
        /// Connections per second of a public address, 5 times as many at once; above, they are
        /// closed before anything is read. 0: no limit.
        // Off: behind a container's port mapping, or a proxy that is not trusted, all clients have
        // one address.
        handshakes_per_sec: u32 = 0,
        /// Bytes of request bodies that wait in a server until their requests are decided; an
        /// eighth of them of one public address. Above, requests are answered 429.
        max_queued_bytes: usize = 32 * 1024 * 1024,
        /// Connections that the system may complete before a server accepts them.
        backlog: u32 = 4_096,
        /// Bytes of the system's send buffer per connection, which the system doubles; 0: as the
        /// system chooses.
        // The system's choice grows to several megabytes for a client that reads nothing.
        send_buffer_bytes: usize = 256 * 1024,
        /// Seconds from the first byte of a websocket message to its last.
        message_secs: u32 = 10,
        /// Clients may connect over TCP without a websocket.
        tcp: bool = true,
        /// Networks and addresses of proxies, whose `X-Forwarded-For` names the client.
        trusted_proxies: Networks = Networks::default(),
        /// Connections of those proxies begin with a PROXY header, version 1 or 2.
        proxy_protocol: bool = false,
        /// Batching interval of writes to a client with much traffic, in milliseconds; 0: no
        /// batching. Less frequent writes are never delayed.
        write_gap_ms: u32 = 2,
        /// Announces the route dictionary in handshakes.
        use_dictionary: bool = true,
        /// Other origins of web pages that may connect, as `scheme://host`, or `*` for all.
        allowed_origins: Vec<String> = Vec::new(),
        /// The names by which clients call gates and connectors, as hosts or `*.domain`; requests
        /// with another `Host` are answered 421. Empty: from pages in private networks the hosts in
        /// `servers.json` and in `allowed_origins`, and `localhost`. Addresses may always be used.
        hosts: Vec<String> = Vec::new(),
    }
}

section! {
    /// `[tls]`: TLS of client connections, on the `clientPort` of gates and connectors.
    TlsSettings {
        /// File with the servers' certificate and those above it, as PEM; empty: no TLS.
        cert_file: String = String::new(),
        /// File with the key of the certificate, as PEM.
        key_file: String = String::new(),
        /// The oldest version that clients may speak.
        // libpomelo2 speaks 1.2 only.
        min_version: TlsVersion = TlsVersion::V1_2,
        /// Clients that may connect without TLS although there is a certificate.
        plain: PlainClients = PlainClients::Loopback,
        /// A proxy ends TLS: servers take plain connections, and gates tell clients to use TLS.
        by_proxy: bool = false,
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// Version 1.2.
    #[serde(rename = "1.2")]
    V1_2,
    /// Version 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Clients that may connect without TLS to a server that has a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlainClients {
    /// None.
    Never,
    /// Addresses of the server's own machine, for health checks.
    Loopback,
    /// All, while clients are switched over.
    Always,
}

section! {
    /// `[gate]`: what only gates do.
    GateSettings {
        /// Serves the demo page to a browser that opens the gate. It has no rights that another
        /// client lacks.
        demo_page: bool = true,
    }
}

section! {
    /// `[session]`: limits of one client connection.
    SessionSettings {
        /// Largest package body in bytes before a session entered a room.
        max_package_before_enter: usize = 4 * 1024,
        /// Largest package body in bytes.
        max_package: usize = 64 * 1024,
        /// Units per second that a session's requests may cost, on average: `send` 1, and 1 for each
        /// full 4 KiB; `enter` 5, `history` 10, `members` 3, all others 1.
        requests_per_sec: u32 = 50,
        /// Units that a session's requests may cost at once.
        request_burst: u32 = 100,
        /// Bytes per second that a session may `send`, on average, and at least 160 for each unit of
        /// `requests_per_sec`. All sessions of a public address may send 16 times as many.
        bytes_per_sec: u32 = 8_192,
        /// Bytes that a session may send at once.
        byte_burst: u32 = 256 * 1024,
        /// Requests of a session that may wait for their responses.
        max_in_flight: usize = 64,
        /// Bytes that may wait to be written to a session; above, it is closed.
        max_outbound_bytes: usize = 1024 * 1024,
        /// Rooms per minute that the sessions of a public address may enter at a connector that
        /// does not follow them yet; each session where the address is not public.
        new_rooms_per_min: u32 = 20,
        /// Seconds that a session stays in its room when its connection breaks, for its client to
        /// come back unnoticed; 0: it leaves at once.
        resume_secs: u32 = 3,
    }
}

section! {
    /// `[room]`: rooms and their messages.
    RoomSettings {
        /// Members per room.
        max_members: usize = 1_000,
        /// Members per room, connector and public address.
        members_per_address: usize = 100,
        /// Members above which a room is large: clients receive the member count, once a second,
        /// instead of each join and leave.
        large_members: usize = 500,
        /// Bytes of `content`, measured as JSON in the form in which it is sent to clients.
        max_content: usize = 16 * 1024,
        /// Forbidden words; compared without regard to case.
        forbidden_words: Vec<String> = Vec::new(),
        /// Treatment of a message with a forbidden word.
        forbidden: Forbidden = Forbidden::Refuse,
        /// A session that enters under a name that another session has takes it, and the other is
        /// kicked; else the new session is refused.
        newest_wins: bool = false,
        /// Requests that may wait for a room on one connector; above, they are answered 429.
        max_waiting: usize = 4_096,
        /// Records of joins and leaves alone, per minute, above which those of a room in which
        /// members come and go wait for up to a second, to share a record; 0: never.
        // Each record counts towards `log.max_records`, and would evict a message.
        presence_records_per_min: usize = 60,
        /// Seconds that a connector continues to follow a room after its last local member left; at
        /// least `session.resume_secs`.
        linger_secs: u32 = 5,
        /// Seconds of silence after which a connector is down and its members leave.
        lease_secs: u32 = 10,
        /// Seconds after which a chat server drops the state of a room that no connector follows;
        /// the log keeps it.
        forget_secs: u32 = 60,
    }
}

/// Treatment of a message with a forbidden word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forbidden {
    /// The sender gets an error, and the message is not sent.
    Refuse,
    /// Each character of the word becomes `*`.
    Mask,
}

section! {
    /// `[auth]`: logins of clients by tokens of the application (JWT).
    AuthSettings {
        /// Clients that need a token.
        mode: AuthMode = AuthMode::Off,
        /// File with the key that the application shares with the servers (HS256, HS384, HS512), at
        /// least 32 bytes; empty for none, as in all that follow.
        hmac_file: String = String::new(),
        /// File with another such key, which is accepted as well: the one before, during a change.
        hmac_previous_file: String = String::new(),
        /// File with public keys of the application, as PEM: RSA, P-256, P-384, Ed25519.
        public_keys_file: String = String::new(),
        /// File with a set of JSON Web Keys.
        jwks_file: String = String::new(),
        /// `https` URL of such a set, at an identity provider.
        jwks_url: String = String::new(),
        /// File with the certificates of the authorities to trust for that, as PEM, instead of the
        /// system's.
        jwks_ca_file: String = String::new(),
        /// Allows `http` to hosts other than this machine.
        jwks_allow_http: bool = false,
        /// The audience that a token must be for; empty: any, as of the next.
        audience: String = String::new(),
        /// The issuer that a token must be of.
        issuer: String = String::new(),
        /// Seconds by which the clocks of issuer and servers may differ.
        leeway_secs: u32 = 30,
        /// Hours since its `iat` for which a token is accepted; 0: until it expires, and it may have
        /// no `iat`.
        max_age_hours: u32 = 24,
        /// Largest token, in bytes.
        max_token_bytes: usize = 3_072,
        /// Source of the name of a user with a token.
        name: TokenName = TokenName::Claim,
        /// Begins names of clients without a token where mode is "optional", and none of users; empty:
        /// both may have any names.
        anonymous_prefix: String = "guest-".to_owned(),
        /// Sessions whose token expires.
        on_expiry: OnExpiry = OnExpiry::Kick,
        /// Seconds from the expiry of its token to a session's end.
        expiry_grace_secs: u32 = 30,
        /// Sessions of a user on a connector; the oldest is kicked for one more. 0: no limit.
        max_sessions_per_user: usize = 8,
        /// A user who enters under the name that another session of the user has.
        same_user: SameUser = SameUser::Newest,
        /// Gates read tokens as connectors do, and choose the connector by `sub`.
        gate: bool = false,
    }
}

/// Clients that need a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// None: no token is read.
    Off,
    /// Clients that have one; others are anonymous.
    Optional,
    /// All.
    Required,
}

/// Source of the name of a user with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenName {
    /// The claim `name`, without it `sub`.
    Claim,
    /// The claim `sub`.
    Sub,
    /// The client: any free one.
    Free,
}

/// A user who enters under the name that another session of the user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameUser {
    /// The newest session has it; the other one is kicked.
    Newest,
    /// The name is taken.
    Refuse,
}

/// Treatment of a session whose token expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExpiry {
    /// It is kicked, unless its client brings a new token.
    Kick,
    /// It stays; the token is checked when it enters a room.
    Keep,
}

section! {
    /// `[names]`: names of members.
    NameSettings {
        /// Names that may enter.
        profile: NameProfile = NameProfile::Strict,
        /// Names that no client may have, nor one that looks alike. Of the strict profile only, as
        /// is the next.
        reserved: Vec<String> = vec!["system".to_owned()],
        /// Treatment of a name that looks like an ASCII name in the room.
        confusable: ConfusableNames = ConfusableNames::Refuse,
    }
}

/// Names that may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameProfile {
    /// Names without invisible characters, in Unicode's composed form.
    Strict,
    /// All without control characters and `*`.
    Any,
}

/// Treatment of a name that looks like an ASCII name in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfusableNames {
    /// It counts as taken.
    Refuse,
    /// It is another name.
    Allow,
}

section! {
    /// `[[namespaces]]`: the clients that may do something in the rooms of a namespace. Without a
    /// namespace all may do everything but moderate.
    NamespaceSettings {
        /// The ids of the rooms: `*` stands for any characters, `?` for one.
        #[serde(rename = "match")]
        rooms: String = String::new(),
        /// Clients that may enter.
        enter: Level = Level::Any,
        /// Those that may send messages to the room.
        send: Level = Level::Any,
        /// Those that may send whispers.
        whisper: Level = Level::Any,
        /// Those that may read earlier messages.
        read: Level = Level::Any,
        /// Those that see the names of the members.
        list: Level = Level::Any,
        /// Those that may send signals. Kept for these: there are none so far.
        signal: Level = Level::Any,
        /// Least seconds between two messages of a member; 0: no limit.
        slow_secs: u32 = 0,
    }
}

section! {
    /// `[roles.NAME]`: the rights of users whose token names the role.
    RoleSettings {
        /// Actions: `enter`, `send`, `whisper`, `read`, `list`, `signal`, `moderate`, or `*` for all.
        allow: Vec<String> = Vec::new(),
        /// The ids of the rooms, as in a namespace.
        #[serde(rename = "match")]
        rooms: String = "*".to_owned(),
    }
}

section! {
    /// `[log]`: the rooms' log, and the form of what servers log on stderr.
    LogSettings {
        /// Form of the lines that servers log on stderr.
        format: LogFormat = LogFormat::Text,
        /// Records kept per room; at least 512.
        // A checkpoint is then always among them.
        max_records: usize = 10_000,
        /// Bytes kept per room; at least 4 MiB, for the same reason. Of a log in memory only.
        max_room_bytes: usize = 64 * 1024 * 1024,
        /// Bytes kept in all rooms of a log; above, new messages are refused with 507. The last
        /// twentieth is for joins and leaves.
        max_total_bytes: usize = 1024 * 1024 * 1024,
        /// Part of a stream's space above which clients and rooms are limited by the next two.
        pressure: f64 = 0.8,
        /// Bytes per minute that the sessions of a public address may append under pressure, at all
        /// connectors together and at least 4,096 at each; each session where the address is not
        /// public.
        pressure_bytes_per_min: u32 = 16 * 1024,
        /// Part of a stream's space that the messages of one room may take lately; rooms above it
        /// are refused messages under pressure.
        room_share: f64 = 0.02,
        /// Hours that records are kept.
        max_age_hours: u32 = 7 * 24,
        /// Streams that a log is created with, between which its rooms are divided: 1, 2, 4, 8, 16,
        /// 32 or 64. Each may have its part of `max_total_bytes`.
        streams: usize = 1,
        /// Servers of a NATS cluster that keep each record. Of a log in JetStream only, as is the
        /// next.
        replicas: usize = 1,
        /// Milliseconds after which an append without a response is unclear, and a read has failed.
        timeout_ms: u32 = 2_000,
    }
}

/// Form of the lines that servers log on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: a JSON object per line, with the same fields.
    Json,
}

section! {
    /// `[rpc]`: RPC between servers.
    RpcSettings {
        /// Milliseconds until a client's request is answered 503, its outcome unknown.
        request_ms: u32 = 5_000,
        /// Milliseconds after which a request between servers without a response is repeated.
        repeat_ms: u32 = 1_000,
        /// The longest time for which a connector holds client requests, in milliseconds, so that
        /// requests that arrive meanwhile are proposed, decided and pushed together; 0: no
        /// batching. The time grows with the load; light load is never delayed.
        gather_ms: u32 = 3,
        /// Milliseconds between heartbeats from connectors to chat servers, and from gates to
        /// connectors.
        heartbeat_ms: u32 = 500,
        /// Messages that may wait in a server's subscription; above, new ones are dropped and
        /// counted.
        subscription_queue: usize = 65_536,
        /// Signing of messages between servers. Only over NATS.
        signatures: Signatures = Signatures::Off,
        /// Directory with `ID.seed`, the secret key of each server that runs in this process.
        key_dir: String = String::new(),
        /// File with the public keys of all servers; empty: `keys.json` in `key_dir`.
        keys_file: String = String::new(),
    }
}

/// Signing of messages between servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signatures {
    /// Not at all.
    Off,
    /// Signed; of those that come signed ones are verified, and unsigned ones taken: to switch over
    /// a cluster that runs.
    Accept,
    /// Signed; unsigned ones are dropped.
    Require,
}

section! {
    /// `[nats]`: the connection to NATS.
    NatsSettings {
        /// First token of every subject, for several clusters on one NATS server; empty for none.
        /// Without NATS it is ignored, as all of this section.
        prefix: String = String::new(),
        /// Start without a broker and wait for it, instead of ending with an error.
        wait_for_broker: bool = false,
        /// Seconds until an attempt to connect is given up.
        connect_secs: u32 = 5,
        /// Seconds between pings that notice a dead connection.
        ping_secs: u32 = 2,
        /// Longest milliseconds between attempts to reconnect; each wait is drawn at random below
        /// it.
        reconnect_max_ms: u32 = 2_000,
        /// Messages that may wait for the connection; above, new ones are dropped and counted.
        publish_queue: usize = 8_192,
        /// File with the JWT and the seed of a user, as `nsc` writes it; empty for none, as in all
        /// that follow.
        credentials_file: String = String::new(),
        /// File with the seed of a user's NKey, as `nk -gen user` writes it.
        nkey_file: String = String::new(),
        /// Name of a user. Here and in the files, those of authorities apart, `{id}` stands for the
        /// server's id.
        user: String = String::new(),
        /// File with the user's password.
        password_file: String = String::new(),
        /// File with a token.
        token_file: String = String::new(),
        /// File with the certificates of the authorities that we trust, as PEM, instead of the
        /// system's.
        tls_ca_file: String = String::new(),
        /// File with our own certificate and those above it, as PEM.
        tls_cert_file: String = String::new(),
        /// File with the key of our certificate, as PEM.
        tls_key_file: String = String::new(),
        /// Requires TLS. A file for TLS requires it as well.
        tls_required: bool = false,
        /// Begins TLS with the first byte, for a broker with `handshake_first`.
        tls_first: bool = false,
    }
}

section! {
    /// `[lifecycle]`: starting and stopping.
    LifecycleSettings {
        /// Seconds that a server has to finish what it accepted before it is ended.
        grace_secs: u32 = 10,
        /// Seconds over which a connector that runs alone sends its clients elsewhere before it
        /// ends; 0: it ends at once.
        drain_secs: u32 = 5,
    }
}

/// In the user's name and in files' names: the id of the server that signs in.
const ID: &str = "{id}";

impl NatsSettings {
    /// Returns the settings with this server's id in the place of `{id}`. So all servers of a
    /// deployment can have the same settings, and each signs in as itself.
    #[must_use]
    pub fn for_server(&self, id: &str) -> Self {
        let named = |text: &String| text.replace(ID, id);
        Self {
            credentials_file: named(&self.credentials_file),
            nkey_file: named(&self.nkey_file),
            user: named(&self.user),
            password_file: named(&self.password_file),
            token_file: named(&self.token_file),
            tls_cert_file: named(&self.tls_cert_file),
            tls_key_file: named(&self.tls_key_file),
            ..self.clone()
        }
    }
}

impl NameSettings {
    /// Returns true if a name that looks like an ASCII name in the room counts as taken.
    pub fn refuses_imitations(&self) -> bool {
        self.profile == NameProfile::Strict && self.confusable == ConfusableNames::Refuse
    }
}

impl TlsSettings {
    /// Returns true if servers have a certificate, and take TLS.
    pub fn is_on(&self) -> bool {
        !self.cert_file.is_empty()
    }

    /// Returns true if clients are to connect with TLS: to the servers, or to a proxy before them.
    pub fn is_for_clients(&self) -> bool {
        self.is_on() || self.by_proxy
    }
}

impl FrontendSettings {
    /// A public address may have one part of this many of `max_queued_bytes`.
    pub const QUEUED_SHARE: usize = 8;
}

impl LogSettings {
    /// The division of a new log into parts, one for each stream.
    pub fn parts(&self) -> LogParts {
        // The start checks the number.
        LogParts::new(self.streams).unwrap_or_default()
    }

    /// Bytes that each part of the log may keep.
    pub fn max_part_bytes(&self, parts: LogParts) -> usize {
        self.max_total_bytes / parts.count()
    }

    /// Time limit of a response of the log.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.into())
    }
}

impl RpcSettings {
    /// Time until a client's request is answered 503.
    pub fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms.into())
    }

    /// Time after which a request without a response is repeated.
    pub fn repeat(&self) -> Duration {
        Duration::from_millis(self.repeat_ms.into())
    }

    /// The longest hold of client requests.
    pub fn gather(&self) -> Duration {
        Duration::from_millis(self.gather_ms.into())
    }

    /// Time between heartbeats.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms.into())
    }
}
