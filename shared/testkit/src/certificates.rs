//! An authority of a test's own, and certificates for 127.0.0.1 that it signs, as files.

#![expect(clippy::expect_used, reason = "fails the test that needs certificates")]

use model::settings::TlsVersion;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

use super::{Scratch, TlsClient};

/// The library cannot make such a key.
const RSA: &str = include_str!("certificates/rsa-2048.key");

/// An authority that only the test trusts. Its files are removed with it.
#[derive(Debug)]
pub struct Certificates {
    scratch: Scratch,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// A new authority; its certificate is in [`Certificates::authority_file`].
    #[expect(clippy::new_without_default, reason = "it writes files, which no default should")]
    pub fn new() -> Self {
        let mut params = params("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority signs itself");
        let scratch = Scratch::new();
        scratch.file("authority.pem", &authority.pem());
        Self { scratch, authority }
    }

    /// The authority's certificate.
    pub fn authority_file(&self) -> String {
        self.scratch.path_of("authority.pem")
    }

    /// A client that trusts the authority.
    pub fn client(&self) -> TlsClient {
        TlsClient::trusting(&self.authority_file())
    }

    /// The same of one version.
    pub fn client_of_version(&self, version: TlsVersion) -> TlsClient {
        TlsClient::of_version(&self.authority_file(), version)
    }

    /// The files of a new certificate for 127.0.0.1, and of its key.
    pub fn issue(&self, name: &str) -> (String, String) {
        self.sign(name, &params(name))
    }

    /// The same with a key for RSA of 2,048 bits.
    pub fn issue_rsa(&self, name: &str) -> (String, String) {
        self.sign_with(name, &params(name), &KeyPair::from_pem(RSA).expect("a key"))
    }

    /// The same for a host of another name.
    pub fn issue_to(&self, name: &str, host: &str) -> (String, String) {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host");
        params.distinguished_name.push(DnType::CommonName, name);
        self.sign(name, &params)
    }

    /// The same with a time that is over.
    pub fn issue_expired(&self, name: &str) -> (String, String) {
        let mut params = params(name);
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        self.sign(name, &params)
    }

    /// The same with a time that has not come.
    pub fn issue_early(&self, name: &str) -> (String, String) {
        let mut params = params(name);
        (params.not_before, params.not_after) = (date_time_ymd(3001, 1, 1), date_time_ymd(3002, 1, 1));
        self.sign(name, &params)
    }

    fn sign(&self, name: &str, params: &CertificateParams) -> (String, String) {
        self.sign_with(name, params, &KeyPair::generate().expect("a key"))
    }

    fn sign_with(&self, name: &str, params: &CertificateParams, key: &KeyPair) -> (String, String) {
        let certificate = params.signed_by(key, &self.authority).expect("an authority signs");
        let certificate = self.scratch.file(&format!("{name}.pem"), &certificate.pem());
        (certificate, self.scratch.file(&format!("{name}.key"), &key.serialize_pem()))
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
