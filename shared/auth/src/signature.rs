//! Verification of signatures by `ring`, for `jsonwebtoken`. Signs nothing.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::{hmac, signature as asymmetric};

static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: no_signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

/// Makes this the cryptography of the library, which panics without any.
pub(crate) fn install() {
    // The library has one for the process: after the first time it is there already.
    PROVIDER.install_default().ok();
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.clone() }))
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match (self.key.kind(), Scheme::of(self.algorithm)) {
            (DecodingKeyKind::SecretOrDer(secret), Some(Scheme::Hmac(hash))) => {
                hmac::verify(&hmac::Key::new(hash, secret), message, signature)
            }
            (DecodingKeyKind::RsaModulusExponent { n, e }, Some(Scheme::Rsa(parameters))) => {
                asymmetric::RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (DecodingKeyKind::SecretOrDer(point), Some(Scheme::Curve(curve))) => {
                asymmetric::UnparsedPublicKey::new(curve, point).verify(message, signature)
            }
            _ => return Err(signature::Error::new()),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

/// An algorithm, as `ring` has it.
enum Scheme {
    Hmac(hmac::Algorithm),
    Rsa(&'static asymmetric::RsaParameters),
    Curve(&'static dyn asymmetric::VerificationAlgorithm),
}

impl Scheme {
    fn of(algorithm: Algorithm) -> Option<Self> {
        Some(match algorithm {
            Algorithm::HS256 => Self::Hmac(hmac::HMAC_SHA256),
            Algorithm::HS384 => Self::Hmac(hmac::HMAC_SHA384),
            Algorithm::HS512 => Self::Hmac(hmac::HMAC_SHA512),
            Algorithm::RS256 => Self::Rsa(&asymmetric::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Self::Rsa(&asymmetric::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Self::Rsa(&asymmetric::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Self::Rsa(&asymmetric::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Self::Rsa(&asymmetric::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Self::Rsa(&asymmetric::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Self::Curve(&asymmetric::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Self::Curve(&asymmetric::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => Self::Curve(&asymmetric::ED25519),
            // The library may learn others.
            _ => return None,
        })
    }
}
