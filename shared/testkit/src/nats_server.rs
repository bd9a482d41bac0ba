//! A real nats-server as a child process: started on free ports, killed, restarted, frozen, and
//! gone with its value.

#![expect(clippy::panic, clippy::expect_used, reason = "fails the test that needs the server, saying why")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{eventually, free_addresses, workspace};

/// The longest that a start may take on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(20);

/// Time in which a lame duck with a few clients ends.
const END_WITHIN: Duration = Duration::from_secs(60);

/// The configuration of a server that has one of its own.
const CONFIGURATION: &str = "nats.conf";

/// The oldest server that the tests are meant for.
const OLDEST: (u32, u32) = (2, 12);

/// A nats-server on 127.0.0.1, killed when dropped.
///
/// It keeps its ports when it starts again, and what JetStream stored.
#[derive(Debug)]
pub struct NatsServer {
    directory: PathBuf,
    options: Vec<String>,
    environment: Vec<(String, String)>,
    url: String,
    monitoring_url: String,
    child: Option<Child>,
}

impl NatsServer {
    /// A server without JetStream.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A server with JetStream on disk.
    pub async fn start_with_jetstream() -> Self {
        Self::start_with(&["-js"]).await
    }

    /// A server with further options of its command line.
    pub async fn start_with(options: &[&str]) -> Self {
        let mut server = Self::new(options);
        server.run().await;
        server
    }

    /// A server with JetStream on disk and these lines in its configuration file.
    pub async fn start_configured(lines: &str) -> Self {
        let mut server = Self::new(&["-js"]);
        server.write_configuration(lines);
        server.run().await;
        server
    }

    /// Starts a server with this configuration file, which may name the environment variables, and
    /// NATS_STORE_DIR for JetStream's directory. The options for addresses override those of the
    /// file.
    pub async fn start_with_file(file: &Path, environment: &[(&str, &str)]) -> Self {
        let mut server = Self::new(&[]);
        server.configure(file);
        server.environment = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        server.run().await;
        server
    }

    /// Starts servers with JetStream on disk that are one cluster. They are connected when this
    /// returns, and may still have to elect a leader.
    pub async fn start_cluster(count: usize) -> Vec<Self> {
        Self::start_all(count, None).await
    }

    /// The same, each with these lines in its configuration file.
    pub async fn start_cluster_configured(count: usize, lines: &str) -> Vec<Self> {
        Self::start_all(count, Some(lines)).await
    }

    async fn start_all(count: usize, lines: Option<&str>) -> Vec<Self> {
        let routes: Vec<String> = free_addresses(count).iter().map(|address| format!("nats://{address}")).collect();
        let mut servers = Vec::new();
        for (number, route) in routes.iter().enumerate() {
            let (name, all) = (format!("node-{number}"), routes.join(","));
            let options = ["-js", "-n", &name, "--cluster_name", "test", "--cluster", route, "--routes", &all];
            let mut server = Self::new(&options);
            lines.into_iter().for_each(|lines| server.write_configuration(lines));
            server.run().await;
            servers.push(server);
        }
        servers
    }

    fn write_configuration(&mut self, lines: &str) {
        let file = self.directory.join(CONFIGURATION);
        fs::write(&file, lines).expect("the target directory takes files");
        self.configure(&file);
    }

    fn configure(&mut self, file: &Path) {
        self.options.extend(["-c".to_owned(), file.to_string_lossy().into_owned()]);
    }

    fn new(options: &[&str]) -> Self {
        let directory = workspace().join(format!("target/tmp/nats-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&directory).expect("the target directory takes files");
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let [address, monitoring] = free_addresses(2)[..] else { panic!("asked for two addresses") };
        let (url, monitoring_url) = (format!("nats://{address}"), format!("http://{monitoring}"));
        Self { directory, options, environment: Vec::new(), url, monitoring_url, child: None }
    }

    /// `nats://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `http://127.0.0.1:port`, for `/connz` and the like.
    pub fn monitoring_url(&self) -> &str {
        &self.monitoring_url
    }

    /// `127.0.0.1:port`, what a [`super::TcpProxy`] stands before.
    pub fn address(&self) -> &str {
        without_scheme(&self.url)
    }

    /// The process's id, which changes with a restart.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Ends the server at once, as `kill -9` does. Nothing happens when it is down.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("one's own child can be killed");
            child.wait().expect("a killed child ends");
        }
    }

    /// Starts the server anew on the same ports, killing it first if it runs.
    pub async fn restart(&mut self) {
        self.kill();
        self.run().await;
    }

