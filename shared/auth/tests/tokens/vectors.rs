//! Examples of RFC 7515 and RFC 8037. Their claims have no user, so the claims are what is refused
//! where the signature is right.

use ring::signature::{KeyPair, RsaKeyPair};

use super::*;

/// `n` of RFC 7515, appendix A.2.
const FOREIGN_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

/// The claims of the examples of RFC 7515.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn with(mut key: Value, members: Value) -> Value {
    key.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    key
}

/// The tests' own RSA key, with more members.
pub(crate) fn rsa_jwk(members: Value) -> Value {
    let pair = RsaKeyPair::from_pkcs8(RSA).unwrap();
    let public: ring::rsa::PublicKeyComponents<Vec<u8>> = pair.public_key().into();
    with(json!({"kty": "RSA", "n": encode(&public.n), "e": encode(&public.e)}), members)
}

/// Another RSA key.
pub(crate) fn foreign_rsa_jwk(members: Value) -> Value {
    with(json!({"kty": "RSA", "n": FOREIGN_N, "e": "AQAB"}), members)
}

/// Verifies an example with its key, one second before its end.
fn checked(key: &Value, token: &str) -> TokenError {
    let mut keys = KeySet::default();
    keys.add_jwks(&Jwks::parse(&json!({"keys": [key]}).to_string(), JwksOrigin::File).unwrap());
    let rules = ClaimRules { max_age_secs: 0, ..rules() };
    verify(token, &keys, &rules, 1_300_819_379).unwrap_err()
}

/// Checks that an example is verified, and that neither another message nor another signature is.
fn holds(key: &Value, header: &str, payload: &str, signature: &str, verified: &TokenError) {
    assert_eq!(checked(key, &format!("{header}.{payload}.{signature}")), *verified);
    let other = payload.replacen('c', "d", 1);
    assert_eq!(checked(key, &format!("{header}.{other}.{signature}")), TokenError::Signature);
    let (first, rest) = signature.split_at(1);
    let changed = if first == "A" { "B" } else { "A" };
    assert_eq!(checked(key, &format!("{header}.{payload}.{changed}{rest}")), TokenError::Signature);
}

#[test]
fn rfc_7515_a1_hmac() {
    let key = json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"});
    let header = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9";
    holds(&key, header, CLAIMS, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", &TokenError::Claim("sub"));
}

#[test]
fn rfc_7515_a2_rsa() {
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    holds(&foreign_rsa_jwk(json!({})), "eyJhbGciOiJSUzI1NiJ9", CLAIMS, signature, &TokenError::Claim("sub"));
}

#[test]
fn rfc_7515_a3_p256() {
    let key = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    holds(&key, "eyJhbGciOiJFUzI1NiJ9", CLAIMS, signature, &TokenError::Claim("sub"));
}

#[test]
fn rfc_8037_a4_ed25519() {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let payload = "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    // The payload is a sentence, and no JSON.
    holds(&key, "eyJhbGciOiJFZERTQSJ9", payload, signature, &TokenError::Malformed);
}
