//! Starts the servers of an environment, or one of them, and stops them in order: gates,
//! connectors, chat servers, bus.

mod plan;
mod start_retries;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use api::Api;
use api::keys::{KeyFileError as ApiKeyFileError, KeyReloader, Keys as ApiKeys};
use chat::Chat;
use chat::log::Log;
use connector::Connector;
use frontend::admin;
use futures_util::FutureExt;
use futures_util::future::join_all;
use gate::Gate;
use model::ids::ServerId;
use model::placement::{API, CHAT, CONNECTOR, GATE};
use model::servers::{Server, Servers};
use model::settings::Settings;
use model::subjects;
use node::Node;
use node::auth::{AuthFileError, AuthKeyReloader};
use node::payload::{self, PayloadWatch};
use node::signing::{KeyFileError, KeyringReloader};
use node::tls::{CertificateReloader, ClientTls};
use runtime::config::Config;
use runtime::health::Health;
use runtime::lifecycle::Lifecycle;
use runtime::metrics::Metrics;
use runtime::server_list::ServerListWriter;
use runtime::shared_hold::SharedHold;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

pub use self::plan::{LogKind, Plan};
use self::plan::{bus, check_only, open_log};
use self::start_retries::StartRetries;
use crate::bind::{BoundServer, Role};
use crate::{keys, system_limits};

/// Time that the bus has to deliver what was accepted, when all servers ended.
const DRAIN: Duration = Duration::from_secs(5);

/// Running servers.
pub struct Cluster {
    keeper: ServerListWriter,
    signing: KeyringReloader,
    auth: AuthKeyReloader,
    /// Taken by the thread that watches the files.
    certificate: Option<CertificateReloader>,
    node: Node,
    log_kind: LogKind,
    /// Opened for the first chat server.
    log: Option<Log>,
    only: Option<ServerId>,
    running: BTreeMap<ServerId, RunningServer>,
    start_retries: StartRetries,
    /// The keys of auth.jwks_url are fetched.
    fetches_keys: bool,
    /// The keys of the server API, once a server needs them.
    api_keys: Option<(KeyReloader, ApiKeys)>,
}

/// A server of this process.
struct RunningServer {
    kind: &'static str,
    lifecycle: Lifecycle,
    /// Owns the admin listener, which stops after the server: until then operators can see why it
    /// does not end.
    admin: Lifecycle,
}

/// Time for operators' requests that are in progress when all else has ended.
const LAST_RESPONSES: Duration = Duration::from_millis(200);

/// The server types of this program, in the order of stopping: a server stops before the servers
/// that it sends requests to.
const STOP_ORDER: [&str; 4] = [GATE, API, CONNECTOR, CHAT];

impl Cluster {
    /// Starts the servers of the plan. When this returns, clients can connect.
    ///
    /// # Errors
    ///
    /// If a server of the plan is not in the configuration, an address is taken, or the bus or the
    /// log is not there. Nothing that was started is left running then.
    pub async fn start(plan: Plan) -> anyhow::Result<Self> {
        let Plan { config, nats, log, only } = plan;
        check_only(&config, nats.as_deref(), only.as_ref())?;
        let Config { mut servers, settings, environment } = config;
        let is_ours = |id: &ServerId| only.as_ref().is_none_or(|only| only == id);
        let fronts = system_limits::fronts(&servers, is_ours);
        system_limits::prepare(&settings.frontend, fronts, environment == keys::PRODUCTION);
        let own = keys::own_servers(&servers, only.as_ref());
        let (signing_keeper, signing) = keys::start_signing(&environment, &settings.rpc, nats.is_some(), &own)?;
        let metrics = Metrics::new();
        let (certificate, tls) = CertificateReloader::start(&settings.tls, &metrics)?;
        let (auth_keeper, auth) = keys::start_auth(&environment, &settings.auth)?;
        // All listeners before any server: a taken port must not leave half of a cluster running.
        let bound = BoundServer::bind_all(&mut servers, &settings, is_ours);
        let bound = bound.await.into_iter().collect::<anyhow::Result<Vec<BoundServer>>>()?;
        let name = only.as_ref().map_or(subjects::PROCESS, ServerId::as_str);
        let connecting = async {
            let bus = bus(nats.as_deref(), &settings, name, &metrics).await?;
            payload::check(&settings, bus.max_payload())?;
            // An account or a user may have a smaller limit, which the broker reveals only by
            // closing the connection.
            payload::prove(&bus, Duration::from_secs(settings.nats.connect_secs.into())).await?;
            anyhow::Ok(bus)
        };
        let bus = answer_probes_during(&bound, &tls, connecting).await?;
        let (keeper, server_list) = ServerListWriter::new(servers);
        let (settings, environment) = (Arc::new(settings), environment.into());
        let (lifecycle, health) = (Lifecycle::new(), Health::default());
        let payload = PayloadWatch::default();
        let hold = SharedHold::start(settings.rpc.gather(), Instant::now())?;
        let node = Node {
            environment,
            server_list,
            settings,
            bus,
            signing,
            tls,
            auth,
            metrics,
            payload,
            hold,
            lifecycle,
            health,
        };
        let (signing, running) = (signing_keeper, BTreeMap::new());
        let mut cluster = Self {
            keeper,
            signing,
            auth: auth_keeper,
            certificate: Some(certificate),
            node,
            log_kind: log,
            log: None,
            only,
            running,
            start_retries: StartRetries::default(),
            fetches_keys: false,
            api_keys: None,
        };
        for bound in sorted_by_start_order(bound) {
            if let Err(error) = cluster.start_server(bound).await {
                // It took over nothing that it could hand over, and the operator waits for the
                // error.
                cluster.end().await;
                return Err(error);
            }
        }
        Ok(cluster)
    }

