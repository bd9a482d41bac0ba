//! The program `shaddock`, for the tests and benches that run it.

#![expect(clippy::panic, clippy::expect_used, reason = "fails the test that runs the program, saying why")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde::Deserialize;

use super::workspace;

/// A line of cargo's output.
#[derive(Deserialize)]
struct Message {
    /// The program that a step built; none for libraries and warnings.
    executable: Option<PathBuf>,
}

/// Returns the path of the program. The first call in a process builds it, and takes minutes if its
/// libraries are not built yet: call this before what has a deadline.
///
/// Cargo builds a package's programs for that package's own tests only. The build is that of users:
/// features for tests are not in it. Processes that call this at the same time wait for each other
/// at cargo's lock of the directory; cargo releases it before it runs tests.
pub fn shaddock() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build)
}

/// Builds the program in the directory of this process, `TARGET/PROFILE/deps`, with its profile.
fn build() -> PathBuf {
    let this = std::env::current_exe().expect("this program has a path");
    let mut above = this.ancestors().skip(2);
    let (Some(directory), Some(target)) = (above.next(), above.next()) else {
        panic!("{} is not in a directory of cargo", this.display());
    };
    // `cargo test` has optimizations in debug builds, too.
    let profile = directory.file_name().filter(|name| *name != "debug").unwrap_or("test".as_ref());
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--package", "cluster", "--bin", "shaddock"])
        .args(["--message-format", "json-render-diagnostics", "--profile"])
        .args([profile, "--target-dir".as_ref(), target.as_os_str()])
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo does not build the program");
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Message>();
    let programs = messages.filter_map(|message| message.expect("cargo prints messages").executable);
    programs.last().expect("cargo names the program")
}
