//! A directory for one test's files, below `target`, gone with its value.

#![expect(clippy::expect_used, reason = "fails the test that needs the files")]

use std::fs;
use std::path::{Path, PathBuf};

/// A directory of a test's own, removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty directory.
    #[expect(clippy::new_without_default, reason = "it makes a directory, which no default should")]
    pub fn new() -> Self {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/tmp/{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&path).expect("the target directory takes files");
        Self(fs::canonicalize(path).expect("the directory was made"))
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file; returns its path, as settings want it.
    pub fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).expect("the target directory takes files");
        self.path_of(name)
    }

    /// The path of a file in it, which need not be there.
    pub fn path_of(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
