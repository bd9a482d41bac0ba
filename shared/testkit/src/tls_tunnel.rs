//! A tunnel that ends or begins TLS between a client and a server. Knows bytes, no protocol.

#![expect(clippy::expect_used, reason = "fails the test that needs the tunnel, saying why")]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use runtime::lifecycle::Lifecycle;

use super::Certificates;

/// The side on which bytes are encrypted.
#[derive(Clone)]
enum Encrypted {
    Near(TlsAcceptor),
    Far(TlsConnector, ServerName<'static>),
}

/// Listens on a free port and passes on to one target. Dropping it closes everything.
#[derive(Debug)]
pub struct TlsTunnel {
    address: SocketAddr,
    _dropped: watch::Sender<()>,
}

impl TlsTunnel {
    /// Takes TLS with a certificate for 127.0.0.1 of this authority, and passes plain bytes on to
    /// `target` (`host:port`).
    pub async fn ending(target: &str, authority: &Certificates) -> Self {
        let (certificate, key) = authority.issue("tunnel");
        let chain = CertificateDer::pem_file_iter(certificate).expect("a file").map(|der| der.expect("a certificate"));
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain.collect(), key)
            .expect("the key is the certificate's");
        Self::start(target, Encrypted::Near(TlsAcceptor::from(Arc::new(config)))).await
    }

    /// Takes plain bytes, and passes them on to `target` with TLS, as a client that trusts the
    /// authority in this file.
    pub async fn beginning(target: SocketAddr, authority_file: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority_file).expect("a certificate")).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::IpAddress(target.ip().into());
        Self::start(&target.to_string(), Encrypted::Far(TlsConnector::from(Arc::new(config)), name)).await
    }

    async fn start(target: &str, encrypted: Encrypted) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let dropped = watch::Sender::new(());
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(accept(listener, (target.to_owned(), encrypted), dropped.subscribe(), lifecycle.clone()));
        Self { address, _dropped: dropped }
    }

    /// Returns the address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(
    listener: TcpListener,
    (target, encrypted): (String, Encrypted),
    mut dropped: watch::Receiver<()>,
    lifecycle: Lifecycle,
) {
    let until_dropped = dropped.clone();
    let accepting = async {
        while let Ok((near, _)) = listener.accept().await {
            let (target, encrypted, mut dropped) = (target.clone(), encrypted.clone(), until_dropped.clone());
            lifecycle.spawn(async move {
                tokio::select! {
                    // An end that breaks ends its connection, and no other.
                    _ = pass(near, &target, encrypted) => {}
                    // The sender went with the tunnel.
                    _ = dropped.changed() => {}
                }
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = dropped.changed() => {}
    }
}

async fn pass(near: TcpStream, target: &str, encrypted: Encrypted) -> io::Result<()> {
    near.set_nodelay(true)?;
    match encrypted {
        Encrypted::Near(acceptor) => {
            let near = acceptor.accept(near).await?;
            copy(near, connect(target).await?).await
        }
        Encrypted::Far(connector, name) => copy(near, connector.connect(name, connect(target).await?).await?).await,
    }
}

async fn connect(target: &str) -> io::Result<TcpStream> {
    let far = TcpStream::connect(target).await?;
    far.set_nodelay(true)?;
    Ok(far)
}

async fn copy<N, F>(mut near: N, mut far: F) -> io::Result<()>
where
    N: AsyncRead + AsyncWrite + Unpin,
    F: AsyncRead + AsyncWrite + Unpin,
{
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}
