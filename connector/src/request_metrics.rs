//! A connector in figures: its parts of the process's levels, and what its clients' requests took and came to.

use frontend::routes;
use runtime::metrics::{GaugeShare, Metrics, RouteLabel};
use tokio::time::Instant;

use crate::connector_state::{ClientRequest, Gauges};

/// What a connector has of the process's levels; gone with it.
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

    /// Shows what a hub has.
    pub(crate) fn set(&mut self, Gauges { rooms, members, in_flight }: Gauges) {
        self.rooms.set(rooms);
        self.members.set(members);
        self.in_flight.set(in_flight);
    }

    /// Shows what waits for the hub.
    pub(crate) fn set_queues(&mut self, commands: usize, messages: usize) {
        self.commands.set(commands);
        self.messages.set(messages);
    }
}

/// Requests of one client that wait for their answers: as many as a session may have in flight, and one that is one too many.
#[derive(Debug, Default)]
pub(crate) struct RequestTimers(Vec<(u32, RouteLabel, Instant)>);

impl RequestTimers {
    /// A request came.
    pub(crate) fn start(&mut self, id: u32, request: &ClientRequest) {
        let route = match request {
            ClientRequest::Enter(_) => routes::ENTER,
            ClientRequest::Send(_) => routes::SEND,
            ClientRequest::History(_) => routes::HISTORY,
            ClientRequest::Members(_) => routes::MEMBERS,
            ClientRequest::Leave => routes::LEAVE,
        };
        self.0.push((id, RouteLabel::of(route), Instant::now()));
    }

    /// It is answered.
    pub(crate) fn stop(&mut self, id: u32, code: u16, metrics: &Metrics) {
        let Some(index) = self.0.iter().position(|(waiting, ..)| *waiting == id) else { return };
        let (_, asked, since) = self.0.swap_remove(index);
        metrics.requests_answered.add(asked, code);
        metrics.stage_seconds.edge.add(since.elapsed());
        if code == 429 {
            metrics.requests_refused_overload.add();
        }
    }
}
