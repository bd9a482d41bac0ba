//! `servers.json` while servers run: read once a second, and at once on a request to recheck.
//! Returns changes; applies none.

use std::path::PathBuf;

use model::servers::Servers;
use runtime::config::{ConfigError, ServersText};

/// The file and its content at the last read.
#[derive(Debug)]
pub struct ServersFile {
    directory: PathBuf,
    environment: String,
    /// Its text at the last read, or the reason why it had none.
    last_read: Option<Result<ServersText, String>>,
}

impl ServersFile {
    /// Creates the file of an environment below a directory. Reads nothing yet.
    pub fn new(directory: PathBuf, environment: String) -> Self {
        Self { directory, environment, last_read: None }
    }

    /// Returns the servers if the file changed since the last read. Returns each invalid content
    /// once.
    pub fn read_changed(&mut self) -> Option<Result<Servers, ConfigError>> {
        let read = ServersText::read(&self.directory, &self.environment);
        let now = read.as_ref().map(Clone::clone).map_err(ToString::to_string);
        // The content decides, not the time of the file: two writes may have the same time, and the
        // file is small.
        if self.last_read.as_ref() == Some(&now) {
            return None;
        }
        self.last_read = Some(now);
        Some(read.and_then(|text| text.servers(&self.environment)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_content_is_returned_once() {
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
        assert_eq!(file.read_changed().unwrap().unwrap().chat().len(), 1);
        assert!(file.read_changed().is_none());
        fs::write(&path, "{").unwrap();
        assert!(file.read_changed().unwrap().is_err());
        assert!(file.read_changed().is_none());
        fs::write(&path, chats(&["a", "b"])).unwrap();
        assert_eq!(file.read_changed().unwrap().unwrap().chat().len(), 2);
        fs::remove_file(&path).unwrap();
        assert!(file.read_changed().unwrap().is_err());
        fs::create_dir(&path).unwrap();
        assert!(file.read_changed().unwrap().unwrap_err().to_string().contains("it is a directory"));
        assert!(file.read_changed().is_none());
        fs::remove_dir(&path).unwrap();
        assert!(file.read_changed().unwrap().is_err());
        fs::create_dir(directory.join("production")).unwrap();
        fs::write(directory.join("production/servers.json"), chats(&["x", "y", "z"])).unwrap();
        assert_eq!(file.read_changed().unwrap().unwrap().chat().len(), 3);
        fs::remove_dir_all(&directory).unwrap();
    }
}