    /// Applies a changed server list: starts new servers of this process, informs all servers, and
    /// stops removed ones. Rooms move to their new homes with their log and members.
    ///
    /// A process that runs a single server neither starts nor stops it here. A server without an
    /// entry owns nothing.
    ///
    /// # Errors
    ///
    /// If a new server cannot start. All else is done nevertheless, and
    /// [`Self::retry_failed_starts`] tries it again.
    pub async fn apply_servers(&mut self, mut servers: Servers) -> anyhow::Result<()> {
        let before = self.keeper.now();
        for (_, old) in before.all().filter(|(_, old)| self.running.contains_key(&old.id)) {
            keep_address(&mut servers, old);
        }
        if servers == *before {
            return Ok(());
        }
        // Each of them has a new chance.
        self.start_retries = StartRetries::default();
        let mut errors: Vec<_> =
            self.reload_keys_for(&servers).and_then(Result::err).map(anyhow::Error::from).into_iter().collect();
        let new: Vec<ServerId> = keys::own_servers(&servers, self.only.as_ref()).into_iter().collect();
        let new: Vec<ServerId> = new.into_iter().filter(|id| !self.running.contains_key(id)).collect();
        // A new server may want the port of a removed one, which stops below; it is started after
        // that.
        // Bound before the list is published, so that the list has the ports that the system chose.
        let bound = BoundServer::bind_all(&mut servers, &self.node.settings, |id| new.contains(id)).await;
        let (count, chats) = (servers.all().count(), servers.chat().len());
        info!(servers = count, chats, "the list of servers changed");
        self.keeper.replace(servers);
        for bound in sorted_by_start_order(bound.into_iter().flatten().collect()) {
            let id = bound.server.id.clone();
            if let Err(error) = self.start_or_remove(bound).await {
                self.start_retries.record_failure(&id);
                errors.push(error);
            }
        }
        self.stop_removed().await;
        for id in new {
            if !self.running.contains_key(&id) && !self.start_retries.contains(&id) {
                errors.extend(self.retry_start(&id).await.err());
            }
        }
        let texts: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
        ensure!(texts.is_empty(), "{}", texts.join("; "));
        Ok(())
    }

    /// Applies changed keys, if their files changed since the last read.
    ///
    /// # Errors
    ///
    /// If the keys are invalid; the keys of before stay.
    pub fn reload_keys(&mut self) -> Option<Result<(), KeyFileError>> {
        self.reload_keys_for(&self.keeper.now())
    }

    /// Reads the keys that verify clients' tokens again if their files changed. `None` if not.
    ///
    /// # Errors
    ///
    /// If they cannot be used; the keys of before stay.
    pub fn reload_auth_keys(&mut self) -> Option<Result<(), AuthFileError>> {
        let looked = self.auth.reload_if_changed();
        if let Some(Ok(())) = looked {
            info!("the keys for clients' tokens changed");
        }
        looked
    }

    fn reload_keys_for(&mut self, servers: &Servers) -> Option<Result<(), KeyFileError>> {
        let looked = self.signing.reload_if_changed(&keys::own_servers(servers, self.only.as_ref()));
        if let Some(Ok(())) = looked {
            info!("the keys of servers changed");
        }
        looked
    }

    /// Returns the reader of the certificate's files, if servers have one, for a thread of its own;
    /// once.
    pub fn take_certificate_reloader(&mut self) -> Option<CertificateReloader> {
        self.certificate.take().filter(CertificateReloader::is_on)
    }

