//! Files with secrets: written atomically, and readable by few users.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Random bytes of a password.
const PASSWORD_BYTES: usize = 24;

/// The password in a file, made if there is none, and whether it is new.
pub(super) fn password(path: &Path) -> anyhow::Result<(String, bool)> {
    if let Some(password) = read(path)? {
        return Ok((password, false));
    }
    let password = random_text();
    let draft = draft(path, &format!("{password}\n"), 0o600)?;
    // Unlike a rename, a link fails if another setup was faster.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft).with_context(|| format!("{} cannot be removed", draft.display()))?;
    match linked {
        Ok(()) => Ok((password, true)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let theirs = read(path)?.with_context(|| format!("{} is gone", path.display()))?;
            Ok((theirs, false))
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be written", path.display())),
    }
}

/// The text of a file without white space around it; none if there is no such file.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<String>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("{} cannot be read", path.display()))?,
    };
    ensure!(!text.trim().is_empty(), "{} is empty: remove it", path.display());
    Ok(Some(text.trim().to_owned()))
}

/// Replaces the content of a file. Its group may read it, too: the broker runs as another user of
/// the system than the servers do.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let draft = draft(path, text, 0o640)?;
    // A rename replaces the file at once: the broker never reads half of it.
    fs::rename(&draft, path).with_context(|| format!("{} cannot be written", path.display()))
}

/// Writes the text to a file beside this one, in a directory that is made if it is not there.
fn draft(path: &Path, text: &str, mode: u32) -> anyhow::Result<PathBuf> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let made = DirBuilder::new().recursive(true).mode(0o750).create(directory);
    made.with_context(|| format!("{} cannot be made", directory.display()))?;
    // In the same directory: a rename or a link cannot lead to another file system.
    let draft = directory.join(format!(".{}", random_text()));
    let write = || -> std::io::Result<()> {
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        // The process may mask more of the mode.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(draft)
}

/// Random hexadecimal digits.
fn random_text() -> String {
    let bytes: [u8; PASSWORD_BYTES] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
