//! `servers.json` while servers run: looked at once a second, and at once when somebody doubts. Says what it finds; changes
//! nothing.

use std::path::PathBuf;

use shared::config::{ConfigError, Servers};

/// The file, and what it held when it was looked at last.
#[derive(Debug)]
pub struct ServersFile {
    directory: PathBuf,
    environment: String,
    seen: Option<Vec<u8>>,
}

impl ServersFile {
    /// The file of an environment below a directory, not looked at yet.
    pub fn new(directory: PathBuf, environment: String) -> Self {
        Self { directory, environment, seen: None }
    }

    /// The servers, if the file changed since the last look. A file that is wrong is told once.
    pub fn look(&mut self) -> Option<Result<Servers, ConfigError>> {
        // A file that cannot be read is one more content: the next that can be read is another.
        let content = std::fs::read(self.directory.join("servers.json")).ok();
        if content == self.seen {
            return None;
        }
        self.seen = content;
        Some(Servers::load(&self.directory, &self.environment))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_content_is_told_once() {
        let directory = std::env::temp_dir().join(format!("shaddock-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("servers.json");
        let chats = |ids: &[&str]| {
            let list: Vec<_> = ids.iter().map(|id| serde_json::json!({ "id": id, "host": "h" })).collect();
            let front = |id, port| serde_json::json!([{ "id": id, "host": "h", "clientPort": port, "frontend": true }]);
            let all = serde_json::json!({ "gate": front("g", 1), "connector": front("c", 2), "chat": list });
            serde_json::json!({ "production": all }).to_string()
        };
        let mut file = ServersFile::new(directory.clone(), "production".to_owned());
        fs::write(&path, chats(&["a"])).unwrap();
        assert_eq!(file.look().unwrap().unwrap().chat().len(), 1);
        assert!(file.look().is_none());
        fs::write(&path, "{").unwrap();
        assert!(file.look().unwrap().is_err());
        assert!(file.look().is_none());
        fs::write(&path, chats(&["a", "b"])).unwrap();
        assert_eq!(file.look().unwrap().unwrap().chat().len(), 2);
        fs::remove_file(&path).unwrap();
        assert!(file.look().unwrap().is_err());
        fs::remove_dir_all(&directory).unwrap();
    }
}
