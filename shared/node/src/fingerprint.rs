//! A value that is another one for other contents of files.

use sha2::{Digest, Sha256};

/// Returns the fingerprint of contents in this order. None of them needs to be kept.
pub(crate) fn of<C: AsRef<[u8]>>(contents: impl IntoIterator<Item = C>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        // A digest of each: joined as they are, bytes that move from one content to the next would
        // not change the hash.
        hash.update(Sha256::digest(content));
    }
    hash.finalize().into()
}