    /// Starts a server; of one that cannot start nothing is left.
    async fn start_or_remove(&mut self, bound: BoundServer) -> anyhow::Result<()> {
        let id = bound.server.id.clone();
        let started = self.start_server(bound).await;
        if started.is_err() {
            let half_started = self.running.remove(&id).into_iter().collect();
            // It has accepted no work that a grace time would let it finish.
            stop_in_order(half_started, Duration::ZERO).await;
        }
        started
    }

    async fn start_server(&mut self, bound: BoundServer) -> anyhow::Result<()> {
        let (kind, node) = (bound.kind(), self.node.for_server());
        let id = &bound.server.id;
        ensure!(
            node.signing.is_ready_for(id),
            "{id} cannot start: there is no key of it in rpc.key_dir; run `shaddock keys DIR`"
        );
        let BoundServer { server, role, admin } = bound;
        let id = server.id.clone();
        let running = RunningServer { kind, lifecycle: node.lifecycle.clone(), admin: node.lifecycle.sibling() };
        if let Some(listener) = admin {
            let address = listener.local_addr().ok().map(tracing::field::display);
            info!(server = %id, address, "health and metrics");
            let router = admin::health_router(id.clone(), node.clone()).merge(admin::metrics(node.clone()));
            let lifecycle = running.admin.clone();
            running.admin.spawn_main(async move { admin::serve(&listener, ClientTls::off(), router, lifecycle).await });
        }
        self.running.insert(id.clone(), running);
        if kind == CONNECTOR || (kind == GATE && node.settings.auth.gate) {
            self.fetch_keys();
        }
        let started = match role {
            Role::Chat => Chat::start(id.clone(), node, self.log().await?).await.map_err(anyhow::Error::from),
            Role::Connector(listener) => Connector::start(&server, node, listener).await.map_err(anyhow::Error::from),
            Role::Gate(listener) => {
                Gate::start(server, node, listener);
                Ok(())
            }
            Role::Api(listener) => match self.api_keys() {
                Ok(keys) => Api::start(&server, &node, listener, keys).await.map_err(anyhow::Error::from),
                Err(error) => Err(error.into()),
            },
        };
        started.with_context(|| format!("{id} cannot start"))
    }

    /// Returns the keys of the server API, which are read when the first server needs them.
    fn api_keys(&mut self) -> Result<ApiKeys, ApiKeyFileError> {
        if let Some((_, keys)) = &self.api_keys {
            return Ok(keys.clone());
        }
        // Not at the start of each process: one without a server of the API needs no file.
        let (reloader, keys) = KeyReloader::start(&self.node.settings.api)?;
        self.api_keys = Some((reloader, keys.clone()));
        Ok(keys)
    }

    /// Reads the keys of the server API again if their file changed. `None` if not.
    ///
    /// # Errors
    ///
    /// If it cannot be used; the keys of before stay.
    pub fn reload_api_keys(&mut self) -> Option<Result<(), ApiKeyFileError>> {
        let looked = self.api_keys.as_mut()?.0.reload_if_changed();
        if let Some(Ok(())) = looked {
            info!("the keys of the server API changed");
        }
        looked
    }

    /// Fetches the keys of auth.jwks_url from now on, if there is one: once a server of the process
    /// reads tokens.
    fn fetch_keys(&mut self) {
        let node = &self.node;
        if !std::mem::replace(&mut self.fetches_keys, true)
            && let Some(fetching) = node.auth.fetching(node.metrics.clone(), node.lifecycle.clone())
        {
            node.lifecycle.spawn_main(fetching);
        }
    }

    /// The log of this process's chat servers.
    async fn log(&mut self) -> anyhow::Result<Log> {
        // Opened for a chat server only: the users of other servers at the broker may not use it.
        Ok(match &self.log {
            Some(log) => log.clone(),
            None => self.log.insert(open_log(self.log_kind, &self.node).await?).clone(),
        })
    }

    async fn stop_removed(&mut self) {
        let servers = self.keeper.now();
        let removed: Vec<ServerId> = self.running.keys().filter(|id| servers.find(id).is_none()).cloned().collect();
        if self.only.is_some() {
            for id in removed {
                warn!(%id, "this server is not in servers.json any more: it owns nothing, and can be stopped");
            }
            return;
        }
        let removed = removed.into_iter().filter_map(|id| self.running.remove(&id)).collect();
        stop_in_order(removed, self.grace()).await;
    }

    /// Returns the servers, with the chosen ports where the configuration has 0.
    pub fn servers(&self) -> Arc<Servers> {
        self.keeper.now()
    }

