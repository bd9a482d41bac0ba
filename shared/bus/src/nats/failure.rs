//! The reason of a failed connection, with its remedy. The client library distinguishes little:
//! most of its errors are I/O errors.

use std::error::Error;
use std::io;

use async_nats::rustls::{self, AlertDescription, CertificateError};
use async_nats::{ConnectError, ConnectErrorKind, ServerError};

use crate::BusError;

const AUTHORITY: &str = "nats.tls_ca_file must hold the authority that signed the server's certificate";
const NAME: &str =
    "the certificate must name the host or address as it stands in the URL, in a cluster those of all servers";
const TIME: &str = "renew the server's certificate, and see that the clock of this machine is right";
const OURS: &str = "the server wants a certificate that it trusts: give one with nats.tls_cert_file and nats.tls_key_file, signed by \
     an authority of the server's ca_file";
const NO_TLS: &str = "the server speaks no TLS, or not from the first byte: give it a certificate, or remove nats.tls_first (a server \
     with handshake_first needs it), tls:// in the URL, nats.tls_required and the files for TLS";
const FILES: &str = "check nats.tls_ca_file, nats.tls_cert_file and nats.tls_key_file";

/// The server's words when it takes no further connection, of all or of the account.
const FULL: [&str; 2] = ["maximum connections exceeded", "maximum account active connections exceeded"];

/// The error for an attempt that failed at these servers.
pub(super) fn explain(error: &ConnectError, servers: String) -> BusError {
    if let Some(error) = cause::<rustls::Error>(error) {
        return BusError::Tls { servers, reason: error.to_string(), remedy: remedy(error) };
    }
    if let Some(reported) = cause::<ServerError>(error) {
        let reason = reported.to_string();
        let is_full = FULL.iter().any(|full| reason.to_ascii_lowercase().contains(full));
        return if is_full { BusError::Full { servers, reason } } else { BusError::Refused { servers, reason } };
    }
    let reason = error.to_string();
    match error.kind() {
        ConnectErrorKind::Tls => BusError::Tls { servers, reason, remedy: FILES },
        ConnectErrorKind::TimedOut => {
            let hint = "no response in time; a server with handshake_first needs nats.tls_first = true";
            BusError::Connect { servers, reason: hint.to_owned() }
        }
        ConnectErrorKind::Io if is_closed(error) => {
            let hint = format!(
                "{reason}: the connection was closed at once, as by a proxy without a server behind it, a server that wants a \
                 certificate of ours, one with handshake_first (nats.tls_first = true), or one that is no NATS server"
            );
            BusError::Connect { servers, reason: hint }
        }
        ConnectErrorKind::Io | ConnectErrorKind::Dns => BusError::Connect { servers, reason },
        _ => BusError::Refused { servers, reason },
    }
}

/// Returns true if waiting can help.
pub(super) fn may_pass(error: &BusError) -> bool {
    matches!(error, BusError::Connect { .. } | BusError::Full { .. })
}

/// The connection was there and ended before the server let us in.
fn is_closed(error: &ConnectError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    // Without an I/O error the library read the end of the connection in place of a response.
    cause::<io::Error>(error)
        .is_none_or(|error| matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof))
}

fn remedy(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => NAME,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TIME,
            _ => AUTHORITY,
        },
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown,
        ) => OURS,
        rustls::Error::InvalidMessage(_) => NO_TLS,
        _ => FILES,
    }
}

/// The first error of this type among the causes of `error`. An I/O error does not return the error
/// that it wraps as its source.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    if let Some(found) = error.downcast_ref::<E>() {
        return Some(found);
    }
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match wrapped {
        Some(wrapped) => cause(wrapped),
        None => cause(error.source()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(kind: ConnectErrorKind, source: impl Into<async_nats::Error>) -> BusError {
        explain(&ConnectError::with_source(kind, source), "nats:4222".to_owned())
    }

    #[test]
    fn a_full_server_differs_from_one_that_refuses() {
        let reported = |text: &str| explained(ConnectErrorKind::Io, ServerError::Other(text.to_owned()));
        assert!(matches!(reported("Maximum Connections Exceeded"), BusError::Full { .. }));
        assert!(matches!(reported("maximum account active connections exceeded"), BusError::Full { .. }));
        assert!(matches!(reported("authentication timeout"), BusError::Refused { .. }));
        let refused = explained(ConnectErrorKind::AuthorizationViolation, ServerError::AuthorizationViolation);
        assert!(matches!(refused, BusError::Refused { .. }));
    }

    #[test]
    fn tls_is_found_within_an_io_error() {
        let certificate = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, certificate);
        assert!(matches!(explained(ConnectErrorKind::Io, wrapped), BusError::Tls { remedy: TIME, .. }));
    }

    #[test]
    fn a_closed_connection_differs_from_no_server() {
        let closed = explained(ConnectErrorKind::Io, "expected INFO, got nothing").to_string();
        assert!(closed.contains("was closed at once"), "{closed}");
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let absent = explained(ConnectErrorKind::Io, refused).to_string();
        assert!(absent.contains("start one there") && !absent.contains("was closed at once"), "{absent}");
    }
}
