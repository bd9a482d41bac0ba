//! Public keys of a PEM file.

use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_SIG_ED25519};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Curve, Key, KeyFault};

/// Begins each section of a PEM file.
const BEGIN: &str = "-----BEGIN ";

/// Reads all keys of a file, in their order.
pub(super) fn keys(text: &str) -> Result<Vec<Key>, KeyFault> {
    let sections = text.lines().filter(|line| line.starts_with(BEGIN)).count();
    let ders: Vec<_> = SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes()).collect();
    if ders.is_empty() && sections == 0 {
        return Err(KeyFault::NoKey);
    }
    // The reader passes over other sections. An operator who named a file with a private key, or
    // with a certificate, must learn of it.
    if ders.len() != sections {
        return Err(KeyFault::OtherSection);
    }
    (1..).zip(ders).map(|(number, der)| key(number, &der.map_err(|_| KeyFault::Unreadable(number))?)).collect()
}

fn key(number: usize, der: &[u8]) -> Result<Key, KeyFault> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| KeyFault::Unreadable(number))?;
    if !rest.is_empty() {
        return Err(KeyFault::Unreadable(number));
    }
    let point = &info.subject_public_key.data;
    if info.algorithm.algorithm == OID_SIG_ED25519 {
        return Key::curve(number, Curve::Ed25519, point);
    }
    if info.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        // The curve, and not the length of the point: one of secp256k1 is as long as one of P-256.
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        return match curve {
            Some(oid) if oid == OID_EC_P256 => Key::curve(number, Curve::P256, point),
            Some(oid) if oid == OID_NIST_EC_P384 => Key::curve(number, Curve::P384, point),
            _ => Err(KeyFault::Unsupported(number)),
        };
    }
    match info.parsed() {
        Ok(PublicKey::RSA(rsa)) => Key::rsa(number, rsa.modulus, rsa.exponent),
        Ok(_) => Err(KeyFault::Unsupported(number)),
        Err(_) => Err(KeyFault::Unreadable(number)),
    }
}
