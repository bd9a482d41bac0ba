//! Runs servers until a signal stops them.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::convert::Infallible;
use std::fmt::{self, Write};
use std::future::pending;
use std::io::{self, IsTerminal};
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use cluster::{Cluster, Plan, ServersFile, ignore_other_signals, reload_signals, stop_signals};
use futures_util::FutureExt;
use model::servers::Servers;
use model::settings::LogFormat;
use runtime::config::Config;
use runtime::interval::interval;
use tokio::runtime::Builder;
use tokio::signal::unix::Signal;
use tokio::sync::oneshot;
use tracing::field::display;
use tracing::{Level, Metadata, error, info, warn};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::Options;
use crate::certificate_watch;
use crate::log_filter;
use crate::output::Output;

/// Time between two reads of `servers.json`.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest time between two reads. Requests to recheck come with messages of other servers, at
/// any rate.
const MIN_POLL_GAP: Duration = Duration::from_millis(100);

/// Runs the servers that the options name, until they are to stop. An error is written to stderr.
///
/// # Errors
/// If stderr cannot be used at all.
pub(crate) fn run(options: Options) -> io::Result<ExitCode> {
    let stderr = Output::to("stderr", io::stderr())?;
    let mut format = LogFormat::Text;
    let ended = run_with(options, &stderr, &mut format);
    match (&ended, format) {
        (Ok(()), _) => {}
        (Err(error), LogFormat::Text) => stderr.push(format!("{}\n", crate::failure(error)).into_bytes()),
        (Err(error), LogFormat::Json) => error!("{error:#}"),
    }
    stderr.flush();
    Ok(if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_with(options: Options, stderr: &Output, format: &mut LogFormat) -> anyhow::Result<()> {
    let config = options.load()?;
    log_to(stderr, config.settings.log.format)?;
    *format = config.settings.log.format;
    std::panic::set_hook(Box::new(log_panic));
    // As many threads as there are processors, or as `TOKIO_WORKER_THREADS` says.
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(config, options));
    // Threads that wait for something, as for a name server, are not waited for.
    runtime.shutdown_background();
    ended
}

fn log_to(stderr: &Output, format: LogFormat) -> anyhow::Result<()> {
    let filter = log_filter::read(std::env::var_os("SHADDOCK_LOG").as_deref())?;
    // Else an event that cannot be formatted is printed to stderr, which panics if that fails.
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr.clone()).log_internal_errors(false);
    // Its own choice of colours obeys NO_COLOR, but does not look for a terminal.
    let lines = if io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
    match format {
        LogFormat::Text => lines.finish().with(filter_fn(hides_secrets)).init(),
        LogFormat::Json => {
            let lines = lines.with_ansi(false).json().flatten_event(true);
            lines.with_current_span(false).with_span_list(false).finish().with(filter_fn(hides_secrets)).init();
        }
    }
    Ok(())
}

/// Logs a panic as a line like any other. The default hook would wait for the reader of stderr.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| display(backtrace));
    let location = panic.location().map(display);
    error!(location, backtrace, "a task panicked: {}", message(panic.payload()));
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Hides traces of the NATS client library, which contain passwords and tokens. No operator's
/// filter can show them.
fn hides_secrets(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE || !metadata.target().starts_with("async_nats")
}

