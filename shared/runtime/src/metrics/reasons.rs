//! Counters with one label, the reason. Each reason is a field, made when the process starts: adding
//! searches nothing, no client can add a reason, and Prometheus sees zeros instead of missing series.

use prometheus_client::metrics::counter::Counter as PrometheusCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::counters::{Counter, Metric};

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])+ $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            family: Family<[(&'static str, &'static str); 1], PrometheusCounter>,
            $($(#[$field_doc])+ pub $field: Counter,)+
        }

        impl $name {
            /// The sum of all reasons.
            pub fn get(&self) -> u64 {
                [$(&self.$field),+].into_iter().map(Counter::get).sum()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                let family = Family::<[(&'static str, &'static str); 1], PrometheusCounter>::default();
                $(let $field = Counter(family.get_or_create_owned(&[("reason", stringify!($field))]));)+
                Self { family, $($field,)+ }
            }
        }

        impl Metric for $name {
            fn register(&self, registry: &mut Registry, name: &str, help: &str) {
                registry.register(name, help, self.family.clone());
            }
        }
    };
}

reasons! {
    /// Bus messages that were refused.
    RefusalCounters {
        /// The sender is a stranger, or no server of the type that may send such a message.
        sender,
        /// The response would go to a subject that is not the sender's.
        reply,
        /// The request reads messages on behalf of a member that is not the sender's.
        viewer,
    }
}

reasons! {
    /// Client connections that were refused.
    ConnectionRefusals {
        /// `frontend.max_connections`, or the part of it that addresses with many connections may
        /// have.
        connections,
        /// The limit of open files.
        open_files,
        /// `frontend.max_connections_per_address`, or that of public addresses.
        address,
        /// `frontend.max_handshakes`.
        handshakes,
        /// `frontend.handshakes_per_sec`.
        handshake_rate,
        /// The page's origin.
        origin,
        /// The name by which a request calls the server.
        host,
        /// A trusted proxy sent no PROXY header.
        proxy_header,
        /// The first byte is of no protocol that the server speaks.
        protocol,
        /// The client does not speak TLS, and `tls.plain` forbids that.
        plain,
        /// The TLS handshake failed.
        tls,
    }
}

reasons! {
    /// Client requests that were refused because of an overload.
    OverloadRefusals {
        /// `session.requests_per_sec`.
        requests,
        /// Moves between rooms.
        moves,
        /// `session.bytes_per_sec`.
        bytes,
        /// The same of the client's address.
        address_bytes,
        /// `frontend.max_queued_bytes`.
        queued_bytes,
        /// The part of it that an address may have.
        address_queued_bytes,
        /// `session.max_in_flight`.
        in_flight,
        /// The session's `enter` is pending.
        entering,
        /// `room.max_waiting`.
        room_queue,
        /// `log.pressure_bytes_per_min`, `session.new_rooms_per_min` or `room.members_per_address`,
        /// which have counters of their own.
        quota,
        /// The room's owner refused it.
        room,
    }
}

reasons! {
    /// Sessions that were closed for what they sent.
    InputCloses {
        /// A message or a package is too large.
        size,
        /// The bytes are not the protocol.
        malformed,
        /// The handshake was refused.
        handshake,
        /// More packages than may be.
        flood,
    }
}

reasons! {
    /// Sessions that were closed at a deadline.
    DeadlineCloses {
        /// No request, or none for a websocket, in `frontend.handshake_secs` or
        /// `frontend.keep_alive_secs`.
        request,
        /// No handshake in `frontend.handshake_secs`.
        handshake,
        /// No room in `frontend.enter_secs`.
        enter,
        /// No heartbeat in twice `frontend.heartbeat_secs`.
        heartbeat,
        /// The rest of a message did not come in `frontend.message_secs`.
        message,
    }
}

reasons! {
    /// Sessions that were kicked.
    KickCounters {
        /// `session.max_outbound_bytes`.
        slow,
        /// Another session has the name.
        name_taken,
        /// The client came back through another connection.
        resumed,
        /// `auth.max_sessions_per_user`.
        replaced,
        /// A moderator or the application made it leave its room.
        expelled,
        /// A rule.
        banned,
        /// Its token expired.
        expired,
        /// A route that only an attacker uses.
        attack,
        /// More packages than may be.
        flood,
    }
}
