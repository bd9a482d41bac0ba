//! The PROXY header, versions 1 and 2, with which a proxy names its client before the client's own
//! bytes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ppp::{v1, v2};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{error::Elapsed, timeout};

/// Time for the whole header: a proxy sends it with its first bytes.
const DEADLINE: Duration = Duration::from_secs(2);

/// Most bytes of a header: the largest addresses, and room for extensions.
// Version 2 allows 64 KiB, which only an attacker needs.
const MOST: usize = 536;

/// Bytes of the shortest header, `PROXY UNKNOWN\r\n`: so many can be read without reading the
/// client's own.
const SHORTEST: usize = 15;

/// Bytes before the addresses of version 2, which begins with a fixed signature.
const FIXED_V2: usize = 16;
const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Most bytes of version 1.
const MOST_V1: usize = 107;

/// A header's statement about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyHeader {
    /// The proxy's client has this address.
    Client(SocketAddr),
    /// The proxy connects for itself, to check health, or does not know its client.
    Local,
}

/// The reason why a connection has no valid header.
#[derive(Debug, Error)]
pub(crate) enum ProxyHeaderError {
    /// The connection ended before.
    #[error("the connection ended in the PROXY header: {0}")]
    Io(#[from] io::Error),
    /// It did not come in time.
    #[error("no PROXY header in {DEADLINE:?}")]
    Late(#[from] Elapsed),
    /// The first bytes are none.
    #[error("no PROXY header, or one that is malformed")]
    Malformed,
    /// It is longer than any that a proxy needs.
    #[error("a PROXY header of more than {MOST} bytes")]
    TooLong,
}

/// Reads the header with which the connection begins, and no byte more.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<ProxyHeader, ProxyHeaderError> {
    timeout(DEADLINE, read_unbounded(stream)).await?
}

async fn read_unbounded(stream: &mut (impl AsyncRead + Unpin)) -> Result<ProxyHeader, ProxyHeaderError> {
    let mut bytes = [0; MOST];
    stream.read_exact(&mut bytes[..SHORTEST]).await?;
    if bytes.starts_with(SIGNATURE_V2) {
        bytes[SHORTEST] = stream.read_u8().await?;
        let length = usize::from(u16::from_be_bytes([bytes[FIXED_V2 - 2], bytes[FIXED_V2 - 1]]));
        let rest = bytes.get_mut(FIXED_V2..FIXED_V2 + length).ok_or(ProxyHeaderError::TooLong)?;
        stream.read_exact(rest).await?;
        parse_v2(&bytes[..FIXED_V2 + length])
    } else if bytes.starts_with(b"PROXY ") {
        let mut length = SHORTEST;
        // Byte by byte: the end is not known before, and what follows is the client's.
        while !bytes[..length].ends_with(b"\r\n") {
            if length == MOST_V1 {
                return Err(ProxyHeaderError::TooLong);
            }
            bytes[length] = stream.read_u8().await?;
            length += 1;
        }
        parse_v1(&bytes[..length])
    } else {
        Err(ProxyHeaderError::Malformed)
    }
}

fn parse_v1(bytes: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let header = v1::Header::try_from(bytes).map_err(|_| ProxyHeaderError::Malformed)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(pair) => ProxyHeader::Client((pair.source_address, pair.source_port).into()),
        v1::Addresses::Tcp6(pair) => ProxyHeader::Client((pair.source_address, pair.source_port).into()),
        v1::Addresses::Unknown => ProxyHeader::Local,
    })
}

