//! The edge of an API server: its listener, and its subscription to commands on the bus.

use std::sync::Arc;
use std::time::Duration;

use bus::BusError;
use frontend::http_listener::{self, HttpLimits};
use model::servers::Server;
use model::subjects;
use node::Node;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::access::Access;
use crate::bus_commands::BusCommands;
use crate::http::{self, HttpState};
use crate::keys::Keys;
use crate::rooms::Rooms;
use crate::rooms_task::RoomsTask;
use crate::service::{REQUEST, Service};

/// Time for the head of a request.
const HEAD: Duration = Duration::from_secs(10);

/// Time between two requests on one connection.
// Longer than the minute for which load balancers usually keep an idle connection.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Time for a body and a response, beside the time for commands.
const BESIDE_COMMANDS: Duration = Duration::from_secs(15);

/// A server of the API.
pub struct Api;

impl Api {
    /// Starts a server of the API: when this returns, its tasks run until the node's lifecycle stops.
    ///
    /// # Errors
    /// If the bus refuses the subscription to commands.
    pub async fn start(server: &Server, node: &Node, listener: TcpListener, keys: Keys) -> Result<(), BusError> {
        let inbox = node.bus.subscribe(&subjects::api_all(&server.id), node.settings.rpc.subscription_queue).await?;
        let (rooms, requests) = Rooms::new();
        node.lifecycle.spawn_main(RoomsTask::new(server.id.clone(), node.clone()).run(requests, inbox));
        Self::serve(server, node, listener, (keys, rooms)).await
    }

    /// Serves commands, whose requests go to `rooms`.
    ///
    /// # Errors
    /// If the bus refuses the subscription to commands.
    pub async fn serve(
        server: &Server,
        node: &Node,
        listener: TcpListener,
        (keys, rooms): (Keys, Rooms),
    ) -> Result<(), BusError> {
        let settings = &node.settings;
        let address = listener.local_addr();
        if address.as_ref().is_ok_and(|address| !address.ip().is_loopback()) && !settings.tls.is_for_clients() {
            warn!(server = %server.id, "api.bind is not a loopback address, and there is no TLS: keys are readable on the way");
        }
        info!(server = %server.id, address = address.ok().map(tracing::field::display), "server API ready");
        let (service, access) = (Service::new(rooms, settings), Arc::new(Access::new(keys)));
        // One number of places for both ways in: they load the same rooms.
        let places = Arc::new(Semaphore::new(settings.api.max_requests));
        let state =
            HttpState::new(service.clone(), access.clone(), places.clone(), (&settings.api, node.metrics.clone()));
        let commands = BusCommands { bus: node.bus.clone(), service, access, places, metrics: node.metrics.clone() };
        let subscription = commands.subscribe().await?;
        node.lifecycle.spawn_main(commands.run(subscription, node.lifecycle.clone()));
        let limits = HttpLimits {
            connections: settings.api.max_connections,
            head: HEAD,
            answer: REQUEST + settings.rpc.request() + BESIDE_COMMANDS,
            keep_alive: KEEP_ALIVE,
        };
        let trusted = settings.frontend.trusted_proxies.clone();
        let (tls, lifecycle) = (node.tls.clone(), node.lifecycle.clone());
        let router = http::router(state);
        node.lifecycle.spawn_main(async move {
            http_listener::serve(&listener, (tls, trusted), router, lifecycle, limits).await;
        });
        Ok(())
    }
}
