//! Options of the sockets to clients.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use model::settings::FrontendSettings;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

/// Time after which the system gives a connection up whose client acknowledges nothing.
// The system's own value is a quarter of an hour, for which it would keep the unread bytes.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Listens for clients. Connections inherit the options of their listener.
///
/// # Errors
/// If the address cannot be listened on.
pub fn listen(address: SocketAddr, settings: &FrontendSettings) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As the standard library does: a restarted server takes its port at once.
    socket.set_reuseaddr(true)?;
    // Messages are small: without this the kernel would delay them to fill segments.
    socket.set_nodelay(true)?;
    let bytes = u32::try_from(settings.send_buffer_bytes).unwrap_or(u32::MAX);
    if bytes > 0 {
        socket.set_send_buffer_size(bytes)?;
    }
    #[cfg(target_os = "linux")]
    SockRef::from(&socket).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.bind(address)?;
    socket.listen(settings.backlog)
}
