//! The pages of the repository: their links, and the paths by which other files name them.

use std::path::Path;
use std::process::Command;

#[test]
fn links_lead_to_files_and_headlines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("scripts/check-docs").current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