async fn serve(config: Config, options: Options) -> anyhow::Result<()> {
    let mut signals = stop_signals().context("signals cannot be listened for")?;
    let reloads = reload_signals().context("signals cannot be listened for")?;
    ignore_other_signals().context("signals cannot be ignored")?;
    let (all, format) = (options.only.is_none(), config.settings.log.format);
    let schemes = if config.settings.tls.is_for_clients() { ("wss", "https") } else { ("ws", "http") };
    let log = options.log();
    let file = ServersFile::new(options.config.clone(), config.environment.clone());
    let plan = Plan { config, nats: options.nats, log, only: options.only };
    let mut cluster = tokio::select! {
        // Waiting for a broker may take for ever; a signal ends it.
        () = signals.next() => return Ok(()),
        started = Cluster::start(plan) => started?,
    };
    if all && let Err(error) = greet(&cluster.servers(), schemes, format) {
        warn!("the greeting cannot be written: {error:#}");
    }
    let failed = cluster.failed();
    let certificate = cluster.take_certificate_reloader().map(certificate_watch::start).transpose();
    let certificate = certificate.context("the certificate cannot be watched")?;
    let has_failed = tokio::select! {
        () = signals.next() => false,
        () = failed => true,
        // This task is as much the server's own as others.
        _ = AssertUnwindSafe(apply_configuration_changes(&mut cluster, file, reloads)).catch_unwind() => true,
        () = ended(certificate) => true,
    };
    if has_failed {
        error!("a task that servers need has failed: the process ends, its supervisor is to start it again");
    } else {
        info!("stopping; a second signal ends at once");
    }
    tokio::select! {
        () = signals.next() => info!("ended at once"),
        () = cluster.stop() => {}
    }
    ensure!(!has_failed, "a task that servers need has failed; the log has the reason");
    Ok(())
}

/// Applies changes of `servers.json` and of keys while servers run. Logs an error in either, and
/// keeps the servers as they were.
async fn apply_configuration_changes(cluster: &mut Cluster, mut file: ServersFile, mut reloads: Signal) -> Infallible {
    let rechecks = cluster.recheck_requests();
    let mut tick = interval(POLL_INTERVAL);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = reloads.recv() => {}
            () = rechecks.notified() => {}
        }
        // Keys first: a new server needs its own before it starts.
        if let Some(Err(error)) = cluster.reload_keys() {
            error!("keys are refused, those of before stay: {error}");
        }
        if let Some(Err(error)) = cluster.reload_auth_keys() {
            error!("keys for clients' tokens are refused, those of before stay: {error}");
        }
        if let Some(Err(error)) = cluster.reload_api_keys() {
            error!("keys of the server API are refused, those of before stay: {error}");
        }
        match file.read_changed() {
            None => {}
            Some(Ok(servers)) => {
                if let Err(error) = cluster.apply_servers(servers).await {
                    error!("a change of servers.json could not be applied in full: {error:#}");
                }
            }
            Some(Err(error)) => error!("servers.json is refused, the servers stay as they were: {error}"),
        }
        cluster.retry_failed_starts().await;
        // Other servers choose how often they request a recheck; without a pause they could keep
        // this process reading files.
        tokio::time::sleep(MIN_POLL_GAP).await;
    }
}

/// Completes when a thread has ended that should run.
async fn ended(thread: Option<oneshot::Receiver<()>>) {
    match thread {
        Some(thread) => drop(thread.await),
        None => pending().await,
    }
}

/// Prints the addresses to connect to. With the JSON format it is a log line: stdout and stderr may
/// go to one file, which must stay JSON.
fn greet(servers: &Servers, schemes: (&str, &str), format: LogFormat) -> anyhow::Result<()> {
    let address = |server: &model::servers::Server| {
        format!("{}:{}", server.advertised_host(), server.advertised_port().unwrap_or_default())
    };
    let gate = servers.gate().first().map(address).unwrap_or_default();
    let connectors: Vec<String> = servers.connector().iter().map(address).collect();
    let (chats, connectors) = (servers.chat().len(), connectors.join(", "));
    match format {
        LogFormat::Json => info!(gate, connectors, chats, "Shaddock runs"),
        LogFormat::Text => {
            Output::to("stdout", io::stdout())?.push(greeting(&gate, schemes, (&connectors, chats))?.into_bytes());
        }
    }
    Ok(())
}

fn greeting(gate: &str, (ws, http): (&str, &str), (connectors, chats): (&str, usize)) -> Result<String, fmt::Error> {
    let mut out = String::new();
    writeln!(out, "Shaddock runs: gate {ws}://{gate}, connectors {connectors}, {chats} chat servers.")?;
    writeln!(out, "  In a browser:     {http}://{gate}/")?;
    writeln!(out, "  Which connector?  curl '{http}://{gate}/entry?uid=ann'")?;
    writeln!(out, "  Chat:             cargo run -p client -- --gate {ws}://{gate} --room lobby --user ann")?;
    writeln!(out, "  Stop:             Ctrl-C")?;
    Ok(out)
}