fn parse_v2(bytes: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let header = v2::Header::try_from(bytes).map_err(|_| ProxyHeaderError::Malformed)?;
    Ok(match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(pair)) => {
            ProxyHeader::Client((pair.source_address, pair.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(pair)) => {
            ProxyHeader::Client((pair.source_address, pair.source_port).into())
        }
        // Extensions are ignored: none of them changes the address.
        (v2::Command::Local, _) | (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => ProxyHeader::Local,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a header, and returns it with what is left for the client's protocol.
    async fn read_from(bytes: &[u8]) -> (Result<ProxyHeader, String>, usize) {
        let mut stream = bytes;
        let header = read(&mut stream).await.map_err(|error| error.to_string());
        (header, stream.len())
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [SIGNATURE_V2, &[0x20 | command, family], &length, addresses].concat()
    }

    fn client(address: &str) -> Result<ProxyHeader, String> {
        Ok(ProxyHeader::Client(address.parse().unwrap()))
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_its_bytes() {
        let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[7], &[0; 16], &[1, 2, 3, 4]].concat();
        let extended = [&[203, 0, 113, 5, 10, 0, 0, 1, 0x30, 0x39, 0, 80][..], &[4, 0, 3, 1, 2, 3]].concat();
        for (bytes, expected) in [
            (b"PROXY TCP4 203.0.113.5 10.0.0.1 12345 80\r\n".to_vec(), client("203.0.113.5:12345")),
            (b"PROXY TCP6 2001:db8::7 ::1 258 80\r\n".to_vec(), client("[2001:db8::7]:258")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Ok(ProxyHeader::Local)),
            (b"PROXY UNKNOWN some more\r\n".to_vec(), Ok(ProxyHeader::Local)),
            (v2(1, 0x11, &[203, 0, 113, 5, 10, 0, 0, 1, 0x30, 0x39, 0, 80]), client("203.0.113.5:12345")),
            (v2(1, 0x21, &v6), client("[2001:db8::7]:258")),
            (v2(1, 0x11, &extended), client("203.0.113.5:12345")),
            (v2(0, 0, &[]), Ok(ProxyHeader::Local)),
            (v2(0, 0x11, &[203, 0, 113, 5, 10, 0, 0, 1, 0x30, 0x39, 0, 80]), Ok(ProxyHeader::Local)),
            (v2(1, 0x31, &[0; 216]), Ok(ProxyHeader::Local)),
        ] {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(read_from(&[&bytes[..], b"GET /"].concat()).await, (expected, 5), "{text}");
        }
    }

    #[tokio::test]
    async fn no_header_and_long_or_malformed_ones_are_refused() {
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
        for (bytes, error) in [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "no PROXY header"),
            (b"PROXY TCP4 203.0.113.5\r\n12345678".to_vec(), "no PROXY header"),
            (b"PROXY TCP4 203.0.113.500 10.0.0.1 1 2\r\n".to_vec(), "no PROXY header"),
            (b"PROXY TCP4 ::1 ::1 1 2\r\nxxxxxxxxxxxx".to_vec(), "no PROXY header"),
            (b"PROXY TCP4 203.0.113.5 10.0.0.1 99999 80\r\n".to_vec(), "no PROXY header"),
            (b"PROXY".to_vec(), "the connection ended"),
            (b"PROXY TCP4 203.0.113.5 10.0.0.1 1".to_vec(), "the connection ended"),
            (long, "a PROXY header of more than"),
            ([SIGNATURE_V2, &[0x21, 0x11, 0xff, 0xff], &[0; 600]].concat(), "a PROXY header of more than"),
            ([SIGNATURE_V2, &[0x31, 0x11, 0, 12], &[0; 12]].concat(), "no PROXY header"),
            ([SIGNATURE_V2, &[0x21, 0x11, 0, 4], &[0; 12]].concat(), "no PROXY header"),
        ] {
            let (header, _) = read_from(&bytes).await;
            assert!(header.as_ref().is_err_and(|text| text.starts_with(error)), "{header:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_has_a_deadline() {
        let (mut proxy, mut server) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut proxy, b"PROXY TCP4 203.0.113.5").await.unwrap();
        let header = read(&mut server).await;
        assert!(matches!(header, Err(ProxyHeaderError::Late(_))), "{header:?}");
    }
}
