//! Metrics of a connector: its share of the process's gauges, and the duration and code of its
//! clients' requests.

use follower::connector_state::{ClientResponse, Gauges};
use follower::room::RoomResponse;
use follower::route::ClientRoute;
use runtime::metrics::{Counter, GaugeShare, Metrics, OverloadRefusals, RouteLabel};
use tokio::time::Instant;

/// The connector's share of the process's gauges; dropping it takes the share away.
pub(crate) struct ConnectorGauges {
    rooms: GaugeShare,
    members: GaugeShare,
    in_flight: GaugeShare,
    commands: GaugeShare,
    messages: GaugeShare,
}

impl ConnectorGauges {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            rooms: metrics.rooms_followed.share(),
            members: metrics.members.share(),
            in_flight: metrics.requests_in_flight.share(),
            commands: metrics.queue_commands.share(),
            messages: metrics.queue_bus_messages.share(),
        }
    }

    /// Sets the gauges of rooms, members and requests.
    pub(crate) fn set(&mut self, Gauges { rooms, members, in_flight }: Gauges) {
        self.rooms.set(rooms);
        self.members.set(members);
        self.in_flight.set(in_flight);
    }

    /// Sets the gauges of the two input queues.
    pub(crate) fn set_queues(&mut self, commands: usize, messages: usize) {
        self.commands.set(commands);
        self.messages.set(messages);
    }
}

/// Start times of one client's requests in flight: at most `session.max_in_flight`, and one that is
/// refused.
#[derive(Debug, Default)]
pub(crate) struct RequestTimers(Vec<(u32, RouteLabel, Instant)>);

impl RequestTimers {
    /// Notes that a request arrived.
    pub(crate) fn start(&mut self, id: u32, route: ClientRoute) {
        self.0.push((id, RouteLabel::of(route.name()), Instant::now()));
    }

    /// Notes that a request was answered, with this code, and counts it.
    pub(crate) fn stop(&mut self, id: u32, (code, response): (u16, &ClientResponse), metrics: &Metrics) {
        let Some(index) = self.0.iter().position(|(waiting, ..)| *waiting == id) else { return };
        let (_, asked, since) = self.0.swap_remove(index);
        metrics.requests_answered.add(asked, code);
        metrics.stage_seconds.edge.add(since.elapsed());
        if code == 429 {
            limit(response, &metrics.requests_refused_overload).add();
        }
    }
}

/// Returns the counter of the limit because of which a response is a refusal.
fn limit<'a>(response: &ClientResponse, refused: &'a OverloadRefusals) -> &'a Counter {
    match response {
        ClientResponse::TooManyRequests => &refused.in_flight,
        ClientResponse::EnterPending => &refused.entering,
        ClientResponse::Room(_, RoomResponse::QueueFull { .. }) => &refused.room_queue,
        ClientResponse::EnterRefused(_) | ClientResponse::Room(_, RoomResponse::QuotaRefused(_)) => &refused.quota,
        ClientResponse::Room(..)
        | ClientResponse::BadBody { .. }
        | ClientResponse::LoginRefused { .. }
        | ClientResponse::NotAllowed { .. }
        | ClientResponse::MayNotEnter
        | ClientResponse::Refreshed { .. }
        | ClientResponse::NotInRoom
        | ClientResponse::NoChatServer => &refused.room,
    }
}
