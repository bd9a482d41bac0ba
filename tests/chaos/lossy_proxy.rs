//! A way to the broker on which a single message can be lost. Knows of NATS' protocol how messages
//! to a client look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::lifecycle::Lifecycle;
use tokio::io::{self, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

/// While clients of a connector listen, it receives the next record at once.
const NEXT_RECORD: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(5);

/// The end of the subjects on which chat servers push records to connectors.
const LOSSY_SUFFIX: &str = ".push";

/// Listens on a free port and passes on to one broker. Dropping it closes everything.
pub(crate) struct LossyProxy {
    address: String,
    drops_next: Arc<AtomicBool>,
    lifecycle: Lifecycle,
}

impl LossyProxy {
    pub(crate) async fn start(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (drops_next, lifecycle) = (Arc::default(), Lifecycle::new());
        lifecycle.spawn(accept(listener, broker.to_owned(), Arc::clone(&drops_next), lifecycle.clone()));
        Self { address, drops_next, lifecycle }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Drops the next record that a chat server publishes to this connector unasked. Returns false
    /// if none came in time: the connector has no clients.
    pub(crate) async fn drop_next_record(&self) -> bool {
        self.drops_next.store(true, Ordering::SeqCst);
        let until = Instant::now() + NEXT_RECORD;
        while self.drops_next.load(Ordering::SeqCst) && Instant::now() < until {
            sleep(POLL).await;
        }
        !self.drops_next.swap(false, Ordering::SeqCst)
    }
}

impl Drop for LossyProxy {
    fn drop(&mut self) {
        self.lifecycle.begin_stop();
    }
}

async fn accept(listener: TcpListener, broker: String, drops_next: Arc<AtomicBool>, lifecycle: Lifecycle) {
    let accepting = async {
        while let Ok((near, _)) = listener.accept().await {
            let passing = pass(near, broker.clone(), Arc::clone(&drops_next));
            let stopping = lifecycle.stopping();
            lifecycle.spawn(async {
                tokio::select! {
                    // An end that broke is none of ours.
                    _ = passing => {}
                    () = stopping => {}
                }
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = lifecycle.stopping() => {}
    }
}

async fn pass(near: TcpStream, broker: String, drops_next: Arc<AtomicBool>) -> io::Result<()> {
    let far = TcpStream::connect(broker).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let ((mut near_in, near_out), (far_in, mut far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        end = io::copy(&mut near_in, &mut far_out) => end.map(drop),
        end = messages(BufReader::with_capacity(64 * 1024, far_in), near_out, &drops_next) => end,
    }
}

/// Passes on line by line, a message with its payload as one; all that was read at once is written
/// at once.
async fn messages(
    mut from: BufReader<OwnedReadHalf>,
    mut to: OwnedWriteHalf,
    drops_next: &AtomicBool,
) -> io::Result<()> {
    let mut out = Vec::new();
    loop {
        let start = out.len();
        if from.read_until(b'\n', &mut out).await? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&out[start..]).into_owned();
        if let Some((subject, payload)) = message(&line) {
            let body = out.len();
            out.resize(body + payload + 2, 0);
            from.read_exact(&mut out[body..]).await?;
            if subject.ends_with(LOSSY_SUFFIX) && drops_next.swap(false, Ordering::SeqCst) {
                out.truncate(start);
            }
        }
        if from.buffer().is_empty() {
            to.write_all(&out).await?;
            out.clear();
        }
    }
}

/// Subject and length of what follows a line, if the line begins a message.
fn message(line: &str) -> Option<(&str, usize)> {
    let mut words = line.split_ascii_whitespace();
    let verb = words.next()?;
    let subject = words.next()?;
    let is_message = verb.eq_ignore_ascii_case("MSG") || verb.eq_ignore_ascii_case("HMSG");
    is_message.then(|| words.last()?.parse().ok()).flatten().map(|payload| (subject, payload))
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn messages_are_known_by_their_first_line() {
        assert_eq!(message("MSG connector.c1.x 9 11\r\n"), Some(("connector.c1.x", 11)));
        assert_eq!(message("HMSG connector.c1.x 9 reply 20 31\r\n"), Some(("connector.c1.x", 31)));
        for other in ["PING\r\n", "+OK\r\n", "INFO {\"a\":1} 7\r\n", "-ERR 'x' 9\r\n"] {
            assert_eq!(message(other), None, "{other}");
        }
    }
}
