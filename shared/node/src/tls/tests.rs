//! Pairs of files that are served, and those that are refused.

use std::fs;

use testkit::{Certificates, Scratch};

use super::*;

struct Files {
    certificates: Certificates,
    /// Removed with it.
    _scratch: Scratch,
    settings: TlsSettings,
}

impl Files {
    /// The files of a certificate.
    fn new() -> Self {
        let (certificates, scratch) = (Certificates::new(), Scratch::new());
        let settings = TlsSettings {
            cert_file: scratch.path_of("served.pem"),
            key_file: scratch.path_of("served.key"),
            ..TlsSettings::default()
        };
        let files = Self { certificates, _scratch: scratch, settings };
        files.put(&files.certificates.issue("first"));
        files
    }

    /// Copies a pair to where the settings say.
    fn put(&self, (certificate, key): &(String, String)) {
        fs::copy(certificate, &self.settings.cert_file).unwrap();
        fs::copy(key, &self.settings.key_file).unwrap();
    }

    fn start(&self) -> Result<(CertificateReloader, ClientTls), TlsError> {
        CertificateReloader::start(&self.settings, &Metrics::new())
    }

    fn refusal(&self) -> CertificateError {
        match self.start() {
            Err(TlsError::Certificate(error)) => error,
            other => panic!("{other:?}"),
        }
    }
}

/// The certificate that a new connection would get.
fn served(reloader: &CertificateReloader) -> Vec<u8> {
    let resolver = &reloader.served.as_ref().unwrap().resolver;
    resolver.0.read().unwrap().end_entity_cert().unwrap().to_vec()
}

#[test]
fn a_changed_pair_is_served_and_each_content_read_once() {
    let files = Files::new();
    let (mut reloader, tls) = files.start().unwrap();
    assert!(tls.is_on());
    let first = served(&reloader);
    assert_eq!(reloader.reload_if_changed(), None);
    files.put(&files.certificates.issue("second"));
    assert_eq!(reloader.reload_if_changed(), Some(Ok(())));
    assert_ne!(served(&reloader), first);
    assert_eq!(reloader.reload_if_changed(), None);
}

#[test]
fn a_pair_that_cannot_be_used_leaves_the_one_before() {
    let files = Files::new();
    let (mut reloader, _) = files.start().unwrap();
    let (first, other) = (served(&reloader), files.certificates.issue("other"));
    let (certificate, key) = (&files.settings.cert_file, &files.settings.key_file);
    let text = fs::read_to_string(certificate).unwrap();
    let mut refuse = |change: &dyn Fn(), is_it: fn(&CertificateError) -> bool| {
        change();
        let refused = reloader.reload_if_changed();
        assert!(matches!(&refused, Some(Err(error)) if is_it(error)), "{refused:?}");
        assert_eq!(reloader.reload_if_changed(), None, "the same reason again");
        assert_eq!(served(&reloader), first);
    };
    let other_key = || assert!(fs::copy(&other.1, key).unwrap() > 0);
    refuse(&other_key, |error| matches!(error, CertificateError::Mismatch { .. }));
    let cut = || fs::write(certificate, &text[..text.len() / 2]).unwrap();
    refuse(&cut, |error| error.to_string().contains("ends before its last section"));
    let remove = || fs::remove_file(certificate).unwrap();
    refuse(&remove, |error| matches!(error, CertificateError::Unreadable { setting: "tls.cert_file", .. }));
    let expired = || files.put(&files.certificates.issue_expired("expired"));
    refuse(&expired, |error| matches!(error, CertificateError::Expired { .. }));
    let early = || files.put(&files.certificates.issue_early("early"));
    refuse(&early, |error| matches!(error, CertificateError::NotYetValid { .. }));
    files.put(&other);
    assert_eq!(reloader.reload_if_changed(), Some(Ok(())));
    assert_ne!(served(&reloader), first);
}

/// Errors name setting, file and remedy, and nothing of a key.
#[test]
fn what_is_wrong_at_the_start_is_named() {
    let files = Files::new();
    let key = fs::read_to_string(&files.settings.key_file).unwrap();
    let line = key.lines().nth(1).unwrap();
    for (text, fault) in [
        ("", "has no private key in PEM"),
        ("no PEM at all", "has no private key in PEM"),
        (&key[..key.len() - 40], "ends before its last section"),
        (&key.replace(line, "MIGH*broken*base64"), "is malformed PEM"),
        (&key.replace(line, "AAAA"), "has no key that can be used"),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "has a key with a password",
        ),
    ] {
        fs::write(&files.settings.key_file, text).unwrap();
        let refusal = files.refusal().to_string();
        assert!(refusal.contains(fault) && refusal.contains("tls.key_file names /"), "{refusal}");
        assert!(!refusal.contains(line), "{refusal}");
    }
    fs::write(&files.settings.key_file, key).unwrap();
    for (text, fault) in [
        ("", "has no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is malformed: write it anew"),
    ] {
        fs::write(&files.settings.cert_file, text).unwrap();
        let refusal = files.refusal().to_string();
        assert!(refusal.contains(fault) && refusal.contains("tls.cert_file names /"), "{refusal}");
    }
}

#[test]
fn the_chain_behind_the_first_certificate_may_be_expired() {
    let files = Files::new();
    let (expired, _) = files.certificates.issue_expired("old-root");
    let chain = [fs::read(&files.settings.cert_file).unwrap(), fs::read(expired).unwrap()].concat();
    fs::write(&files.settings.cert_file, chain).unwrap();
    let (reloader, _) = files.start().unwrap();
    assert_eq!(reloader.served.unwrap().resolver.0.read().unwrap().cert.len(), 2);
}

#[test]
fn plain_clients_are_chosen_by_address() {
    let files = Files::new();
    let allowed = |plain| {
        let settings = TlsSettings { plain, ..files.settings.clone() };
        let (_, tls) = CertificateReloader::start(&settings, &Metrics::new()).unwrap();
        ["127.0.0.1", "::1", "::ffff:127.0.0.9", "10.0.0.1", "203.0.113.5"]
            .map(|address| tls.allows_plain(address.parse().unwrap()))
    };
    assert_eq!(allowed(PlainClients::Never), [false; 5]);
    assert_eq!(allowed(PlainClients::Loopback), [true, true, true, false, false]);
    assert_eq!(allowed(PlainClients::Always), [true; 5]);
    assert!(ClientTls::off().allows_plain("203.0.113.5".parse().unwrap()));
}

#[test]
fn without_a_certificate_nothing_is_read() {
    let (mut reloader, tls) = CertificateReloader::start(&TlsSettings::default(), &Metrics::new()).unwrap();
    assert!(!tls.is_on() && tls.config().is_none());
    assert_eq!(reloader.reload_if_changed(), None);
}
