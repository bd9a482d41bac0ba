//! Wall clocks of single processes that are wrong: a library that is preloaded into a server, made
//! with the machine's C compiler.

#![expect(clippy::panic, clippy::expect_used, reason = "fails the test that needs the clock")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::workspace;

/// The wall clock of one server's processes, right at first.
#[derive(Debug, Clone)]
pub struct WallClock {
    file: PathBuf,
}

impl WallClock {
    /// Keeps its error in a file in `directory`.
    pub fn new(directory: &Path, server: &str) -> Self {
        let clock = Self { file: directory.join(format!("{server}.clock")) };
        clock.set(0);
        clock
    }

    /// Shows this many milliseconds more than the machine's from now on, also to processes that
    /// run.
    pub fn set(&self, ahead_ms: i64) {
        // Replaced in one step: a process that read half of the number would show another time.
        let written = self.file.with_extension("new");
        fs::write(&written, ahead_ms.to_string()).expect("the directory takes files");
        fs::rename(written, &self.file).expect("the directory takes files");
    }

    /// Makes a process show it.
    pub fn environment(&self) -> [(&'static str, &str); 2] {
        [("LD_PRELOAD", library()), ("CLOCK_FILE", self.file.to_str().expect("paths of tests are text"))]
    }
}

/// The library, made once per test program.
fn library() -> &'static str {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/clock.c");
        let library = workspace().join("target/tmp/clock.so");
        // Other test programs may make it at the same time, or use it.
        let made = library.with_extension(std::process::id().to_string());
        let output = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&made).arg(&source).output();
        let output = output.unwrap_or_else(|error| panic!("cc: {error}: install a C compiler, for example gcc"));
        assert!(output.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
        fs::rename(made, &library).expect("the target directory takes files");
        library.to_str().expect("paths of tests are text").to_owned()
    })
}