    /// Returns the notification that another process seems to have a different server list, so the
    /// configuration must be read again.
    pub fn recheck_requests(&self) -> Arc<Notify> {
        self.keeper.recheck_requests()
    }

    /// Returns the metrics of this process.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.node.metrics
    }

    /// Completes when a task of a server, or of the bus, failed: clients are not served any more,
    /// and the process is to stop.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + use<> {
        let (failed, bus) = (self.node.lifecycle.failed(), self.node.bus.clone());
        async move {
            tokio::select! {
                () = failed => {}
                () = bus.failed() => {}
            }
        }
    }

    fn grace(&self) -> Duration {
        Duration::from_secs(self.node.settings.lifecycle.grace_secs.into())
    }

    /// Drains the servers of this process: they hand over their rooms and sessions. Does nothing if
    /// the process runs all servers, since no other process can take over.
    async fn drain_servers(&self) {
        // Where all servers end together, no other process can take rooms or sessions over.
        if self.only.is_none() {
            return;
        }
        let Settings { lifecycle, session, .. } = &*self.node.settings;
        let most = self.grace() + Duration::from_secs((lifecycle.drain_secs + session.resume_secs).into());
        let can = |running: &&RunningServer| running.kind != GATE && !running.lifecycle.is_broken();
        for RunningServer { kind, lifecycle, .. } in self.running.values().filter(can) {
            if !lifecycle.drain(most).await {
                warn!(kind, "a server did not hand over everything in time: failure detection covers the rest");
            }
        }
    }

    /// Stops in order, each kind of server when the one before has ended. Nothing is left running
    /// afterwards.
    ///
    /// What clients were promised is kept unless a server needs more than its grace time, which is
    /// logged.
    pub async fn stop(self) {
        self.drain_servers().await;
        self.end().await;
    }

    async fn end(self) {
        let grace = self.grace();
        stop_in_order(self.running.into_values().collect(), grace).await;
        if let Err(error) = self.node.bus.drain(DRAIN).await {
            warn!(%error, "the bus did not deliver all that it had accepted");
        }
        info!("stopped");
    }
}

/// Sorts by the order of starting: a server starts after the servers that it sends requests to.
/// Gates are last, since they send users to connectors at once.
fn sorted_by_start_order(mut servers: Vec<BoundServer>) -> Vec<BoundServer> {
    servers.sort_by_key(|bound| std::cmp::Reverse(STOP_ORDER.iter().position(|kind| *kind == bound.kind())));
    servers
}

/// Serves health checks while the bus connects.
async fn answer_probes_during<T>(bound: &[BoundServer], tls: &ClientTls, connecting: impl Future<Output = T>) -> T {
    let probing = Lifecycle::new();
    // A supervisor that got no answer would restart the process while its broker is away, and each
    // restart would only repeat the wait.
    let response = |(listener, tls)| admin::serve(listener, tls, admin::health_router_without_bus(), probing.clone());
    let responses = join_all(bound.iter().flat_map(|bound| bound.health_listeners(tls)).map(response));
    let connected = tokio::select! {
        connected = connecting => connected,
        never = responses.then(|_| std::future::pending()) => never,
    };
    probing.stop(LAST_RESPONSES).await;
    connected
}

async fn stop_in_order(servers: Vec<RunningServer>, grace: Duration) {
    for kind in STOP_ORDER {
        let of_kind: Vec<&Lifecycle> = servers.iter().filter(|s| s.kind == kind).map(|s| &s.lifecycle).collect();
        // All of a kind begin at once, so that they end side by side and not one after the other.
        of_kind.iter().for_each(|lifecycle| lifecycle.begin_stop());
        for lifecycle in of_kind {
            if !lifecycle.stop(grace).await {
                warn!(kind, "a server did not end in time: raise lifecycle.grace_secs if this was no surprise");
            }
        }
    }
    servers.iter().for_each(|server| server.admin.begin_stop());
    for server in servers {
        // A slow HTTP client must not delay the end of the process.
        server.admin.stop(LAST_RESPONSES).await;
    }
}

/// A running server listens where it did; another port needs a restart.
fn keep_address(servers: &mut Servers, old: &Server) {
    let Some((_, new)) = servers.find(&old.id) else { return };
    let mut new = new.clone();
    for (field, new, old_port) in
        [("clientPort", &mut new.client_port, old.client_port), ("port", &mut new.port, old.port)]
    {
        if *new != old_port && *new != Some(0) {
            warn!(id = %old.id, "{field} changed: restart the server for it to listen there");
        }
        // The entry must have the port that clients reach, or the gate would send them to a closed
        // one.
        *new = old_port;
    }
    servers.replace(new);
}
