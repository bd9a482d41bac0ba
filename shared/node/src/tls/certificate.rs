//! The files of a certificate and its key: read, and judged as clients would.

use std::fs;
use std::path::PathBuf;

use model::settings::TlsSettings;
use runtime::text_file::TextError;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as RustlsError, InconsistentKeys};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::fingerprint;

/// Marks a key that a password protects, in both forms of PEM.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// Reason why TLS cannot be offered.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The operator's files.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The library has no randomness.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] RustlsError),
}

/// Reason why a certificate cannot be served. The operator's matter; shows nothing of a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{setting} names {path}, which cannot be read ({reason}): put it there, or correct the setting", path = path.display())]
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason, with its remedy.
        reason: String,
    },
    /// A file does not hold what it should.
    #[error("{setting} names {path}, which {fault}", path = path.display())]
    Unfit {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Its fault, with its remedy.
        fault: &'static str,
    },
    /// The two files are of two pairs.
    #[error(
        "tls.key_file names {key}, which is not the key of the first certificate in {certificate} (tls.cert_file): put the \
         server's own certificate first there, and replace both files together",
        key = key.display(), certificate = certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate's time is over.
    #[error("tls.cert_file names {path}, whose certificate expired at {at}: renew it", path = path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// The end of its time.
        at: String,
    },
    /// The certificate's time has not come.
    #[error(
        "tls.cert_file names {path}, whose certificate is valid from {at} on: check the clock of this machine, or renew it",
        path = path.display()
    )]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// The begin of its time.
        at: String,
    },
}

/// The content of the two files.
pub(super) struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// A certificate that clients take now.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: CertifiedKey,
    /// Unix time in seconds.
    pub(super) expires_at: i64,
}

impl Pair {
    /// Reads the files that the settings name.
    pub(super) fn read(settings: &TlsSettings) -> Result<Self, CertificateError> {
        let read = |setting, path: &str| {
            fs::read(path).map_err(|error| {
                let (path, reason) = (path.into(), TextError::from(error).to_string());
                CertificateError::Unreadable { setting, path, reason }
            })
        };
        let certificate = read("tls.cert_file", &settings.cert_file)?;
        Ok(Self { certificate, key: read("tls.key_file", &settings.key_file)? })
    }

    /// Returns a value that is another one for another content. The key itself need not be kept.
    pub(super) fn digest(&self) -> [u8; 32] {
        fingerprint::of([&self.certificate, &self.key])
    }

    /// Returns the certificate for use at `now`.
    pub(super) fn certify(&self, settings: &TlsSettings, now: i64) -> Result<Certificate, CertificateError> {
        let unfit_certificate = |fault| {
            let path = settings.cert_file.clone().into();
            CertificateError::Unfit { setting: "tls.cert_file", path, fault }
        };
        let unfit_key = |fault| {
            let path = settings.key_file.clone().into();
            CertificateError::Unfit { setting: "tls.key_file", path, fault }
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| unfit_certificate(pem_fault(&error)))?;
        let Some(leaf) = chain.first() else {
            return Err(unfit_certificate("has no certificate in PEM: write the server's, and those above it"));
        };
        // Only of the first one. Chains may end in an expired certificate on purpose: old clients
        // know its authority and do not look at its time.
        let (not_before, not_after) = match X509Certificate::from_der(leaf) {
            Ok((_, leaf)) => (leaf.validity.not_before, leaf.validity.not_after),
            Err(_) => return Err(unfit_certificate("has a certificate that is malformed: write it anew")),
        };
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound if self.is_key_encrypted() => {
                unfit_key("has a key with a password: write it without one")
            }
            pem::Error::NoItemsFound => unfit_key("has no private key in PEM: write the certificate's"),
            error => unfit_key(pem_fault(&error)),
        })?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
            RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificateError::Mismatch {
                certificate: settings.cert_file.clone().into(),
                key: settings.key_file.clone().into(),
            },
            // It says nothing more of the key.
            _ => unfit_key(
                "has no key that can be used: write one for ECDSA (P-256, P-384), RSA (2,048 bits or more) or Ed25519",
            ),
        })?;
        let path = || settings.cert_file.clone().into();
        if now >= not_after.timestamp() {
            return Err(CertificateError::Expired { path: path(), at: not_after.to_string() });
        }
        if now < not_before.timestamp() {
            return Err(CertificateError::NotYetValid { path: path(), at: not_before.to_string() });
        }
        Ok(Certificate { key, expires_at: not_after.timestamp() })
    }

    fn is_key_encrypted(&self) -> bool {
        self.key.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED)
    }
}

/// A fault of a file's form. The library's own text may quote the file.
fn pem_fault(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "ends before its last section does: write it anew, in full",
        _ => "is malformed PEM: write it anew",
    }
}