    /// Starts the server anew with other lines in its configuration file, killing it first if it
    /// runs.
    pub async fn restart_configured(&mut self, lines: &str) {
        self.kill();
        fs::write(self.directory.join(CONFIGURATION), lines).expect("the target directory takes files");
        self.run().await;
    }

    /// Freezes the server: connections stay open, nothing is answered. When this returns, all its
    /// threads stand still.
    pub async fn pause(&self) {
        self.signal("-STOP");
        let tasks = PathBuf::from(format!("/proc/{}/task", self.id()));
        eventually(START_WITHIN, "nats-server stands still", async || all_stopped(&tasks)).await;
    }

    /// Lets a frozen server go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Gives a server of [`NatsServer::start_configured`] other lines while it runs. When this
    /// returns, they hold.
    pub async fn reconfigure(&self, lines: &str) {
        let before = self.reloads();
        fs::write(self.directory.join(CONFIGURATION), lines).expect("the target directory takes files");
        self.signal("-HUP");
        eventually(START_WITHIN, "nats-server reloads its configuration", async || self.reloads() > before).await;
    }

    /// Counts the log lines that announce a reload of the configuration.
    fn reloads(&self) -> usize {
        self.log().matches("Reloaded server configuration").count()
    }

    /// Everything that the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Returns the lines of the log about clients that violated a permission.
    pub fn violations(&self) -> Vec<String> {
        self.log().lines().filter(|line| line.contains("Violation")).map(str::to_owned).collect()
    }

    /// Requests that the server sends its clients to others and ends.
    pub fn lame_duck(&self) {
        self.signal("-USR2");
    }

    /// Waits until the server has ended.
    pub async fn wait(&mut self) {
        let child = &mut self.child;
        eventually(END_WITHIN, "nats-server ends", async || {
            child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some()))
        })
        .await;
        self.child = None;
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {signal} failed");
    }

    /// The program that is started: the one that `make tools` fetched, else a new enough one on the
    /// path.
    ///
    /// # Panics
    /// If there is none.
    pub fn binary() -> PathBuf {
        binary().unwrap_or_else(|missing| panic!("{missing}"))
    }

    async fn run(&mut self) {
        self.child = Some(self.command(&Self::binary()).spawn().expect("nats-server starts"));
        let address = self.address().to_owned();
        eventually(START_WITHIN, "nats-server listens", async || {
            self.assert_runs();
            tokio::net::TcpStream::connect(&address).await.is_ok()
        })
        .await;
    }

    fn assert_runs(&mut self) {
        let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        assert!(ended.is_none(), "nats-server ended with {ended:?}:\n{}", self.log());
    }

    fn command(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        let listen = ["-a", "127.0.0.1", "-p", port_of(&self.url), "-m", port_of(&self.monitoring_url)];
        command.args(listen).arg("-l").arg(self.directory.join("log"));
        let store = self.directory.join("jetstream");
        if self.environment.is_empty() {
            command.arg("-sd").arg(store);
        } else {
            // A file that names a directory does not go together with the option.
            command.env("NATS_STORE_DIR", store);
        }
        command.args(&self.options);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Returns true if a signal has stopped every thread below a `/proc/ID/task`.
fn all_stopped(tasks: &Path) -> bool {
    let is_stopped = |task: PathBuf| {
        let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
        // The state follows the name, which is in parentheses and may contain any character.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    fs::read_dir(tasks).is_ok_and(|mut tasks| tasks.all(|task| task.is_ok_and(|task| is_stopped(task.path()))))
}

fn without_scheme(url: &str) -> &str {
    url.rsplit("//").next().unwrap_or_default()
}

fn port_of(url: &str) -> &str {
    url.rsplit(':').next().unwrap_or_default()
}

fn binary() -> Result<PathBuf, &'static str> {
    let fetched = workspace().join("target/tools/nats-server");
    if fetched.is_file() {
        return Ok(fetched);
    }
    match version_on_path() {
        Some(version) if version >= OLDEST => Ok(PathBuf::from("nats-server")),
        Some(_) => Err("the nats-server on the PATH is older than 2.12: run `make tools`"),
        None => Err("there is no nats-server: run `make tools`"),
    }
}

fn version_on_path() -> Option<(u32, u32)> {
    let printed = Command::new("nats-server").arg("--version").output().ok()?;
    let printed = String::from_utf8(printed.stdout).ok()?;
    let mut numbers = printed.trim().rsplit('v').next()?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
