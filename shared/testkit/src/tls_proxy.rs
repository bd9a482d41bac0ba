//! A proxy that ends TLS for a server which has none. Knows bytes, no protocol.

#![expect(clippy::expect_used, reason = "fails the test that needs the proxy, saying why")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use runtime::lifecycle::Lifecycle;

use super::Certificates;

/// Listens on a free port and passes on to one target. Dropping it closes everything.
#[derive(Debug)]
pub struct TlsProxy {
    address: SocketAddr,
    _dropped: watch::Sender<()>,
}

impl TlsProxy {
    /// A proxy before `target` (`host:port`) with a certificate for 127.0.0.1 of this authority.
    pub async fn start(target: &str, authority: &Certificates) -> Self {
        let (certificate, key) = authority.issue("proxy");
        let chain = CertificateDer::pem_file_iter(certificate).expect("a file").map(|der| der.expect("a certificate"));
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain.collect(), key)
            .expect("the key is the certificate's");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let dropped = watch::Sender::new(());
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(accept(listener, (target.to_owned(), acceptor), dropped.subscribe(), lifecycle.clone()));
        Self { address, _dropped: dropped }
    }

    /// Returns the address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(
    listener: TcpListener,
    (target, acceptor): (String, TlsAcceptor),
    mut dropped: watch::Receiver<()>,
    lifecycle: Lifecycle,
) {
    let until_dropped = dropped.clone();
    let accepting = async {
        while let Ok((near, _)) = listener.accept().await {
            let (target, acceptor, mut dropped) = (target.clone(), acceptor.clone(), until_dropped.clone());
            lifecycle.spawn(async move {
                tokio::select! {
                    // An end that breaks ends its connection, and no other.
                    _ = pass(near, &target, acceptor) => {}
                    // The sender went with the proxy.
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

async fn pass(near: TcpStream, target: &str, acceptor: TlsAcceptor) -> io::Result<()> {
    near.set_nodelay(true)?;
    let mut near = acceptor.accept(near).await?;
    let mut far = TcpStream::connect(target).await?;
    far.set_nodelay(true)?;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}
