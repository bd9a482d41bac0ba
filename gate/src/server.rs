//! The edge of a gate: its listener and the task that probes connectors.

use frontend::admin;
use frontend::{self, Options};
use model::servers::Server;
use model::settings::AuthMode;
use node::Node;
use runtime::health::{Check, NO_CONNECTOR};
use tokio::net::TcpListener;
use tracing::info;

use crate::http;
use crate::prober::{self, ServerStatuses};
use crate::session_handler::GateState;
use crate::status_page::PRODUCTION;

/// A gate.
pub struct Gate;

impl Gate {
    /// Starts a gate: when this returns, its tasks run until the node's lifecycle stops.
    pub fn start(server: Server, node: Node, listener: TcpListener) {
        let gate = GateState {
            me: server.id.clone(),
            environment: node.environment.clone(),
            server_list: node.server_list.clone(),
            statuses: ServerStatuses::default(),
            tls: node.settings.tls.is_for_clients(),
            auth: node.gate_auth(),
            needs_token: node.settings.auth.gate && node.settings.auth.mode == AuthMode::Required,
            metrics: node.metrics.clone(),
        };
        node.health.set(Check::Peers, Some(NO_CONNECTOR));
        let mut options = Options::for_gate(&node);
        let entry = http::router(gate.clone(), &node.settings);
        let health_router = admin::health_router(server.id.clone(), node.clone());
        let mut http = entry.merge(health_router);
        // A proxy on this machine is a local peer, and not every proxy adds X-Forwarded-For: where
        // strangers may come, metrics are on the operators' port alone.
        if &*node.environment != PRODUCTION {
            http = http.merge(admin::metrics_on_loopback(node.clone()));
        }
        options.http = Some(http);
        let address = listener.local_addr().ok().map(tracing::field::display);
        info!(server = %server.id, address, "gate ready");
        node.lifecycle.spawn_main(prober::run(server.id, node.clone(), gate.statuses.clone()));
        node.lifecycle.spawn_main(frontend::serve(listener, gate, options));
    }
}
