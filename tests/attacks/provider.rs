//! An identity provider that serves keys, and misbehaves when the attacker's process says so: by a
//! file, as it is another process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use testkit::Scratch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::forgery;

/// Bytes of a response that does not end; servers read 256 KiB.
const ENDLESS: usize = 400 << 20;

/// Time that a request without a response is kept.
const HANGS: Duration = Duration::from_secs(60);

/// What the provider does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// It serves the set.
    Serves,
    /// It sends far too much to the first, and hangs to the second, and so on.
    Misbehaves,
}

/// The provider. Its tasks end with it.
pub(crate) struct Provider {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Provider {
    /// Starts it with its files in a folder.
    pub(crate) async fn start(scratch: &Scratch) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = scratch.path().to_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            let (mut requests, mut misbehaved) = (0, 0);
            while let Ok((stream, _)) = listener.accept().await {
                requests += 1;
                fs::write(folder.join("requests"), requests.to_string()).unwrap();
                let misbehaves = folder.join("misbehaves").exists();
                misbehaved += usize::from(misbehaves);
                serving.spawn(async move {
                    // Servers close when they have seen enough.
                    respond(stream, misbehaves.then_some(misbehaved)).await.ok();
                });
            }
        });
        Self { address, _tasks: tasks }
    }

    /// The place of its set.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }
}

/// Tells the provider how to behave from now on.
pub(crate) fn order(folder: &str, conduct: Conduct) -> io::Result<()> {
    let file = Path::new(folder).join("misbehaves");
    match conduct {
        Conduct::Misbehaves => fs::write(file, ""),
        Conduct::Serves => fs::remove_file(file),
    }
}

/// The requests that the provider got.
pub(crate) fn requests(folder: &str) -> usize {
    let file: PathBuf = Path::new(folder).join("requests");
    fs::read_to_string(file).ok().and_then(|count| count.parse().ok()).unwrap_or_default()
}

async fn respond(mut stream: TcpStream, misbehaved: Option<usize>) -> io::Result<()> {
    let mut request = [0; 1024];
    if stream.read(&mut request).await? == 0 {
        return Ok(());
    }
    match misbehaved {
        None => {
            let body = forgery::key_set().to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await
        }
        Some(number) if number % 2 == 1 => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            let piece = vec![b' '; 1 << 20];
            for _ in 0..ENDLESS / piece.len() {
                stream.write_all(&piece).await?;
            }
            Ok(())
        }
        Some(_) => {
            sleep(HANGS).await;
            Ok(())
        }
    }
}
