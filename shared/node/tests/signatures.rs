//! Signatures of messages, compared with those of a second implementation.
#![expect(clippy::unwrap_used, reason = "a test")]

use model::ids::ServerId;
use node::signing::{PublicKey, Seed, Signed};
use sha2::{Digest, Sha256};

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// `signatures-v1.txt` is written by `scripts/signature-vectors`, which shares no code with the
/// program.
#[test]
fn signatures_are_those_of_another_implementation() {
    let lines = include_str!("signatures-v1.txt").lines();
    let mut count = 0;
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        let [seed, sender, key, receiver, subject, reply, head, record, header] = fields[..] else { panic!("{line}") };
        let some = |field: &'static str| Some(field).filter(|field| *field != "-");
        let (seed, key) = (Seed::parse(seed).unwrap(), PublicKey::parse(key).unwrap());
        let (sender, receiver) = (ServerId::new(sender).unwrap(), ServerId::new(receiver).unwrap());
        let record = some(record).map(|record| Sha256::digest(bytes(record)).into());
        let head = some(head).map(bytes).unwrap_or_default();
        let signed = Signed::new(&sender, (subject, some(reply)), &head, record);
        assert_eq!(seed.pair(&sender, &receiver, &key).sign(&signed), header, "{line}");
        count += 1;
    }
    assert!(count > 5);
}
